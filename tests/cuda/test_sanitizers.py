"""The kernels under the sanitizers of addresses, undefined behaviour and data races, and that these see mistakes."""

import pytest
from building import build
from cases import (
    BITS16,
    CONVOLUTION,
    CORRELATION,
    DEPTHWISE,
    FEED,
    LINALG,
    LOSS,
    NORMALISATION,
    POOLING,
    SHAPE,
    UPDATE,
    adam,
    bits16,
    column_sums,
    cross_entropy,
    cross_entropy_gradient,
    feed,
    gather,
    product,
    source,
)
from programs import number_orderings, run_program
from sliding_cases import few_threads, of_channels, pooled_convolution, poolings, with_places
from tools import needs_gxx

pytestmark = [needs_gxx, pytest.mark.deep]

MADE = {
    LINALG: lambda: [
        product(5, 33, 150, split=2, layouts="cf", bias=True, relu=True, masks="ab"),
        product(32, 3, 7, layouts="fc", summed=True),
        product(20, 36, 132, tile=16, split=2, masks="b", beside=product(8, 3, 140, layouts="fc", summed=True)),
        column_sums(37, 5, mask=True),
        column_sums(37, 33, split=2),
    ],
    LOSS: lambda: [
        make(rows, classes, labelled=labelled)
        for make in (cross_entropy, cross_entropy_gradient)
        for rows, classes, labelled in ((19, 33, False), (3, 5, True))
    ],
    SHAPE: lambda: [gather(7, 5), gather(33, 8)],
    CONVOLUTION: lambda: [*few_threads(CONVOLUTION), pooled_convolution(1)],
    CORRELATION: lambda: few_threads(CORRELATION),
    DEPTHWISE: lambda: few_threads(DEPTHWISE),
    POOLING: lambda: [*poolings(5), *with_places(5)],
    NORMALISATION: lambda: [*of_channels(1500, 3), *of_channels(700, 8)],
    UPDATE: lambda: [adam("adamw", 131, pointers=True), adam("adam", 3), adam("adam_documented", 131)],
    FEED: lambda: [feed(127)],
    BITS16: lambda: [bits16("bfloat16", 33)],
}
ORDERINGS = [
    pytest.param(file, i, id=f"{file}-{i}-{name}")
    for file in MADE
    for i, name in enumerate(number_orderings(source(file))[1])
]


def reported(file, sanitize, text, leave_out=None):
    """What the sanitizer says of a text in place of the file's; where that is nothing, the results are right."""
    made = MADE[file]()
    program = build(text, made[0].options, sanitize=sanitize)
    report = run_program(program, text, [case.launch for case in made], leave_out)
    for case in () if report else made:
        case.compare()
    return report


@pytest.mark.parametrize("file", MADE)
def test_no_step_outside_and_nothing_undefined(file):
    assert reported(file, "address,undefined", source(file)) == ""


@pytest.mark.parametrize("file", MADE)
def test_no_race(file):
    assert reported(file, "thread", number_orderings(source(file))[0]) == ""


@pytest.mark.parametrize(("file", "number"), ORDERINGS)
def test_a_barrier_or_fence_left_out_is_a_race(file, number):
    assert "data race" in reported(file, "thread", number_orderings(source(file))[0], leave_out=number)


@pytest.mark.parametrize(
    ("file", "old", "new", "kind"),
    [
        (LINALG, "there = column < of.width && within", "there = column <= of.width", "heap-buffer-overflow"),
        (UPDATE, "i < size;", "i <= size;", "heap-buffer-overflow"),
        (SHAPE, "width % 4 == 0 && begins_run(x)", "true", "misaligned address"),
        (CONVOLUTION, "each % RUN == 0 && begins_run<RUN>(map)", "each % RUN < RUN", "misaligned address"),
        (CONVOLUTION, "n % 4 == 0 && begins_run<4>(y)", "true", "misaligned address"),
        (CORRELATION, "g.filters % RUN == 0 && begins_run<RUN>(y)", "true", "misaligned address"),
        (CORRELATION, "at_y < end_of_y ?", "at_y < end_of_y + 64 ?", "heap-buffer-overflow"),
        (POOLING, "sample >= g.batch", "sample > g.batch", "heap-buffer-overflow"),
    ],
)
def test_a_step_outside_is_seen(file, old, new, kind):
    assert old in source(file)
    assert kind in reported(file, "address,undefined", source(file).replace(old, new))


def test_blocks_that_write_to_one_place_are_a_race():
    text = source(FEED).replace("gridDim.x - 1", "0u")  # each takes itself for the last
    assert text != source(FEED)
    assert "data race" in reported(FEED, "thread", text)
