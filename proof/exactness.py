"""How exact each primitive is: its values and gradients against its own equation at 50 digits, in ulp.

How exact it has to be stands in `bounds`. The gradient is held to the derivative of the equation's text, found by
dual numbers: no step size, no tolerance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy

from ..engine.namespace import OWN
from ..engine.primitive import Example, Primitive
from ..equation.arrays import Exact
from ..equation.dual import load_mpmath
from ..equation.language import read_equation
from ..errors import ChalkgradError
from .bounds import DRAWN, Accuracy, bound
from .cases import Values, chosen, draw, examples
from .report import Report, Verdict
from .subject import placed
from .witness import Witness

POINTS = 96


def accuracy(
    names: list[str] | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    seed: int = 0,
    device: str = "cpu",
) -> list[Accuracy]:
    """The worst error of each primitive's value and gradients over its domain and at its ends, beside its bound.

    Raises EquationError where an equation cannot be evaluated, UsageError for an unknown name.
    """
    found: list[Accuracy] = []
    for primitive in chosen(names):
        for dtype in dtypes:
            worst: dict[str, Accuracy] = {}
            for example, operands in _points(primitive, seed, dtype):
                for one in _measure(Witness(primitive, example, operands, seed, device), dtype):
                    seen = worst.get(one.of, one)
                    worst[one.of] = replace(max(seen, one, key=lambda a: a.ulp), off=max(seen.off, one.off))
            found += worst.values()
    return found


def equation_holds(primitive: Primitive, seed: int = 0, dtypes: Sequence[str] = (), device: str = "cpu") -> Report:
    """Hold the kernel, each rule, and each rule's own equation to the primitive's equation at 50 digits.

    dtypes: those in which a primitive of the engine is held to its bounds in ulp, too, at the points of `accuracy`,
    which are the same for every seed. Raises UsageError where mpmath is not installed.
    """
    load_mpmath()  # so that a missing mpmath is no verdict
    started = time.perf_counter()
    name, detail, found = f"{primitive.name}: {primitive.text}", "", []
    try:
        for rule in primitive.rules.values():
            rule.equation  # noqa: B018 (reading it is the check)
        for example in examples(primitive):
            detail = detail or _mismatch(primitive, example, draw(primitive, example, seed), seed, device)
        if primitive.__module__.startswith(OWN):  # a user's has no bounds declared
            found = accuracy([primitive.name], dtypes, device=device)
            detail = detail or "; ".join(f"the code's {one}, at {one.at}" for one in found if not one.holds)
    except ChalkgradError as error:
        detail = str(error)
    verdict = Verdict.WRONG if detail else Verdict.PROVEN
    seconds = time.perf_counter() - started
    checks = ("the equation at 50 digits",)
    return Report(name, verdict, detail, checks=checks, seed=seed, seconds=seconds, exactness=tuple(found))


def _mismatch(primitive: Primitive, example: Example, operands: tuple[Values, ...], seed: int, device: str) -> str:
    """What differs between equation, code, rules and the rules' equations; empty where nothing does."""
    witness = Witness(primitive, example, operands, seed, device)
    for i, found, truth, whole in _results(witness):
        one = _worst(witness, i, "float64", found, truth, whole, witness.rounding(i, truth.shape, whole))
        if one.off > DRAWN:
            return f"the code's {one.what} is {one.ulp:.3g} ulp from what the equation says, at {one.at}"
    for i in witness.ruled:
        truth, stated = witness.gradient(i), witness.stated_gradient(i)
        size = max([abs(v) for v in truth.flat], default=load_mpmath().zero)
        for index in numpy.ndindex(truth.shape):
            if abs(truth[index] - stated[index]) > 1e-35 * (size + 1):
                rule = primitive.rules[primitive.operand(i)]
                return f"the rule's equation {rule.text!r} is not the derivative: {stated[index]} is not {truth[index]}"
    return ""


def _measure(witness: Witness, dtype: str) -> Iterator[Accuracy]:
    """The errors of value and gradients at the witness's operands."""
    for i, found, truth, whole in _results(witness):
        held = bound(witness.primitive.name, witness.named(i), not whole, witness.device)
        yield _worst(witness, i, dtype, found, truth, whole, witness.terms(held, truth.shape))


