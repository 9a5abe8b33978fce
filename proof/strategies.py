"""Hypothesis strategies for proofs: shapes, arrays within a domain, memory layouts, operands of any primitive.

    from hypothesis import given
    from chalkgrad.proof import strategies

    @given(strategies.operands(cg.registry["maximum"], away_from_kinks=True))
    def test_maximum(drawn):
        operands, parameters = drawn

A failing example shrinks towards few and simple numbers in row-major order, and prints code that makes it again.

Two profiles say how hard to look: `pytest --hypothesis-profile chalkgrad-ci` (a few examples, the same in every
run) and `--hypothesis-profile chalkgrad-deep` (thousands, others in every run). chalkgrad's pytest plugin registers
them when one is asked for; without it, call `register_profiles()` in a conftest.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy
from hypothesis import HealthCheck, assume, note, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn_numpy
from numpy.typing import DTypeLike, NDArray

from ..engine.primitive import REALS, Domain, Example, Primitive
from ..errors import DtypeError, UsageError, unknown_name
from . import cases
from .kinks import CLEARANCE, clear_of_kinks
from .reproduction import reproduction

Values = NDArray[Any]
Shape = tuple[int, ...]
Interval = tuple[float, float]
Drawn = tuple[tuple[Values, ...], dict[str, Any]]

MODERATE = 4.0
TINY = 2.0**-10
SIMPLE = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 0.25, 1.5, 10.0)


def register_profiles() -> None:
    """Register the profiles "chalkgrad-ci" and "chalkgrad-deep" with Hypothesis; see the module's docstring."""
    settings.register_profile("chalkgrad-ci", derandomize=True, max_examples=25, deadline=None, database=None)
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large)
    settings.register_profile(
        "chalkgrad-deep", derandomize=False, max_examples=5000, deadline=None, suppress_health_check=slow
    )


# Shapes


