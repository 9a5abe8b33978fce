"""Functions under NumPy's names: `np` in an expression is NumPy, then chalkgrad's, then JAX's: the same comes out."""

import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.namespace import makers, namespace, namespace_on
from chalkgrad.errors import ChalkgradError, GraphError, UnknownNameError
from chalkgrad.ops.composed import composed

X = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])
ARRAYS = {
    "x": X,
    "y": np.array([[1.25, 0.5, -2.5], [-0.25, 1.75, 0.75]]),
    "u": np.array([0.7, -1.2, 0.4]),
    "v": np.array([1.5, 0.3, -0.8]),
    "p": np.array([[1.5, 0.4, 2.2], [0.9, 3.1, 1.2]]),
    "r": np.array([0.3, -0.6, 0.85, 0.1]),
    "c": np.linspace(-2, 2, 24).reshape(2, 3, 4) ** 3 + np.sin(np.arange(24.0)).reshape(2, 3, 4),
    "a": np.array(1.3),
    "m": np.array([[2.1, 0.3, -0.5], [0.7, 1.4, 0.2], [-0.6, 0.1, 3.2]]),
    "b": np.array([[[1.5, -0.4], [0.3, 2.5]], [[2.2, 0.8], [-0.7, 1.1]]]),
    "z": np.array([[0.5, -1.5, 2.0], [0.0, 0.25, -0.75]]),
}
WITH_NAN = np.array([[0.8, np.nan, 1.0], [2.5, 0.3, np.nan]])
GAP = np.isnan(WITH_NAN)
MASK = np.array([[True, False, True], [False, True, False]])
CASES = [line.strip() for line in """
    np.std(x) | np.std(x, axis=0, ddof=1, keepdims=True) | np.var(c, axis=(0, 2)) | np.ptp(x) | np.ptp(x, axis=-1)
    np.ravel(x) | np.moveaxis(c, 0, -1) | np.moveaxis(c, (0, 1), (-1, 0)) | np.swapaxes(c, 0, -1) | np.rollaxis(c, 2)
    np.rollaxis(c, 0, 3) | np.matrix_transpose(c) | np.permute_dims(c, (1, 0, 2)) | np.atleast_1d(a)
    np.atleast_2d(u, x) | np.atleast_3d(a, u, x, c) | np.broadcast_arrays(u, x) | np.meshgrid(u, r)
    np.meshgrid(u, r, v, indexing="ij") | np.vstack([u, x]) | np.hstack([u, v]) | np.hstack([x, y])
    np.dstack([u, v]) | np.dstack([x, y]) | np.column_stack([u, v]) | np.column_stack([x[:, 0], y]) | np.append(x, y)
    np.append(x, y, 1) | np.delete(u, 1) | np.delete(x, [0, 2], axis=1) | np.array_split(r, 3)
    np.array_split(c, [1, 2], axis=2) | np.split(c, 2, axis=-1) | np.vsplit(x, 2) | np.hsplit(r, 2) | np.hsplit(c, 3)
    np.dsplit(c, [1]) | np.unstack(x) | np.fliplr(x) | np.flipud(x) | np.flip(x, 1) | np.rot90(x) | np.rot90(x, 2)
    np.rot90(c, -1, (1, 2)) | np.rot90(x, 0) | np.tile(x, 2) | np.tile(x, (2, 1, 3)) | np.tile(c, (2,))
    np.repeat(x, 2) | np.repeat(x, [1, 0, 2], axis=1) | np.roll(x, 1, 0) | np.diagonal(x) | np.diagonal(c, 1, 1, 2)
    np.trace(x) | np.trace(c, -1, 2, 0) | np.diag(x) | np.diag(x, 1) | np.diag(u, -1) | np.diagflat(x)
    np.take(x, [0, 2, 2]) | np.take(x, [1, 0, 1], axis=0) | np.take(x, 1, axis=-1)
    np.take_along_axis(x, np.argsort(y, 1), 1) | np.sort(x) | np.sort(x, axis=0) | np.sort(x, axis=None)
    np.cumsum(x) | np.cumsum(x, 1) | np.cumprod(x) | np.cumprod(z, axis=1) | np.average(x) | np.average(x, 0, p[:, 0])
    np.average(x, weights=p, returned=True) | np.average(c, 1, v) | np.cov(x) | np.cov(x, y, rowvar=False) | np.cov(u)
    np.corrcoef(c[0]) | np.quantile(x, 0.3) | np.median(x, 1) | np.quantile(c, [0.1, 0.75], axis=(0, 2))
    np.percentile(c, 40, 1, keepdims=True) | np.median(x) | np.nansum(np.where(GAP, no, x), 0)
    np.nanprod(np.where(GAP, no, x)) | np.nancumsum(np.where(GAP, no, x), 1) | np.nancumprod(np.where(GAP, no, x))
    np.nanmax(np.where(GAP, no, x), 0) | np.nanmin(np.where(GAP, no, x))
    np.nanmean(np.where(GAP, no, x), 0, keepdims=True) | np.nanvar(np.where(GAP, no, x))
    np.nanstd(np.where(GAP, no, x), 1) | np.nan_to_num(np.where(GAP, no, x), nan=3.0) | np.outer(x, u) | np.dot(x, u)
    np.dot(u, v) | np.dot(x, y.T) | np.dot(x, a) | np.dot(x, c) | np.inner(x, y) | np.inner(x, a) | np.vdot(x, y)
    np.vecdot(x, y) | np.tensordot(x, y) | np.tensordot(c, x, ([1, 0], [1, 0])) | np.tensordot(u, v, 0)
    np.kron(x, y) | np.kron(u, c) | np.cross(x, y) | np.cross(x.T, u[:, None], axis=0) | np.convolve(r, u)
    np.convolve(u, r, "same") | np.convolve(r, u, "valid") | np.correlate(r, u) | np.correlate(r, u, "full")
    np.correlate(r, u, "same") | np.polyval(u, x) | np.diff(x) | np.diff(c, 2, 1) | np.diff(x, prepend=y)
    np.diff(x, axis=0, append=1.0) | np.ediff1d(x) | np.trapezoid(x) | np.trapezoid(x, v)
    np.trapezoid(c, dx=0.5, axis=0) | np.trapezoid(x, y, axis=1) | np.gradient(r) | np.gradient(r, a)
    np.gradient(c[0], p[0], 2.0) | np.gradient(c, axis=(1, 2)) | np.interp(x, np.array([-1.6, 0.1, 2.9, 4.0]), r)
    np.interp(u, np.array([-1.0, 0.5, 0.6]), v, left=a) | np.rad2deg(x) | np.degrees(x) | np.deg2rad(x)
    np.radians(x) | np.sinc(x) | np.sinc(r) | np.sinc(z) | np.fabs(x) | np.float_power(p, y)
    np.heaviside(np.zeros(3), y) | np.copysign(x, y) | np.fmax(x, y) | np.fmax(x, WITH_NAN) | np.fmin(x, y)
    np.fmod(c, a) | np.divmod(x, 0.8) | np.rint(3 * r) | np.fix(3 * r) | np.select([x > 1, x > 0], [x * y, y], 2.0)
    np.conjugate(x) | np.conj(x) | np.real(x) | np.real_if_close(x) | np.imag(x) | np.angle(x) | np.full((2, 3), a)
    np.full(4, a) | np.linspace(a, u, 4) | np.linspace(0.5, a, 3, False) | np.linspace(u, v, 5, axis=1) | np.abs(x)
    np.absolute(x) | np.square(x) | np.prod(x) | np.prod(z, axis=1) | np.tan(r) | np.arcsin(r) | np.asin(r)
    np.arccos(r) | np.acos(r) | np.arctan(x) | np.atan(x) | np.arctan2(x, y) | np.atan2(y, x) | np.sinh(x)
    np.cosh(x) | np.arcsinh(x) | np.asinh(x) | np.arccosh(p + 1) | np.acosh(p + 1) | np.arctanh(r) | np.atanh(r)
    np.log2(p) | np.log10(p) | np.exp2(x) | np.reciprocal(p) | np.logaddexp(x, y) | np.logaddexp2(x, y) | np.cbrt(p)
    np.hypot(x, y) | np.floor(3 * r) | np.ceil(3 * r) | np.trunc(3 * r) | np.round(u + 0.03, 1) | np.mod(x, 0.8)
    np.remainder(x, p) | np.clip(x, u - 2, 1.0) | np.maximum(x, y) | np.minimum(x, y) | np.tril(x) | np.triu(x, 1)
    np.pad(x, 1) | np.pad(x, ((1, 0), (2, 1)), mode="edge") | np.pad(x, 1, mode="reflect") | np.pad(u, 5, mode="wrap")
    np.pad(c, 2, mode="symmetric") | np.where(MASK, x, y) | np.einsum("ij,j->i", x, u) | np.concatenate([x, y], 1)
    np.stack([x, y], -1) | np.expand_dims(x, 1) | np.squeeze(x[None]) | np.reshape(x, (3, 2))
    np.transpose(c, (2, 0, 1)) | np.broadcast_to(u, (2, 3)) | np.matmul(x, y.T) | np.add(x, u) | np.subtract(x, u)
    np.multiply(x, u) | np.divide(x, p) | np.true_divide(x, p) | np.power(p, y) | np.pow(p, 2.0) | np.negative(x)
    np.positive(x) | np.exp(x) | np.expm1(x) | np.log(p) | np.log1p(p) | np.sqrt(p) | np.sin(x) | np.cos(x)
    np.tanh(x) | np.sum(c, (0, 2)) | np.mean(c, 1, keepdims=True) | np.max(c, 1) | np.min(c) | np.amax(x)
    np.amin(x, 1) | np.astype(x, "float64") | np.array([x[0, 1], 2.0 * u[0], 1.0]) | np.asarray(x)
    np.copy(x) | np.abs(x).sum() * np.pi | x.flatten() @ np.arange(6.0) | x.std() + x.ravel().dot(y.flatten())
    x.cumsum(0).swapaxes(0, 1) | x.repeat(2, 0) | x.trace() + x.diagonal().sum() + x.take([1, 2]).prod()
    x.conj().copy().mT | x.cumprod(1) | x.var(0) * x.argsort(1) | np.sign(x) * x | np.argmax(x, 1, keepdims=True) * x
    np.argmin(x) * x | np.isfinite(x) * x | np.any(x, 0) * x | np.all(x) * x | np.zeros(3) + u | np.ones((2, 3)) * x
    np.eye(3) @ u | np.arange(3) * u | np.identity(2) @ x | np.zeros_like(x) + x | np.full_like(x, 2.0) * x
    np.floor_divide(x, 0.7) * x | np.logical_and(x > 0, y > 0) * x
    np.linalg.norm(x) | np.linalg.norm(u) | np.linalg.norm(x, axis=1, keepdims=True) | np.linalg.norm(u, 1)
    np.linalg.norm(u, np.inf) | np.linalg.norm(u, -np.inf) | np.linalg.norm(p, 3, axis=0) | np.linalg.norm(u, 0) * u
    np.linalg.norm(x, "fro") | np.linalg.norm(x, "nuc") | np.linalg.norm(x, 2) | np.linalg.norm(x, -2)
    np.linalg.norm(x, 1) | np.linalg.norm(y, np.inf) | np.linalg.norm(c, -1, axis=(0, 2), keepdims=True)
    np.linalg.vector_norm(x) | np.linalg.vector_norm(c, axis=1, ord=1) | np.linalg.matrix_norm(c, keepdims=True)
    np.linalg.inv(m) | np.linalg.inv(b) | np.linalg.solve(m, x.T) | np.linalg.solve(m, u) | np.linalg.solve(b, x[:, :2])
    np.linalg.det(m) | np.linalg.det(b) | np.linalg.slogdet(-m) | np.linalg.slogdet(b)[1] | np.linalg.pinv(x)
    np.linalg.pinv(c) | np.linalg.cholesky(x @ x.T + np.eye(2)) | np.linalg.cholesky(b @ np.swapaxes(b, 1, 2))
    np.linalg.eigh(m + m.T) | np.linalg.eigvalsh(b + b.mT) | np.linalg.svd(x, full_matrices=False) | np.linalg.svd(m)
    np.linalg.svd(c, compute_uv=False) | np.linalg.svdvals(x) | np.linalg.matrix_power(m, 3)
    np.linalg.matrix_power(m, -2) | np.linalg.matrix_power(m, 0) * m
    np.linalg.multi_dot([u, m, x.T]) | np.linalg.multi_dot([x, m, m, v])
    np.linalg.outer(u, v) | np.linalg.cross(x, y) | np.linalg.tensordot(x, y) | np.linalg.matmul(x, m)
    np.linalg.matrix_transpose(x) | np.linalg.vecdot(x, y) | np.fft.fftshift(c) | np.fft.ifftshift(x, 1)
    np.partition(x, 1, axis=0) | np.logical_xor(x > 0, y > 0) * x
    np.logspace(a, u, 4) | np.geomspace(a, p, 3, endpoint=False, axis=-1)
""".replace("|", "\n").splitlines() if line.strip()]  # fmt: skip


