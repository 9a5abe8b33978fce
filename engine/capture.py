"""capture: a function of tensors, recorded once and replayed without a tape.

    @cg.capture
    def step(x, y):
        loss = cg.categorical_cross_entropy(model(x), y)
        loss.backward()
        optimizer.step(weights)
        return loss

The function runs as it is, twice, while its array calls are listed (`trace`). Where both lists are the same it is
replayed from then on (`program`), with the results of the tape to the last bit. Where they are not, or where a value
is looked at on the way, the function goes on running on the tape, and `explain()` says why.
"""

from __future__ import annotations

import functools
import inspect
import time
import types
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy

from . import backend, fuse
from .errors import UsageError
from .listing import root
from .program import Program
from .tape import clock
from .tensor import Tensor
from .trace import Trace
from .traced import Traced

P = ParamSpec("P")
R = TypeVar("R")
PLAIN = (bool, int, float, str, bytes, type(None))
ATTEMPTS = 4
"""How often a function is recorded, at most, until two recordings in a row are the same."""
RENEWALS = 20
"""How often a function is recorded anew, at most, since what it takes from outside has changed."""
WORTH_COMPILING = 8.0
"""Seconds of replays after which jit="auto" compiles: that takes one or two itself."""
SAMPLED = 20
"""The replay whose time tells when that is."""


class Recording:
    """What is known of calls with one signature: the last trace, and the program, or why there is none."""

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.program: Program | None = None
        self.reason: str | None = None
        self.attempts = self.replays = self.renewals = 0
        self.look_at = SAMPLED
        self.effects: Callable[[tuple[Any, ...], Sequence[Any]], Any] = lambda outputs, arguments: outputs
        self.holds: Callable[[], bool] = lambda: True

    def renew(self) -> None:
        """Begin anew, since what the program took for granted has changed."""
        self.program, self.attempts, self.renewals = None, 0, self.renewals + 1
        if self.renewals == RENEWALS:
            self.reason = (
                f"what it takes from outside has changed {RENEWALS} times: weights, numbers, or their gradients"
            )


