"""MyGrad: tensors with backward, without its guard on memory; updates by hand-written Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..problems import CrossEntropyProblem, TrainingProblem, Values
from ..stand import Stand
from . import handwritten
from .differentiated import Run, differentiated


def _mygrad() -> Any:
    return import_module("mygrad")


def _nnet(name: str) -> Any:
    return import_module(f"mygrad.nnet.{name}")


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Epochs of training; the weights are views of one flat vector."""
    mg = _mygrad()
    relu, loss_of = _nnet("activations").relu, _nnet("losses").softmax_crossentropy

    def batches(network: handwritten.Network) -> Callable[[Values], tuple[Any, Any]]:
        weights = [tuple(mg.tensor(w, copy=False) for w in layer) for layer in network.weights]

        def gradients(indices: Values) -> tuple[Any, Any]:
            a: Any = problem.x[indices]
            for w, b in weights[:-1]:
                a = relu(mg.matmul(a, w) + b)
            w, b = weights[-1]
            loss = loss_of(mg.matmul(a, w) + b, problem.labels[indices])
            loss.backward()
            return loss.data, [[weight.grad for weight in layer] for layer in weights]

        return gradients

    handwritten.train_by(problem, stand, batches)


def gradient(f: Callable[..., Any], xs: Sequence[Values], variant: str) -> Run:
    """By backward."""
    variables = [_mygrad().tensor(x) for x in xs]

    def run() -> tuple[Any, Any]:
        y = f(*variables)
        y.sum().backward()
        return y.data, [x.grad for x in variables]

    return run


def loss(problem: CrossEntropyProblem) -> Callable[[Any], Any]:
    """Its fused loss."""
    loss_of = _nnet("losses").softmax_crossentropy
    return lambda logits: loss_of(logits, problem.labels)


ADAPTERS = {"training": train, **differentiated(gradient, loss)}


def start(variant: str) -> None:
    """Import MyGrad."""
    _mygrad().turn_memory_guarding_off()
