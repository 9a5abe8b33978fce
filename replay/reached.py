"""What the code that ran while a function was recorded can reach by the names that are in it."""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import fractions
import functools
import gc
import importlib.util
import operator
import re
import sys
import types
from typing import Any

import numpy

from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from .arguments import PLAIN
from .following import LAYERS, LOCKS, OWN, STATEFUL, Following, belongs, names_of

MOST = 20_000
"""Values that are looked at before each replay, at most."""
MOST_BYTES = 1 << 22
"""Bytes of arrays that are compared before each replay, at most."""
CONSTANT = (
    *PLAIN, *LOCKS, range, slice, types.EllipsisType, types.NotImplementedType, types.CodeType, property,
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType,
    types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, types.GenericAlias,
    numpy.ufunc, numpy.dtype, re.Pattern, datetime.date, datetime.timedelta, datetime.time, decimal.Decimal,
    fractions.Fraction, types.TracebackType, types.FrameType,
)  # fmt: skip
"""What never changes."""
HEAP = 1 << 9
"""Of a type's flags: made at run time, as all that are written in Python."""
AT_ONCE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<module>")
"""Code that is made and run in one place, so that its surroundings are those of the code around it."""
HIDING = (type(functools.lru_cache(len)), operator.attrgetter, operator.methodcaller)
"""Types written in C whose instances have a dict or a module in Python, and hide what they do."""
ORDERED = (list, tuple, collections.deque)