def evaluated(text, xp, values):
    """The results of an expression, one or several."""
    place = next((x.device for x in values.values() if isinstance(x, cg.Tensor)), "cpu")
    constants = {"WITH_NAN": WITH_NAN, "MASK": MASK, "GAP": GAP}
    if place != "cpu":
        constants = {name: cg.tensor(x, device=place) for name, x in constants.items()}
    made = eval(text, {"np": xp, "no": np.nan, **constants, **values})
    return list(made) if isinstance(made, (tuple, list)) else [made]


def here(device):
    """The cases for a device: what makes arrays of no other makes them on the CPU."""
    makers = r"np\.(array|asarray|zeros|ones|eye|arange|identity|full)\(|linspace\(0"
    return [text for text in CASES if device == "cpu" or not re.search(makers, text)]


def named(text):
    """The arrays that an expression names."""
    return [name for name in ARRAYS if re.search(rf"(?<![.\w]){name}\b(?!\()", text)]


def total(text, xp, names):
    """The expression as a function with one number for its value, weighted at random, of its arrays."""

    def function(*xs):
        results, rng = evaluated(text, xp, dict(zip(names, xs, strict=True))), np.random.default_rng(5)
        weights = [rng.standard_normal(tuple(y.shape)) for y in results]
        if xp is cg.np:
            weights = [cg.tensor(w, device=y.device) for w, y in zip(weights, results, strict=True)]
        return sum(((y * w).sum() for y, w in zip(results, weights, strict=True)), start=0.0)

    return function


