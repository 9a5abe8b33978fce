"""Accuracy compared: the worst error, in units in the last place, of values and gradients of common functions.

    python -m chalkgrad.benchmarks.accuracy_of_peers --out accuracy-of-peers.md --json accuracy-of-peers.json

The exact results are computed with mpmath at 50 digits, at the very points that the engines are given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy
from numpy.typing import NDArray

from ..equation.dual import load_mpmath
from .accuracy_engines import ENGINES, Engine
from .peers import table, version, versions, write

Values = NDArray[Any]
DTYPES = ("float64", "float32")
LABEL = 2


@dataclass(frozen=True)
class Worst:
    """The largest error of one engine in one function: in ulp, and where.

    of: "value" or "gradient". extreme: at the named extremes rather than over the function's range.
    """

    engine: str
    function: str
    dtype: str
    of: str
    extreme: bool
    ulp: float
    at: str
    given: float
    exact: float


@dataclass(frozen=True)
class Elementwise:
    """A function of one number: its exact value and slope, the range that is sampled and the extremes."""

    name: str
    value: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    low: float
    high: float
    extremes: tuple[float, ...] = ()


@dataclass(frozen=True)
class OfRows:
    """A function of a row: its exact values and their Jacobian, a list for every value.

    sizes: for every value, the largest term of the sums that define it and its gradient, in whose last place errors
    are counted: a difference of nearly equal terms is no more precise than they are. None: the result's own size.
    """

    name: str
    value: Callable[[list[Any]], list[Any]]
    jacobian: Callable[[list[Any]], list[list[Any]]]
    sizes: Callable[[list[Any]], list[tuple[Any, Any]]]


# What is exact


@cache
def elementwise() -> tuple[Elementwise, ...]:
    """The functions of one number."""
    mp = load_mpmath()
    tiny = (0.0, 1e-30, -1e-30, 1e-10, -1e-10)
    far = (-1e4, -80.0, 80.0, 1e4)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + mp.exp(-x))

    def sigmoid_slope(x: Any) -> Any:
        return sigmoid(x) * sigmoid(-x)

    def normal(x: Any) -> Any:
        return mp.erfc(-x / mp.sqrt(2)) / 2

    def density(x: Any) -> Any:
        return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)

    return (
        Elementwise("exp", mp.exp, mp.exp, -80, 80, (*tiny, 88.0, -87.0)),
        Elementwise("log", mp.log, lambda x: 1 / x, 1e-3, 100, (1e-30, 1.0, 1 + 2**-20, 1 - 2**-20, 1e30)),
        Elementwise("log1p", mp.log1p, lambda x: 1 / (1 + x), -0.99, 100, (*tiny, 1e30)),
        Elementwise("expm1", mp.expm1, mp.exp, -20, 80, (*tiny, -80.0)),
        Elementwise("sqrt", mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), 0.01, 1000, (1e-30, 1e30)),
        Elementwise("sin", mp.sin, mp.cos, -10, 10, (*tiny, float(numpy.pi), 1e4, 1e6)),
        Elementwise("cos", mp.cos, lambda x: -mp.sin(x), -10, 10, (1e-30, 1e-10, float(numpy.pi / 2), 1e4, 1e6)),
        Elementwise("tanh", mp.tanh, lambda x: mp.sech(x) ** 2, -9, 9, (*tiny, -40.0, 40.0)),
        Elementwise("sigmoid", sigmoid, sigmoid_slope, -40, 40, (*tiny, *far)),
        Elementwise("softplus", lambda x: mp.log1p(mp.exp(x)), sigmoid, -40, 40, (*tiny, *far)),
        Elementwise("silu", lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * sigmoid_slope(x), -40, 40,
                    (*tiny, *far)),
        Elementwise("gelu", lambda x: x * normal(x), lambda x: normal(x) + x * density(x), -8, 8, (*tiny, -12.0, 30.0)),
        Elementwise("elu", lambda x: x if x > 0 else mp.expm1(x), lambda x: mp.mpf(1) if x > 0 else mp.exp(x), -40, 40,
                    (*tiny[1:], -80.0, 1e4)),
        Elementwise("erf", mp.erf, lambda x: 2 / mp.sqrt(mp.pi) * mp.exp(-x * x), -6, 6, (*tiny, 9.0)),
    )  # fmt: skip


@cache
def of_rows() -> tuple[OfRows, ...]:
    """The functions of rows of numbers."""
    mp = load_mpmath()

    def total(x: list[Any]) -> Any:
        return mp.log(mp.fsum(map(mp.exp, x)))

    def soft(x: list[Any]) -> list[Any]:
        whole = mp.fsum(map(mp.exp, x))
        return [mp.exp(a) / whole for a in x]

    def soft_slopes(x: list[Any]) -> list[list[Any]]:
        y = soft(x)
        return [[a * (others(y, j) if i == j else -b) for j, b in enumerate(y)] for i, a in enumerate(y)]

    def others(y: list[Any], place: int) -> Any:
        return mp.fsum(b for j, b in enumerate(y) if j != place)

    def log_slopes(x: list[Any]) -> list[list[Any]]:
        y = soft(x)
        return [[others(y, j) if i == j else -b for j, b in enumerate(y)] for i in range(len(y))]

    def loss_slopes(x: list[Any]) -> list[list[Any]]:
        return [[-slope for slope in log_slopes(x)[LABEL]]]

    def log_sizes(x: list[Any]) -> list[tuple[Any, Any]]:
        return [(max(max(x) - a, 1), 1) for a in x]

    return (
        OfRows("logsumexp", lambda x: [total(x)], lambda x: [soft(x)], lambda x: [(None, max(soft(x)))]),
        OfRows("softmax", soft, soft_slopes, lambda x: [(None, y) for y in soft(x)]),
        OfRows("log_softmax", lambda x: [a - total(x) for a in x], log_slopes, log_sizes),
        OfRows("cross-entropy", lambda x: [total(x) - x[LABEL]], loss_slopes, lambda x: [log_sizes(x)[LABEL]]),
    )


# Points


def points(function: Elementwise, dtype: str, count: int, seed: int = 0) -> Values:
    """A grid and as many random points over the function's range, in the dtype."""
    rng = numpy.random.default_rng(seed)
    grid = numpy.linspace(function.low, function.high, count)
    return numpy.concatenate([grid, rng.uniform(function.low, function.high, count)]).astype(dtype)


