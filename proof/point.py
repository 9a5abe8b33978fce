"""A function with its gradient at one point, and what must hold of the two before any number is compared."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from ..errors import ShapeError, UsageError
from .numerics import Line
from .report import Difference, Verdict
from .subject import OutOfTime, Subject, Values

ROUNDING = 64.0
"""How many units of rounding a sum of products may be off by, in each of its terms."""


class Found(Exception):
    """Ends the check with this verdict."""

    def __init__(self, verdict: Verdict, detail: str, worst: Difference | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.verdict, self.detail, self.worst, self.more = verdict, detail, worst, more


class Point:
    """The subject at inputs xs. `exact` are the inputs in float64; `checks` and `kinks` what was done and found."""

    def __init__(self, subject: Subject, xs: tuple[Values, ...], seed: int) -> None:
        self.subject, self.xs = subject, tuple(map(_own, xs))
        self.rng = numpy.random.default_rng(seed)
        self.exact = tuple(x.astype("float64") for x in xs)
        self.single = any(x.dtype.itemsize == 4 for x in xs)
        self.checks: list[str] = []
        self.kinks: list[Difference] = []
        self.kinked: list[tuple[int, int]] = []  # the same as (argument, flat position)
        self.absent: set[int] = set()  # arguments whose gradient is None
        self.narrow = False  # f takes no float64 for its float32 inputs
        self._y64: Values | None = None

    def kinked_of(self, i: int) -> list[int]:
        """The flat positions of argument i that stand on kinks."""
        return [place for argument, place in self.kinked if argument == i]

    def contract(self) -> None:
        """Finite, deterministic, of the right shape and dtype, and nothing changed that is not its own."""
        kept = [x.copy() for x in self.xs]
        first = self.subject.value(*self.xs)  # an error of the function itself is the caller's to see
        self.unchanged(kept)
        self.y, pull = self.linearized(self.xs)
        self.pull = pull
        self.unchanged(kept)
        self.checks.append("determinism")
        if not same(self.y, first):
            raise Found(Verdict.RANDOM, "two calls with the same inputs gave different values")
        if not numpy.isfinite(self.y).all():
            at = [int(i) for i in numpy.argwhere(~numpy.isfinite(self.y))[0]] if self.y.ndim else []
            raise Found(Verdict.NOT_FINITE, f"the value at {at} is {self.y[tuple(at)]}")
        gy = self.cotangent()
        gy_kept = gy.copy()
        self.gradients = self.pulled(pull, gy)
        self.gy = gy_kept
        self.unchanged(kept, gy, gy_kept)
        second = self.pulled(pull, gy_kept.copy())
        third = self.pulled(self.linearized(self.xs)[1], gy_kept.copy())
        for i, (g, h, k) in enumerate(zip(self.gradients, second, third, strict=True)):
            if not (same(g, h) and same(g, k)):
                if same(g, k):
                    detail = f"the gradient of argument {i} is another when it is pulled back a second time: "
                    raise Found(Verdict.MUTATES, detail + "the rule changes its saved values")
                raise Found(Verdict.RANDOM, f"two calls gave different gradients of argument {i}")
            if not numpy.isfinite(g).all():
                at = [int(n) for n in numpy.argwhere(~numpy.isfinite(g))[0]]
                raise Found(Verdict.NOT_FINITE, f"the gradient of argument {i} at {at} is {g[tuple(at)]}")
        self.unchanged(kept)
        self.checks += ["shape and dtype", "no changes in place"]

    def repeatable(self, times: int) -> None:
        """Raise Found where value or gradient, asked for again, are others: a random function may agree twice."""
        for _ in range(times):
            y, pull = self.linearized(self.xs)
            if not same(self.y, y) or not same(self.y, self.subject.value(*self.xs)):
                raise Found(Verdict.RANDOM, "calls with the same inputs gave different values")
            for i, (g, again) in enumerate(zip(self.gradients, self.pulled(pull, self.gy.copy()), strict=True)):
                if not same(g, again):
                    raise Found(Verdict.RANDOM, f"calls with the same inputs gave different gradients of argument {i}")

    def linearized(self, xs: tuple[Values, ...]) -> tuple[Values, Any]:
        """Value and pullback; what the engine or a rule raises becomes the verdict."""
        found: tuple[Values, Any] = self.ruled(lambda: self.subject.linearize(*xs))
        return found

    def ruled(self, call: Callable[[], Any]) -> Any:
        """What the call gives; where it raises, that is the verdict, by name."""
        try:
            return call()
        except (OutOfTime, UsageError):
            raise
        except Exception as error:
            if isinstance(error, (ShapeError, TypeError)) and "the rule" in str(error):  # the engine's own assertions
                raise Found(Verdict.SHAPE, str(error)) from error
            if "read-only" in str(error):
                raise Found(Verdict.MUTATES, f"it writes into an array that is not its own: {error}") from error
            raise Found(Verdict.RAISES, f"the gradient raised {_said(error)}") from error

    def pulled(self, pull: Any, gy: Values) -> tuple[Values, ...]:
        """The gradients of all arguments for gy, held to shape and dtype; None counts as zeros."""
        gradients = self.ruled(lambda: pull(gy))
        checked = []
        for i, (x, g) in enumerate(zip(self.xs, gradients, strict=True)):
            if g is None:
                self.absent.add(i)
                g = numpy.zeros(x.shape, x.dtype)
            if g.shape != x.shape or g.dtype != x.dtype:
                raise Found(
                    Verdict.SHAPE,
                    f"argument {i} has shape {x.shape} and {x.dtype}, its gradient {g.shape} and {g.dtype}",
                )
            checked.append(g.copy())
        return tuple(checked)

    def unchanged(self, kept: list[Values], gy: Values | None = None, gy_kept: Values | None = None) -> None:
        """Raise Found where inputs or the incoming gradient were changed in place."""
        for i, (x, before) in enumerate(zip(self.xs, kept, strict=True)):
            if not numpy.array_equal(x, before, equal_nan=True):
                raise Found(Verdict.MUTATES, f"argument {i} was changed in place")
        if gy is not None and gy_kept is not None and not numpy.array_equal(gy, gy_kept, equal_nan=True):
            raise Found(Verdict.MUTATES, "the incoming gradient was changed in place")

    def cotangent(self) -> Values:
        """A random incoming gradient."""
        values: Values = numpy.asarray(self.rng.standard_normal(self.y.shape)).astype(self.y.dtype)
        return values

    def reference_gradients(self) -> tuple[Values, ...]:
        """The gradients to compare in float64: those of float32 inputs are asked for at float64 inputs."""
        if not self.single or self.y64.dtype != numpy.float64:
            return tuple(g.astype("float64") for g in self.gradients)
        _, pull = self.linearized(self.exact)
        gradients = self.ruled(lambda: pull(self.gy.astype("float64")))
        return tuple(
            numpy.zeros(x.shape) if g is None else numpy.asarray(g, "float64")
            for g, x in zip(gradients, self.exact, strict=True)
        )

    def along(self, vs: Sequence[Values | None], f: Callable[..., Values] | None = None) -> Line:
        """f (or what of it is seen near the point) as a function of how far the arguments are moved along vs."""
        return Line(f or self.nearby, self.exact, vs)

    def at_exact(self, *xs: Values) -> Values:
        """f at float64 inputs, or at what they are in the inputs' own dtypes where f takes only these."""
        if self.narrow:
            return self.subject.value(*(e.astype(x.dtype) for e, x in zip(xs, self.xs, strict=True)))
        return self.subject.value(*xs)

    def nearby(self, *xs: Values) -> Values:
        """f at other inputs, which may lie outside of its domain: not a number where it gives no array of its shape."""
        try:
            y = self.at_exact(*xs)
        except OutOfTime:
            raise
        except Exception:
            y = None
        if y is None or y.shape != self.y64.shape:
            return numpy.full(self.y64.shape, numpy.nan, self.y64.dtype)
        return y

    @property
    def y64(self) -> Values:
        """The value at float64 inputs, whose dtype tells how precise differences can be."""
        if self._y64 is None:
            self._y64 = self.y
            if self.single:
                try:
                    self._y64 = self.subject.value(*self.exact)
                except OutOfTime:
                    raise
                except Exception:
                    self.narrow = True
        return self._y64

    def natural_size(self, i: int) -> float:
        """|y| / |x|, the size of a gradient whose terms do not cancel."""
        return float(numpy.abs(self.y).max(initial=0) / max(numpy.abs(self.exact[i]).max(initial=0), 1.0))

    def moved(self, eps: float, units: int) -> list[Values]:
        """The condition, measured: how far the gradient moves when inputs and gy move by a few units of rounding."""
        reference = self.reference_gradients()
        moved = [numpy.zeros(g.shape) for g in reference]
        for _ in range(4):
            xs = tuple(x * (1 + units * eps * self.rng.uniform(-1, 1, x.shape)) for x in self.exact)
            gy = self.gy * (1 + units * eps * self.rng.uniform(-1, 1, self.gy.shape))
            try:
                if self.narrow:
                    xs = tuple(e.astype(x.dtype) for e, x in zip(xs, self.xs, strict=True))
                near = self.subject.linearize(*xs)[1](numpy.asarray(gy, self.y64.dtype))
            except (OutOfTime, UsageError):
                raise
            except Exception:
                continue  # outside of its domain
            for m, g, n in zip(moved, reference, near, strict=True):
                numpy.maximum(m, 2 * numpy.abs((0 if n is None else n) - g), out=m)
        return moved


def _own(x: Values) -> Values:
    """A copy of x in the same memory layout, for a function that writes into its input."""
    low, high = numpy.lib.array_utils.byte_bounds(x)
    if not x.size or low == high:
        return x.copy()
    memory = numpy.zeros(high - low, numpy.uint8)
    offset = sum(-step * (n - 1) for n, step in zip(x.shape, x.strides, strict=True) if step < 0)
    copy: Values = numpy.ndarray(x.shape, x.dtype, memory, offset, x.strides)
    copy[...] = x
    copy.flags.writeable = x.flags.writeable
    return copy


def _said(error: BaseException) -> str:
    """The error in one line, with the place where it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}{place}"


def same(a: Values, b: Values) -> bool:
    """Equal but for the last digits, which may depend on where in memory an array happens to lie."""
    if a.shape != b.shape:
        return False
    with numpy.errstate(all="ignore"):
        size = numpy.abs(a).max(initial=0)
        tolerance = ROUNDING * numpy.finfo(a.dtype).eps * (size if numpy.isfinite(size) else 0)
        return bool(((numpy.abs(a - b) <= tolerance) | (a == b) | ((a != a) & (b != b))).all())
