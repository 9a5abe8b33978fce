"""The values that a task computes with: drawn from a seed, the same for every contestant."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from ... import datasets
from ...engine import random
from ...errors import DataError
from .stand import Figures
from .workloads import Attention, Chain, CrossEntropy, Task, Training, Tree, Update

Values = numpy.typing.NDArray[Any]
SEED = 0


@dataclass(frozen=True)
class Problem:
    """A task and its values. source: where they come from."""

    task: Any
    source: str

    @property
    def arrays(self) -> list[Values]:
        """All values that are held."""
        found: list[Values] = []
        for value in vars(self).values():
            found += [value] if isinstance(value, numpy.ndarray) else value if isinstance(value, list) else []
        return found


@dataclass(frozen=True)
class TrainingProblem(Problem):
    """x: (samples, inputs), or images; labels: int64; weights: W and b of each layer in turn.

    W has the shape (inputs, outputs), of a layer of convolutions (3, 3, channels, filters).
    """

    x: Values
    labels: Values
    weights: list[Values]

    @property
    def filters(self) -> tuple[int, ...]:
        """Of the layers of convolutions, which come first; a net of dense layers has none."""
        return getattr(self.task, "filters", ())

    def order(self, epoch: int) -> Values:
        """The order of the samples in an epoch: the one that `Sequential.fit` draws."""
        return random.generator(SEED, f"shuffle {epoch}").permutation(len(self.x))

    def singly(self, predict: Callable[[Values], Any]) -> Callable[[int], Figures]:
        """Repetitions in which each sample is a batch of its own, by what makes probabilities of it."""

        def repeat(number: int) -> Figures:
            found = [numpy.asarray(predict(self.x[i : i + 1])) for i in range(len(self.x))]
            rows = numpy.concatenate(found)
            return lambda: (float(rows.max(axis=1).mean()), float(rows[:, 0].mean()))

        return repeat

    def batches(self, epoch: int) -> list[Values]:
        """The indices of each batch of the epoch."""
        order, size = self.order(epoch), self.task.batch
        return [order[start : start + size] for start in range(0, len(order), size)]


@dataclass(frozen=True)
class ChainProblem(Problem):
    """y: where the chain starts; x, c: what each link takes."""

    y: Values
    x: Values
    c: Values


@dataclass(frozen=True)
class TreeProblem(Problem):
    """leaves: the inputs, one row each."""

    leaves: Values


@dataclass(frozen=True)
class CrossEntropyProblem(Problem):
    """logits: (rows, classes); labels: int64."""

    logits: Values
    labels: Values


@dataclass(frozen=True)
class AttentionProblem(Problem):
    """q, k, v: (samples, heads, steps, width)."""

    q: Values
    k: Values
    v: Values


@dataclass(frozen=True)
class UpdateProblem(Problem):
    """theta: the parameters at first; g: the gradient of every update."""

    theta: Values
    g: Values

    def figures(self, theta: Any) -> tuple[float, float]:
        """What contestants must agree on: the mean of θ g, and how far θ has gone in the mean."""
        theta = numpy.asarray(theta)
        along = numpy.vdot(theta.astype("float64"), self.g) / theta.size
        return float(along), float(numpy.abs(theta - self.theta).mean(dtype="float64"))


Maker = Callable[[Any], Problem]


def make_problem(task: Task) -> Any:
    """The values for this task."""
    return _MAKERS[task.kind](task)


def _normal(purpose: str, *shape: int) -> Values:
    return random.generator(SEED, f"speed {purpose}").standard_normal(shape, dtype="float32")


def _training(task: Training) -> TrainingProblem:
    weights: list[Values] = []
    generator = random.generator(SEED, "speed weights")
    filters = getattr(task, "filters", ())
    for number, (_, n, m) in enumerate(task.products):
        limit = (6 / (n + m)) ** 0.5
        shape = (3, 3, n // 9, m) if number < len(filters) else (n, m)
        weights += [generator.uniform(-limit, limit, shape).astype("float32"), numpy.zeros(m, "float32")]
    source, x, labels = _samples(task)
    if filters:
        x = x.reshape(len(x), *[math.isqrt(task.sizes[0])] * 2, 1)
    return TrainingProblem(task, source, x, labels, weights)


def _samples(task: Training) -> tuple[str, Values, Values]:
    if task.data == "mnist" and (found := _digits(task)):
        return "MNIST", *found
    labels = random.generator(SEED, "speed labels").integers(task.sizes[-1], size=task.samples)
    centres = _normal("centres", task.sizes[-1], task.sizes[0])
    x = _normal("samples", task.samples, task.sizes[0])
    x *= 2
    x += centres[labels]
    return "synthetic", x, labels


def _digits(task: Training) -> tuple[Values, Values] | None:
    """The first images of MNIST in [0, 1], where it is on this machine."""
    try:
        (images, labels), _ = datasets.mnist.load_data(mirrors=(), progress=False)  # no mirror: nothing is downloaded
    except DataError:
        return None
    x = images[: task.samples].reshape(-1, images[0].size).astype("float32")
    x /= 255
    return (x, labels[: task.samples].astype("int64")) if x.shape == (task.samples, task.sizes[0]) else None


def _chain(task: Chain) -> ChainProblem:
    y, x = 0.1 * _normal("chain", 2, task.elements)
    c = numpy.linspace(0.9, 0.99, task.elements, dtype="float32")
    return ChainProblem(task, "drawn", y.copy(), x.copy(), c)


def _tree(task: Tree) -> TreeProblem:
    if task.leaves & (task.leaves - 1):
        raise DataError(f"a tree has a power of 2 of leaves, not {task.leaves}.")
    drawn = random.generator(SEED, "speed tree").uniform(0.4, 0.6, (task.leaves, task.elements))
    return TreeProblem(task, "drawn", drawn.astype("float32"))


def _cross_entropy(task: CrossEntropy) -> CrossEntropyProblem:
    labels = random.generator(SEED, "speed labels").integers(task.classes, size=task.rows)
    return CrossEntropyProblem(task, "drawn", _normal("logits", task.rows, task.classes), labels)


def _attention(task: Attention) -> AttentionProblem:
    shape = task.samples, task.heads, task.steps, task.width
    return AttentionProblem(task, "drawn", *(_normal(f"attention {name}", *shape) for name in "qkv"))


def _update(task: Update) -> UpdateProblem:
    return UpdateProblem(task, "drawn", _normal("theta", task.parameters), _normal("gradient", task.parameters))


_MAKERS: dict[str, Maker] = {
    "training": _training,
    "convolutional": _training,
    "prediction": _training,
    "chain": _chain,
    "tree": _tree,
    "cross-entropy": _cross_entropy,
    "attention": _attention,
    "update": _update,
}


def data_bytes(problem: Problem) -> int:
    """How much memory the values take."""
    return sum(array.nbytes for array in problem.arrays)


def sums(*arrays: Any) -> tuple[float, ...]:
    """The sum of the first array and those of the others' magnitudes, in float64: figures that are easy to compare."""
    first, *rest = (numpy.asarray(array).astype("float64") for array in arrays)
    return float(first.sum()), *(float(numpy.abs(array).sum()) for array in rest)


def end_of_chain(y: Any, x: Any, c: Any, links: int) -> Any:
    """The chain as it stands, with the operators of whatever is given."""
    for _ in range(links):
        y = y * c + x
    return y


def root_of(leaves: Sequence[Any]) -> Any:
    """The tree as it stands, with the operators of whatever is given."""
    level, multiplies = list(leaves), True
    while len(level) > 1:
        level = [a * b if multiplies else a + b for a, b in pairs(level)]
        multiplies = not multiplies
    return level[0]


def pairs(rows: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Neighbours: the first with the second, the third with the fourth, …"""
    return list(zip(rows[::2], rows[1::2], strict=True))
