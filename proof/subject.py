"""The function under test, whatever it is written with, as NumPy values and pulled-back gradients."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy
from numpy.typing import NDArray

from ..engine import backend, transform
from ..engine.incoming import as_array
from ..engine.tensor import Tensor
from ..errors import DtypeError, GraphError, UsageError

Values = NDArray[Any]
Pull = Callable[[Values], tuple[Values | None, ...]]


class OutOfTime(Exception):
    """The check's time is up."""


def placed(x: Values, device: str, requires_grad: bool = False) -> Tensor:
    """The array as a tensor on the device, in the memory layout that it has here."""
    if device == "cpu" or x.flags.forc or any(step % x.itemsize for step in x.strides):
        return Tensor(backend.send(x, device), requires_grad)
    low, high = numpy.lib.array_utils.byte_bounds(x)
    first = (x.ctypes.data - low) // x.itemsize
    lowest = x[tuple(slice(-1, None) if step < 0 else slice(1) for step in x.strides)]
    memory = numpy.lib.stride_tricks.as_strided(lowest, ((high - low) // x.itemsize,), (x.itemsize,))
    return Tensor(backend.strided(backend.send(memory, device)[first:], x.shape, x.strides), requires_grad)


class Subject:
    """A function with its gradient. Counts evaluations, and stops at the next one when `stop` is set."""

    def __init__(self, f: Callable[..., Any], name: str) -> None:
        self.f, self.name = f, name
        self.code = ""  # how to write f, where its name alone does not say
        self.given: dict[str, Callable[..., Any]] = {}  # the gradient, by the keyword that it was given as
        self.analytic: Callable[..., Values] | None = None  # f on complex arrays, where it can be tried
        self.evaluations = 0
        self.stop = threading.Event()

    def count(self) -> None:
        """Note an evaluation; raises OutOfTime once `stop` is set."""
        if self.stop.is_set():
            raise OutOfTime
        self.evaluations += 1

    def value(self, *xs: Values) -> Values:
        """f at xs."""
        raise NotImplementedError

    def linearize(self, *xs: Values) -> tuple[Values, Pull]:
        """f at xs, and its gradient there as a function of the incoming gradient."""
        raise NotImplementedError


class OfTensors(Subject):
    """A chalkgrad function: of tensors on a device, differentiated by the tape; its values are compared on the host."""

    def __init__(self, f: Callable[..., Any], name: str, device: str = "cpu") -> None:
        super().__init__(f, name)
        self.device = device

    def put(self, x: Values, requires_grad: bool = False) -> Tensor:
        """An array as a tensor where the function computes."""
        return placed(x, self.device, requires_grad)

    def value(self, *xs: Values) -> Values:
        self.count()
        first = self.evaluations == 1
        try:
            y = self.f(*(self.put(x) for x in xs))
            if isinstance(y, (float, numpy.ndarray, numpy.generic)):
                with contextlib.suppress(GraphError):  # of tensors that require one NumPy's functions make tensors
                    y = self.f(*(self.put(x, x.dtype.kind == "f") for x in xs))
        except Exception as error:
            if first and self._takes_arrays(xs):
                raise self._needs_gradient(f"given tensors it raises {type(error).__name__}: {error}") from error
            raise
        return self._result(y)

    def linearize(self, *xs: Values) -> tuple[Values, Pull]:
        self.count()
        try:
            y, pull = transform.vjp(self._checked, *(self.put(x) for x in xs))
        except GraphError as error:  # a NumPy function of which the tape knows no gradient
            if self._takes_arrays(xs):
                raise self._needs_gradient(str(error)) from error
            raise
        return y.numpy(), lambda gy: tuple(g.numpy() for g in pull(self.put(gy)))

    def jvp(self, xs: tuple[Values, ...], vs: tuple[Values, ...]) -> Values:
        """The Jacobian times vs at xs."""
        self.count()
        return transform.jvp(self._checked, [self.put(x) for x in xs], [self.put(v) for v in vs])[1].numpy()

    def _checked(self, *xs: Tensor) -> Tensor:
        y = self.f(*xs)
        self._result(y)
        assert isinstance(y, Tensor)
        return y

    def _result(self, y: Any) -> Values:
        if isinstance(y, (float, numpy.ndarray, numpy.generic)):
            raise self._needs_gradient(f"given tensors it returned {_kind(y)}")
        if not isinstance(y, Tensor):
            raise UsageError(f"{self.name} returned {_kind(y)}; a gradient check takes a function with one tensor.")
        if y.dtype.kind != "f":
            raise UsageError(f"{self.name} returned dtype {y.dtype}; only floating point has a gradient.")
        return y.numpy()

    def _takes_arrays(self, xs: tuple[Values, ...]) -> bool:
        """Whether f is a function of NumPy arrays to one."""
        try:
            return isinstance(self.f(*(x.copy() for x in xs)), (float, numpy.ndarray, numpy.generic))
        except Exception:
            return False

    def _needs_gradient(self, why: str) -> UsageError:
        return UsageError(
            f"{self.name} computes with NumPy, so the tape has no gradient of it, and none is given ({why}). "
            "Give one: vjp= with vjp(gy, *inputs) -> a gradient for each input, or, where its value is one number, "
            f"gradient= with gradient(*inputs). Or write {self.name} with chalkgrad's operations on tensors."
        )


class OfArrays(Subject):
    """A function of NumPy arrays with a gradient of its own: vjp(gy, *xs)."""

    def __init__(self, f: Callable[..., Any], vjp: Callable[..., Any], name: str) -> None:
        super().__init__(f, name)
        self.vjp = vjp
        self.given = {"vjp": vjp}
        self.analytic = self.value

    def value(self, *xs: Values) -> Values:
        self.count()
        y = self.f(*xs)
        if isinstance(y, Tensor):
            y = y.numpy()
        if isinstance(y, (bool, int, tuple, list)) or not isinstance(y, (float, complex, numpy.ndarray, numpy.generic)):
            raise UsageError(f"{self.name} returned {_kind(y)}; a gradient check takes a function with one array.")
        y = numpy.asarray(y)
        if y.dtype.kind not in "fc" or (y.dtype.kind == "c" and all(x.dtype.kind == "f" for x in xs)):
            raise UsageError(f"{self.name} returned dtype {y.dtype}; a gradient check takes real floating point.")
        return y

    def linearize(self, *xs: Values) -> tuple[Values, Pull]:
        return self.value(*xs), lambda gy: self._gradients(gy, xs)

    def _gradients(self, gy: Values, xs: tuple[Values, ...]) -> tuple[Values | None, ...]:
        self.count()
        given = self.vjp(gy, *xs)
        gradients = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if len(gradients) != len(xs):
            raise UsageError(
                f"the gradient of {self.name} returned {len(gradients)} arrays for {len(xs)} arguments: "
                "one for each, None where there is none."
            )
        return tuple(None if g is None else numpy.asarray(g.numpy() if isinstance(g, Tensor) else g) for g in gradients)


def make_subject(f: Any, vjp: Any, gradient: Any, name: str | None, device: str) -> Subject:
    """The subject for what `gradcheck` was given; raises UsageError where that cannot be one."""
    if isinstance(f, tuple) and len(f) == 2 and vjp is None and gradient is None:
        f, vjp = f
    if not callable(f) or (vjp is not None and gradient is not None):
        raise UsageError("gradcheck takes a function, and at most one of vjp= and gradient=.")
    label = name or getattr(f, "__name__", None) or getattr(f, "name", None) or type(f).__name__
    if device != "cpu" and (vjp is not None or gradient is not None):
        raise UsageError(f"device={device!r} is for chalkgrad functions: {label} is one of NumPy arrays.")
    if gradient is not None:
        subject = OfArrays(f, _from_gradient(gradient, label), label)
        subject.given = {"gradient": gradient}
        return subject
    return OfTensors(f, label, device) if vjp is None else OfArrays(f, vjp, label)


def _from_gradient(gradient: Callable[..., Any], name: str) -> Callable[..., Any]:
    def vjp(gy: Values, *xs: Values) -> tuple[Any, ...]:
        if gy.size != 1:
            raise UsageError(
                f"gradient= is for a function whose value is one number; {name} has shape {gy.shape}: vjp=."
            )
        given = gradient(*xs)
        given = given if isinstance(given, (tuple, list)) else (given,)
        return tuple(None if g is None else (gy.reshape(()) * g).astype(numpy.asarray(g).dtype) for g in given)

    return vjp


def as_input(x: Any, position: int) -> Values:
    """An input as a floating array, in its own memory layout; raises UsageError for integers, complex or others."""
    if isinstance(x, Tensor):
        x = x.numpy()
    try:
        x = backend.fetch(as_array(x, f"argument {position}"))
    except DtypeError as error:
        raise UsageError(str(error)) from None
    if x.dtype.kind != "f" or x.dtype.itemsize not in (4, 8):
        raise UsageError(
            f"argument {position} has dtype {x.dtype}: gradients are checked at float32 or float64; "
            "let the function close over what is not differentiated."
        )
    return numpy.asarray(x)


def _kind(y: Any) -> str:
    if y is None:
        return "nothing"
    return f"{len(y)} values" if isinstance(y, (tuple, list)) else type(y).__name__
