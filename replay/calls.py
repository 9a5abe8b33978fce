"""One table of array calls: what is known of each function of the array library. One without a row stops a recording.

What a ufunc writes and takes follows from the ufunc itself; its row says what it is in CUDA C, and in a loop that Numba
compiles.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy

from ..engine.kernels import OwnKernel


@dataclass(frozen=True)
class ArrayCall:
    """A row: what is known of one function.

    writes: into its first argument; any other function writes nowhere but where `out` says. changes: the option, and
    its value, with which it changes its arguments nevertheless: that stops a recording. hands_on: it may give an
    argument as it is, or a view of it. view: it gives a view, also where the library does not tell. shaped_by_values:
    the shape of its result depends on values. by_shape: it takes no value from an array. fills: the number that is
    everywhere in its result. copies: its result is its first argument, in a dtype. reserves: it only asks for memory.
    draws: it gives something else each time. on_host: the host computes it anew for each replay. by_all: all ranks
    make it together. takes_out: it can be told where its result goes. reduces: the ufunc whose reduction it is.
    parameters: those as far as `out`, where NumPy tells of them slowly, or not at all.

    c, loop: what an elementwise call is in CUDA C, and in a loop for Numba, with a field for each operand; {f} is "f"
    for float32. Only what IEEE 754 defines to the last bit has a loop. computes_in: the dtype of the result, the common
    one of the operands, of which it makes a bool, or bool. floats: the result must be a float.
    """

    writes: bool = False
    changes: tuple[str, bool] | None = None
    hands_on: bool = False
    view: bool = False
    shaped_by_values: bool = False
    by_shape: bool = False
    fills: int | None = None
    copies: bool = False
    reserves: bool = False
    draws: bool = False
    on_host: bool = False
    by_all: bool = False
    takes_out: bool = False
    reduces: str | None = None
    parameters: tuple[str, ...] | None = None
    c: str = ""
    loop: str = ""
    computes_in: Literal["result", "operands", "bool"] = "result"
    floats: bool = False

    @property
    def repeats(self) -> bool:
        """Whether the same arguments give the same values each time."""
        return not (self.draws or self.reserves)


UNKNOWN = ArrayCall()
CALLS: dict[str, ArrayCall] = {}
"""The table, by the function's name."""
IN_LOOPS = ("sqrt", "trunc")
"""NumPy's functions that the rows' texts of loops name: whoever compiles such a text knows these."""


def _rows(names: str, **known: Any) -> None:
    CALLS.update((name, replace(CALLS.get(name, UNKNOWN), **known)) for name in names.split())


# What computes from its arguments, and of which no more is known

_rows("""
    allclose apply_along_axis argpartition argsort around array_equal asfortranarray atleast_1d atleast_2d atleast_3d
    average broadcast_to choose column_stack convolve correlate count_nonzero cov cross cumprod diag diagflat diagonal
    diff digitize dstack ediff1d expand_dims flip fliplr flipud hstack identity inner interp isclose isin kron linspace
    logspace median moveaxis nan_to_num nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd nansum nanvar ndim
    outer pad partition percentile polyval ptp quantile resize result_type roll rollaxis rot90 round searchsorted select
    shape sinc size sort std swapaxes take_along_axis tensordot tile trace transpose trapezoid tri tril triu vander var
    vdot vstack
""")
_rows("median percentile quantile", changes=("overwrite_input", True))
_rows("nan_to_num", changes=("copy", False))
_rows("linalg.cholesky linalg.det linalg.inv linalg.pinv linalg.solve linalg.svd")
_rows("argmax argmin clip concatenate stack einsum dot take cumsum prod matmul", takes_out=True)
_rows("concatenate", parameters=("arrays", "axis", "out"))
_rows("dot", parameters=("a", "b", "out"))
_rows("einsum where arange", parameters=())

# Shapes, and memory

_rows("asarray asanyarray require getitem squeeze ravel reshape ascontiguousarray", hands_on=True)
_rows("as_strided", view=True)
_rows("astype copy array ascontiguousarray", copies=True)
_rows("nonzero argwhere flatnonzero unique compress extract repeat bincount", shaped_by_values=True)
_rows("copyto put place putmask put_along_axis fill_diagonal setitem", writes=True)
_rows("zeros zeros_like ones ones_like full full_like empty empty_like eye arange", by_shape=True)
_rows("zeros zeros_like", fills=0)
_rows("ones ones_like", fills=1)
_rows("empty empty_like", reserves=True)
_rows("random", draws=True)
_rows("numbers", on_host=True)
_rows("allreduce", writes=True, by_all=True)  # the sum over ranks, in place

# Reductions, of which NumPy has some as methods of a ufunc

for _name, _ufunc in {
    "sum": "add", "max": "maximum", "amax": "maximum", "min": "minimum", "amin": "minimum", "any": "logical_or",
    "all": "logical_and", "mean": "add",
}.items():  # fmt: skip
    _rows(_name, takes_out=True, reduces=_ufunc)
