"""Capture, kernels and cuBLAS of the stand-in: recorded and not done, and refused as CUDA refuses."""

import contextlib
import ctypes
import gc

import numpy as np
import pytest

# Capture


def test_a_graph_is_recorded_and_not_done(cp, x, stream):
    runtime = cp.cuda.runtime
    total, copy = cp.zeros((), "f4"), cp.zeros_like(x)
    with stream:
        stream.begin_capture()
        y = x * 2
        cp.sum(y, out=total)
        runtime.memcpyAsync(copy.data.ptr, x.data.ptr, x.nbytes, runtime.memcpyDeviceToDevice, stream.ptr)
        y[0] = 0
        graph = stream.end_capture()
    assert total.get() == copy.get().sum() == 0
    assert np.isnan(y.get()).all()
    graph.launch(stream)
    assert total.get() == 132
    x.fill(1)
    graph.launch(stream)
    assert (total.get(), copy.get().sum(), y.get().sum()) == (24, 12, 16)


CAPTURED = {
    "cumsum": lambda xp, x: xp.cumsum(x, 1),
    "cumprod": lambda xp, x: xp.cumprod(x, 0),
    "sort": lambda xp, x: xp.sort(x[:, ::-1], 1),
    "argsort": lambda xp, x: xp.argsort(x[:, ::-1], 1),
    "flip": lambda xp, x: xp.flip(x, 1),
    "clip": lambda xp, x: xp.clip(x, 2, 7),
    "median": lambda xp, x: xp.median(x, 1),
    "norm": lambda xp, x: xp.linalg.norm(x, axis=1),
    "einsum": lambda xp, x: xp.einsum("ij,ij->ij", x, x),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_what_is_captured_is_replayed_with_other_numbers(name, cp, x, stream):
    with stream:
        stream.begin_capture()
        y = CAPTURED[name](cp, x)
        graph = stream.end_capture()
    x[...] = x * 2 - 5
    graph.launch(stream)
    np.testing.assert_allclose(y.get(), CAPTURED[name](np, x.get()), rtol=1e-6)


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        (lambda cp, x: x.get(), RuntimeError, "D2H transfers are disallowed.*cudaErrorStreamCaptureUnsupported"),
        (lambda cp, x: cp.asarray(np.zeros(3)), RuntimeError, "H2D transfers are disallowed"),
        (lambda cp, x: x.set(np.zeros((3, 4), "f4")), RuntimeError, "H2D transfers are disallowed"),
        (lambda cp, x: float(x.sum()), RuntimeError, "D2H transfers are disallowed"),
        (lambda cp, x: cp.nonzero(x), RuntimeError, "operation not permitted when stream is capturing"),
        (lambda cp, x: cp.cuda.get_current_stream().synchronize(), RuntimeError, "operation not permitted"),
        (lambda cp, x: cp.cuda.Device().synchronize(), RuntimeError, "operation not permitted"),
        (
            lambda cp, x: x @ x.T,
            NotImplementedError,
            "calling cuBLAS API during stream capture is currently unsupported",
        ),
        (lambda cp, x: cp.einsum("ij,kj->ik", x, x), NotImplementedError, "cuBLAS"),
        (lambda cp, x: cp.linalg.solve(x[:, :3], x[:, 3]), NotImplementedError, "cuBLAS"),
        (lambda cp, x: cp.take(x, [1, 0], axis=1), RuntimeError, "H2D transfers are disallowed"),
    ],
)
def test_what_a_capture_refuses(do, error, message, cp, x, stream):
    with stream:
        stream.begin_capture()
        with pytest.raises(error, match=message):
            do(cp, x)
        with contextlib.suppress(cp.cuda.runtime.CUDARuntimeError):  # what it was broken by breaks its end, too
            stream.end_capture()


