"""The loops that are written from recorded calls: compiled by nvcc, executed on the CPU, and held to NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
from building import Library, build, packed
from tools import compiled, needs_gxx, needs_nvcc

from chalkgrad.engine import backend
from chalkgrad.replay import cuda_loop
from chalkgrad.replay.calls import CALLS
from chalkgrad.replay.cuda_loop import CudaLoop

pytestmark = needs_gxx
DTYPES = ["float32", "float64"]


class OnDevice:
    """A NumPy array as the loop sees an array of a device."""

    def __init__(self, own):
        self.own, self.data = own, SimpleNamespace(ptr=own.ctypes.data)

    def __getattr__(self, name):
        return getattr(self.own, name)


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setattr(backend, "overlap", lambda a, b: np.may_share_memory(a.own, b.own))
    monkeypatch.setattr(cuda_loop, "Launch", lambda source, size, arrays: source)


def computed(calls, outs):
    """What the loop of these calls leaves in its outputs. calls: name, arguments, output."""
    loop = CudaLoop(outs[0].shape)
    for name, arguments, out in calls:
        assert loop.take(name, arguments, out), name
    source, arrays = loop.finish(lambda address: True)
    Library(build(source)).launch("loop", (3,), (64,), packed(*[x.own for x in arrays]))
    return source


def given(*shape, dtype="float32", low=0.1, high=0.9):
    return OnDevice(np.random.default_rng(len(shape)).uniform(low, high, shape).astype(dtype))


def empty(*shape, dtype="float32"):
    return OnDevice(np.full(shape, np.nan if dtype[:5] == "float" else 1, dtype))


def in_c(computes_in):
    """The ufuncs that are written in CUDA C, and computed in that dtype."""
    return [
        n for n, call in CALLS.items() if call.c and call.computes_in == computes_in and hasattr(np, n) and n != "copy"
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_function(dtype):
    names = in_c("result")
    assert len(names) > 30
    x, y = given(7, 5, dtype=dtype), given(7, 5, dtype=dtype, low=-1)
    outs = [empty(7, 5, dtype=dtype) for _ in names]
    takes = [getattr(np, name).nin for name in names]
    computed([(name, (x, y)[:n], out) for name, n, out in zip(names, takes, outs, strict=True)], outs)
    for name, n, out in zip(names, takes, outs, strict=True):
        expected = getattr(np, name)(*(x.own, y.own)[:n])
        np.testing.assert_allclose(out.own, expected, rtol=4e-7 if dtype == "float32" else 1e-15, err_msg=name)


@pytest.mark.parametrize(("computes_in", "kind"), [("operands", "float32"), ("bool", "bool")])
def test_comparisons_and_logic(computes_in, kind):
    names = in_c(computes_in)
    x, y = (OnDevice((given(40, low=-1).own > 0).astype(kind)), OnDevice((np.arange(40) % 3 > 0).astype(kind)))
    outs = [empty(40, dtype="bool") for _ in names]
    takes = [getattr(np, name).nin for name in names]
    computed([(name, (x, y)[:n], out) for name, n, out in zip(names, takes, outs, strict=True)], outs)
    for name, n, out in zip(names, takes, outs, strict=True):
        np.testing.assert_array_equal(out.own, getattr(np, name)(*(x.own, y.own)[:n]), err_msg=name)


def test_operands_of_any_layout_that_broadcast():
    x, row, column, one = given(6, 4), given(4), given(6, 1), given(1)
    turned, every_other = OnDevice(given(4, 6).own.T), OnDevice(given(6, 8).own[:, ::2])
    out = empty(6, 4)
    calls = [("copy", (x,), out)] + [
        ("add", (out, other), out) for other in (row, column, one, turned, every_other, 2.5)
    ]
    computed(calls, [out])
    expected = x.own + row.own + column.own + one.own + turned.own + every_other.own + np.float32(2.5)
    np.testing.assert_allclose(out.own, expected, rtol=1e-6)


def test_choice_mixed_dtypes_and_what_is_not_finite():
    x, mask = given(9, low=-1), OnDevice(np.arange(9) % 2 == 0)
    x.own[:3] = np.nan, np.inf, -np.inf
    outs = [empty(9), empty(9), empty(9, dtype="float64"), empty(9), empty(9)]
    computed(
        [
            ("where", (mask, x, 0.0), outs[0]),
            ("multiply", (x, mask), outs[1]),
            ("multiply", (x, 3.0), outs[2]),
            ("maximum", (x, 0), outs[3]),
            ("add", (outs[0], float("-inf")), outs[4]),
        ],
        outs,
    )
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(outs[0].own, np.where(mask.own, x.own, np.float32(0)))
        np.testing.assert_array_equal(outs[1].own, x.own * mask.own)
        np.testing.assert_array_equal(outs[2].own, x.own.astype("float64") * 3)
        np.testing.assert_array_equal(outs[3].own, np.maximum(x.own, 0))
        np.testing.assert_array_equal(outs[4].own, outs[0].own - np.float32(np.inf))


def test_what_would_read_what_it_has_written_elsewhere_is_not_taken():
    x = given(8)
    shifted = OnDevice(x.own[::-1])
    loop = CudaLoop((8,))
    assert loop.take("add", (x, 1.0), x)
    assert not loop.take("add", (shifted, 1.0), empty(8))


@needs_nvcc
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.deep)])
def test_what_is_written_compiles_for_cuda_without_contraction(tmp_path, dtype):
    x, out, flags = given(6, 4, dtype=dtype), empty(6, 4, dtype=dtype), empty(6, 4, dtype="bool")
    calls = [("square", (x,), out), ("sqrt", (out,), out), ("multiply", (out, given(4, dtype=dtype)), out),
             ("add", (out, x), out), ("greater", (out, float("nan")), flags)]  # fmt: skip
    (tmp_path / "loop.cu").write_text(computed(calls, [out, flags]))
    keeping = ["--keep", "--keep-dir", str(tmp_path)]
    assert isinstance(made := compiled(tmp_path / "loop.cu", tmp_path, "sm_90", keeping), bytes), made
    assert "mul.rn" in (text := (tmp_path / "loop.ptx").read_text())
    assert "fma" not in text
