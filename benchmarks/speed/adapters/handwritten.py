"""The yardstick: NumPy by hand, as well as we can write it.

Every buffer is there before the first step and every call writes with out=; the gradients of matrix products are
written where Adam reads them; logits lie column by column, so that softmax runs along long rows; large vectors and
matrices are taken in blocks that stay in the cache. One thread but for the matrix products, as NumPy has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from ..problems import (
    ChainProblem,
    CrossEntropyProblem,
    TrainingProblem,
    TreeProblem,
    UpdateProblem,
    Values,
    pairs,
    sums,
)
from ..stand import Stand, serve

BLOCK = 1 << 18
"""Parameters of a block of Adam, of which five arrays of float32 stay in the cache; found by trying."""
ROWS = 1 << 17
"""Logits of a block of softmax cross-entropy; found by trying."""


class Adam:
    """Adam in ten passes in place: m / (1 - β1) and v / (1 - β2) are kept instead of m and v, so that no pass scales g.

    scale: what the gradient is to be divided by, in every step the same; that too goes into the constants.
    """

    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7

    def __init__(self, theta: Values, gradient: Values, rate: float) -> None:
        self.rate, self.t = rate, 0
        m, v = numpy.zeros_like(theta), numpy.zeros_like(theta)
        scratch = numpy.empty_like(theta[:BLOCK])
        self.blocks = []
        for start in range(0, theta.size, BLOCK):
            part = slice(start, start + BLOCK)
            self.blocks.append((theta[part], gradient[part], m[part], v[part], scratch[: theta[part].size]))

    def step(self, scale: float = 1.0) -> None:
        """One update."""
        self.t += 1
        root = math.sqrt((1 - self.beta_2**self.t) / (1 - self.beta_2)) * scale  # √v̂ is √(v kept) / root
        rate = self.rate * (1 - self.beta_1) / (1 - self.beta_1**self.t) * root / scale
        epsilon = self.epsilon * root
        for theta, g, m, v, s in self.blocks:
            numpy.multiply(m, self.beta_1, out=m)
            numpy.add(m, g, out=m)
            numpy.multiply(v, self.beta_2, out=v)
            numpy.multiply(g, g, out=s)
            numpy.add(v, s, out=v)
            numpy.sqrt(v, out=s)
            numpy.add(s, epsilon, out=s)
            numpy.divide(m, s, out=s)
            numpy.multiply(s, rate, out=s)
            numpy.subtract(theta, s, out=theta)


class Network:
    """Dense layers with ReLU between them and softmax cross-entropy behind them, and their gradient, for batches."""

    def __init__(self, problem: TrainingProblem) -> None:
        self.problem, self.sizes = problem, problem.task.sizes
        self.theta = numpy.concatenate([w.reshape(-1) for w in problem.weights])
        self.gradient = numpy.empty_like(self.theta)
        self.weights, self.gradients = self.views(self.theta), self.views(self.gradient)
        self.rows = numpy.eye(self.sizes[-1], dtype="float32")[problem.labels]
        self.steps: dict[int, Callable[[Values], float]] = {}

    def views(self, flat: Values) -> list[tuple[Values, Values]]:
        """W and b of each layer as views of a flat buffer."""
        found, start = [], 0
        for n, m in zip(self.sizes, self.sizes[1:], strict=False):
            w, b = flat[start : start + n * m], flat[start + n * m : start + (n + 1) * m]
            found.append((w.reshape(n, m), b))
            start += (n + 1) * m
        return found

    def step(self, indices: Values) -> float:
        """The sum of the batch's losses. Afterwards `gradient` holds that of their mean, times a full batch's size."""
        count = len(indices)
        if count not in self.steps:
            self.steps[count] = self.prepare(count)
        return self.steps[count](indices)

    def prepare(self, count: int) -> Callable[[Values], float]:
        """The step for batches of `count`, with its buffers."""
        x, labels, full = self.problem.x, self.rows, self.problem.task.batch
        inputs, targets = (
            numpy.empty((count, self.sizes[0]), "float32"),
            numpy.empty((count, self.sizes[-1]), "float32"),
        )
        hidden = [numpy.empty((count, size), "float32") for size in self.sizes[1:-1]]
        back = [numpy.empty_like(h) for h in hidden]
        masks = [numpy.empty(h.shape, "bool") for h in hidden]
        z = numpy.empty((self.sizes[-1], count), "float32").T
        top, ones = numpy.empty((count, 1), "float32"), numpy.ones(count, "float32")
        below = [inputs, *hidden]
        (w_last, b_last), inner = self.weights[-1], list(zip(self.weights, hidden, below, strict=False))
        upward = list(zip(self.gradients, below, [*back, z], strict=True))
        (gw_0, gb_0), _, delta_0 = upward[0]
        downward = [
            (gw, gb, a, a.T, delta, w.T, d, mask)
            for ((gw, gb), a, delta), (w, _), d, mask in zip(
                upward[:0:-1], self.weights[:0:-1], back[::-1], masks[::-1], strict=True
            )
        ]
        matmul, dot, add, maximum = numpy.matmul, numpy.dot, numpy.add, numpy.maximum

        def step(indices: Values) -> float:
            x.take(indices, 0, inputs, "clip")
            labels.take(indices, 0, targets, "clip")
            for (w, b), h, a in inner:
                matmul(a, w, out=h)
                add(h, b, out=h)
                maximum(h, 0, out=h)
            matmul(below[-1], w_last, out=z)
            add(z, b_last, out=z)
            maximum.reduce(z, axis=1, keepdims=True, out=top)
            numpy.subtract(z, top, out=z)
            chosen = numpy.vdot(targets, z)
            numpy.exp(z, out=z)
            add.reduce(z, axis=1, keepdims=True, out=top)
            numpy.divide(z, top, out=z)
            numpy.subtract(z, targets, out=z)
            if count != full:
                numpy.multiply(z, full / count, out=z)
            numpy.log(top, out=top)
            loss = float(add.reduce(top, axis=None)) - float(chosen)
            for gw, gb, a, a_t, delta, w_t, d, mask in downward:
                matmul(a_t, delta, out=gw)
                dot(ones, delta, out=gb)
                matmul(delta, w_t, out=d)
                numpy.greater(a, 0, out=mask)
                numpy.multiply(d, mask, out=d)
            matmul(inputs.T, delta_0, out=gw_0)
            dot(ones, delta_0, out=gb_0)
            return loss

        return step


def predict(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Forward alone."""
    layers = [(w, b, numpy.empty((1, len(b)), "float32")) for w, b in pairs(problem.weights)]
    matmul, add, maximum, z = numpy.matmul, numpy.add, numpy.maximum, layers[-1][2]

    def one(x: Values) -> Any:
        for w, b, h in layers:
            matmul(x, w, out=h)
            add(h, b, out=h)
            x = h if h is z else maximum(h, 0, out=h)
        numpy.subtract(z, maximum.reduce(z, axis=None), out=z)
        numpy.exp(z, out=z)
        return z / add.reduce(z, axis=None)

    serve(stand, problem.singly(one))


