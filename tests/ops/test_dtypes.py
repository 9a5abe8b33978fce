"""Dtypes: integers become floating point where the equation leaves them; float16 is summed in float32."""

import numpy as np
import pytest
from sampling import draw, examples

import chalkgrad as cg
from chalkgrad.errors import ChalkgradError, DtypeError

INTEGERS = ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"]
LEAVING = [p for p in cg.registry.values() if not p.whole]


def whole_numbers(dtype, shape, limit=np.inf):
    """As large as the dtype has them, unsigned ones beside 0, so that what can wrap around does."""
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low, high = max(low, -limit), min(high, limit)
    drawn = np.random.default_rng(sum(shape)).integers(int(low), int(high), shape, endpoint=True, dtype=dtype)
    return np.where(drawn == 0, np.array(high, dtype), drawn) if dtype != "bool" else drawn


def integers_for(p, case, dtype):
    """Operands of a primitive: integers where it computes with them, within reach of its logarithms and roots."""
    limit = np.inf if p.name in ("mean", "var", "mean_squared_error", "divide", "average_pool") else 60
    for i, x in enumerate(draw(p, case)):
        if p.operand(i) == "mask":  # of which some must count
            yield np.ones(x.shape, dtype)
        elif callable(p.domain[p.operand(i)]):  # a matrix of that kind
            yield np.broadcast_to(np.eye(*x.shape[-2:]) * (1 if dtype == "bool" else limit), x.shape).astype(dtype)
        else:
            yield whole_numbers(dtype, x.shape, limit) if p.operand(i) in p.equation.terms else x


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("p", LEAVING, ids=lambda p: p.name)
def test_integers_are_made_floats_where_the_equation_leaves_them(p, dtype):
    for case in examples(p):
        operands = list(integers_for(p, case, dtype))
        given = [p.operand(i) in p.equation.terms for i in range(len(operands))]
        wide = [x.astype("float64") if own else x for x, own in zip(operands, given, strict=True)]
        with np.errstate(all="ignore"):
            result, right = p.compute(tuple(operands), case.parameters), p.compute(tuple(wide), case.parameters)
        small = np.dtype(dtype).itemsize <= 2
        assert result.dtype == ("float32" if small else "float64")
        np.testing.assert_allclose(result, right.numpy().astype(result.dtype), rtol=2e-5 if small else 1e-12, atol=1e-5)


REFUSED_BY_NUMPY = dict.fromkeys(["negative", "positive", "subtract", "sign"], "bool")
WRAPS = {"negative": "u", "subtract": "u"}


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("p", [p for p in cg.registry.values() if p.whole], ids=lambda p: p.name)
def test_elsewhere_integers_stay_integers(p, dtype):
    """Small ones, so that nothing wraps around."""
    for case in examples(p):
        operands = [whole_numbers(dtype, x.shape, 3) if x.dtype.kind == "f" else x for x in draw(p, case)]
        operands = [abs(x) for x in operands] if p.name == "power" else operands
        operands = [np.where(x == 0, True, x).astype(x.dtype) for x in operands] if p.text.count("//") else operands
        parameters = {"min": 1, "max": 2} if p.name == "clip" else case.parameters
        if dtype == REFUSED_BY_NUMPY.get(p.name):
            with pytest.raises(ChalkgradError, match=p.name):
                p.compute(tuple(operands), parameters)
            continue
        if p.name == "round" and dtype == "bool":
            continue  # NumPy's is of float16, or refused
        y = p.compute(tuple(operands), parameters)
        if p.name.startswith("bitwise") or p.name == "invert":  # of integers only
            assert y.dtype == dtype or "int64" in (y.dtype, dtype)
            continue
        right = p.compute(tuple(x.astype("float64") if x.dtype == dtype else x for x in operands), parameters).numpy()
        if p.name not in ("leaky_relu", "pad", "astype", "round"):  # which have parameters that are floats
            assert y.dtype.kind in "biu"
        if y.dtype.kind not in WRAPS.get(p.name, ""):
            np.testing.assert_allclose(y, right.astype(y.dtype), rtol=1e-6)


