"""Calls as expressions of CUDA C: in the dtypes that the array library computes them in, and without contraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..engine.cuda.sources import TYPES
from .calls import CALLS, UNKNOWN
from .cuda_text import PLACES, Reduction

PRODUCTS = {"multiply": "times<{T}>({}, {})", "square": "times<{T}>({0}, {0})"}
BITS = ("bfloat16_bits", "float16_bits")
"""Calls that give a factor of 16 bits."""


def expression(name: str, arguments: Sequence[Any], out: Any) -> str | None:
    """An elementwise call as text with a field for each operand, as the library computes it; None where it has none."""
    if not fits(out) or not all(x.__class__ in (bool, int, float) or hasattr(x, "dtype") for x in arguments):
        return None
    weak = [x if x.__class__ in (bool, int, float) else x.dtype for x in arguments]
    dtypes = {x for x in weak if isinstance(x, numpy.dtype)}
    row, cast = CALLS.get(name, UNKNOWN), cast_to(out.dtype)
    if name == "where" and len(arguments) == 3 and getattr(arguments[0], "dtype", out.dtype).kind == "b":
        return f"{{}} ? {cast} : {cast}"
    if name in BITS:
        return f"{name}({{}})" if weak == [numpy.dtype("float32")] else None
    if name == "copy":
        return "{} != 0" if out.dtype == bool else cast
    if not row.c or not dtypes or (row.floats and out.dtype.kind != "f"):
        return None
    if row.computes_in == "result":
        return None if out.dtype == bool else _with_casts(PRODUCTS.get(name, row.c), len(arguments), out.dtype)
    if out.dtype != bool:
        return None
    if row.computes_in == "operands":
        return _with_casts(row.c, len(arguments), numpy.result_type(*weak))
    return row.c if dtypes == {numpy.dtype(bool)} else None


def fits(x: Any) -> bool:
    """Whether a kernel can write it whole."""
    return bool(x.flags.c_contiguous and x.dtype.name in TYPES)


def total_type(reduction: Reduction, given: Any, out: Any) -> str | None:
    """In which type of CUDA C a reduction adds up, or compares; None where it has no form."""
    if given.name not in TYPES or (reduction.name in PLACES and out != "int64"):
        return None
    if reduction.name in PLACES:
        return TYPES[given.name]
    if reduction.name.startswith("logical"):
        return "int" if given.kind == out.kind == "b" else None
    if reduction.name == "add":
        return TYPES[out.name] if given.kind == "f" and given == out else "long long" if given.kind in "biu" else None
    return TYPES[given.name] if given.kind == "f" and given == out else None


def steps_of(x: Any, shape: tuple[int, ...]) -> list[int] | None:
    """The elements of x from one place to the next along each axis of `shape`; None where it does not broadcast."""
    extra = len(shape) - x.ndim
    if extra < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[extra:], strict=True)):
        return None
    if any(stride % x.itemsize for stride in x.strides):
        return None
    own = [0 if n == 1 else stride // x.itemsize for n, stride in zip(x.shape, x.strides, strict=True)]
    return [0] * extra + own


def place_of(kind: str, shape: tuple[int, ...]) -> str:
    """The index of an operand's element, from the number i of the result's."""
    if kind == "one":
        return "0"
    terms, inner = [], 1
    for axis in reversed(range(len(shape))):
        step = int(kind.split()[axis])
        if step:
            place = "i" if inner == 1 else f"i / {inner}"
            terms.append(f"({place}{f' % {shape[axis]}' if axis else ''}) * {step}")
        inner *= shape[axis]
    return " + ".join(terms)


def cast_to(dtype: Any) -> str:
    """A field cast to a dtype."""
    return f"({TYPES[dtype.name]})({{}})"


def _with_casts(template: str, count: int, dtype: Any) -> str:
    suffix = "" if dtype == "float64" else "f"
    return template.format(*[f"({TYPES[dtype.name]})({{{n}}})" for n in range(count)], f=suffix, T=TYPES[dtype.name])


def number_text(x: Any) -> str:
    """A plain number in CUDA C."""
    if x.__class__ is not float:
        return str(int(x)) + ("LL" if abs(x) > 1 << 30 else "")
    if x != x:
        return "NOT_A_NUMBER"
    return repr(x) if abs(x) != float("inf") else f"({'-' if x < 0 else ''}INFINITE)"
