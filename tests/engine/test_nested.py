"""Lists and tuples of tensors: one tensor, from which gradients find their way back."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ChalkgradError, DataError, DtypeError, GraphError

OPERANDS = {
    "reduction": (lambda w: cg.mean([w[0], 3 * w[1]]), [0.5, 1.5]),
    "tuple": (lambda w: cg.sum((w[0], w[1] * 2)), [1, 2]),
    "by keyword": (lambda w: cg.sum(x=[w[0], w[1]]), [1, 1]),
    "of losses": (lambda w: cg.mean([(w * x).sum() ** 2 for x in (1.0, 2.0)]), [25, 25]),
    "right": (lambda w: w * [w[0], w[1]], [4, 6]),
    "left": (lambda w: [w[1], 1.0] * w, [3, 3]),
    "matrix": (lambda w: [[w[0], w[1]], [0.0, w[0]]] @ w, [7, 8]),
    "beside numbers": (lambda w: cg.add(w, [w[0], 1]), [2, 1]),
    "nested": (lambda w: cg.sum([[w[0], 1.0], [2.0, 3.0], w]), [2, 1]),
    "tensor": (lambda w: cg.tensor([w[0] * 3, w[1] * 2]), [3, 2]),
    "tensor, nested": (lambda w: cg.tensor([[w[0], 1], (w[1], w[1])]), [1, 2]),
    "tensor of a tensor": (lambda w: cg.tensor(w * 3), [3, 3]),
    "stack": (lambda w: cg.stack([[w[0], w[1]], [1.0, 2.0]]), [1, 1]),
    "concatenate": (lambda w: cg.concatenate([[w[0]], (w[1], 3.0)]), [1, 1]),
    "where": (lambda w: cg.where([True, False], [w[0], w[1]], [1.0, w[0]]), [2, 0]),
    "limits": (lambda w: cg.clip([5.0, -5.0], w[0], [w[1], w[1]]), [1, 1]),
    "einsum": (lambda w: cg.einsum("i,i->", [w[0], w[0]], w), [7, 2]),
    "pad": (lambda w: cg.pad([w[0], w[1]], 1), [1, 1]),
    "loss": (lambda w: cg.mean_squared_error(y_pred=[w[0], w[1]], y_true=[1.0, 1.0]), [1, 2]),
    "index": (lambda w: cg.getitem([w[0], w[1]], 1), [0, 1]),
    "written": (lambda w: w * w.detach().assign([2.0, 3.0]), [2, 3]),
}


@pytest.mark.parametrize(("f", "slope"), OPERANDS.values(), ids=OPERANDS)
def test_gradients_flow_through_lists(f, slope):
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    y = f(w)
    y.sum().backward()
    assert y.dtype == w.grad.dtype == "float32"
    np.testing.assert_allclose(w.grad, slope, rtol=1e-6)


def test_a_list_is_differentiated_twice():
    f = lambda w: (cg.tensor([w[0] * w[1], w[1] ** 3]) * [w[0], 2.0]).sum()  # noqa: E731
    np.testing.assert_allclose(cg.hessian(f)(np.array([2.0, 3.0])), [[6, 4], [4, 36]])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([cg.tensor(1.0), 2], "float32"),
        ([cg.tensor(1.0), np.float64(2)], "float64"),
        ([cg.tensor(1.0), cg.tensor(2)], "float64"),
        ([cg.tensor(1), 2.0], "float64"),
        ([cg.tensor(1), True], "int64"),
        ([[cg.tensor(True)], (False,)], "bool"),
    ],
    ids=repr,
)
def test_numbers_take_the_dtype_of_the_tensors_beside_them(values, dtype):
    x = cg.tensor(values)
    assert x.dtype == dtype
    assert not x.requires_grad


def deep():
    made = [cg.tensor(1.0)]
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda w: [w, 1.0], DataError, r"cannot make a tensor of this list: stack .* shape \(2,\), xs of shape \(\)"),
        (lambda w: [w, [1.0, 2.0, 3.0]], DataError, "cannot make a tensor of this list"),
        (lambda w: [w[0], None], DtypeError, "an element of a list holds object"),
        (lambda w: [w[0], "1"], DtypeError, "an element of a list holds <U1"),
        (lambda w: [cg.tensor(1, dtype="int8"), 1000], DataError, "cannot make a tensor of this list: .*1000"),
        (lambda w: deep(), (DataError, RecursionError), "levels|recursion"),
    ],
)
def test_lists_that_are_no_tensor(make, error, words):
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    for call in (cg.tensor, cg.mean):
        with pytest.raises(error, match=words):
            call(make(w))


@pytest.mark.parametrize(
    "make", [lambda w: w, lambda w: [w[0]], lambda w: ([1.0], w * 2)], ids=["it", "list", "nested"]
)
def test_a_new_leaf_is_not_made_of_what_requires_a_gradient(make):
    w = cg.tensor([2.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"leaf.*detach\(\) that"):
        cg.tensor(make(w), requires_grad=True)
    assert cg.tensor([w[0].detach()], requires_grad=True).is_leaf


@pytest.mark.parametrize(
    "values", [{"a": 1.0}, {1.0}, iter([1.0]), np.array([cg.tensor(1.0)], dtype=object)], ids=lambda x: type(x).__name__
)
def test_other_collections_are_refused(values):
    with pytest.raises(ChalkgradError, match=r"takes|holds"):
        cg.sum(values)


def test_many_losses():
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    cg.mean([w[0] * float(i) for i in range(2000)]).backward()
    np.testing.assert_allclose(w.grad, [999.5, 0])


PARAMETERS = [
    lambda w: cg.leaky_relu(w, negative_slope=w[0]),
    lambda w: cg.gaussian(w, w[0]),
    lambda w: cg.elu(w, alpha=w[0]),
    lambda w: cg.pad(w, 1, constant_values=w[0]),
    lambda w: cg.var(w, ddof=w[0]),
    lambda w: cg.layer_normalization(w, w, w, epsilon=w[0]),
]


@pytest.mark.parametrize("f", PARAMETERS)
def test_parameters_take_no_tensor_that_requires_a_gradient(f):
    w = cg.tensor([2.0, 3.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"is a parameter, to which no gradient goes.*\.item\(\)"):
        f(w)


def test_a_parameter_may_be_a_tensor_of_one_number():
    x = cg.tensor([-2.0, 3.0])
    assert cg.leaky_relu(x, cg.tensor(0.5)).tolist() == [-1, 3]
    assert cg.sum(x, axis=cg.tensor(0)).item() == 1
