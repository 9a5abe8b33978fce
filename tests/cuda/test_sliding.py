"""The kernels over windows, run on the CPU as they are launched, against the array code."""

import importlib

import numpy as np
import pytest
from cases import CONVOLUTION, CORRELATION, DEPTHWISE, POOLING, drawn, size, source
from sliding_cases import convolutions, of_channels, pooled_convolution, poolings, sliding, with_places
from tools import needs_gxx

pytestmark = needs_gxx
both = pytest.mark.parametrize("dtype", ["f4", "f8"])
ONE = {"stride": (1, 1), "padding": ((1, 1), (0, 2)), "dilation": (1, 1), "groups": 1}


@both
@pytest.mark.parametrize("apart", [False, True])
def test_convolution_and_its_adjoints(apart, dtype):
    for seed in range(60):
        for case in convolutions(seed, dtype, apart):
            case.run()


@both
def test_pooling_and_its_adjoints_are_the_array_code_to_the_last_bit(dtype):
    for seed in range(60):
        for case in poolings(seed, dtype):
            case.run()


@both
def test_places_of_the_greatest_are_kept_and_a_convolution_tells_them_to_the_last_bit(dtype):
    for seed in range(40):
        for case in (*with_places(seed, dtype), pooled_convolution(seed, dtype)):
            case.run()


@both
def test_moments_of_channels_lose_no_digits_where_the_mean_is_large(dtype):
    for rows, count in ((1, 1), (7, 3), (1000, 16), (999, 5), (20, 300), (5, 1028), (4001, 1)):
        for mean in (0, 1e4):
            for case in of_channels(rows, count, dtype, mean):
                case.run()


def many_tiles(dtype="f4", groups=1):
    """Several blocks along each axis of the grid, narrow ones or wide ones, and many terms in each sum."""
    rng, n, m = np.random.default_rng(0), *((35, 33) if groups == 1 else (51, 50))
    x, w = drawn(rng, (3, 9, 11, n * groups), dtype), drawn(rng, (3, 2, n, m * groups), dtype)
    y = drawn(rng, (3, 9, 12, m * groups), dtype)
    how = {**ONE, "groups": groups}
    return [
        sliding("correlation", (x, w), **how),
        sliding("transposed_correlation", (y, w), lengths=(9, 11), **how),
        *(sliding("kernel_correlation", (x, y), n, n > 1, size=(3, 2), **how) for n in (1, 40, 90)),
    ]


@both
@pytest.mark.parametrize("groups", [1, 2])
def test_many_tiles(groups, dtype):
    for case in many_tiles(dtype, groups):
        case.run()


def split(apart):
    """A kernel whose sum several blocks share."""
    rng = np.random.default_rng(0)
    x, y = drawn(rng, (3, 17, 19, 5), "f4"), drawn(rng, (3, 17, 19, 5), "f4")
    how = {**ONE, "padding": ((1, 1), (1, 1)), "groups": 5 if apart else 1}
    made = sliding("kernel_correlation", (x, y), 12, not apart, size=(3, 3), **how)
    assert made.launch.grid[2] == 4
    return made


@pytest.mark.parametrize("make", [lambda: split(False), lambda: split(True)])
def test_a_second_run_gives_the_same_bits(make):
    case = make()
    case.run()
    out = case.expected[0][0]
    first = out.tobytes()
    out[...] = np.nan
    case.run()
    assert out.tobytes() == first


def test_what_is_not_finite_goes_through_a_pool():
    def change(x):
        x[0] = -np.inf
        x[..., 0, :] = np.inf
        x[..., -1, :1] = np.nan

    for seed in range(20):
        greatest, _, mean, _ = poolings(seed, "f4", change)
        greatest.run()
        mean.run()
        poolings(seed, "f4", lambda x: x.fill(-np.inf))[1].run()  # the border is as great


def test_other_layouts_are_copied_and_other_arrays_left_to_the_array_code():
    rng = np.random.default_rng(0)
    x, w = drawn(rng, (2, 4, 6, 5), "f4").transpose(0, 2, 3, 1), drawn(rng, (3, 3, 4, 2), "f4")[::-1]
    sliding("correlation", (x, w), **ONE).run()
    suits = importlib.import_module("chalkgrad.ops.sliding").convolves
    huge, few = np.broadcast_to(x[:1, :1, :1], (1 << 10, 1 << 10, 1 << 8, 4)), {**ONE, "padding": ((0, 0), (0, 0))}
    assert suits(x, w, **ONE)
    assert not suits(x, w, np.ones(2), **ONE)
    assert suits(huge[:, :, :255], w, **few)
    assert not suits(huge, w, **few)
    assert not suits(x.astype("f8"), w, **ONE)
    assert not suits(x.astype("i4"), w.astype("i4"), **ONE)
    assert not suits(x[:0], w, **ONE)
    assert not suits(x, w, **{**ONE, "stride": (300, 300)})


@pytest.mark.parametrize(
    ("file", "constants"),
    [
        (CONVOLUTION, ["TILE_M", "TILE_N", "THREADS", "CELL", "TERMS", "SHORT_N"]),
        (CORRELATION, ["MANY", "MANY_FEW"]),
        (DEPTHWISE, ["THREADS", "SUM_COLUMNS", "SUM_ROWS"]),
        (POOLING, ["THREADS"]),
    ],
)
def test_what_launches_a_kernel_has_its_constants(file, constants):
    given = vars(importlib.import_module("chalkgrad.ops.sliding"))
    assert {name: given[name] for name in constants} == {name: size(file, name) for name in constants}


