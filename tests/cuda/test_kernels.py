"""Every kernel, run on the CPU, against NumPy."""

import importlib

import numpy as np
import pytest
from building import BuildError, Library, build, packed
from cases import (
    LINALG,
    LOSS,
    adam,
    bits16,
    column_sums,
    cross_entropy,
    cross_entropy_gradient,
    feed,
    gather,
    library,
    product,
    size,
    source,
)
from tools import needs_gxx

pytestmark = needs_gxx
both = pytest.mark.parametrize("dtype", ["f4", "f8"])
SIZES = [(1, 1, 1), (3, 5, 0), (32, 32, 32), (33, 31, 17), (2, 100, 70), (65, 10, 129)]


@both
@pytest.mark.parametrize("split", [1, 3, 80])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_product(m, n, k, split, dtype):
    product(m, n, k, dtype, split).run()
    product(m, n, k, dtype, split, tile=16).run()


def test_two_products_in_one_launch():
    first = product(33, 10, 150, split=2, layouts="fc", summed=True)
    product(20, 40, 9, bias=True, relu=True, tile=16, beside=first).run()


@both
def test_the_sums_of_a_product_are_those_alone_to_the_last_bit(dtype):
    def change(a, b):
        b[...] = np.random.default_rng(1).standard_normal(b.shape)

    whole = product(300, 35, 99, dtype, layouts="fc", summed=True, change=change)
    alone = product(0, 35, 99, dtype, summed=True, tile=16, change=change)
    whole.run()
    alone.run()
    of_b = [case.expected[-1][0] for case in (whole, alone)]
    assert of_b[0].tobytes() == of_b[1].tobytes()


@both
@pytest.mark.parametrize("masks", ["", "a", "b", "ab"])
@pytest.mark.parametrize("layouts", ["cc", "cf", "fc", "ff"])
def test_product_of_transposes_and_what_passes(layouts, masks, dtype):
    product(37, 35, 41, dtype, 2, layouts, masks=masks, summed="a" not in masks).run()
    product(32, 35, 41, dtype, 1, layouts, masks=masks, summed="a" not in masks).run()
    product(40, 36, 140, dtype, 1, layouts, masks=masks, summed="a" not in masks, tile=16).run()


@pytest.mark.parametrize("split", [1, 2])
@pytest.mark.parametrize(("bias", "relu"), [(True, False), (False, True), (True, True)])
def test_product_with_bias_and_relu(bias, relu, split):
    product(37, 35, 41, "f4", split, bias=bias, relu=relu).run()
    product(5, 7, 0, "f4", split, bias=bias, relu=relu).run()


@pytest.mark.parametrize("masks", ["", "a"])
@pytest.mark.parametrize("split", [1, 2])
def test_nan_and_infinity_go_through_product_and_relu(split, masks):
    def change(a, b):
        a[1, 2], a[3, 4], a[5, 6] = np.nan, np.inf, -np.inf
        b[6, 7] = 0

    product(9, 34, 8, "f4", split, relu=True, masks=masks, change=change).run()


@both
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (16, 32), (37, 33), (100, 10)])
def test_column_sums(rows, columns, mask, dtype):
    column_sums(rows, columns, dtype, mask).run()
    column_sums(rows, columns, dtype, mask, split=3).run()


@both
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("make", [cross_entropy, cross_entropy_gradient])
@pytest.mark.parametrize(("rows", "classes"), [(0, 3), (1, 1), (16, 10), (37, 33), (5, 100)])
def test_cross_entropy(make, rows, classes, labelled, dtype):
    make(rows, classes, dtype, labelled).run()
    make(rows, classes, dtype, labelled, blocks=35).run()


@both
@pytest.mark.parametrize("table", ["u1", "f4"])
@pytest.mark.parametrize("index", ["i4", "i8"])
@pytest.mark.parametrize(("rows", "width"), [(0, 3), (3, 0), (1, 1), (7, 5), (64, 4), (33, 784)])
def test_gather(rows, width, index, table, dtype):
    gather(rows, width, dtype, table, index, scale=1 / 255).run()
    gather(rows, width, dtype, table, index, shift=1).run()


