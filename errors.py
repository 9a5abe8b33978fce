"""The exceptions of chalkgrad: few, and all under one base class."""

from __future__ import annotations

from collections.abc import Iterable


class ChalkgradError(Exception):
    """Base class of every error that chalkgrad raises on purpose."""


class ShapeError(ChalkgradError, ValueError):
    """Shapes that do not fit each other; the message names both."""


class DtypeError(ChalkgradError, TypeError):
    """A dtype that the operation cannot take (a gradient of an integer, an array of objects)."""


class DeviceError(ChalkgradError, RuntimeError):
    """Tensors of different devices were mixed, or a device is not there."""


class DeviceMemoryError(DeviceError, MemoryError):
    """A device has not the memory that is asked for; the message gives the sizes."""


class GraphError(ChalkgradError, RuntimeError):
    """The recorded graph cannot give the gradient that was asked for."""


class EquationError(ChalkgradError, ValueError):
    """An equation's text that the reader cannot read, or that does not match its kernel."""


class DivergenceError(ChalkgradError, ArithmeticError):
    """A training that is no longer finite: NaN or infinity in the loss or the weights.

    where: the epoch, step, layer and operation at which that began, as far as they are known.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class DataError(ChalkgradError, ValueError):
    """Data, labels or a file that are not what they should be; the message says where."""


class UsageError(ChalkgradError, ValueError):
    """A call that cannot mean anything: an unknown name, a batch size of 0, predict before build."""


class MissingExtraError(ChalkgradError, ImportError):
    """Something was asked for that an optional library does, and the library is not there."""


class UnknownNameError(UsageError, TypeError, AttributeError):
    """An argument or attribute of an unknown name; Python's own errors for it are these, which hasattr relies on."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a `name` that is none of the `known` names of this `kind`, with the nearest ones."""
    return UsageError(f"unknown {kind} {name!r}: {nearest(name, known)}")


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is meant, perhaps; else all of them."""
    import difflib  # here, not before there is an error

    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "it takes one of " + ", ".join(map(repr, known)) + "."


def first_line(error: BaseException) -> str:
    """An error's message, on one line."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # of an error that somebody else has made
        lines = []
    return lines[0].strip() if lines else type(error).__name__
