"""What a tensor is: made from what, shown as what, and every operator and method against NumPy."""

import copy
import importlib.util
import operator
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from sampling import draw, examples

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.errors import DataError, DeviceError, DtypeError, GraphError, ShapeError, UsageError

without_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="cupy is installed")


# Making


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2], "float32"),
        ([[1.0], [2.0]], "float32"),
        ([], "float32"),
        (2, "int64"),
        ((1, 2), "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        (np.float64(1), "float64"),
        (np.ones(2), "float64"),
        (np.ones(2, "float32"), "float32"),
        (np.ones(2, "float16"), "float16"),
        (np.ones(2, "uint8"), "uint8"),
        (range(3), "int64"),
    ],
)
def test_dtype_and_values_of_what_it_is_made_from(data, dtype):
    x = cg.tensor(data)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, np.asarray(data))
    assert x.shape == np.shape(data)


@pytest.mark.parametrize("dtype", ["float64", "int64", np.float32, np.dtype("float16"), bool, float])
def test_a_dtype_asked_for(dtype):
    assert cg.tensor([1.0, 0.0], dtype=dtype).dtype == np.dtype(dtype)


def test_digits_are_kept_where_float64_is_asked_for():
    assert cg.tensor(0.1, dtype="float64").item() == 0.1
    assert cg.tensor([[0.1]], dtype="float64").tolist() == [[0.1]]


@pytest.mark.parametrize("make", [np.array, lambda x: cg.tensor(np.array(x)), list], ids=["array", "tensor", "list"])
def test_it_is_a_copy(make):
    source = make([1.0, 2.0])
    x = cg.tensor(source)
    source[0] = 9.0
    assert x.tolist() == [1, 2]


def test_it_is_a_copy_of_a_view_too():
    source = np.arange(6.0).reshape(2, 3)
    x = cg.tensor(source.T)
    source[0] = -1
    assert x.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_tensors_in_a_list():
    x = cg.tensor([cg.tensor(1.0), cg.tensor(2.0)])
    assert x.tolist() == [1, 2]


@pytest.mark.cpu_only("a tensor on a GPU does not become a NumPy array by itself")
def test_tensors_in_a_list_in_a_list():
    assert cg.tensor([[cg.tensor(1), 2]]).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "data", ["text", ["a"], None, [None], {}, object(), [1j], np.array([None]), [2**70]], ids=lambda x: type(x).__name__
)
def test_what_is_no_number_is_refused(data):
    with pytest.raises(DtypeError, match=r"the data of a tensor holds .* \(first: .*not numbers: "):
        cg.tensor(data)


@pytest.mark.parametrize("data", [[[1], [1, 2]], ([1.0], 2.0)], ids=repr)
def test_ragged_lists_are_refused(data):
    with pytest.raises(DataError, match=f"cannot make a tensor of this {type(data).__name__}.*inhomogeneous"):
        cg.tensor(data)


@pytest.mark.parametrize(("dtype", "error"), [("flub", UsageError), ("object", DtypeError), ("complex64", DtypeError)])
def test_a_dtype_that_is_none_of_ours_is_refused(dtype, error):
    with pytest.raises(error, match=dtype):
        cg.tensor([1.0], dtype=dtype)


@pytest.mark.parametrize("data", [1, [True], np.arange(3)], ids=repr)
def test_only_floats_require_a_gradient(data):
    with pytest.raises(DtypeError, match=r"(int64|bool) cannot require a gradient.*1\.0, not 1"):
        cg.tensor(data, requires_grad=True)
    assert cg.tensor(data, requires_grad=True, dtype="float32").requires_grad


# One element, many elements


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_is_a_python_number(shape):
    x = cg.tensor(np.full(shape, 2.75))
    assert type(x.item()) is float
    assert (x.item(), float(x), int(x), bool(x)) == (2.75, 2.75, 2, True)
    assert not cg.tensor(np.zeros(shape))
    assert type(cg.tensor(np.full(shape, 3)).item()) is int
    assert f"{x:.1f} {x:6.2e}" == "2.8 2.75e+00"


