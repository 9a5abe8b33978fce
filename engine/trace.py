"""A trace: the array calls that a function makes, listed while they are made.

While a trace is under way the arrays of tensors are `Traced`: an array beside its place in the list. They behave as
an array library does (`Library` stands for numpy or cupy), so the kernels, the rules, the tape and the optimisers
run as they are, and what they call is carried out and listed. Where a value is read on the host (`float(loss)`,
`if loss < 1`), the reason is noted, the value is given, and the list is of no use afterwards.
"""

from __future__ import annotations

import operator
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import numpy

from . import backend
from .tape import Node
from .tensor import Tensor


class Variable:
    """An array of the list, known by its number.

    kind: "input" (another array in each call), "outside" (made before, such as a weight), "made" by an instruction,
    or "view" of `parent`. strides: as the array had them. storage: what it shares with all that share its memory.
    array: the array itself where it is from outside.
    """

    __slots__ = ("array", "dtype", "kind", "nbytes", "number", "parent", "shape", "storage", "strides")

    def __init__(self, number: int, array: Any, kind: str, storage: int, parent: Variable | None = None) -> None:
        self.number, self.kind, self.storage, self.parent = number, kind, storage, parent
        self.shape, self.dtype, self.strides, self.nbytes = array.shape, array.dtype, array.strides, array.nbytes
        self.array = array if kind == "outside" else None

    def __repr__(self) -> str:
        return f"v{self.number}"


class Instruction:
    """One array call. kind: "make" (`out` is new), "view", "write" (changes `out`, which was there) or "host"."""

    __slots__ = ("arguments", "function", "kind", "name", "options", "out")

    def __init__(
        self, kind: str, name: str, function: Callable[..., Any], arguments: Any, options: Any, out: Variable | None
    ) -> None:
        self.kind, self.name, self.function = kind, name, function
        self.arguments, self.options, self.out = arguments, options, out

    def reads(self) -> list[Variable]:
        """The variables among its arguments."""
        return variables((self.arguments, self.options))

    def __repr__(self) -> str:
        arguments = [*map(_shown, self.arguments), *(f"{k}={_shown(v)}" for k, v in self.options.items())]
        target = {"write": f"{self.out} ← ", "host": ""}.get(self.kind, f"{self.out} = ")
        return f"{target}{self.name}({', '.join(arguments)})"


def each_leaf(value: Any, visit: Callable[[Any], Any]) -> None:
    """Visit everything that is no tuple, list or dict in a nest of them."""
    if isinstance(value, (tuple, list)):
        for item in value:
            each_leaf(item, visit)
    elif isinstance(value, dict):
        for item in value.values():
            each_leaf(item, visit)
    else:
        visit(value)