def rows(dtype: str, count: int, seed: int = 0) -> Values:
    """Rows of 5 numbers: of size 1, 5 and 30, and some shifted by 1000."""
    rng = numpy.random.default_rng(seed)
    sizes = numpy.array([1.0, 5.0, 30.0])[numpy.arange(count) % 3][:, numpy.newaxis]
    shifts = numpy.where(numpy.arange(count) % 8 == 7, 1000.0, 0.0)[:, numpy.newaxis]
    return numpy.asarray(sizes * rng.standard_normal((count, 5)) + shifts).astype(dtype)


# Errors


def ulp(given: float, exact: Any, dtype: str, size: Any = None) -> float:
    """|given - exact| in units in the last place of the exact result (or of `size`) in the dtype.

    0 where both are beyond the dtype's range on one side, or both below half its least number.
    """
    kind = numpy.finfo(dtype)
    rounded = numpy.asarray(float(exact)).astype(dtype)[()]
    if not numpy.isfinite(rounded) or not numpy.isfinite(given):
        return 0.0 if given == rounded else float("inf")
    unit = abs(float(exact if size is None else size))
    spacing = max(float(numpy.spacing(numpy.asarray(unit).astype(dtype)[()])), float(kind.smallest_subnormal))
    return float(abs(load_mpmath().mpf(float(given)) - exact) / spacing)


def worst(engine: str, function: str, dtype: str, of: str, extreme: bool, found: Iterable[Any]) -> Worst:
    """The largest of (ulp, place, given, exact)."""
    error, place, given, exact = max(found, key=lambda one: one[0])
    return Worst(engine, function, dtype, of, extreme, error, place, float(given), float(exact))


def compare_elementwise(function: Elementwise, engines: Sequence[Engine], dtype: str, count: int) -> list[Worst]:
    """Every engine that has the function: value and gradient, over the range and at the extremes."""
    mp = load_mpmath()
    results = []
    for extreme in (False, True):
        x = numpy.array(function.extremes, dtype) if extreme else points(function, dtype, count)
        exact = {"value": [function.value(mp.mpf(float(a))) for a in x],
                 "gradient": [function.slope(mp.mpf(float(a))) for a in x]}  # fmt: skip
        for engine in engines:
            if function.name not in engine.functions:
                continue
            given = dict(zip(exact, engine.elementwise(function.name, x), strict=True))
            for of, expected in exact.items():
                found = [(ulp(g, e, dtype), f"x = {a:.9g}", g, e)
                         for a, g, e in zip(x, given[of], expected, strict=True)]  # fmt: skip
                results.append(worst(engine.name, function.name, dtype, of, extreme, found))
    return results


def compare_rows(function: OfRows, engines: Sequence[Engine], dtype: str, count: int) -> list[Worst]:
    """Every engine that has the function: values and Jacobian."""
    mp = load_mpmath()
    x = rows(dtype, count)
    exact = [[mp.mpf(float(a)) for a in row] for row in x]
    expected = [tuple(zip(function.value(row), function.jacobian(row), function.sizes(row), strict=True))
                for row in exact]  # fmt: skip
    results = []
    for engine in engines:
        if function.name not in engine.functions:
            continue
        given, slopes = engine.rows(function.name, x, LABEL)
        found: dict[str, list[Any]] = {"value": [], "gradient": []}
        for n, i in ((n, i) for n, row in enumerate(expected) for i in range(len(row))):
            value, line, (size, slope_size) = expected[n][i]
            place = f"row {n}: {_row(x[n])}"
            found["value"].append((ulp(given[n][i], value, dtype, size), place, given[n][i], value))
            found["gradient"] += [(ulp(g, e, dtype, slope_size), place, g, e)
                                  for g, e in zip(slopes[n][i], line, strict=True)]  # fmt: skip
        results += [worst(engine.name, function.name, dtype, of, False, some) for of, some in found.items()]
    return results