def _results(witness: Witness) -> Iterator[tuple[int | None, Values, Exact, bool]]:
    """Value (None) and gradient in each operand: what the code gives, the truth, and whether terms are summed."""
    primitive, operands = witness.primitive, witness.operands
    whole = not primitive.equation.elementwise
    if witness.y.size:
        yield None, witness.y, witness.value(), whole
    for i in witness.ruled:
        if not operands[i].size:
            continue
        variables = tuple(placed(x, witness.device, requires_grad=n == i) for n, x in enumerate(operands))
        primitive.compute(variables, witness.example.parameters).backward(placed(witness.gy, witness.device))
        gradient = variables[i].grad
        assert gradient is not None
        broadcast = whole or operands[i].shape != witness.y.shape
        yield i, gradient.numpy(), witness.gradient(i), broadcast


def _worst(
    witness: Witness, i: int | None, dtype: str, found: Values, truth: Exact, whole: bool, terms: Exact | None
) -> Accuracy:
    """The worst error; beside it the worst where an ulp is counted at the terms, which may be larger."""
    name, of = witness.primitive.name, witness.named(i)
    kind = found.dtype if found.dtype.kind == "f" else numpy.dtype("float64")
    largest = max(abs(t) for t in truth.flat)
    largest_term = largest if terms is None else max(largest, *map(abs, terms.flat))
    worst, error, at, most = -1.0, 0.0, (), 0.0
    for index in numpy.ndindex(truth.shape):
        off = abs(load_mpmath().mpf(found[index].item()) - truth[index])
        if off != off:  # NaN is as far off as can be
            off = load_mpmath().inf
        ulps = float(off / _ulp(largest if whole else truth[index], kind))
        if ulps > worst:
            worst, error, at = ulps, float(off), index
        if terms is not None:
            size = largest_term if whole else max(abs(truth[index]), abs(terms[index]))
            ulps = float(off / _ulp(size, kind))
        most = max(most, ulps)
    point = tuple(float(x[at]) for x in witness.operands if x.shape == truth.shape)
    return Accuracy(name, of, dtype, worst, error, point, not whole, most, bound(name, of, not whole, witness.device))


def _ulp(value: Any, dtype: numpy.dtype[Any]) -> Any:
    """The distance between floating-point numbers at `value`, at least the smallest one above 0."""
    info = numpy.finfo(dtype)
    mp = load_mpmath()
    smallest = mp.mpf(float(info.smallest_normal)) * mp.mpf(2) ** -int(info.nmant)
    if not value:
        return smallest
    exponent = mp.frexp(abs(value))[1] - 1
    return max(mp.mpf(2) ** (exponent - int(info.nmant)), smallest)


def _points(primitive: Primitive, seed: int, dtype: str) -> Iterator[tuple[Example, tuple[Values, ...]]]:
    """The declared examples; for an elementwise primitive its whole domain, with the ends and small numbers."""
    if not primitive.equation.elementwise or primitive.examples:
        for example in examples(primitive):
            yield example, draw(primitive, example, seed, dtype)
        return
    rng = numpy.random.default_rng(seed)
    columns: list[Values] = []
    for name in primitive.operands:
        domain = primitive.domain[name]
        if isinstance(domain, range):
            columns.append(rng.integers(domain.start, domain.stop, POINTS))
            continue
        assert isinstance(domain, tuple)  # what is drawn otherwise has examples
        low, high = max(domain[0], -1e3), min(domain[1], 1e3)
        points = numpy.concatenate([
            numpy.linspace(low, high, POINTS // 3), rng.uniform(max(low, -2), min(high, 2), POINTS // 3),
            [low, high], *([[10.0**-k, -(10.0**-k)] for k in range(1, 16)] if low < 0 < high else [[low + 1e-9] * 30]),
        ])  # fmt: skip
        columns.append(rng.permutation(points).astype(dtype) if len(primitive.operands) > 1 else points.astype(dtype))
    count = min(map(len, columns))
    operands = [c[:count] for c in columns]
    if primitive.kink:  # there is no derivative to be right about there
        kink = read_equation(f"k = {primitive.kink}", primitive.operands)
        clear = kink.evaluate({}, dict(zip(primitive.operands, operands, strict=True)))["k"] != 0
        operands = [c[clear] for c in operands]
    yield Example(tuple(c.shape for c in operands)), tuple(operands)
