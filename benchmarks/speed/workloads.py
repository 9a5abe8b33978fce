"""What is timed: the workloads, as data. A task says what is computed and how large; a workload gives it a name.

A further workload of a kind that is there is one more entry of WORKLOADS; a further kind is one more task here, its
values in problems.py, and an adapter for each engine that can do it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

from ...errors import unknown_name


@dataclass(frozen=True)
class Task:
    """What a contestant computes in one repetition. kind: what its adapters go by. figures: what they must agree on."""

    kind: ClassVar[str] = ""
    figures: ClassVar[tuple[str, ...]] = ()

    @property
    def count(self) -> int:
        """How many units of work one repetition holds."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """The task as plain values, as JSON gives them back."""
        values = asdict(self).items()
        return {"kind": self.kind, **{name: list(v) if isinstance(v, tuple) else v for name, v in values}}


@dataclass(frozen=True)
class Training(Task):
    """One epoch of training dense layers with ReLU between them, softmax cross-entropy and Adam. data: mnist, random.

    A repetition is the next epoch of one continuing training; the last batch is short where it does not come out.
    """

    kind: ClassVar[str] = "training"
    figures: ClassVar[tuple[str, ...]] = ("mean loss of the epoch",)
    trains: ClassVar[bool] = True
    """Whether gradients are needed."""
    data: str
    samples: int
    sizes: tuple[int, ...]
    batch: int
    rate: float = 1e-3

    @property
    def count(self) -> int:
        """Steps an epoch."""
        return -(-self.samples // self.batch)

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The matrix product of each layer: its rows a sample, its inputs and its outputs."""
        return [(1, n, m) for n, m in pairwise(self.sizes)]


@dataclass(frozen=True)
class Prediction(Training):
    """What such a net makes of each sample alone, one after another: from an array of NumPy to an array of NumPy."""

    kind: ClassVar[str] = "prediction"
    figures: ClassVar[tuple[str, ...]] = ("mean largest probability", "mean probability of the first class")
    trains: ClassVar[bool] = False


@dataclass(frozen=True)
class Convolutional(Training):
    """The same of square images, with layers of 3×3 convolutions first, each with ReLU and pooled by 2×2.

    sizes: the pixels of an image, then the units of the dense layers. filters: of each layer of convolutions.
    """

    kind: ClassVar[str] = "convolutional"
    filters: tuple[int, ...] = ()

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """Convolutions as products of columns, which hold the 9 places of each window."""
        found, side, channels = [], math.isqrt(self.sizes[0]), 1
        for filters in self.filters:
            found.append(((side - 2) ** 2, 9 * channels, filters))
            side, channels = (side - 2) // 2, filters
        dense = (side * side * channels, *self.sizes[1:])
        return found + [(1, n, m) for n, m in pairwise(dense)]


@dataclass(frozen=True)
class Chain(Task):
    """y ← y c + x, again and again, on a few float32 numbers, and the gradient for y's start and x."""

    kind: ClassVar[str] = "chain"
    figures: ClassVar[tuple[str, ...]] = ("sum of y", "sum of |gradient for x|", "sum of |gradient for y|")
    links: int
    elements: int = 8

    @property
    def count(self) -> int:
        """Elementwise operations of the forward pass, two a link."""
        return 2 * self.links


@dataclass(frozen=True)
class Tree(Task):
    """Pairs of leaves are multiplied, pairs of those added, and so on up to the root; the gradient for each leaf."""

    kind: ClassVar[str] = "tree"
    figures: ClassVar[tuple[str, ...]] = ("sum of the root", "sum of |gradients|")
    leaves: int
    elements: int = 8

    @property
    def count(self) -> int:
        """Operations of the forward pass."""
        return self.leaves - 1


@dataclass(frozen=True)
class CrossEntropy(Task):
    """The mean softmax cross-entropy of logits with integer labels, and its gradient for the logits."""

    kind: ClassVar[str] = "cross-entropy"
    figures: ClassVar[tuple[str, ...]] = ("loss", "sum of |gradient|")
    rows: int
    classes: int

    @property
    def count(self) -> int:
        """One value and gradient."""
        return 1


@dataclass(frozen=True)
class Attention(Task):
    """softmax(q kᵀ / √width) v of so many heads, in which no step looks ahead, and the gradients for q, k and v."""

    kind: ClassVar[str] = "attention"
    figures: ClassVar[tuple[str, ...]] = ("sum of |y|", *(f"sum of |gradient for {x}|" for x in "qkv"))
    samples: int
    heads: int
    steps: int
    width: int

    @property
    def count(self) -> int:
        """One value and its gradients."""
        return 1