def _row(x: Values) -> str:
    return "[" + ", ".join(f"{a:.6g}" for a in x) + "]"


def compare(engines: Sequence[Engine], count: int = 400) -> list[Worst]:
    """Every function in both dtypes."""
    results = []
    for dtype in DTYPES:
        for function in elementwise():
            results += compare_elementwise(function, engines, dtype, count)
        for several in of_rows():
            results += compare_rows(several, engines, dtype, max(count // 8, 8))
    return results


# The report


def markdown(results: Sequence[Worst], count: int) -> str:
    """The comparison as a page."""
    names = [engine.name for engine in ENGINES if any(one.engine == engine.name for one in results)]
    missing = [engine.name for engine in ENGINES if engine.name not in names]
    parts = [
        "# Accuracy compared",
        f"The worst error of value / gradient in ulp (units in the last place of the exact result), at {2 * count} "
        "points over each function's range: a grid and as many random points, the same for all engines. The exact "
        "results are computed with mpmath at 50 digits. 0.5 is the best that rounding allows. Functions of rows (5 "
        "numbers of size 1, 5 or 30, some shifted by 1000) are measured by every entry of their Jacobian; where a sum "
        "cancels (1 - p, say) in ulp of its largest term, since no engine can do better than its terms. – : the engine "
        "has no such function.",
        ", ".join(f"{engine.name} {_version(engine)}" for engine in ENGINES if engine.name in names) + ".",
        f"Not installed: {', '.join(missing)}." if missing else "",
    ]
    for dtype in DTYPES:
        for extreme, title in ((False, dtype), (True, f"{dtype}, at extremes")):
            some = [one for one in results if one.dtype == dtype and one.extreme is extreme]
            parts += [f"## {title}", _table(some, names)]
    parts += [EXTREMES, "## Where errors exceed 4 ulp", _places(results), REPEAT]
    return "\n\n".join(part for part in parts if part)


EXTREMES = (
    "Extremes are points that a function meets in practice but not in its usual range: 0, ±1e-30, ±1e-10, ±80, ±1e4 "
    "and the like. ∞ means an infinite or missing number where there is a finite one, or the reverse. Results too "
    "small for full precision (subnormal) are measured in the dtype's least number, which an engine that rounds them "
    "to 0 misses by many."
)
REPEAT = "To repeat: `python -m chalkgrad.benchmarks.accuracy_of_peers --out PAGE.md --json RESULTS.json`."


def _version(engine: Engine) -> str:
    from .. import __version__

    return __version__ if engine.package == "numpy" else version(engine.package) or ""


def _table(results: Sequence[Worst], names: Sequence[str]) -> str:
    found = {(one.function, one.engine, one.of): one.ulp for one in results}
    functions = dict.fromkeys(one.function for one in results)

    def cell(function: str, engine: str) -> str:
        if (function, engine, "value") not in found:
            return "–"
        return " / ".join(show(found[function, engine, of]) for of in ("value", "gradient"))

    return table(["", *names], [[function, *(cell(function, name) for name in names)] for function in functions])


def show(error: float) -> str:
    """An error in ulp, short: 0.52, 43, 1.8e8."""
    if error == float("inf"):
        return "∞"
    return (
        f"{error:.2f}"
        if error < 10
        else f"{error:.0f}"
        if error < 1e5
        else f"{error:.1e}".replace("e+0", "e").replace("e+", "e")
    )


def _places(results: Sequence[Worst]) -> str:
    lines = [
        f"- {one.engine}, {one.function}, {one.of}, {one.dtype}: {show(one.ulp)} ulp at {one.at} "
        f"(given {one.given:.9g}, exact {one.exact:.9g})"
        for one in results
        if one.ulp > 4
    ]
    return "\n".join(lines) or "Nowhere."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m chalkgrad.benchmarks.accuracy_of_peers", description=__doc__)
    parser.add_argument("--out", required=True, help="the page to write (Markdown)")
    parser.add_argument("--json", required=True, help="the file to write every result to")
    parser.add_argument("--points", type=int, default=400, help="of the grid, and as many random ones (default: 400)")
    options = parser.parse_args(arguments)
    engines = [engine for engine in ENGINES if version(engine.package)]
    results = compare(engines, options.points)
    write(options.out, markdown(results, options.points))
    packages = ("numpy", "mpmath", *(engine.package for engine in ENGINES if engine.package != "numpy"))
    known = {"versions": versions(packages), "points": 2 * options.points}
    write(options.json, known | {"worst": [_plain(one) for one in results]})
    return 0


def _plain(one: Worst) -> dict[str, Any]:
    """Its values for JSON, which has no infinity."""
    return {k: str(v) if isinstance(v, float) and not numpy.isfinite(v) else v for k, v in asdict(one).items()}


if __name__ == "__main__":
    sys.exit(main())