def directional(f, xs, vs, step=1e-3):
    """d/dt f(x + t v) at 0 by central differences, extrapolated twice."""

    def central(h):
        forward, back = (f(*(x + s * h * v for x, v in zip(xs, vs, strict=True))) for s in (1, -1))
        return (forward - back) / (2 * h)

    d = [central(step / 2**k) for k in range(3)]
    d = [(4 * d[k + 1] - d[k]) / 3 for k in range(2)]
    return (16 * d[1] - d[0]) / 15


def test_each_has_a_case():
    names = {*(f"np.{name}(" for name in {*composed} - {*vars(namespace.linalg)}),
             *(f"np.linalg.{name}(" for name in vars(namespace.linalg))}  # fmt: skip
    missing = {name for name in names if not any(name in text for text in CASES)}
    assert not missing - {"np.row_stack("}


KEPT = ("geomspace", "cov", "corrcoef", "quantile(c", "append=1.0", "np.array([")
"""Where NumPy makes float64 of float32, and chalkgrad does not, since numbers take the dtype of what is beside them."""
NOT_HANDED_ON = ("np.full(", "np.linspace(0.5", "np.array([", "np.asarray(", "np.zeros(", "np.eye(", "np.identity(")
"""What NumPy does not leave to a tensor among its arguments."""


