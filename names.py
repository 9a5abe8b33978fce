"""One way to name things: layers, optimisers, schedules, losses, metrics, initialisers, activations, data sets.

Each kind has its `Names`. What a file says of a thing is its name; of one of the user's own it is `{"own": name}`,
which is found again among what was registered, or among what `load` is given as `custom_objects`.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from .errors import UsageError, unknown_name

CLASSES = ("model", "layer", "schedule", "loss", "metric", "regularizer", "constraint", "initializer")
"""Keys under which a configuration names its class."""
T = TypeVar("T")
OURS = f"{__name__.rpartition('.')[0]}."
OWN = "own"
"""The key under which a file names a thing of the user's own."""
PRIMITIVE = "primitive"
"""The key under which a file names a primitive."""


class Names(dict[str, T]):
    """The things of one kind by name: ours, and those that a user adds.

    kind: what errors call one of them. aliases: other names of them. `names[name]` takes a name or an alias, in upper
    or lower case, with or without underscores, and then what was registered under that name; it raises UsageError,
    with the nearest name, for any other. Iterating gives the names alone.
    """

    def __init__(
        self, kind: str, things: Iterable[tuple[str, T]] = (), aliases: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(things)
        self.kind, self.aliases = kind, dict(aliases)

    def __missing__(self, name: Any) -> T:
        spelled = (other for other in (*self, *self.aliases) if _spelled(other) == _spelled(name))
        for other in (name, *spelled):
            proper = self.aliases.get(other, other)
            if proper in self:
                return self[proper]
        if name in registered:
            return registered[name]  # type: ignore[no-any-return]
        raise self.unknown(name)

    def unknown(self, name: object) -> UsageError:
        """The error for a name that is none of these."""
        return unknown_name(self.kind, name, {*self, *self.aliases, *self.aliases.values()})

    def named(self, name: object) -> T:
        """The thing of that name, for anything that may be given as one; raises UsageError where it is none."""
        if not isinstance(name, str):
            raise self.unknown(name)
        return self[name]

    def add(self, name: str, thing: T, *aliases: str) -> T:
        """Take in a thing, in place of the user's own that had one of these names before; ours keep theirs."""
        for each in (name, *aliases):
            known = self.get(self.aliases.get(each, each))
            if known is not None and is_ours(known) and not is_ours(thing):
                raise UsageError(f"model files mean our own {self.kind} by the name {each}: call yours otherwise.")
        self[name] = thing
        self.aliases.update(dict.fromkeys(aliases, name))
        return thing

    def name_of(self, thing: object) -> str | None:
        """The name by which it is found here; None where it is not."""
        return next((name for name, known in self.items() if known is thing), None)

    def made(self, config: Mapping[str, Any], key: str) -> Any:
        """What a class of that name makes of a configuration: `key` names the class, the rest are its arguments.

        In place of a name may stand the class itself, as where a file's `{"own": name}` was resolved.
        """
        options = dict(config)
        kind: Any = options.pop(key, None)
        if not isinstance(kind, type):
            try:
                kind = self.named(kind)
            except UsageError as error:
                raise UsageError(f"{error} {way_out(kind)}") from None
        return kind(**options)


registered: dict[str, Any] = {}
"""What users registered, by name: functions and other things that have no class to be known by."""


def is_ours(thing: object) -> bool:
    """Whether the package has this thing, rather than its user."""
    return str(getattr(thing, "__module__", "")).startswith(OURS)


@overload
def register(thing: T, name: str | None = None) -> T: ...
@overload
def register(thing: None = None, name: str | None = None) -> Callable[[T], T]: ...
def register(thing: Any = None, name: str | None = None) -> Any:
    """Make a thing of one's own known by its name: an activation, a loss, a metric or an initialiser.

    A decorator, `@register` or `@register(name="…")`. Layers, optimisers and schedules are known without it, by their
    class. A model that uses it is then saved with the name and loaded with what is registered under the name; the name
    also serves where ours do, as in `Dense(3, "mish")`. One registered later under the same name takes its place.
    Raises UsageError for what has no name, as a lambda has none.
    """
    if thing is None:
        return lambda thing: register(thing, name)
    found = name or name_of_own(thing)
    if found is None:
        raise UsageError(f"register({thing!r}): it has no name of its own: register(…, name='…') gives it one.")
    registered[found] = thing
    return thing


def taken_by(kind: type) -> list[str]:
    """The arguments that a class is made with: those of its constructor, and where this hands on others, of its bases'.

    What they were is what the attributes of these names are: so a thing's configuration is read from the thing.
    """
    return [*_parameters(kind)]


@functools.lru_cache(256)
def annotations_of(kind: type) -> dict[str, Any]:
    """What the annotations of these arguments are; `Any` where there is none, or it cannot be evaluated."""
    found = {}
    for name, (parameter, function) in _parameters(kind).items():
        said = parameter.annotation
        if isinstance(said, str):
            try:
                said = eval(
                    said, inspect.unwrap(function).__globals__
                )  # the class's own text, as `typing` evaluates it
            except Exception:
                said = Any
        found[name] = Any if said is parameter.empty else said
    return found


def _parameters(kind: type) -> dict[str, tuple[inspect.Parameter, Any]]:
    taken: dict[str, tuple[inspect.Parameter, Any]] = {}
    for base in kind.__mro__:
        if function := vars(base).get("__init__"):
            parameters = [*inspect.signature(function).parameters.values()][1:]
            named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
            taken |= {p.name: (p, function) for p in named if p.name not in taken}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return taken


def name_of_own(thing: object) -> str | None:
    """The name under which it is registered, else the one that it has itself; None for a lambda, say."""
    for name, known in registered.items():
        if known is thing:
            return name
    own = getattr(thing, "__name__", None) or getattr(thing, "name", None)
    return own if isinstance(own, str) and own.isidentifier() else None


def resolved(value: Any, known: Mapping[str, Mapping[str, Any]], own: Mapping[str, Any]) -> Any:
    """A description from a file, with the things in place of `{key: name}`, as `{"own": name}` is.

    known: the things of each key by name. own: classes that are meant before those known by their names.
    Raises UsageError for a name that is not known.
    """
    if isinstance(value, list):
        return [resolved(each, known, own) for each in value]
    if not isinstance(value, dict):
        return value
    key = next(iter(value)) if len(value) == 1 else ""
    if key not in known:
        kinds = {key: own[value[key]] for key in CLASSES if isinstance(value.get(key), str) and value[key] in own}
        return {key: resolved(each, known, own) for key, each in value.items()} | kinds
    name = value[key]
    if name not in known[key]:
        raise UsageError(f"{name!r} is not known here. {way_out(name)}")
    return known[key][name]


def way_out(name: object) -> str:
    """What to do about a name from a file that is not known."""
    return (
        f"Where it is one of your own, first import or define it (a function under @nn.register), or give it to "
        f"load(…, custom_objects={{{name!r}: {name}}})."
    )


def snake(name: str) -> str:
    """The name of a class as functions are called: Conv2DTranspose is conv2d_transpose."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def distinct(names: Iterable[str]) -> list[str]:
    """The names, of which one that comes again gets a number."""
    found: list[str] = []
    for name in names:
        tried = (name, *(f"{name}_{number + 1}" for number in range(len(found))))
        found.append(next(each for each in tried if each not in found))
    return found


def _spelled(name: object) -> str:
    return str(name).replace("_", "").lower()
