"""Accuracy compared: the worst error, in units in the last place, of values and gradients of common functions.

    python -m chalkgrad.benchmarks.accuracy_of_peers --out accuracy-of-peers.md --json accuracy-of-peers.json

The exact results are the equations' own, at 100 digits, at the very points that the engines are given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from ..engine.primitive import Example, registry
from ..equation.dual import DIGITS, load_mpmath
from ..proof.witness import Witness
from .accuracy_engines import ENGINES, Engine
from .peers import command_line, table, version, versions, write

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
class Range:
    """Where a function of one number is asked: the range that is sampled, and the extremes."""

    low: float
    high: float
    extremes: tuple[float, ...] = ()


TINY = (0.0, 1e-30, -1e-30, 1e-10, -1e-10)
FAR = (-1e4, -80.0, 80.0, 1e4)
ELEMENTWISE = {
    "exp": Range(-80, 80, (*TINY, 88.0, -87.0)),
    "log": Range(1e-3, 100, (1e-30, 1.0, 1 + 2**-20, 1 - 2**-20, 1e30)),
    "log1p": Range(-0.99, 100, (*TINY, 1e30)),
    "expm1": Range(-20, 80, (*TINY, -80.0)),
    "sqrt": Range(0.01, 1000, (1e-30, 1e30)),
    "sin": Range(-10, 10, (*TINY, float(numpy.pi), 1e4, 1e6)),
    "cos": Range(-10, 10, (1e-30, 1e-10, float(numpy.pi / 2), 1e4, 1e6)),
    "tanh": Range(-9, 9, (*TINY, -40.0, 40.0)),
    "sigmoid": Range(-40, 40, (*TINY, *FAR)),
    "softplus": Range(-40, 40, (*TINY, *FAR)),
    "silu": Range(-40, 40, (*TINY, *FAR)),
    "gelu": Range(-8, 8, (*TINY, -12.0, 30.0)),
    "elu": Range(-40, 40, (*TINY[1:], -80.0, 1e4)),
    "erf": Range(-6, 6, (*TINY, 9.0)),
}
"""The functions of one number, by the names of the primitives whose equations say what is exact."""
OF_ROWS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "logsumexp": lambda x, y, line, i: (None, max(line)),
    "softmax": lambda x, y, line, i: (None, y[i]),
    "log_softmax": lambda x, y, line, i: (max(max(x) - x[i], 1), 1),
    "cross-entropy": lambda x, y, line, i: (max(max(x) - x[LABEL], 1), 1),
}
"""The functions of a row: of row, values, and gradient of value i the largest terms of the sums that define value and
gradient, in whose last place errors are counted: a difference of nearly equal terms is no more precise than they are.
None: the result's own size."""


# What is exact


def exact_values(name: str, x: Values) -> Any:
    """The equation's values at x as dual numbers, at twice 50 digits: 1 + exp(-80) has its digits, too."""
    primitive = registry["sparse_categorical_cross_entropy" if name == "cross-entropy" else name]
    operands: tuple[Values, ...] = (x,)
    if name == "cross-entropy":
        operands = (x[numpy.newaxis], numpy.array([LABEL]))
    with load_mpmath().workdps(2 * DIGITS), numpy.errstate(all="ignore"):
        shapes = tuple(operand.shape for operand in operands)
        return Witness(primitive, Example(shapes), operands).exact_y


def exact_slopes(value: Any, size: int) -> list[Any]:
    """The derivatives of a dual number in the elements of its row."""
    slopes = {place[-1]: slope for (_, place), slope in value.slopes.items()}
    return [slopes.get(j, load_mpmath().zero) for j in range(size)]


# Points


def points(function: Range, dtype: str, count: int, seed: int = 0) -> Values:
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


def compare_elementwise(name: str, engines: Sequence[Engine], dtype: str, count: int) -> list[Worst]:
    """Every engine that has the function: value and gradient, over the range and at the extremes."""
    results = []
    for extreme in (False, True):
        x = numpy.array(ELEMENTWISE[name].extremes, dtype) if extreme else points(ELEMENTWISE[name], dtype, count)
        duals = exact_values(name, x)
        exact = {"value": [dual.value for dual in duals],
                 "gradient": [exact_slopes(dual, x.size)[i] for i, dual in enumerate(duals)]}  # fmt: skip
        for engine in engines:
            if name not in engine.functions:
                continue
            given = dict(zip(exact, engine.elementwise(name, x), strict=True))
            for of, expected in exact.items():
                found = [(ulp(g, e, dtype), f"x = {a:.9g}", g, e)
                         for a, g, e in zip(x, given[of], expected, strict=True)]  # fmt: skip
                results.append(worst(engine.name, name, dtype, of, extreme, found))
    return results


def compare_rows(name: str, engines: Sequence[Engine], dtype: str, count: int) -> list[Worst]:
    """Every engine that has the function: values and Jacobian."""
    x = rows(dtype, count)
    exact = [exact_values(name, row).reshape(-1) for row in x]
    results = []
    for engine in engines:
        if name not in engine.functions:
            continue
        given, slopes = engine.rows(name, x, LABEL)
        found: dict[str, list[Any]] = {"value": [], "gradient": []}
        for n, i in ((n, i) for n, row in enumerate(exact) for i in range(len(row))):
            values, line = [dual.value for dual in exact[n]], exact_slopes(exact[n][i], x.shape[1])
            size, slope_size = OF_ROWS[name]([float(a) for a in x[n]], values, line, i)
            place = f"row {n}: {_row(x[n])}"
            found["value"].append((ulp(given[n][i], values[i], dtype, size), place, given[n][i], values[i]))
            found["gradient"] += [(ulp(g, e, dtype, slope_size), place, g, e)
                                  for g, e in zip(slopes[n][i], line, strict=True)]  # fmt: skip
        results += [worst(engine.name, name, dtype, of, False, some) for of, some in found.items()]
    return results


def _row(x: Values) -> str:
    return "[" + ", ".join(f"{a:.6g}" for a in x) + "]"


def compare(engines: Sequence[Engine], count: int = 400) -> list[Worst]:
    """Every function in both dtypes."""
    results = []
    for dtype in DTYPES:
        for name in ELEMENTWISE:
            results += compare_elementwise(name, engines, dtype, count)
        for name in OF_ROWS:
            results += compare_rows(name, engines, dtype, max(count // 8, 8))
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
        "results are those of the equations at 100 digits. 0.5 is the best that rounding allows. Functions of rows "
        "(5 numbers of size 1, 5 or 30, some shifted by 1000) are measured by every entry of their Jacobian; where a "
        "sum cancels (1 - p, say) in ulp of its largest term, since no engine can do better than its terms. – : the "
        "engine has no such function.",
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
    parser = command_line("accuracy_of_peers", __doc__)
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
