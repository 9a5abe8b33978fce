"""The registry, proven: every primitive by enumeration, with no list by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy

from ..engine import backend
from ..engine.primitive import Primitive
from ..equation.dual import load_mpmath
from .cases import Case, cases, chosen
from .exactness import equation_holds
from .gradients import check
from .report import Report, Verdict
from .subject import OfTensors


def prove(
    names: list[str] | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    orders: Sequence[int] = (1, 2),
    seed: int = 0,
    samples: int = 3,
    layouts: bool = True,
    ulp: bool = True,
    device: str = "cpu",
) -> Iterator[Report]:
    """A report for every primitive × example × layout × dtype × order, and one for each equation.

    names: the primitives to prove; all by default. A primitive without a rule is proven by its equation alone.
    samples: random cotangents a case. layouts: other memory layouts than rows, too. ulp: hold the engine's primitives
    to their bounds in ulp, too, at points that are the same for every seed. device: where the primitives
    compute; the host compares.
    Raises UsageError for a name that is none, DeviceError where the device cannot be used.
    """
    load_mpmath()  # so that a missing mpmath is told as such
    device = backend.resolve_device(device)
    for primitive in chosen(names):
        yield equation_holds(primitive, seed, dtypes if ulp else (), device)
        if not primitive.rules:
            continue
        for dtype in dtypes:
            for case in cases(primitive, seed, dtype):
                first = None
                for order in orders:
                    if case.layout == "rows" or (order == 1 and layouts):
                        report = prove_case(case, order, seed, samples, first, device)
                        first = report if order == 1 else first
                        yield report
        if (
            "float64" in dtypes
            and len(primitive.operands) == 2
            and not primitive.variadic
            and not primitive.kink
            and not primitive.examples
        ):
            yield _used_twice(primitive, seed, device)


def prove_case(
    case: Case, order: int = 1, seed: int = 0, samples: int = 3, first: Report | None = None, device: str = "cpu"
) -> Report:
    """The gradient check of one case. first: the report of the same at first order, where it is known."""
    subject = OfTensors(case.call, case.label, device)
    if len(case.variables) == len(case.operands):
        parameters = dict(case.example.parameters)
        subject.code = f"lambda *xs: cg.registry[{case.primitive.name!r}].compute(xs, {parameters!r})"
    if case.primitive.analytic:
        subject.analytic = case.kernel
    return check(subject, case.inputs, order=order, seed=seed, samples=samples, first=first)


def _used_twice(primitive: Primitive, seed: int, device: str) -> Report:
    """f(x, x): both gradients reach the one x."""
    domains: list[Any] = list(primitive.domain.values())
    low, high = max(-3.0, *(d[0] for d in domains)), min(3.0, *(d[1] for d in domains))
    x = numpy.random.default_rng(seed).uniform(low, high, (2, 3))
    return check(OfTensors(lambda x: primitive(x, x), f"{primitive.name}(x, x)", device), (x,), seed=seed)


def summary(reports: Sequence[Report]) -> dict[Verdict, int]:
    """How many reports came to each verdict."""
    return {verdict: count for verdict in Verdict if (count := sum(r.verdict is verdict for r in reports))}
