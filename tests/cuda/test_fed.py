"""A feed with gathers in the same launch: executed on the CPU, and held to NumPy."""

import numpy as np
import pytest
from building import Launch, Library, build
from programs import number_orderings, run_program
from tools import compiled, needs_gxx, needs_nvcc

from chalkgrad.engine.cuda.graph import fed_text
from chalkgrad.ops.shapes import _gather_work

pytestmark = needs_gxx


def made(rows=7, width=12):
    """The text, its launch, and what each array is afterwards: the second of three rows, with places in it."""
    rng = np.random.default_rng(0)
    table, row = rng.integers(0, 256, (3, 160)).astype("u1"), np.zeros(160, "u1")
    x, labels = rng.random((50, width)).astype("f4"), rng.integers(0, 9, 50)
    places = table[1, 32 : 32 + 8 * rows].view("i8")
    places[:] = rng.integers(0, 50, rows)
    given = row[32 : 32 + 8 * rows].view("i8")
    outs = np.zeros((rows, width), "f4"), np.zeros(rows, "i8")
    works = [_gather_work(x, given, outs[0]), _gather_work(labels, given, outs[1])]
    text, more = fed_text(works, row.ctypes.data, row.nbytes, 2)
    counter, arrived = np.ones(1, "u8"), np.zeros(1, "u4")
    values = [table, row, np.int64(row.nbytes), counter, arrived, *more]
    expected = [(row, table[1]), (outs[0], x[places]), (outs[1], labels[places]), (counter, [2]), (arrived, [0])]
    return text, Launch("fed", (2 + sum(w.blocks for w in works),), (256,), values), expected


def compare(expected):
    for got, wanted in expected:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("sizes", [(14, 49), pytest.param((7, 12), marks=pytest.mark.deep)])
def test_a_row_and_what_is_gathered_at_its_places(sizes):
    text, launch, expected = made(*sizes)
    Library(build(text)).run(launch)
    compare(expected)


@pytest.mark.deep
def test_what_is_wrong_shows():
    text, launch, expected = made()
    assert "own + 32" in text
    Library(build(text.replace("own + 32", "own + 40"))).run(launch)
    with pytest.raises(AssertionError):
        compare(expected)


def reported(sanitize, change=lambda text: text):
    text, launch, expected = made()
    text = number_orderings(change(text))[0]
    report = run_program(build(text, sanitize=sanitize), text, [launch])
    if not report:
        compare(expected)
    return report


@pytest.mark.deep
@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
def test_no_step_outside_and_no_race(sanitize):
    assert reported(sanitize) == ""


@pytest.mark.deep
def test_a_count_that_does_not_wait_is_a_race():
    assert "data race" in reported("thread", lambda text: text.replace("gridDim.x - 1", "0u"))


@pytest.mark.deep
@needs_nvcc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_compiles(architecture, tmp_path):
    (tmp_path / "fed.cu").write_text(made()[0])
    found = compiled(tmp_path / "fed.cu", tmp_path, architecture, [])
    assert isinstance(found, bytes), found
