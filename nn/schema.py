"""What a description from a file may say: the annotations of what is made of it, read as a schema."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from ..engine.piece import BASES, Piece, key_in
from ..errors import UsageError, nearest
from ..names import Names, annotations_of, is_ours, way_out

DEPTH = 32
"""How deep schedules, say, may stand within each other."""
TOLD: Mapping[Any, str] = {
    None: "null", types.NoneType: "null", bool: "true or false", int: "a whole number", float: "a number",
    str: "a text",
}  # fmt: skip
LARGEST = 1 << 63
"""Whole numbers lie below it."""


def check(value: Any, kind: Any, where: str) -> None:
    """Raise UsageError where a value is not what an annotation says, as far as that tells; where: what it is called."""
    if _has_fields(kind) and isinstance(value, dict):
        hints = hints_of(kind)
        check_keys(value, hints, getattr(kind, "__required_keys__", hints), where)
        for key, each in value.items():
            check(each, hints[key], f"{where}[{key!r}]")
    elif get_origin(kind) is list and isinstance(value, list):
        for place, each in enumerate(value):
            check(each, get_args(kind)[0], f"{where}[{place}]")
    elif get_origin(kind) is dict and isinstance(value, dict):
        for key, each in value.items():
            check(each, get_args(kind)[1], f"{where}[{key!r}]")
    elif not fits(value, kind):
        raise UsageError(f"{where} is {shown(value)}, and should be {_told(kind)}")


def check_keys(config: Mapping[str, Any], known: Iterable[str], required: Iterable[str], where: str) -> None:
    """Raise UsageError for a key that is not known, with the nearest that is, and for one that is missing."""
    for key in config:
        if key not in known:
            raise UsageError(f"{where} has no {shown(key)}: {nearest(key, known)}")
    for key in sorted(required):
        if key not in config:
            raise UsageError(f"{where} lacks {key!r}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says; True where that is not known."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is str:
        return isinstance(value, str) and _is_text(value)
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool) and -LARGEST < value < LARGEST
        return whole or (kind is float and isinstance(value, float))
    if origin in (tuple, list, Sequence):
        return isinstance(value, (list, tuple)) and all(fits(each, inner[0]) for each in value)
    if origin is Callable:
        return callable(value)
    if _has_fields(kind) or origin is dict:
        return isinstance(value, dict)
    return not _is_kind_of(kind, Piece) or key_in(value) == kind.key or (kind.wrapper is None and callable(value))


def check_config(
    config: Any, key: str, kinds: Names[Any], base: type, common: Mapping[str, Any], depth: int = 0
) -> None:
    """Raise UsageError where a configuration names no class of this kind, or not the arguments that this takes.

    key: under which it names the class. common: what all of them take, beside what their constructors say.
    Of the user's own classes the names alone are looked at: what their annotations say may be meant otherwise.
    """
    if not isinstance(config, dict) or key not in config:
        raise UsageError(f"{shown(config)} describes no {kinds.kind}")
    if depth > DEPTH:
        raise UsageError(f"there are more than {DEPTH} of kind {kinds.kind} within each other")
    kind: Any = config[key]
    if isinstance(kind, str):
        try:
            kind = kinds.named(kind)
        except UsageError as error:
            raise UsageError(f"{error} {way_out(kind)}") from None
    if callable(kind) and not isinstance(kind, type):  # a function of the user's own, in what wraps it
        kind = getattr(base, "wrapper", None) or kind
    if not _is_kind_of(kind, base):
        raise UsageError(f"{shown(config[key])} is no {kinds.kind}")
    known: dict[str, Any] = {**annotations_of(kind), **common, key: Any}
    check_keys(config, known, (), kind.__name__)
    for name, value in config.items():
        if is_ours(kind) or name in common:
            check(value, known[name], f"{kind.__name__}({name}=…)")
        if inner := key_in(value):
            check_piece(value, inner, depth + 1)


def check_piece(config: Any, key: str, depth: int = 0) -> None:
    """Raise UsageError where a configuration tells of no piece of the kind that is known by this key."""
    check_config(config, key, BASES[key].kinds, BASES[key], {}, depth)


hints_of = functools.cache(get_type_hints)


def shown(value: object) -> str:
    """A value as an error shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_kind_of(kind: object, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _has_fields(kind: Any) -> bool:
    """Whether an annotation names what it holds: a TypedDict, or a dataclass, of which a file has every field."""
    return is_typeddict(kind) or (isinstance(kind, type) and is_dataclass(kind) and not issubclass(kind, Piece))


def _is_text(value: str) -> bool:
    """Whether it can be written: half of a surrogate pair cannot."""
    return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)


def _told(kind: Any) -> str:
    """An annotation as an error tells it."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_told, get_args(kind))))
    if get_origin(kind) is Callable:
        return "a function"
    return TOLD.get(kind) or ("an object" if _has_fields(kind) or get_origin(kind) is dict else "a list")