def test_gather_of_whole_numbers():
    gather(33, 1, "i8", "i8").run()
    gather(7, 8, "i4", "i8").run()


@both
@pytest.mark.parametrize("pointers", [False, True])
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 127, 128, 1001])
@pytest.mark.parametrize("name", ["adam", "adamw", "adam_documented"])
def test_adam_is_the_array_code_to_the_last_bit(name, count, shift, pointers, dtype):
    adam(name, count, dtype, pointers, shift).run()


@pytest.mark.parametrize("units", [0, 1, 127, 128, 1001])
def test_feed(units):
    case = feed(units, row=0, blocks=3)
    table, row, _, counter, _ = case.launch.values
    for number in range(4):
        library(source(case.file)).run(case.launch)
        np.testing.assert_array_equal(row, table[number])
        assert counter == number + 1


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_sixteen_bits(to):
    bits16(to).run()


@pytest.mark.parametrize("make", [lambda: product(37, 35, 41, split=3), lambda: cross_entropy(37, 33, blocks=5)])
def test_a_second_run_gives_the_same_bits_with_the_same_buffers(make):
    case = make()
    case.run()
    out = case.expected[0][0]
    first = out.tobytes()
    out[...] = np.nan
    case.run()
    assert out.tobytes() == first


@pytest.mark.parametrize(
    ("module", "file", "constants"),
    [
        ("ops.products", LINALG, ["WIDEST", "PANEL", "THREADS", "SUM_COLUMNS", "SUM_ROWS"]),
        ("ops.loss", LOSS, ["ROWS", "THREADS"]),
    ],
)
def test_what_launches_a_kernel_has_its_constants(module, file, constants):
    given = vars(importlib.import_module(f"chalkgrad.{module}"))
    assert {name: given[name] for name in constants} == {name: size(file, name) for name in constants}


MUTANTS = [
    ("j >= t.n)", "j > t.n)", lambda: product(33, 31, 17)),
    ("z < t.split", "z < t.split - 1", lambda: product(33, 31, 17, split=2)),
    ("column == of.ones &&", "column == of.ones + 1 &&", lambda: product(31, 3, 9, summed=True)),
    ("r == t.m", "r == t.m + 1", lambda: product(32, 3, 9, summed=True)),
    ("z <= 0", "!(z > 0)", lambda: product(3, 3, 3, relu=True, change=lambda a, b: a.fill(np.nan))),
    ("column < columns;", "column <= columns;", lambda: column_sums(37, 33)),
    ("row < end; row", "row <= end; row", lambda: column_sums(37, 5)),
    ("y < gridDim.y; ++y", "y < gridDim.y - 1; ++y", lambda: column_sums(37, 33, split=3)),
    ("k < classes;", "k <= classes;", lambda: cross_entropy_gradient(37, 33)),
    ("r < rows;", "r < rows - 1;", lambda: cross_entropy(37, 33)),
    ("at < count;", "at <= count;", lambda: gather(7, 5)),
    ("i < size;", "i <= size;", lambda: adam("adam", 127)),
    ("i < size / 4;", "i < size / 4 - 1;", lambda: adam("adam", 128)),
    ("i < bytes / 16;", "i <= bytes / 16;", lambda: feed(127)),
    ("0x7fffu + (bits >> 16 & 1u)", "0x8000u", lambda: bits16("bfloat16")),
]
MORE_MUTANTS = [
    ("of.four && c + 3 * more_c < of.width", "of.four", lambda: product(28, 3, 9, layouts="fc", summed=True)),
    ("term < terms; term", "term < terms - 1; term", lambda: product(33, 31, 17)),
    ("g < GROUPS", "g < GROUPS - 1", lambda: product(33, 31, 17)),
    ("i < count; i += step) out[i] = f", "i < count - 1; i += step) out[i] = f", lambda: bits16("float16")),
    ("0xfffu + (bits >> 13 & 1u)", "0x1000u", lambda: bits16("float16")),
    ("bits < 0x38800000u", "bits < 0x33000000u", lambda: bits16("float16")),
]


