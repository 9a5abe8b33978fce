"""chalkgrad itself: on the tape, captured and replayed on NumPy, and with groups of elementwise operations compiled.

A training is done on a GPU as well: on the tape, captured into a CUDA graph, and many steps in one launch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import count
from typing import Any

from ....engine import backend
from ....engine.flat import Flat
from ....engine.tensor import Tensor, tensor
from ....errors import DeviceError
from ....nn import layers
from ....nn.callbacks import Callback
from ....nn.sequential import Sequential
from ....optim import Adam
from ....replay.capture import Captured, capture
from ....replay.gpu import GpuProgram
from ..problems import SEED, CrossEntropyProblem, TrainingProblem, UpdateProblem, Values
from ..stand import Stand, UnavailableError, serve
from .differentiated import Run, differentiated

EAGER, CAPTURED, JIT, FIT_BY_FIT, ONE_LAUNCH = "eager", "captured", "jit", "fit by fit", "one launch"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    EAGER: {"run_eagerly": True},
    CAPTURED: {"jit_compile": False},
    JIT: {"jit_compile": True},
    FIT_BY_FIT: {"jit_compile": True},
    ONE_LAUNCH: {"jit_compile": "auto"},
}
"""What each variant hands to `compile`."""
FOREVER = 1 << 30
RECORDED = 3
"""Repetitions after which a captured step has been recorded for every batch size."""


class Finished(Exception):
    """The stand asks for no further epoch."""


class Timed(Callback):
    """Each epoch of one long `fit` is a repetition: the clock starts as it begins and stops as it ends."""

    def __init__(self, stand: Stand, variant: str) -> None:
        self.stand, self.variant, self.epochs = stand, variant, 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Wait to be told to go."""
        if not self.stand.begin():
            raise Finished

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Report."""
        loss, self.epochs = logs["loss"], self.epochs + 1
        if self.variant != EAGER and self.epochs == RECORDED:
            for step in self.model.recorded_steps:
                replayed(step, self.variant == ONE_LAUNCH)
        backend.synchronize(self.model.device)
        self.stand.end(lambda: (loss,))


def replayed(step: Captured[..., Any], in_one_launch: bool = False) -> None:
    """Raise where a step that is called captured, or done in one launch, runs otherwise in truth."""
    recordings = step.recordings.values()
    reasons = [recording.reason for recording in recordings if recording.reason]
    if reasons or not any(recording.program for recording in recordings):
        raise UnavailableError(f"it is not replayed: {reasons[0] if reasons else 'it was never recorded twice alike'}")
    programs = [recording.program for recording in recordings if isinstance(recording.program, GpuProgram)]
    refused = [program.not_captured for program in programs if program.not_captured]
    if refused:
        raise UnavailableError(f"it is no CUDA graph: {refused[0]}")
    if in_one_launch and not any(program.epoch for program in programs):
        why = [program.not_in_parts for program in programs if program.not_in_parts]
        raise UnavailableError(
            f"it is not done in one launch: {why[0] if why else 'so small a training is not worth it'}"
        )


def stacked(sizes: Sequence[int], filters: Sequence[int] = (), precision: str = "float32") -> list[layers.Layer]:
    """The layers of such a task: convolutions with ReLU, each pooled, then dense ones."""
    *hidden, classes = sizes[1:]
    parts: list[layers.Layer] = []
    for each in filters:
        parts += [layers.Conv2D(each, 3, activation="relu"), layers.MaxPooling2D()]
    parts += [layers.Flatten()] if parts else []
    parts += [layers.Dense(size, activation="relu", precision=precision) for size in hidden]
    return [*parts, layers.Dense(classes, activation="softmax", precision=precision)]


def network(problem: TrainingProblem, variant: str, device: str = "cpu") -> Sequential:
    """A Sequential, compiled as this variant is, which measures the accuracy as well."""
    model = Sequential(stacked(problem.task.sizes, problem.filters), device=device)
    model.build(problem.x.shape[1:])
    model.set_weights(problem.weights)
    model.compile(Adam(problem.task.rate), "sparse_categorical_crossentropy", ["accuracy"], **OPTIONS[variant])
    return model


def predict(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """`predict`."""
    model = network(problem, variant)
    serve(stand, problem.singly(lambda x: model.predict(x, verbose=0)))


def train(problem: TrainingProblem, stand: Stand, variant: str, device: str = "cpu") -> None:
    """`fit`."""
    model = network(problem, variant, device)
    if variant == FIT_BY_FIT:
        model.stream.seed = SEED

        def repeat(number: int) -> Any:
            losses = model.fit(problem.x, problem.labels, problem.task.batch, epochs=1, verbose=0).history["loss"]
            return lambda: losses

        serve(stand, repeat)
        return
    with contextlib.suppress(Finished):
        model.fit(
            problem.x, problem.labels, batch_size=problem.task.batch, epochs=FOREVER, verbose=0,
            callbacks=[Timed(stand, variant)], seed=SEED,
        )  # fmt: skip


def _made(f: Callable[..., Any], variant: str) -> Callable[..., Any]:
    """The function as this variant runs it; after a few calls a captured one has to be replayed."""
    if variant == EAGER:
        return f
    captured, calls = capture(f, jit=variant == JIT), count()

    def checked(*args: Any) -> Any:
        result = captured(*args)
        if next(calls) == 2 * RECORDED:
            replayed(captured)
        return result

    return checked


def gradient(f: Callable[..., Any], xs: Sequence[Values], variant: str) -> Run:
    """By backward."""
    variables = [tensor(x, requires_grad=True) for x in xs]

    def step(*variables: Tensor) -> Any:
        for x in variables:
            x.grad = None
        y = f(*variables)
        y.sum().backward()
        return y, [x.grad for x in variables]

    made = _made(step, variant)
    return lambda: made(*variables)


def loss(problem: CrossEntropyProblem) -> Callable[[Any], Any]:
    """The fused loss."""
    loss_of: Any = import_module("....ops.loss", __package__).sparse_categorical_cross_entropy
    labels = tensor(problem.labels)
    return lambda logits: loss_of(logits, labels)


def update(problem: UpdateProblem, stand: Stand, variant: str) -> None:
    """`step` of the optimiser on a flat buffer."""
    theta, optimizer = tensor(problem.theta.copy(), requires_grad=True), Adam(problem.task.rate)
    flat = Flat([theta])
    gradient = tensor(problem.g)

    def step(gradient: Tensor) -> None:
        theta.grad = gradient
        optimizer.step(flat)

    step_made = _made(step, variant)

    def repeat(number: int) -> Any:
        for _ in range(problem.task.updates):
            step_made(gradient)
        return lambda: problem.figures(theta.numpy())

    serve(stand, repeat)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Any:
    """The primitive."""
    made: Any = import_module("....ops.attention", __package__).attention
    return made(q, k, v, causal=True)


WORK = differentiated(gradient, loss, constant=tensor, plain=Tensor.numpy, attention=attention)
ADAPTERS = {"training": train, "convolutional": train, "prediction": predict, "update": update, **WORK}


def start(variant: str, device: str = "cpu") -> None:
    """Raise UnavailableError where compiling is asked for and Numba is not there, or the GPU cannot be used."""
    try:
        backend.resolve_device(device)
    except DeviceError as error:
        raise UnavailableError(str(error)) from error
    if variant in (JIT, FIT_BY_FIT):
        try:
            import_module("numba")
        except ImportError as error:
            raise UnavailableError("numba is not installed") from error
