"""The training loop (D18), and evaluation and prediction in batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend, random
from ..engine.errors import UsageError
from ..engine.tensor import Tensor
from .callbacks import Callback, History
from .progress import progress_for
from .samples import Samples

if TYPE_CHECKING:
    from .sequential import Sequential

EVALUATION_BATCH = 512


class RunningMeans(Mapping[str, float]):
    """Means over the batches so far, weighted by their size. They stay on the device until one is read."""

    def __init__(self, names: Sequence[str]) -> None:
        self.totals: dict[str, Any] = dict.fromkeys(names, 0.0)
        self.count = 0

    def add(self, values: Sequence[backend.Array], count: int) -> None:
        """Take in a batch of `count` samples with these means."""
        self.count += count
        for name, value in zip(self.totals, values, strict=True):
            self.totals[name] = self.totals[name] + value.astype("float64") * count

    def __getitem__(self, name: str) -> float:
        return float(self.totals[name]) / self.count

    def __iter__(self) -> Iterator[str]:
        return iter(self.totals)

    def __len__(self) -> int:
        return len(self.totals)


def measure(
    model: Sequential, x: Tensor, y: Tensor, *, training: bool, generator: Any = None
) -> tuple[Tensor, list[Any]]:
    """The loss of a batch as a tensor (recorded in training), and the values of loss and metrics as arrays."""
    loss, fused = model.loss, model.fuses_loss
    assert loss is not None
    outputs = model.forward(x, recorded=training, training=training, generator=generator, logits=fused)
    value = loss(y, outputs, logits=fused)
    if not isinstance(value, Tensor) or value.size != 1:
        found = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(f"the loss {loss.name!r} returned {found}: it is a tensor of one number, the batch's mean.")
    xp = backend.namespace_of(outputs._data)
    predicted = None
    values = [value._data]
    for metric in model.metrics:
        if fused and not metric.on_logits and predicted is None:
            predicted = model.layers[-1].function(outputs.detach())._data  # type: ignore[attr-defined]
        chosen = outputs._data if metric.on_logits or not fused else predicted
        number = xp.asarray(metric.function(xp, y._data, chosen))
        if number.size != 1:
            raise UsageError(f"the metric {metric.name!r} returned shape {number.shape}: it is the batch's mean.")
        values.append(number)
    return value, values


def fit(
    model: Sequential,
    samples: Samples,
    validation: Samples | None,
    *,
    batch_size: int,
    epochs: int,
    initial_epoch: int,
    shuffle: bool,
    seed: int,
    verbose: int | str,
    callbacks: Sequence[Callback],
    evaluate_training: bool,
    history: History,
) -> History:
    """Train: shuffle, forward, loss, backward, update, until the last epoch or until a callback sees convergence.

    Each epoch draws its order and its dropout from a stream of its own, so that a run taken up again at
    `initial_epoch` goes on as if it had not been interrupted.
    """
    steps = -(-len(samples) // batch_size)
    followers: list[Callback] = [history, *callbacks]
    bar = progress_for(verbose)
    if bar:
        followers.insert(0, bar)
    for follower in followers:
        follower.model = model
        follower.params = {"epochs": epochs, "steps": steps, "samples": len(samples), "verbose": verbose}
    watchers = [f for f in followers if type(f).on_train_batch_end is not Callback.on_train_batch_end]
    model.stop_training = False
    with contextlib.ExitStack() as endings:
        for follower in followers:
            endings.callback(follower.on_train_end)
            follower.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            for follower in followers:
                follower.on_epoch_begin(epoch)
            means = _train_epoch(model, samples, batch_size, epoch, shuffle, seed, watchers)
            logs = dict(means)
            if evaluate_training:
                logs |= {f"train_{k}": v for k, v in evaluate(model, samples, EVALUATION_BATCH).items()}
            if validation:
                logs |= {f"val_{k}": v for k, v in evaluate(model, validation, EVALUATION_BATCH).items()}
            for follower in followers:
                follower.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    return history


def _train_epoch(
    model: Sequential, samples: Samples, batch_size: int, epoch: int, shuffle: bool, seed: int, watchers: list[Callback]
) -> RunningMeans:
    count = len(samples)
    order = random.generator(seed, f"shuffle {epoch}").permutation(count) if shuffle else numpy.arange(count)
    order = backend.to_device(order, model.device)
    generator = random.generator(seed, f"dropout {epoch}")
    means = RunningMeans(model.metric_names)
    assert model.optimizer is not None
    for batch, start in enumerate(range(0, count, batch_size)):
        indices = order[start : start + batch_size]
        x, y = samples.batch(indices)
        assert y is not None
        loss, values = measure(model, x, y, training=True, generator=generator)
        for w in model.weights:
            w.grad = None
        loss.backward()
        model.optimizer.step(model.flat)
        means.add(values, len(indices))
        for watcher in watchers:
            watcher.on_train_batch_end(batch, means)
        if model.stop_training:
            break
    return means


def evaluate(model: Sequential, samples: Samples, batch_size: int) -> dict[str, float]:
    """Loss and metrics of the weights as they are, over all samples; no dropout, nothing recorded."""
    means = RunningMeans(model.metric_names)
    for start in range(0, len(samples), batch_size):
        x, y = samples.batch(slice(start, start + batch_size))
        assert y is not None
        means.add(measure(model, x, y, training=False)[1], len(x))
    return dict(means)


def predict(model: Sequential, samples: Samples, batch_size: int) -> Any:
    """The model's outputs for all samples, as one NumPy array."""
    outputs = []
    for start in range(0, len(samples), batch_size):
        x, _ = samples.batch(slice(start, start + batch_size))
        outputs.append(model.forward(x, recorded=False).numpy())
    return numpy.concatenate(outputs)
