"""What is composed of a few primitives is NumPy's function of that name, and has its gradient from those."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.namespace import makers, namespace, namespace_on
from chalkgrad.errors import UnknownNameError
from chalkgrad.ops.composed import composed

pytestmark = pytest.mark.gpu

X = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]])
CASES = {
    "std": [((X,), {}), ((X,), {"axis": 0, "ddof": 1, "keepdims": True})],
    "ptp": [((X,), {}), ((X,), {"axis": -1})],
    "ravel": [((X,), {})],
    "moveaxis": [((X[None], 0, -1), {}), ((X[None], -1, 1), {})],
    "swapaxes": [((X[None], 0, -1), {})],
    "outer": [((X, X[0]), {})],
    "dot": [((X, X[0]), {}), ((X[0], X[0]), {}), ((X, X.T), {}), ((X, np.array(2.0)), {})],
    "trace": [((X[:, :2],), {})],
    "diagonal": [((X[:, :2],), {})],
    "diff": [((X,), {}), ((X,), {"axis": 0})],
    "take": [((X, [0, 2, 2]), {}), ((X, [1, 0, 1]), {"axis": 0}), ((X, 1), {"axis": -1})],
    "take_along_axis": [((X, np.array([[2, 0], [1, 1]])), {"axis": 1}), ((X, np.array([[1, 0, 1]])), {"axis": 0})],
    "sort": [((X,), {}), ((X,), {"axis": 0})],
    "cumprod": [((X,), {}), ((X * [1, 0, 1],), {"axis": 1}), ((X,), {"axis": 0})],
    "tile": [((X, 2), {}), ((X, (2, 1, 3)), {}), ((X[None], (2,)), {})],
    "vstack": [(([X[0], X],), {})],
    "hstack": [(([X[0], X[1]],), {}), (([X, X],), {})],
}
CALLS = [pytest.param(name, *case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]


def lifted(x, device="cpu", grad=False):
    if isinstance(x, list) and isinstance(x[0], np.ndarray):
        return [lifted(item, device, grad) for item in x]
    if isinstance(x, np.ndarray):
        return cg.tensor(x, requires_grad=grad and x.dtype.kind == "f", device=device)
    return x


def test_each_has_a_case():
    assert CASES.keys() == composed.keys()


@pytest.mark.parametrize(("name", "arguments", "options"), CALLS)
def test_it_is_numpys(name, arguments, options, device):
    ours = getattr(cg, name)(*(lifted(x, device) for x in arguments), **options)
    np.testing.assert_allclose(ours.numpy(), getattr(np, name)(*arguments, **options), rtol=1e-13)
    assert getattr(namespace, name) is composed[name]


@pytest.mark.parametrize(("name", "arguments", "options"), CALLS)
def test_its_gradient_is_the_slope(name, arguments, options, device):
    first, *others = (lifted(x, device, grad=True) for x in arguments)
    leaf = first[0] if isinstance(first, list) else first
    y = getattr(cg, name)(first, *others, **options)
    gy = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(cg.tensor(gy, device=device))
    direction = np.random.default_rng(1).standard_normal(leaf.shape)

    def moved(step):
        x = arguments[0]
        x = [x[0] + step * direction, *x[1:]] if isinstance(x, list) else x + step * direction
        return getattr(np, name)(x, *arguments[1:], **options)

    slope = (gy * (moved(1e-5) - moved(-1e-5))).sum() / 2e-5
    np.testing.assert_allclose((leaf.grad.numpy() * direction).sum(), slope, rtol=1e-7)


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
