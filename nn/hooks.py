"""The hooks of callbacks: what there is to override, the history, and who calls them when and as Keras does."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.absent import checked
from ..engine.cuda.graph import AHEAD
from ..errors import ChalkgradError, UsageError

if TYPE_CHECKING:
    from ..distributed import Group
    from .sequential import Sequential
    from .trained import Trained

Logs = Mapping[str, float]


class Callback:
    """Base class; override what is needed.

    model: the model in training; setting `model.stop_training = True` ends it after the batch or epoch under way.
    params: {"epochs", "steps", "samples", "verbose"} of the run. Hooks have Keras's names and times; `logs`
    may be left out of those that need none. Reading a number of a batch's `logs` waits for
    the device; those of an epoch are there already. each_batch: a GPU runs many batches before the host hears of
    the last of them, unless a callback wants to be told of each. tells_rate: the logs of an epoch are to have its
    learning_rate, for all callbacks. writes: it writes files, or shows something: of several ranks that train a model
    together only the lowest one has it. past: the history before this training, where it
    goes on from one.
    """

    each_batch = True
    writes = False
    tells_rate = False
    model: Sequential
    params: Mapping[str, Any]
    past: History | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in vars(cls):
            checked(cls)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is of the callback alone: each training hands it its model."""
        return {name: value for name, value in vars(self).items() if name not in ("model", "params", "past")}

    def __copy__(self) -> Any:
        return copy.deepcopy(self)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called before anything else: what there is to be known of the run."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called before anything else: which model it is."""
        self.model = model

    def get_state(self) -> dict[str, Any]:
        """What a training that goes on has to know of it: numbers, texts, None, NumPy arrays, lists and dicts of them.

        A model file holds it. Where `fit` goes on (initial_epoch, where the model's own epochs end) the callback of the
        same class in the same place among those of its class gets it by `set_state`, after `on_train_begin`.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `get_state` gave."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch; epochs count from 0."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each update; where it is not there, `on_batch_begin` is."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after each update; logs: the running means of this epoch so far. Else `on_batch_end` is."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs) -> None:
        """An older name of `on_train_batch_end`."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Called after each epoch and its validation; logs: loss, metrics, val_loss, …

        It is one dict for all callbacks: numbers that one adds or changes reach those after it, and the history.
        """

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once at the end, also where training was interrupted; logs: those of the last epoch."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation, and a validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of it."""

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Called after each batch of it; logs: the means so far."""

    def on_test_end(self, logs: Logs) -> None:
        """Called after it; logs: loss and metrics, and what is changed there is what `evaluate` gives."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of it."""

    def on_predict_batch_end(self, batch: int, logs: Mapping[str, Any]) -> None:
        """Called after each batch of it; logs: {"outputs": the outputs for this batch}."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after it."""


class History(Callback):
    """What `fit` returns: `history` maps each name to its values, one an epoch; `epoch` lists the epochs.

    `loss` and the metrics without prefix are running means: taken over the epoch while the weights changed.
    `val_…` are those of the weights at the epoch's end, as `evaluate` gives them.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch, self.history = [], {}

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.note(epoch, logs)

    def note(self, epoch: int, logs: Logs) -> None:
        """Take in the logs of an epoch, or take them in anew where they were changed.

        Raises UsageError for what is no number.
        """
        numbers = {name: _number(name, value) for name, value in logs.items()}
        if self.epoch[-1:] != [epoch]:
            self.epoch.append(epoch)
        last = len(self.epoch) - 1
        for name in [*self.history, *numbers]:  # where one begins later, the epochs stay aligned
            before = self.history.get(name, [math.nan] * last)[:last]
            self.history[name] = [*before, numbers.get(name, math.nan)]

    @property
    def numbers(self) -> dict[str, list[float]]:
        """What has one number an epoch; not the metrics with one for each class."""
        return {n: values for n, values in self.history.items() if not any(isinstance(v, list) for v in values)}

    def before(self, epoch: int) -> History:
        """The part of it before `epoch`: what a training that goes on from there has behind it."""
        kept = History()
        kept.epoch = [e for e in self.epoch if e < epoch]
        kept.history = {name: values[: len(kept.epoch)] for name, values in self.history.items()}
        return kept

    def _repr_html_(self) -> str:
        """What a notebook shows: curves, and a table of the first, every n-th and the last epoch."""
        from .notebook import history_html

        return history_html(self)

    def _repr_markdown_(self) -> str:
        """The table alone."""
        from .notebook import history_markdown

        return history_markdown(self)


def _number(name: str, value: Any) -> Any:
    """A number that a callback left in the logs, as Python has it."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, list):  # of a metric with a number for each class
        return [_number(name, each) for each in value]
    try:
        number: float | int = value.item()
        return float(number) if not isinstance(number, int) else number
    except (AttributeError, TypeError, ValueError, ChalkgradError):
        kind = type(value).__name__
        raise UsageError(
            f"logs[{name!r}] is a {kind}: what callbacks put into the logs of an epoch are numbers."
        ) from None


ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}
"""Keras's older names, which are called where the newer ones are not there."""


