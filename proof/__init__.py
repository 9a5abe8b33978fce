"""Proofs of gradients: for our primitives, and for functions of your own.

from chalkgrad import proof
proof.assert_gradients(f, x, y)              # a chalkgrad function
proof.gradcheck(f, x, vjp=my_vjp)            # any NumPy function with its own gradient
"""

from importlib import import_module as _import_module

from .accuracy import accuracy
from .gradcheck import assert_gradients, gradcheck
from .registry import prove
from .report import Difference, GradientError, Report, Verdict

__all__ = [
    "Difference",
    "GradientError",
    "Report",
    "Verdict",
    "accuracy",
    "assert_gradients",
    "gradcheck",
    "prove",
    "strategies",
]


def __getattr__(name: str) -> object:
    if name == "strategies":  # only then is Hypothesis needed
        return _import_module(".strategies", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
