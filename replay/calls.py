"""What is known of the array library's functions. A call of any other stops a recording: it may write anywhere."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy

WRITING = {"copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal"}
"""Functions that write into their first argument."""
HANDING_ON = {"asarray", "asanyarray", "ascontiguousarray", "require", "getitem", "squeeze", "ravel", "reshape"}
"""Functions that may give their argument as it is."""
SHAPED_BY_VALUES = {"nonzero", "argwhere", "flatnonzero", "unique", "compress", "extract", "repeat", "bincount"}
"""Functions whose result has a shape that depends on values."""
_NAMES = """
    all allclose amax amin any apply_along_axis arange argmax argmin argpartition argsort around array array_equal
    asfortranarray atleast_1d atleast_2d atleast_3d average broadcast_to choose clip column_stack concatenate convolve
    copy correlate count_nonzero cov cross cumprod cumsum diag diagflat diagonal diff digitize dot dstack ediff1d
    einsum empty empty_like expand_dims eye flip fliplr flipud full full_like hstack identity inner interp isclose isin
    kron linspace logspace matmul max mean median min moveaxis nan_to_num nancumprod nancumsum nanmax nanmean nanmin
    nanprod nanstd nansum nanvar ndim ones ones_like outer pad partition percentile polyval prod ptp quantile resize
    result_type roll rollaxis rot90 round searchsorted select shape sinc size sort stack std sum swapaxes take
    take_along_axis tensordot tile trace transpose trapezoid tri tril triu vander var vdot vstack where zeros zeros_like
"""
READING = frozenset(_NAMES.split())
"""Functions that compute from their arguments, and write nowhere but where `out` says."""
OUT = {"concatenate": ("arrays", "axis", "out"), "dot": ("a", "b", "out"), "einsum": (), "where": (), "arange": ()}
"""The parameters of those that NumPy tells of slowly, or not at all, as far as `out`."""
GREATEST: set[str] = set()
"""Launches of operations that take the greatest of windows of their one argument."""
TO_GREATEST: set[str] = set()
"""Those that hand a first argument to the elements of a second that equal, in their windows, a third."""
METHODS = {
    "reduce": ("array", "axis", "dtype", "out", "keepdims", "initial", "where"),
    "accumulate": ("array", "axis", "dtype", "out"),
    "reduceat": ("array", "indices", "axis", "dtype", "out"),
    "outer": ("A", "B"),
}
"""The parameters of a ufunc's methods."""


def is_known(name: str, function: Any) -> bool:
    """Whether it is known what the library's function of that name writes."""
    if hasattr(function, "nin") or name in READING | WRITING | HANDING_ON | SHAPED_BY_VALUES:
        return True
    return name.partition(".")[2] in METHODS


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


@cache
def _parameters(name: str) -> tuple[str, ...]:
    """The parameters of NumPy's function of that name, in the order in which they may be given."""
    own = {**OUT, **METHODS}.get(name.partition(".")[2] or name)
    if own is not None:
        return own
    try:
        return tuple(inspect.signature(getattr(numpy, name)).parameters)
    except (AttributeError, TypeError, ValueError):
        return ()
