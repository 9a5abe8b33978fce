"""Further optimisers, by their equations alone, which are the code: Keras's, with its constants, by its names."""

from __future__ import annotations

from typing import Any

from .optimizer import Optimizer, declare
from .schedule import Schedule
from .update import MOMENTS, Adam, GradientDescent, Momentum, RMSprop


@declare("a = a + g**2; theta = theta - learning_rate * g / sqrt(a + initial_accumulator_value + epsilon)")
def Adagrad(*, learning_rate: float = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7) -> None:
    """The gradient over the root of the sum of its squares, which begins at a constant (Duchi et al. 2011)."""


@declare(
    "v = rho * v + (1 - rho) * g**2; d = g * sqrt(u + epsilon) / sqrt(v + epsilon); "
    "u = rho * u + (1 - rho) * d**2; theta = theta - learning_rate * d"
)
def Adadelta(*, learning_rate: float = 0.001, rho: float = 0.95, epsilon: float = 1e-7) -> None:
    """The gradient in units of the steps before: times the root of their mean square over its own (Zeiler 2012)."""


@declare(
    "m = beta_1 * m + (1 - beta_1) * g; u = max(beta_2 * u, abs(g)); "
    "theta = theta - learning_rate / (1 - beta_1**t) * m / (u + epsilon)"
)
def Adamax(*, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> None:
    """Adam with the infinity norm: over the greatest gradient, which fades (Kingma & Ba 2015, Algorithm 2)."""


@declare(
    "a = beta_1 * (1 - 0.5 * 0.96**t); b = beta_1 * (1 - 0.5 * 0.96**(t + 1)); q = 1 - (1 - q) * a; "
    + MOMENTS
    + "n = b * m / (1 - (1 - q) * b) + (1 - a) * g / q; "
    "theta = theta - learning_rate * n / (sqrt(v / (1 - beta_2**t)) + epsilon)"
)
def Nadam(*, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> None:
    """Adam with Nesterov's momentum and its schedule; q is 1 less the product of all a (Dozat 2016)."""


@declare(
    "c = beta_1 * m + (1 - beta_1) * g; m = beta_2 * m + (1 - beta_2) * g; theta = theta - learning_rate * sign(c)"
)
def Lion(*, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.99) -> None:
    """Steps of one size, in the direction of an average of gradients (Chen et al. 2023)."""


@Adam.variant(
    MOMENTS + "h = max(h, v); "
    "theta = theta - learning_rate * (m / (1 - beta_1**t)) / (sqrt(h / (1 - beta_2**t)) + epsilon)",
    amsgrad=True,
)
def adam_greatest(*, learning_rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:
    """AMSGrad: Adam over the greatest mean square so far (Reddi et al. 2018)."""


@RMSprop.variant(
    "m = rho * m + (1 - rho) * g; v = rho * v + (1 - rho) * g**2; "
    "theta = theta - learning_rate * g / sqrt(v - m**2 + epsilon)",
    centered=True,
)
def rmsprop_centered(*, learning_rate: float, rho: float, epsilon: float) -> None:
    """RMSprop over the root of the variance instead of the mean square (Graves 2013)."""


def SGD(
    learning_rate: float | Schedule = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
) -> Optimizer:
    """Gradient descent, or `Momentum`, by Keras's name and with its arguments; options: those of every optimiser."""
    if not momentum:
        return GradientDescent(learning_rate, **options)
    return Momentum(learning_rate, momentum, nesterov=nesterov, **options)
