"""The worked example of the documented equations (D7-D17), a small convolution (D2), and two Adams side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from .. import ops
from ..engine.tensor import Tensor
from ..errors import UsageError
from ..nn import layers
from ..nn.sequential import Sequential
from ..optim import Adam, GradientDescent, Optimizer
from .explain import explain
from .explanation import Explanation

LEARNING_RATE = 0.05
WEIGHTS = {
    "W1": [[0.2, -0.4, 0.1, 0.5], [0.7, 0.3, -0.6, 0.2], [-0.3, 0.8, -0.2, 0.4]],
    "b1": [0.1, 0.0, -0.1, 0.2],
    "W2": [[0.6, -0.2], [-0.5, 0.9], [0.3, 0.4], [0.8, 0.7]],
    "b2": [0.05, -0.1],
}
SAMPLE, TARGET = [[1.0, 0.5, 0.25]], [[1.0, 0.0]]
"""One sample; with it the third hidden unit is off, and the second too."""
ADAM_STEPS = 10
ADAM_WEIGHT = (3, 1)
"""Of W2: the weight that the two Adams are compared by."""


def worked_model(optimizer: Optimizer | None = None) -> Sequential:
    """The net 3-4-2 with ReLU on both layers and MSE (D7), in float64, with the weights of the blackboard."""
    model = Sequential(
        [layers.Dense(4, activation="relu", input_shape=(3,)), layers.Dense(2, activation="relu")],
        dtype="float64", name="worked example",
    )  # fmt: skip
    model.compile(optimizer or GradientDescent(LEARNING_RATE), "mse")
    model.build()
    model.set_weights([numpy.array(values) for values in WEIGHTS.values()])
    return model


def train_steps(model: Sequential, x: object, y: object, steps: int) -> None:
    """So many updates on one batch, by `fit`."""
    if steps:
        model.fit(x, y, batch_size=len(numpy.asarray(x)), epochs=steps, shuffle=False, verbose=0)


def worked_example(step: int = 0, optimizer: Optimizer | None = None) -> Explanation:
    """The worked example, explained after `step` updates. Raises UsageError for a negative step."""
    if step < 0:
        raise UsageError(f"step {step}: it is 0 or more, the number of updates before the one that is explained.")
    model = worked_model(optimizer)
    x, y = numpy.array(SAMPLE), numpy.array(TARGET)
    train_steps(model, x, y, step)
    explained = explain(model, x, y, title="worked example")
    explained.step_number = step
    return explained


def convolution_example() -> Explanation:
    """One layer of convolution with ReLU (D2): an image of 4×4, a kernel of 2×2, and the mean of what comes out."""
    image = numpy.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=float).reshape(1, 4, 4, 1)
    kernel = numpy.array([[1.0, -0.5], [0.5, -1.0]]).reshape(2, 2, 1, 1)

    def layer(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        z = ops.convolution.convolution(x, W, b)
        h = ops.activation.relu(z)
        return ops.reduction.mean(h)

    return explain(layer, image, kernel, numpy.array([0.1]), title="convolution")


@dataclass(frozen=True)
class AdamStep:
    """One update of one weight by one Adam: its gradient, the moments (D4, D5), the step, and the weight after it.

    loss: before the update.
    """

    t: int
    loss: float
    gradient: float
    m: float
    v: float
    change: float
    weight: float


def adam_steps(bias_correction: bool, steps: int = ADAM_STEPS, descended: int = 0) -> list[AdamStep]:
    """The first updates of the worked example by Adam: as documented (D4-D6), or with the bias corrected.

    descended: how many updates by gradient descent come before them.
    """
    optimizer = Adam(bias_correction=bias_correction)
    model = worked_model(optimizer)
    x, y = numpy.array(SAMPLE), numpy.array(TARGET)
    if descended:
        before = worked_model()
        train_steps(before, x, y, descended)
        model.set_weights(before.get_weights())
    weight = model.trainable_weights[2]
    at = 3 * 4 + 4 + int(numpy.ravel_multi_index(ADAM_WEIGHT, weight.shape))  # its place in the flat buffer
    rows = []
    for t in range(1, steps + 1):
        loss = ops.loss.mean_squared_error(model(x), y)
        loss.backward()
        gradient = float(weight.grad.numpy()[ADAM_WEIGHT])  # type: ignore[union-attr]
        for one in model.trainable_weights:
            one.grad = None
        old = float(weight.numpy()[ADAM_WEIGHT])
        train_steps(model, x, y, 1)
        new = float(weight.numpy()[ADAM_WEIGHT])
        state = {name: float(values[at]) for name, values in optimizer.state.items()}
        m = state["m"] if "m" in state else (1 - optimizer.hyperparameters["beta_1"]) * state["s"]
        v = state["v"] if "v" in state else (1 - optimizer.hyperparameters["beta_2"]) * state["r"]
        rows.append(AdamStep(t, loss.item(), gradient, m, v, new - old, new))
    return rows