@pytest.mark.parametrize("text", CASES)
def test_value_and_dtype_are_numpys(text, device):
    if text not in here(device):
        pytest.skip("it makes arrays of no other, on the CPU")
    for xp, dtype, tolerance in ((cg.np, "float64", 1e-12), (np, "float32", 2e-5)):
        if xp is np and (device != "cpu" or any(part in text for part in NOT_HANDED_ON)):
            continue
        values = {name: ARRAYS[name].astype(dtype) for name in named(text)}
        with np.errstate(all="ignore"):
            expected = evaluated(text, np, values)
            tensors = {name: cg.tensor(x, requires_grad=True, device=device) for name, x in values.items()}
            found = evaluated(text, xp, tensors)
        assert len(found) == len(expected)
        for y, right in zip(found, expected, strict=True):
            assert isinstance(y, cg.Tensor)
            assert y.shape == np.shape(right)
            assert y.dtype == (dtype if any(part in text for part in KEPT) else right.dtype)
            np.testing.assert_allclose(y.detach().numpy(), right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("text", CASES)
def test_both_derivatives_are_the_slopes(text, device):
    if text not in here(device):
        pytest.skip("it makes arrays of no other, on the CPU")
    names = named(text)
    f, g = total(text, cg.np, names), total(text, np, names)
    xs = [ARRAYS[name] for name in names]
    rng = np.random.default_rng(6)
    vs, ws = ([rng.standard_normal(x.shape) for x in xs] for _ in range(2))

    def slope(*xs):
        gradients = cg.grad(f, argnums=range(len(xs)))(*xs)
        return sum(((g * cg.tensor(v, device=g.device)).sum() for g, v in zip(gradients, vs, strict=True)), start=0.0)

    on_device = [cg.tensor(x, device=device) for x in xs]
    with np.errstate(all="ignore"):
        close(slope(*on_device).item(), directional(g, xs, vs))
        seconds = cg.grad(slope, argnums=range(len(xs)))(*on_device)
        numeric = directional(lambda *xs: slope(*[cg.tensor(x, device=device) for x in xs]).item(), xs, ws)
        close(sum(np.vdot(h.numpy(), w) for h, w in zip(seconds, ws, strict=True)), numeric)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_what_makes_arrays_makes_tensors_on_the_device(device):
    xp = namespace_on(cg.tensor(0.0, device=device).device)
    for name, arguments in [("ones", (2,)), ("zeros", ((1, 2), "float32")), ("full", (2, 7.0)), ("arange", (3,)),
                            ("eye", (2,)), ("identity", (2,)), ("linspace", (0, 1, 5)), ("tri", (3,))]:  # fmt: skip
        made = getattr(xp, name)(*arguments)
        assert made.device == xp.device
        np.testing.assert_array_equal(made.numpy(), getattr(np, name)(*arguments))
    assert "empty" in makers
    assert (xp.pi, xp.float32) == (np.pi, np.float32)
    assert (xp.shape(made), xp.ndim(made), xp.size(made)) == ((3, 3), 2, 9)


def test_what_is_not_there_is_named_with_the_rule_and_the_nearest(declare, device):
    @declare("y = 3 * x", saves=("x",))
    def tripled(xp, x):
        return 3 * x

    @tripled.vjp("x", "gx = 3 * gy")
    def _(xp, gy):
        return xp.flips(gy, 0) if xp is not np and hasattr(gy, "detach") else 3 * gy

    x = cg.tensor([1.0, 2.0], device=device)
    assert cg.grad(lambda x: tripled(x).sum())(x).tolist() == [3, 3]
    with pytest.raises(UnknownNameError, match=r"the rule 'gx = 3 \* gy' of tripled: xp.flips .* did you mean 'flip'"):
        cg.grad(lambda x: cg.grad(lambda x: tripled(x).sum())(x).sum())(x)


def test_parameters_by_position(device):
    x = cg.tensor(X, device=device)
    np.testing.assert_array_equal(cg.roll(x, 1, 0).numpy(), np.roll(X, 1, 0))
    np.testing.assert_array_equal(cg.cumsum(x, 1).numpy(), np.cumsum(X, 1))


OF_INTEGERS = """
    quantile(i, 0.5) | quantile(i, [[0.1, 0.2]]) | nansum(i) | nan_to_num(i) | copysign(i, -1) | average(i, axis=(0, 1))
    linalg.vector_norm(i, axis=(0, 1), keepdims=True) | cumprod(i, 1) | gradient(i)[1] | linalg.norm(i)
    linalg.inv(i @ i.T) | tensordot(i, i, 2) | interp([3, -1], [0, 1, 2], i[0]) | polyval([1, 2], i)
"""


@pytest.mark.parametrize("text", [text.strip() for text in OF_INTEGERS.replace("|", "\n").strip().splitlines()])
def test_of_integers_it_is_numpys(text, device):
    i = np.arange(6).reshape(2, 3)
    found, right = (eval(f"np.{text}", {"np": xp, "i": x}) for xp, x in ((cg.np, cg.tensor(i, device=device)), (np, i)))
    assert found.dtype == right.dtype
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-12)


