"""What holds of every gradient: it is linear in its cotangent, adjoint to the Jacobian, and the same in float32."""

from __future__ import annotations

import numpy

from .point import ROUNDING, Found, Point
from .report import Difference, Verdict
from .subject import OfTensors


def linearity(point: Point) -> None:
    """The pullback is linear: that of a u + b w is a times that of u plus b times that of w."""
    point.checks.append("linearity in gy")
    a, b = 0.75, -1.5  # exact in binary, so that scaling adds no rounding
    u, w = point.cotangent(), point.cotangent()
    gu, gw = point.pulled(point.pull, u.copy()), point.pulled(point.pull, w.copy())
    both = point.pulled(point.pull, (a * u + b * w).astype(u.dtype))
    for i, (one, other, together) in enumerate(zip(gu, gw, both, strict=True)):
        size = numpy.abs(one).max(initial=0) + numpy.abs(other).max(initial=0) + point.natural_size(i)
        off = numpy.abs(together - (a * one + b * other)).max(initial=0)
        eps = max(numpy.finfo(one.dtype).eps, numpy.finfo(point.y.dtype).eps)
        if off > 16 * ROUNDING * eps * max(size, 1e-300):
            raise Found(Verdict.WRONG, f"the gradient of argument {i} is not linear in gy (off by {off:.2g})")


def adjoint(point: Point) -> None:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩, with J v from the rules run forward."""
    if any(not x.size for x in point.xs) or not point.y.size:
        return
    assert isinstance(point.subject, OfTensors)
    point.checks.append("adjoint identity")
    vs = tuple(numpy.asarray(point.rng.standard_normal(x.shape)).astype(x.dtype) for x in point.xs)
    u = point.cotangent()
    forward = (u.astype("float64") * point.subject.jvp(point.xs, vs)).astype("float64")
    backward = [g.astype("float64") * v for g, v in zip(point.pulled(point.pull, u.copy()), vs, strict=True)]
    size = numpy.abs(forward).sum() + sum(float(numpy.abs(term).sum()) for term in backward)
    eps = max(float(numpy.finfo(a.dtype).eps) for a in (point.y, *point.xs))
    off = abs(float(forward.sum()) - sum(float(term.sum()) for term in backward))
    if off > 16 * ROUNDING * eps * max(float(size), 1e-300):
        raise Found(Verdict.WRONG, f"<u, J v> and <J^T u, v> differ by {off:.2g}")


def single_precision(point: Point) -> None:
    """The float32 gradient against the float64 one, element by element, within what the point's condition explains.

    The condition is measured, by `moved` at float32 rounding.
    """
    if point.y64.dtype != numpy.float64:
        raise Found(
            Verdict.PRECISION, "its value is float32 at float64 inputs, too: only differences in float32 remain"
        )
    point.checks.append("float32 against float64")
    eps = float(numpy.finfo("float32").eps)
    reference = point.reference_gradients()
    moved = point.moved(eps, 8)
    for i, (g, r, m) in enumerate(zip(point.gradients, reference, moved, strict=True)):
        if not g.size or point.xs[i].dtype != numpy.float32:
            continue
        bound = 16 * eps * (numpy.abs(r) + numpy.abs(r).mean()) + 8 * m + 1e-37
        off = numpy.asarray(numpy.abs(g - r))  # an array also where it is a single number
        off.reshape(-1)[point.kinked_of(i)] = 0
        at = numpy.unravel_index(int(numpy.argmax(off / bound)), g.shape) if g.ndim else ()
        if off[at] > bound[at]:
            index = tuple(int(n) for n in at)
            worst = Difference(i, index, float(g[at]), float(r[at]), float(bound[at]), 0.0)
            raise Found(
                Verdict.WRONG, "the float32 gradient is further from the float64 one than rounding explains", worst
            )
