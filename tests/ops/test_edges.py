"""The edges of the numbers: infinities, the largest floats, nothing at all, and what is asked for and cannot be."""

import math
import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ChalkgradError, DataError, ShapeError, UsageError

INF, NAN = math.inf, math.nan
DTYPES = ["float16", "float32", "float64"]


def value_and_slope(f, x, dtype=None):
    x = cg.tensor(x, requires_grad=True, dtype=dtype)
    y = f(x)
    y.backward(np.ones(y.shape))
    return y.numpy(), x.grad.numpy()


# Functions of one number: (f, at -∞, at +∞), each value and slope


AT_INFINITY = {
    "sigmoid": (cg.sigmoid, (0, 0), (1, 0)),
    "tanh": (cg.tanh, (-1, 0), (1, 0)),
    "softplus": (cg.softplus, (0, 0), (INF, 1)),
    "silu": (cg.silu, (0, 0), (INF, 1)),
    "gelu": (cg.gelu, (0, 0), (INF, 1)),
    "relu": (cg.relu, (0, 0), (INF, 1)),
    "leaky_relu": (cg.leaky_relu, (-INF, 0.2), (INF, 1)),
    "elu": (cg.elu, (-1, 0), (INF, 1)),
    "gaussian": (cg.gaussian, (0, 0), (0, 0)),
    "normal_probability": (cg.normal_probability, (0, 0), (1, 0)),
    "erf": (cg.erf, (-1, 0), (1, 0)),
    "exp": (cg.exp, (0, 0), (INF, INF)),
    "expm1": (cg.expm1, (-1, 0), (INF, INF)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AT_INFINITY)
def test_at_infinity_value_and_slope_are_the_limits(name, dtype):
    f, below, above = AT_INFINITY[name]
    value, slope = value_and_slope(f, [-INF, INF], dtype)
    assert value.dtype == slope.dtype == dtype
    assert [*zip(value, slope, strict=True)] == [tuple(np.array(pair, dtype)) for pair in (below, above)]
    assert np.isnan(value_and_slope(f, [NAN], dtype)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [n for n in AT_INFINITY if not n.startswith("exp")])
def test_the_largest_floats_are_far_out(name, dtype):
    """Without overflow: warnings are errors here."""
    f, below, above = AT_INFINITY[name]
    for share in (0.1, 0.4, 1e-2):
        x = np.array([-1, 1], dtype) * (np.finfo(dtype).max * np.array(share, dtype))
        value, slope = value_and_slope(f, x)
        for i, (limit, slope_there) in enumerate((below, above)):
            right = x[i] if limit == INF else np.array(0.2, dtype) * x[i] if limit == -INF else limit
            assert (value[i], slope[i]) == (right, np.array(slope_there, dtype)), share


@pytest.mark.parametrize("f", [cg.gelu, cg.silu, cg.gaussian], ids=str)
def test_second_slopes_far_out_are_0(f):
    second = cg.grad(lambda x: cg.grad(lambda x: f(x).sum())(x).sum())
    assert second(np.array([-INF, -1e30, 1e30, INF])).tolist() == [0] * 4


def test_gaussian_of_any_width_far_out():
    for scale, x in ((1e-40, 1e20), (1e-12, 1e6), (1e40, 1e-20)):
        np.testing.assert_allclose(cg.gaussian(np.array([x]), scale=scale), math.exp(-1), rtol=1e-14)


@pytest.mark.parametrize("f", [cg.erf, cg.gelu, cg.gaussian, cg.normal_probability], ids=str)
def test_float16_is_rounded_once(f):
    x = np.linspace(-6, 6, 301, dtype="float16")
    exact = f(x.astype("float64")).numpy().astype("float16")
    np.testing.assert_allclose(f(x), exact, rtol=2**-10, atol=1e-7)


# Along an axis


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    [
        ([-INF, 0.0, 1.0], math.log(1 + math.e), [0, 1 / (1 + math.e), math.e / (1 + math.e)]),
        ([-INF, -INF], -INF, None),
        ([INF, 0.0, 1e4], INF, None),
        ([INF, -INF], INF, None),
        ([INF, INF], INF, None),
        ([NAN, 0.0], NAN, None),
    ],
)
def test_logsumexp_beside_infinity(x, value, slope):
    x = np.array(x, "float32")
    np.testing.assert_allclose(cg.logsumexp(x), value, rtol=1e-6)
    np.testing.assert_allclose(cg.logsumexp(np.stack([x, x]), axis=1, keepdims=True)[1, 0], value, rtol=1e-6)
    with np.errstate(invalid="ignore"):  # ∞ - ∞
        found = value_and_slope(cg.logsumexp, x)[1]
    np.testing.assert_allclose(found, np.full(x.shape, NAN) if slope is None else slope, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_target_of_0_costs_nothing_at_minus_infinity(dtype):
    z, labels = np.array([[-INF, 1.0, 0.0], [2.0, 0.0, -INF]], dtype), np.array([1, 0])
    targets = np.eye(3, dtype=dtype)[labels]
    sparse = value_and_slope(lambda z: cg.sparse_categorical_cross_entropy(z, labels), z)
    dense = value_and_slope(lambda z: cg.categorical_cross_entropy(z, targets), z)
    assert np.isfinite(sparse[0])
    np.testing.assert_allclose(dense[0], sparse[0], rtol=1e-6)
    np.testing.assert_allclose(dense[1], sparse[1], rtol=1e-6)
    assert cg.categorical_cross_entropy(z, np.eye(3, dtype=dtype)[[0, 1]]).item() == INF
    with np.errstate(invalid="ignore"):
        assert math.isnan(cg.categorical_cross_entropy(np.array([[NAN, 0.0]], dtype), np.eye(2)[:1]).item())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_infinite_logit_on_the_target_s_side_costs_nothing(dtype):
    z, targets = np.array([INF, -INF, 0.0, INF], dtype), np.array([1, 0, 0.5, 1], dtype)
    value, slope = value_and_slope(lambda z: cg.binary_cross_entropy(z, targets), z)
    np.testing.assert_allclose(value, math.log(2) / 4, rtol=1e-6)
    assert slope.tolist() == [0, 0, 0, 0]
    for z, t in ((-INF, 1), (INF, 0), (INF, 0.5)):
        assert cg.binary_cross_entropy(np.array([z], dtype), np.array([t], dtype)).item() == INF


# Powers


@pytest.mark.parametrize(
    ("a", "b", "slope"),
    [
        (-2.0, 2.0, NAN), (-2.0, -1.0, NAN), (-2.0, 0.0, NAN), (0.0, 2.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.0),
        (2.0, 3.0, 8 * math.log(2)), (1.0, 5.0, 0.0),
    ],
)  # fmt: skip
def test_the_slope_of_an_exponent_is_the_power_times_the_logarithm(a, b, slope):
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(cg.grad(lambda b: cg.power(a, b))(b), slope, rtol=1e-6)
        many = cg.grad(lambda b: cg.power(np.array([a, 2.0]), b).sum())(np.array([b, 1.0]))
    np.testing.assert_allclose(many, [slope, 2 * math.log(2)], rtol=1e-6)


def test_the_slope_of_a_negative_exponent_of_0():
    with np.errstate(divide="ignore"):
        assert cg.grad(lambda b: cg.power(0.0, b))(-1.0).item() == -INF


def test_the_slope_of_an_exponent_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    a, b = (x.reshape(-1) for x in np.meshgrid([-2.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0], [-2.0, -1.0, 0.0, 1.0, 2.0]))
    exponent = torch.tensor(b, requires_grad=True)
    (torch.tensor(a) ** exponent).sum().backward()
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(cg.grad(lambda b: cg.power(a, b).sum())(b), exponent.grad, rtol=1e-14)


# Nothing at all


@pytest.mark.parametrize(("rows", "inputs", "units"), [(2, 0, 3), (0, 4, 3), (2, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("f", [cg.affine, cg.affine_relu], ids=str)
def test_layers_of_no_features(f, rows, inputs, units):
    a, w, b = (cg.tensor(np.ones(n), requires_grad=True) for n in ((rows, inputs), (inputs, units), (units,)))
    y = f(a, w, b)
    np.testing.assert_array_equal(y, np.full((rows, units), inputs + 1.0))
    y.sum().backward()
    assert [x.grad.shape for x in (a, w, b)] == [a.shape, w.shape, b.shape]
    np.testing.assert_array_equal(w.grad, np.full(w.shape, float(rows)))


def test_a_sum_of_nothing_is_0_and_an_extreme_of_nothing_is_refused():
    nothing = cg.tensor(np.zeros((0, 3)), requires_grad=True)
    assert nothing.sum().item() == 0
    assert cg.sum(nothing, axis=0).tolist() == [0, 0, 0]
    assert cg.grad(lambda x: x.sum())(np.zeros((0, 3))).shape == (0, 3)
    for f in (cg.max, cg.min, cg.argmax, cg.mean, cg.var, cg.logsumexp):
        with pytest.raises(ShapeError, match=f"{f.name}.*0, 3"):
            f(nothing, axis=0)
    for f in (cg.softmax, cg.log_softmax):
        with pytest.raises(ShapeError, match=f.name):
            f(np.zeros((2, 0)))
    for f in (cg.concatenate, cg.stack):
        with pytest.raises(ChalkgradError, match=f.name):
            f([])


def test_broadcasting_against_nothing():
    a, b = np.ones((1, 3)), cg.tensor(np.ones((0, 3)), requires_grad=True)
    gradients = cg.grad(lambda a, b: (a * b).sum(), (0, 1))(a, b)
    assert [g.shape for g in gradients] == [(1, 3), (0, 3)]
    assert gradients[0].tolist() == [[0, 0, 0]]


def test_convolutions_of_no_channels_are_refused():
    for x, w in (((2, 5, 0), (3, 0, 4)), ((2, 5, 3), (3, 3, 0))):
        with pytest.raises(ShapeError, match="have no channels or filters"):
            cg.convolution(np.ones(x), np.ones(w))


# Stretched axes


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", ((2, 1), (3, 4))), ("ij,jk->ik", ((2, 3), (1, 4))), ("i,i->i", ((1,), (4,))),
        ("i,i->", ((4,), (1,))), ("ij,j->", ((2, 1), (3,))), ("ii,i->i", ((1, 1), (3,))),
        ("bij,bjk->bik", ((1, 2, 3), (4, 3, 2))),
    ],
)  # fmt: skip
def test_einsum_stretches_an_axis_of_length_1_as_numpy_does(subscripts, shapes):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=shape) for shape in shapes]
    tensors = [cg.tensor(x, requires_grad=True) for x in xs]
    y = cg.einsum(subscripts, *tensors)
    np.testing.assert_allclose(y, np.einsum(subscripts, *xs))
    gy = rng.normal(size=y.shape)
    y.backward(gy)
    for i, x in enumerate(xs):  # linear in each operand: the gradient is what it sends each unit to
        for place in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[place] = 1
            sent = np.vdot(gy, np.einsum(subscripts, *xs[:i], unit, *xs[i + 1 :]))
            np.testing.assert_allclose(tensors[i].grad.numpy()[place], sent, rtol=1e-12, atol=1e-12)


