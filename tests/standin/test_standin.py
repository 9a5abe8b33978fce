"""What the stand-in for CuPy refuses, and what it does: all that its users rely on."""

import os

import numpy as np
import pytest

import chalkgrad.nn  # noqa: F401  (whose sources are declared)
from chalkgrad.engine.cuda.sources import declared

# Arrays


def test_what_an_array_says_of_itself(cp, x):
    assert (x.shape, x.dtype, x.ndim, x.size, x.nbytes, x.itemsize, x.strides) == ((3, 4), "f4", 2, 12, 48, 4, (16, 4))
    assert x.base is None
    assert x.T.base is x[1:][0].base is x.reshape(-1).base is x
    assert (x.flags.c_contiguous, x.T.flags.f_contiguous, x.T.flags.owndata) == (True, True, False)
    assert x[1:].data.ptr == x.data.ptr + 16
    assert x.__cuda_array_interface__["data"] == (x.data.ptr, False)
    assert not hasattr(x, "ctypes")
    assert not hasattr(x, "__index__")
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


def test_reductions_and_elements_are_arrays(cp, x):
    for y in (x.sum(), x[1, 2], x.max(), cp.mean(x), x.argmax()):
        assert isinstance(y, cp.ndarray)
        assert y.shape == ()


def test_integers_beyond_the_end_wrap_around(cp, x):
    np.testing.assert_array_equal(x[cp.asarray([4, -1])].get(), x.get()[[1, 2]])
    np.testing.assert_array_equal(cp.take(x, cp.asarray([3]), axis=0).get(), x.get()[[0]])
    with pytest.raises(IndexError):
        x[4]


@pytest.mark.parametrize(
    "do",
    [
        np.asarray,
        np.sum,
        np.exp,
        lambda x: np.zeros((3, 4)) + x,
        lambda x: x + np.zeros((3, 4)),
        lambda x: x * np.array(2.0),
        lambda x: x[np.array([0])],
        lambda x: np.copyto(np.zeros((3, 4)), x),
    ],
)
def test_arrays_of_numpy_are_refused(do, x):
    with pytest.raises(TypeError, match=r"Implicit conversion|Unsupported type"):
        do(x)


AS_A_CARD_SHOWED = {  # by CuPy 14.2
    "a list assigned": (lambda cp, x: x.__setitem__(0, [1.0, 2.0, 3.0, 4.0]), ValueError, "non-scalar"),
    "an array of NumPy assigned": (lambda cp, x: x.__setitem__(0, np.zeros(4)), ValueError, "non-scalar"),
    "filled with one": (lambda cp, x: x.fill(np.zeros(1)), ValueError, "non-scalar"),
    "min into": (lambda cp, x: cp.min(x, 0, cp.zeros(4, "f4")), TypeError, "as a data type"),
    "its method": (lambda cp, x: x.min(axis=1, out=cp.zeros(3, "f4")), TypeError, "as a data type"),
    "sum of a number": (lambda cp, x: cp.sum(x[0, 0], axis=-1), np.exceptions.AxisError, "axis -1"),
    "argmax of a number": (lambda cp, x: cp.argmax(x[0, 0], axis=0), np.exceptions.AxisError, "axis 0"),
    "var of a number": (lambda cp, x: cp.var(x[0, 0], axis=0), IndexError, "out of range"),
    "cumsum into a row": (lambda cp, x: cp.cumsum(x, out=cp.zeros(12, "f4")), ValueError, "wrong shape"),
}


@pytest.mark.parametrize("name", AS_A_CARD_SHOWED)
def test_what_numpy_takes_and_cupy_refuses(name, cp, x):
    do, error, words = AS_A_CARD_SHOWED[name]
    with pytest.raises(error, match=words):
        do(cp, x)


def test_what_cupy_takes(cp, x):
    x[0], x[1], out = np.float32(2), np.array(3.0), cp.zeros((3, 4), "f4")
    cp.cumsum(x, None, None, out)
    np.testing.assert_array_equal(out.get(), np.cumsum(x.get()).reshape(3, 4))
    assert cp.max(x, 0, cp.zeros(4, "f4")).get().tolist() == [8, 9, 10, 11]


def test_a_power_is_not_what_a_quotient_gives(cp):
    x = cp.asarray(np.array([1.1, 3, 7]))
    assert (cp.power(x, -1).get() != cp.reciprocal(x).get()).all()


def test_numbers_are_taken(cp, x):
    assert (x * 2).dtype == (np.float32(2) * x).dtype == "float32"
    assert (x * np.float64(2)).dtype == "float64"
    assert (cp.ones(3, "int32") * 0.5).dtype == "float64"
    assert np.shape(x) == (3, 4)


@pytest.mark.parametrize("dtype", ["O", "U3", "M8[s]", "longdouble", ">f4"])
def test_dtypes_that_cupy_has_not(dtype, cp):
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cp.empty(3, dtype)


