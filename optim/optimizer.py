"""Optimisers: an update equation with its hyper-parameters and its state."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..engine import backend
from ..engine.absent import checked_arguments, unknown_attribute
from ..engine.flat import Flat
from ..engine.tensor import Tensor
from ..errors import DataError, UsageError, unknown_name
from . import update
from .clip import scale_to_norm
from .schedule import Schedule, make_schedule
from .update import Update

AVERAGE = "average"
"""The state that holds the moving average of the parameters."""

NUMBERS = ("global_clipnorm", "ema_momentum")
"""What is checked as the hyper-parameters are, and belongs to no update."""


class Optimizer:
    """What the optimisers have in common: the learning rate, clipping, the state, and the step.

    learning_rate: α, a number or a schedule. global_clipnorm: the norm over all gradients that they are scaled
    down to where they exceed it; None leaves them. use_ema: also keep an exponential moving average of the parameters,
    a ← μ a + (1 - μ) θ after each update, with μ = ema_momentum, beginning with the parameters as they are at first; it
    is `state["average"]` (Polyak & Juditsky 1992; Keras's arguments). `fit` validates with it, and ends with it.
    """

    def __init__(
        self,
        update: Update,
        learning_rate: float | Schedule,
        global_clipnorm: float | None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        **hyperparameters: float,
    ) -> None:
        self.update = update
        self.schedule = make_schedule(learning_rate)
        self.global_clipnorm = global_clipnorm
        self.use_ema, self.ema_momentum = bool(use_ema), ema_momentum
        self.hyperparameters = {name: self._checked(name, value) for name, value in hyperparameters.items()}
        self.iterations = 0
        self.state: dict[str, backend.Array] = {}
        self._flat: Flat | None = None
        self._scratch: backend.Array = None
        self._varying: dict[int, list[backend.Array]] = {}
        self._parts: dict[tuple[int, int, int], tuple[backend.Array, backend.Array]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.__init__ = checked_arguments(vars(cls)["__init__"])  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        """A hyper-parameter."""
        known = vars(self).get("hyperparameters", {})
        if name in known:
            return known[name]
        raise unknown_attribute(type(self).__name__, name, (*known, *NUMBERS, "learning_rate", "iterations"))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a hyper-parameter, which is checked as in the constructor, or another attribute of those there are."""
        known = vars(self).get("hyperparameters", {})
        if name in known:
            known[name] = self._checked(name, value)
            return
        made = "_parts" in vars(self)  # which is set last
        if made and type(self).__module__ == __name__ and name not in vars(self) and not hasattr(type(self), name):
            raise unknown_attribute(type(self).__name__, name, (*known, *NUMBERS, "learning_rate", "iterations"))
        if name in NUMBERS:
            value = self._checked(name, value)
        super().__setattr__(name, make_schedule(value) if name == "schedule" else value)

    def _checked(self, name: str, value: Any) -> Any:
        """A number in the limits of that name; raises UsageError for anything else."""
        if name == "global_clipnorm" and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float, numpy.integer, numpy.floating)):
            raise UsageError(f"{type(self).__name__}({name}={value!r}): it is a number.")
        fraction = name.startswith(("beta", "rho", "momentum", "ema"))
        if not 0 <= value < (1 if fraction else math.inf):
            limits = "[0, 1)" if fraction else "[0, ∞)"
            raise UsageError(f"{type(self).__name__}({name}={value!r}): it lies in {limits}.")
        if name == "global_clipnorm" and value == 0:
            raise UsageError(f"{type(self).__name__}({name}={value!r}): it is greater than 0.")
        return float(value)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has the state, and takes for its parameters those of its first step."""
        slots = {slot: Tensor(array) for slot, array in self.state.items()}
        return {**vars(self), "state": slots, "_flat": None, "_scratch": None, "_varying": {}, "_parts": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, state={slot: tensor._data for slot, tensor in state["state"].items()})

    def __copy__(self) -> Any:
        return copy.deepcopy(self)  # two optimisers that share a state would each spoil it for the other

    @property
    def slots(self) -> tuple[str, ...]:
        """What `state` holds, by name: what the update equation keeps, and the average, where there is one."""
        return (*self.update.slots, AVERAGE) if self.use_ema else self.update.slots

    @property
    def learning_rate(self) -> float:
        """α of the next update. Setting it replaces the schedule by that number."""
        return self.schedule(self.iterations)

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self.schedule = make_schedule(value)

    def step(self, parameters: Sequence[Tensor] | Flat) -> None:
        """Update the parameters in place by their `.grad`; where that is None, by a gradient of 0.

        Those with requires_grad = False are frozen: they and their state (moments, average) stay as they are, and no
        weight decays, until they require a gradient again. The first step lays the parameters into one flat buffer;
        later steps take the same ones. Raises UsageError where they are others.
        """
        if self._flat is None:
            self._flat = parameters if isinstance(parameters, Flat) else Flat(parameters)
        elif parameters is not self._flat and not _same(parameters, self._flat):
            raise UsageError(
                f"this {type(self).__name__} keeps the state of other parameters: make one optimiser for each set."
            )
        flat = self._flat
        gradient, runs = flat.collect(), flat.runs()
        if runs:
            self.apply(flat.data, gradient, runs)
            flat.changed()

    def zero_grad(self, parameters: Sequence[Tensor]) -> None:
        """Set `.grad` of each parameter to None, so that the next backward starts afresh."""
        trace = backend.under_way() if backend.traces else None
        for x in parameters:
            if trace:
                trace.lift(x)
            x.grad = None

    def apply(self, theta: backend.Array, gradient: backend.Array, runs: tuple[slice, ...] = ()) -> None:
        """One update of the flat buffer theta, in place. The gradient may be overwritten, by clipping.

        runs: the parts of the buffer that are updated; by default all of it.
        """
        with backend.working(backend.device_of(theta), "an update"):
            self._apply(theta, gradient, runs or (slice(0, theta.size),))

    def _apply(self, theta: backend.Array, gradient: backend.Array, runs: tuple[slice, ...]) -> None:
        self.prepare(theta)
        xp = backend.namespace_of(theta)
        if self.global_clipnorm is not None:
            scale_to_norm(xp, gradient, self.global_clipnorm)
        trace = backend.under_way() if backend.traces else None
        numbers = self._traced_numbers(trace, theta) if trace else self._next_numbers()
        for run in runs:
            part, g, *slots = (self._part(x, run) for x in (theta, gradient, *map(self.state.get, self.update.slots)))
            scratch = xp.empty_like(part) if trace else self._part(self._scratch, run)
            self.update.change(xp, part, g, scratch, *slots, **numbers)
            if self.use_ema:
                average = self._part(self.state[AVERAGE], run)
                xp.subtract(part, average, out=scratch)
                xp.multiply(scratch, 1 - self.ema_momentum, out=scratch)
                xp.add(average, scratch, out=average)

    def _part(self, array: backend.Array, run: slice) -> backend.Array:
        """A part of an array of the flat buffer's size: itself, or a view, the same one each time, as replays need."""
        if run.stop - run.start == array.size:
            return array
        kept = self._parts.get((id(array), run.start, run.stop))
        if kept is None or kept[0] is not array:
            kept = self._parts[id(array), run.start, run.stop] = (array, array[run])
        return kept[1]

    def _next_numbers(self) -> dict[str, Any]:
        """What the kernel takes for the next update, which is counted hereby."""
        values = {**self.hyperparameters, "learning_rate": self.learning_rate, "t": self.iterations + 1}
        vars(self)["iterations"] += 1  # in each replay: spares it __setattr__
        return self.update.numbers(values)

    def _traced_numbers(self, trace: Any, theta: backend.Array) -> dict[str, Any]:
        """The same while a step is captured: what changes is in arrays, which each replay writes anew."""
        varying = self.update.varying
        turn = trace.turn(self)
        if turn not in self._varying or not _alike(self._varying[turn][0], theta):
            xp = backend.library_of(theta)
            self._varying[turn] = [xp.zeros((), theta.dtype) for _ in varying]
        numbers = Numbers(self, self._varying[turn])
        traced = trace.refresh(numbers, numbers.arrays)
        kept, flat, clip = list(self.state.items()), self._flat, self.global_clipnorm
        update, hyperparameters, averaging = self.update, dict(self.hyperparameters), (self.use_ema, self.ema_momentum)
        trace.guards.append(
            lambda: (
                self._flat is flat
                and all([self.state.get(slot) is array for slot, array in kept])
                and (self.global_clipnorm, self.update, self.hyperparameters) == (clip, update, hyperparameters)
                and (self.use_ema, self.ema_momentum) == averaging
            )
        )
        return {**numbers.latest, **dict(zip(varying, traced, strict=True))}

    def prepare(self, theta: backend.Array) -> None:
        """Make the state for theta where there is none yet; raises DataError where it is for another size."""
        xp = backend.library_of(theta)
        for slot in self.slots:
            if slot not in self.state:
                self.state[slot] = theta.copy() if slot == AVERAGE else xp.zeros_like(theta)
            elif self.state[slot].shape != theta.shape:
                raise DataError(
                    f"the optimiser's state {slot!r} is for {self.state[slot].size} parameters, not {theta.size}."
                )
        if self._scratch is None or self._scratch.shape != theta.shape:
            self._scratch = xp.empty_like(theta)

    def config(self) -> dict[str, Any]:
        """Name and hyper-parameters as plain values; `make_optimizer` reads them back."""
        return {
            "name": type(self).__name__,
            "learning_rate": self.schedule.config(),
            "global_clipnorm": self.global_clipnorm,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            **self.hyperparameters,
        }