def variables(value: Any) -> list[Variable]:
    """The variables in a nest of tuples, lists and dicts."""
    found: list[Any] = []
    each_leaf(value, found.append)
    return [item for item in found if item.__class__ is Variable]


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf changed."""
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(item, change) for item in value])
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return change(value)


def _shown(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


class Traced:
    """An array under trace: the array, and the variable that stands for it."""

    __array_ufunc__ = None
    __slots__ = ("array", "trace", "variable")

    def __init__(self, trace: Trace, array: Any, variable: Variable) -> None:
        self.trace, self.array, self.variable = trace, array, variable

    # What it is

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    nbytes = property(lambda self: self.array.nbytes)
    strides = property(lambda self: self.array.strides)
    place = property(lambda self: backend.device_of(self.array))

    @property
    def base(self) -> Traced | None:
        """What it is a view of, as NumPy's attribute."""
        variable = self.variable
        while variable.parent is not None:
            variable = variable.parent
        return None if variable is self.variable else self.trace.traced[variable.number]

    def __len__(self) -> int:
        return len(self.array)

    # What is computed from it

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        """The array with its axes reversed."""
        return self.trace.call("transpose", self.trace.library_of(self).transpose.function, (self,))

    def __getitem__(self, index: Any) -> Any:
        return self.trace.call("getitem", operator.getitem, (self, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.trace.set_items(self, index, value)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The values in another dtype."""
        if not copy and self.dtype == dtype:
            return self
        return self.trace.call("astype", _astype, (self, numpy.dtype(dtype)))

    def copy(self) -> Any:
        """An array of its own with the same values."""
        return self.trace.call("copy", _copy, (self,))

    def reshape(self, *shape: Any) -> Any:
        """The same elements under another shape."""
        nested = len(shape) == 1 and isinstance(shape[0], (tuple, list))
        return self.trace.library_of(self).reshape(self, tuple(shape[0]) if nested else shape)

    # What is read on the host

    def item(self) -> Any:
        """The value of a one-element array; noted as a reason not to replay."""
        return self.trace.read(self, "a value is read (item, float, int, bool or a comparison in an if)").item()

    __bool__ = lambda self: bool(self.item())  # noqa: E731
    __float__ = lambda self: float(self.item())  # noqa: E731
    __int__ = lambda self: int(self.item())  # noqa: E731
    __index__ = lambda self: operator.index(self.item())  # noqa: E731

    def view(self) -> Any:
        """A view of the values; noted as a reason not to replay."""
        return self.trace.read(self, "values are read (numpy() or data)").view()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.trace.read(self, "a function of NumPy is called on an array of the step")
        return numpy.array(array, dtype=dtype, copy=copy)


def _astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


def _copy(x: Any) -> Any:
    return x.copy()


def _operator(name: str, exchanged: bool = False) -> Callable[..., Any]:
    def forward(self: Traced, other: Any) -> Any:
        function = getattr(self.trace.library_of(self), name)
        return function(other, self) if exchanged else function(self, other)

    return forward


def _in_place(name: str) -> Callable[..., Any]:
    def change(self: Traced, other: Any) -> Any:
        return getattr(self.trace.library_of(self), name)(self, other, out=self)

    return change


OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "matmul": "matmul",
}  # fmt: skip
COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
               "ne": "not_equal"}  # fmt: skip
UNARY = {"neg": "negative", "abs": "absolute", "invert": "invert"}
METHODS = ("sum", "mean", "max", "min", "any", "all", "argmax", "argmin", "squeeze", "transpose", "take", "dot")

for _name, _function in OPERATORS.items():
    setattr(Traced, f"__{_name}__", _operator(_function))
    setattr(Traced, f"__r{_name}__", _operator(_function, exchanged=True))
    setattr(Traced, f"__i{_name}__", _in_place(_function))
for _name, _function in COMPARISONS.items():
    setattr(Traced, f"__{_name}__", _operator(_function))
for _name, _function in UNARY.items():
    setattr(Traced, f"__{_name}__", lambda self, f=_function: getattr(self.trace.library_of(self), f)(self))
for _name in METHODS:
    setattr(Traced, _name, lambda self, *a, f=_name, **k: getattr(self.trace.library_of(self), f)(self, *a, **k))
Traced.__hash__ = object.__hash__  # type: ignore[method-assign]


class Recorded:
    """A function of the array library that is carried out and listed."""

    def __init__(self, trace: Trace, name: str, function: Callable[..., Any]) -> None:
        self.trace, self.name, self.function = trace, name, function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.trace.call(self.name, self.function, arguments, options)

    def at(self, target: Any, index: Any, values: Any) -> None:
        """The ufunc's `at`: unbuffered, in place."""
        self.trace.write(f"{self.name}.at", self.function.at, (target, index, values), target)  # type: ignore[attr-defined]


class Library:
    """The array library, recording: what kernels take for `xp`."""

    def __init__(self, trace: Trace, xp: Any) -> None:
        self._trace, self._xp = trace, xp

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._xp, name)
        if not callable(function) or isinstance(function, type):
            return function
        recorded = Recorded(self._trace, name, function)
        setattr(self, name, recorded)
        return recorded


class Trace:
    """The list under way. Use it with `with`; afterwards tensors hold plain arrays again.

    instructions: the list. reason: why it cannot be replayed; None where it can. lifted: the tensors from outside that
    took part, each with its array and whether it had a gradient. changed: those that were changed in place.
    guards: conditions, beyond these, under which the list holds.
    """

    def __init__(self) -> None:
        self.thread = get_ident()
        self.instructions: list[Instruction] = []
        self.traced: list[Traced] = []
        self.reason: str | None = None
        self.lifted: list[tuple[Tensor, Any, bool]] = []
        self.changed: list[Tensor] = []
        self.guards: list[Callable[[], bool]] = []
        self._known: dict[int, Traced] = {}
        self._storages: dict[int, int] = {}
        self._libraries: dict[int, Library] = {}
        self._noted: list[Tensor] = []
        self._noted_ids: set[int] = set()
        self._arguments: list[tuple[Tensor, Any]] = []

    def __enter__(self) -> Trace:
        backend.traces.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        backend.traces.remove(self)
        for tensor, array in self._arguments + [(t, array) for t, array, _ in self.lifted]:
            tensor._data = array
        for tensor in self._noted:
            tensor._data = self.plain(tensor._data)
        for node in self._nodes():
            node.saved = mapped(node.saved, self.plain)

    # What it hears of

    def library_of(self, array: Any) -> Library:
        """The array's library, recording."""
        if array.__class__ is Traced:
            array = array.array
        xp = backend.library_of(array)
        return self._libraries.setdefault(id(xp), Library(self, xp))

    def refuse(self, reason: str) -> None:
        """Note why the list cannot be replayed; the first reason counts."""
        if self.reason is None:
            self.reason = f"{reason}{_place_of_caller()}"

    def read(self, array: Any, what: str) -> Any:
        """The plain array, of which something is read on the host."""
        self.refuse(what)
        return array.array if array.__class__ is Traced else array

    def note(self, tensor: Tensor) -> None:
        """A tensor made while the trace is under way."""
        self._noted.append(tensor)
        self._noted_ids.add(id(tensor))

    def lift(self, tensor: Tensor) -> Any:
        """The traced array of a tensor that takes part."""
        array = tensor._data
        if array.__class__ is not Traced:
            tensor._data = self.outside(array)
            if id(tensor) not in self._noted_ids:
                self.lifted.append((tensor, array, tensor.grad is not None))
        return tensor._data

    def moved(self, tensor: Tensor, memory: Any) -> Any:
        """What a tensor holds that has got other memory on the way."""
        if tensor._data.__class__ is not Traced:
            return memory
        self.lifted = [(t, memory if t is tensor else array, had) for t, array, had in self.lifted]
        return self.outside(memory)

    def lift_argument(self, tensor: Tensor) -> None:
        """Give a tensor among the arguments a traced array."""
        self._arguments.append((tensor, tensor._data))
        tensor._data = self.input(tensor._data)

    def outside(self, array: Any) -> Traced:
        """The traced array of one that was there before, by identity."""
        known = self._known.get(id(array))
        if known is None:
            known = self._known[id(array)] = self._new(array, "outside")
        return known

    def input(self, array: Any) -> Traced:
        """The traced array of an argument of the function."""
        known = self._known[id(array)] = self._new(array, "input")
        return known

    def call(self, name: str, function: Callable[..., Any], arguments: Any, options: Any = None) -> Any:
        """Carry out a call and list it; returns the traced result."""
        options = options or {}
        plain, listed = self._both(arguments)
        plain_options, listed_options = self._both(options)
        result = function(*plain, **plain_options)
        out = options.get("out")
        if out is not None:
            del listed_options["out"]
            target = out if out.__class__ is Traced else self.outside(out)
            self._list(Instruction("write", name, function, listed, listed_options, target.variable))
            return target
        if isinstance(result, (tuple, list)):
            self.refuse(f"{name} gives several arrays")
            return result
        array = (
            result if hasattr(result, "strides") and not isinstance(result, numpy.generic) else numpy.asarray(result)
        )
        known = self._known.get(id(array))
        if known is not None:
            return known
        parent = self._viewed(array, listed)
        made = self._new(array, "made" if parent is None else "view", parent)
        self._list(
            Instruction("make" if parent is None else "view", name, function, listed, listed_options, made.variable)
        )
        return made

    def set_items(self, target: Any, index: Any, value: Any) -> None:
        """target[index] ← value."""
        if isinstance(index, tuple) and len(index) == 1 and index[0] is Ellipsis:
            index = Ellipsis
        self.write("setitem", operator.setitem, (target, index, value), target)

    def write(self, name: str, function: Callable[..., Any], arguments: Any, target: Any) -> None:
        """Carry out a call that changes `target`, its first argument, in place, and list it."""
        plain, listed = self._both(arguments)
        function(*plain)
        variable = (target if target.__class__ is Traced else self.outside(target)).variable
        self._list(Instruction("write", name, function, listed, {}, variable))

    def refresh(self, function: Callable[[], Any], arrays: Sequence[Any]) -> list[Traced]:
        """Have the host write new numbers into `arrays`, now and in each replay; returns them traced."""
        function()
        for array in arrays:
            last = array is arrays[-1]
            self._list(
                Instruction("write", "numbers", function if last else nothing, (), {}, self.outside(array).variable)
            )
        return [self.outside(array) for array in arrays]

    def check(self, name: str, function: Callable[..., None], arguments: Any) -> None:
        """Carry out a check of values, which raises where they are wrong, in each replay too."""
        plain, listed = self._both(arguments)
        function(*plain)
        self._list(Instruction("host", name, function, listed, {}, None))

    def plain(self, array: Any) -> Any:
        """The array without its trace, for a look at what is no value: shape, dtype, device."""
        return array.array if array.__class__ is Traced else array

    # How it ends

    def variable_of(self, value: Any) -> Variable:
        """The variable of a tensor or array, after the trace."""
        array = value._data if isinstance(value, Tensor) else value
        return self.outside(self.plain(array)).variable

    def escaped(self, returned: Sequence[Tensor]) -> bool:
        """Whether a tensor made on the way is still held by somebody other than the function's result or a leaf."""
        known = {id(t) for t in returned} | {id(t.grad) for t, *_ in (*self.lifted, *self._arguments)}
        held: Counter[int] = Counter(id(t.grad) for t in self._noted)
        for node in self._nodes():
            each_leaf((node.saved, node.parents), lambda x: held.update([id(x)]))
        noted = self._noted
        return any(
            sys.getrefcount(noted[i]) - 2 > held[id(noted[i])] for i in range(len(noted)) if id(noted[i]) not in known
        )

    def forget(self) -> None:
        """Let go of the arrays that were made on the way; the list stays."""
        self.traced, self._known, self._noted = [], {}, []

    def _nodes(self) -> set[Node]:
        """The nodes of the tape behind the tensors that were made on the way."""
        found = {t._node for t in self._noted if t._node is not None}
        stack = list(found)
        while stack:
            for parent in stack.pop().parents:
                if isinstance(parent, Node) and parent not in found:
                    found.add(parent)
                    stack.append(parent)
        return found

    def differs_from(self, other: Trace) -> str | None:
        """What differs between two traces of one function, in words; None where they are the same list."""
        for mine, theirs in zip(self.instructions, other.instructions, strict=False):
            if mine.name != theirs.name or mine.kind != theirs.kind:
                return f"one call computed {theirs}, the next {mine}"
            difference = _difference((theirs.arguments, theirs.options), (mine.arguments, mine.options))
            if difference:
                return f"{mine.name} was given {difference}"
            if mine.out is not None and theirs.out is not None:
                difference = _difference(theirs.out, mine.out)
                if difference:
                    return f"{mine.name} gave {difference}"
                if mine.kind == "write" and mine.out.array is not theirs.out.array:
                    return f"{mine.name} changed an array of shape {mine.out.shape} that is made anew in each call"
        if len(self.instructions) != len(other.instructions):
            return f"one call made {len(other.instructions)} array calls, the next {len(self.instructions)}"
        return None

    def _new(self, array: Any, kind: str, parent: Variable | None = None) -> Traced:
        storage = self._storages.setdefault(id(_owner(array)), len(self._storages))
        made = Traced(self, array, Variable(len(self.traced), array, kind, storage, parent))
        self.traced.append(made)  # and so the arrays live as long as the trace, and no id is used twice
        self._known[id(array)] = made
        return made

    def _list(self, instruction: Instruction) -> None:
        self.instructions.append(instruction)

    def _both(self, value: Any) -> tuple[Any, Any]:
        """The arguments as plain arrays, and as variables."""
        if value.__class__ is Traced:
            return value.array, value.variable
        if isinstance(value, (tuple, list)):
            pairs = [self._both(item) for item in value]
            return type(value)([p for p, _ in pairs]), type(value)([v for _, v in pairs])
        if isinstance(value, dict):
            both = {key: self._both(item) for key, item in value.items()}
            return {k: p for k, (p, _) in both.items()}, {k: v for k, (_, v) in both.items()}
        if hasattr(value, "strides") and not isinstance(value, numpy.generic):
            return value, self.outside(value).variable
        return value, value

    def _viewed(self, array: Any, listed: Any) -> Variable | None:
        """The argument that the result is a view of."""
        owner = _owner(array)
        if owner is array:
            return None
        storage = self._storages.get(id(owner))
        return next((v for v in variables(listed) if v.storage == storage), None)


def nothing() -> None:
    """What the host does for the second and further arrays that one call writes to."""


def _owner(array: Any) -> Any:
    """The array that owns the memory."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "strides"):
        array = array.base
    return array


def _difference(before: Any, after: Any) -> str | None:
    """In what two listed arguments differ: None where a replay may take the one for the other."""
    if before.__class__ is not after.__class__:
        return f"{before!r}, then {after!r}"
    if isinstance(before, Variable):
        if (before.number, before.kind, before.shape, before.dtype) != (
            after.number, after.kind, after.shape, after.dtype,
        ):  # fmt: skip
            return f"an array of shape {before.shape}, then one of shape {after.shape}"
        if before.kind == "outside" and before.array is not after.array:
            if not numpy.array_equal(before.array, after.array, equal_nan=before.dtype.kind == "f"):
                return (
                    f"an array of shape {before.shape} that is made anew in each call, outside the engine, with other "
                    "values: give it as an argument"
                )
        return None
    if isinstance(before, (tuple, list, dict)):
        if len(before) != len(after):
            return f"{len(before)} arguments, then {len(after)}"
        keys: Any = before if isinstance(before, dict) else range(len(before))
        return next((d for k in keys if (d := _difference(before[k], after[k]))), None)
    same = before is after or before == after or (before != before and after != after)
    return None if same else f"{before!r}, then {after!r}: give what changes as an argument, in a tensor"


def _place_of_caller() -> str:
    """Where outside this package the present call comes from, as ` (file.py:12)`."""
    package = __package__.rpartition(".")[0]
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not (name == package or name.startswith(f"{package}.")):
            return f" ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
