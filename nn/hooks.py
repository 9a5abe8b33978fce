"""The hooks of callbacks, called when and as Keras calls them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.cuda.graph import AHEAD
from ..errors import UsageError
from .callbacks import Callback, History, takes

if TYPE_CHECKING:
    from .sequential import Sequential

ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}
"""Keras's older names, which are called where the newer ones are not there."""


class Hooks:
    """The hooks that some callbacks have, in the callbacks' order; one that none has costs nothing.

    history: written first at an epoch's end, so that a callback finds the epoch there, and anew after each callback,
    which may have changed the logs.
    """

    def __init__(
        self,
        model: Sequential,
        callbacks: Sequence[Callback] = (),
        params: Mapping[str, Any] | None = None,
        history: History | None = None,
    ) -> None:
        self.callbacks = list(callbacks)
        self._histories = [history, *[c for c in callbacks if isinstance(c, History)]] if history else []
        self._found: dict[str, list[Callable[..., Any]]] = {}
        for callback in (*self._histories[:1], *self.callbacks):
            callback.set_params(dict(params or {}))
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
        watching = [c for c in self.callbacks if any(_own(c, hook, 1) for hook in ALIASES)]
        if any(c.each_batch for c in watching):
            return 0
        return AHEAD if watching else sys.maxsize

    @contextlib.contextmanager
    def training(self, past: History) -> Iterator[None]:
        """From the beginning to the end of a training, which the callbacks that heard of the one hear of in any case.

        past: the history before it.
        """
        begun: list[Callback] = []
        self.logs: dict[str, float] = {}
        try:
            for callback in self.callbacks:
                callback.past = past
                begun.append(callback)
                _call(callback, "on_train_begin", {})
            yield
        finally:
            with contextlib.ExitStack() as endings:  # one that raises keeps none of the others from its end
                for callback in reversed(begun):
                    endings.callback(_call, callback, "on_train_end", self.logs)

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """The logs go from callback to callback; what one adds or changes reaches those after it, and the history."""
        self.logs = logs
        for callback in (*self._histories[:1], *self.callbacks):
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


def checked(callbacks: Any) -> list[Callback]:
    """The callbacks given; raises UsageError for what is no list of them."""
    if not isinstance(callbacks, (list, tuple, type(None))):
        raise UsageError(f"callbacks is a list, not {callbacks!r}.")
    for callback in callbacks or ():
        if not isinstance(callback, Callback):
            raise UsageError(f"callbacks holds {callback!r}, which is no Callback.")
    return list(callbacks or ())