@pytest.mark.parametrize("shape", [(0,), (2,), (1, 2)])
def test_several_elements_are_not(shape):
    x = cg.tensor(np.zeros(shape))
    for convert in (cg.Tensor.item, float, int, lambda x: f"{x:.1f}"):
        with pytest.raises(ShapeError, match=r"one element.*shape \("):
            convert(x)
    with pytest.raises(ShapeError, match=r"truth of a tensor of shape .* ambiguous"):
        bool(x)


def test_length_and_rows():
    x = cg.tensor([[1, 2], [3, 4], [5, 6]])
    assert len(x) == 3
    assert [row.tolist() for row in x] == x.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert (x.ndim, x.size, x.shape) == (2, 6, (3, 2))
    assert 4 in x[1]
    assert 7 not in x[1]
    for call in (len, iter):
        with pytest.raises(ShapeError, match="without axes"):
            call(cg.tensor(1.0))


def test_gradients_flow_through_rows():
    x = cg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    a, b = x
    (a * b).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]]


def test_an_integer_is_an_index():
    assert "abc"[cg.tensor(1)] == "b"
    assert list(range(cg.tensor(2))) == [0, 1]
    for x in (1.0, True, [1]):
        with pytest.raises(DtypeError, match=r"only an integer tensor of shape \(\) is an index"):
            "abc"[cg.tensor(x)]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (cg.tensor([1.0, 2.0]), "tensor([1., 2.], dtype=float32)"),
        (cg.tensor(3), "tensor(3, dtype=int64)"),
        (cg.tensor([1.0], requires_grad=True), "tensor([1.], dtype=float32, requires_grad=True)"),
        (cg.tensor([0.0], requires_grad=True).exp(), "tensor([1.], dtype=float32, from=exp)"),
        (cg.tensor([[1], [2]]), "tensor([[1],\n        [2]], dtype=int64)"),
    ],
)
@pytest.mark.cpu_only("the text says which GPU it is on")
def test_representation(x, text):
    assert repr(x) == str(x) == f"{x}" == text


# NumPy


@pytest.mark.cpu_only("a tensor on a GPU does not become an array by itself")
def test_it_becomes_an_array():
    x = cg.tensor([1.0, 2.0])
    assert type(np.asarray(x)) is type(x.numpy()) is np.ndarray
    assert np.asarray(x).dtype == "float32"
    assert np.asarray(x, dtype="float64").dtype == "float64"
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.vdot(x, x) == 5


@pytest.mark.parametrize(
    "left", [np.float32(2), np.float64(2), np.int64(2), np.array([2.0, 2.0]), np.array(2.0)], ids=repr
)
def test_numpy_on_the_left_gives_a_tensor_that_records(left):
    x = cg.tensor([4.0, 5.0], requires_grad=True, dtype="float64")
    for y, value, slope in (
        (left * x, [8, 10], 2),
        (left + x, [6, 7], 1),
        (left - x, [-2, -3], -1),
        (left / x, [0.5, 0.4], [-0.125, -0.08]),
        (left**x, [16, 32], np.log(2) * np.array([16, 32])),
    ):
        assert type(y) is cg.Tensor
        np.testing.assert_allclose(y, value)
        x.grad = None
        y.sum().backward()
        np.testing.assert_allclose(x.grad, np.broadcast_to(slope, 2))
    assert (left < x).tolist() == [True, True]


def test_an_array_is_multiplied_by_a_matrix_on_its_right():
    x = cg.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    a = np.array([[1.0, 2.0, 3.0]])
    y = a @ x
    np.testing.assert_array_equal(y, a @ x.numpy())
    y.backward([[1.0, 10.0]])
    np.testing.assert_array_equal(x.grad, a.T @ [[1.0, 10.0]])


# Identity


def test_equality_is_elementwise_and_hashing_is_by_identity():
    x, y = cg.tensor([1.0, 2.0]), cg.tensor([1.0, 3.0])
    assert (x == y).tolist() == [True, False]
    assert (x != y).tolist() == [False, True]
    assert len({x, y, x}) == 2
    assert {x: "x", y: "y"}[y] == "y"
    assert hash(x) != hash(cg.tensor(x))


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_keep_what_they_are(clone):
    x = cg.tensor([1.0, 2.0], requires_grad=True)
    x.name = "w"
    twin = clone(x)
    assert (twin.tolist(), twin.requires_grad, twin.name, twin.dtype) == ([1, 2], True, "w", "float32")
    (twin * 2).sum().backward()
    assert twin.grad.tolist() == [2, 2]
    assert x.grad is None


