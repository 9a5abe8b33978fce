"""The loops that are written from recorded calls: compiled by nvcc, executed on the CPU, and held to NumPy."""

from types import SimpleNamespace

import numpy as np
import pytest
from building import Launch, Library, build
from programs import number_orderings, run_program
from tools import compiled, needs_gxx, needs_nvcc

from chalkgrad.engine import backend
from chalkgrad.ops.loss import sparse_categorical_cross_entropy
from chalkgrad.replay import cuda_loop
from chalkgrad.replay.calls import CALLS
from chalkgrad.replay.cuda_loop import CudaLoop
from chalkgrad.replay.cuda_text import ONE, ROW, Reduction

pytestmark = needs_gxx
DTYPES = ["float32", "float64"]


def deep(*values):
    return pytest.param(*values, marks=pytest.mark.deep)


class OnDevice:
    """A NumPy array as the loop sees an array of a device."""

    def __init__(self, own):
        self.own, self.data = own, SimpleNamespace(ptr=own.ctypes.data)

    def __getattr__(self, name):
        return getattr(self.own, name)


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setattr(backend, "overlap", lambda a, b: np.may_share_memory(a.own, b.own))
    monkeypatch.setattr(cuda_loop, "Launch", lambda source, shape, by_rows, totals, arrays: (source, totals))


def taken(calls, exact=False):
    """A loop of these calls: name, or reduction, or kernel; arguments; output."""
    loop = CudaLoop(exact)
    for name, arguments, out in calls:
        assert loop.take(name, arguments, out), name
    return loop


def launch(loop, kept=(), blocks=3):
    """The text of a loop, and its launch. kept: what is read later; everything, where nothing is named."""
    addresses = [backend.address_of(x) for x in kept]
    (source, totals), arrays = loop.finish(lambda address: not addresses or address in addresses)
    room = [] if totals is None else [np.full(blocks * totals * 8, 255, "u1"), np.zeros(1, "u4")]
    return source, Launch("loop", (blocks,), (256,), [*[x.own for x in arrays], *room])


def computed(calls, outs):
    """What the loop of these calls leaves in its outputs."""
    source, made = launch(taken(calls))
    Library(build(source)).run(made)
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
    loop = CudaLoop()
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


# Reductions


def reduction(name, scope=ROW, mean=False):
    return Reduction(name, mean, scope)


