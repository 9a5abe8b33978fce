"""Equations as JavaScript; what the scripts compute, a browser tells in tests/blackboard/test_page_in_browser.py."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.equation.javascript import NotWritten, script
from chalkgrad.equation.language import read_equation


def written(text, sums_to=None, shape=(2, 3), varying=(), **values):
    return script(read_equation(text, values.keys()), values, shape, sums_to=sums_to, varying=varying)


def test_lengths_and_strides_are_numbers_in_the_text():
    assert written("y[i, j] = a[j, i] * s", a=np.zeros((3, 2)), s=0.5) == (
        "(s, F) => { { const r = new Array(6); "
        "for (let $i = 0; $i < 2; $i++) { for (let $j = 0; $j < 3; $j++) { "
        "r[$i * 3 + $j] = (s.a[$j * 2 + $i] * 0.5); } } "
        "s.y = r; } return s.y; }"
    )


def test_what_was_repeated_is_summed():
    text = written("ga = gy", sums_to=(3,), gy=np.zeros((2, 3)))
    assert "new Array(3).fill(0)" in text
    assert "r[$1] += s.ga[$0 * 3 + $1]" in text


def test_a_number_that_varies_is_read_when_it_runs():
    assert "s.rate" in written("y = x * rate", varying=["rate"], x=np.zeros((2, 3)), rate=0.1)


@pytest.mark.parametrize("name", ["erf", "getitem", "concatenate", "scatter_add"])
def test_what_javascript_has_not_is_not_written(name):
    x = np.zeros((2, 3))
    values = {operand: x for operand in cg.registry[name].operands}
    with pytest.raises(NotWritten):
        script(cg.registry[name].equation, values, (2, 3))
