"""The gradient checkers that are compared: each wraps a NumPy function and its rule in its framework's own way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import import_module
from typing import Any

import numpy

from .gradient_cases import Case, Kind, Values


class Outcome(StrEnum):
    """What a checker's answer means for its user."""

    RIGHT = "right"
    CAUGHT = "caught"
    MISSED = "missed"
    FALSE_ALARM = "false alarm"
    NO_ANSWER = "no answer"


GOOD = (Outcome.RIGHT, Outcome.CAUGHT)


@dataclass(frozen=True)
class Answer:
    """alarm: whether the user is told that the gradient is wrong; None where the checker says nothing either way."""

    alarm: bool | None
    note: str = ""


@dataclass(frozen=True)
class Checker:
    """A contestant. setting: how it is called. check: raises or returns an answer. single: whether it takes float32."""

    name: str
    package: str
    setting: str
    check: Callable[[Case, tuple[Values, ...]], Answer | None]
    single: bool = True


def _gradients(case: Case, gy: Values, xs: Sequence[Values]) -> tuple[Any, ...]:
    given = case.vjp(gy, *xs)
    return given if isinstance(given, tuple) else (given,)


def _check_with_ours(case: Case, inputs: tuple[Values, ...]) -> Answer:
    proof = import_module("..proof.gradients", __package__)
    report = proof.gradcheck(case.f, *inputs, vjp=case.vjp, name=case.name)
    if report.verdict in ("precision-limited", "undecided"):
        return Answer(None, f"{report.verdict}: {report.detail}")
    return Answer(
        report.verdict not in ("proven", "kink"), "" if report.proven else f"{report.verdict}: {report.detail}"
    )


def _check_with_torch(case: Case, inputs: tuple[Values, ...], fast: bool = False) -> None:
    torch: Any = import_module("torch")
    once = import_module("torch.autograd.function").once_differentiable

    def forward(ctx: Any, *tensors: Any) -> Any:
        ctx.save_for_backward(*tensors)
        return torch.from_numpy(numpy.array(case.f(*(t.detach().numpy() for t in tensors))))

    def backward(ctx: Any, gy: Any) -> Any:
        given = _gradients(case, gy.numpy(), [t.detach().numpy() for t in ctx.saved_tensors])
        return tuple(None if g is None else torch.from_numpy(numpy.array(g)) for g in given)

    rules = {"forward": staticmethod(forward), "backward": staticmethod(once(backward))}
    wrapped: Any = type("Wrapped", (torch.autograd.Function,), rules)
    torch.manual_seed(0)
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    torch.autograd.gradcheck(wrapped.apply, tensors, fast_mode=fast)


def _check_with_jax(case: Case, inputs: tuple[Values, ...]) -> None:
    jax: Any = import_module("jax")
    jax.config.update("jax_enable_x64", True)

    def kind(x: Any) -> Any:
        return jax.ShapeDtypeStruct(numpy.shape(x), numpy.asarray(x).dtype)

    y = numpy.asarray(case.f(*(x.copy() for x in inputs)))
    probe = _gradients(case, numpy.ones_like(y), [x.copy() for x in inputs])
    given = [i for i, g in enumerate(probe) if g is not None]

    def values(*xs: Any) -> Values:
        return numpy.asarray(case.f(*map(numpy.asarray, xs)))

    def rule(gy: Any, *xs: Any) -> tuple[Values, ...]:
        gradients = _gradients(case, numpy.asarray(gy), [numpy.asarray(x) for x in xs])
        return tuple(numpy.asarray(gradients[i]) for i in given)

    @jax.custom_vjp  # type: ignore[untyped-decorator,unused-ignore]
    def wrapped(*xs: Any) -> Any:
        return jax.pure_callback(values, kind(y), *xs)

    def backward(xs: Any, gy: Any) -> tuple[Any, ...]:
        gradients = jax.pure_callback(rule, tuple(kind(probe[i]) for i in given), gy, *xs)
        return tuple(gradients[given.index(i)] if i in given else None for i in range(len(xs)))

    wrapped.defvjp(lambda *xs: (wrapped(*xs), xs), backward)
    import_module("jax.test_util").check_grads(wrapped, tuple(map(jax.numpy.array, inputs)), order=1, modes=["rev"])


def _check_with_autograd(case: Case, inputs: tuple[Values, ...]) -> None:
    extend: Any = import_module("autograd.extend")
    wrapped = extend.primitive(lambda *xs: numpy.asarray(case.f(*xs)))

    def rule(i: int) -> Any:
        def given(g: Values, xs: tuple[Values, ...]) -> Any:
            gradient = _gradients(case, g, xs)[i]
            return numpy.zeros_like(xs[i]) if gradient is None else gradient

        return lambda y, *xs: lambda g: given(g, xs)

    extend.defvjp(wrapped, *(rule(i) for i in range(len(inputs))))
    numpy.random.seed(0)  # of the generator that autograd draws from
    places = tuple(range(len(inputs)))
    check = import_module("autograd.test_util").check_grads
    check(wrapped, places if len(places) > 1 else 0, modes=["rev"], order=1)(*inputs)


OURS = "chalkgrad"
CHECKERS = (
    Checker(OURS, "numpy", "`gradcheck(f, *inputs, vjp=vjp)`", _check_with_ours),
    Checker("PyTorch", "torch", "`torch.autograd.gradcheck`, the whole Jacobian (its default)", _check_with_torch,
            single=False),
    Checker("PyTorch, fast", "torch", "`torch.autograd.gradcheck(…, fast_mode=True)`",
            partial(_check_with_torch, fast=True), single=False),
    Checker("JAX", "jax", "`jax.test_util.check_grads(…, order=1, modes=[\"rev\"])`", _check_with_jax),
    Checker("autograd", "autograd", "`autograd.test_util.check_grads(…, modes=[\"rev\"], order=1)`",
            _check_with_autograd, single=False),
)  # fmt: skip


def judge(kind: Kind, answer: Answer) -> Outcome:
    """What the answer means, given what the case is."""
    if answer.alarm is None:
        return Outcome.NO_ANSWER
    if kind is Kind.WRONG:
        return Outcome.CAUGHT if answer.alarm else Outcome.MISSED
    return Outcome.FALSE_ALARM if answer.alarm else Outcome.RIGHT


def ask(checker: Checker, case: Case, seed: int = 0) -> tuple[Answer, float]:
    """The checker's answer for the case, and the seconds it took. An exception is an alarm, lack of memory is none."""
    inputs = case.inputs(seed)
    if not checker.single:
        inputs = tuple(x.astype("float64") for x in inputs)
    started = time.perf_counter()
    try:
        with warnings.catch_warnings(), numpy.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = checker.check(case, inputs) or Answer(False)
    except Exception as error:
        answer = _from_error(error)
    return answer, time.perf_counter() - started


def _from_error(error: Exception) -> Answer:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return Answer(None, "out of memory")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Answer(True, lines[0][:160] if lines else type(error).__name__)