def train(
    problem: TrainingProblem, stand: Stand, variant: str, network_of: Any = Network, adam_of: Any = Adam
) -> None:  # fmt: skip
    """Epochs of training."""
    network = network_of(problem)
    adam = adam_of(network.theta, network.gradient, problem.task.rate)
    epochs(problem, stand, network.step, lambda: adam.step(problem.task.batch))


def train_by(
    problem: TrainingProblem, stand: Stand, batches: Callable[[Network], Callable[[Values], tuple[Any, Any]]]
) -> None:
    """Epochs in which an engine gives loss and gradients of a batch, and Adam is that of this file.

    batches: of the network, for its buffers and views alone, what takes a batch's indices.
    """
    network = Network(problem)
    adam, gradients_of = Adam(network.theta, network.gradient, problem.task.rate), batches(network)

    def step(indices: Values) -> float:
        loss, gradients = gradients_of(indices)
        for views, values in zip(network.gradients, gradients, strict=True):
            for view, value in zip(views, values, strict=True):
                view[...] = value
        return float(loss) * len(indices)

    epochs(problem, stand, step, adam.step)


def epochs(problem: TrainingProblem, stand: Stand, step: Callable[[Values], float], update: Callable[[], None]) -> None:
    """Epochs of steps that give the sum of a batch's losses, and of updates."""

    def epoch(number: int) -> Any:
        total = 0.0
        for indices in problem.batches(number):
            total += step(indices)
            update()
        return lambda: (total / len(problem.x),)

    serve(stand, epoch)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """One call an operation."""
    c, x, links = problem.c, problem.x, range(problem.task.links)
    y, gx, gy = (numpy.empty_like(x) for _ in range(3))
    multiply, add = numpy.multiply, numpy.add

    def repeat(number: int) -> Any:
        y[...] = problem.y
        for _ in links:
            multiply(y, c, y)
            add(y, x, y)
        gy[...] = 1
        gx[...] = 0
        for _ in links:
            add(gx, gy, gx)
            multiply(gy, c, gy)
        return lambda: sums(y, gx, gy)

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """One call an operation: the tree stands for graphs in which no two operations can be taken together."""
    leaves = list(problem.leaves)
    gradients = list(numpy.empty_like(problem.leaves))
    levels: list[Any] = []  # of each: whether it multiplies, (a, b, y, gy, ga, gb) of each pair
    below, g_below = leaves, gradients
    while len(below) > 1:
        above = [numpy.empty_like(below[0]) for _ in below[::2]]
        g_above = [numpy.empty_like(below[0]) for _ in above]
        nodes = [(*p, y, gy, *g) for p, g, y, gy in zip(pairs(below), pairs(g_below), above, g_above, strict=True)]
        levels.append((len(levels) % 2 == 0, nodes))
        below, g_below = above, g_above
    multiply, add = numpy.multiply, numpy.add

    def repeat(number: int) -> Any:
        for multiplies, nodes in levels:
            operation = multiply if multiplies else add
            for a, b, y, _, _, _ in nodes:
                operation(a, b, y)
        g_below[0][...] = 1
        for multiplies, nodes in reversed(levels):
            for a, b, _, gy, ga, gb in nodes:
                if multiplies:
                    multiply(gy, b, ga)
                    multiply(gy, a, gb)
                else:
                    ga[...] = gy
                    gb[...] = gy
        return lambda: sums(below[0], gradients)

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """Blocks of rows that stay in the cache; the gradient is made in place."""
    logits, labels, count = problem.logits, problem.labels, len(problem.logits)
    gradient, tops, totals = numpy.empty_like(logits), numpy.empty((count, 1), "float32"), numpy.empty((count, 1), "f4")
    size = max(1, ROWS // logits.shape[1])
    parts = [slice(start, start + size) for start in range(0, count, size)]
    blocks = [(logits[part], gradient[part], tops[part], totals[part]) for part in parts]
    ones = numpy.ones((logits.shape[1], 1), "float32")
    flat, places = gradient.reshape(-1), numpy.arange(count) * logits.shape[1] + labels

    def repeat(number: int) -> Any:
        for z, g, top, total in blocks:
            numpy.maximum.reduce(z, axis=1, keepdims=True, out=top)
            numpy.subtract(z, top, out=g)
            numpy.exp(g, out=g)
            numpy.matmul(g, ones, out=total)  # faster than a reduction
            numpy.multiply(g, 1 / (total * count), out=g)
        chosen = logits.reshape(-1)[places]
        loss = float((numpy.log(totals) + tops).mean(dtype="float64") - chosen.mean(dtype="float64"))
        flat[places] -= 1 / count
        return lambda: (loss, sums(0.0, gradient)[1])

    serve(stand, repeat)


def update(problem: UpdateProblem, stand: Stand, variant: str, adam_of: Any = Adam) -> None:
    """Updates by Adam."""
    theta = problem.theta.copy()
    adam = adam_of(theta, problem.g, problem.task.rate)

    def repeat(number: int) -> Any:
        for _ in range(problem.task.updates):
            adam.step()
        return lambda: problem.figures(theta)

    serve(stand, repeat)


ADAPTERS = {
    "training": train, "prediction": predict, "chain": chain, "tree": tree, "cross-entropy": cross_entropy,
    "update": update,
}  # fmt: skip


def start(variant: str) -> None:
    """Nothing has to be imported or compiled."""
