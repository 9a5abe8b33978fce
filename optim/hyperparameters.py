"""What an optimiser is told: its hyper-parameters, checked, by one signature that comes from the declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ..checks import number, whole
from ..engine import backend
from ..engine.absent import checked, checked_arguments, unknown_attribute
from ..engine.tensor import Tensor
from ..errors import UsageError
from ..names import Names, taken_by
from .declaration import Update, updates
from .schedule import Schedule, make_schedule

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


class Hyperparameters:
    """The arguments of an optimiser, which may be set at any time, and what they choose. `Optimizer` tells of each."""

    update: Update
    undecayed: tuple[str, ...]
    state: dict[str, backend.Array]
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
        self._begin()

    def _begin(self) -> None:
        """Make what an optimiser keeps besides; `_parts` last."""
        raise NotImplementedError

    def __init_subclass__(cls, names: tuple[str, ...] = (), abstract: bool = False) -> None:
        super().__init_subclass__()
        if abstract:
            return
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

        def __init__(self: Hyperparameters, *args: Any, **options: Any) -> None:
            Hyperparameters.__init__(self, *args, **options)

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

    @property
    def updates(self) -> int:
        """How many updates were made."""
        raise NotImplementedError

    @property
    def learning_rate(self) -> float:
        """α of the next update. Setting it replaces the schedule by that number."""
        rate = self.schedule(self.updates)
        return rate if type(rate) is float else float(rate)

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self.schedule = make_schedule(value)

    def config(self) -> dict[str, Any]:
        """Name and hyper-parameters as plain values; `make_optimizer` reads them back."""
        taken = {name: getattr(self, name) for name in taken_by(type(self))}
        rate = {"learning_rate": self.schedule.config()} if "learning_rate" in taken else {}
        return {"name": type(self).__name__, **taken, **rate}


OPTIMIZERS: Names[type[Any]] = Names("optimizer")
"""By the names that `compile` and the command take; also under those of their classes, as files name them."""