def metrics(rows=21, classes=37, dtype="float32"):
    """What a step may measure: a loss and its gradient, a softmax, a share of right answers, running sums."""
    kernels = sparse_categorical_cross_entropy.cuda_kernels
    x, labels, one = given(rows, classes, dtype=dtype, low=-3, high=3), OnDevice(np.arange(rows) * 7 % classes), given()
    one.own = np.ones((), dtype)
    x.own[2, 3] = x.own[2, 1] = 9  # the first of equal ones
    x.own[3, 2] = x.own[3, -1] = np.nan
    wide, high, tall = empty(rows, classes, dtype=dtype), empty(rows, 1, dtype=dtype), empty(rows, dtype=dtype)
    place, right = OnDevice(np.zeros(rows, "i8")), OnDevice(np.zeros(rows, bool))
    loss, share, sum_of, middle = (empty(dtype=kind) for kind in (dtype, "float64", "float64", dtype))
    running, gradient, least = empty(dtype="float64"), empty(rows, classes, dtype=dtype), empty(dtype=dtype)
    running.own[...] = 2
    finite = given(rows, classes, dtype=dtype)
    calls = [
        (kernels[""], (x, labels), loss),
        (reduction("argmax"), (x,), place),
        ("equal", (labels, place), right),
        (reduction("add", ONE, True), (right,), share),
        ("multiply", (share, 8.0), sum_of),
        ("add", (running, sum_of), running),
        (kernels["logits"], (one, x, labels), gradient),
        (reduction("maximum"), (finite,), high),
        ("subtract", (finite, high), wide),
        ("exp", (wide,), wide),
        (reduction("add", ROW, True), (wide,), tall),
        (reduction("minimum", ONE), (tall,), least),
        (reduction("add", ONE, True), (wide,), middle),
    ]
    with np.errstate(invalid="ignore"):
        e = np.exp(finite.own - finite.own.max(-1, keepdims=True))
        p = np.exp(x.own - x.own.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
    hit = labels.own == x.own.argmax(-1)
    expected = [
        (place.own, x.own.argmax(-1)), (right.own, hit), (share.own, hit.mean()), (running.own, 2 + 8 * hit.mean()),
        (loss.own, np.nan), (gradient.own, (p - np.eye(classes)[labels.own]) / rows), (wide.own, e),
        (tall.own, e.mean(-1)), (least.own, e.mean(-1).min()), (middle.own, e.mean()),
    ]  # fmt: skip
    return calls, expected


def close(expected, dtype="float32"):
    for got, wanted in expected:
        np.testing.assert_allclose(got, wanted, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-7)


@pytest.mark.parametrize(
    ("rows", "classes", "dtype"),
    [(21, 37, "float32"), deep(130, 10, "float64"), deep(4, 6, "float32")],
)
def test_rows_and_all_in_one_launch(rows, classes, dtype):
    calls, expected = metrics(rows, classes, dtype)
    text, made = launch(taken(calls))
    Library(build(text)).run(made)
    close(expected, dtype)
    assert made.values[-1] == 0  # for the next launch


@pytest.mark.deep
def test_all_of_single_elements_and_numbers_before():
    x, scale, norm, twice, half = given(1000), given(), empty(), empty(), empty()
    calls = [("multiply", (scale, 2.0), twice), ("multiply", (x, twice), x), ("square", (x,), wide := empty(1000)),
             (reduction("add", ONE), (wide,), norm), ("sqrt", (norm,), half)]  # fmt: skip
    wanted = x.own * (scale.own * 2)
    text, made = launch(taken(calls), [x, half, twice])
    assert len(made.values) == 2 + 3 + 2
    Library(build(text)).run(made)
    close([(x.own, wanted), (half.own, np.sqrt((wanted**2).sum())), (twice.own, scale.own * 2)])


def normalised(shape=(5, 3, 16), dtype="float32"):
    """Maps normalised by their channels, whose running means are kept, and a sum of all."""
    x = given(*shape, dtype=dtype)
    scale, sums, running = (OnDevice(np.arange(1, 1 + shape[-1]).astype(dtype) / n) for n in (3, 5, 7))
    mean, share, out, kept = (empty(shape[-1], dtype=dtype) for _ in range(4))
    wide, total = empty(*shape, dtype=dtype), empty(dtype=dtype)
    calls = [
        ("divide", (sums, 15), mean),
        ("multiply", (running, 0.9), running),
        ("subtract", (x, mean), wide),
        ("multiply", (mean, 0.1), share),
        ("add", (running, share), running),
        ("square", (scale,), out),
        ("multiply", (wide, out), wide),
        (reduction("add", ONE), (wide,), total),
        ("copy", (mean,), kept),
    ]
    expected = [(running.own, running.own * 0.9 + sums.own / 15 * 0.1), (kept.own, sums.own / 15),
                (wide.own, (x.own - sums.own / 15) * scale.own**2)]  # fmt: skip
    expected.append((total.own, expected[-1][1].sum()))
    return calls, expected, [running, kept, wide, total]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 3, 16), "float32"), deep((70, 32), "float64"), deep((2, 256), "float32")]
)
def test_columns_in_the_loop_over_elements(shape, dtype):
    calls, expected, kept = normalised(shape, dtype)
    text, made = launch(taken(calls), kept)
    assert f"threadIdx.x % {shape[-1]}" in text
    Library(build(text)).run(made)
    close(expected, dtype)


def test_columns_that_others_would_read_after_they_are_written_are_not_taken():
    x, running, mean, wide = given(6, 8), given(8), empty(8), empty(6, 8)
    loop = taken([("multiply", (running, 0.9), running)])
    assert not loop.take("subtract", (x, running), wide)  # of which the old is what other blocks would read
    loop = taken([("multiply", (running, 0.9), mean), ("subtract", (x, mean), wide)])
    assert not loop.take("add", (running, 1.0), running)
    assert not loop.take(reduction("add"), (wide,), empty(6))
    assert not taken([("copy", (given(10),), empty(10))]).take("copy", (given(3, 10),), empty(3, 10))