class Captured(Generic[P, R]):
    """A function with its programs, one for each signature: shapes, dtypes, and the values of what is no array.

    checked: the values of what it is given were checked beforehand, labels for instance, so a replay need not.
    """

    def __init__(self, function: Callable[P, R], jit: bool | str = "auto", checked: bool = False) -> None:
        check_jit(jit)
        functools.update_wrapper(self, function)
        self.function, self.jit, self.checked = function, jit, checked
        self.recordings: dict[Any, Recording] = {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, by replay where there is one."""
        if backend.traces and backend.under_way():  # a part of a larger step, which is captured as a whole
            return self.function(*args, **kwargs)
        arrays, key = _signature(args, kwargs)
        recording = self.recordings.get(key)
        if recording is None:
            recording = self.recordings[key] = Recording()
        if recording.program is not None:
            if recording.holds():
                given = [x._data if x.__class__ is Tensor else x for x in arrays]
                recording.replays += 1
                if recording.replays == recording.look_at:
                    outputs = self._timed(recording, given)
                else:
                    outputs = recording.program(*given)
                return recording.effects(outputs, arrays)  # type: ignore[no-any-return]
            recording.renew()
        if recording.reason is not None or recording.attempts >= ATTEMPTS:
            return self.function(*args, **kwargs)
        return self._record(recording, args, kwargs)

    def _timed(self, recording: Recording, given: Sequence[Any]) -> tuple[Any, ...]:
        """Replay, and see whether compiling is worth it by now."""
        program, begin = recording.program, time.perf_counter()
        assert program is not None
        outputs = program(*given)
        seconds = time.perf_counter() - begin
        if self.jit == "auto" and fuse.available():
            if recording.replays > SAMPLED:
                program.fuse()
            else:
                recording.look_at = SAMPLED + 1 + int(WORTH_COMPILING / seconds)
        return outputs

    def _record(self, recording: Recording, args: Any, kwargs: Any) -> R:
        """Run the function under trace, and make a program where the trace is the same as the one before."""
        arrays, _ = _signature(args, kwargs)
        had = {t: t.grad is not None for t, *_ in recording.trace.lifted} if recording.trace else {}
        watched = _watched(self.function)
        values = [read() for read in watched]
        with Trace(self.checked) as trace:
            positional, named = _replaced((args, kwargs), functools.partial(_as_input, trace))
            result = self.function(*positional, **named)
        recording.attempts += 1
        returned = _arrays(result)
        reason = trace.reason or _unfit(trace, result, returned)
        if reason:
            recording.reason = reason
            return result
        for x in returned:
            x._node, x._requires_grad = None, False
        before, recording.trace = recording.trace, trace
        difference = "it was called once only" if before is None else trace.differs_from(before)
        if difference is None:
            unchanged = [(read, value) for read, value in zip(watched, values, strict=True)]
            # a leaf whose gradient was there, and is not when it is first used, has it cleared by the function itself
            leaves = [(t, array, None if had.get(t) and not has else has) for t, array, has in trace.lifted]
            self._compile(recording, trace, leaves, arrays, result, unchanged)
        elif recording.attempts == ATTEMPTS:
            recording.reason = f"no two of {ATTEMPTS} calls in a row were the same: {difference}"
        trace.forget()
        return result

    def _compile(
        self,
        recording: Recording,
        trace: Trace,
        leaves: Sequence[tuple[Tensor, Any, bool | None]],
        arguments: Sequence[Any],
        result: Any,
        watched: Sequence[Any],
    ) -> None:
        """Make the program, and what is to be done around it."""
        guards = trace.guards
        graded = [t for t, _, _ in leaves if t.grad is not None and _is_new(trace, t.grad)]
        places = [
            i
            for i, x in enumerate(arguments)
            if isinstance(x, Tensor) and x.grad is not None and _is_new(trace, x.grad)
        ]
        cleared = [t for t, _, had in leaves if had is not False and t.grad is None]
        outputs = _arrays(result)
        grads = [*(t.grad for t in graded), *(arguments[i].grad for i in places)]
        returned = [trace.variable_of(x) for x in (*outputs, *grads)]
        recording.program = Program(trace, [trace.variable_of(x) for x in arguments], returned)
        recording.replays, recording.look_at = 0, SAMPLED
        if self.jit is True:
            recording.program.fuse()
        cells, count = [t.version_cell() for t in dict.fromkeys(trace.changed)], len(outputs)

        def effects(arrays: tuple[Any, ...], arguments: Sequence[Any]) -> Any:
            clock[0] += 1
            for cell in cells:
                cell[0] = clock[0]
            for t, array in zip([*graded, *(arguments[i] for i in places)], arrays[count:], strict=True):
                t.grad = Tensor(array)
            for t in cleared:
                t.grad = None
            if result is None:
                return None
            made = iter(arrays)
            return _replaced(result, lambda _: Tensor(next(made)))

        def holds() -> bool:
            for t, array, had in leaves:
                if t._data is not array or (had is not None and (t.grad is not None) is not had):
                    return False
            return all([guard() for guard in guards]) and all([read() == value for read, value in watched])

        recording.effects, recording.holds, recording.trace = effects, holds, None

    # What is said about it

    def explain(self) -> str:
        """What is replayed, for each signature: the array calls with results, buffers, bytes and times; or why not.

        Times are medians of replays on the inputs that were recorded; what those change is put back.
        """
        from .explain import explain

        return explain(self)


@overload
def capture(function: Callable[P, R], *, jit: bool | str = "auto") -> Captured[P, R]: ...
@overload
def capture(*, jit: bool | str = "auto") -> Callable[[Callable[P, R]], Captured[P, R]]: ...
def capture(function: Any = None, *, jit: bool | str = "auto") -> Any:
    """The function, recorded and then replayed without a tape: forward, backward and update. Also a decorator.

    function: takes and returns tensors (also in lists, tuples and dicts) and other values; calls backward() itself.
    It may read and change tensors from outside, its weights for instance, and give leaves their gradients; a replay
    does the same. What it returns asks for no gradient. Arrays among the arguments are new in each call; every other
    argument is a part of the signature, so each value of it is recorded once. Numbers that it reads elsewhere are
    taken as they were when it was recorded; those in its own closure and globals are watched, and where they change
    it is recorded anew. Printing and other effects beside tensors do not happen in a replay.
    jit: True compiles neighbouring elementwise calls with Numba, False does not, "auto" does so where Numba is
    installed, once the replays have taken long enough for it to pay. The results are the same to the last bit.
    Raises UsageError where jit=True and Numba is not installed.
    """
    return functools.partial(Captured, jit=jit) if function is None else Captured(function, jit)


def check_jit(jit: Any) -> None:
    """Raise UsageError for what is no choice, or cannot be had here."""
    if not (isinstance(jit, bool) or jit == "auto"):
        raise UsageError(f"compiling a recorded step: it is True, False or 'auto', not {jit!r}.")
    if jit is True and not fuse.available():
        raise UsageError("compiling a recorded step needs Numba, which is not installed: pip install 'chalkgrad[jit]'.")


def _as_input(trace: Trace, x: Any) -> Any:
    """An argument under trace: the tensor itself, with a traced array until the trace ends."""
    if not isinstance(x, Tensor):
        return trace.input(x)
    if x._data.__class__ is not Traced:  # given twice
        trace.lift_argument(x)
    return x


def _is_new(trace: Trace, grad: Tensor) -> bool:
    """Whether a gradient was made by the function."""
    return trace.variable_of(grad).kind != "outside"


def _unfit(trace: Trace, result: Any, returned: Sequence[Tensor]) -> str | None:
    """Why a trace cannot be replayed, apart from what it noted itself."""
    for x in returned:
        if x._node is not None and x._node.saved is not None:
            return "the result still asks for gradients: call backward() inside, or return result.detach()"
    if any(root(i.out).kind == "input" for i in trace.instructions if i.kind == "write" and i.out is not None):
        return "it changes an argument in place"
    if not _only_tensors(result):
        return f"it returns {type(result).__name__}, not tensors alone"
    if trace.escaped(returned):
        return "a tensor made on the way is kept by somebody else, such as a list outside: return it instead"
    return None


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, numpy.ndarray, Traced)) or hasattr(value, "__cuda_array_interface__")


def _arrays(value: Any) -> list[Any]:
    """The tensors and arrays in a nest of tuples, lists and dicts."""
    if _is_array(value):
        return [value]
    if isinstance(value, (tuple, list)):
        return [x for item in value for x in _arrays(item)]
    if isinstance(value, dict):
        return [x for item in value.values() for x in _arrays(item)]
    return []


def _only_tensors(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_only_tensors, value))
    if isinstance(value, dict):
        return all(map(_only_tensors, value.values()))
    return value is None or isinstance(value, Tensor)


def _replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """The nest with its tensors and arrays changed."""
    if _is_array(value):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)([_replaced(item, change) for item in value])
    if isinstance(value, dict):
        return {key: _replaced(item, change) for key, item in value.items()}
    return value


def _signature(args: Any, kwargs: Any) -> tuple[list[Any], Any]:
    """The arrays among the arguments, and a key for what a program depends on."""
    arrays: dict[int, Any] = {}
    parts: list[Any] = []
    for value in args:
        _describe(value, arrays, parts)
    for name in kwargs:
        parts.append(name)
        _describe(kwargs[name], arrays, parts)
    return list(arrays.values()), tuple(parts)


def _describe(value: Any, arrays: dict[int, Any], parts: list[Any]) -> None:
    """Add the arrays in `value`, by their id, and what a program depends on."""
    if id(value) in arrays:
        parts.append(("same", list(arrays).index(id(value))))
    elif value.__class__ is Tensor:
        array = value._data
        arrays[id(value)] = value
        parts.append((array.shape, array.dtype, array.strides, value._requires_grad, value.grad is None))
    elif value.__class__ is numpy.ndarray or hasattr(value, "__cuda_array_interface__"):
        arrays[id(value)] = value
        parts.append((value.shape, value.dtype, value.strides))
    elif isinstance(value, (tuple, list)):
        parts.append((type(value), len(value)))
        for item in value:
            _describe(item, arrays, parts)
    elif isinstance(value, dict):
        parts.append((dict, *value))
        for item in value.values():
            _describe(item, arrays, parts)
    elif isinstance(value, PLAIN):
        parts.append((type(value), value))
    else:
        parts.append((type(value), id(value), _Kept(value)))


class _Kept:
    """Keeps an object alive, so that its id stays its own; equal to every other."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept)

    def __hash__(self) -> int:
        return 0


def _watched(function: Callable[..., Any]) -> list[Callable[[], Any]]:
    """How to read the plain values (numbers, strings) in the function's closure and among the globals it names."""
    if not inspect.isfunction(function):
        return []
    readers: list[Callable[[], Any]] = []
    for cell in function.__closure__ or ():
        if _content(cell).__class__ in PLAIN:
            readers.append(functools.partial(_content, cell))
    space = function.__globals__
    for name in function.__code__.co_names:
        if space.get(name).__class__ in PLAIN and name in space:
            readers.append(functools.partial(space.get, name))
    return readers


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
