"""Changes in place: noticed where a rule still needs the old values; no two names for one gradient's memory."""

import numpy as np
import pytest
from sampling import CASES, NAMES, draw

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.errors import GraphError

OTHER = np.arange(6.0).reshape(2, 3)


def constant(name=None):
    x = cg.tensor(OTHER + 1)
    x.name = name
    return x


def weight():
    return cg.tensor(OTHER - 2, requires_grad=True)


def set_row(x):
    x[0] = 7.0


def set_by_mask(x):
    x[x > 3] = 0.0


def assign(x):
    x.assign(np.zeros((2, 3)))


def set_data(x):
    x.data = np.zeros((2, 3))


def through_reshape(x):
    x.reshape(6)[2] = 9.0


def through_slice(x):
    x[1:][0] = 9.0


def through_slice_of_slice(x):
    x[1:][:, 1:].assign(9.0)


def through_transpose(x):
    x.T.assign(1.0)


def through_detach(x):
    x.detach()[0] = 9.0


def through_view_of_detach(x):
    x.detach().reshape(3, 2).assign(9.0)


def through_row_of_iteration(x):
    for row in x.detach():
        row.assign(2.0)


CHANGES = [
    set_row,
    set_by_mask,
    assign,
    set_data,
    through_reshape,
    through_slice,
    through_slice_of_slice,
    through_transpose,
    through_detach,
    through_view_of_detach,
    through_row_of_iteration,
]
VIEWS = {
    "itself": lambda x: x,
    "detach": lambda x: x.detach(),
    "reshape": lambda x: x.reshape(2, 3),
    "slice": lambda x: x[:, :],
    "transpose twice": lambda x: x.T.T,
    "expand_dims": lambda x: cg.expand_dims(x, 0),
    "broadcast_to": lambda x: cg.broadcast_to(x, shape=(4, 2, 3)),
    "squeeze": lambda x: cg.expand_dims(x, 0).squeeze(),
    "einsum": lambda x: cg.einsum("ij->ji", x).T,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_saved_operand_is_noticed(change):
    x = constant("scale")
    y = (weight() * x).sum()
    change(x)
    with pytest.raises(GraphError, match=r"multiply saved its operand 'scale' \(shape \(2, 3\)\).*changed in place"):
        y.backward()


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_change_of_the_base_of_a_saved_view_is_noticed(view):
    x = constant()
    y = (weight() * view(x)).sum()
    x[1] = 5.0
    with pytest.raises(GraphError, match=r"multiply saved its operand of shape .*changed in place"):
        y.backward()


@pytest.mark.parametrize("change", [set_row, assign, set_data, through_detach])
def test_a_change_of_a_saved_leaf_is_noticed(change):
    w = weight()
    w.name = "w"
    y = (w * w).sum()
    change(w)
    with pytest.raises(GraphError, match=r"multiply saved its operand 'w'"):
        y.backward()
    assert w.grad is None


def test_a_change_of_a_saved_result_is_noticed():
    y = weight().exp()
    y.detach().assign(0.0)
    with pytest.raises(GraphError, match="exp saved its result for the reverse pass"):
        y.sum().backward()


@pytest.mark.parametrize("function", [cg.grad, cg.hessian], ids=["grad", "hessian"])
def test_a_change_inside_a_differentiated_function_is_noticed(function):
    def f(w):
        x = constant("scale")
        y = (w * x).sum()
        x[0] = 0.0
        return y * y

    with pytest.raises(GraphError, match="multiply saved its operand 'scale'"):
        function(f)(OTHER)


def test_a_change_of_an_argument_before_the_pullback_is_noticed():
    x = constant("x")
    _, pull = cg.vjp(lambda v: v * v, x)
    x[0] = 9.0
    with pytest.raises(GraphError, match="multiply saved its operand 'x'"):
        pull(OTHER)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda w, x: x + 1 + w, 1),
        (lambda w, x: w - x, 1),
        (lambda w, x: cg.where(OTHER > 2, w, x), OTHER > 2),
        (lambda w, x: cg.stack([x, w])[1], 1),
        (lambda w, x: x.exp() * w, np.exp(OTHER + 1)),
    ],
    ids=["add", "subtract", "where", "stack", "exp before"],
)
def test_a_change_of_what_no_rule_needs_is_no_error(f, slope):
    w, x = weight(), constant()
    y = f(w, x)
    x.assign(0.0)
    y.backward(OTHER)
    np.testing.assert_allclose(w.grad, OTHER * slope)


def test_a_change_after_the_reverse_pass_is_no_error():
    w, x = weight(), constant()
    (w * x).sum().backward()
    x.assign(0.0)
    np.testing.assert_array_equal(w.grad, OTHER + 1)