@pytest.mark.deep
@pytest.mark.cpu_only("JAX computes on the CPU")
@pytest.mark.parametrize("text", [text for text in CASES if not re.search(r"np\.(fix|real_if_close)\(", text)])
def test_both_derivatives_are_jaxs(text):
    """On a random case; JAX takes no lists of places."""
    jax = pytest.importorskip("jax")
    names, rng = named(text), np.random.default_rng(7)
    listed = text if "tensordot" in text else re.sub(r"(?<=[ (])\[([\d., ]+)\](?=[,)])", r"np.array([\1])", text)
    f, g, places = total(text, cg.np, names), total(listed, jax.numpy, names), tuple(range(len(names)))
    xs = [ARRAYS[name] * (1 + 0.05 * rng.standard_normal(ARRAYS[name].shape)) for name in names]
    vs = [rng.standard_normal(x.shape) for x in xs]

    def slope(gradient):
        return lambda *xs: sum(((gx * v).sum() for gx, v in zip(gradient(*xs), vs, strict=True)), start=0.0)

    with jax.enable_x64(True), np.errstate(all="ignore"):
        ours, theirs = cg.grad(f, places), jax.grad(g, places)
        pairs = [(ours, theirs), (cg.grad(slope(ours), places), jax.grad(slope(theirs), places))]
        for one, other in ((one, other) for o, t in pairs for one, other in zip(o(*xs), t(*xs), strict=True)):
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-8, atol=1e-8)