# What is asked for and cannot be


@pytest.mark.parametrize("classes", [-1, 0, 2.5, True, "3", None])
def test_one_hot_of_no_number_of_classes(classes):
    with pytest.raises(UsageError, match=re.escape(f"one_hot(classes={classes!r})")):
        cg.one_hot([0, 1], classes=classes)


@pytest.mark.cpu_only("a GPU is not waited for to look at values")
@pytest.mark.parametrize(("labels", "first"), [([0.5, 1.0], "0.5"), ([5, -1], "5"), ([0, -1], "-1"), ([NAN], "nan")])
def test_one_hot_of_what_is_no_label(labels, first):
    with pytest.raises(DataError, match=f"one_hot: the label {first}, the first such, is none of 0 … 2"):
        cg.one_hot(labels, classes=3)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint64", "int8", "float32"])
def test_one_hot_of_labels_in_any_dtype(dtype):
    assert cg.one_hot(np.array([1, 0], dtype), classes=2).tolist() == [[False, True], [True, False]]
    assert cg.one_hot(np.array([], dtype), classes=2).shape == (0, 2)


SECOND_SLOPES = {
    "arcsin": lambda x: x / (1 - x**2) ** 1.5,
    "arccos": lambda x: -x / (1 - x**2) ** 1.5,
    "tanh": lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2,
    "sigmoid": lambda x: -np.tanh(x / 2) / (4 * np.cosh(x / 2) ** 2),
}


@pytest.mark.parametrize("name", SECOND_SLOPES)
def test_the_second_slope_near_0_keeps_its_digits(name):
    f, x = cg.registry[name], np.array([-1.5e-3, 1e-6, 0.3, 0.6, 0.9], "float32")
    second = cg.grad(lambda x: cg.grad(lambda x: f(x).sum())(x).sum())(x)
    np.testing.assert_allclose(second, SECOND_SLOPES[name](x.astype("float64")), rtol=2e-6)