def test_a_graph_keeps_nothing_alive(cp, x, stream):
    def captured(pool):
        with stream, cp.cuda.using_allocator(pool):
            stream.begin_capture()
            y = x + 1
            cp.add(y, 1, x)
            return stream.end_capture()

    pool, other = cp.cuda.MemoryPool(), cp.zeros((3, 4), "f4")
    graph = captured(pool.malloc)  # y went back to the pool in force, which is the graph's own
    graph.launch()
    assert x.get()[0, 0] == 2
    with cp.cuda.using_allocator(pool.malloc):
        stolen = cp.zeros((3, 4), "f4")
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="illegal memory access"):
        graph.launch()
    with stream, cp.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        cp.add(x, 1, other)
        graph = stream.end_capture()
    del stolen, other  # which goes back to the default pool
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="illegal memory access"):
        graph.launch()


def test_streams_are_joined(cp, x, stream):
    other = cp.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    other.wait_event(stream.record())
    with other:
        x += 1
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="unjoined"):
        stream.end_capture()
    assert not other.is_capturing()
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()
    blocking = cp.cuda.Stream()
    blocking.begin_capture()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="legacy stream"):
        x + 1
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="previous error during capture"):
        blocking.end_capture()


# Kernels and cuBLAS

SOURCE = """
extern "C" __global__ void scale(float* y, const float* x, long long n, double by, bool add) {
    long long i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * (float)by + (add ? y[i] : 0.0f);
}
"""


def test_a_kernel_of_ones_own(cp, x, stream):
    kernel = cp.RawModule(code=SOURCE, options=("-std=c++17",)).get_function("scale")
    y = cp.zeros_like(x)
    kernel((3,), (4,), (y, x, 12, 2.0, False))
    kernel((1,), (4,), (y[1:], x, 4, 1.0, True))
    np.testing.assert_array_equal(y.get()[:, 1], [2, 11, 18])
    with stream:
        stream.begin_capture()
        kernel((3,), (4,), (y, x, 12, 3.0, False))
        graph = stream.end_capture()
    assert y.get()[0, 1] == 2
    graph.launch()
    assert y.get()[0, 1] == 3
    del y
    gc.collect()
    cp.get_default_memory_pool().free_all_blocks()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        graph.launch()


@pytest.mark.parametrize("bad", [None, "text", np.zeros(3)])
def test_what_a_kernel_does_not_take(bad, cp, x):
    with pytest.raises(TypeError, match=r"Unsupported type|numpy\.ndarray of shape"):
        cp.RawKernel(SOURCE, "scale")((1,), (1,), (bad, x, 12, 2.0, False))


def test_sizes_of_arguments_are_held_to_the_parameters(cp, x):
    with pytest.raises(TypeError, match="parameters of"):
        cp.RawKernel(SOURCE, "scale")((1,), (1,), (x, x, np.int32(12), 2.0, False))


KINDS = {"f4": 0, "f8": 1, "f2": 2, "u2": 14}  # the bits of bfloat16 are in uint16


