"""A function with its gradient at one point, and what must hold of the two before any number is compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from ..engine.errors import ShapeError
from .report import Difference, Verdict
from .subject import Subject, Values

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
        self.subject, self.xs = subject, xs
        self.rng = numpy.random.default_rng(seed)
        self.exact = tuple(x.astype("float64") for x in xs)
        self.single = any(x.dtype.itemsize == 4 for x in xs)
        self.checks: list[str] = []
        self.kinks: list[Difference] = []

    def contract(self) -> None:
        """Finite, deterministic, of the right shape and dtype, and nothing changed that is not its own."""
        kept = [x.copy() for x in self.xs]
        self.y, pull = self.linearized(self.xs)
        self.pull = pull
        again = self.subject.value(*self.xs)
        self.checks.append("determinism")
        if not _same(self.y, again):
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
            if not (_same(g, h) and _same(g, k)):
                if _same(g, k):
                    detail = f"the gradient of argument {i} is another when it is pulled back a second time: "
                    raise Found(Verdict.MUTATES, detail + "the rule changes its saved values")
                raise Found(Verdict.RANDOM, f"two calls gave different gradients of argument {i}")
            if not numpy.isfinite(g).all():
                at = [int(n) for n in numpy.argwhere(~numpy.isfinite(g))[0]]
                raise Found(Verdict.NOT_FINITE, f"the gradient of argument {i} at {at} is {g[tuple(at)]}")
        self.unchanged(kept, gy_kept, gy_kept)
        self.checks += ["shape and dtype", "no changes in place"]

    def linearized(self, xs: tuple[Values, ...]) -> tuple[Values, Any]:
        """Value and pullback; an error of the engine about a rule's shape becomes the verdict."""
        try:
            return self.subject.linearize(*xs)
        except ShapeError as error:
            if "the rule" in str(error):
                raise Found(Verdict.SHAPE, str(error)) from error
            raise

    def pulled(self, pull: Any, gy: Values) -> tuple[Values, ...]:
        """The gradients of all arguments for gy, held to shape and dtype; None counts as zeros."""
        try:
            gradients = pull(gy)
        except TypeError as error:  # the engine's own assertion of a rule's shape or dtype
            if "the rule" in str(error):
                raise Found(Verdict.SHAPE, str(error)) from error
            raise
        except ShapeError as error:
            raise Found(Verdict.SHAPE, str(error)) from error
        checked = []
        for i, (x, g) in enumerate(zip(self.xs, gradients, strict=True)):
            if g is None:
                g = numpy.zeros(x.shape, x.dtype)
            if g.shape != x.shape or g.dtype != x.dtype:
                raise Found(
                    Verdict.SHAPE,
                    f"argument {i} has shape {x.shape} and {x.dtype}, its gradient {g.shape} and {g.dtype}",
                )
            checked.append(g.copy())
        return tuple(checked)

    def unchanged(self, kept: list[Values], gy: Values, gy_kept: Values) -> None:
        """Raise Found where inputs or the incoming gradient were changed in place."""
        for i, (x, before) in enumerate(zip(self.xs, kept, strict=True)):
            if not numpy.array_equal(x, before, equal_nan=True):
                raise Found(Verdict.MUTATES, f"argument {i} was changed in place")
        if not numpy.array_equal(gy, gy_kept, equal_nan=True):
            raise Found(Verdict.MUTATES, "the incoming gradient was changed in place")

    def cotangent(self) -> Values:
        """A random incoming gradient."""
        values: Values = numpy.asarray(self.rng.standard_normal(self.y.shape)).astype(self.y.dtype)
        return values

    def reference_gradients(self) -> tuple[Values, ...]:
        """The gradients to compare in float64: those of float32 inputs are asked for at float64 inputs."""
        if not self.single:
            return self.gradients
        y, pull = self.subject.linearize(*self.exact)
        if y.dtype != numpy.float64:
            return tuple(g.astype("float64") for g in self.gradients)
        gradients = pull(self.gy.astype("float64"))
        return tuple(
            numpy.zeros(x.shape) if g is None else numpy.asarray(g, "float64")
            for g, x in zip(gradients, self.exact, strict=True)
        )

    def along(self, i: int, v: Values, f: Callable[..., Values] | None = None) -> Callable[[Any], Values]:
        """f as a function of how far argument i is moved along v."""
        value = f or self.subject.value
        return lambda t: value(*self.exact[:i], self.exact[i] + t * v, *self.exact[i + 1 :])

    @property
    def y64(self) -> Values:
        """The value at float64 inputs, whose dtype tells how precise differences can be."""
        if not hasattr(self, "_y64"):
            self._y64 = self.subject.value(*self.exact) if self.single else self.y
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
            near = self.subject.linearize(*xs)[1](numpy.asarray(gy, self.y64.dtype))
            for m, g, n in zip(moved, reference, near, strict=True):
                numpy.maximum(m, 2 * numpy.abs((0 if n is None else n) - g), out=m)
        return moved


def _same(a: Values, b: Values) -> bool:
    """Equal but for the last digits, which may depend on where in memory an array happens to lie."""
    with numpy.errstate(all="ignore"):
        size = numpy.abs(a).max(initial=0)
        tolerance = ROUNDING * numpy.finfo(a.dtype).eps * (size if numpy.isfinite(size) else 0)
        return bool(((numpy.abs(a - b) <= tolerance) | (a == b) | ((a != a) & (b != b))).all())