def test_a_change_before_the_operation_is_no_error():
    w, x = weight(), constant()
    x.assign(3.0)
    (w * x).sum().backward()
    np.testing.assert_array_equal(w.grad, np.full((2, 3), 3.0))


def test_a_computed_tensor_is_not_changed_in_place():
    y = weight().exp()
    for change in (set_row, assign, set_data):
        with pytest.raises(GraphError, match=r"computed by exp cannot be changed in place.*detach"):
            change(y)
    with pytest.raises(GraphError, match="computed by getitem"):
        weight()[0].assign(1.0)


@pytest.mark.parametrize(("primitive", "example"), CASES, ids=NAMES)
def test_results_that_share_memory_share_their_version(primitive, example):
    operands = tuple(cg.tensor(x) for x in draw(primitive, example))
    y = primitive.compute(operands, example.parameters)
    for x in operands:
        if share(x, y):
            assert y._version is x._version


def test_an_operation_that_returns_its_operand_shares_the_version():
    x = constant()
    assert cg.squeeze(x)._version is x._version


def test_a_saved_result_that_is_a_view_of_a_changed_tensor(declare):
    @declare("y = x", saves=("y",))
    def alias(xp, x):
        return x.reshape(x.shape)

    @alias.vjp("x", "gx = gy * y")
    def _(xp, gy, y):
        return gy * y

    w = weight()
    w[0] = 3.0
    alias(w).sum().backward()
    np.testing.assert_array_equal(w.grad, w.numpy())


@pytest.mark.parametrize("make", [np.array, cg.tensor], ids=["array", "tensor"])
def test_a_change_of_an_index_does_not_send_the_gradient_elsewhere(make):
    w, index = weight(), make([0, 0])
    y = w[index]
    index[:] = 1
    y.sum().backward()
    assert w.grad.tolist() == [[2, 2, 2], [0, 0, 0]]


@pytest.mark.parametrize("read", [lambda x: x.data, lambda x: x.numpy(), np.asarray], ids=["data", "numpy", "asarray"])
@pytest.mark.cpu_only("an array on a GPU cannot be read-only, and numpy() is a copy")
def test_arrays_handed_out_are_read_only(read):
    x = constant()
    array = read(x)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        array += 1.0
    assert np.shares_memory(array, x._data)
    x[0] = -1.0
    assert array[0, 0] == -1


# Gradients and their memory


def share(a, b):
    return backend.overlap(a._data, b._data)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a.reshape(6) + b.reshape(6),
        lambda a, b: a + b.T.T,
        lambda a, b: cg.stack([a, b]),
        lambda a, b: cg.concatenate([a, b], axis=1),
        lambda a, b: cg.broadcast_to(a + b, shape=(2, 2, 3)),
        lambda a, b: (a + b).sum(axis=0),
        lambda a, b: cg.where(OTHER > 2, a, b),
        lambda a, b: a.astype("float64") + b,
    ],
)
def test_gradients_of_two_leaves_never_share_memory(f):
    a, b = weight(), weight()
    y = f(a, b)
    gradient = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(gradient)
    assert not share(a.grad, b.grad)
    kept = b.grad.numpy().copy()
    a.grad.assign(100.0)
    np.testing.assert_array_equal(b.grad, kept)
    assert not backend.overlap(a.grad._data, gradient)
    assert not backend.overlap(b.grad._data, gradient)


@pytest.mark.parametrize("make", [np.asarray, cg.tensor], ids=["array", "tensor"])
def test_gradients_never_share_memory_with_the_gradient_given(make):
    a, leaf = weight(), weight()
    gradient = make(OTHER.copy())
    (a + 1).backward(gradient)
    leaf.backward(gradient)
    a.grad[0] = 50.0
    leaf.grad[1] = 70.0
    np.testing.assert_array_equal(gradient, OTHER)


def test_accumulating_leaves_an_older_gradient_as_it_was():
    a = weight()
    (a * 2).sum().backward()
    older = a.grad
    (a * 3).sum().backward()
    np.testing.assert_array_equal(older, np.full((2, 3), 2.0))
    np.testing.assert_array_equal(a.grad, np.full((2, 3), 5.0))


@pytest.mark.parametrize("f", [lambda x: x * x, lambda x: x + x], ids=["product", "sum"])
def test_a_single_number_s_gradient_can_be_changed_in_place(f):
    x = cg.tensor(2.0, requires_grad=True)
    f(x).backward()
    x.grad.assign(0.0)
    assert x.grad.item() == 0