METHODS = {
    "reduce": ("array", "axis", "dtype", "out", "keepdims", "initial", "where"),
    "accumulate": ("array", "axis", "dtype", "out"),
    "reduceat": ("array", "indices", "axis", "dtype", "out"),
    "outer": ("A", "B"),
}
"""The parameters of a ufunc's methods."""

# Element by element

for _name, _text in {
    "add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}",
    "square": "{0} * {0}",
}.items():  # fmt: skip
    _rows(_name, c=_text, loop=_text)
_rows("maximum", c="({0} > {1} || {0} != {0} ? {0} : {1})", loop="({0} if {0} > {1} or {0} != {0} else {1})")
_rows("minimum", c="({0} < {1} || {0} != {0} ? {0} : {1})", loop="({0} if {0} < {1} or {0} != {0} else {1})")
_rows("true_divide", c="{} / {}")
_rows("divide true_divide", floats=True)
_rows("reciprocal", c="1 / {}")
_rows("positive copy", c="{}")
for _name, _text in {
    "greater": "{} > {}", "greater_equal": "{} >= {}", "less": "{} < {}", "less_equal": "{} <= {}",
}.items():  # fmt: skip
    _rows(_name, c=_text, loop=_text, computes_in="operands")
_rows("equal", c="{} == {}", loop="{} == {}", computes_in="operands")
_rows("not_equal", c="{} != {}", loop="{} != {}", computes_in="operands")
_rows("logical_and bitwise_and", c="{} && {}", computes_in="bool")
_rows("logical_or bitwise_or", c="{} || {}", computes_in="bool")
_rows("logical_not invert", c="!{}", computes_in="bool")
_rows("logical_xor", c="{} != {}", computes_in="bool")
for _name, _function in {
    "sqrt": "sqrt", "exp": "exp", "log": "log", "log1p": "log1p", "expm1": "expm1", "log2": "log2", "sin": "sin",
    "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "absolute": "fabs", "abs": "fabs", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
    "rint": "rint",
}.items():  # fmt: skip
    _rows(_name, c=f"{_function}{{f}}({{}})", floats=True)
_rows("power", c="pow{f}({}, {})", floats=True)
_rows("sqrt", loop="sqrt({})")
_rows("absolute", loop="abs({})")
_rows("trunc", loop="trunc({})")

# Launches of our own, as the families of equations name them

GREATEST: set[str] = set()
"""Those that take the greatest of windows of their one argument."""
TO_GREATEST: dict[str, OwnKernel] = {}
"""Those that hand a first argument to the elements of a second that equal, in their windows, a third; and what does so
of a first argument and a byte for each window, which tells where they are."""
WITH_GREATEST: dict[str, OwnKernel] = {}
"""Those whose result's greatest of windows another one gives as well, and that one."""

BESIDE: dict[str, dict[str, tuple[str, tuple[int, ...], Callable[..., bool]]]] = {}
"""Those that another one computes as well, by both names: the option that tells it where their result goes, which
of its arguments are theirs, and whether, of these, it gives the bits that they would by themselves."""


def row(name: str, function: Any = None) -> ArrayCall | None:
    """What is known of the library's function of that name; None where nothing is."""
    known = CALLS.get(name)
    if known is None and (hasattr(function, "nin") or name.partition(".")[2] in METHODS):
        return UNKNOWN
    return known


def is_elementwise(function: Any) -> bool:
    """Whether it is a ufunc that takes element by element, so that its result may lie where an argument lay."""
    return hasattr(function, "nin") and function.nout == 1 and not getattr(function, "signature", None)


def with_out_named(name: str, function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments without an `out` that is given by position: that, and what follows it, goes into the options."""
    if len(arguments) < 2:
        return arguments
    if hasattr(function, "nin"):
        parameters: tuple[str, ...] = (*(f"x{i}" for i in range(function.nin)), "out")
    else:
        parameters = _parameters(name) if len(arguments) > 2 else ()
    if "out" not in parameters or len(arguments) <= parameters.index("out"):
        return arguments
    place = parameters.index("out")
    options |= dict(zip(parameters[place:], arguments[place:], strict=False))
    return arguments[:place]


def effects_unknown(name: str, function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """Why it cannot be told what a call writes to; None where it can."""
    known = row(name, function)
    if known is None:
        return f"nothing is known of where {name} writes"
    if known.changes is not None:
        option, value = known.changes
        given = dict(zip(_parameters(name), arguments, strict=False)) | options
        if bool(given.get(option, not value)) is value:
            return f"{name} may change its argument ({option}={value})"
    return None


@cache
def _parameters(name: str) -> tuple[str, ...]:
    """The parameters of NumPy's function of that name, in the order in which they may be given."""
    own = METHODS.get(name.partition(".")[2]) or CALLS.get(name, UNKNOWN).parameters
    if own is not None:
        return own
    try:
        return tuple(inspect.signature(getattr(numpy, name)).parameters)
    except (AttributeError, TypeError, ValueError):
        return ()
