"""Optimisers: an update equation with its hyper-parameters and its state."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..checks import number
from ..engine import backend, blocks
from ..engine.capturing import capturing
from ..engine.flat import Flat
from ..engine.tensor import Tensor, lifted
from ..errors import DataError, UsageError
from .clip import scale_to_norm
from .declaration import Update, updates
from .host import CLEARED, Count, Numbers, parted, pieces
from .hyperparameters import CLIPS, COUNTED, MEAN, OPTIMIZERS, Hyperparameters

AVERAGE = "average"
"""The state that holds the moving average of the parameters."""
RAW = "raw"
"""The state that holds the parameters themselves while their averages stand in their place, see `averaged`."""

DECAY = "decay"
"""The number by which the parameters shrink before an update, where its equation does not say it."""


class Optimizer(Hyperparameters, abstract=True):
    """What the optimisers have in common: the learning rate, clipping, the state, and the step. `declare` makes one.

    learning_rate: α, a number or a schedule. global_clipnorm: the norm over all gradients that they are scaled
    down to where they exceed it; None leaves them. use_ema: also keep an exponential moving average of the parameters,
    a ← μ a + (1 - μ) θ after each update, with μ = ema_momentum, beginning with the parameters as they are at first; it
    is `state["average"]` (Polyak & Juditsky 1992; Keras's arguments). `fit` validates with it, and ends with it; the
    parameters themselves are then `state["raw"]`, from which the next `fit` goes on, and `averaged` is True.
    clipnorm: the same as global_clipnorm, for each parameter by itself; clipvalue: each element of the gradient in
    ±clipvalue. weight_decay: λ by which parameters shrink before each update, θ ← θ - α λ θ (Loshchilov & Hutter 2019),
    but for those in whose names one of `undecayed` is found. gradient_accumulation_steps: k steps make one update, by
    the mean of their gradients, each of which counts as the `weight` that its step is given; clipping comes after the
    mean, and a mean that is not full at the end of an epoch or of `fit` goes on with the next. `iterations` are the
    steps, and α and t those of the updates (Keras's arguments).
    """

    def _begin(self) -> None:
        self.iterations = 0
        self.state: dict[str, backend.Array] = {}
        self.averaged = False
        self._flat: Flat | None = None
        self._scratch: backend.Array = None
        self._varying: dict[int, list[backend.Array]] = {}
        self._parts: dict[tuple[int, int, int], tuple[backend.Array, backend.Array]] = {}

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
    def kept(self) -> tuple[str, ...]:
        """What of `state` a file may hold."""
        return (*self.slots, RAW, *((MEAN, COUNTED) if self.accumulates else ()))

    @property
    def updates(self) -> int:
        """How many updates were made: as many as steps, or one for each `gradient_accumulation_steps` of them."""
        return self.iterations // (self.gradient_accumulation_steps or 1)

    @property
    def accumulates(self) -> bool:
        """Whether several steps make one update."""
        return (self.gradient_accumulation_steps or 1) > 1

    @property
    def is_due(self) -> bool:
        """Whether the next step makes an update, rather than add its gradient to a mean. A captured step that calls an
        optimizer with `gradient_accumulation_steps` takes this as an argument, so that each kind is recorded once.
        """
        return (self.iterations + 1) % (self.gradient_accumulation_steps or 1) == 0

    def step(
        self,
        parameters: Sequence[Tensor] | Flat,
        reduce: Callable[[backend.Array], None] | None = None,
        weight: Tensor | float = 1.0,
    ) -> None:
        """Update the parameters in place by their `.grad`; where that is None, by a gradient of 0.

        Those with requires_grad = False are frozen: they and their state (moments, average) stay as they are, and no
        weight decays, until they require a gradient again. The first step lays the parameters into one flat buffer;
        later steps take the same ones. reduce: makes the gradient that of all ranks first, in its buffer. weight: how
        much this gradient counts in a mean over `gradient_accumulation_steps`: the number of samples that the loss is
        a mean of, say.
        Raises UsageError where the parameters are others.
        """
        flat = self.flat_of(parameters)
        apart = {} if reduce or self._needs_buffer else flat.apart([*self.state.values()])
        gradient, runs = flat.collect(apart), flat.runs()
        if runs and reduce:
            reduce(gradient)
        if runs and self._is_whole(gradient, weight):
            self.apply(flat.data, gradient, runs, apart)
            flat.changed()

    @property
    def _needs_buffer(self) -> bool:
        """Whether an update changes the gradient, or looks at all of it."""
        clips = any(getattr(self, name) is not None for name in CLIPS)
        return clips or self.accumulates or not self.update.equation.elementwise

    def flat_of(self, parameters: Sequence[Tensor] | Flat) -> Flat:
        """The flat buffer in which a step has these parameters. Raises UsageError where it has others."""
        if self._flat is None:
            self._flat = parameters if isinstance(parameters, Flat) else Flat(parameters)
        elif parameters is not self._flat and not _same(parameters, self._flat):
            raise UsageError(
                f"this {type(self).__name__} keeps the state of other parameters: make one optimiser for each set."
            )
        return self._flat

    def _is_whole(self, gradient: backend.Array, weight: Any) -> bool:
        """Whether an update is due: by the gradient itself, or by the mean of several, which then is in its place.

        a ← a + (g - a) w / Σ w: so the mean of many has no larger numbers than they have.
        """
        if not self.accumulates:
            return True
        with backend.working(backend.device_of(gradient), "the mean of gradients"):
            self.prepare(gradient)
            xp, due = backend.namespace_of(gradient), self.is_due
            mean, counted = self.state[MEAN], self.state[COUNTED]
            if isinstance(weight, Tensor):
                weight = weight.detach()._data
            else:
                weight = number(type(self).__name__, "weight", weight, "(0, ∞)")
            if trace := capturing():
                settings = self._settings()
                trace.guards.append(
                    lambda: self.is_due is due and self._settings() == settings and self.state.get(MEAN) is mean
                )
                if not due:
                    trace.refresh(Count(self), self._varying.setdefault(-1, [backend.plain(counted).copy()]))
            elif not due:
                Count(self)()
            xp.add(counted, weight, out=counted)
            xp.subtract(gradient, mean, out=gradient)
            xp.multiply(gradient, xp.divide(weight, counted), out=gradient)
            xp.add(gradient, mean, out=gradient if due else mean)
            for array in (mean, counted) if due else ():
                backend.set_items(array, ..., 0)
        return due

    def zero_grad(self, parameters: Sequence[Tensor]) -> None:
        """Set `.grad` of each parameter to None, so that the next backward starts afresh."""
        for x in parameters:
            lifted(x)
            x.grad = None

    def apply(
        self, theta: backend.Array, gradient: backend.Array, runs: tuple[slice, ...] = (),
        apart: Mapping[int, backend.Array] = {},
    ) -> None:  # fmt: skip
        """One update of the flat buffer theta, in place. The gradient may be overwritten, by clipping.

        runs: the parts of the buffer that are updated; by default all of it. apart: the gradients that lie elsewhere,
        by the place where they would begin.
        """
        with backend.working(backend.device_of(theta), "an update"):
            self._apply(theta, gradient, runs or (slice(0, theta.size),), apart)

    def _apply(
        self, theta: backend.Array, gradient: backend.Array, runs: tuple[slice, ...], apart: Mapping[int, backend.Array]
    ) -> None:
        self.prepare(theta)
        xp = backend.namespace_of(theta)
        if self.global_clipnorm is not None:
            scale_to_norm(xp, gradient, self.global_clipnorm)
        elif self.clipnorm is not None:
            for part in self._own_parts(gradient):
                scale_to_norm(xp, part, self.clipnorm)
        elif self.clipvalue is not None:
            xp.clip(gradient, -self.clipvalue, self.clipvalue, out=gradient)
        trace = capturing()
        if not trace and self.clears:
            self.clear()
        numbers = self._traced_numbers(trace, theta) if trace else self._next_numbers()
        slots, shrink = [*map(self.state.get, self.slots)], numbers.pop(DECAY, None)
        blockwise = self.update.equation.elementwise and backend.library_of(theta) is numpy
        if shrink is not None:
            for run in self._decayed(runs, theta.size):
                part = self._part(theta, run)
                xp.multiply(part, shrink, out=part)
        each = parted(runs, apart)
        for run in pieces(each) if trace and blockwise else each:
            whole = [self._part(theta, run), self._gradient(gradient, run, apart), *(self._part(x, run) for x in slots)]
            cut = blockwise and run.stop - run.start > 2 * blocks.BLOCK and not trace
            scratch = xp.empty_like(whole[0]) if trace else self._room(whole[0], blocks.BLOCK if cut else 0)
            for part, g, *kept in blocks.in_blocks(xp, *whole) if cut else (whole,):
                buffer = scratch[: part.size] if cut else scratch
                average = kept.pop() if self.use_ema else None
                self.update.change(xp, part, g, buffer, *kept, **numbers)
                if average is not None:
                    xp.subtract(part, average, out=buffer)
                    xp.multiply(buffer, 1 - self.ema_momentum, out=buffer)
                    xp.add(average, buffer, out=average)

    @property
    def clears(self) -> bool:
        """Whether the next update begins with `clear`."""
        return (self.iterations + 1) % CLEARED == 0

    def clear(self) -> None:
        """Make 0 of the state's subnormal numbers, |x| < 1.2e-38 in float32, as each 16th update does first.

        What has no gradient any more decays into them and stays there, since 0.9 of the least rounds to itself; many
        processors are many times slower on them. Those of float16 are left: there such numbers are common, and count.
        """
        for array in self.state.values():
            if isinstance(array, numpy.ndarray) and array.itemsize > 2:
                least = numpy.finfo(array.dtype).smallest_normal
                for (part,) in blocks.in_blocks(numpy, array):
                    scratch = self._room(part)
                    numpy.abs(part, out=scratch)
                    numpy.greater_equal(scratch, least, out=scratch)
                    numpy.multiply(part, scratch, out=part)

    def _part(self, array: backend.Array, run: slice) -> backend.Array:
        """A part of an array of the flat buffer's size: itself, or a view, the same one each time, as replays need."""
        if run.stop - run.start == array.size:
            return array
        kept = self._parts.get((id(array), run.start, run.stop))
        if kept is None or kept[0] is not array:
            kept = self._parts[id(array), run.start, run.stop] = (array, array[run])
        return kept[1]

    def _gradient(self, whole: backend.Array, run: slice, apart: Mapping[int, backend.Array]) -> backend.Array:
        """The gradient of a run: a part of the whole, or of one that lies apart."""
        for place, own in apart.items():
            if place <= run.start < place + own.size:
                return own if run.stop - run.start == own.size else own[run.start - place : run.stop - place]
        return self._part(whole, run)

    def _next_numbers(self) -> dict[str, Any]:
        """What the kernel takes for the next update, which is counted hereby."""
        rate = self.schedule(done := self.updates)
        rate = rate if type(rate) is float else float(rate)
        values = {**self.hyperparameters, "learning_rate": rate, "t": done + 1}
        vars(self)["iterations"] += 1  # in each replay: spares it __setattr__
        if not self._decays_apart:
            return self.update.numbers(values)
        decay = self.weight_decay or 0.0
        if "weight_decay" in values:
            values["weight_decay"] = 0.0
        return {**self.update.numbers(values), DECAY: 1 - values["learning_rate"] * decay}

    @property
    def _decays_apart(self) -> bool:
        """Whether weights decay before the update, rather than by its equation."""
        if "weight_decay" in self.hyperparameters:
            return bool(self.undecayed)
        return self.weight_decay is not None

    def _settings(self) -> tuple[Any, ...]:
        """What a recorded step takes for fixed."""
        decay = vars(self).get("weight_decay")
        clips = self.global_clipnorm, self.clipnorm, self.clipvalue
        averages = self.use_ema, self.ema_momentum, self.gradient_accumulation_steps
        return (*clips, decay, self.undecayed, *averages)

    @property
    def varying(self) -> tuple[str, ...]:
        """The numbers that change from one update to the next."""
        return (*self.update.varying, DECAY) if self._decays_apart else self.update.varying

    def _own_parts(self, array: backend.Array) -> list[backend.Array]:
        """The part of each parameter in an array of the flat buffer's size."""
        return [self._part(array, place) for _, place in self._places(array.size)]

    def _places(self, size: int) -> list[tuple[str, slice]]:
        """Of each parameter its name and its place; of one alone where they are not known."""
        found, start = [], 0
        for x in self._flat.tensors if self._flat else ():
            found.append((x.name or "", slice(start, start + x.size)))
            start += x.size
        return found if start == size else [("", slice(0, size))]

    def _decayed(self, runs: tuple[slice, ...], whole: int) -> list[slice]:
        """The parts of these runs in which weights decay."""
        if not self.undecayed:
            return [*runs]
        size, kept = runs[-1].stop, [*runs]
        places = self._places(whole)
        inside = [p for name, p in places if not any(re.search(each, name) for each in self.undecayed)]
        return [p for p in inside if p.stop <= size and any(r.start <= p.start and p.stop <= r.stop for r in kept)]

    def _traced_numbers(self, trace: Any, theta: backend.Array) -> dict[str, Any]:
        """The same while a step is captured: what changes is in arrays, which each replay writes anew."""
        varying = self.varying
        turn = trace.turn(self)
        if turn not in self._varying or not _alike(self._varying[turn][0], theta):
            xp = backend.library_of(theta)
            self._varying[turn] = [xp.zeros((), theta.dtype) for _ in varying]
        numbers = Numbers(self, self._varying[turn])
        traced = trace.refresh(numbers, numbers.arrays)
        kept, flat = list(self.state.items()), self._flat
        update, hyperparameters = self.update, dict(self.hyperparameters)
        settings = self._settings()
        trace.guards.append(
            lambda: (
                self._flat is flat
                and all([self.state.get(slot) is array for slot, array in kept])
                and (self.update, self.hyperparameters) == (update, hyperparameters)
                and self._settings() == settings
            )
        )
        return {**numbers.latest, **dict(zip(varying, traced, strict=True))}

    def prepare(self, theta: backend.Array) -> None:
        """Make the state for theta where there is none yet; raises DataError where it is for another size."""
        xp = backend.library_of(theta)
        for slot in self.slots:
            if slot not in self.state:
                self.state[slot] = theta.copy() if slot == AVERAGE else xp.zeros_like(theta)
        if self.accumulates and MEAN not in self.state:
            self.state |= {MEAN: xp.zeros_like(theta), COUNTED: xp.zeros(1, theta.dtype)}
        for slot, array in self.state.items():
            if array.shape != (theta.shape if slot != COUNTED else (1,)):
                raise DataError(f"the optimiser's state {slot!r} is for {array.size} parameters, not {theta.size}.")

    def _room(self, like: backend.Array, size: int = 0) -> backend.Array:
        """Room for so many numbers, by default as many as `like` has, of its dtype, on its device."""
        size, held = size or like.size, self._scratch
        if held is None or held.size < size or not _alike(held, like):
            held = self._scratch = backend.library_of(like).empty(size, like.dtype)
        return held if held.size == size else held[:size]


def _alike(a: backend.Array, b: backend.Array) -> bool:
    return a.dtype == b.dtype and backend.device_of(a) == backend.device_of(b)


def _same(parameters: Sequence[Tensor] | Flat, flat: Flat) -> bool:
    tensors = parameters.tensors if isinstance(parameters, Flat) else tuple(parameters)
    return len(tensors) == len(flat.tensors) and all(a is b for a, b in zip(tensors, flat.tensors, strict=True))


def declare(
    text: str, *, names: tuple[str, ...] = (), folds: Callable[..., Mapping[str, float]] | None = None
) -> Callable[[Callable[..., None]], type[Optimizer]]:
    """Declare an optimiser: the decorated function becomes its class, with the function's name and docstring.

        @declare("m = beta * m + (1 - beta) * g; theta = theta - learning_rate * sign(m)")
        def SignedMomentum(*, learning_rate=0.001, beta=0.9):
            \"\"\"Momentum of which each step takes the sign (Bernstein et al. 2018).\"\"\"

    text: the update's equation. The function's keyword parameters are the hyper-parameters with their defaults; beta…,
    rho… and momentum… lie in [0, 1), others are 0 or more. Where it has a body, that is the fused kernel, see `Update`.
    names: by which `compile` knows it; by default the function's name in lower case. folds: see `Update`.
    Raises EquationError for a text that cannot be read, or that is no update.
    """

    def made_of(function: Callable[..., None]) -> type[Optimizer]:
        chosen = names or (function.__name__.lower(),)
        made = Update(chosen[0], text, function, folds)
        places = {"__module__": function.__module__, "__qualname__": function.__qualname__, "__doc__": function.__doc__}
        kind: type[Optimizer] = type(function.__name__, (Optimizer,), places, names=chosen)
        kind.update, kind.declared = made, True
        kind._sign()
        updates.add(made.name, made)
        return kind

    return made_of


def make_optimizer(value: str | Optimizer | Mapping[str, Any]) -> Optimizer:
    """An optimiser of its name, of itself, or of its `config()`. Raises UsageError for a name that is none."""
    if isinstance(value, Optimizer):
        return value
    made: Optimizer = OPTIMIZERS.made(value if isinstance(value, dict) else {"name": value}, "name")
    return made
