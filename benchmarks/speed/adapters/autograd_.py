"""autograd (HIPS): value_and_grad of a loss in its NumPy; updates in place by hand-written Adam on a flat vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy

from ..problems import CrossEntropyProblem, TrainingProblem, Values
from ..stand import Stand
from . import handwritten
from .differentiated import Run, differentiated


def _modules() -> tuple[Any, Any]:
    return import_module("autograd"), import_module("autograd.numpy")


def _loss(np: Any, z: Any, rows: Any) -> Any:
    """The mean cross-entropy of logits with one-hot rows."""
    z = z - np.max(z, axis=1, keepdims=True)
    return (np.sum(np.log(np.sum(np.exp(z), axis=1))) - np.sum(z * rows)) / len(rows)


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Epochs of training."""
    autograd, np = _modules()

    def loss_of(weights: Any, x: Any, rows: Any) -> Any:
        for w, b in weights[:-1]:
            x = np.maximum(np.dot(x, w) + b, 0)
        w, b = weights[-1]
        return _loss(np, np.dot(x, w) + b, rows)

    gradient_of = autograd.value_and_grad(loss_of)
    handwritten.train_by(
        problem, stand,
        lambda network: lambda batch: gradient_of(network.weights, problem.x[batch], network.rows[batch]),
    )  # fmt: skip


def gradient(f: Callable[..., Any], xs: Sequence[Values], variant: str) -> Run:
    """By its `grad`, which keeps the value for us on the way."""
    autograd, np = _modules()
    last: list[Any] = []

    def summed(*xs: Any) -> Any:
        last[:] = [f(*xs)]
        return np.sum(last[0])

    gradient_of = autograd.grad(summed, tuple(range(len(xs))))

    def run() -> tuple[Any, Any]:
        gradients = gradient_of(*xs)
        return last[0]._value, gradients

    return run


def loss(problem: CrossEntropyProblem) -> Callable[[Any], Any]:
    """The loss in its NumPy."""
    np = _modules()[1]
    rows, places = numpy.arange(len(problem.labels)), problem.labels
    top = problem.logits.max(axis=1, keepdims=True)  # a constant: the loss does not depend on it
    return lambda z: np.mean(np.log(np.sum(np.exp(z - top), axis=1)) + top[:, 0] - z[rows, places])


ADAPTERS = {"training": train, **differentiated(gradient, loss, stacked=True)}  # many arguments cost it their square


def start(variant: str) -> None:
    """Import autograd."""
    _modules()