class Numbers:
    """What the host computes for each update of a captured step; called, it writes that into `arrays`."""

    def __init__(self, optimizer: Optimizer, arrays: Sequence[backend.Array]) -> None:
        self.optimizer, self.arrays = optimizer, arrays
        self.latest: dict[str, Any] = {}

    def __call__(self) -> None:
        self.latest.update(self.optimizer._next_numbers())
        for name, array in zip(self.optimizer.update.varying, self.arrays, strict=True):
            array[...] = self.latest[name]

    def values(self) -> list[float]:
        """The numbers of the next update, instead of writing them: for a device that is handed many at once."""
        self.latest.update(self.optimizer._next_numbers())
        return [self.latest[name] for name in self.optimizer.update.varying]


def _alike(a: backend.Array, b: backend.Array) -> bool:
    return a.dtype == b.dtype and backend.device_of(a) == backend.device_of(b)


class GradientDescent(Optimizer):
    """θ ← θ - α ∇J(θ) (D3)."""

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(update.gradient_descent, learning_rate, global_clipnorm, use_ema, ema_momentum)


class Momentum(Optimizer):
    """v ← μ v - α ∇J, θ ← θ + v; with nesterov=True, θ ← θ + μ v - α ∇J (Sutskever et al. 2013)."""

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.9,
        nesterov: bool = False,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        chosen = update.nesterov if nesterov else update.momentum
        super().__init__(chosen, learning_rate, global_clipnorm, use_ema, ema_momentum, momentum=momentum)

    @property
    def nesterov(self) -> bool:
        """Whether the update looks ahead; may be set at any time."""
        return self.update is update.nesterov

    @nesterov.setter
    def nesterov(self, value: bool) -> None:
        self.update = update.nesterov if value else update.momentum

    def config(self) -> dict[str, Any]:
        return {**super().config(), "nesterov": self.nesterov}