@dataclass(frozen=True)
class Update(Task):
    """Updates of one flat vector of parameters by Adam, with the same gradient each time."""

    kind: ClassVar[str] = "update"
    figures: ClassVar[tuple[str, ...]] = ("mean of θ g", "mean way of θ")
    parameters: int
    updates: int
    rate: float = 1e-3

    @property
    def count(self) -> int:
        """Updates a repetition."""
        return self.updates


@dataclass(frozen=True)
class Workload:
    """A task to time.

    quick: its smaller size. unit: what one of `count` is called. tolerance: by how much, relative to it or to `least`,
    a figure may differ from the first contestant's. warmups: repetitions before the timed ones. in_quick: whether the
    quick run has it.
    """

    name: str
    title: str
    full: Task
    quick: Task
    unit: str
    tolerance: float
    warmups: int = 2
    in_quick: bool = True
    least: float = 0.0

    def task(self, quick: bool) -> Task:
        """The task in the size of the quick or of the full run."""
        return self.quick if quick else self.full


_ALL = (
    Workload(
        "mnist", "MNIST, 784-128-10, batch 128",
        Training("mnist", 60_000, (784, 128, 10), 128), Training("mnist", 12_768, (784, 128, 10), 128),
        "step", 0.01, least=0.1,
    ),
    Workload(
        "wide", "six hidden layers of 1,024, batch 256",
        Training("random", 6_144, (256, *[1024] * 6, 10), 256, rate=1e-4),
        Training("random", 1_024, (256, *[1024] * 6, 10), 256, rate=1e-4),
        "step", 0.02, in_quick=False, least=0.1,
    ),
    Workload(
        "cnn", "two layers of 16 and 32 convolutions, 3×3, pooled, on 28×28, batch 128",
        Convolutional("mnist", 7_680, (784, 10), 128, filters=(16, 32)),
        Convolutional("mnist", 1_280, (784, 10), 128, filters=(16, 32)),
        "step", 0.01, in_quick=False, least=0.1,
    ),
    Workload(
        "latency", "784-128-10, one image at a time",
        Prediction("mnist", 2_000, (784, 128, 10), 1), Prediction("mnist", 500, (784, 128, 10), 1),
        "prediction", 1e-4,
    ),
    Workload(
        "chain", "a chain of tiny operations, forward and backward", Chain(500), Chain(500), "operation", 1e-4,
        warmups=5,
    ),
    Workload(
        "tree", "a tree of tiny operations, forward and backward", Tree(1024), Tree(1024), "operation", 1e-4,
        warmups=5, in_quick=False,
    ),
    Workload(
        "softmax-cross-entropy", "softmax cross-entropy of 4,096 × 1,000 logits, value and gradient",
        CrossEntropy(4096, 1000), CrossEntropy(4096, 1000), "evaluation", 1e-4, warmups=5,
    ),
    Workload(
        "attention", "attention of GPT-2's 12 heads of 64 in 4 texts of 256 tokens, value and gradients",
        Attention(4, 12, 256, 64), Attention(4, 12, 64, 64), "evaluation", 1e-4, warmups=5, in_quick=False,
    ),
    Workload(
        "adam-100k", "Adam on 100,000 parameters", Update(100_000, 100), Update(100_000, 50), "update", 1e-4,
    ),
    Workload(
        "adam-10m", "Adam on 10,000,000 parameters", Update(10_000_000, 5), Update(10_000_000, 1), "update", 1e-4,
        in_quick=False,
    ),
)  # fmt: skip

WORKLOADS: Mapping[str, Workload] = {workload.name: workload for workload in _ALL}
"""The workloads by name."""


GPU_WORKLOAD = Workload(
    "mnist", "MNIST, 784-128-10, batch 128",
    Training("mnist", 60_000, (784, 128, 10), 128), Training("mnist", 448, (784, 128, 10), 128),
    "step", 0.01, warmups=5, least=0.1,
)  # fmt: skip
"""What is timed on a GPU. Its last batch is short, so that two programs take turns."""


GPU_CNNS = tuple(
    Workload(
        f"cnn of {batch}", f"two layers of 16 and 32 convolutions, 3×3, pooled, on 28×28, batch {batch:,}",
        Convolutional("mnist", steps * batch, (784, 10), batch, filters=(16, 32)),
        Convolutional("mnist", 4 * quick, (784, 10), quick, filters=(2, 3)), "step", 0.01, least=0.1,
    )
    for batch, steps, quick in ((128, 468, 8), (1024, 56, 16))
)  # fmt: skip
"""What is timed on a GPU beside PyTorch's CUDA graphs."""


def find_workloads(names: tuple[str, ...], quick: bool) -> list[Workload]:
    """The workloads of these names, or where there are none those of the run. Raises UsageError for an unknown name."""
    for name in names:
        if name not in WORKLOADS:
            raise unknown_name("workload", name, WORKLOADS)
    return [w for w in WORKLOADS.values() if (w.name in names if names else w.in_quick or not quick)]