def shapes(max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes of up to `max_dims` axes, () among them, with sides of 0 to `max_side`."""
    return drawn_numpy.array_shapes(min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side)


@lru_cache(maxsize=32)
def broadcastable_shapes(count: int, max_dims: int = 3, max_side: int = 4) -> st.SearchStrategy[tuple[Shape, ...]]:
    """`count` shapes that broadcast with each other."""
    together = drawn_numpy.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=0, max_dims=max_dims, min_side=0, max_side=max_side
    )
    return together.map(lambda found: found.input_shapes)


# Numbers and arrays


def numbers(
    domain: Domain = REALS, dtype: DTypeLike = "float64", *, extreme: bool = False, moderate: bool = False
) -> st.SearchStrategy[float] | st.SearchStrategy[int]:
    """One number of an open interval that `dtype` can hold, or of a range; neither NaN nor infinite.

    Simple numbers, those of everyday size, any ones, and the ends: next to either end, the tiny and the huge. The
    huge are such that a sum of their squares is finite, unless `extreme`: then all that the dtype holds, subnormal
    too. moderate: only such as differences can be trusted at, of everyday size (or 0) and not next to an end.
    """
    if isinstance(domain, range):
        return st.sampled_from(domain)
    kind = numpy.dtype(dtype)
    if kind.kind != "f":
        raise DtypeError(f"the numbers of the interval {domain} are of a floating dtype, not {kind}.")
    return _floats(domain, kind, extreme, moderate)


@lru_cache(maxsize=256)
def _floats(domain: Interval, kind: numpy.dtype[Any], extreme: bool, moderate: bool) -> st.SearchStrategy[float]:
    """Kept, since a strategy takes longer to make than to draw from."""
    low, high = _ends(_moderated(domain) if moderate else domain, kind, extreme)
    of_dtype: Any = {"width": 8 * kind.itemsize, "allow_subnormal": None if extreme else False}
    ways: list[st.SearchStrategy[float]] = []
    simple = [value for value in SIMPLE if low <= value <= high]
    if simple:
        ways.append(st.sampled_from(simple))
    middle = max(low, -MODERATE), min(high, MODERATE)
    if middle[0] < middle[1]:
        ways.append(st.floats(*middle, **of_dtype))
    if moderate and ways:
        return st.one_of(ways).map(_without_tiny) if low <= 0 <= high else st.one_of(ways)
    ways.append(st.floats(low, high, **of_dtype))
    tiny = _tiny(kind, extreme)
    ways.append(st.sampled_from([low, high, *(value for value in (tiny, -tiny) if low <= value <= high)]))
    return st.one_of(ways)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape],
    dtype: DTypeLike = "float64",
    domain: Domain = REALS,
    *,
    layout: str | None = "rows",
    extreme: bool = False,
    moderate: bool = False,
) -> Values:
    """An array whose elements are `numbers`, of `domain` and as `extreme` or `moderate` as asked.

    A range as domain gives integers, of `dtype` where that is an integer dtype, else int64. layout: one of
    `LAYOUTS`, or None for any; where the shape is too small for it, rows.
    """
    values = draw(_rows(shape, numpy.dtype(dtype), domain, extreme, moderate))
    chosen = draw(_layout_names(layout))
    if chosen == "repeated":
        values = _repeated(draw, values)
    return arrange(values, chosen) if chosen in possible_layouts(values) else values


@lru_cache(maxsize=1024)
def _rows(
    shape: Shape | st.SearchStrategy[Shape], kind: numpy.dtype[Any], domain: Domain, extreme: bool, moderate: bool
) -> st.SearchStrategy[Values]:
    if callable(domain) and isinstance(shape, tuple):
        seeds = st.integers(0, 2**32 - 1)
        return seeds.map(lambda seed: domain(numpy.random.default_rng(seed), shape).astype(kind))
    if isinstance(domain, range) and kind.kind not in "iub":
        kind = numpy.dtype("int64")
    elements: st.SearchStrategy[Any] = numbers(domain, kind, extreme=extreme, moderate=moderate)
    return drawn_numpy.arrays(kind, shape, elements=elements)


def _ends(domain: Interval, dtype: numpy.dtype[Any], extreme: bool) -> Interval:
    """The least and the greatest number of the dtype in the open interval, with squares that are finite."""
    information = numpy.finfo(dtype)
    largest = float(information.max) if extreme else 2.0 ** (information.maxexp // 2 - 4)
    with numpy.errstate(over="ignore", under="ignore"):
        low, high = (dtype.type(min(max(end, -largest), largest)) for end in domain)
        if low <= domain[0]:
            low = numpy.nextafter(low, dtype.type(math.inf))
        if high >= domain[1]:
            high = numpy.nextafter(high, dtype.type(-math.inf))
    if not extreme:
        least = dtype.type(information.smallest_normal)
        low = least if 0 < low < least else low
        high = -least if -least < high < 0 else high
    if low > high:
        raise UsageError(f"no {dtype} that can be drawn lies in the open interval {domain}.")
    return float(low), float(high)


def _moderated(domain: Interval) -> Interval:
    """The part of the domain that is of everyday size and clear of its ends; where there is none, the domain."""
    room = min(CLEARANCE, (domain[1] - domain[0]) / 20)
    low, high = max(domain[0] + room, -MODERATE), min(domain[1] - room, MODERATE)
    return (low, high) if low < high else domain


def _without_tiny(value: float) -> float:
    """0 for what is nearly 0."""
    return 0.0 if abs(value) < TINY else value


def _tiny(dtype: numpy.dtype[Any], extreme: bool) -> float:
    information = numpy.finfo(dtype)
    if extreme:
        return float(information.smallest_subnormal)
    return max(2.0 ** -(information.maxexp // 2 - 4), float(information.smallest_normal))


# Memory layouts


def _read_only(x: Values) -> Values:
    x = x.copy()
    x.flags.writeable = False
    return x


def _broadcast(x: Values) -> Values:
    axis = _constant_axis(x)
    assert axis is not None
    return numpy.broadcast_to(x.take([0], axis), x.shape)


LAYOUTS: dict[str, Callable[[Values], Values]] = {**cases.LAYOUTS, "read-only": _read_only, "repeated": _broadcast}
"""The same values in another memory layout, by name. repeated: an axis of stride 0, where the values allow it."""


def arrange(array: Values, layout: str) -> Values:
    """The array's values in the named layout of `LAYOUTS`; raises UsageError where the array cannot have it."""
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if layout not in possible_layouts(array):
        raise UsageError(f"an array of shape {array.shape} with these values has no layout {layout!r}.")
    return LAYOUTS[layout](numpy.ascontiguousarray(array).reshape(array.shape))


def possible_layouts(array: Values) -> tuple[str, ...]:
    """The names of the layouts that differ for this array, rows first."""
    wide = max(array.shape, default=0) > 1 and array.size > 0
    ruled_out = set()
    if not wide:
        ruled_out |= {"strided", "reversed"}
    if sum(n > 1 for n in array.shape) < 2 or not wide:
        ruled_out.add("columns")
    if not wide or _constant_axis(array) is None:
        ruled_out.add("repeated")
    return tuple(name for name in LAYOUTS if name not in ruled_out)


def layouts(array: Values) -> st.SearchStrategy[Values]:
    """The array's values in any memory layout that it can have, shrinking to rows."""
    return st.sampled_from(possible_layouts(array)).map(lambda layout: arrange(array, layout))


def _layout_names(layout: str | None) -> st.SearchStrategy[str]:
    if layout is not None and layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    return st.sampled_from(tuple(LAYOUTS)) if layout is None else st.just(layout)


def _constant_axis(x: Values) -> int | None:
    """The first axis, longer than 1, along which all values are the same to the last bit."""
    for axis, n in enumerate(x.shape):
        if n > 1 and x.size and numpy.repeat(x.take([0], axis), n, axis).tobytes() == x.tobytes():
            return axis
    return None


def _repeated(draw: st.DrawFn, x: Values) -> Values:
    """x with its first layer along an axis in place of all others."""
    axes = [axis for axis, n in enumerate(x.shape) if n > 1]
    if not axes or not x.size:
        return x
    axis = draw(st.sampled_from(axes))
    return numpy.repeat(x.take([0], axis), x.shape[axis], axis)


# Operands


@st.composite
def operands(
    draw: st.DrawFn,
    primitive: Primitive,
    dtype: DTypeLike = "float64",
    *,
    layout: str | None = None,
    away_from_kinks: bool = False,
    extreme: bool = False,
    moderate: bool = False,
) -> Drawn:
    """Operands and parameters that `primitive.compute(operands, parameters)` takes, for any registered primitive.

    Shapes are those of a declared example; an elementwise primitive without any gets drawn shapes that broadcast,
    and sometimes one array object as two of its operands.

    layout: of `LAYOUTS`, or None for any, drawn for each operand by itself. away_from_kinks: keep `CLEARANCE` from
    where the primitive says that it has no derivative. extreme, moderate: as for `numbers`; differences want the
    moderate ones.
    """
    example = draw(_examples(primitive))
    names = [primitive.operand(i) for i in range(len(example.shapes))]
    domains = [primitive.domain[name] for name in names]
    values: list[Values] = []
    chosen: list[str] = []
    for shape, domain in zip(example.shapes, domains, strict=True):
        x = draw(_rows(shape, numpy.dtype(dtype), domain, extreme, moderate))
        chosen.append(draw(_layout_names(layout)))
        if callable(domain) and chosen[-1] == "repeated":
            chosen[-1] = "rows"  # equal rows are no such operand
        values.append(_repeated(draw, x) if chosen[-1] == "repeated" else x)
    parameters = dict(example.parameters)
    avoids = primitive.kink if away_from_kinks else None
    if avoids is not None:
        values = clear_of_kinks(primitive, values, parameters)
        assume(all(_lies_in(x, primitive.domain[name]) for x, name in zip(values, names, strict=True)))
    values = [arrange(x, c) if c in possible_layouts(x) else x for x, c in zip(values, chosen, strict=True)]
    pair = None if avoids or primitive.examples else _alike(domains)
    if pair is not None and draw(st.booleans()):
        i, j = pair
        both = _rows(values[i].shape, numpy.dtype(dtype), _common(domains[i], domains[j]), extreme, moderate)
        values[i] = values[j] = draw(both.flatmap(layouts) if layout is None else both)
    note(_Code(primitive.name, tuple(values), parameters))
    return tuple(values), parameters


class _Code:
    """A note that is written only where Hypothesis prints it."""

    def __init__(self, name: str, values: tuple[Values, ...], parameters: dict[str, Any]) -> None:
        self.name, self.values, self.parameters = name, values, parameters

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"# {self.name} on:\n{reproduction(self.name, self.values, self.parameters)}")


def _examples(primitive: Primitive) -> st.SearchStrategy[Example]:
    if primitive.examples:
        return st.sampled_from(primitive.examples)
    count = len(primitive.operands)
    alike = shapes().map(lambda shape: (shape,) * count)
    return st.one_of(alike, broadcastable_shapes(count)).map(Example)


def _common(a: Domain, b: Domain) -> Interval:
    assert isinstance(a, tuple)
    assert isinstance(b, tuple)
    return max(a[0], b[0]), min(a[1], b[1])


def _alike(domains: list[Domain]) -> tuple[int, int] | None:
    """The first two operands that one array can be at once."""
    floats = [i for i, domain in enumerate(domains) if isinstance(domain, tuple)]
    if len(floats) < 2:
        return None
    low, high = _common(domains[floats[0]], domains[floats[1]])
    return (floats[0], floats[1]) if low < high else None


def _lies_in(x: Values, domain: Domain) -> bool:
    if isinstance(domain, range):
        return all(value in domain for value in x.flat)
    if callable(domain):
        return True
    return bool(numpy.isfinite(x).all() and (x > domain[0]).all() and (x < domain[1]).all())
