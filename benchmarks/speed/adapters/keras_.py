"""Keras on JAX: `fit`, whose step Keras compiles through JAX."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ..problems import TrainingProblem
from ..stand import Stand, serve


def network(problem: TrainingProblem, activation: str | None = None) -> Any:
    """A Sequential with our weights."""
    keras: Any = import_module("keras")
    *hidden, classes = problem.task.sizes[1:]
    model = keras.Sequential(
        [
            keras.Input((problem.task.sizes[0],)),
            *(keras.layers.Dense(size, activation="relu") for size in hidden),
            keras.layers.Dense(classes, activation=activation),
        ]
    )
    model.set_weights(problem.weights)
    return model


def predict(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """`predict_on_batch`, which costs it less than `predict`."""
    serve(stand, problem.singly(network(problem, "softmax").predict_on_batch))


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """An epoch is a `fit` of one: the samples are put into our order within it, and Keras does not shuffle."""
    keras: Any = import_module("keras")
    model = network(problem)
    model.compile(
        keras.optimizers.Adam(problem.task.rate, epsilon=1e-7),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def epoch(number: int) -> Any:
        order = problem.order(number)
        history = model.fit(
            problem.x[order], problem.labels[order], batch_size=problem.task.batch, shuffle=False, verbose=0
        )
        return lambda: history.history["loss"]

    serve(stand, epoch)


ADAPTERS = {"training": train, "prediction": predict}


def start(variant: str) -> None:
    """Import Keras with JAX beneath it."""
    os.environ["KERAS_BACKEND"] = "jax"
    import_module("jax").config.update("jax_platforms", "cpu")
    import_module("keras")
