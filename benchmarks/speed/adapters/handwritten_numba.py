"""The yardstick's steps with Numba in place of NumPy's elementwise passes: serial loops, each value touched once.

Matrix products stay with NumPy's BLAS. The loops are compiled for the processor at hand, with fastmath where that
lets them run in vectors.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy

from ..problems import ChainProblem, CrossEntropyProblem, TrainingProblem, TreeProblem, UpdateProblem, Values, sums
from ..stand import Stand, UnavailableError, serve
from . import handwritten


@cache
def kernels() -> Any:
    """The compiled loops. Raises UnavailableError where Numba is not installed or does not work."""
    try:
        numba: Any = import_module("numba")
    except ImportError as error:
        raise UnavailableError("numba is not installed") from error
    compiled = numba.njit(fastmath=True, error_model="numpy")
    exact = numba.njit(error_model="numpy")
    exp, log, sqrt, single = math.exp, math.log, math.sqrt, numpy.float32

    def adam(theta: Any, g: Any, m: Any, v: Any, beta_1: Any, beta_2: Any, rate: Any, epsilon: Any) -> None:
        for i in range(theta.size):
            m[i] = beta_1 * m[i] + g[i]
            v[i] = beta_2 * v[i] + g[i] * g[i]
            theta[i] -= rate * m[i] / (sqrt(v[i]) + epsilon)

    def gather(x: Any, labels: Any, indices: Any, inputs: Any, targets: Any) -> None:
        for row in range(indices.size):
            inputs[row, :] = x[indices[row], :]
            targets[row] = labels[indices[row]]

    def bias_relu(h: Any, b: Any) -> None:
        zero = single(0)
        for i in range(h.shape[0]):
            for j in range(h.shape[1]):
                h[i, j] = max(h[i, j] + b[j], zero)

    def relu_back(d: Any, h: Any) -> None:
        zero = single(0)
        for i in range(h.shape[0]):
            for j in range(h.shape[1]):
                d[i, j] = d[i, j] if h[i, j] > zero else zero

    def sum_rows(d: Any, gb: Any) -> None:
        gb[:] = 0
        for i in range(d.shape[0]):
            for j in range(d.shape[1]):
                gb[j] += d[i, j]

    def loss(z: Any, b: Any, labels: Any, gb: Any, weight: Any) -> Any:
        """The sum of the losses; z becomes their gradient, gb that of the bias, both times weight."""
        total = 0.0
        gb[:] = 0
        for i in range(z.shape[0]):
            top = single(-numpy.inf)
            for j in range(z.shape[1]):
                z[i, j] += b[j]
                top = max(top, z[i, j])
            label = labels[i]
            total -= z[i, label] - top
            norm = single(0)
            for j in range(z.shape[1]):
                z[i, j] = exp(z[i, j] - top)
                norm += z[i, j]
            total += log(norm)
            inverse = weight / norm
            for j in range(z.shape[1]):
                z[i, j] *= inverse
            z[i, label] -= weight
            for j in range(z.shape[1]):
                gb[j] += z[i, j]
        return total

    def shift(z: Any, g: Any, tops: Any) -> None:
        for i in range(z.shape[0]):
            top = single(-numpy.inf)
            for j in range(z.shape[1]):
                top = max(top, z[i, j])
            for j in range(z.shape[1]):
                g[i, j] = z[i, j] - top
            tops[i] = top

    def normalise(z: Any, g: Any, tops: Any, labels: Any, share: Any) -> Any:
        total = 0.0
        for i in range(g.shape[0]):
            norm = single(0)
            for j in range(g.shape[1]):
                norm += g[i, j]
            scale = share / norm
            for j in range(g.shape[1]):
                g[i, j] *= scale
            total += log(norm) + tops[i] - z[i, labels[i]]
            g[i, labels[i]] -= share
        return total

    def chain(y: Any, x: Any, c: Any, links: int, gx: Any, gy: Any) -> None:
        for _ in range(links):
            for j in range(y.size):
                y[j] = y[j] * c[j] + x[j]
        gx[:] = 0
        gy[:] = 1
        for _ in range(links):
            for j in range(y.size):
                gx[j] += gy[j]
                gy[j] *= c[j]

    def tree(nodes: Any, gradients: Any, left: Any, right: Any, multiplies: Any, leaves: int) -> None:
        for k in range(left.size):
            a, b, y = nodes[left[k]], nodes[right[k]], nodes[leaves + k]
            for j in range(y.size):
                y[j] = a[j] * b[j] if multiplies[k] else a[j] + b[j]
        gradients[-1, :] = 1
        for k in range(left.size - 1, -1, -1):
            a, b, gy = nodes[left[k]], nodes[right[k]], gradients[leaves + k]
            ga, gb = gradients[left[k]], gradients[right[k]]
            for j in range(gy.size):
                ga[j] = gy[j] * b[j] if multiplies[k] else gy[j]
                gb[j] = gy[j] * a[j] if multiplies[k] else gy[j]

    fast = (adam, bias_relu, relu_back, sum_rows, chain, tree, shift, normalise, loss)
    return SimpleNamespace(**{f.__name__: compiled(f) for f in fast}, gather=exact(gather))


class Adam:
    """Adam in one pass."""

    def __init__(self, theta: Values, gradient: Values, rate: float) -> None:
        self.theta, self.gradient, self.rate, self.t = theta, gradient, rate, 0
        self.m, self.v = numpy.zeros_like(theta), numpy.zeros_like(theta)
        self.kernel = kernels().adam

    def step(self, scale: float = 1.0) -> None:
        """One update by the gradient over `scale`."""
        self.t += 1
        beta_1, beta_2, single = handwritten.Adam.beta_1, handwritten.Adam.beta_2, numpy.float32
        root = math.sqrt((1 - beta_2**self.t) / (1 - beta_2)) * scale
        rate = self.rate * (1 - beta_1) / (1 - beta_1**self.t) * root / scale
        constants = map(single, (beta_1, beta_2, rate, handwritten.Adam.epsilon * root))
        self.kernel(self.theta, self.gradient, self.m, self.v, *constants)


class Network(handwritten.Network):
    """The same network; what is not a matrix product is compiled."""

    def prepare(self, count: int) -> Any:
        """The step for batches of `count`, with its buffers."""
        k, x, all_labels = kernels(), self.problem.x, self.problem.labels
        weight = numpy.float32(self.problem.task.batch / count)
        sizes = self.sizes
        inputs, labels = numpy.empty((count, sizes[0]), "float32"), numpy.empty(count, "int64")
        hidden = [numpy.empty((count, size), "float32") for size in sizes[1:-1]]
        back = [numpy.empty_like(h) for h in hidden]
        z = numpy.empty((count, sizes[-1]), "float32")
        below, deltas = [inputs, *hidden], [*back, z]
        matmul = numpy.matmul

        def step(indices: Values) -> float:
            k.gather(x, all_labels, indices, inputs, labels)
            for (w, b), h, a in zip(self.weights, hidden, below, strict=False):
                matmul(a, w, out=h)
                k.bias_relu(h, b)
            w, b = self.weights[-1]
            matmul(below[-1], w, out=z)
            total: float = k.loss(z, b, labels, self.gradients[-1][1], weight)
            for i in range(len(hidden), 0, -1):
                matmul(below[i].T, deltas[i], out=self.gradients[i][0])
                matmul(deltas[i], self.weights[i][0].T, out=deltas[i - 1])
                k.relu_back(deltas[i - 1], hidden[i - 1])
                k.sum_rows(deltas[i - 1], self.gradients[i - 1][1])
            matmul(inputs.T, deltas[0], out=self.gradients[0][0])
            return total

        return step


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Epochs of training."""
    handwritten.train(problem, stand, variant, Network, Adam)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """The whole chain and its reverse in one compiled function."""
    y, gx, gy = (numpy.empty_like(problem.y) for _ in range(3))
    links, kernel = problem.task.links, kernels().chain

    def repeat(number: int) -> Any:
        y[:] = problem.y
        kernel(y, problem.x, problem.c, links, gx, gy)
        return lambda: sums(y, gx, gy)

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """The whole tree and its reverse in one compiled function; the nodes lie in one buffer, by number."""
    leaves, elements = problem.leaves.shape
    nodes, gradients = (numpy.empty((2 * leaves - 1, elements), "float32") for _ in range(2))
    level = numpy.arange(leaves)
    left: list[int] = []
    multiplies: list[bool] = []
    while level.size > 1:
        left += list(level[::2])
        multiplies += [len(multiplies) == 0 or not multiplies[-1]] * (level.size // 2)
        level = numpy.arange(level.size // 2) + level[-1] + 1
    firsts, kinds, kernel = numpy.array(left), numpy.array(multiplies), kernels().tree
    seconds = firsts + 1

    def repeat(number: int) -> Any:
        nodes[:leaves] = problem.leaves
        kernel(nodes, gradients, firsts, seconds, kinds, leaves)
        return lambda: sums(nodes[-1], gradients[:leaves])

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """Blocks of rows; exp is NumPy's, which runs in vectors where Numba's does not."""
    logits, labels = problem.logits, problem.labels
    gradient, tops = numpy.empty_like(logits), numpy.empty(len(logits), "float32")
    size, share, k = max(1, handwritten.ROWS // logits.shape[1]), numpy.float32(1 / len(logits)), kernels()
    parts = [slice(start, start + size) for start in range(0, len(logits), size)]
    blocks = [(logits[part], gradient[part], tops[part], labels[part]) for part in parts]

    def repeat(number: int) -> Any:
        total = 0.0
        for z, g, top, right in blocks:
            k.shift(z, g, top)
            numpy.exp(g, out=g)
            total += k.normalise(z, g, top, right, share)
        return lambda: (total / len(logits), sums(0.0, gradient)[1])

    serve(stand, repeat)


def update(problem: UpdateProblem, stand: Stand, variant: str) -> None:
    """Updates by Adam."""
    handwritten.update(problem, stand, variant, Adam)


ADAPTERS = {"training": train, "chain": chain, "tree": tree, "cross-entropy": cross_entropy, "update": update}


def start(variant: str) -> None:
    """Import Numba."""
    kernels()
