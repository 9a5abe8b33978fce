"""The proof of the proof: known kinds of error, put into each rule, must each be found.

A mutant is a rule with one error. It is killed when a case of its primitive comes to a verdict other than that of
the right rule. A mutant that never gave another result than the right rule on any case is equivalent to it there, and
is listed as such; one that did, and was not found, survives, and the suite fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy

from ..engine import backend
from ..engine.namespace import Namespace
from ..engine.primitive import Primitive
from ..engine.rule import Rule
from .cases import Values, cases, chosen
from .registry import prove_case

Change = Callable[[Callable[..., Values], Values, tuple[Any, ...]], Values]
"""(rule, gy, what the rule sees) -> the wrong gradient."""


def _saved(change: Callable[[Values], Any]) -> Change:
    """An error in what the rule sees."""

    def wrong(rule: Callable[..., Values], gy: Values, seen: tuple[Any, ...]) -> Values:
        return rule(gy, *[change(v) if isinstance(v, numpy.ndarray) and v.dtype.kind == "f" else v for v in seen])

    return wrong


def _result(change: Callable[[Values], Values]) -> Change:
    """An error in what the rule gives."""
    return lambda rule, gy, seen: change(numpy.array(rule(gy, *seen), order="C"))


def _incoming(change: Callable[[Values], Values]) -> Change:
    """An error in what the rule takes for the incoming gradient."""
    return lambda rule, gy, seen: rule(numpy.asarray(change(numpy.array(gy, order="C")), dtype=gy.dtype), *seen)


def _one_index(g: Values) -> Values:
    if g.size:
        flat = g.reshape(-1)
        flat[g.size // 2] = 1.5 * flat[g.size // 2] + 1e-3
    return g


def _some(gy: Values) -> Values:
    gy[numpy.random.default_rng(gy.size).random(gy.shape) < 0.6] = 0
    return gy


def _transposed(g: Values) -> Values:
    square = g.ndim > 1 and g.shape[-1] == g.shape[-2]
    return numpy.swapaxes(g, -1, -2).copy() if square else g.reshape(-1)[::-1].reshape(g.shape).copy()


def _other_dtype(g: Values) -> Values:
    return g.astype("float32" if g.dtype == numpy.float64 else "float64")


def _changes_gy(rule: Callable[..., Values], gy: Values, seen: tuple[Any, ...]) -> Values:
    result = numpy.array(rule(gy, *seen))
    gy *= 2
    return result


def _changes_saved(rule: Callable[..., Values], gy: Values, seen: tuple[Any, ...]) -> Values:
    result = numpy.array(rule(gy, *seen))
    for value in seen:
        if isinstance(value, numpy.ndarray) and value.dtype.kind == "f" and value.flags.writeable:
            value *= 1.25
    return result


_noise = numpy.random.default_rng(0)

KINDS: dict[str, Change] = {
    "zeroed": _result(numpy.zeros_like),
    "negated": _result(numpy.negative),
    "factor 1/N dropped": _result(lambda g: g * max(g.size, 2)),
    "term dropped": _incoming(_some),
    "transposed": _result(_transposed),
    "stale saved value": _saved(lambda x: x * 1.01 + 0.01),
    "wrong dtype": _result(_other_dtype),
    "wrong shape": _result(lambda g: numpy.concatenate([g.reshape(-1), g.reshape(-1)])),
    "wrong at one index": _result(_one_index),
    "right for all-ones cotangents only": _incoming(lambda gy: numpy.full_like(gy, gy.mean() if gy.size else 0)),
    "off by 1e-4": _result(lambda g: g * (1 + 1e-4)),
    "not linear in gy": _incoming(lambda gy: gy * numpy.abs(gy)),
    "random": _result(lambda g: g * (1 + 1e-3 * _noise.standard_normal(g.shape))),
    "changes gy": _changes_gy,
    "changes what was saved": _changes_saved,
    "not finite": _result(lambda g: numpy.where(numpy.arange(g.size).reshape(g.shape) == 0, numpy.nan, g)),
}
"""Kinds of error in a rule. Two more concern the engine: see ENGINE_KINDS."""

ENGINE_KINDS = ("un-broadcast missing", "assigned instead of accumulated")


WHY_EQUIVALENT = {
    "right for all-ones cotangents only": "the result is one number, so its cotangent is its own mean",
    "stale saved value": "the rule sees no saved floating-point value, or is the same for all of them",
    "changes what was saved": "the rule sees no saved floating-point value that can be written to",
    "transposed": "the gradient is symmetric, as the matrix is",
    "un-broadcast missing": "no operand of this primitive is broadcast",
    "assigned instead of accumulated": "no element is taken twice",
}
"""Kinds that can leave a rule as right as it was, and why; a mutant of another kind has to be killed."""


@dataclass(frozen=True)
class Mutant:
    """One error in one rule; the verdict that killed it, if any; whether it changed anything."""

    primitive: str
    operand: str
    kind: str
    killed_by: str | None
    differs: bool

    @property
    def survived(self) -> bool:
        """Whether it was not found, though it gave wrong gradients or its kind should have."""
        return self.killed_by is None and (self.differs or self.kind not in WHY_EQUIVALENT)


def mutants(
    names: list[str] | None = None, seed: int = 0, kinds: Sequence[str] = (*KINDS, *ENGINE_KINDS)
) -> Iterator[Mutant]:
    """Every error of these kinds in every rule, tried; see `Mutant.survived`."""
    for primitive in chosen(names):
        for operand in primitive.rules:
            for kind in (kind for kind in kinds if kind in KINDS):
                with _mutated(primitive, operand, KINDS[kind]) as tally:
                    killer = _killer(primitive, seed)
                yield Mutant(primitive.name, operand, kind, killer, tally["differs"] or killer is not None)
        for kind, broken in zip(ENGINE_KINDS, (_first_only, None), strict=True):
            if primitive.rules and kind in kinds:
                with _broken_engine(primitive, broken) as tally:
                    killer = _killer(primitive, seed)
                yield Mutant(primitive.name, "*", kind, killer, tally["differs"] or killer is not None)


def _killer(primitive: Primitive, seed: int) -> str | None:
    """The verdict by which a case finds the error; the first that does ends the search."""
    for case in cases(primitive, seed):
        report = prove_case(case, seed=seed)
        if not report.proven:
            return str(report.verdict)
    return None


@contextmanager
def _mutated(primitive: Primitive, operand: str, change: Change) -> Iterator[dict[str, bool]]:
    """The primitive with an error in the rule of `operand`, which is right again afterwards."""
    right: Rule = primitive.rules[operand]
    tally = {"differs": False}

    def kernel(xp: Any, gy: Any, *seen: Any) -> Any:
        if isinstance(xp, Namespace):
            return right.kernel(xp, gy, *seen)
        kept = [v.copy() if hasattr(v, "strides") else v for v in (gy, *seen)]
        expected = backend.fetch(right.kernel(xp, *kept))
        wrong = xp.asarray(change(lambda g, *s: right.kernel(xp, g, *s), gy, seen))
        same = wrong.shape == expected.shape and numpy.array_equal(backend.fetch(wrong), expected, equal_nan=True)
        tally["differs"] |= not same
        return wrong

    primitive.set_rule(replace(right, body=kernel, asked=right.wants))
    try:
        with numpy.errstate(all="ignore"):
            yield tally
    finally:
        primitive.set_rule(right)


def _first_only(xp: Any, gx: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of the first copy of a broadcast operand, instead of the sum over all."""
    while len(gx.shape) > len(shape):
        gx = gx[0]
    return gx[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


@contextmanager
def _broken_engine(primitive: Primitive, unbroadcast: Callable[..., Any] | None) -> Iterator[dict[str, bool]]:
    """The engine with an error in what it does for this primitive's rules."""
    tally = {"differs": False}
    if unbroadcast is None:
        from ..engine.primitive import registry

        scatter = registry["scatter_add"]
        right = scatter.kernel

        def assigning(xp: Any, x: Any, *, index: Any, shape: Any) -> Any:
            y = xp.zeros(shape, dtype=x.dtype)
            y[index] = x
            tally["differs"] |= not numpy.array_equal(y, right(xp, x, index=index, shape=shape))
            return y

        scatter.kernel = assigning
        try:
            yield tally
        finally:
            scatter.kernel = right
        return
    method = type(primitive).unbroadcast

    def broken(xp: Any, gx: Any, shape: tuple[int, ...], rule: Rule) -> Any:
        if isinstance(xp, Namespace):
            return method(primitive, xp, gx, shape, rule)
        wrong = unbroadcast(xp, gx, shape)
        tally["differs"] |= not numpy.array_equal(wrong, method(primitive, xp, gx, shape, rule))
        return wrong

    primitive.unbroadcast = broken  # type: ignore[method-assign]
    try:
        yield tally
    finally:
        del primitive.unbroadcast


def main() -> None:
    """Print the kill rate, and every survivor by name."""
    found = list(mutants())
    survivors = [m for m in found if m.survived]
    killed = sum(m.killed_by is not None for m in found)
    for m in survivors:
        print(f"survived: {m.kind} in {m.primitive}, ∂/∂{m.operand}")
    print(f"{killed:,} of {killed + len(survivors):,} mutants killed, {len(KINDS) + len(ENGINE_KINDS)} kinds of error;")
    print(f"{len(found) - killed - len(survivors):,} more changed nothing:")
    for kind, why in WHY_EQUIVALENT.items():
        print(f"  {sum(m.kind == kind and not m.differs for m in found):4}  {kind}: {why}")


if __name__ == "__main__":
    main()
