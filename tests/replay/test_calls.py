"""The table of array calls says what is true of NumPy's functions."""

import inspect

import numpy as np
import pytest

from chalkgrad.replay.calls import CALLS, _parameters, is_elementwise, row

OWN = {"getitem", "setitem", "as_strided", "numbers", "allreduce"}
"""What is listed under names of ours."""
LOOPS = ("attention_", "recurrent_")
"""How loops of our own begin, which are listed as calls."""
NAMES = sorted(name for name in CALLS.keys() - OWN if not name.startswith(LOOPS))
X = np.arange(6.0).reshape(2, 3) + 1


def of_numpy(name):
    """NumPy's function of that name, also in a module of its; None where there is none."""
    room, _, name = name.rpartition(".")
    return getattr(getattr(np, room) if room else np, name, None)


def test_every_row_is_of_a_function_of_numpy():
    assert not [name for name in NAMES if not callable(of_numpy(name)) and name != "random"]
    assert row("frombuffer", np.frombuffer) is None
    assert row("logaddexp", np.logaddexp) is not None  # a ufunc's row follows from the ufunc


def test_the_parameters_of_each_are_known_and_those_by_which_it_changes_its_arguments():
    parameters = {name: CALLS[name].parameters or _parameters(name) for name in NAMES if "." not in name}
    unknown = {"random", "astype"}  # called by ourselves alone
    assert {name for name in parameters if not parameters[name] and CALLS[name].parameters is None} <= unknown
    assert {name for name in parameters if "overwrite_input" in parameters[name]} | {"nan_to_num"} == {
        name for name in NAMES if CALLS[name].changes
    }


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].takes_out])
def test_what_takes_an_output_does_so_in_numpy(name):
    function = getattr(np, name)
    assert (
        isinstance(function, np.ufunc)
        or "out" in (_parameters(name) or inspect.signature(function).parameters)
        or ("out" in (function.__doc__ or ""))
    )


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].reduces])
def test_a_reduction_is_that_of_its_ufunc(name):
    x = X > 2 if name in ("any", "all") else X
    count = x.shape[0] if name == "mean" else 1
    np.testing.assert_array_equal(getattr(np, name)(x, axis=0), getattr(np, CALLS[name].reduces).reduce(x, 0) / count)


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].fills is not None])
def test_what_fills_gives_that_number(name):
    made = getattr(np, name)(X if name.endswith("_like") else X.shape)
    assert (made == CALLS[name].fills).all()


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].c or CALLS[name].loop])
def test_what_is_in_a_loop_takes_element_by_element(name):
    assert name == "copy" or is_elementwise(getattr(np, name))


@pytest.mark.parametrize("name", [name for name in NAMES if CALLS[name].loop])
def test_a_loop_computes_what_numpy_does(name):
    function = getattr(np, name)
    operands = (X, X[::-1].copy())[: function.nin]
    given = [f"x[{n}]" for n in range(function.nin)]
    for i in np.ndindex(X.shape):
        known = {"x": [a[i] for a in operands], "sqrt": np.sqrt, "trunc": np.trunc}
        result = eval(CALLS[name].loop.format(*given), known)
        assert result == function(*operands)[i]