# Changing


def test_assignment():
    x = cg.tensor(np.zeros((2, 3)))
    assert x.assign(1.0) is x
    x[0, 1] = 5
    x[1] = [7.0, 8.0, 9.0]
    x[cg.tensor([0]), cg.tensor([2])] = cg.tensor(4.0)
    x[x == 1] = -1.0
    assert x.tolist() == [[-1, 5, 4], [7, 8, 9]]
    x[1], x[0, 0] = np.float32(2), np.array(3)
    assert x.tolist() == [[3, 5, 4], [2, 2, 2]]
    x.data = np.arange(3)
    assert x.tolist() == [[0, 1, 2]] * 2
    assert x.dtype == "float64"


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((3, 3)), np.zeros((1, 2, 3, 1)), cg.tensor(np.zeros((2, 2)))])
def test_an_assignment_of_another_shape_names_both(value):
    x = cg.tensor(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"value of shape \(.*into a tensor of shape \(2, 3\)"):
        x.assign(value)
    with pytest.raises(ShapeError, match=r"into a tensor of shape \(2, 3\)"):
        x[7] = 0.0
    assert x.tolist() == [[1, 1, 1]] * 2


def test_an_assignment_into_a_computed_tensor():
    y = cg.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GraphError, match="computed by multiply cannot be changed in place"):
        y[0] = 1.0


# Devices


@pytest.mark.cpu_only("the device is that of the CPU")
def test_the_device_it_is_on():
    x = cg.tensor([1.0], requires_grad=True)
    assert x.device == "cpu"
    assert x.to("cpu") is x


def test_auto_is_a_device_that_works():
    y = cg.tensor([1.0, 2.0]).to("auto")
    assert y.device in ("cpu", "gpu:0")
    assert y.tolist() == [1, 2]
    assert cg.tensor([1.0], device="auto").device == y.device


@without_cupy
@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:3"])
def test_without_cupy_the_error_says_what_to_install(name):
    for call in (lambda: cg.tensor([1.0]).to(name), lambda: cg.tensor([1.0], device=name)):
        with pytest.raises(DeviceError, match=r"-m pip install .*\[gpu\]'? for CUDA 13, with gpu-cuda12"):
            call()


def no_driver():
    raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version")


@pytest.mark.cpu_only("CuPy is another one here")
@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            ImportError("libnvrtc.so.12: cannot open shared object file"),
            r"could not be imported.*\[gpu\].*gpu-cuda12",
        ),
        (no_driver, r"CUDA cannot be used \(cudaErrorInsufficientDriver.*install or update the NVIDIA driver, or take"),
        (lambda: 0, "no CUDA device is visible: see CUDA_VISIBLE_DEVICES"),
    ],
)
def test_a_cupy_that_cannot_work_says_what_to_do(monkeypatch, found, message):
    def load(name):
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(
            __version__="14.2.0", cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=found))
        )

    monkeypatch.setattr(backend.importlib, "import_module", load)
    with pytest.raises(DeviceError, match=message):
        backend.load_cupy.__wrapped__()


@pytest.mark.parametrize("name", ["tpu", "GPU", "gpu:", "gpu:-1", "cuda:0", "", None, 0])
def test_an_unknown_device(name):
    with pytest.raises(UsageError, match=r"unknown device .*'cpu', 'gpu', 'gpu:N' or 'auto'"):
        cg.tensor([1.0]).to(name)


# Operators and methods