class Hooks:
    """The hooks that some callbacks have, in the callbacks' order; one that none has costs nothing.

    history: written first at an epoch's end, so that a callback finds the epoch there, and anew after each callback,
    which may have changed the logs.
    """

    def __init__(
        self,
        model: Trained,
        callbacks: Sequence[Callback] = (),
        params: Mapping[str, Any] | None = None,
        history: History | None = None,
    ) -> None:
        self.callbacks = list(callbacks)
        self._model, self._params, self._told = model, dict(params or {}), len(self.callbacks)
        self._histories = [history, *[c for c in callbacks if isinstance(c, History)]] if history else []
        self._found: dict[str, list[Callable[..., Any]]] = {}
        self._begun, self._new = list[Callback](), list[Callback]()
        self._shared: Mapping[str, Any] = {}
        for callback in (*self._histories[:1], *self.callbacks):
            callback.set_params(dict(self._params))
            callback.set_model(model)

    def __call__(self, hook: str, *place: int, logs: Any = None) -> None:
        """Call a hook of all callbacks. place: the number of the epoch or batch, where it has one."""
        if hook not in self._found:
            self._found[hook] = [f for c in self.callbacks if (f := _own(c, hook, len(place)))]
        for function in self._found[hook]:
            function(*place, {} if logs is None else logs)

    def any(self, *hooks: str) -> bool:
        """Whether a callback has one of these hooks."""
        return any(_own(c, hook, 1) for c in self.callbacks for hook in hooks)

    @property
    def ahead(self) -> int:
        """How many steps may be enqueued on a GPU before the callbacks are told of the last of them."""
        if any([c.each_batch for c in self._watching]):
            return 0
        return AHEAD if self._watching else sys.maxsize

    @functools.cached_property
    def _watching(self) -> list[Callback]:
        """Those that want to be told of batches: asked before each."""
        return [c for c in self.callbacks if any(_own(c, hook, 1) for hook in ALIASES)]

    @contextlib.contextmanager
    def training(self, past: History, states: Mapping[str, Any]) -> Iterator[None]:
        """From the beginning to the end of a training, which the callbacks that heard of the one hear of in any case.

        past: the history before it. states: those that the callbacks had then, as `states()` gives them.
        """
        begun = self._begun = list[Callback]()
        self.logs: dict[str, float] = {}
        try:
            self._begin(self.callbacks, past, states)
            yield
        finally:
            with contextlib.ExitStack() as endings:  # one that raises keeps none of the others from its end
                for callback in reversed(begun):
                    endings.callback(_call, callback, "on_train_end", self.logs)

    def _begin(self, callbacks: Sequence[Callback], past: History, states: Mapping[str, Any]) -> None:
        for callback, known in self._by_name(states):
            if callback in callbacks:
                callback.past = past
                self._begun.append(callback)
                _call(callback, "on_train_begin", {})
                if known:
                    callback.set_state(known["state"])

    def admit(self, callbacks: Sequence[Callback], within: bool) -> None:
        """Have these callbacks from now on: those that are new begin here, as in a training that goes on.

        within: whether an epoch is under way.
        """
        self._new = [callback for callback in callbacks if callback not in self.callbacks]
        self.callbacks = list(callbacks)
        self._told = len(self.callbacks)
        self._found.clear()
        vars(self).pop("_watching", None)
        for callback in self._new:
            callback.set_params(dict(self._params))
            callback.set_model(self._model)
        self._begin(self._new, self._histories[0].before(self.epochs), self._shared)
        for callback in self._new if within else ():
            if function := _own(callback, "on_epoch_begin", 1):
                function(self.epochs, {})

    def hand_on(self, epoch: int, logs: dict[str, float], group: Group | None) -> None:
        """Give the states of the callbacks that write to the ranks that may have to write in their place.

        Where that was so just now, those callbacks hear of the epoch here.
        """
        if not group or not group.survives:
            return
        self._shared = group.gathered(self.states())[0]
        for callback in self._new:
            if function := _own(callback, "on_epoch_end", 1):
                function(epoch, logs)

    @property
    def epochs(self) -> int:
        """How many the history has."""
        return self._histories[0].epoch[-1] + 1 if self._histories and self._histories[0].epoch else 0

    def states(self) -> dict[str, Any]:
        """The states of the callbacks that have one, by class and number, and whether each was told of the last epoch.

        In the midst of an epoch's end, where a callback saves the model, those after it were not.
        """
        found, told = dict[str, Any](), self.callbacks[: self._told]
        for name, callback in self._names().items():
            if type(callback).get_state is not Callback.get_state and (state := callback.get_state()):
                found[name] = {"told": callback in told, "state": copy.deepcopy(state)}  # as it is now
        return found

    def set_states(self, states: Mapping[str, Any]) -> None:
        """Give the callbacks what `states` gave."""
        for callback, known in self._by_name(states):
            if known:
                callback.set_state(known["state"])

    def catch_up(self, states: Mapping[str, Any]) -> bool:
        """Tell of the last epoch the callbacks that had not been told; returns whether one ends the training."""
        history, due = self._histories[0], self._params.get("validation_freq", 1) == 1
        last = {name: values[-1] for name, values in history.history.items() if values}
        logs = {name: value for name, value in last.items() if due or not math.isnan(value)}  # as it was told then
        for callback, known in self._by_name(states):
            if known and not known["told"] and (function := _own(callback, "on_epoch_end", 1)):
                function(self.epochs - 1, logs)
        return bool(states) and self._model.stop_training

    def _names(self) -> dict[str, Callback]:
        names = dict[str, Callback]()
        for callback in self.callbacks:
            kind = type(callback).__name__
            names[f"{kind} {sum(type(other).__name__ == kind for other in names.values()) + 1}"] = callback
        return names

    def _by_name(self, states: Mapping[str, Any]) -> list[tuple[Callback, Any]]:
        return [(callback, states.get(name)) for name, callback in self._names().items()]

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """The logs go from callback to callback; what one adds or changes reaches those after it, and the history."""
        self.logs, self._new = logs, []
        for number, callback in enumerate((*self._histories[:1], *self.callbacks)):
            self._told = number
            function = _own(callback, "on_epoch_end", 1)
            if function:
                function(epoch, logs)
                for history in self._histories:
                    history.note(epoch, logs)