class RMSprop(Optimizer):
    """v ← ρ v + (1 - ρ) ∇J², θ ← θ - α ∇J / √(v + ε) (Tieleman & Hinton 2012)."""

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        super().__init__(
            update.rmsprop, learning_rate, global_clipnorm, use_ema, ema_momentum, rho=rho, epsilon=epsilon
        )


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, Algorithm 1). bias_correction=False is D4-D6 to the letter: without the correction."""

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        bias_correction: bool = True,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        chosen = update.adam if bias_correction else update.adam_documented
        super().__init__(
            chosen, learning_rate, global_clipnorm, use_ema, ema_momentum, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon
        )

    @property
    def bias_correction(self) -> bool:
        """Whether the moments are corrected; may be set before the first step: the two keep another state."""
        return self.update is update.adam

    @bias_correction.setter
    def bias_correction(self, value: bool) -> None:
        if self.state and bool(value) != self.bias_correction:
            raise UsageError("Adam.bias_correction is fixed after the first step: make a new Adam.")
        self.update = update.adam if value else update.adam_documented

    def config(self) -> dict[str, Any]:
        return {**super().config(), "bias_correction": self.bias_correction}


class AdamW(Optimizer):
    """Adam with decoupled weight decay: θ shrinks by α λ θ besides (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
    ) -> None:
        options = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(update.adamw, learning_rate, global_clipnorm, use_ema, ema_momentum, **options)


OPTIMIZERS: Mapping[str, type[Optimizer]] = {
    "gradient_descent": GradientDescent,
    "sgd": GradientDescent,
    "momentum": Momentum,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
"""Optimisers by the names that `compile` and the command take."""


def _same(parameters: Sequence[Tensor] | Flat, flat: Flat) -> bool:
    tensors = parameters.tensors if isinstance(parameters, Flat) else tuple(parameters)
    return len(tensors) == len(flat.tensors) and all(a is b for a, b in zip(tensors, flat.tensors, strict=True))


def make_optimizer(value: str | Optimizer | dict[str, Any]) -> Optimizer:
    """An optimiser of its name, of itself, or of its `config()`. Raises UsageError for a name that is none."""
    if isinstance(value, Optimizer):
        return value
    if isinstance(value, dict):
        options = dict(value)
        kinds = {kind.__name__: kind for kind in OPTIMIZERS.values()}
        name = options.pop("name", None)
        if name not in kinds:
            raise unknown_name("optimizer", name, kinds)
        return kinds[name](**options)
    if not isinstance(value, str) or value.lower() not in OPTIMIZERS:
        raise unknown_name("optimizer", value, OPTIMIZERS)
    made: Any = OPTIMIZERS[value.lower()]  # each has defaults of its own
    return made()  # type: ignore[no-any-return]
