"""gradcheck: is this gradient the derivative of this function? A verdict, and where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy

from ..engine import backend, transform
from ..engine.namespace import namespace
from ..engine.tensor import Tensor
from ..errors import UsageError
from .check import Check
from .report import GradientError, Report, Verdict
from .source import check_as_code
from .subject import OfTensors, Subject, Values, as_input, make_subject


def gradcheck(
    f: Any,
    *inputs: Any,
    vjp: Callable[..., Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    order: int = 1,
    seed: int = 0,
    samples: int = 3,
    max_seconds: float = 60.0,
    name: str | None = None,
    kinks: str = "report",
    device: str | None = None,
) -> Report:
    """Check a function's gradient at `inputs`; returns a report with a verdict.

    f: a chalkgrad function of tensors; or any function of NumPy arrays, with vjp(gy, *xs) -> one gradient an
        argument (None where there is none), or, where its value is one number, gradient(*xs); or a pair (f, vjp).
    inputs: float32 or float64 arrays, tensors, lists or floats. order: 2 also checks the gradient's own gradient
    (chalkgrad functions). samples: random cotangents and directions to try. seed: of these. max_seconds: then the
    verdict is UNDECIDED. A float32 gradient is held to the float64 one, within what the point's condition explains.
    kinks: "report": a point on a kink gets the verdict KINK, which is no success; "accept": it is one, for a function
        that is known to have kinks there. No other gradient passes for it: the verdict is KINK only where all other
        elements are right, and the gradient on the kinks is one of the function's slopes: between the one-sided ones
        of each element, and in directions that move all together (a subgradient, where the function is convex).
    device: where a chalkgrad function computes; by default where its inputs are. The host compares.

    Raises UsageError for what cannot be checked: integer or complex inputs, a function without one real array.
    DeviceError for a device that cannot be used.
    """
    if device is None:
        devices = [x.device for x in inputs if isinstance(x, Tensor)]
        device = devices[0] if devices else "cpu"
    device = backend.resolve_device(device)
    xs = tuple(as_input(x, i) for i, x in enumerate(inputs))
    subject = make_subject(f, vjp, gradient, name, device)
    if order not in (1, 2) or (order == 2 and not isinstance(subject, OfTensors)):
        raise UsageError(
            f"order={order!r}: it is 1, or 2 for a chalkgrad function, whose gradient has a gradient itself."
        )
    if kinks not in ("report", "accept"):
        raise UsageError(f'kinks={kinks!r}: it is "report", or "accept" for a function that may stand on a kink.')
    return check(subject, xs, order, seed, samples, max_seconds, kinks)


def check(
    subject: Subject,
    xs: tuple[Values, ...],
    order: int = 1,
    seed: int = 0,
    samples: int = 3,
    max_seconds: float = 60.0,
    kinks: str = "report",
    first: Report | None = None,
) -> Report:
    """`gradcheck` of a subject at arrays xs. first: the report of the same at first order, where it is known."""
    accept = kinks == "accept"
    report = first or Check(subject, xs, seed, samples).run(max_seconds)
    report = replace(report, accepts_kinks=accept)
    options: dict[str, Any] = {"seed": seed, "order": order, **({"samples": samples} if samples != 3 else {})}
    options |= {"kinks": kinks} if accept else {}
    options |= {"device": subject.device} if isinstance(subject, OfTensors) and subject.device != "cpu" else {}
    if order > 1 and report.verdict in (Verdict.PROVEN, Verdict.KINK) and isinstance(subject, OfTensors) and xs:
        second = _second_order(subject, xs, order, seed, samples, max_seconds - report.seconds, kinks)
        if not second.proven or report.verdict is Verdict.PROVEN:
            checks = (*report.checks, "second order")
            report = replace(second, name=subject.name, checks=checks, seconds=report.seconds + second.seconds)
    return replace(report, reproduce=check_as_code(subject, xs, options), order=order)


def assert_gradients(f: Any, *inputs: Any, **options: Any) -> Report:
    """`gradcheck`, raising GradientError with the report where it is not proven; returns the report."""
    __tracebackhide__ = True  # pytest shows the caller's line, not this one
    report = gradcheck(f, *inputs, **options)
    if not report.proven:
        raise GradientError(report)
    return report


def _second_order(
    subject: OfTensors, xs: tuple[Values, ...], order: int, seed: int, samples: int, max_seconds: float, kinks: str
) -> Report:
    """Check the gradient as a function of inputs and incoming gradient: all its elements, argument by argument."""
    rng = numpy.random.default_rng(seed + 1)
    y = subject.f(*(subject.put(x) for x in xs))

    def pulled(*values: Tensor) -> Tensor:
        _, pull = transform.vjp(subject.f, *values[:-1])
        flat: Tensor = namespace.concatenate([namespace.reshape(g, (-1,)) for g in pull(values[-1])])
        return flat

    gy = numpy.asarray(rng.standard_normal(y.shape)).astype(y.dtype)
    return gradcheck(
        pulled, *xs, gy, order=order - 1, seed=seed, samples=samples, max_seconds=max(max_seconds, 0.001),
        name=f"gradient of {subject.name}", kinks=kinks, device=subject.device,
    )  # fmt: skip
