"""checkpoint: what a function computes on the way is computed again in the reverse pass, instead of kept until then.

Chen et al. 2016, "Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import numpy

from ..errors import GraphError, UsageError
from . import backend, random, tape
from .capturing import capturing
from .road import watchers
from .taping import Alone
from .tensor import Tensor
from .untaped import Taping, untaped


class _Again(Alone):
    """What stands on the tape for the function; `of` gives its value again, taped. given: what it takes and draws."""

    __slots__ = ("given", "of", "value")

    def __init__(self, name: str, of: Callable[[], Any], value: Any, given: tuple[Any, ...]) -> None:
        super().__init__(f"checkpoint of {name}")
        self.of, self.value, self.given = of, value, given

    def keeps(self) -> tuple[Any, ...]:
        """Its value; what it is given is held by `of`, too."""
        return self.value, *self.given

    def each(self, xp: Any, node: tape.Node, gy: Any, useful: set[Any] | None, taped: bool) -> Iterator[Any]:
        """Each useful parent with its gradient: the function's own reverse pass."""
        wanted = [parent for parent in node.parents if useful is None or parent in useful]  # each stands there once
        with trace.computing_again() if (trace := capturing()) else contextlib.nullcontext():
            y = self.of()
            then, now = backend.plain(self.value), backend.plain(y._data)
            if now.__class__ is numpy.ndarray and not numpy.array_equal(then, now, equal_nan=True):
                raise GraphError(
                    f"{self.primitive.name}: computed again, its value is another, so its gradient would be wrong. "
                    "It draws numbers of its own, or something it reads was changed before backward()."
                )
            found = tape.reverse(y._node, gy, xp, wanted={*wanted}, retain=taped, taped=taped)
        for parent in wanted:
            like: Any = parent if isinstance(parent, tape.Node) else parent._data
            yield parent, found[parent] if parent in found else xp.zeros(like.shape, like.dtype)


def checkpoint(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function f, of which only the arguments are kept for the reverse pass; what it computes on the way is
    computed again there. So a chain of such functions takes little memory, and one more forward pass of time.

    f returns one tensor. Gradients go to its arguments and to whatever else it reads, a model's weights, say. Numbers
    that layers draw (dropout) are kept, and are the same again. Raises GraphError in the reverse pass where f gives
    another value then, UsageError where f returns no tensor. Also a decorator.
    """

    @functools.wraps(f)
    def lean(*xs: Any, **options: Any) -> Tensor:
        if untaped():
            return f(*xs, **options)
        read: dict[Tensor, None] = {}
        drawn: list[Tensor] = []
        thread = get_ident()
        before = watchers.get(thread, ())
        watchers[thread] = (*before, lambda made, operands, parameters, result: read.update(
            dict.fromkeys(x for x in operands if x.__class__ is Tensor and x._requires_grad)
        ))  # fmt: skip
        try:
            with Taping(True), random.keeping(drawn):
                y = f(*xs, **options)
        finally:
            if before:
                watchers[thread] = before
            else:
                del watchers[thread]
        if not isinstance(y, Tensor):
            raise UsageError(f"checkpoint takes a function that returns one tensor, not {type(y).__name__}.")
        if y._requires_grad or not read or y.dtype.kind != "f":
            return y  # an argument as it is, or nothing to differentiate

        def again() -> Tensor:
            with Taping(False), random.keeping(iter(drawn)):
                return f(*xs, **options)

        keys = tuple(dict.fromkeys(x._node or x for x in read))
        plan = _Again(getattr(f, "__name__", "a function"), again, y._data, (xs, options, drawn))
        result = plan.result(y._data, keys, tuple(read))
        result._version = y._version
        return result

    return lean