@pytest.mark.parametrize(
    ("old", "new", "make"),
    [
        *(pytest.param(*each, id=each[1]) for each in MUTANTS),
        *(pytest.param(*each, id=each[1], marks=pytest.mark.deep) for each in MORE_MUTANTS),
    ],
)
def test_a_wrong_bound_shows(old, new, make):
    case = make()
    text = source(case.file)
    assert old in text
    with pytest.raises(AssertionError, match=r"gave|outside"):
        case.run(text.replace(old, new))


WAITING = """
extern "C" __global__ void reversed(int* x, int n) {
    extern __shared__ int kept[];
    kept[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = kept[n - 1 - threadIdx.x];
}
extern "C" __global__ void __launch_bounds__(64) apart(int* x) {
    if (threadIdx.x % 2) __syncthreads(); else __syncwarp();
    x[0] = 1;
}
extern "C" __global__ void lanes(unsigned* x) {
    if (threadIdx.x >= 40) return;
    x[threadIdx.x] = __ballot_sync(threadIdx.x < 32 ? 0xffffffffu : 0xffu, threadIdx.x % 3 == 0);
    x[threadIdx.x] += __shfl_down_sync(threadIdx.x < 32 ? 0xffffffffu : 0xffu, threadIdx.x, 2, 4) << 16;
    atomicInc(&x[40], 50);
}
"""


@pytest.mark.parametrize("threads", ["fibers", "real"])
def test_threads_wait_for_each_other(threads):
    waiting, x = Library(build(WAITING, threads=threads)), np.arange(70, dtype="i4")
    waiting.launch("reversed", (1,), (70,), packed(x, np.int32(70)), shared=70 * 4)
    np.testing.assert_array_equal(x, np.arange(70)[::-1])
    lanes = np.zeros(41, "u4")
    waiting.launch("lanes", (1,), (40,), packed(lanes))
    votes = [sum(1 << i % 32 for i in range(first, last) if i % 3 == 0) for first, last in ((0, 32), (32, 40))]
    down = [i + 2 if i % 4 < 2 else i for i in range(40)]
    expected = [(votes[i // 32] + (down[i] << 16)) % 2**32 for i in range(40)]
    np.testing.assert_array_equal(lanes, [*expected, 40])


def test_threads_that_wait_for_ever_are_an_error_and_the_next_launch_runs():
    waiting, x = library(WAITING), np.arange(64, dtype="i4")
    with pytest.raises(RuntimeError, match="apart: some threads wait"):
        waiting.launch("apart", (1,), (64,), packed(x))
    waiting.launch("reversed", (1,), (64,), packed(x, np.int32(64)), shared=64 * 4)
    np.testing.assert_array_equal(x, np.arange(64)[::-1])


def test_what_no_device_would_launch_is_refused():
    waiting, x = library(WAITING), np.zeros(41, "u4")
    for grid, block in [((1,), (1025,)), ((1,), (32, 33)), ((0,), (32,)), ((1, 65536), (32,)), ((1,), (1, 1, 65))]:
        with pytest.raises(ValueError, match="invalid configuration"):
            waiting.launch("lanes", grid, block, packed(x))
    for values in [(), (x, x), (np.int32(1),)]:
        with pytest.raises(TypeError, match="lanes"):
            waiting.launch("lanes", (1,), (40,), packed(*values))
    with pytest.raises(TypeError, match=r"numpy\.int32"):
        packed(1)


def test_what_does_not_compile_says_where():
    with pytest.raises(BuildError, match=r"kernel.cu:2:\d+: error"):
        build('extern "C" __global__ void f(float* x) {\n    x[0] = y;\n}\n')