# The names themselves


def test_partition_is_an_order_of_that_kind():
    y = cg.np.partition(cg.tensor(ARRAYS["r"]), 1).numpy()
    assert sorted(y) == sorted(ARRAYS["r"])
    assert y[1] == np.partition(ARRAYS["r"], 1)[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda np, x: np.split(x, 4, axis=1), "make no 4 equal parts: use array_split"),
        (lambda np, x: np.moveaxis(x, 2, 0), "axis 2 is not there: the tensor has 2 axes"),
        (lambda np, x: np.cross(x[:, :2], x[:, :2]), "vectors of 3 elements, not of 2"),
        (lambda np, x: np.tensordot(x, x, ([0], [1])), r"tensordot: axes \[0\] of shape \(2, 3\)"),
        (lambda np, x: np.diag(x[None]), "diag takes a vector or a matrix"),
        (lambda np, x: np.pad(x, 1, mode="edges"), "did you mean 'edge'"),
        (lambda np, x: np.convolve(x[0], x[0], "vaild"), "'full', 'same' or 'valid'"),
        (lambda np, x: np.gradient(x, 1.0, 2.0, 3.0), "3 distances for 2 axes"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    for x in (cg.tensor(X), cg.tensor(X, requires_grad=True)):
        with pytest.raises(ChalkgradError, match=words):
            call(cg.np, x)


@pytest.mark.cpu_only("NumPy's functions take arrays of the CPU")
def test_the_namespace_is_numpys_where_nothing_is_ours():
    xp = cg.np
    assert xp.pi is np.pi
    assert xp.float32 is np.float32
    assert xp.newaxis is None
    assert xp.random is np.random
    assert type(xp.exp(1.0)) is np.float64
    assert xp.arange(3).dtype == np.arange(3).dtype
    assert xp.array([0.1]).dtype == "float64"
    with pytest.raises(GraphError, match=r"numpy.histogram knows of no gradient"):
        xp.histogram(cg.tensor(X, requires_grad=True))
    with pytest.raises(GraphError, match=r"numpy.sum knows of no gradient.*chalkgrad.sum\(x"):
        xp.sum(cg.tensor(X, requires_grad=True), dtype="float64")
    with pytest.raises(AttributeError, match="flips"):
        xp.flips(X)
    with pytest.raises(GraphError, match="cannot be written into"):
        xp.zeros(3)[0] = cg.tensor(1.0, requires_grad=True)


# Beside other engines' lists


def has_case(name):
    return any(re.search(rf"\bnp\.{re.escape(name)}\(", text) for text in CASES)


def test_what_autograd_differentiates():
    """All that HIPS/autograd has a gradient of under NumPy's names, but for complex numbers."""
    numpy_of = pytest.importorskip("autograd.numpy")
    from autograd import core

    rooms = {"": (np, numpy_of), "linalg.": (np.linalg, numpy_of.linalg), "fft.": (np.fft, numpy_of.fft)}
    theirs = {
        f"{room}{name}"
        for room, (real, module) in rooms.items()
        for name, f in vars(module).items()
        if hasattr(real, name) and callable(f) and not isinstance(f, type) and f in core.primitive_vjps
    } | {"mean", "std", "var", "where", "concatenate", "stack", "linalg.norm"}  # wrapped there
    lacking = {name for name in theirs if not has_case(name)}
    assert len(theirs) > 140
    assert lacking == {
        "linalg.eig", *(f"fft.{kind}{name}" for kind in ("", "i", "r", "ir") for name in ("fft", "fft2", "fftn"))
    }  # fmt: skip


def test_what_mygrad_has():
    """All of MyGrad's functions under NumPy's names, but for those without gradient that NumPy itself computes."""
    mygrad = pytest.importorskip("mygrad")
    theirs = {name for name, f in vars(mygrad).items() if callable(f) and not name.startswith("_")
              and callable(getattr(np, name, None)) and not isinstance(getattr(np, name), type)}  # fmt: skip
    lacking = {name for name in theirs if not hasattr(namespace, name)}
    assert len(theirs) - len(lacking) > 105
    assert lacking == {
        "allclose", "bincount", "can_cast", "copyto", "isclose", "isnat", "load", "may_share_memory",
        "min_scalar_type", "save", "shares_memory", "signbit", "asarray", "empty_like",
    }  # fmt: skip


BYTES = np.array([[200, 100, 50], [3, 90, 255]], "uint8")
ODD = {
    "of bytes": (BYTES, "nanmean nanvar nanstd cumprod nancumprod linalg.norm gradient average median cov"),
    "of bools": (BYTES > 95, "nanmean nanvar nanstd cumprod average copy"),
    "of many bytes": (np.tile(BYTES, (100, 1)), "nanmean nanvar mean var linalg.norm"),
    "with what is none": (np.array([1.0, np.nan, 3.0, 5.0, 7.0]), "median mean average nanmean nancumsum gradient"),
    "with infinity": (np.array([1.0, 2.0, -np.inf]), "median average mean nanmean"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("what", ODD)
def test_of_numbers_that_are_no_usual_floats(what):
    """Bytes do not wrap around, and what is not a number is not lost."""
    x, names = ODD[what]
    for name in names.split():
        ours, theirs = (eval(f"np.{name}", {"np": module}) for module in (cg.np, np))
        expected = theirs(x.astype(int) if x.dtype == "uint8" and name == "gradient" else x)
        np.testing.assert_allclose(ours(cg.tensor(x)), expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: cg.np.quantile(cg.tensor([1.0, 2.0]), 1.5), r"lies in \[0, 1\]"),
        (lambda: cg.np.percentile(cg.tensor([1.0, 2.0]), -1), r"\[0, 100\]"),
        (lambda: cg.np.median(cg.tensor(np.zeros((0, 3))), 0), "quantile of no elements"),
        (lambda: cg.np.convolve(cg.tensor(X), cg.tensor([1.0])), "two sequences"),
        (lambda: cg.np.cov(cg.tensor(np.zeros((2, 3, 4)))), "variables × observations"),
        (lambda: cg.np.gradient(cg.tensor([1.0])), "two elements along axis 0"),
        (lambda: cg.np.delete(cg.tensor(X), 7, axis=1), "out of bounds"),
        (lambda: cg.np.delete(cg.tensor(X), 0, axis=2), "axis 2 is not there"),
        (lambda: cg.np.pad(cg.tensor(np.zeros((2, 0))), 1, mode="edge"), "no elements to repeat"),
    ],
)
def test_what_has_no_answer_is_refused(made, told):
    with pytest.raises(ChalkgradError, match=told):
        made()


ONE, TWO = np.array([0.3, -0.6, 0.85]), [0.1, 0.7, -0.3]


@pytest.mark.parametrize(
    "call",
    """fmod(x, l) copysign(l, x) outer(l, x) kron(x, l) convolve(x, l) cross(x, l) append(x, l) vstack([x,l]) cov(x,l)
    select([x>0],[l],x) float_power(abs(x),0.1) geomspace(0.1,abs(x)) interp(0.15,[-0.3,0.1,0.7],x) polyval(x,0.1)
    linalg.solve([[0.1,0.7],[0.3,0.2]],x[:2]) meshgrid(x,l)[1] dot(l,x) trapezoid(l,x) broadcast_arrays(x,0.1)[1]
    """.replace(", ", ",").split(),
)
def test_numbers_and_lists_beside_float64_are_float64(call):
    """Each as it is written; no step of a composition takes them for float32, as what stands alone is."""
    ours = eval(f"np.{call}", {"np": cg.np, "x": cg.tensor(ONE), "l": TWO})
    assert ours.dtype == "float64"
    np.testing.assert_allclose(ours, eval(f"np.{call}", {"np": np, "x": ONE, "l": TWO}), rtol=1e-13)
