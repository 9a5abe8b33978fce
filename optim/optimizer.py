"""Optimisers: an update equation with its hyper-parameters and its state."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy

from ..checks import number, whole
from ..engine import backend, blocks
from ..engine.absent import checked, checked_arguments, unknown_attribute
from ..engine.capturing import capturing
from ..engine.flat import Flat
from ..engine.tensor import Tensor, lifted
from ..errors import DataError, UsageError
from ..names import Names, taken_by
from .clip import scale_to_norm
from .declaration import Update, updates
from .host import CLEARED, Count, Numbers, parted, pieces
from .schedule import Schedule, make_schedule

AVERAGE = "average"
"""The state that holds the moving average of the parameters."""
RAW = "raw"
"""The state that holds the parameters themselves while their averages stand in their place, see `averaged`."""

MEAN, COUNTED = "accumulated", "counted"
"""The state that holds the mean of the gradients since the last update, and the sum of their weights."""

COMMON: Mapping[str, Any] = {
    "global_clipnorm": None, "use_ema": False, "ema_momentum": 0.99, "clipnorm": None, "clipvalue": None,
    "weight_decay": None, "undecayed": (), "gradient_accumulation_steps": None,
}  # fmt: skip
"""What every optimiser takes besides its hyper-parameters."""
TYPES = {
    "learning_rate": "float | Schedule", "global_clipnorm": "float | None", "use_ema": "bool", "ema_momentum": "float",
    "clipnorm": "float | None", "clipvalue": "float | None", "weight_decay": "float | None",
    "undecayed": "Sequence[str]", "gradient_accumulation_steps": "int | None",
}  # fmt: skip
CLIPS = ("global_clipnorm", "clipnorm", "clipvalue")
DECAY = "decay"
"""The number by which the parameters shrink before an update, where its equation does not say it."""


class Optimizer:
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

    update: Update
    undecayed: tuple[str, ...]
    declared: ClassVar[bool] = False
    flags: ClassVar[Mapping[str, tuple[bool, Update]]] = {}
    """By its flags, the value of each that chooses another update than the one by default, and that update."""
    signature: ClassVar[inspect.Signature]

    def __init__(self, *args: Any, **options: Any) -> None:
        given = self.signature.bind(self, *args, **options)
        given.apply_defaults()
        values = given.arguments
        self.schedule = make_schedule(values["learning_rate"])
        chosen = [name for name, (value, _) in self.flags.items() if bool(values[name]) is value]
        if len(chosen) > 1:
            raise UsageError(f"{type(self).__name__}: there is no variant that is both {' and '.join(chosen)}.")
        if chosen:
            self.update = self.flags[chosen[0]][1]
        for name in COMMON:
            if name not in self.update.defaults:
                setattr(self, name, values[name])
        if len(clips := [name for name in CLIPS if getattr(self, name) is not None]) > 1:
            raise UsageError(f"{type(self).__name__} clips in one way, not by {' and '.join(clips)}.")
        numbers = [name for name in self.update.defaults if name != "learning_rate"]
        self.hyperparameters = {name: self._checked(name, values[name]) for name in numbers}
        self.iterations = 0
        self.state: dict[str, backend.Array] = {}
        self.averaged = False
        self._flat: Flat | None = None
        self._scratch: backend.Array = None
        self._varying: dict[int, list[backend.Array]] = {}
        self._parts: dict[tuple[int, int, int], tuple[backend.Array, backend.Array]] = {}

    def __init_subclass__(cls, names: tuple[str, ...] = ()) -> None:
        super().__init_subclass__()
        cls.declared = False
        if "__init__" in vars(cls):
            checked(cls)
        for name in names or (cls.__name__.lower(),):
            OPTIMIZERS.add(name, cls, cls.__name__)

    @classmethod
    def variant(cls, text: str, **flag: bool) -> Callable[[Callable[..., None]], Update]:
        """Declare another equation with the same hyper-parameters, which the constructor's flag of that name chooses.

        A flag may be changed later if both keep the same state; else it is fixed after the first step.
        """
        ((name, value),) = flag.items()

        def declare(function: Callable[..., None]) -> Update:
            made = updates.add(function.__name__, Update(function.__name__, text, function))
            cls.flags = {**cls.flags, name: (value, made)}
            cls._sign()
            return made

        return declare

    @classmethod
    def _sign(cls) -> None:
        """Make the constructor's signature from the declaration."""
        flags = {name: not value for name, (value, _) in cls.flags.items()}
        taken = {**cls.update.defaults, **flags}
        taken |= {name: value for name, value in COMMON.items() if name not in taken}
        kind, types = inspect.Parameter.POSITIONAL_OR_KEYWORD, {**TYPES, **dict.fromkeys(flags, "bool")}
        if "weight_decay" in cls.update.defaults:
            types["weight_decay"] = "float"
        own = [
            inspect.Parameter(name, kind, default=default, annotation=types.get(name, "float"))
            for name, default in taken.items()
        ]

        def __init__(self: Optimizer, *args: Any, **options: Any) -> None:
            Optimizer.__init__(self, *args, **options)

        cls.signature = inspect.Signature([inspect.Parameter("self", kind), *own], return_annotation="None")
        __init__.__signature__ = cls.signature  # type: ignore[attr-defined]
        cls.__init__ = checked_arguments(__init__)  # type: ignore[method-assign]

    def _known(self) -> tuple[str, ...]:
        """What may be read and set, besides the methods."""
        return (*self.update.defaults, *self.flags, *COMMON, "iterations")

    def __getattr__(self, name: str) -> Any:
        """A hyper-parameter, or the flag."""
        known = vars(self).get("hyperparameters", {})
        if name in known:
            return known[name]
        if name in self.flags:
            value, made = self.flags[name]
            return value if self.update is made else not value
        raise unknown_attribute(type(self).__name__, name, self._known())

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a hyper-parameter, which is checked as in the constructor, or another attribute of those there are."""
        known, made = vars(self).get("hyperparameters", {}), "_parts" in vars(self)  # which is set last
        if name in known:
            known[name] = self._checked(name, value)
            return
        if made and name in self.flags:
            name, value = "update", self._chosen(name, bool(value))
        elif made and self.declared and name not in vars(self) and not hasattr(type(self), name):
            raise unknown_attribute(type(self).__name__, name, self._known())
        if name in COMMON:
            value = self._checked(name, value)
        if name == "gradient_accumulation_steps" and made:  # what was added up goes
            self.state = {slot: array for slot, array in self.state.items() if slot not in (MEAN, COUNTED)}
        super().__setattr__(name, make_schedule(value) if name == "schedule" else value)

    def _chosen(self, flag: str, value: bool) -> Update:
        """The update that the flag stands for; raises UsageError where there is a state, and it keeps another."""
        chooses, made = self.flags[flag]
        update = made if value is chooses else type(self).update if self.update is made else self.update
        if self.state and update.slots != self.update.slots:
            who = type(self).__name__
            raise UsageError(f"{who}.{flag} is fixed after the first step: make a new {who}.")
        return update

    def _checked(self, name: str, value: Any) -> Any:
        """A number in the limits of that name; raises UsageError for anything else."""
        if name == "use_ema":
            return bool(value)
        if name == "gradient_accumulation_steps":
            return None if value is None else whole(type(self).__name__, name, value)
        if name == "undecayed":
            return (value,) if isinstance(value, str) else tuple(value)
        if value is None and COMMON.get(name, 0) is None and name not in self.update.defaults:
            return None
        fraction = name.startswith(("beta", "rho", "momentum", "ema"))
        interval = "(0, ∞)" if name in CLIPS else "[0, ∞)"
        return number(type(self).__name__, name, value, "[0, 1)" if fraction else interval)

    def exclude_from_weight_decay(self, var_list: Sequence[Tensor] = (), var_names: Sequence[str] = ()) -> None:
        """Let no weight decay of these parameters, nor of those in whose names one of these texts is found."""
        self.undecayed = (*self.undecayed, *(str(x.name) for x in var_list or ()), *(var_names or ()))

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
    def learning_rate(self) -> float:
        """α of the next update. Setting it replaces the schedule by that number."""
        rate = self.schedule(self.updates)
        return rate if type(rate) is float else float(rate)

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self.schedule = make_schedule(value)

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

    def config(self) -> dict[str, Any]:
        """Name and hyper-parameters as plain values; `make_optimizer` reads them back."""
        taken = {name: getattr(self, name) for name in taken_by(type(self))}
        rate = {"learning_rate": self.schedule.config()} if "learning_rate" in taken else {}
        return {"name": type(self).__name__, **taken, **rate}


def _alike(a: backend.Array, b: backend.Array) -> bool:
    return a.dtype == b.dtype and backend.device_of(a) == backend.device_of(b)


def _same(parameters: Sequence[Tensor] | Flat, flat: Flat) -> bool:
    tensors = parameters.tensors if isinstance(parameters, Flat) else tuple(parameters)
    return len(tensors) == len(flat.tensors) and all(a is b for a, b in zip(tensors, flat.tensors, strict=True))


OPTIMIZERS: Names[type[Optimizer]] = Names("optimizer")
"""By the names that `compile` and the command take; also under those of their classes, as files name them."""


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