def test_a_loss_of_images_does_not_wrap_around():
    a, b = np.array([0, 200], "uint8"), np.array([200, 0], "uint8")
    assert cg.mean_squared_error(a, b).item() == 40000
    assert cg.var(np.array([0, 255, 0, 255], "uint8")).item() == 127.5**2
    assert cg.mean(np.full(1000, 255, "uint8")).item() == 255
    np.testing.assert_allclose(cg.softmax(np.array([1, 2], "uint8")), cg.softmax([1.0, 2.0]))
    assert cg.affine(np.full((1, 4), 200, "uint8"), np.full((4, 1), 200, "uint8"), np.ones(1, "uint8")).item() == 160001


def test_numbers_and_lists_of_whole_numbers():
    assert cg.erf(1).item() == pytest.approx(0.8427007929497149, rel=1e-15)
    assert cg.exp([1, 2]).dtype == "float64"
    assert cg.sigmoid(True).dtype == "float32"
    assert (cg.tensor(np.array([1, 2], "uint8")) / 2).tolist() == [0.5, 1]
    assert (1 / cg.tensor(np.array([4], "int64"))).dtype == "float64"
    assert cg.tensor(np.array([1], "int32")).mean().dtype == "float64"


@pytest.mark.parametrize(
    ("whole", "beside", "found"),
    [("uint8", "float16", "float16"), ("uint8", "float32", "float32"), ("int64", "float32", "float64"),
     ("bool", "float64", "float64"), ("uint16", "float16", "float32"), ("uint8", "int64", "float64")],
)  # fmt: skip
def test_beside_others_the_dtype_is_numpy_s(whole, beside, found):
    a, b = np.array([1, 0, 1], whole), np.array([1, 0, 0], beside)
    for result in (cg.mean_squared_error(a, b), cg.mean_squared_error(b, a)):
        assert result.dtype == found
        assert result.item() == pytest.approx(1 / 3, rel=1e-3)
    x = cg.tensor(b, requires_grad=b.dtype.kind == "f")
    if x.requires_grad:
        cg.mean_squared_error(x, a).backward()
        assert x.grad.dtype == beside
        np.testing.assert_allclose(x.grad, [0, 0, -2 / 3], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_a_rule_sees_floats_too(dtype):
    """What was saved of whole numbers does not wrap around in the reverse pass."""
    x = whole_numbers(dtype, (6, 3))
    gradients = []
    for given in (x, x.astype("float64")):
        gamma, beta = (cg.tensor(np.arange(1.0, 4.0), requires_grad=True) for _ in range(2))
        y = cg.layer_normalization(given, gamma, beta) + cg.batch_normalization(given, gamma, beta)
        (y * y).sum().backward()
        gradients.append((gamma.grad, beta.grad))
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_a_captured_function_makes_floats_too():
    step = cg.capture(lambda a, b: cg.mean_squared_error(a, b) + cg.gelu(a).sum())
    for seed in range(4):
        a, b = (cg.tensor(np.random.default_rng([seed, i]).integers(0, 256, 5).astype("uint8")) for i in range(2))
        right = cg.mean_squared_error(a, b) + cg.gelu(a).sum()
        assert step(a, b).item() == right.item()
        assert right.item() == pytest.approx(((a.numpy() - b.numpy().astype(float)) ** 2).mean() + a.numpy().sum())


@pytest.mark.parametrize("f", [lambda x: x + 300, lambda x: x * -1, lambda x: cg.maximum(x, -1)])
def test_a_number_that_the_dtype_does_not_hold_is_refused(f):
    with pytest.raises(DtypeError, match="out of bounds for uint8"):
        f(cg.tensor(np.array([1], "uint8")))


# Sums of float16


SUMMING = [p for p in cg.registry.values() if p.adds]


def halves(n, high=1.0):
    return np.random.default_rng(n).uniform(0.1, high, n).astype("float16")


@pytest.mark.parametrize("high", [1.0, 8.0])
@pytest.mark.parametrize("name", ["mean", "var", "max", "logsumexp", "softmax", "log_softmax"])
def test_statistics_of_100_000_float16_numbers(name, high):
    x = halves(100_000, high)
    f = cg.registry[name]
    gy = np.float16(100)
    results = []
    for dtype in ("float16", "float64"):
        t = cg.tensor(x, dtype=dtype, requires_grad=True)
        y = f(t)
        y.backward(np.full(y.shape, gy))
        results.append((y, t.grad))
    for found, exact in zip(*results, strict=True):
        assert found.dtype == "float16"
        np.testing.assert_allclose(found, exact.numpy().astype("float16"), rtol=4e-3, atol=1e-6)


def test_losses_of_float16():
    for n in (100_000,):
        a, b = halves(n), halves(n + 1)[:n]
        np.testing.assert_allclose(cg.mean_squared_error(a, b), ((a - b).astype(float) ** 2).mean(), rtol=2e-3)
        z, t = np.stack([a, b], 1), np.tile(np.eye(2, dtype="float16"), (n // 2, 1))
        right = cg.categorical_cross_entropy(z.astype("float64"), t.astype("float64"))
        assert cg.categorical_cross_entropy(z, t).dtype == "float16"
        np.testing.assert_allclose(cg.categorical_cross_entropy(z, t), right, rtol=1e-3)
        np.testing.assert_allclose(cg.sparse_categorical_cross_entropy(z, t.argmax(1)), right, rtol=1e-3)
        right = cg.binary_cross_entropy(z.astype("float64"), t.astype("float64"))
        np.testing.assert_allclose(cg.binary_cross_entropy(z, t), right, rtol=1e-3)


def test_normalisation_of_float16_batches():
    x = halves(100_000, 8.0).reshape(-1, 2)
    gamma, beta = (cg.tensor(np.ones(2), dtype="float16", requires_grad=True) for _ in range(2))
    y = cg.batch_normalization(x, gamma, beta)
    right = cg.batch_normalization(x.astype("float64"), np.ones(2), np.ones(2))
    np.testing.assert_allclose(y, right, atol=4e-3)
    y.backward(np.full(y.shape, 0.5))
    np.testing.assert_allclose(beta.grad, [25_000, 25_000], rtol=1e-3)


def test_sums_in_the_reverse_pass_of_float16():
    """Un-broadcasting, a bias, a product of matrices, and elements taken many times: 10,000 ones are 10,000."""
    ones, bias = np.ones((10_000, 3), "float16"), cg.tensor(np.ones(3), dtype="float16", requires_grad=True)
    w = cg.tensor(np.ones((3, 3)), dtype="float16", requires_grad=True)
    for f in (
        lambda: cg.tensor(ones) + bias,
        lambda: cg.tensor(ones) * bias,
        lambda: cg.affine(ones, w, bias),
        lambda: cg.affine_relu(ones, w, bias),
        lambda: bias[np.arange(30_000) % 3],
        lambda: cg.broadcast_to(bias, shape=(10_000, 3)),
    ):
        bias.grad = w.grad = None
        y = f()
        assert y.dtype == "float16"
        y.backward(np.ones(y.shape))
        assert bias.grad.tolist() == [10_000] * 3
        assert w.grad is None or w.grad.tolist() == [[10_000] * 3] * 3
    assert cg.matmul(ones.T, ones).tolist() == [[10_000] * 3] * 3
    assert cg.einsum("ij,ik->jk", ones, ones).tolist() == [[10_000] * 3] * 3
    assert cg.sum(ones, axis=0).tolist() == [10_000] * 3


@pytest.mark.parametrize("p", SUMMING, ids=lambda p: p.name)
def test_what_sums_gives_float16_for_float16_and_so_do_its_gradients(p):
    for case in examples(p):
        operands = draw(p, case)
        tensors = [
            cg.tensor(x, dtype="float16" if x.dtype.kind == "f" else None, requires_grad=p.operand(i) in p.rules)
            for i, x in enumerate(operands)
        ]
        y = p.compute(tuple(tensors), case.parameters)
        assert y.dtype == "float16"
        right = p.compute(tuple(t.numpy().astype("float64") if t.dtype == "float16" else t for t in tensors),
                          case.parameters)  # fmt: skip
        np.testing.assert_allclose(y, right, rtol=2e-3, atol=2e-3 * max(1, abs(right.numpy()).max()))
        if y.requires_grad:
            y.backward(np.ones(y.shape))
            assert all(t.grad is None or t.grad.dtype == "float16" for t in tensors)