def test_a_single_number_s_accumulated_gradient_can_be_changed_in_place():
    x = cg.tensor(2.0, requires_grad=True)
    (x * 3.0).backward()
    (x * 3.0).backward()
    x.grad.assign(0.0)


@pytest.mark.parametrize("gy", [np.ones((2, 3)), cg.tensor(np.ones((2, 3)))], ids=["array", "tensor"])
def test_gradients_from_a_pullback_never_share_memory(gy):
    _, pull = cg.vjp(lambda a, b: a + b, OTHER, OTHER)
    ga, gb = pull(gy)
    ga.assign(5.0)
    np.testing.assert_array_equal(gb, np.ones((2, 3)))


def test_gradients_from_grad_can_be_changed_in_place():
    cg.grad(cg.sum)(OTHER).assign(5.0)


# A value that requires a gradient is not written away, and a function does not change its arguments


WRITES = {
    "element": lambda buffer, w: buffer.__setitem__(0, w[0] * w[1]),
    "slice": lambda buffer, w: buffer.__setitem__(slice(0, 2), w),
    "list": lambda buffer, w: buffer.__setitem__(slice(0, 2), [w[0], 1.0]),
    "assign": lambda buffer, w: buffer.assign(w * 2),
    "assign a leaf": lambda buffer, w: buffer.assign(w),
    "assign a list": lambda buffer, w: buffer.assign([w[0], w[1]]),
    "data": lambda buffer, w: setattr(buffer, "data", w * 2),
    "augmented": lambda buffer, w: exec("buffer[0] += w[0]", {"buffer": buffer, "w": w}),
}


@pytest.mark.parametrize("requires_grad", [False, True], ids=["buffer", "leaf"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_value_that_requires_a_gradient_is_not_written_away(write, requires_grad):
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    buffer = cg.tensor([0.0, 0.0], requires_grad=requires_grad)
    with pytest.raises(GraphError, match=r"requires a gradient \(shape .* cannot be written.*cg\.where.*detach\(\)"):
        write(buffer, w)
    assert buffer.tolist() == [0, 0]
    write(buffer.detach(), w.detach())


def test_a_leaf_takes_its_own_new_value():
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        w.assign(w - 0.25 * w.grad)
    assert w.tolist() == [0.25, 0.375]
    w.assign(w)
    with pytest.raises(GraphError, match="cannot be written"):
        w.assign(w * cg.tensor([1.0, 1.0], requires_grad=True))


def test_an_augmented_assignment_to_a_name_is_recorded():
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    buffer = first = cg.tensor([1.0, 1.0])
    buffer += w
    buffer *= w
    buffer.sum().backward()
    assert w.grad.tolist() == [5, 7]
    assert first.tolist() == [1, 1]


WAYS = {
    "grad": lambda f, x: cg.grad(f)(x),
    "vjp": lambda f, x: cg.vjp(f, x)[1](1.0),
    "jvp": lambda f, x: cg.jvp(f, [x], [x]),
    "jacobian": lambda f, x: cg.jacobian(f)(x),
    "hessian": lambda f, x: cg.hessian(f)(x),
    "grad of grad": lambda f, x: cg.grad(lambda y: cg.grad(f)(y).sum())(x),
}
ARGUMENT_CHANGES = [c for c in CHANGES if c is not set_by_mask]


@pytest.mark.parametrize("change", ARGUMENT_CHANGES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_function_does_not_change_its_argument(way, change):
    def f(x):
        change(x)
        return (x * x).sum()

    for x in (constant(), weight()):
        before = x.numpy().copy()
        with pytest.raises(GraphError, match=r"cannot be changed in place.*cg\.where"):
            way(f, x)
        np.testing.assert_array_equal(x, before)
        if x.is_leaf:
            x[0] = 3.0  # afterwards its owner may


def test_a_function_does_not_change_the_argument_behind_its_back():
    x = constant()

    def f(y):
        x[0] = 5.0
        return (y * y).sum()

    with pytest.raises(GraphError, match="being differentiated cannot be changed"):
        cg.grad(f)(x)
    assert x[0, 0].item() == 1


def test_a_function_may_change_a_copy():
    def f(x):
        buffer = cg.tensor(x.detach())
        buffer[0] = 0.0
        return (x * buffer).sum()

    x = constant()
    np.testing.assert_array_equal(cg.grad(f)(x), np.where([[False], [True]], OTHER + 1, 0))


def test_a_computed_tensor_keeps_its_gradient():
    y = weight() * 2
    with pytest.raises(GraphError, match=r"computed by multiply requires a gradient.*detach\(\)"):
        y.requires_grad = False
