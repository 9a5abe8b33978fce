"""no_grad: a part of a program of which nothing is noted on the tape.

One of the engine's two exceptions to "no ambient state": it holds for what the calling thread, or asynchronous task,
computes inside, and for nothing else, since it is a context variable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

entered: list[None] = []
"""As long as there are contexts entered, in any thread. Empty almost always, which is the quick question."""
_off: ContextVar[bool] = ContextVar("chalkgrad.no_grad", default=False)


def untaped() -> bool:
    """Whether nothing is noted on the tape here."""
    return bool(entered) and _off.get()


class Taping(ContextDecorator):
    """While it is entered, what is computed goes on the tape (off=False) or does not."""

    def __init__(self, off: bool) -> None:
        self.off = off
        self._tokens: list[Token[bool]] = []

    def _recreate_cm(self) -> Taping:
        return Taping(self.off)

    def __enter__(self) -> None:
        entered.append(None)
        self._tokens.append(_off.set(self.off))

    def __exit__(self, *error: object) -> None:
        _off.reset(self._tokens.pop())
        entered.pop()


@overload
def no_grad() -> Taping: ...
@overload
def no_grad(function: F) -> F: ...
def no_grad(function: Any = None) -> Any:
    """`with cg.no_grad():` nothing that is computed inside requires a gradient, and nothing is kept for one.

    Also a decorator, `@cg.no_grad` or `@cg.no_grad()`. It holds for the calling thread alone. `cg.grad` and its
    like, called inside, differentiate all the same; called outside, they take what is computed inside for constant.
    """
    return Taping(True) if function is None else Taping(True)(function)
