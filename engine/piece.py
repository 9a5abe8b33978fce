"""Pieces: small things that a model is made with, known by their class and by what this is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy

from ..checks import number
from ..errors import UsageError
from ..names import Names, is_ours, snake, taken_by, way_out
from .absent import checked

P = TypeVar("P", bound="Piece")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Piece:
    """A loss, a metric, a schedule, a regulariser …: one kind a base, which has `kinds`, its classes by name.

    A class of one kind names its numbers as a frozen dataclass does, and needs no decorator for it; one with a
    constructor keeps what that takes under the same names, or says in `get_config` what it is made with. Files know it
    by its class; two are equal where class and configuration are.
    """

    kinds: ClassVar[Names[Any]]
    key: ClassVar[str] = ""
    """Under which a configuration names the class."""
    limits: ClassVar[Mapping[str, str]] = {}
    """By the names of its numbers, the intervals in which they lie, as `checks.number` takes them."""

    def __post_init__(self) -> None:
        own = fields(self) if is_ours(type(self)) else ()  # type: ignore[arg-type]
        checked_as = {each.name: "(-∞, ∞)" for each in own if each.type == "float"}
        for name, interval in {**checked_as, **self.limits}.items():
            if hasattr(self, name):
                self._set(**{name: number(type(self).__name__, name, getattr(self, name), interval)})

    namesake: ClassVar[bool] = False
    """Whether it is one of the user's own, under a name of ours: a file says so, and `load` is given it."""
    called_as_functions: ClassVar[bool] = True
    """Whether `kinds` has the classes' names as those of functions are written; either way both are names of them."""
    wrapper: ClassVar[Any] = None
    """The class of this kind that a function of the user's own is put into; None where it serves as it is."""

    def __init_subclass__(
        cls, key: str = "", aliases: tuple[str, ...] = (), abstract: bool = False, wrapper: bool = False
    ) -> None:
        """key: of a new kind. aliases: further names. abstract: it is a base of others. wrapper: it wraps functions."""
        super().__init_subclass__()
        if key:
            cls.key, cls.kinds = key, Names(key)
            BASES[key] = cls
        if "__init__" not in vars(cls):
            dataclass(frozen=True, eq=False)(cls)
        checked(cls)
        if wrapper:
            BASES[cls.key].wrapper = cls
        elif not key and not abstract:
            name = snake(cls.__name__) if cls.called_as_functions else cls.__name__
            known = cls.kinds.get(cls.kinds.aliases.get(name, name))
            cls.namesake = known is not None and is_ours(known) and not is_ours(cls)
            if not cls.namesake:
                cls.kinds.add(name, cls, *aliases)

    def get_config(self) -> dict[str, Any]:
        """What its class is given to make it again."""
        return {name: getattr(self, name) for name in taken_by(type(self)) if hasattr(self, name)}

    @classmethod
    def from_config(cls: type[P], config: Mapping[str, Any]) -> P:
        """The piece that `get_config` tells of."""
        return cls(**config)

    def config(self) -> dict[str, Any]:
        """The piece as plain values; `of` reads it back."""
        kind = type(self)
        return {self.key: kind if kind.namesake else kind.__name__, **as_plain(self.get_config())}

    def shortest(self) -> Any:
        """The configuration, or what is as good: its name, or the function that it wraps."""
        config = self.config()
        kind = type(self)
        wrapped = getattr(self, "function", None) if kind is self.wrapper else None
        try:
            plain = self == self.of(wrapped or config[self.key])
        except (TypeError, UsageError):
            plain = False
        if wrapped is not None:
            return (
                wrapped
                if plain
                else {name: v for name, v in config.items() if name != "function"} | {self.key: wrapped}
            )
        return snake(kind.__name__) if plain and is_ours(kind) else config

    @classmethod
    def of(cls, value: Any) -> Any:
        """A piece of this kind: itself, of its name, its class, its `config()` (also in Keras's form), or a function.

        Raises UsageError, with the nearest name, for anything else.
        """
        options: dict[str, Any] = {}
        if isinstance(value, Mapping):
            options = {name: each for name, each in value.items() if name != cls.key}
            value = value.get(cls.key)
            if "class_name" in options:
                value, options = options["class_name"], dict(options.get("config", {}))
        if isinstance(value, str) or not callable(value):
            try:
                value = cls.kinds.named(value)
            except UsageError as error:
                raise UsageError(f"{error} {way_out(value)}" if options else str(error)) from None
        value = getattr(value, "piece", value)
        if isinstance(value, type) and issubclass(value, cls) and value is not BASES[cls.key]:
            return value.from_config({name: of_config(each) for name, each in options.items()})
        if isinstance(value, cls):
            return value
        if isinstance(value, (type, Piece)) or not callable(value):
            raise UsageError(f"{value!r} is no {cls.key}: name one of {[*cls.kinds]}.")
        return cls.wrapper(value, **options) if cls.wrapper else value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and as_plain(self.get_config()) == as_plain(other.get_config())

    def __hash__(self) -> int:
        return hash(type(self))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # checked and made plain, in a frozen dataclass


BASES: dict[str, type[Piece]] = {}
"""The kinds of pieces, by the key under which a configuration names the class."""


def key_in(value: Any) -> str:
    """The key under which a configuration names a piece's class; "" where it is none."""
    return next((key for key in BASES if key in value), "") if isinstance(value, Mapping) else ""


def of_config(value: Any) -> Any:
    """The piece that a configuration tells of; anything else as it is."""
    key = key_in(value)
    return BASES[key].of(value) if key else value


def as_plain(value: Any) -> Any:
    """Pieces by their configuration, tuples as lists: as a file has them."""
    if isinstance(value, Piece):
        return value.config()
    if isinstance(value, Mapping):
        return {name: as_plain(each) for name, each in value.items()}
    if isinstance(value, numpy.ndarray):
        return value.tolist()
    return [as_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
