"""JAX: one jitted step in a Python loop, or a whole epoch in one lax.scan. Buffers are donated; Adam is in jnp."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ..problems import (
    ChainProblem,
    CrossEntropyProblem,
    TrainingProblem,
    TreeProblem,
    UpdateProblem,
    end_of_chain,
    pairs,
    root_of,
    sums,
)
from ..stand import Stand, UnavailableError, serve

STEP, SCAN = "step", "scan"
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def _jax() -> Any:
    return import_module("jax")


def _logarithms(z: Any) -> Any:
    return _jax().nn.log_softmax(z)


def _loss(z: Any, labels: Any) -> Any:
    jnp = _jax().numpy
    return -jnp.take_along_axis(_logarithms(z), labels[:, None], axis=1).mean()


def _adam(theta: Any, gradient: Any, state: Any, rate: float) -> tuple[Any, Any]:
    """One update of a tree of parameters."""
    jax = _jax()
    jnp, each = jax.numpy, jax.tree.map
    m, v, t = state
    t = t + 1
    m = each(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, gradient)
    v = each(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, gradient)
    first, second = 1 - BETA_1**t, 1 - BETA_2**t
    theta = each(lambda w, m, v: w - rate * (m / first) / (jnp.sqrt(v / second) + EPSILON), theta, m, v)
    return theta, (m, v, t)


def _start_of(theta: Any) -> Any:
    jax = _jax()
    zeros = jax.tree.map(jax.numpy.zeros_like, theta)
    return zeros, jax.tree.map(jax.numpy.zeros_like, theta), jax.numpy.float32(0)


def train(problem: TrainingProblem, stand: Stand, variant: str, device: str = "cpu") -> None:
    """Epochs of training, on the device that `start` has chosen."""
    jax = _jax()
    jnp = jax.numpy
    rate, batch, count = problem.task.rate, problem.task.batch, len(problem.x)
    theta = [(jnp.array(w), jnp.array(b)) for w, b in pairs(problem.weights)]
    # arguments, not constants of the program: a constant would be folded and copied
    x, labels = jnp.asarray(problem.x), jnp.asarray(problem.labels.astype("int32"))

    def loss_of(theta: Any, x: Any, labels: Any) -> Any:
        for w, b in theta[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = theta[-1]
        return _loss(x @ w + b, labels)

    def step(carry: Any, x: Any, labels: Any, indices: Any) -> Any:
        theta, state, total = carry
        loss, gradient = jax.value_and_grad(loss_of)(theta, x[indices], labels[indices])
        theta, state = _adam(theta, gradient, state, rate)
        return theta, state, total + loss * indices.size

    def whole(theta: Any, state: Any, x: Any, labels: Any, order: Any) -> Any:
        full = count // batch
        carry = theta, state, jnp.float32(0)
        carry, _ = jax.lax.scan(
            lambda carry, indices: (step(carry, x, labels, indices), None),
            carry, order[: full * batch].reshape(full, batch),
        )  # fmt: skip
        return step(carry, x, labels, order[full * batch :]) if count % batch else carry

    jitted = jax.jit(step, donate_argnums=0)
    scanned = jax.jit(whole, donate_argnums=(0, 1))
    kept = [theta, _start_of(theta)]

    def by_steps(number: int) -> Any:
        carry = *kept, jnp.float32(0)
        order = problem.order(number).astype("int32")
        for start in range(0, count, batch):
            carry = jitted(carry, x, labels, order[start : start + batch])
        *kept[:], total = jax.block_until_ready(carry)
        mean = float(total) / count
        return lambda: (mean,)

    def at_once(number: int) -> Any:
        theta, state, total = scanned(*kept, x, labels, problem.order(number).astype("int32"))
        kept[:] = jax.block_until_ready((theta, state))
        mean = float(total) / count
        return lambda: (mean,)

    serve(stand, by_steps if variant == STEP else at_once)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """Step: the loop is unrolled into one program, as a graph without any pattern would be. Scan: lax.scan over it."""
    jax = _jax()
    jnp = jax.numpy
    c, links = jnp.asarray(problem.c), problem.task.links

    def unrolled(y: Any, x: Any) -> Any:
        y = end_of_chain(y, x, c, links)
        return y.sum(), y

    def scanned(y: Any, x: Any) -> Any:
        y, _ = jax.lax.scan(lambda y, _: (y * c + x, None), y, length=links)
        return y.sum(), y

    f = unrolled if variant == STEP else scanned
    made = jax.jit(jax.value_and_grad(f, argnums=(0, 1), has_aux=True))
    start, x = jnp.asarray(problem.y), jnp.asarray(problem.x)

    def repeat(number: int) -> Any:
        (_, y), (gy, gx) = jax.block_until_ready(made(start, x))
        return lambda: sums(y, gx, gy)

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """The loop unrolled into one program; the leaves as one array, which suits it better than many arguments."""
    jax = _jax()

    def summed(leaves: Any) -> Any:
        root = root_of([leaves[i] for i in range(len(problem.leaves))])
        return root.sum(), root

    made = jax.jit(jax.value_and_grad(summed, has_aux=True))
    leaves = jax.numpy.asarray(problem.leaves)

    def repeat(number: int) -> Any:
        (_, root), gradients = jax.block_until_ready(made(leaves))
        return lambda: sums(root, gradients)

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """The loss by log_softmax, and its gradient."""
    jax = _jax()
    logits, labels = jax.numpy.asarray(problem.logits), jax.numpy.asarray(problem.labels.astype("int32"))
    made = jax.jit(jax.value_and_grad(_loss))

    def repeat(number: int) -> Any:
        loss, gradient = jax.block_until_ready(made(logits, labels))
        return lambda: (float(loss), sums(0.0, gradient)[1])

    serve(stand, repeat)


def update(problem: UpdateProblem, stand: Stand, variant: str) -> None:
    """Step: one jitted update in a Python loop. Scan: all of a repetition in one program."""
    jax = _jax()
    jnp = jax.numpy
    g, rate, updates = jnp.asarray(problem.g), problem.task.rate, problem.task.updates
    theta = jnp.array(problem.theta)

    def step(theta: Any, state: Any, g: Any) -> Any:
        return _adam(theta, g, state, rate)

    def several(theta: Any, state: Any, g: Any) -> Any:
        return jax.lax.fori_loop(0, updates, lambda _, carry: _adam(carry[0], g, carry[1], rate), (theta, state))

    made = jax.jit(step if variant == STEP else several, donate_argnums=(0, 1))
    kept = [theta, _start_of(theta)]

    def repeat(number: int) -> Any:
        for _ in range(updates if variant == STEP else 1):
            kept[:] = made(*kept, g)
        jax.block_until_ready(kept)
        return lambda: problem.figures(kept[0])

    serve(stand, repeat)


ADAPTERS = {"training": train, "chain": chain, "tree": tree, "cross-entropy": cross_entropy, "update": update}


def start(variant: str, device: str = "cpu") -> None:
    """Import JAX, for this device alone; on a GPU it leaves memory to others, and float32 is not rounded to TF32."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    jax = _jax()
    jax.config.update("jax_platforms", "cpu" if device == "cpu" else "cuda")
    if device != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")
        try:
            jax.devices()
        except Exception as error:  # RuntimeError, or AssertionError where its CUDA plugin is not there
            raise UnavailableError(f"JAX has no CUDA device ({type(error).__name__}: {error})") from error
