"""autograd (HIPS): value_and_grad of a loss in its NumPy; updates in place by hand-written Adam on a flat vector."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy

from ..problems import ChainProblem, CrossEntropyProblem, TrainingProblem, TreeProblem, end_of_chain, root_of, sums
from ..stand import Stand, serve
from . import handwritten


def _modules() -> tuple[Any, Any]:
    return import_module("autograd"), import_module("autograd.numpy")


def _loss(np: Any, z: Any, rows: Any) -> Any:
    """The mean cross-entropy of logits with one-hot rows."""
    z = z - np.max(z, axis=1, keepdims=True)
    return (np.sum(np.log(np.sum(np.exp(z), axis=1))) - np.sum(z * rows)) / len(rows)


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Epochs of training."""
    autograd, np = _modules()
    network = handwritten.Network(problem)  # for its flat buffers and views alone
    adam = handwritten.Adam(network.theta, network.gradient, problem.task.rate)
    rows, x = network.rows, problem.x

    def loss_of(weights: Any, x: Any, rows: Any) -> Any:
        for w, b in weights[:-1]:
            x = np.maximum(np.dot(x, w) + b, 0)
        w, b = weights[-1]
        return _loss(np, np.dot(x, w) + b, rows)

    gradient_of = autograd.value_and_grad(loss_of)

    def step(indices: Any) -> float:
        loss, gradients = gradient_of(network.weights, x[indices], rows[indices])
        for views, values in zip(network.gradients, gradients, strict=True):
            for view, value in zip(views, values, strict=True):
                view[...] = value
        return float(loss) * len(indices)

    handwritten.epochs(problem, stand, step, adam.step)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and its gradient."""
    autograd, np = _modules()
    last: list[Any] = []

    def f(y: Any, x: Any) -> Any:
        last[:] = [end_of_chain(y, x, problem.c, problem.task.links)]
        return np.sum(last[0])

    gradient_of = autograd.value_and_grad(f, (0, 1))

    def repeat(number: int) -> Any:
        _, (gy, gx) = gradient_of(problem.y, problem.x)
        return lambda: sums(last[0]._value, gx, gy)

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and its gradient; the leaves as one array, for many arguments cost it their square."""
    autograd, np = _modules()

    def f(leaves: Any) -> Any:
        return np.sum(root_of([leaves[i] for i in range(len(problem.leaves))]))

    gradient_of = autograd.value_and_grad(f)

    def repeat(number: int) -> Any:
        root, gradients = gradient_of(problem.leaves)
        return lambda: sums(root, gradients)

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """The loss in its NumPy, and its gradient."""
    autograd, np = _modules()
    rows, places = numpy.arange(len(problem.labels)), problem.labels

    def f(z: Any) -> Any:
        top = problem.logits.max(axis=1, keepdims=True)  # a constant: the loss does not depend on it
        return np.mean(np.log(np.sum(np.exp(z - top), axis=1)) + top[:, 0] - z[rows, places])

    gradient_of = autograd.value_and_grad(f)

    def repeat(number: int) -> Any:
        loss, gradient = gradient_of(problem.logits)
        return lambda: (float(loss), sums(0.0, gradient)[1])

    serve(stand, repeat)


ADAPTERS = {"training": train, "chain": chain, "tree": tree, "cross-entropy": cross_entropy}


def start(variant: str) -> None:
    """Import autograd."""
    _modules()
