"""Watching a computation: what was applied, in order, and what the reverse pass sent back.

    with Watching() as seen:
        loss = f(x)
        loss.backward()
    seen.applications, seen.sent

It changes no value: the operations and the reverse pass are the engine's own, and each tells what it did.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .road import watchers
from .taping import Plan
from .tensor import Tensor

if TYPE_CHECKING:
    from .primitive import Primitive


@dataclass(frozen=True, eq=False)
class Application:
    """A primitive applied to operands (tensors, arrays or numbers), with parameters; number: counted from 0."""

    number: int
    primitive: Primitive
    operands: tuple[Any, ...]
    parameters: Mapping[str, Any]
    result: Tensor


@dataclass(eq=False)
class Sent:
    """What the reverse pass sent to an operand: gx, of its shape, made by its rule from the incoming gy."""

    application: Application
    position: int
    gy: Any
    gx: Any

    @property
    def operand(self) -> Any:
        """What it was sent to."""
        return self.application.operands[self.position]


class Watching:
    """While it is entered, all that this thread computes with tensors is noted; nothing is captured meanwhile.

    applications: every primitive that was applied. sent: every gradient that a rule gave, in the order of the pass.
    What is on the tape may be walked backward later, too.
    """

    def __init__(self) -> None:
        self.applications: list[Application] = []
        self.sent: list[Sent] = []

    def __enter__(self) -> Watching:
        self._watched = threading.get_ident()
        watchers[self._watched] = (*watchers.get(self._watched, ()), self.applied)
        return self

    def __exit__(self, *error: object) -> None:
        watchers[self._watched] = tuple(each for each in watchers[self._watched] if each != self.applied)
        if not watchers[self._watched]:
            del watchers[self._watched]

    def applied(
        self, primitive: Primitive, operands: tuple[Any, ...], parameters: Mapping[str, Any], result: Tensor
    ) -> None:
        """Note an application; called by the primitive."""
        application = Application(len(self.applications), primitive, operands, parameters, result)
        self.applications.append(application)
        if result._node is not None:
            result._node.plan = _Watched(result._node.plan, application, self.sent)


class _Watched(Plan):
    """A plan whose rules tell what they give."""

    __slots__ = ("application", "sent")

    def __init__(self, plan: Plan, application: Application, sent: list[Sent]) -> None:
        for slot in Plan.__slots__:
            setattr(self, slot, getattr(plan, slot))
        self.application, self.sent = application, sent
        self.pulls, self.send = tuple(map(self._telling, plan.ruled, plan.pulls)), None

    def _telling(self, position: int, pull: Any) -> Any:
        def telling(xp: Any, node: Any, gy: Any) -> Any:
            gx = gy if pull is None else pull(xp, node, gy)
            self.sent.append(Sent(self.application, position, gy, gx))
            return gx

        return telling

    def settle(self, xp: Any, gx: Any, gy: Any, parent: Any, place: int, taped: bool) -> Any:
        """As the plan's own; what was told is what arrives."""
        settled = super().settle(xp, gx, gy, parent, place, taped)
        if not taped:
            self.sent[-1].gx = settled
        return settled
