"""Updates: the equations by which parameters follow their gradient, each with one fused kernel.

The equation is the reference: a test holds the kernel to it, evaluated as it is written. In it `theta` are the
parameters, `g` is the gradient, `t` counts the updates from 1; the other targets that the kernel takes are state, kept
from one update to the next and 0 at first, and those that it does not take are names for what lies between. The kernel
changes theta and the state in place and allocates nothing; `scratch` is a buffer of theta's shape that it may
overwrite.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from ..engine.backend import Array, Cupy, Namespace
from ..engine.cuda.launch import Gpu, gpu_of
from ..equation.language import Equation, read_equation


class Update:
    """An update equation and its kernel; made by the decorator `update`.

    hyperparameters: the numbers of the equation. varying: those of the kernel's numbers that change from one update
    to the next; `folds` computes them from the hyper-parameters, where they are not among those.
    """

    def __init__(
        self, kernel: Callable[..., None], text: str, folds: Callable[..., Mapping[str, float]] | None = None
    ) -> None:
        self.name = self.__name__ = self.__qualname__ = kernel.__name__
        self.__doc__, self.__module__ = kernel.__doc__, kernel.__module__
        self.kernel = kernel
        self.text = text
        self.folds = folds
        names = list(inspect.signature(kernel).parameters.values())
        self.slots = tuple(p.name for p in names[4:] if p.kind is not p.KEYWORD_ONLY)
        self._numbers = tuple(p.name for p in names if p.kind is p.KEYWORD_ONLY)
        self._folded = tuple(inspect.signature(folds).parameters) if folds else ()
        self.varying = ("learning_rate", *(n for n in self._numbers if n in FOLDED)) if folds else ("learning_rate",)
        given = [n for n in self._numbers if not (folds and n in FOLDED and n not in self._folded)]
        self.hyperparameters = tuple(dict.fromkeys((*given, *self._folded)))
        self.launch: Callable[..., None] | None = None

    def __reduce__(self) -> str:
        """Copied and pickled as a function is: by its name, itself."""
        return self.name

    @cached_property
    def equation(self) -> Equation:
        """The equation, read."""
        return read_equation(self.text, {"theta", "g", *self.slots, *self.hyperparameters})

    @property
    def statements(self) -> list[Equation]:
        """The equation's statements one by one, each with those before it known."""
        known = {"theta", "g", *self.slots, *self.hyperparameters}
        read = []
        for text in self.text.split(";"):
            read.append(read_equation(text.strip(), known))
            known.add(read[-1].target)
        return read

    def keeps(self, target: str) -> bool:
        """Whether a target is overwritten, rather than a name for what lies between."""
        return target == "theta" or target in self.slots

    def numbers(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the kernel takes, of the hyper-parameters' values."""
        folded = self.folds(**{name: values[name] for name in self._folded}) if self.folds else {}
        return {name: folded[name] if name in folded else values[name] for name in self._numbers}

    def cuda(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a launch on a CUDA device that does the same: (gpu, theta, g, *state, **numbers)."""
        self.launch = function
        return function

    def change(self, xp: Namespace, theta: Array, g: Array, scratch: Array, *state: Array, **numbers: Any) -> None:
        """Update theta and the state in place, by the launch where they lie on a GPU; numbers: the kernel's."""
        if self.launch and isinstance(xp, Cupy) and theta.dtype.name in ("float32", "float64"):
            self.launch(gpu_of(theta), theta, g, *state, **numbers)
        else:
            self.kernel(xp, theta, g, scratch, *state, **numbers)

    def __call__(
        self, xp: Namespace, theta: Array, g: Array, scratch: Array, state: Mapping[str, Array], **values: Any
    ) -> None:
        """Update theta and the state in place."""
        self.change(xp, theta, g, scratch, *(state[slot] for slot in self.slots), **self.numbers(values))


FOLDED = ("epsilon", "shrink")
"""Numbers of a kernel, besides the learning rate, that `folds` gives anew for each update."""

updates: dict[str, Update] = {}


def update(
    text: str, folds: Callable[..., Mapping[str, float]] | None = None
) -> Callable[[Callable[..., None]], Update]:
    """Make an update of a kernel and list it in `updates` under the kernel's name.

    text: its equation. folds: a function of hyper-parameters (and `t`) to numbers that the kernel takes instead.
    """

    def declare(kernel: Callable[..., None]) -> Update:
        updates[kernel.__name__] = Update(kernel, text, folds)
        return updates[kernel.__name__]

    return declare


@update("theta = theta - learning_rate * g")
def gradient_descent(xp: Namespace, theta: Array, g: Array, scratch: Array, *, learning_rate: float) -> None:
    """Gradient descent (D3, D17)."""
    xp.multiply(g, learning_rate, out=scratch)
    xp.subtract(theta, scratch, out=theta)


@update("v = momentum * v - learning_rate * g; theta = theta + v")
def momentum(
    xp: Namespace, theta: Array, g: Array, scratch: Array, v: Array, *, learning_rate: float, momentum: float
) -> None:
    """Gradient descent with momentum (Polyak 1964)."""
    _push(xp, g, scratch, v, learning_rate, momentum)
    xp.add(theta, v, out=theta)


@update("v = momentum * v - learning_rate * g; theta = theta + momentum * v - learning_rate * g")
def nesterov(
    xp: Namespace, theta: Array, g: Array, scratch: Array, v: Array, *, learning_rate: float, momentum: float
) -> None:
    """Nesterov's accelerated gradient, with the gradient taken at theta (Sutskever et al. 2013)."""
    _push(xp, g, scratch, v, learning_rate, momentum)
    xp.subtract(theta, scratch, out=theta)
    xp.multiply(v, momentum, out=scratch)
    xp.add(theta, scratch, out=theta)


def _push(xp: Namespace, g: Array, scratch: Array, v: Array, learning_rate: float, momentum: float) -> None:
    xp.multiply(v, momentum, out=v)
    xp.multiply(g, learning_rate, out=scratch)
    xp.subtract(v, scratch, out=v)


@update("v = rho * v + (1 - rho) * g**2; theta = theta - learning_rate * g / sqrt(v + epsilon)")
def rmsprop(
    xp: Namespace, theta: Array, g: Array, scratch: Array, v: Array, *, learning_rate: float, rho: float, epsilon: float
) -> None:
    """RMSprop (Tieleman & Hinton 2012): the gradient over the root of its mean square."""
    _average(xp, v, scratch, g, rho, square=True)
    xp.add(v, epsilon, out=scratch)
    xp.sqrt(scratch, out=scratch)
    xp.divide(g, scratch, out=scratch)
    xp.multiply(scratch, learning_rate, out=scratch)
    xp.subtract(theta, scratch, out=theta)


MOMENTS = "m = beta_1 * m + (1 - beta_1) * g; v = beta_2 * v + (1 - beta_2) * g**2; "
SUMS = "s = beta_1 * s + g; r = beta_2 * r + g**2; m = (1 - beta_1) * s; v = (1 - beta_2) * r; "
CORRECTED = "learning_rate * (m / (1 - beta_1**t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)"


@update(MOMENTS + "theta = theta - learning_rate * m / (sqrt(v) + epsilon)")
def adam_documented(
    xp: Namespace, theta: Array, g: Array, scratch: Array, m: Array, v: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float,
) -> None:  # fmt: skip
    """Adam as documented (D4, D5, D6): without correction of the moments' bias towards 0."""
    _average(xp, m, scratch, g, beta_1)
    _average(xp, v, scratch, g, beta_2, square=True)
    _adam_step(xp, theta, scratch, m, v, learning_rate, epsilon)


def _corrected(learning_rate: float, beta_1: float, beta_2: float, epsilon: float, t: int) -> dict[str, float]:
    """What stands before s / (√r + ε), with the factors of both moments in it, and the ε that belongs there."""
    root = math.sqrt((1 - beta_2**t) / (1 - beta_2))
    rate = learning_rate * (1 - beta_1) / (1 - beta_1**t)
    return {"learning_rate": rate * root, "epsilon": epsilon * root}


def _corrected_and_shrunk(
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float, weight_decay: float, t: int
) -> dict[str, float]:
    """The same, and the factor by which theta decays."""
    corrected = _corrected(learning_rate, beta_1, beta_2, epsilon, t)
    return {**corrected, "shrink": 1 - learning_rate * weight_decay}


@update(SUMS + f"theta = theta - {CORRECTED}", folds=_corrected)
def adam(
    xp: Namespace, theta: Array, g: Array, scratch: Array, s: Array, r: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float,
) -> None:  # fmt: skip
    """Adam (Kingma & Ba 2015, Algorithm 1): D4-D6 with both moments corrected for their start at 0.

    The moments are kept without their constant factors, m = (1 - β₁) s and v = (1 - β₂) r, which saves two passes
    over the parameters.
    """
    _sums(xp, g, scratch, s, r, beta_1, beta_2)
    _adam_step(xp, theta, scratch, s, r, learning_rate, epsilon)


@update(SUMS + f"theta = theta - learning_rate * weight_decay * theta - {CORRECTED}", folds=_corrected_and_shrunk)
def adamw(
    xp: Namespace, theta: Array, g: Array, scratch: Array, s: Array, r: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float, shrink: float,
) -> None:  # fmt: skip
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2); s and r as in `adam`."""
    xp.multiply(theta, shrink, out=theta)
    _sums(xp, g, scratch, s, r, beta_1, beta_2)
    _adam_step(xp, theta, scratch, s, r, learning_rate, epsilon)


SOURCE = Path(__file__).with_suffix(".cu")


@adamw.cuda
@adam.cuda
def _(
    gpu: Gpu, theta: Array, g: Array, s: Array, r: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float, shrink: float = 1.0,
) -> None:  # fmt: skip
    real = theta.dtype.type
    varying = [x for value in (learning_rate, epsilon, shrink) for x in (None, real(value))]
    _launch(gpu, "adam", theta, g, s, r, *varying, real(beta_1), real(beta_2))


@adam_documented.cuda
def _(
    gpu: Gpu, theta: Array, g: Array, m: Array, v: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float,
) -> None:  # fmt: skip
    numbers = learning_rate, epsilon, beta_1, 1 - beta_1, beta_2, 1 - beta_2
    _launch(gpu, "adam_documented", theta, g, m, v, None, *map(theta.dtype.type, numbers))


def _launch(gpu: Gpu, name: str, theta: Array, g: Array, first: Array, second: Array, *numbers: Any) -> None:
    """One launch over the flat buffer; of each number that may vary, its place on the device (None) and its value."""
    blocks = max(1, min(-(-theta.size // 1024), 8 * gpu.multiprocessors))
    arrays = theta, g, first, second
    gpu.launch(
        SOURCE, name, (blocks,), (256,), *arrays, numpy.int64(theta.size), *numbers, contracted=False, REAL=theta.dtype
    )


def _sums(xp: Namespace, g: Array, scratch: Array, s: Array, r: Array, beta_1: float, beta_2: float) -> None:
    """s ← β₁ s + g, r ← β₂ r + g²."""
    xp.multiply(s, beta_1, out=s)
    xp.add(s, g, out=s)
    xp.multiply(r, beta_2, out=r)
    xp.multiply(g, g, out=scratch)
    xp.add(r, scratch, out=r)


def _average(xp: Namespace, average: Array, scratch: Array, g: Array, beta: float, square: bool = False) -> None:
    """average ← β average + (1 - β) g, or g²."""
    xp.multiply(average, beta, out=average)
    xp.multiply(g, 1 - beta, out=scratch)
    if square:
        xp.multiply(scratch, g, out=scratch)
    xp.add(average, scratch, out=average)


def _adam_step(
    xp: Namespace, theta: Array, scratch: Array, m: Array, v: Array, learning_rate: float, epsilon: float
) -> None:
    """θ ← θ - α m / (√v + ε)."""
    xp.sqrt(v, out=scratch)
    xp.add(scratch, epsilon, out=scratch)
    xp.divide(m, scratch, out=scratch)
    xp.multiply(scratch, learning_rate, out=scratch)
    xp.subtract(theta, scratch, out=theta)