def _call(callback: Callback, hook: str, logs: dict[str, float]) -> None:
    function = _own(callback, hook, 0)
    if function:
        function(logs)


def _own(callback: Callback, hook: str, place: int) -> Callable[..., Any] | None:
    """A callback's own hook, as a function of its place and the logs; None where it has none."""
    function = getattr(callback, hook)
    if getattr(function, "__func__", None) is getattr(Callback, hook):
        return _own(callback, ALIASES[hook], place) if hook in ALIASES else None
    if takes(function, place + 1):
        return function  # type: ignore[no-any-return]
    if takes(function, place):
        return lambda *arguments: function(*arguments[:-1])
    what = ("batch, " if "batch" in hook else "epoch, ") if place else ""
    raise UsageError(f"{type(callback).__name__}.{hook} is called as {hook}({what}logs): it takes other arguments.")


def checked_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks given; raises UsageError for what is no list of them."""
    if isinstance(callbacks, Callback):
        return [callbacks]
    if not isinstance(callbacks, (list, tuple, type(None))):
        raise UsageError(f"callbacks is a list, not {callbacks!r}.")
    for callback in callbacks or ():
        if not isinstance(callback, Callback):
            raise UsageError(f"callbacks holds {callback!r}, which is no Callback.")
    return list(callbacks or ())


def takes(function: Any, count: int) -> bool:
    """Whether it can be called with so many arguments, as far as it tells."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # written in C, and says nothing of its arguments
        return True
    return True
