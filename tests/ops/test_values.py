"""Values of the primitives against NumPy, at extremes, and the arguments that they take and refuse."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sampling import draw, examples

import chalkgrad as cg
from chalkgrad.errors import DataError, DtypeError, ShapeError, UsageError

DTYPES = ["float32", "float64"]
IN_NUMPY = [p for p in cg.registry.values() if callable(getattr(np, p.name, None))]


def values(*shape, dtype="float64", seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def leaf(data, dtype=None):
    return cg.tensor(data, requires_grad=True, dtype=dtype)


def gradient(f, *xs, gy=None):
    """The gradients of f at xs, for random incoming numbers."""
    tensors = [leaf(x) for x in xs]
    y = f(*tensors)
    y.backward(values(*y.shape, seed=7) if gy is None else gy)
    return tensors[0].grad if len(xs) == 1 else tuple(x.grad for x in tensors)


def equal(actual, expected):
    assert actual.dtype == np.asarray(expected).dtype
    assert actual.shape == np.shape(expected)
    np.testing.assert_array_equal(actual, expected)


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Against NumPy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("made", IN_NUMPY, ids=str)
def test_values_agree_with_the_function_of_that_name(made, dtype):
    for case in examples(made):
        operands = [x.astype(dtype) if x.dtype.kind == "f" else x for x in draw(made, case)]
        positional = {
            "reshape": ["shape"], "transpose": ["axes"], "broadcast_to": ["shape"], "pad": ["pad_width"],
            "clip": ["min", "max"], "astype": ["dtype"],
        }.get(made.name, [])  # fmt: skip
        options = dict(case.parameters)
        arguments = [options.pop(name, None) for name in positional]
        if made.name == "einsum":
            result, expected = (f(case.parameters["subscripts"], *operands) for f in (cg.einsum, np.einsum))
        elif made.variadic:
            result, expected = (f(operands, **options) for f in (made, getattr(np, made.name)))
        else:
            result, expected = (f(*operands, *arguments, **options) for f in (made, getattr(np, made.name)))
        assert result.shape == np.shape(expected)
        assert result.dtype == np.asarray(expected).dtype
        close(result, expected, {"float32": 1e-6, "float64": 1e-14}[dtype])


def test_most_primitives_are_found_in_numpy():
    assert len(IN_NUMPY) >= 40
    assert {"sum", "matmul", "where", "einsum", "pad"} <= {p.name for p in IN_NUMPY}


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "argmax"])
@given(data=st.data())
def test_reductions_agree_with_numpy(name, data):
    x = values(*data.draw(array_shapes(max_dims=3, max_side=4)), dtype=data.draw(st.sampled_from(DTYPES)))
    one = st.integers(-x.ndim, x.ndim - 1)
    axes = st.sets(st.integers(0, x.ndim - 1)).map(tuple)
    axis = data.draw(st.none() | one if name == "argmax" else st.none() | one | axes)
    options = {} if name == "argmax" else {"keepdims": data.draw(st.booleans())}
    result, expected = (f(x, axis=axis, **options) for f in (getattr(cg, name), getattr(np, name)))
    assert result.shape == np.shape(expected)
    assert result.dtype == np.asarray(expected).dtype
    close(result, expected, 1e-5 if x.dtype == "float32" else 1e-13)


@given(arrays("float64", array_shapes(max_dims=2, max_side=4), elements=st.floats(-20, 20)))
def test_activations_agree_with_their_formulas(x):
    close(cg.sigmoid(x), 1 / (1 + np.exp(-x)))
    close(cg.softplus(x), np.log1p(np.exp(x)))
    close(cg.relu(x), np.maximum(x, 0))
    close(cg.leaky_relu(x, 0.2), np.where(x > 0, x, 0.2 * x))
    close(cg.elu(x, alpha=1.5), np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0))))
    close(cg.silu(x), x / (1 + np.exp(-x)))
    close(cg.erf(x), np.vectorize(math.erf)(x))
    close(cg.normal_probability(x), np.vectorize(math.erfc)(-x / np.sqrt(2)) / 2)
    close(cg.gelu(x), x * np.vectorize(math.erfc)(-x / np.sqrt(2)) / 2)
    close(cg.softmax(x), np.exp(x) / np.exp(x).sum(-1, keepdims=True))
    close(cg.log_softmax(x, axis=0), x - np.log(np.exp(x).sum(0)), 1e-11)
    close(cg.logsumexp(x), np.log(np.exp(x).sum()))


def test_one_hot_and_alike():
    equal(cg.one_hot([2, 0], classes=3), np.eye(3, dtype=bool)[[2, 0]])
    equal(cg.one_hot(np.array([[1]]), classes=2), np.array([[[False, True]]]))
    x = cg.tensor(values(2, 3, dtype="float32"))
    equal(cg.zeros_like(x), np.zeros((2, 3), "float32"))
    equal(cg.ones_like(x), np.ones((2, 3), "float32"))
    equal(cg.identity_like(x, size=2), np.eye(2, dtype="float32"))


# At extremes; warnings are errors


EXTREMES = [-1e4, -1e2, 0.0, 1e2, 1e4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("f", "value", "slope"),
    [
        (cg.sigmoid, [0, math.exp(-100), 0.5, 1, 1], [0, math.exp(-100), 0.25, math.exp(-100), 0]),
        (cg.softplus, [0, math.exp(-100), math.log(2), 100, 1e4], [0, math.exp(-100), 0.5, 1, 1]),
        (cg.silu, [0, -100 * math.exp(-100), 0, 100, 1e4], [0, -99 * math.exp(-100), 0.5, 1, 1]),
        (cg.gelu, [0, 0, 0, 100, 1e4], [0, 0, 0.5, 1, 1]),
        (cg.elu, [-1, -1, 0, 100, 1e4], [0, math.exp(-100), 1, 1, 1]),
        (cg.leaky_relu, [-2e3, -20, 0, 100, 1e4], [0.2, 0.2, 0.2, 1, 1]),
        (cg.relu, [0, 0, 0, 100, 1e4], [0, 0, 0, 1, 1]),
        (cg.tanh, [-1, -1, 0, 1, 1], [0, 4 * math.exp(-200), 1, 4 * math.exp(-200), 0]),
        (cg.erf, [-1, -1, 0, 1, 1], [0, 0, 2 / math.sqrt(math.pi), 0, 0]),
    ],
    ids=["sigmoid", "softplus", "silu", "gelu", "elu", "leaky_relu", "relu", "tanh", "erf"],
)
def test_activations_at_extremes(f, value, slope, dtype):
    x = leaf(EXTREMES, dtype)
    y = f(x)
    y.backward(np.ones(5))
    tolerance = {"rtol": 1e-6, "atol": 1e-36} if dtype == "float32" else {"rtol": 1e-13, "atol": 0}
    np.testing.assert_allclose(y, value, **tolerance)
    np.testing.assert_allclose(x.grad, slope, **tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalisations_at_extremes(dtype):
    x = np.array([[-1e4, 0.0, 1e4], [1e4, 1e4, -1e4]], dtype)
    half, log_half = 0.5, -math.log(2)
    close(cg.logsumexp(x, axis=1), [1e4, 1e4 + math.log(2)], 1e-6)
    close(cg.softmax(x), [[0, 0, 1], [half, half, 0]], 1e-6)
    np.testing.assert_allclose(cg.log_softmax(x), [[-2e4, -1e4, 0], [log_half, log_half, -2e4 + log_half]], rtol=1e-6)
    gy = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, 2.0]], dtype)
    close(gradient(cg.softmax, x, gy=gy), [[0, 0, 0], [0.5, -0.5, 0]], 1e-6)
    close(gradient(cg.log_softmax, x, gy=gy), [[1, -2, 1], [0, -2, 2]], 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_of_logsumexp_keeps_its_digits_far_from_zero(dtype):
    x = np.array([1e4, 1e4, 1e4], dtype)
    slope = gradient(cg.logsumexp, x, gy=3)
    np.testing.assert_allclose(slope, [1, 1, 1], rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropies_at_extremes(dtype):
    logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], dtype)
    right, wrong = np.array([0, 0]), np.array([1, 1])
    for labels, value, slope in ((right, 0, [0, 0, 0]), (wrong, 2e4, [0.5, -0.5, 0])):
        targets = np.eye(3, dtype=dtype)[labels]
        close(cg.sparse_categorical_cross_entropy(logits, labels), value, 1e-6)
        close(cg.categorical_cross_entropy(logits, targets), value, 1e-6)
        close(gradient(lambda x, y=labels: cg.sparse_categorical_cross_entropy(x, y), logits, gy=1), [slope] * 2, 1e-6)
        close(gradient(lambda x, y=targets: cg.categorical_cross_entropy(x, y), logits, gy=1), [slope] * 2, 1e-6)
    x, targets = np.array([1e4, -1e4, 1e4, -1e4], dtype), np.array([1, 0, 0, 1], dtype)
    close(cg.binary_cross_entropy(x, targets), 5e3, 1e-6)
    close(gradient(lambda x: cg.binary_cross_entropy(x, targets), x, gy=4), [0, 0, 1, -1], 1e-6)


def test_logsumexp_of_minus_infinity_beside_numbers():
    close(cg.logsumexp(np.array([-np.inf, 1.0, 1.0])), 1 + math.log(2))
    close(gradient(cg.logsumexp, np.array([-np.inf, 1.0, 1.0]), gy=2), [0, 1, 1])
    close(cg.softmax(np.array([-np.inf, 1.0, 1.0])), [0, 0.5, 0.5])


# Powers, limits, ties


@pytest.mark.parametrize(
    ("exponent", "value", "slope", "curvature"), [(0, 1, 0, 0), (1, 0, 1, 0), (2, 0, 0, 2), (3, 0, 0, 0)]
)
@pytest.mark.parametrize("kind", [int, float, np.float64, np.array], ids=["int", "float", "scalar", "array"])
def test_powers_at_zero(exponent, value, slope, curvature, kind):
    x, f = np.array(0.0), lambda x: x ** kind(exponent)
    assert f(cg.tensor(x)).item() == value
    assert cg.grad(f)(x).item() == slope
    assert cg.grad(cg.grad(f))(x).item() == curvature


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3, 2.0])
def test_integer_powers_of_negative_numbers(exponent):
    x = np.array([-2.0, -0.5, 3.0])
    close(cg.tensor(x) ** exponent, x**exponent)
    gy = values(3)
    close(gradient(lambda x: x**exponent, x, gy=gy), gy * exponent * x ** (exponent - 1.0))


def test_slope_in_the_exponent():
    a, b = np.array([0.0, 2.0, 0.5]), np.array([2.0, 3.0, -1.0])
    close(gradient(cg.power, a, b, gy=[1, 1, 1])[1], [0, 8 * math.log(2), 2 * math.log(0.5)])


@pytest.mark.parametrize(
    "limits", [{}, {"min": None}, {"min": 0.0}, {"max": 1.0}, {"min": 0.0, "max": 1.0}, {"max": None}]
)
def test_clip_with_and_without_limits(limits):
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    low, high = limits.get("min"), limits.get("max")
    equal(cg.clip(x, **limits), np.clip(x, low, high))
    equal(cg.tensor(x).clip(low, high), np.clip(x, low, high))
    within = (x >= (-9 if low is None else low)) & (x <= (9 if high is None else high))
    gy = values(5)
    equal(gradient(lambda x: x.clip(**limits), x, gy=gy), gy * within)


def test_ties_share_the_gradient():
    x = np.array([[2.0, 5.0, 5.0], [7.0, 7.0, 7.0]])
    equal(gradient(lambda x: x.max(axis=1), x, gy=[4, 3]), np.array([[0.0, 2, 2], [1, 1, 1]]))
    equal(gradient(lambda x: (-x).min(axis=1), x, gy=[4, 3]), np.array([[0.0, -2, -2], [-1, -1, -1]]))
    equal(gradient(cg.max, x, gy=6), np.array([[0.0, 0, 0], [2, 2, 2]]))
    for f in (cg.maximum, cg.minimum):
        ga, gb = gradient(f, np.array([1.0, 2.0]), np.array([1.0, 2.0]), gy=[4, 6])
        assert ga.tolist() == gb.tolist() == [2, 3]


def test_kinks_have_the_slope_that_is_documented():
    zero = np.zeros(2)
    for f, slope in ((cg.relu, 0), (cg.absolute, 0), (cg.leaky_relu, 0.2), (cg.elu, 1)):
        assert gradient(f, zero, gy=[1, 2]).tolist() == [slope, 2 * slope]


# Elements by index


INDICES = [
    1, -1, slice(None, None, -1), slice(3, 0, -2), (slice(None), 1), ..., (..., 0), None, (None, ..., None, 1),
    [0, 2, 0, 0], np.array([[1, 1], [0, 3]]), ([0, 1, 0], [1, 1, 1]), (slice(1, 3), [0, 0]), np.int64(2),
    np.array([True, False, True, True]), (), slice(0, 0), (slice(None, None, 2), slice(None, None, -1)), [],
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_elements_by_index(index):
    x = values(4, 3)
    equal(cg.tensor(x)[index], x[index])
    gy = values(*x[index].shape, seed=5)
    expected = np.zeros_like(x)
    np.add.at(expected, index, gy)
    close(gradient(lambda x: x[index], x, gy=gy), expected)


def test_an_element_taken_several_times_gets_every_gradient():
    assert gradient(lambda x: x[[0, 2, 0, 0]], np.zeros(3), gy=[1, 20, 300, 4000]).tolist() == [4301, 0, 20]


def test_masks_and_tensors_as_index():
    x = values(4, 3)
    t = cg.tensor(x)
    equal(t[t > 0], x[x > 0])
    equal(t[cg.tensor([2, 0])], x[[2, 0]])
    equal(t[cg.tensor([2, 0]), cg.tensor(1)], x[[2, 0], 1])
    equal(t[cg.tensor(1) : cg.tensor(3)], x[1:3])
    gy = values(int((x > 0).sum()))
    expected = np.zeros_like(x)
    expected[x > 0] = gy
    equal(gradient(lambda x: x[x > 0], x, gy=gy), expected)


BEYOND = pytest.param([9], marks=pytest.mark.cpu_only("an index out of range wraps around on a GPU"))


@pytest.mark.parametrize("index", [5, (0, 3), BEYOND, (0, 0, 0), np.array([True, False])], ids=repr)
def test_an_index_that_is_not_there(index):
    with pytest.raises(ShapeError, match=r"getitem \(y = x\[index\]\) cannot take x of shape \(4, 3\), index="):
        cg.tensor(values(4, 3))[index]


# Shapes


def test_joining_and_padding():
    a, b = values(2, 3), values(4, 3)
    equal(cg.concatenate([a, b]), np.concatenate([a, b]))
    equal(cg.concatenate((a.T, cg.tensor(b.T)), -1), np.concatenate([a.T, b.T], -1))
    equal(cg.stack([a, a], axis=1), np.stack([a, a], axis=1))
    for widths in (1, (1, 2), ((1, 0), (0, 2)), [[0, 0], [3, 1]]):
        equal(cg.pad(cg.tensor(a), widths, constant_values=2.5), np.pad(a, widths, constant_values=2.5))
        gy = values(*np.pad(a, widths).shape)
        before = np.broadcast_to(widths, (2, 2))[:, 0]
        equal(gradient(lambda x, w=widths: cg.pad(x, w), a, gy=gy), gy[before[0] :, before[1] :][:2, :3])


def test_axes_of_length_one():
    x = values(1, 3, 1)
    for axis in (None, 0, -1, (0, 2)):
        equal(cg.tensor(x).squeeze(axis), np.squeeze(x, axis))
        equal(gradient(lambda x, axis=axis: x.squeeze(axis), x, gy=np.squeeze(x, axis)), x)
    for axis in (0, -1, (0, 1), (0, -1)):
        equal(cg.expand_dims(x, axis), np.expand_dims(x, axis))
    equal(cg.broadcast_to(values(3), (2, 3)), np.broadcast_to(values(3), (2, 3)))


def test_scattered_elements_add_up():
    assert cg.scatter_add([1.0, 20.0, 300.0], index=([0, 2, 0],), shape=(3,)).tolist() == [301, 0, 20]
    assert gradient(lambda x: cg.scatter_add(x, index=([0, 2, 0],), shape=(3,)), np.ones(3), gy=[4, 5, 6]).tolist() == [
        4,
        6,
        4,
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.reshape(4, 2),
        lambda x: x.reshape(-1, -1),
        lambda x: x.transpose(0),
        lambda x: x.transpose(0, 0),
        lambda x: x.squeeze(0),
        lambda x: x.squeeze(5),
        lambda x: x.sum(axis=2),
        lambda x: x.mean(axis=(0, 0)),
        lambda x: x.max(axis=-3),
        lambda x: x.argmax(axis=7),
        lambda x: x.var(axis=9),
        lambda x: x.softmax(2),
        lambda x: cg.expand_dims(x, 7),
        lambda x: cg.broadcast_to(x, (3, 2)),
        lambda x: cg.concatenate([x, x[0]]),
        lambda x: cg.concatenate([x, x], axis=2),
        lambda x: cg.concatenate([]),
        lambda x: cg.stack([x, x[:, :2]]),
        lambda x: cg.stack([]),
        lambda x: cg.pad(x, ((1, 1), (1, 1), (1, 1))),
        lambda x: x + np.ones((3, 2)),
        lambda x: x[:, :0].max(axis=1),
        lambda x: x[:0].mean(),
        lambda x: x.var(axis=0, ddof=2),
        lambda x: x @ x,
        lambda x: cg.affine(x, x, x),
    ],
)
def test_shapes_that_do_not_fit_are_errors_of_ours(call):
    with pytest.raises(ShapeError, match=r"\("):
        call(cg.tensor(values(2, 3)))


@pytest.mark.parametrize(
    "call", [lambda: cg.add(np.ones((2, 3)), np.ones((3, 2))), lambda: cg.tensor(values(2, 3)) @ values(2, 3)]
)
def test_the_error_names_both_shapes(call):
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\((3, 2|2, 3)\)"):
        call()


@pytest.mark.parametrize(("a", "b", "words"), [
    ((2, 3), (2, 3), r"a of shape \(2, 3\) and b of shape \(2, 3\).*\(3\).*last but one \(2\)"),
    ((2, 3), (4,), r"a of shape \(2, 3\) and b of shape \(4,\).*only one \(4\)"),
    ((), (2, 2), "matmul takes no single numbers"),
])  # fmt: skip
def test_matrix_products_that_do_not_fit(a, b, words):
    with pytest.raises(ShapeError, match=words):
        cg.matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize("f", [cg.affine, cg.affine_relu], ids=str)
@pytest.mark.parametrize(
    "shapes", [((5, 3), (4, 3), (4,)), ((5, 3), (3, 4), (3,)), ((5, 3), (3, 4), (1, 4)), ((), (3, 4), (4,))]
)
def test_layers_that_do_not_fit_name_every_shape(f, shapes):
    with pytest.raises(ShapeError) as error:
        f(*map(np.ones, shapes))
    assert all(str(shape) in str(error.value) for shape in shapes)


# einsum


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ba", [(2, 3)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iij->j", [(3, 3, 2)]),
        ("iii", [(2, 2, 2)]),
        ("i,j->ij", [(2,), (3,)]),
        ("i,i,i", [(3,), (3,), (3,)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
        ("...ij,...jk", [(5, 1, 2, 3), (4, 3, 2)]),
        ("...", [(2, 3)]),
        ("i...->...", [(2, 3, 4)]),
        (" i j , j -> i ", [(2, 3), (3,)]),
        ("ij,kl->", [(2, 3), (2, 2)]),
        ("Ab,bA->A", [(2, 3), (3, 2)]),
    ],
)
def test_einsum_agrees_with_numpy(subscripts, shapes):
    xs = [values(*shape, seed=i) for i, shape in enumerate(shapes)]
    expected = np.einsum(subscripts, *xs)
    close(cg.einsum(subscripts, *xs), expected)
    gy = values(*expected.shape, seed=9)
    _, pull = cg.vjp(lambda *xs: cg.einsum(subscripts, *xs), *xs)
    for i, g in enumerate(pull(gy)):
        v = values(*shapes[i], seed=11)  # linear in each operand
        close(np.vdot(g, v), np.vdot(gy, np.einsum(subscripts, *xs[:i], v, *xs[i + 1 :])))


@pytest.mark.parametrize(
    ("subscripts", "words"),
    [
        ("ij,jk", "names 2 operands, got 1"),
        ("ijk", r"operand 0 has shape \(2, 3\), its subscripts are 'ijk'"),
        ("ijk...", "operand 0 has shape"),
        ("ii", r"einsum .*cannot take xs of shape \(2, 3\)"),
        ("ij->k", r"einsum .*cannot take"),
    ],
)
def test_einsum_that_does_not_fit(subscripts, words):
    with pytest.raises(ShapeError, match=words):
        cg.einsum(subscripts, values(2, 3))


# Losses


PAIRED = [cg.mean_squared_error, cg.binary_cross_entropy, cg.categorical_cross_entropy]


@pytest.mark.parametrize("loss", PAIRED, ids=str)
def test_losses_refuse_shapes_that_would_broadcast(loss):
    for a, b in (((4,), (4, 1)), ((4, 1), (4,)), ((2, 3), (3,)), ((2, 3), (1, 3))):
        with pytest.raises(ShapeError) as error:
            loss(np.ones(a), np.ones(b))
        assert all(word in str(error.value) for word in (loss.name, str(a), str(b), *loss.operands, "Reshape"))


@pytest.mark.parametrize("loss", PAIRED, ids=str)
def test_losses_refuse_nothing(loss):
    with pytest.raises(ShapeError, match=rf"{loss.name} of no elements.*\(0, 3\)"):
        loss(np.ones((0, 3)), np.ones((0, 3)))


@pytest.mark.cpu_only("labels on a GPU are not looked at, since that would wait for it")
def test_sparse_labels_that_do_not_fit():
    loss, logits = cg.sparse_categorical_cross_entropy, values(2, 3)
    for labels in (np.zeros(3, int), np.zeros((2, 1), int), np.zeros((2, 3), int)):
        with pytest.raises(ShapeError) as error:
            loss(logits, labels)
        assert all(word in str(error.value) for word in ("(2, 3)", str(labels.shape), "integer labels"))
    for labels in (np.zeros(2), np.zeros(2, bool), [0.0, 1.0]):
        with pytest.raises(ShapeError, match=r"integer labels.*(float|bool)"):
            loss(logits, labels)
    with pytest.raises(ShapeError, match=r"no rows: logits have shape \(0, 3\)"):
        loss(np.ones((0, 3)), np.ones(0, int))
    with pytest.raises(DataError, match="label 3 in row 1, the first such, is none of the 3 classes"):
        loss(logits, [0, 3])


@pytest.mark.cpu_only("labels on a GPU are not looked at, since that would wait for it")
def test_negative_labels_are_refused():
    with pytest.raises(DataError, match="label -1 in row 1"):
        cg.sparse_categorical_cross_entropy(values(2, 3), [0, -1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: cg.sparse_categorical_cross_entropy(np.ones(3), 1),
        lambda: cg.einsum("i,", np.ones(2), 2.0),
        lambda: cg.mean_squared_error(cg.tensor(1.0), 1.0),
        lambda: cg.pad([1.0, 2.0], 1),
        lambda: cg.pad(np.ones(2), np.int64(1)),
    ],
    ids=["labels", "einsum", "loss", "pad a list", "pad width"],
)
def test_python_numbers_as_operands(call):
    assert np.isfinite(call().numpy()).all()


@pytest.mark.parametrize("name", ["sum", "max", "logsumexp"])  # NumPy refuses it for the mean
def test_a_single_number_is_reduced_over_its_last_axis(name):
    assert gradient(lambda x: getattr(cg, name)(x, axis=-1), np.array(2.0), gy=3.0).item() == 3


def test_pad_of_one_pair_in_a_list():
    gradient(lambda x: cg.pad(x, [(1, 2)]), np.ones((2, 3)))


def test_concatenate_of_everything_flattened():
    gradient(lambda x: cg.concatenate([x, x], axis=None), np.ones((2, 3)))


# Fused operations and their plain compositions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [(5,), (2, 5), ()])
def test_affine_relu_is_relu_of_affine_to_the_bit(rows, dtype, device):
    arguments = [values(*rows, 3, dtype=dtype), values(3, 4, dtype=dtype), values(4, dtype=dtype)]
    gy = values(*rows, 4, dtype=dtype)
    fused, plain = cg.affine_relu, lambda a, w, b: cg.affine(a, w, b).relu()
    equal(fused(*arguments), plain(*arguments).numpy())
    for g, h in zip(gradient(fused, *arguments, gy=gy), gradient(plain, *arguments, gy=gy), strict=True):
        equal(g, h.numpy())
    expected = arguments[0] @ arguments[1] + arguments[2]
    if device == "cpu":
        equal(cg.affine(*arguments), expected)
    else:  # where NumPy's order of a sum is not the order
        close(cg.affine(*arguments), expected, {"float32": 1e-6, "float64": 1e-14}[dtype])


def pairs():
    labels = np.array([[0, 3], [1, 1], [2, 0]])
    probabilities = np.random.default_rng(3).dirichlet(np.ones(4), (3, 2))
    fuzzy = np.random.default_rng(3).uniform(size=(3, 2, 4))
    hot = cg.one_hot(labels, classes=4)
    return {
        "sparse": (
            lambda x: cg.sparse_categorical_cross_entropy(x, labels),
            lambda x: -(cg.log(cg.softmax(x)) * hot).sum(axis=-1).mean(),
        ),
        "categorical": (
            lambda x: cg.categorical_cross_entropy(x, probabilities),
            lambda x: -(cg.log_softmax(x) * probabilities).sum(axis=-1).mean(),
        ),
        "not normalised": (
            lambda x: cg.categorical_cross_entropy(x, fuzzy),
            lambda x: -(cg.log(cg.softmax(x)) * fuzzy).sum(axis=-1).mean(),
        ),
        "binary": (
            lambda x: cg.binary_cross_entropy(x, fuzzy),
            lambda x: -(fuzzy * cg.log(x.sigmoid()) + (1 - fuzzy) * cg.log(1 - x.sigmoid())).mean(),
        ),
        "squared": (lambda x: cg.mean_squared_error(x, fuzzy), lambda x: ((x - fuzzy) ** 2).mean()),
        "mean": (cg.mean, lambda x: x.sum() / x.size),
        "var": (lambda x: x.var(axis=1).sum(), lambda x: ((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=1).sum()),
        "logsumexp": (cg.logsumexp, lambda x: cg.log(cg.exp(x).sum())),
        "softplus": (lambda x: cg.softplus(x).sum(), lambda x: cg.log1p(x.exp()).sum()),
    }


@pytest.mark.parametrize("name", pairs())
def test_fused_operations_equal_their_plain_compositions(name):
    fused, plain = pairs()[name]
    x = values(3, 2, 4)
    close(fused(x), plain(cg.tensor(x)))
    close(gradient(fused, x, gy=1.7), gradient(plain, x, gy=1.7))
    close(cg.hessian(fused)(x), cg.hessian(plain)(x), 1e-11)


def test_the_gradient_in_the_targets():
    x, targets = values(3, 4), np.random.default_rng(0).uniform(size=(3, 4))
    for fused, plain in (
        (cg.categorical_cross_entropy, lambda x, t: -(cg.log_softmax(x) * t).sum(axis=-1).mean()),
        (cg.binary_cross_entropy, lambda x, t: (cg.softplus(x) - t * x).mean()),
        (cg.mean_squared_error, lambda x, t: ((t - x) * (t - x)).mean()),
    ):
        for g, h in zip(gradient(fused, x, targets, gy=1.3), gradient(plain, x, targets, gy=1.3), strict=True):
            close(g, h)


# Calls


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cg.exp(x, base=2),
        lambda x: x.sum(axes=0),
        lambda x: x.reshape(length=3),
        lambda x: cg.stack([x], dim=0),
        lambda x: cg.exp(),
        lambda x: cg.add(x),
        lambda x: cg.add(x, x, x),
        lambda x: cg.pad(x),
        lambda x: x.clip(low=0.0),
        lambda x: cg.expand_dims(x),
    ],
)
def test_wrong_arguments_are_type_errors(call):
    with pytest.raises(TypeError, match=r"argument|take|needs|keyword"):
        call(cg.tensor([1.0]))


@pytest.mark.parametrize(
    "operand", [None, "x", object(), np.array([None]), np.array(["a"]), {}], ids=lambda x: type(x).__name__
)
def test_operands_that_are_no_numbers(operand):
    for call in (cg.exp, lambda x: cg.add(1.0, x), lambda x: cg.tensor([1.0]) == x, lambda x: cg.stack([x, x])):
        with pytest.raises(DtypeError, match=r"an operand of \w+ holds .* not numbers"):
            call(operand)


# Products of rounded factors


def rounded(x, precision):
    """To nearest, ties to even, in as many bits as the precision has."""
    if precision == "float16":
        return x.astype("float16").astype("float32")
    dropped = {"tf32": 13, "bfloat16": 16}[precision]
    bits = x.view("uint32").astype("uint64")
    bits += (1 << (dropped - 1)) - 1 + ((bits >> np.uint64(dropped)) & np.uint64(1))
    return (bits >> np.uint64(dropped) << np.uint64(dropped)).astype("uint32").view("float32")


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("made", [cg.affine, cg.affine_relu])
def test_products_of_rounded_factors(made, precision):
    a, w, b, gy = (values(*shape, dtype="float32", seed=9) for shape in [(7, 5), (5, 4), (4,), (7, 4)])
    tensors = [leaf(x) for x in (a, w, b)]
    y = made(*tensors, precision=precision)
    y.backward(gy)
    z = rounded(a, precision) @ rounded(w, precision) + b
    passed = gy * (z > 0) if made is cg.affine_relu else gy
    close(y.numpy(), np.maximum(z, 0) if made is cg.affine_relu else z, 1e-6)
    close(tensors[0].grad.numpy(), rounded(passed, precision) @ rounded(w, precision).T, 1e-6)
    close(tensors[1].grad.numpy(), rounded(a, precision).T @ rounded(passed, precision), 1e-6)
    assert not np.allclose(y.numpy(), made(a, w, b).numpy(), rtol=1e-6)


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_a_rounded_factor_at_ties_and_at_the_ends_of_the_range(precision, device):
    ties = [1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, 1.5 * 2**-24, 2**-133]
    ends = [0, 65504, 65519.99, 65520, -1e6, 3.3e38, 3.39e38, np.inf, -np.inf, np.nan]
    x = np.array([ties + ends], "float32").T
    if precision == "tf32" and device == "gpu":
        x = x[5:-1]  # a card's units make it themselves
    with np.errstate(over="ignore"):
        expected = np.where(np.isnan(x), x, rounded(x, precision))
    y = cg.affine(x, np.ones((1, 1), "float32"), np.zeros(1, "float32"), precision=precision)
    np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize("precision", ["tf32", "float16", "bfloat16"])
def test_factors_of_float64_are_not_rounded(precision):
    a, w, b = values(2, 3), values(3, 4), values(4)
    np.testing.assert_array_equal(cg.affine(a, w, b, precision=precision).numpy(), cg.affine(a, w, b).numpy())


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="unknown precision 'half'"):
        cg.affine(values(2, 3), values(3, 4), values(4), precision="half")
    with pytest.raises(UsageError, match="did you mean 'tf32'"):
        cg.layers.Dense(3, precision="tf23")
