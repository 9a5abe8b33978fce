"""The optimisers: each is its update's equation, with one fused kernel and the defaults of its hyper-parameters.

The equation is the reference: a test holds the kernel to it, evaluated as it is written. What an equation may hold and
what a kernel is given says `declaration`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy

from ..engine.backend import Array, Namespace
from ..engine.cuda.launch import Gpu
from ..engine.cuda.sources import source
from .optimizer import declare


@declare("theta = theta - learning_rate * g", names=("gradient_descent", "sgd"))
def GradientDescent(xp: Namespace, theta: Array, g: Array, scratch: Array, *, learning_rate: float = 0.01) -> None:
    """Gradient descent, θ ← θ - α ∇J(θ) (D3, D17)."""
    xp.multiply(g, learning_rate, out=scratch)
    xp.subtract(theta, scratch, out=theta)


@declare("v = momentum * v - learning_rate * g; theta = theta + v")
def Momentum(
    xp: Namespace, theta: Array, g: Array, scratch: Array, v: Array, *,
    learning_rate: float = 0.01, momentum: float = 0.9,
) -> None:  # fmt: skip
    """v ← μ v - α ∇J, θ ← θ + v (Polyak 1964); with nesterov=True, θ ← θ + μ v - α ∇J (Sutskever et al. 2013)."""
    _push(xp, g, scratch, v, learning_rate, momentum)
    xp.add(theta, v, out=theta)


@Momentum.variant(
    "v = momentum * v - learning_rate * g; theta = theta + momentum * v - learning_rate * g", nesterov=True
)
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


@declare("v = rho * v + (1 - rho) * g**2; theta = theta - learning_rate * g / sqrt(v + epsilon)")
def RMSprop(
    xp: Namespace, theta: Array, g: Array, scratch: Array, v: Array, *,
    learning_rate: float = 0.001, rho: float = 0.9, epsilon: float = 1e-7,
) -> None:  # fmt: skip
    """The gradient over the root of its mean square: v ← ρ v + (1 - ρ) ∇J², θ ← θ - α ∇J / √(v + ε).

    Source: Tieleman & Hinton 2012.
    """
    _average(xp, v, scratch, g, rho, square=True)
    xp.add(v, epsilon, out=scratch)
    xp.sqrt(scratch, out=scratch)
    xp.divide(g, scratch, out=scratch)
    xp.multiply(scratch, learning_rate, out=scratch)
    xp.subtract(theta, scratch, out=theta)


MOMENTS = "m = beta_1 * m + (1 - beta_1) * g; v = beta_2 * v + (1 - beta_2) * g**2; "
SUMS = "s = beta_1 * s + g; r = beta_2 * r + g**2; m = (1 - beta_1) * s; v = (1 - beta_2) * r; "
CORRECTED = "learning_rate * (m / (1 - beta_1**t)) / (sqrt(v / (1 - beta_2**t)) + epsilon)"


def _corrected(
    t: int, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
) -> dict[str, float]:
    """What stands before s / (√r + ε), with the factors of both moments in it, and the ε that belongs there."""
    root = math.sqrt((1 - beta_2**t) / (1 - beta_2))
    rate = learning_rate * (1 - beta_1) / (1 - beta_1**t)
    return {"learning_rate": rate * root, "epsilon": epsilon * root}


def _corrected_and_shrunk(
    t: int, learning_rate: float = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> dict[str, float]:  # fmt: skip
    """The same, and the factor by which theta decays."""
    corrected = _corrected(t, learning_rate, beta_1, beta_2, epsilon)
    return {**corrected, "shrink": 1 - learning_rate * weight_decay}


@declare(SUMS + f"theta = theta - {CORRECTED}", folds=_corrected)
def Adam(
    xp: Namespace, theta: Array, g: Array, scratch: Array, s: Array, r: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float,
) -> None:  # fmt: skip
    """Adam (Kingma & Ba 2015, Algorithm 1): D4-D6 with both moments corrected for their start at 0.

    bias_correction=False is D4-D6 to the letter: without the correction. The moments are kept without their constant
    factors, m = (1 - β₁) s and v = (1 - β₂) r, which saves two passes over the parameters.
    """
    _sums(xp, g, scratch, s, r, beta_1, beta_2)
    _adam_step(xp, theta, scratch, s, r, learning_rate, epsilon)


@Adam.variant(MOMENTS + "theta = theta - learning_rate * m / (sqrt(v) + epsilon)", bias_correction=False)
def adam_documented(
    xp: Namespace, theta: Array, g: Array, scratch: Array, m: Array, v: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float,
) -> None:  # fmt: skip
    """Adam as documented (D4, D5, D6): without correction of the moments' bias towards 0."""
    _average(xp, m, scratch, g, beta_1)
    _average(xp, v, scratch, g, beta_2, square=True)
    _adam_step(xp, theta, scratch, m, v, learning_rate, epsilon)


@declare(SUMS + f"theta = theta - learning_rate * weight_decay * theta - {CORRECTED}", folds=_corrected_and_shrunk)
def AdamW(
    xp: Namespace, theta: Array, g: Array, scratch: Array, s: Array, r: Array, *,
    learning_rate: float, beta_1: float, beta_2: float, epsilon: float, shrink: float,
) -> None:  # fmt: skip
    """Adam with decoupled weight decay: θ shrinks by α λ θ besides; s and r as in `Adam`.

    Source: Loshchilov & Hutter 2019, Algorithm 2.
    """
    xp.multiply(theta, shrink, out=theta)
    _sums(xp, g, scratch, s, r, beta_1, beta_2)
    _adam_step(xp, theta, scratch, s, r, learning_rate, epsilon)


SOURCE = source(Path(__file__).with_suffix(".cu"), contracted=False)


@AdamW.update.cuda
@Adam.update.cuda
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