@pytest.mark.deep
def test_a_loss_in_a_loop_has_the_bits_of_its_own_launch():
    logits, labels, alone = given(203, 10), OnDevice(np.arange(203) % 10), np.zeros((), "f4")
    logits.own = np.ascontiguousarray(logits.own)
    loss, place = empty(), OnDevice(np.zeros(203, "i8"))
    kernel = sparse_categorical_cross_entropy.cuda_kernels[""]
    text, made = launch(taken([(kernel, (logits, labels), loss), (reduction("argmax"), (logits,), place)], exact=True))
    Library(build(text)).run(made)
    own = [logits.own, None, labels.own, alone, np.zeros(3, "f4"), np.zeros(1, "u4"), np.int64(203), np.int32(10)]
    Library(build(text)).run(Launch("softmax_cross_entropy", (3,), (256,), own))
    assert loss.own.tobytes() == alone.tobytes() != bytes(4)


def test_what_is_not_taken():
    x, y, row, one = given(8, 32), empty(8, 32), empty(8), empty()
    assert not CudaLoop(exact=True).take(reduction("add"), (x,), row)  # whose order the tape's bits have
    assert not CudaLoop().take(reduction("add"), (empty(5000, 2),), empty(5000))  # a warp for two elements
    loop = taken([(reduction("add", ONE), (x,), one)])
    assert not loop.take("multiply", (x, one), y)  # which all blocks wait for
    assert not loop.take("copy", (x,), OnDevice(x.own[:4]))
    assert loop.take("multiply", (one, 2.0), empty())
    assert taken([(reduction("add"), (x,), row)]).least == 2


WRONG = {
    "r < 21LL": "r < 20LL",
    "k < 37; k": "k < 36; k",
    "(!nan_y || i < j)": "(!nan_y || i > j)",
    "(x == y && i < j)": "(x == y && i > j)",
    "n < 8": "n < 7",
    "n < gridDim.x;": "n < gridDim.x - 1;",
    "by = 16": "by = 8",
}
WRONG_COLUMNS = {"threadIdx.x % 16": "threadIdx.x % 8", "threadIdx.x < 16": "threadIdx.x < 15"}


@pytest.mark.deep
@pytest.mark.parametrize("old", WRONG)
def test_what_is_wrong_in_a_reduction_shows(old):
    calls, expected = metrics()
    text, made = launch(taken(calls))
    assert old in text
    Library(build(text.replace(old, WRONG[old]))).run(made)
    with pytest.raises(AssertionError):
        close(expected)


@pytest.mark.parametrize("old", WRONG_COLUMNS)
@pytest.mark.deep
def test_what_is_wrong_in_a_column_shows(old):
    calls, expected, kept = normalised()
    text, made = launch(taken(calls), kept)
    assert old in text
    Library(build(text.replace(old, WRONG_COLUMNS[old]))).run(made)
    with pytest.raises(AssertionError):
        close(expected)


def reported(sanitize, leave_out=0, calls_of=lambda: metrics(9, 5)):
    """What a sanitizer says. leave_out: which barrier or fence is, counted from the end."""
    calls, expected, *_ = calls_of()
    text, made = launch(taken(calls), blocks=2)
    text, orderings = number_orderings(text)
    left = len(orderings) + leave_out if leave_out else None
    report = run_program(build(text, sanitize=sanitize), text, [made], left)
    if not report:
        close(expected)
    return report


@pytest.mark.deep
@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
@pytest.mark.parametrize("calls_of", [lambda: metrics(9, 5), normalised])
def test_no_step_outside_and_no_race(sanitize, calls_of):
    assert reported(sanitize, calls_of=calls_of) == ""


@pytest.mark.deep
@pytest.mark.parametrize("leave_out", [-1, -2, -3])
def test_a_barrier_or_fence_left_out_is_a_race(leave_out):
    assert "data race" in reported("thread", leave_out)


@pytest.mark.deep
@needs_nvcc
@pytest.mark.parametrize("calls_of", [lambda dtype: metrics(128, 10, dtype), lambda dtype: normalised(dtype=dtype)])
@pytest.mark.parametrize(("architecture", "dtype"), [("sm_80", "float32"), ("sm_90", "float64")])
def test_reductions_and_columns_compile_and_spill_nothing(architecture, dtype, calls_of, tmp_path):
    (tmp_path / "loop.cu").write_text(launch(taken(calls_of(dtype)[0]))[0])
    made = compiled(tmp_path / "loop.cu", tmp_path, architecture, [])
    assert isinstance(made, bytes), made
