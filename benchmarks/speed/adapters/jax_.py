"""JAX: one jitted step in a Python loop, or a whole epoch in one lax.scan. Buffers are donated; Adam is in jnp."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..problems import CrossEntropyProblem, TrainingProblem, UpdateProblem, Values, end_of_chain, pairs
from ..stand import Stand, UnavailableError, serve
from .differentiated import Run, differentiated

STEP = "step"
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


def _jax() -> Any:
    return import_module("jax")


def _loss(z: Any, labels: Any) -> Any:
    jax = _jax()
    return -jax.numpy.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1).mean()


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


def logits(theta: Any, x: Any) -> Any:
    """Dense layers with ReLU between them."""
    for w, b in theta[:-1]:
        x = _jax().nn.relu(x @ w + b)
    w, b = theta[-1]
    return x @ w + b


def predict(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """One jitted program."""
    jax = _jax()
    theta = [(jax.numpy.array(w), jax.numpy.array(b)) for w, b in pairs(problem.weights)]
    made = jax.jit(lambda theta, x: jax.nn.softmax(logits(theta, x)))
    serve(stand, problem.singly(lambda x: made(theta, x)))


def train(problem: TrainingProblem, stand: Stand, variant: str, device: str = "cpu") -> None:
    """Epochs of training, on the device that `start` has chosen."""
    jax = _jax()
    jnp = jax.numpy
    rate, batch, count = problem.task.rate, problem.task.batch, len(problem.x)
    theta = [(jnp.array(w), jnp.array(b)) for w, b in pairs(problem.weights)]
    # arguments, not constants of the program: a constant would be folded and copied
    x, labels = jnp.asarray(problem.x), jnp.asarray(problem.labels.astype("int32"))

    def loss_of(theta: Any, x: Any, labels: Any) -> Any:
        return _loss(logits(theta, x), labels)

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


def gradient(f: Callable[..., Any], xs: Sequence[Values], variant: str) -> Run:
    """In one program; a loop without a pattern is unrolled into it, as any graph would be."""
    jax = _jax()

    def summed(*xs: Any) -> Any:
        y = f(*xs)
        return y.sum(), y

    made = jax.jit(jax.value_and_grad(summed, argnums=tuple(range(len(xs))), has_aux=True))
    arrays = [jax.numpy.asarray(x) for x in xs]

    def run() -> tuple[Any, Any]:
        (_, y), gradients = jax.block_until_ready(made(*arrays))
        return y, gradients

    return run


def loss(problem: CrossEntropyProblem) -> Callable[[Any], Any]:
    """The loss by log_softmax."""
    labels = _jax().numpy.asarray(problem.labels.astype("int32"))
    return lambda logits: _loss(logits, labels)


def links(variant: str) -> Callable[..., Any]:
    """Scan: `lax.scan` over the links."""
    if variant == STEP:
        return end_of_chain
    return lambda y, x, c, count: _jax().lax.scan(lambda y, _: (y * c + x, None), y, length=count)[0]


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


WORK = differentiated(gradient, loss, constant=lambda x: _jax().numpy.asarray(x), links=links, stacked=True)
ADAPTERS = {"training": train, "prediction": predict, "update": update, **WORK}


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