def gemm(cp, blas, handle, a, b, out, compute, beta=0.0, step=None):
    """out = a b, row-major, by cublasGemmEx; the handle's stream is the current one."""
    (m, k), n, kind, to = a.shape, b.shape[1], KINDS[a.dtype.str[1:]], KINDS[out.dtype.str[1:]]
    scalar = ctypes.c_double if compute == 70 else ctypes.c_float
    one, other = scalar(1), scalar(beta)
    pointers = [ctypes.c_void_p(v.data.ptr) for v in (b, a, out)]
    return blas.cublasGemmEx(
        handle, 0, 0, n, m, k, ctypes.byref(one), pointers[0], kind, n, pointers[1], kind, step or k,
        ctypes.byref(other), pointers[2], to, n, compute, -1,
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "compute", "error"), [
    ("f4", 68, 1e-6), ("f8", 70, 1e-14), ("f2", 68, 1e-3), ("f4", 77, 1e-3), ("f4", 74, 1e-3), ("f4", 75, 1e-2),
])  # fmt: skip
def test_cublas(dtype, compute, error, cp, stream):
    blas, handle, rng = cp.standin_cublas(), ctypes.c_void_p(), np.random.default_rng(0)
    assert blas.cublasCreate_v2(ctypes.byref(handle)) == 0
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((5, 7), (7, 3)))
    x, y, out = cp.asarray(a), cp.asarray(b), cp.empty((5, 3), dtype)
    exact = a.astype("f8") @ b.astype("f8")
    assert gemm(cp, blas, handle, x, y, out, compute) == 0
    got = np.abs(out.get() - exact).max() / np.abs(exact).max()
    assert got < error
    assert got > error / 1000 or dtype != "f4"  # the rounding is there
    assert blas.cublasSetStream_v2(handle, ctypes.c_void_p(stream.ptr)) == 0
    out.fill(0)
    with stream:
        stream.begin_capture()
        assert gemm(cp, blas, handle, x, y, out, compute, beta=1.0) == 0
        graph = stream.end_capture()
    assert not out.get().any()
    graph.launch()
    graph.launch()
    assert np.abs(out.get() - 2 * exact).max() / np.abs(exact).max() < 2 * error + 1e-3 * (dtype == "f2")


def test_cublas_refuses(cp, x):
    blas, handle, out = cp.standin_cublas(), ctypes.c_void_p(), cp.empty((3, 3), "f4")
    assert gemm(cp, blas, handle, x, x.reshape(4, 3), out, 68) == 1  # no handle
    blas.cublasCreate_v2(ctypes.byref(handle))
    assert gemm(cp, blas, handle, x, x.reshape(4, 3), out, 70) == 15  # float32 is not computed in float64
    assert blas.cublasSgemm_v2(
        handle, 0, 0, 3, 3, 4, ctypes.byref(ctypes.c_float(1)), x.data.ptr and ctypes.c_void_p(x.data.ptr), 2,
        ctypes.c_void_p(x.data.ptr), 4, ctypes.byref(ctypes.c_float(0)), ctypes.c_void_p(out.data.ptr), 3,
    ) == 7  # fmt: skip
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="illegal memory access"):
        gemm(cp, blas, handle, x, x.reshape(4, 3), cp.empty(128, "f4")[125:], 68)
    with pytest.raises(TypeError, match="32 bits"):
        blas.cublasSetStream_v2(handle, 1 << 40)


def test_cublas_takes_sixteen_bits_as_they_are_and_no_order_to_make_them(cp):
    blas, handle, rng = cp.standin_cublas(), ctypes.c_void_p(), np.random.default_rng(0)
    assert blas.cublasCreate_v2(ctypes.byref(handle)) == 0
    a, b = (rng.standard_normal(shape).astype("f4") for shape in ((5, 7), (7, 3)))
    made = {}
    for compute in (74, 75, 77):  # leave to round to float16 and bfloat16, and TF32
        out = cp.empty((5, 3), "f4")
        assert gemm(cp, blas, handle, cp.asarray(a), cp.asarray(b), out, compute) == 0
        made[compute] = out.get().tobytes()
    assert len(set(made.values())) == 1
    halves = [cp.asarray((x.view("u4") >> 16).astype("u2")) for x in (a, b)]
    cut = [(x.view("u4") & np.uint32(0xFFFF0000)).view("f4") for x in (a, b)]
    assert gemm(cp, blas, handle, *halves, out, 68) == 0
    np.testing.assert_allclose(out.get(), cut[0].astype("f8") @ cut[1], rtol=1e-5)
    assert gemm(cp, blas, handle, *halves, out, 75) == 15  # not supported
    assert gemm(cp, blas, handle, halves[0], cp.asarray(b), cp.empty((5, 3), "f8"), 68) == 15
    assert gemm(cp, blas, handle, *halves, out, 68, step=6) == 7  # an invalid value: rows are 7 long
