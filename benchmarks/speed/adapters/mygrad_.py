"""MyGrad: tensors with backward, without its guard on memory; updates by hand-written Adam."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..problems import ChainProblem, CrossEntropyProblem, TrainingProblem, TreeProblem, end_of_chain, root_of, sums
from ..stand import Stand, serve
from . import handwritten


def _mygrad() -> Any:
    return import_module("mygrad")


def _nnet(name: str) -> Any:
    return import_module(f"mygrad.nnet.{name}")


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Epochs of training; the weights are views of one flat vector."""
    mg = _mygrad()
    network = handwritten.Network(problem)  # for its flat buffers and views alone
    adam = handwritten.Adam(network.theta, network.gradient, problem.task.rate)
    weights = [tuple(mg.tensor(w, copy=False) for w in layer) for layer in network.weights]
    relu, loss_of = _nnet("activations").relu, _nnet("losses").softmax_crossentropy

    def step(indices: Any) -> float:
        a: Any = problem.x[indices]
        for w, b in weights[:-1]:
            a = relu(mg.matmul(a, w) + b)
        w, b = weights[-1]
        loss = loss_of(mg.matmul(a, w) + b, problem.labels[indices])
        loss.backward()
        for views, layer in zip(network.gradients, weights, strict=True):
            for view, weight in zip(views, layer, strict=True):
                view[...] = weight.grad
        return float(loss.data) * len(indices)

    handwritten.epochs(problem, stand, step, adam.step)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and backward."""
    mg = _mygrad()
    start, x = mg.tensor(problem.y), mg.tensor(problem.x)

    def repeat(number: int) -> Any:
        y = end_of_chain(start, x, problem.c, problem.task.links)
        y.sum().backward()
        return lambda: sums(y.data, x.grad, start.grad)

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and backward."""
    mg = _mygrad()
    leaves = [mg.tensor(row) for row in problem.leaves]

    def repeat(number: int) -> Any:
        root = root_of(leaves)
        root.sum().backward()
        return lambda: sums(root.data, [leaf.grad for leaf in leaves])

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """Its fused loss, and backward."""
    logits, loss_of = _mygrad().tensor(problem.logits), _nnet("losses").softmax_crossentropy

    def repeat(number: int) -> Any:
        loss = loss_of(logits, problem.labels)
        loss.backward()
        return lambda: (float(loss.data), sums(0.0, logits.grad)[1])

    serve(stand, repeat)


ADAPTERS = {"training": train, "chain": chain, "tree": tree, "cross-entropy": cross_entropy}


def start(variant: str) -> None:
    """Import MyGrad."""
    _mygrad().turn_memory_guarding_off()
