"""A trace: the array calls that a function makes, listed while they are made.

While a trace is under way the arrays of tensors are `Traced`: an array beside its place in the list. They behave as
an array library does (`Library` stands for numpy or cupy), so the kernels, the rules, the tape and the optimisers
run as they are, and what they call is carried out and listed. Where a value is read on the host (`float(loss)`,
`if loss < 1`), the reason is noted, the value is given, and the list is of no use afterwards.
"""

from __future__ import annotations

import contextlib
import gc
import operator
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import get_ident
from typing import Any

import numpy

from ..engine import backend
from ..engine.capturing import captures
from ..engine.tape import Node
from ..engine.taping import Alone
from ..engine.tensor import Tensor
from .arguments import leaves
from .calls import CALLS, UNKNOWN, with_out_named
from .listing import Instruction, Variable, mapped, variables
from .traced import Library, Traced

OFTEN = 1 << 26
"""Bytes of new arrays after which it is seen which of them nobody needs any more."""
LARGE = 1 << 20
"""Bytes of an array from which on it is let go of then."""


class Trace:
    """The list under way. Use it with `with`; afterwards tensors hold plain arrays again.

    instructions: the list. reason: why it cannot be replayed; None where it can. lifted: the tensors from outside that
    took part, each with its array, whether it asks for a gradient and whether it had one (None: whichever).
    changed: the version cells of those that were changed in place. own: the values that come in were checked
    beforehand. kernels: kernels of our own may stand for array code. keeps: all arrays
    stay as they are until its end; else large ones go when nobody needs them any more.
    drawn_elsewhere: says so, where numbers were drawn from the generators that the list does not know of.
    guards: conditions, beyond these, under which the list holds.
    """

    def __init__(
        self, own: bool = False, generators: Iterable[Any] = (), kernels: bool = True, keeps: bool = False
    ) -> None:
        self.own, self.kernels, self.keeps = own, kernels, keeps
        self.drawn_elsewhere: str | None = None
        self._streams = {id(g): (g, _state(g)) for g in generators}
        self.thread = get_ident()
        self._collecting = gc.isenabled()  # it is switched off while code is followed
        self.instructions: list[Instruction] = []
        self.traced: list[Traced] = []
        self.reason: str | None = None
        self.lifted: list[tuple[Tensor, Any, bool, bool | None]] = []
        self.changed: list[list[int]] = []
        self._settings = numpy.geterr()
        self.guards: list[Callable[[], bool]] = []
        self._known: dict[int, Traced] = {}
        self._storages: dict[int, int] = {}
        self._libraries: dict[int, Library] = {}
        self._noted: list[Tensor] = []
        self._hidden: list[Traced] = []
        self._turns: Counter[int] = Counter()
        self._noted_ids: set[int] = set()
        self._graded: set[int] = set()
        self._arguments: list[tuple[Tensor, Any]] = []
        self._fresh = self._part = self._parts = 0

    def __enter__(self) -> Trace:
        self._around = captures.get(self.thread)
        captures[self.thread] = self
        return self

    def __exit__(self, *error: object) -> None:
        try:
            for generator, state in self._streams.values():
                self._check_stream(generator, state)
            self._give_back()
        except BaseException:  # an interrupt in the midst of it
            self._give_back()
            raise
        finally:
            if self._around is None:
                del captures[self.thread]
            else:
                captures[self.thread] = self._around

    def _give_back(self) -> None:
        """Have the tensors hold plain arrays again. Done twice it is the same, and a fork may come in between."""
        for tensor, array in self._arguments + [(t, array) for t, array, _, _ in self.lifted]:
            tensor._data = array
        for tensor in self._noted:
            tensor._data = self.plain(tensor._data)
        for node in self._nodes():
            node.saved = mapped(node.saved, self.plain)
            if any(x.__class__ is Traced for x in leaves(node.parameters)):
                node.parameters = mapped(node.parameters, self.plain)

    def left_behind(self) -> None:
        """End in a forked child, where the thread that it belongs to is not."""
        captures.pop(self.thread, None)
        self._give_back()
        if self._collecting:
            gc.enable()

    # What it hears of

    def library_of(self, array: Any) -> Library:
        """The array's library, whose calls are listed."""
        if array.__class__ is Traced:
            array = array.array
        xp = backend.library_of(array)
        return self._libraries.setdefault(id(xp), Library(self, xp))

    def refuse(self, reason: str) -> None:
        """Note why the list cannot be replayed; the first reason counts."""
        if self.reason is None and get_ident() == self.thread:
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
            traced = self.outside(array)
            if id(tensor) not in self._noted_ids:
                if traced.variable.kind == "input":
                    self.refuse("an argument is also taken from outside")
                self.lifted.append((tensor, array, tensor._requires_grad, tensor._grad is not None))
            tensor._data = traced
        return tensor._data

    def made(self, tensor: Tensor) -> bool:
        """Whether the tensor was made on the way."""
        return id(tensor) in self._noted_ids

    def lift_gradient(self, leaf: Tensor) -> None:
        """Note that the gradient which a leaf has is taken, to be added to or to update by."""
        gradient = leaf._grad
        if gradient is not None and not self.made(gradient) and all(gradient is not t for t, _ in self._arguments):
            self.lift(gradient)
            self.gradient_read(leaf)

    def gradient_read(self, leaf: Tensor) -> None:
        """Note that the list holds for the gradient, or for none, that a leaf had before the call."""
        gradient = leaf._grad
        if id(leaf) in self._graded or self.made(leaf) or any(leaf is t or gradient is t for t, _ in self._arguments):
            return
        self.guards.append(lambda: leaf._grad is gradient)

    def gradient_set(self, leaf: Tensor, value: Tensor | None) -> None:
        """Note that a leaf gets another gradient, or none."""
        if leaf._data.__class__ is not Traced and not self.made(leaf):
            self.lift(leaf)
            *what, _ = self.lifted.pop()
            self.lifted.append((*what, None))  # whatever it had
        self._graded.add(id(leaf))
        if value is not None and not self.made(value) and all(value is not t for t, _ in self._arguments):
            self.refuse("a gradient from outside is given to a tensor")

    def moved(self, tensor: Tensor, memory: Any) -> Any:
        """What a tensor holds that has got other memory on the way."""
        if tensor._data.__class__ is not Traced:
            return memory
        self.lifted = [(t, memory if t is tensor else array, asks, had) for t, array, asks, had in self.lifted]
        return self.outside(memory)

    def lift_argument(self, tensor: Tensor) -> None:
        """Give a tensor among the arguments a traced array."""
        array = tensor._data
        if array.__class__ is not Traced:
            self._arguments.append((tensor, array))
            known = self._known.get(id(array))
            tensor._data = known if known is not None else self.input(array)

    def outside(self, array: Any) -> Traced:
        """The traced array of one that was there before, by identity."""
        known = self._known.get(id(array))
        if known is None:
            known = self._new(array, "outside")
        return known

    def input(self, array: Any) -> Traced:
        """The traced array of an argument of the function."""
        return self._new(array, "input")

    def call(self, name: str, function: Callable[..., Any], arguments: Any, options: Any = None) -> Any:
        """Carry out a call and list it; returns the traced result.

        A call by another thread, to which a tensor of its own is an array that was borrowed, is carried out alone.
        """
        if get_ident() != self.thread:
            return self._by_another(function, arguments, options)
        options, row = dict(options or {}), CALLS.get(name, UNKNOWN)
        if getattr(function, "nout", 1) > 1:
            self.refuse(f"{name} gives several arrays")
            return function(*self._both(tuple(arguments))[0], **self._both(options)[0])
        arguments = with_out_named(name, function, tuple(arguments), options)
        if options.get("out", 0) is None:
            del options["out"]
        if row.writes and not arguments:
            self.refuse(f"{name} is called by keywords alone")
            return function(**self._both(options)[0])
        if row.writes:
            return self.write(name, function, arguments, arguments[0], options)
        self._look_at(name, arguments)
        if self._fresh > OFTEN and not self.keeps:
            self._let_go()
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
            if not row.hands_on:
                self.refuse(f"{name} gives one of its arguments, to which it may have written")
            return known
        parent = self._viewed(array, listed, row.view)
        made = self._new(array, "made" if parent is None else "view", parent)
        made.scalar = array is not result
        self._list(
            Instruction("make" if parent is None else "view", name, function, listed, listed_options, made.variable)
        )
        return made

    def draw(self, function: Callable[..., Any], generator: Any, *arguments: Any) -> Any:
        """Draw from a generator of random numbers, now and in each replay."""
        known = self._streams.get(id(generator))
        if known:
            self._check_stream(*known)
        made = self.call("random", function, (generator, *arguments))
        self._streams[id(generator)] = generator, _state(generator)
        return made

    def _check_stream(self, generator: Any, state: str) -> None:
        """Note where numbers were drawn that the list does not know of."""
        if _state(generator) != state:
            self.drawn_elsewhere = "random numbers are drawn by other means than cg.random.uniform"

    def set_items(self, target: Any, index: Any, value: Any) -> None:
        """target[index] ← value."""
        if isinstance(index, tuple) and len(index) == 1 and index[0] is Ellipsis:
            index = Ellipsis
        self.write("setitem", operator.setitem, (target, index, value), target)

    def write(self, name: str, function: Callable[..., Any], arguments: Any, target: Any, options: Any = None) -> None:
        """Carry out a call that changes `target`, its first argument, in place, and list it."""
        if get_ident() != self.thread:
            self._by_another(function, arguments, options)
            return
        plain, listed = self._both(arguments)
        plain_options, listed_options = self._both(options or {})
        function(*plain, **plain_options)
        variable = (target if target.__class__ is Traced else self.outside(target)).variable
        self._list(Instruction("write", name, function, listed, listed_options, variable))

    def _by_another(self, function: Callable[..., Any], arguments: Any, options: Any) -> Any:
        return function(*mapped(tuple(arguments), self.plain), **mapped(dict(options or {}), self.plain))

    def _look_at(self, name: str, arguments: Any) -> None:
        """Refuse what a replay would not do again: other settings for warnings, shapes that depend on values."""
        if numpy.geterr() != self._settings:
            self.refuse("the settings for floating-point warnings are changed on the way")
        if name == "getitem":
            index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
            if any(getattr(getattr(part, "dtype", None), "kind", "") == "b" for part in index):
                self.refuse("the shape of a result depends on values (a mask as index)")
        if CALLS.get(name, UNKNOWN).shaped_by_values or (name == "where" and len(arguments) == 1):
            self.refuse(f"the shape of a result depends on values ({name})")

    @contextlib.contextmanager
    def computing_again(self) -> Iterator[None]:
        """While it lasts, calls that were made before on the same values are made again, so that none need be kept."""
        outer, self._parts = self._part, self._parts + 1
        self._part = self._parts
        try:
            yield
        finally:
            self._part = outer

    def turn(self, asker: object) -> int:
        """How often it has asked this before: what is refreshed twice in a step needs arrays of its own each time."""
        self._turns[id(asker)] += 1
        return self._turns[id(asker)] - 1

    def refresh(self, function: Callable[[], Any], arrays: Sequence[Any]) -> list[Traced]:
        """Have the host write new numbers into `arrays`, now and in each replay; returns them traced."""
        function()
        for array in arrays:
            last = array is arrays[-1]
            self._list(
                Instruction("write", "numbers", function if last else nothing, (), {}, self.outside(array).variable)
            )
        return [self.outside(array) for array in arrays]

    def check(self, name: str, function: Callable[..., None], arguments: Any, always: bool = False) -> None:
        """Carry out a check of values, which raises where they are wrong, in each replay too.

        always: also where the values that come in were checked beforehand.
        """
        plain, listed = self._both(arguments)
        function(*plain)
        if always or not self.own:
            self._list(Instruction("host", name, function, listed, {}, None))

    def plain(self, array: Any) -> Any:
        """The array without its trace, for a look at what is no value: shape, dtype, device."""
        return array.array if array.__class__ is Traced else array

    # How it ends

    def variable_of(self, value: Any) -> Variable:
        """The variable of a tensor or array, after the trace."""
        array = value._data if isinstance(value, Tensor) else value
        return self.outside(self.plain(array)).variable

    def escaped(self, box: Sequence[Any], given: Sequence[Tensor]) -> bool:
        """Whether a tensor made on the way is held by somebody else. box: holds the function's result, alone.

        Known holders are counted: the result, the nodes of the tape, and gradients. Garbage, such as a frame that the
        traceback in it holds, is none: while code is followed it is not collected. What is as young as the trace is,
        before this is said.
        """
        return self._held_elsewhere(box, given) and gc.collect(1) >= 0 and self._held_elsewhere(box, given)

    def _held_elsewhere(self, box: Sequence[Any], given: Sequence[Tensor]) -> bool:
        held: Counter[int] = Counter(map(id, leaves(box)))
        for node in self._nodes():
            held.update(map(id, leaves((node.saved, node.parents))))
            if isinstance(node.plan, Alone):
                held.update(map(id, leaves(node.plan.keeps())))
        owners = {id(t): t for t in (*self._noted, *given, *(t for t, *_ in self.lifted))}
        held.update(id(t.grad) for t in owners.values())
        del owners
        noted, traced, hidden = self._noted, self.traced, Counter(map(id, self._hidden)) + held
        kept = any(sys.getrefcount(noted[i]) - 2 > held[id(noted[i])] for i in range(len(noted)))
        shared = 3  # by the list, by its id, and in the call
        return kept or any(sys.getrefcount(traced[i]) - shared > hidden[id(traced[i])] for i in range(len(traced)))

    def forget(self) -> None:
        """Let go of the arrays that were made on the way; the list stays."""
        self.traced, self._known, self._noted = [], {}, []

    def _nodes(self) -> set[Node]:
        """The nodes of the tape behind the tensors that were made on the way."""
        found = {node for t in self._noted if (node := getattr(t, "_node", None)) is not None}
        stack = list(found)
        while stack:
            for parent in stack.pop().parents:
                if isinstance(parent, Node) and parent not in found:
                    found.add(parent)
                    stack.append(parent)
        return found

    def _new(self, array: Any, kind: str, parent: Variable | None = None) -> Traced:
        storage = self._storage(array, kind)
        made = Traced(self, array, Variable(len(self.traced), array, kind, storage, parent))
        if array.base is not None and backend.owner_of(array) is array:
            self._hidden.append(made)
        self.traced.append(made)  # and so the arrays live as long as the trace, and no id is used twice; but `_let_go`
        self._known[id(array)] = made
        if kind == "made":
            self._fresh += array.nbytes
        return made

    def _let_go(self) -> None:
        """Forget the large arrays that were made on the way and that nobody but this list holds, on the CPU."""
        self._fresh = 0
        noted, traced = self._noted, self.traced
        held = [sys.getrefcount(noted[i]) > 2 for i in range(len(noted))]  # by the list, and in the call
        self._noted_ids.difference_update(id(t) for t, is_held in zip(noted, held, strict=True) if not is_held)
        noted[:] = [t for t, is_held in zip(noted, held, strict=True) if is_held]
        storages: dict[int, list[int]] = {}
        for i in range(len(traced)):
            if traced[i].array is not None:
                storages.setdefault(traced[i].variable.storage, []).append(i)
        hidden = {each.variable.storage for each in self._hidden}
        for storage, places in storages.items():
            first = traced[places[0]]
            if storage in hidden or first.variable.kind != "made" or first.array.nbytes < LARGE:
                continue
            del first
            if any(sys.getrefcount(traced[i]) > 3 for i in places):  # by the list, by its id, and in the call
                continue
            if traced[places[0]].array.__class__ is not numpy.ndarray or _taken([traced[i].array for i in places]):
                continue
            self._storages.pop(id(backend.owner_of(traced[places[0]].array)), None)
            for i in places:
                del self._known[id(traced[i].array)]
                traced[i].array = None

    def _storage(self, array: Any, kind: str) -> int:
        """The number of the memory that an array lies in."""
        owner = backend.owner_of(array)
        if kind in ("outside", "input"):
            hidden = owner is array and array.base is not None  # a view that does not tell of what, as by as_strided
            for other in self.traced if hidden else self._hidden:
                if other.variable.kind in ("outside", "input") and backend.overlap(other.array, array):
                    return self._storages.setdefault(id(owner), other.variable.storage)
        return self._storages.setdefault(id(owner), len(self.traced))

    def _list(self, instruction: Instruction) -> None:
        instruction.part = self._part
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
        if hasattr(value, "strides") and not isinstance(value, (numpy.generic, type)):
            return value, self.outside(value).variable
        return value, value

    def _viewed(self, array: Any, listed: Any, strided: bool) -> Variable | None:
        """The argument that the result is a view of. strided: it is a view, also where the library does not tell."""
        owner = backend.owner_of(array)
        if owner is array and array.base is None and not strided:
            return None
        if owner is array:  # the way to its base is hidden, as by as_strided
            hidden = (v for v in variables(listed) if backend.overlap(self.traced[v.number].array, array))
            parent = next(hidden, None)
            if parent is not None:
                self._storages[id(array)] = parent.storage
            return parent
        storage = self._storages.get(id(owner))
        return next((v for v in variables(listed) if v.storage == storage), None)


def _state(generator: Any) -> str:
    """The state of a generator of random numbers, to be compared."""
    if isinstance(generator, random.Random):
        return repr(generator.getstate())
    bits = getattr(generator, "bit_generator", None)
    return repr(generator.get_state(legacy=False) if bits is None else bits.state)


def nothing() -> None:
    """What the host does for the second and further arrays that one call writes to."""


def _taken(arrays: list[Any]) -> bool:
    """Whether somebody else holds one of these arrays, which share one memory, or that memory itself."""
    owner = backend.owner_of(arrays[0])
    bases = Counter(id(array.base) for array in arrays)
    rest = [i for i in range(len(arrays)) if arrays[i] is not owner]
    own = 2 + bases[id(owner)] + 2 * (len(rest) < len(arrays))  # here and in the call; its `Traced` and the list
    return sys.getrefcount(owner) > own or any(sys.getrefcount(arrays[i]) > 3 + bases[id(arrays[i])] for i in rest)


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