def convolved(number, apart=False):
    return lambda: [convolutions(seed, apart=apart)[number] for seed in range(20)]


def pooled(number):
    return lambda: [poolings(seed)[number] for seed in range(20)]


def kept(number):
    return lambda: [with_places(seed)[number] for seed in range(20)]


def pooled_convolutions():
    return [pooled_convolution(seed) for seed in range(20)]


MUTANTS = [
    ("if (k + e >= end)", "if (k + e > end)", convolved(1)),
    ("at_y < end_of_y ?", "at_y < end_of_y + 64 ?", convolved(2)),
    ("half; half /= 2", "half > 1; half /= 2", lambda: [split(False)]),
    ("runs = each % RUN == 0", "runs = true", convolved(2)),
    ("i == m && sums_of_y", "i == m + 1 && sums_of_y", lambda: [split(False)]),
    ("< unsigned(height) &&", "<= unsigned(height) &&", convolved(0)),
    ("terms > 0; terms -= TILE_K", "terms > TILE_K; terms -= TILE_K", convolved(0)),
    ("count = n - column", "count = n - column + 1", convolved(0)),
    ("filter = blockIdx.z * n + column", "filter = column", convolved(0)),
    ("channel = group * n + column", "channel = column", convolved(1)),
    ("j < count) to[j]", "j <= count) to[j]", convolved(1)),
    ("if (first >= terms)", "if (first + 4 >= terms)", convolved(0)),
    ("place < size_of_window; ++place)", "place < size_of_window - 1; ++place)", convolved(1)),
    ("z < split; z += LANES", "z < split - 1; z += LANES", lambda: [split(False)]),
    ("z < split; z += LANES", "z < split - 1; z += LANES", lambda: many_tiles()[4:]),
    ("z < split; z += SUM_ROWS", "z < split - 1; z += SUM_ROWS", lambda: [split(True)]),
    ("(i /= g.stride_y) >= g.rows", "(i /= g.stride_y) > g.rows", convolved(1, apart=True)),
    ("k < end; k += SUM_ROWS", "k < end - 1; k += SUM_ROWS", convolved(2, apart=True)),
    ("c < g.channels) w[to]", "c <= g.channels) w[to]", convolved(2, apart=True)),
    ("first = window * stride - before;", "first = window * stride - before + 1;", pooled(2)),
    ("gy[at] / REAL(equal)", "gy[at]", pooled(1)),
    ("given.x[f] / REAL(many)", "given.x[f] / REAL(many | 1)", pooled(1)),
    ("bit <<= within", "bit <<= 1", pooled(1)),
    ("cell_down(window_y, g.stride_y, g.stride_y,", "cell_down(window_y, g.stride_y, g.size_y,", pooled(1)),
    ("relu && !(top.x[f] > 0)", "relu && top.x[f] > 9", pooled(1)),
    ("relu && !(y[at] > 0)", "relu && y[at] > 9", pooled(1)),
    ("relu ? REAL(0) : REAL(-INFINITE)", "REAL(relu) - REAL(INFINITE)", pooled(0)),
    ("g.channels % RUN == 0 && begins_run(x)", "begins_run(x)", pooled(0)),
    ("(j /= g.stride_x) >= g.columns", "(j /= g.stride_x) > g.columns", pooled(3)),
]
DEEP = [
    ("part = others / (count + others)", "part = others / (others + others)", lambda: of_channels(1500, 3)[1:]),
    ("b += distance * (x - middle - a)", "b += distance * distance", lambda: of_channels(1500, 3)[1:]),
    ("part < split; part += deep", "part < split - 1; part += deep", lambda: of_channels(1500, 3)[1:]),
    ("row < end; row += deep", "row < end - 1; row += deep", lambda: of_channels(1500, 3)[2:]),
    ("t < g.size_y * g.size_x * each * SHORT_N", "t < g.size_y * g.size_x * each", convolved(0)),
    ("place / pool_x, at.inner", "0, at.inner", pooled_convolutions),
    ("(!relu || most.x[j] > 0)) equal", "true) equal", pooled_convolutions),
    ("!packed && j < count", "!packed && j <= count", pooled_convolutions),
    ("relu && !(most.x[f] > 0)) equal", "relu && most.x[f] > 9) equal", kept(0)),
    ("most.x[f] = values.x[f], equal.x[f] = 0", "most.x[f] = values.x[f]", kept(0)),
    ("equal[f] = kept.x[f]", "equal[f] = kept.x[f] & 7", kept(1)),
]
MUTANTS += [pytest.param(*each, marks=pytest.mark.deep) for each in DEEP]
IDS = [f"{n}-{getattr(each, 'values', each)[1]}" for n, each in enumerate(MUTANTS)]


@pytest.mark.parametrize(("old", "new", "make"), MUTANTS, ids=IDS)
def test_a_wrong_bound_shows(old, new, make):
    cases = make()
    text = source(cases[0].file)
    assert old in text
    with pytest.raises(AssertionError, match=r"gave|outside"):
        all_run(cases, text.replace(old, new))


def all_run(cases, text):
    for case in cases:
        case.run(text)