class Reached:
    """What was read in one run of a function: values by their places, as they are when the run has ended.

    items: (container, key, value). attributes: (object, name, value). sizes: (namespace, length), so that what is added
    shows. held: (container, what it holds, in its order). absent: (globals, the name of a builtin). arrays: (array,
    copy). tensors: those that the user's code can reach. generators: those of random numbers.
    reason: what cannot be followed; None where all can be.
    """

    def __init__(self, seen: Following) -> None:
        self.reason = seen.reason
        self.items: list[tuple[Any, Any, Any]] = []
        self.attributes: list[tuple[Any, str, Any]] = []
        self.sizes: list[tuple[Any, int]] = []
        self.held: list[tuple[Any, list[Any]]] = []
        self.absent: list[tuple[Any, str]] = []
        self.arrays: list[tuple[Any, Any]] = []
        self.tensors: list[Tensor] = []
        self.generators: list[Any] = list({id(g): g for g in seen.generators}.values())
        named, own = [names_of(code) for code in seen.layers], [names_of(code) for code in seen.codes]
        self._layer_names = frozenset().union(*(n.attributes for n in named))
        self._user_names = frozenset().union(*(n.attributes for n in own))
        self._names = self._layer_names | self._user_names
        self._dynamic = any(n.dynamic for n in own)
        self._bytes = 0
        self._functions: dict[types.CodeType, dict[int, types.FunctionType]] = {}
        self._gone_through: dict[int, types.FunctionType] = {}
        self._levels: dict[int, bool] = {}  # by id: whether it was gone through as the user's code may read it
        self._kept: list[Any] = []  # so that no id is used twice meanwhile
        self._stack: list[tuple[Any, bool]] = list(seen.seen())
        self._look_up(seen)

    def _look_up(self, seen: Following) -> None:
        """Globals and closures of the code that ran, of all function objects that it belongs to."""
        for code, (space, _) in seen.codes.items():
            self._globals_of(code, space)
        self._walk_functions(seen)
        inner = {c for code in seen.codes for c in code.co_consts if isinstance(c, types.CodeType)}
        sought = [
            code
            for code, (_, closures) in seen.codes.items()
            if _may_hold(code) and code.co_name not in AT_ONCE and not self._fits(code, closures)
        ]
        for function in gc.get_referrers(*sought) if sought else ():
            if isinstance(function, types.FunctionType):
                self._functions.setdefault(function.__code__, {})[id(function)] = function
        self._walk_functions(seen)
        lost = next((code for code in sought if code not in self._functions and code not in inner), None)
        if lost:
            self._refuse(f"nothing is known of where {lost.co_name} comes from")

    def _walk_functions(self, seen: Following) -> None:
        """Go on from the functions that were found and ran, until no more are found."""
        while self.reason is None:
            self._walk()
            found = [f for code in seen.codes for f in self._functions.get(code, {}).values()]
            new = [function for function in found if id(function) not in self._gone_through]
            if not new:
                return
            for function in new:
                self._gone_through[id(function)] = function
                self._function(function)

    def _fits(self, code: types.CodeType, closures: set[tuple[int, ...]]) -> bool:
        """Whether the functions that were found are those that ran: their closures stand for the same."""
        if code not in self._functions:
            return False
        if not code.co_freevars:
            return True
        found = {
            tuple(id(content(cell)) for cell in function.__closure__ or ())
            for function in self._functions[code].values()
        }
        return closures <= found

    def _globals_of(self, code: types.CodeType, space: dict[str, Any]) -> None:
        names = names_of(code)
        for name in names.globals:
            if name in space:
                self._item(space, name, True)
            elif hasattr(builtins, name):
                self.absent.append((space, name))
        for name in names.imports:
            package = space.get("__package__") or ""
            try:
                module = sys.modules.get(importlib.util.resolve_name(name, package) if name.startswith(".") else name)
            except ImportError:
                module = None
            self._stack.append((module, True))

    def _function(self, function: types.FunctionType) -> None:
        """What a function of the user's carries along: its code, its defaults and its closure."""
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            self._attribute(function, name, True)
        for cell in function.__closure__ or ():
            try:
                self._attribute(cell, "cell_contents", True)
            except ValueError:  # not filled yet
                self._refuse(f"a variable that {function.__name__} takes from outside has no value")

    def _walk(self) -> None:
        while self._stack and self.reason is None:
            value, by_user = self._stack.pop()
            if isinstance(value, CONSTANT) and not (isinstance(value, types.BuiltinFunctionType) and _has_owner(value)):
                continue
            known = self._levels.get(id(value))
            if known is None or (by_user and not known):
                self._levels[id(value)] = by_user
                self._kept.append(value)
                self._visit(value, by_user)
                if len(self.items) + len(self.attributes) + self._bytes // 1024 > MOST:
                    self._refuse(f"it reads more than {MOST:,} values from outside")

    def _visit(self, value: Any, by_user: bool) -> None:
        kind = type(value)
        if isinstance(value, Tensor):
            if by_user:
                self.tensors.append(value)
        elif isinstance(value, numpy.ndarray) or (hasattr(kind, "strides") and hasattr(kind, "dtype")):
            if by_user:
                self._array(value)
        elif isinstance(value, types.FunctionType):
            self._functions.setdefault(value.__code__, {})[id(value)] = value
            for name in vars(value).keys() & self._names:
                self._item(vars(value), name, by_user)
        elif isinstance(value, types.MethodType):
            self._stack += [(value.__self__, by_user), (value.__func__, by_user)]
        elif isinstance(value, types.BuiltinFunctionType):
            self._stack.append((value.__self__, by_user))
        elif isinstance(value, (staticmethod, classmethod)):
            self._stack.append((value.__func__, by_user))
        elif isinstance(value, functools.partial):
            self._stack += [(value.func, by_user), (value.args, by_user), (value.keywords, by_user)]
        elif isinstance(value, types.ModuleType):
            self._module(value, by_user)
        elif isinstance(value, type):
            self._class(value, by_user)
        elif isinstance(value, STATEFUL):
            if by_user and all(value is not g for g in self.generators):
                self.generators.append(value)
        else:
            self._object(value, kind, by_user)

    def _object(self, value: Any, kind: type, by_user: bool) -> None:
        """A container, and an instance of a class: what it holds, and the attributes that the code names."""
        own = belongs(kind.__module__, OWN)
        if own and not by_user:
            return
        names = self._user_names if own else self._names if by_user else self._layer_names
        if isinstance(value, Primitive):
            self._primitive(value)
        foreign = next((base for base in kind.__mro__ if not _is_followed(base)), None)
        if foreign is not None and not own:
            self._refuse(f"it reads {kind.__module__}.{kind.__qualname__}, whose state cannot be followed")
            return
        if isinstance(value, (*ORDERED, dict, set, frozenset)):
            self._container(value, by_user)
        try:
            space = object.__getattribute__(value, "__dict__")
        except AttributeError:
            space = None
        if isinstance(space, dict):
            chosen = list(space) if by_user and self._dynamic and not own else [name for name in space if name in names]
            for name in chosen:
                self._item(space, name, by_user)
            self.sizes.append((space, len(space)))
        for name in (name for base in kind.__mro__ for name in _slots(base)):
            if (name in names or self._dynamic) and hasattr(value, name):
                self._attribute(value, name, by_user)
        if own:
            for name in names:
                if isinstance(getattr(kind, name, None), property):
                    self._attribute(value, name, by_user)
        self._class(kind, by_user)

    def _primitive(self, made: Primitive) -> None:
        """The functions of a primitive of the user's: its rules may be declared anew."""
        self.held.append((made.rules, list(made.rules)))
        for function in (made.kernel, *(rule.kernel for rule in made.rules.values())):
            self._stack.append((function, True))
        self.items += [(made.rules, name, rule) for name, rule in made.rules.items()]

    def _class(self, kind: type, by_user: bool) -> None:
        """The attributes of a class of the user's, and of those that it derives from."""
        for base in kind.__mro__:
            module = base.__module__
            if belongs(module, OWN + LAYERS) or module.partition(".")[0] in sys.stdlib_module_names:
                continue
            if self._levels.get(-id(base)):
                continue
            self._levels[-id(base)] = True
            self._kept.append(base)
            for name, value in list(vars(base).items()):
                plain = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
                parts = (plain.fget, plain.fset) if isinstance(plain, property) else (plain,)
                for part in parts:
                    if isinstance(part, types.FunctionType):
                        self._functions.setdefault(part.__code__, {})[id(part)] = part
                if name in self._names or (name.startswith("__") and isinstance(value, types.FunctionType)):
                    self.items.append((vars(base), name, value))
                    if not isinstance(value, types.FunctionType):
                        self._stack.append((value, by_user))
            self.sizes.append((vars(base), len(vars(base))))

    def _module(self, module: types.ModuleType, by_user: bool) -> None:
        name = module.__name__
        if by_user and (belongs(name, ("numpy.random",)) or (name == "numpy" and "random" in self._names)):
            self._stack.append((numpy.random.mtrand._rand, True))  # what its functions draw from
        if by_user and not belongs(name, (*OWN, *LAYERS)) and name != _root(OWN):
            for key in sorted(self._names & vars(module).keys()):
                self._item(vars(module), key, True)

    def _container(self, value: Any, by_user: bool) -> None:
        if isinstance(value, (set, frozenset)):
            if not all(isinstance(item, PLAIN) for item in value):
                self._refuse("it reads a set of objects, whose order cannot be followed")
            self.held.append((value, list(value)))
            return
        if not isinstance(value, tuple):
            self.held.append((value, list(value)))
        if isinstance(value, dict):
            for key, item in value.items():
                self.items.append((value, key, item))
                self._stack += [(key, by_user), (item, by_user)]
        else:
            self._stack += [(item, by_user) for item in value]

    def _item(self, owner: dict[str, Any], key: str, by_user: bool) -> None:
        value = owner[key]
        self.items.append((owner, key, value))
        self._stack.append((value, by_user))

    def _attribute(self, owner: Any, name: str, by_user: bool) -> None:
        value = getattr(owner, name)
        self.attributes.append((owner, name, value))
        self._stack.append((value, by_user))

    def _array(self, array: Any) -> None:
        if not isinstance(array, numpy.ndarray) or array.dtype.hasobject:
            self._refuse("it reads an array that cannot be compared: give it as an argument, in a tensor")
            return
        self._bytes += array.nbytes
        if self._bytes > MOST_BYTES:
            self._refuse(
                f"it reads an array of shape {array.shape} from outside, which is too large to be compared in each "
                "call: give it as an argument, or make it a tensor"
            )
            return
        self.arrays.append((array, array.copy()))

    def _refuse(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason


def content(cell: types.CellType) -> Any:
    """What a cell of a closure stands for; None where it is not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _may_hold(code: types.CodeType) -> bool:
    """Whether a function with this code may carry something along: a closure, or defaults."""
    return bool(code.co_freevars or code.co_argcount or code.co_kwonlyargcount)


def _has_owner(function: Any) -> bool:
    """Whether a C function is a method of an object that is neither a module nor a class."""
    return not isinstance(function.__self__, (types.ModuleType, type, type(None)))


def _slots(base: type) -> list[str]:
    return [name for name, value in vars(base).items() if isinstance(value, types.MemberDescriptorType)]


def _is_followed(base: type) -> bool:
    """Whether instances of a class keep what they hold in sight: a class written in Python, or a container."""
    if base in (object, type, list, tuple, dict, set, frozenset, types.SimpleNamespace, *PLAIN):
        return True
    if base.__module__ == "collections" or issubclass(base, BaseException):
        return True
    module = sys.modules.get(base.__module__)
    source = getattr(module, "__file__", None) or ""
    in_python = module is None or base.__module__ == "__main__" or source.endswith((".py", ".pyc"))
    return bool(base.__flags__ & HEAP) and in_python and base not in HIDING


def _root(modules: tuple[str, ...]) -> str:
    return modules[0].partition(".")[0]