def test_memory_that_nobody_wrote_to_is_poisoned(cp, x):
    assert np.isnan(cp.empty(3).get()).all()
    assert np.isnan(cp.empty_like(x).get()).all()
    assert (cp.empty(2, "uint8").get() == 0xCC).all()


# Devices and transfers


def test_two_devices(cp, x):
    with cp.cuda.Device(1):
        y = cp.ones((3, 4), "f4")
        assert y.device.id == 1
        with pytest.raises(ValueError, match="array device = 0 while current = 1"):
            y + x
        moved = cp.asarray(x)
        assert moved.device.id == 1
        np.testing.assert_array_equal((moved + y).get(), x.get() + 1)
    with pytest.raises(ValueError, match="array device = 1 while current = 0"):
        y.sum()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cp.cuda.Device(2).use()


@pytest.mark.parametrize("take", [float, int, bool, lambda s: s.item()])
def test_host_scalars_are_refused_and_counted(take, cp, x):
    with pytest.raises(TypeError, match="a host scalar is taken without a counted transfer"):
        take(x[0, 1])
    cp.strict = False
    assert take(x[0, 1]) == 1
    assert (cp.transfers.implicit, cp.transfers.to_host) == (1, 1)


def test_transfers_are_counted(cp):
    x = cp.asarray(np.zeros(6))
    x.set(np.ones(6))
    x[[0, 1]]
    assert (x.get().sum(), cp.asnumpy(x).sum(), len(x.tolist())) == (6, 6, 6)
    counts = cp.transfers
    assert (counts.to_device, counts.to_device_bytes) == (3, 48 + 48 + 16)
    assert (counts.to_host, counts.to_host_bytes, counts.implicit) == (3, 144, 0)
    cp.nonzero(x)
    assert counts.waits == 1


# Functions


@pytest.mark.parametrize(
    "call",
    [
        lambda cp, x: cp.take(x, 0, mode="clip"),
        lambda cp, x: cp.sum(x, where=x > 0),
        lambda cp, x: cp.add(x, x, where=x > 0),
        lambda cp, x: cp.einsum("ij->j", x, out=x[0]),
        lambda cp, x: cp.exp([1.0]),
        lambda cp, x: cp.sum([1.0]),
        lambda cp, x: cp.concatenate([x, [[1.0] * 4]]),
        lambda cp, x: cp.matmul(x, np.zeros((4, 2))),
        lambda cp, x: x.sum(where=x > 0),
    ],
)
def test_arguments_that_cupy_does_not_take(call, cp, x):
    with pytest.raises(TypeError):
        call(cp, x)


def test_ufuncs(cp, x):
    assert (cp.add.nin, cp.add.nout, cp.add.nargs, cp.add.name, cp.add.__name__) == (2, 1, 3, "cupy_add", "cupy_add")
    assert not hasattr(cp.add, "signature")
    assert not hasattr(cp.matmul, "nin")
    assert cp.add(x, 1, x) is x
    assert x.get()[0, 0] == 1
    for refused in (lambda: cp.multiply.at(x, [0], 1), lambda: cp.maximum.reduce(x)):
        with pytest.raises(NotImplementedError):
            refused()
    cp.add.at(x, [0, 0], 1)
    assert x.get()[0, 0] == 3
    with pytest.raises(AttributeError):
        cp.spacing  # noqa: B018


# Memory


def test_pools_and_limits(cp):
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        x = cp.zeros(100)
        assert (pool.used_bytes(), pool.n_free_blocks()) == (1024, 0)
        del x
        assert (pool.used_bytes(), pool.total_bytes(), pool.n_free_blocks()) == (0, 1024, 1)
        pool.free_all_blocks()
        assert pool.total_bytes() == 0
        pool.set_limit(512)
        with pytest.raises(
            cp.cuda.memory.OutOfMemoryError, match=r"Out of memory allocating 1,024 bytes \(allocated so"
        ):
            cp.zeros(100)
    with pytest.raises(MemoryError, match=r"allocating 5,368,709,120 bytes \(allocated so far: [\d,]+ bytes\)"):
        cp.cuda.alloc(5 << 30)


def test_pinned_memory(stand_in):
    import cupyx

    assert cupyx.zeros_pinned((2, 3), "f4").sum() == 0
    assert cupyx.empty_pinned(3).flags.writeable


# Sources


def needs_nvrtc(stand_in):
    if not stand_in._nvrtc.find_library() and "CI" not in os.environ:
        pytest.skip("NVRTC is not here: pip install 'nvidia-cuda-nvrtc>=13'")


def test_what_the_compiler_of_cupy_refuses_is_refused(cp):
    needs_nvrtc(cp)
    code = 'extern "C" __global__ void f(float* x) { x[0] = std::sqrt(x[0]); }'  # which g++ takes
    with pytest.raises(cp._raw.CompileException, match="std"):
        cp.RawKernel(code, "f").compile()


@pytest.mark.deep
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_takes_every_source_of_ours(stand_in, dtype):
    needs_nvrtc(stand_in)
    assert [told for each in declared(dtype) if (told := stand_in._nvrtc.complaint(*each))] == []