numbers = st.floats(-4, 4, width=32).map(lambda v: round(v, 2))
BINARY = {
    "__add__": np.add, "__sub__": np.subtract, "__mul__": np.multiply, "__truediv__": np.divide,
    "__pow__": np.power, "__eq__": np.equal, "__ne__": np.not_equal, "__lt__": np.less, "__le__": np.less_equal,
    "__gt__": np.greater, "__ge__": np.greater_equal, "__matmul__": np.matmul, "__mod__": np.remainder,
    "__floordiv__": np.floor_divide, "__and__": np.bitwise_and, "__or__": np.bitwise_or, "__xor__": np.bitwise_xor,
}  # fmt: skip
UNARY = {"__neg__": np.negative, "__abs__": np.abs, "__pos__": np.positive, "__getitem__": lambda x: x[0],
         "__round__": np.round, "__invert__": lambda x: ~x}  # fmt: skip
BITS = ("__and__", "__or__", "__xor__")
ELEMENTWISE = [name for name in BINARY if name not in ("__matmul__", *BITS)]
SAME_EXCHANGED = ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__")  # Python exchanges these itself


def equal_as_numpy(result, expected, device):
    """Equal to the last bit on the CPU; a GPU adds up in another order, and has functions of its own."""
    if device == "cpu" or result.dtype.kind != "f":
        np.testing.assert_array_equal(result, expected)
    else:
        tolerance = 1e-12 if result.dtype == "float64" else 1e-6
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


def test_every_operator_has_its_counterpart_here():
    lent = {name for p in cg.registry.values() for name in p.operators}
    assert lent == {*BINARY, *UNARY, *(f"__r{name[2:]}" for name in BINARY if name not in SAME_EXCHANGED)}


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(data=st.data())
def test_operators_agree_with_numpy(name, device, data):
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    dtypes = data.draw(st.tuples(*[st.sampled_from(["float32", "float64"])] * 2))
    a, b = (data.draw(arrays(dtype, shape, elements=numbers)) for dtype, shape in zip(dtypes, shapes, strict=True))
    if name in ("__truediv__", "__mod__", "__floordiv__"):
        b = np.where(b == 0, b.dtype.type(1), b)
    if name == "__pow__":
        a = np.abs(a) + a.dtype.type(0.1)
    expected = BINARY[name](a, b)
    for left, right in ((cg.tensor(a), cg.tensor(b)), (cg.tensor(a), b), (a, cg.tensor(b))):
        result = getattr(operator, name)(left, right)
        assert type(result) is cg.Tensor
        assert result.dtype == expected.dtype
        equal_as_numpy(result, expected, device)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("number", [2, 2.5, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_operators_with_a_python_number_agree_with_numpy(name, number, dtype, device):
    values = np.array([1, 2, 3], dtype)
    operate = getattr(operator, name)
    for f in (lambda x: operate(x, number), lambda x: operate(number, x)):
        result, expected = f(cg.tensor(values)), f(values)
        assert result.dtype == expected.dtype
        equal_as_numpy(result, expected, device)


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4))]
)
def test_matrix_product_agrees_with_numpy(shapes, device):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape) for shape in shapes)
    for left, right in ((cg.tensor(a), cg.tensor(b)), (cg.tensor(a), b), (a, cg.tensor(b))):
        equal_as_numpy(left @ right, a @ b, device)


@pytest.mark.parametrize("name", UNARY)
@given(array=arrays("float64", (2, 3), elements=numbers))
def test_unary_operators_agree_with_numpy(name, array):
    x = cg.tensor(array)
    if name == "__invert__":
        x, array = x > 0, array > 0
    result = {"__getitem__": lambda x: x[0], "__round__": round}.get(name, getattr(operator, name, None))(x)
    np.testing.assert_array_equal(result, UNARY[name](array))
    assert result.dtype == array.dtype


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("dtypes", [("bool", "bool"), ("int64", "int64"), ("uint8", "int32"), ("bool", "int8")])
def test_masks_combine_as_in_numpy(name, dtypes):
    a, b = (np.array(values, dtype) for values, dtype in zip(([0, 1, 3, 6], [1, 1, 0, 5]), dtypes, strict=True))
    expected = BINARY[name](a, b)
    for left, right in ((cg.tensor(a), cg.tensor(b)), (cg.tensor(a), b), (a, cg.tensor(b))):
        result = getattr(operator, name)(left, right)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
    with pytest.raises(ShapeError, match=r"bitwise_.* cannot take"):
        getattr(operator, name)(cg.tensor([1.0]), cg.tensor(b))


