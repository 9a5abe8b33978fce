"""The primitives under their names: what a rule gets for `xp` where its own arithmetic is to be differentiated.

What works on arrays works there: the names are NumPy's. Another is an error that names the nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

from ..errors import UnknownNameError, nearest

OWN = f"{__package__.partition('.')[0]}.ops."
"""Where the engine's own primitives are: they stand for NumPy's functions; a user's of such a name may mean another."""

makers: dict[str, Callable[..., Any]] = {}
"""What makes a tensor of no other (`ones`, `arange`, …): functions of a device and of what NumPy's takes."""


class Namespace:
    """The primitives under their names, to be handed to a rule as `xp`: with it the rule is on the tape, too.

    device: where the tensors lie that the rule computes with, and so those that it makes.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def __getattr__(self, name: str) -> Any:
        if name in makers:
            return partial(makers[name], self.device)
        if self is not namespace and name in vars(namespace):
            return vars(namespace)[name]
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownNameError(
            f"xp.{name} is not among the primitives, of which a rule is composed where it is differentiated in turn: "
            f"{nearest(name, (*vars(namespace), *makers))}"
        )


namespace: Any = Namespace()
namespace.linalg, namespace.fft = SimpleNamespace(), SimpleNamespace()


@cache
def namespace_on(device: str) -> Any:
    """The primitives for a rule whose tensors lie on that device."""
    return namespace if device == "cpu" else Namespace(device)
