"""Proofs of gradients: for our primitives, and for functions of your own.

    from chalkgrad import proof
    proof.assert_gradients(f, x, y)              # a chalkgrad function
    proof.gradcheck(f, x, vjp=my_vjp)            # any NumPy function with its own gradient

What is here is imported when it is first asked for: every run of pytest loads this package for its plugin.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import adapters, strategies
    from .exactness import accuracy
    from .gradients import assert_gradients, gradcheck
    from .registry import prove
    from .report import Difference, GradientError, Report, Verdict

_ROOMS = {
    "Difference": "report",
    "GradientError": "report",
    "Report": "report",
    "Verdict": "report",
    "accuracy": "exactness",
    "adapters": "",
    "assert_gradients": "gradients",
    "gradcheck": "gradients",
    "prove": "registry",
    "strategies": "",
}

__all__ = [
    "Difference",
    "GradientError",
    "Report",
    "Verdict",
    "accuracy",
    "adapters",
    "assert_gradients",
    "gradcheck",
    "prove",
    "strategies",
]


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _import_module(f".{_ROOMS[name] or name}", __name__)
    globals()[name] = getattr(module, name) if _ROOMS[name] else module
    return globals()[name]