def test_division_with_remainder():
    a, b = np.array([-7.5, -1.0, 0.0, 7.5]), np.array([2.0, -3.0, 0.5, -2.0])
    for left, right in ((cg.tensor(a), cg.tensor(b)), (cg.tensor(a), 2.5), (-7.5, cg.tensor(b))):
        for result, expected in zip(divmod(left, right), divmod(*map(np.asarray, (left, right))), strict=True):
            assert type(result) is cg.Tensor
            np.testing.assert_array_equal(result, expected)
    x, y = (cg.tensor(v, requires_grad=True) for v in (a, b))
    (x % y + x // y + round(x) + cg.floor(y)).backward([1.0, 10.0, 100.0, 1000.0])
    np.testing.assert_array_equal(x.grad, [1, 10, 100, 1000])
    np.testing.assert_array_equal(y.grad, [4, 0, 0, 4000])


METHODS = [p for p in cg.registry.values() if p.method]


@pytest.mark.parametrize("made", METHODS, ids=str)
def test_methods_are_their_primitives(made, device):
    for case in examples(made):
        (values,) = draw(made, case)
        x = cg.tensor(values)
        result = getattr(x, made.name)(**case.parameters)
        equal_as_numpy(result, made.kernel(np, values, **{**made.defaults, **case.parameters}), device)
        assert getattr(cg.Tensor, made.name).__doc__ == made.__doc__


@pytest.mark.parametrize("name", [p.name for p in METHODS if hasattr(np, p.name) and p.name not in ("sign", "argmax")])
def test_methods_agree_with_numpy(name):
    values = np.random.default_rng(0).uniform(0.1, 1, (2, 3))
    options = {"reshape": ((3, 2),), "astype": ("float32",), "clip": (0.2, 0.5)}.get(name, ())
    np.testing.assert_allclose(
        getattr(cg.tensor(values), name)(*options), getattr(np, name)(values, *options), rtol=1e-15
    )


def test_transposed():
    x = np.arange(6.0).reshape(1, 2, 3)
    assert cg.tensor(x).T.shape == (3, 2, 1)
    np.testing.assert_array_equal(cg.tensor(x).transpose(1, 2, 0), x.transpose(1, 2, 0))
    np.testing.assert_array_equal(cg.tensor(x).transpose((1, -1, 0)), x.transpose((1, -1, 0)))
    np.testing.assert_array_equal(cg.tensor(x).reshape(3, -1), cg.tensor(x).reshape((3, -1)))


@pytest.mark.cpu_only("a GPU's data are not looked at")
@pytest.mark.parametrize(
    ("data", "dtype", "first"),
    [
        ([1.0, 1e39], None, r"1e\+39"), (np.array([-1e39]), "float32", r"-1e\+39"), ([7e4], "float16", "70000.0"),
        ([70000], "float16", "70000"), ([1, 300], "uint8", "300"), (-1, "uint8", "-1"), ([np.nan], "int64", "nan"),
        ([2.0**63], "int64", r"9\.22"), (np.array([2**63], "uint64"), "int64", "9223372036854775808"),
    ],
)  # fmt: skip
def test_a_number_that_the_dtype_does_not_hold(data, dtype, first):
    with pytest.raises(DataError, match=rf"the data of a tensor holds {first}.*, and .* does not"):
        cg.tensor(data, dtype=dtype)
    if dtype is not None:
        t = cg.tensor(np.zeros(np.shape(data)), dtype=dtype)
        with pytest.raises(DataError, match="a value to assign holds"):
            t.assign(data)
        assert not t.numpy().any()


def test_infinity_and_rounding_are_no_fault():
    assert cg.tensor([np.inf, -np.inf, 3.4e38, 1e-50], dtype="float32").tolist()[:2] == [np.inf, -np.inf]
    assert cg.tensor([1.7, -1.7], dtype="int64").tolist() == [1, -1]
    assert cg.tensor([2**24 + 1], dtype="float32").item() == 2**24
