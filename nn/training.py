"""The training loop (D18), and evaluation and prediction in batches."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy

from ..engine import backend, random
from ..engine.cuda.graph import AHEAD
from ..engine.errors import DivergenceError, ShapeError, UsageError
from ..engine.replay.capture import Captured
from ..engine.tensor import Tensor
from ..ops.reduction import mean
from ..optim.optimizer import AVERAGE
from .callbacks import Callback, History, TerminateOnNaN
from .finite import Snapshot, changing, first_changed, first_fault, is_finite
from .progress import progress_for
from .samples import Samples

if TYPE_CHECKING:
    from .layers.base import Weights
    from .metrics import Metric
    from .sequential import Sequential

P = ParamSpec("P")
R = TypeVar("R")
EVALUATION_BATCH = 512
WORTH_CAPTURING = 8
"""Steps, from which on a training is captured: recording it takes as long as a few."""


def on_its_device(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a model, carried out with the model's device as the current one."""

    @functools.wraps(method)
    def there(*args: P.args, **kwargs: P.kwargs) -> R:
        model: Any = args[0]
        if model.device == "cpu":
            return method(*args, **kwargs)
        with backend.working(model.device, method.__name__):
            return method(*args, **kwargs)

    return there


class RunningMeans(Mapping[str, float]):
    """Means over the batches so far, weighted by their size. They stay on the device until one is read.

    finite: whether the sum of the losses is, and what was looked at, as of the last reading.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._sums = backend.to_device(numpy.zeros(len(names) + 1), device)
        self._faults = self._sums[-1:].reshape(())
        self.totals = {name: self._sums[i : i + 1].reshape(()) for i, name in enumerate(names)}
        self.count, self.finite = 0, True

    def reset(self) -> None:
        """Begin anew."""
        self.count, self.finite = 0, True
        self._sums[...] = 0

    def add(self, values: Sequence[backend.Array], count: int) -> None:
        """Take in the means of a batch of `count` samples; counting them is left to who goes on to the next."""
        for total, value in zip(self.totals.values(), values, strict=True):
            xp = backend.namespace_of(total)
            xp.add(total, xp.multiply(value, float(count), dtype=numpy.float64), out=total)

    def look_at(self, arrays: Iterable[backend.Array]) -> None:
        """Note, without waiting for the device, whether all elements are finite."""
        for array in arrays:
            xp = backend.namespace_of(array)
            xp.add(self._faults, ~xp.isfinite(array).all(), out=self._faults)

    def loss_is_finite(self) -> bool:
        """Whether the sum of the losses is; waits for the device."""
        return math.isfinite(self._sums[0])

    def read(self) -> dict[str, float]:
        """All of them, with one wait for the device."""
        *values, faults = backend.fetch(self._sums).tolist()
        self.finite = math.isfinite(values[0]) and not faults
        return {name: value / self.count for name, value in zip(self.totals, values, strict=True)}

    def __getitem__(self, name: str) -> float:
        return self.read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.totals)

    def __len__(self) -> int:
        return len(self.totals)


def outputs_and_loss(
    model: Sequential,
    x: Tensor,
    y: Tensor,
    *,
    recorded: bool = True,
    training: bool = False,
    generator: Any = None,
    weights: Sequence[Weights] | None = None,
) -> tuple[Tensor, Tensor]:
    """What the model makes of a batch (logits, where the loss computes from them), and the loss; as `forward` takes it.

    A loss of one number a sample becomes their mean. Raises UsageError where it is no tensor, holds other numbers, or
    where it is to be recorded and does not follow from the weights.
    """
    loss, fused = model.loss, model.fuses_loss
    assert loss is not None
    outputs = model.forward(
        x, recorded=recorded, training=training, generator=generator, logits=fused, weights=weights
    )  # fmt: skip
    value = loss(y, outputs, logits=fused)
    if not isinstance(value, Tensor):
        raise UsageError(
            f"the loss {loss.name!r} returned {type(value).__name__}: it is a tensor, computed from y_pred by tensor "
            "operations, for what is no tensor has no gradient."
        )
    if value.shape:
        _check_one_a_sample("loss", loss.name, value.shape, len(outputs))
        value = mean(value)
    if recorded and outputs.requires_grad and not value.requires_grad:
        raise UsageError(
            f"the loss {loss.name!r} does not depend on y_pred, so that nothing can be learnt from it: compute it with "
            "tensor operations, without numpy(), item() or detach()."
        )
    return outputs, value


def _check_one_a_sample(kind: str, name: str, shape: tuple[int, ...], count: int) -> None:
    if math.prod(shape) != 1 and shape not in ((count,), (count, 1)):
        raise UsageError(
            f"the {kind} {name!r} returned shape {shape}: it is a tensor of one number, the batch's mean, or of one "
            f"number a sample, of shape ({count},)."
        )


def measure(
    model: Sequential, x: Tensor, y: Tensor, *, training: bool, generator: Any = None
) -> tuple[Tensor, list[Any]]:
    """The loss of a batch as a tensor (recorded in training), and the values of loss and metrics as arrays."""
    fused = model.fuses_loss
    outputs, value = outputs_and_loss(model, x, y, recorded=training, training=training, generator=generator)
    xp = backend.namespace_of(outputs._data)
    predicted = None
    values = [value._data]
    for metric in model.metrics:
        if fused and not metric.on_logits and predicted is None:
            predicted = model.layers[-1].function(outputs.detach())._data  # type: ignore[attr-defined]
        chosen = outputs._data if metric.on_logits or not fused else predicted
        values.append(_metric_value(metric, xp, y._data, chosen))
    return value, values


def _metric_value(metric: Metric, xp: Any, y: backend.Array, outputs: backend.Array) -> backend.Array:
    """The batch's mean of a metric."""
    value = metric.function(xp, y, outputs)
    value = value._data if isinstance(value, Tensor) else value
    if not isinstance(value, (bool, int, float)) and getattr(value, "dtype", numpy.dtype("O")).kind not in "biuf":
        raise UsageError(f"the metric {metric.name!r} returned {value!r}: it is a number, the batch's mean.")
    number = xp.asarray(value)
    if number.shape:
        _check_one_a_sample("metric", metric.name, number.shape, len(outputs))
        number = xp.mean(number)
    return number


def check_rows(model: Sequential, samples: Samples) -> None:
    """Try functions of the user's own whose targets have another rank than the outputs, on a few samples.

    (n,) beside (n, k) becomes n × n by broadcasting where a batch has k samples, and is an error elsewhere: so as many
    are tried as no axis has. Raises the error that the function gives.
    """
    loss, shape = model.loss, model.infer_shapes(samples.x.shape[1:])[-1]
    own = [metric for metric in model.metrics if metric.targets == "any"]
    assert loss is not None
    if samples.y.ndim == len(shape) + 1 or not (own or loss.targets == "any"):
        return
    count = next(n for n in itertools.count(2) if n not in (*shape, *samples.y.shape[1:]))
    x, y = samples.some(count)
    try:
        measure(model, samples.in_dtype(x), y, training=False)
    except UsageError:
        raise
    except ValueError as error:
        raise ShapeError(
            f"y of shape {samples.y.shape} beside outputs of shape (batch, {', '.join(map(str, shape))}): {error}"
        ) from error


def fit(
    model: Sequential,
    samples: Samples,
    validation: Samples | None,
    *,
    batch_size: int,
    epochs: int,
    initial_epoch: int,
    shuffle: bool,
    seed: int | None,
    verbose: int | str,
    callbacks: Sequence[Callback],
    evaluate_training: bool,
    history: History,
) -> History:
    """Train: shuffle, forward, loss, backward, update, until the last epoch or until a callback sees convergence.

    Each epoch draws its order and its dropout from numbers of its own, see `Stream`, so that a run taken up again goes
    on as if it had not been interrupted.
    """
    steps = -(-len(samples) // batch_size)
    followers: list[Callback] = [history, *callbacks]
    bar = progress_for(verbose)
    if bar:
        followers.insert(0, bar)
    for follower in followers:
        follower.model, follower.past = model, history.before(initial_epoch)
        follower.params = {"epochs": epochs, "steps": steps, "samples": len(samples), "verbose": verbose}
    watchers = [f for f in followers if type(f).on_train_batch_end is not Callback.on_train_batch_end]
    model.stop_training = False
    worth_it = steps * (epochs - initial_epoch) > WORTH_CAPTURING and not model.run_eagerly
    if not model.trainable_weights:
        warnings.warn("the model has no trainable weights: fit measures it and changes nothing.", stacklevel=4)
    trainer = Trainer(model, samples, random.generator(0), captured=worth_it)
    if model.check_finite and not any(isinstance(follower, TerminateOnNaN) for follower in followers):
        trainer.check_finite()
    with contextlib.ExitStack() as endings:
        for follower in followers:
            endings.callback(follower.on_train_end)
            follower.on_train_begin()
        endings.callback(trainer.forget)
        if initial_epoch < epochs:  # else nothing is drawn or averaged: weights that were set since stay
            model.stream.enter(seed, initial_epoch)
            endings.callback(take_average, model)
        for epoch in range(initial_epoch, epochs):
            for follower in followers:
                follower.on_epoch_begin(epoch)
            logs = trainer.means_of(batch_size, epoch, shuffle, watchers)
            with averaged(model):
                if evaluate_training:
                    logs |= {f"train_{k}": v for k, v in evaluate(model, samples, EVALUATION_BATCH).items()}
                if validation:
                    logs |= {f"val_{k}": v for k, v in evaluate(model, validation, EVALUATION_BATCH).items()}
                for follower in followers:
                    follower.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    return history


@contextlib.contextmanager
def averaged(model: Sequential) -> Iterator[None]:
    """With the averages of its weights in the model, where its optimiser keeps them."""
    if not model.optimizer or not model.optimizer.use_ema:
        yield
        return
    kept = model.flat.data.copy()
    take_average(model)
    try:
        yield
    finally:
        model.flat.data[...] = kept
        model.flat.changed()


def take_average(model: Sequential) -> None:
    """Put the averages of its weights into the model, where its optimiser keeps them."""
    if model.optimizer and model.optimizer.use_ema:
        for run in model.flat.runs():
            model.flat.data[run] = model.optimizer.state[AVERAGE][run]
        model.flat.changed()


class Trainer:
    """One step after another: gather a batch, forward, loss, backward, update. Captured, unless run_eagerly says no."""

    def __init__(self, model: Sequential, samples: Samples, generator: numpy.random.Generator, captured: bool) -> None:
        self.model, self.samples, self.generator, self.captured = model, samples, generator, captured
        self.means = RunningMeans(model.metric_names, model.device)
        self.before: Snapshot | None = None
        self._finite: tuple[str, ...] = ()

    def check_finite(self) -> None:
        """From now on end with DivergenceError where the loss, or what was finite until now, is so no longer."""
        self.before = Snapshot(self.model)
        self._finite = tuple(name for name, array in changing(self.model).items() if is_finite(array))

    def look(self) -> None:
        """Note whether what was finite at first is so still."""
        now = changing(self.model)
        self.means.look_at(now[name] for name in self._finite)

    def means_of(self, batch_size: int, epoch: int, shuffle: bool, watchers: Sequence[Callback]) -> dict[str, float]:
        """The means of an epoch of training. Raises DivergenceError, with the model as it was before that epoch."""
        if self.before:
            self.before.take()
        means = self.epoch(batch_size, epoch, shuffle, watchers)
        if self.before:
            self.look()
        logs = means.read()
        if self.before and not means.finite:
            self.before.put_back()
            self.model.stop_training = False
            try:
                with numpy.errstate(all="ignore"):
                    Careful(self, epoch).epoch(batch_size, epoch, shuffle, ())
            finally:
                self.before.put_back()
            raise divergence(
                f"epoch {epoch + 1}, but was when that was gone through again step by step: it depends on what has "
                "changed meanwhile, such as numbers that a loss reads from outside",
                self.model, epoch,
            )  # fmt: skip
        return logs

    def _step(self, indices: Tensor) -> None:
        x, y = self.samples.batch(indices)
        assert y is not None
        self._learn(x, y)

    def _learn(self, x: Tensor, y: Tensor) -> None:
        model = self.model
        assert model.optimizer is not None
        loss, values = measure(model, self.samples.in_dtype(x), y, training=True, generator=self.generator)
        if model.trainable_weights:  # else everything is frozen
            loss.backward()
            model.optimizer.step(model.flat)
        for w in model.weights:
            w.grad = None
        self.means.add(values, x.shape[0])

    def epoch(self, batch_size: int, epoch: int, shuffle: bool, watchers: Sequence[Callback]) -> RunningMeans:
        """Every sample once."""
        model, count = self.model, len(self.samples)
        stream = model.stream
        order = stream.generator("shuffle", epoch).permutation(count) if shuffle else numpy.arange(count)
        self.generator.bit_generator.state = stream.generator("dropout", epoch).bit_generator.state
        self.means.reset()
        for w in model.weights:
            w.grad = None
        given = self.samples.taken(order, lambda at: stream.generator("augmentation", epoch, f" {at}"), batch_size)
        function = self._learn if self.samples.streamed else self._step
        step: Any = model.captured(f"train {id(self)}", function) if self.captured else function
        ahead = _ahead(watchers) if model.device != "cpu" and isinstance(step, Captured) else 0
        start = 0
        with contextlib.ExitStack() as endings:
            for rows in given:
                endings.callback(rows.close)
            while start < count and not model.stop_training:
                whole = min(ahead, (count - start) // batch_size)
                done = step.enqueue([rows.batches(start, whole, batch_size) for rows in given]) if whole else 0
                if not done:
                    step(*[rows.tensor(start, start + batch_size) for rows in given])
                stop = min(start + max(done, 1) * batch_size, count)
                self.means.count += stop - start
                start = stop
                if self.before and model.device == "cpu" and not self.means.loss_is_finite():
                    break
                for watcher in watchers:
                    watcher.on_train_batch_end((start - 1) // batch_size, self.means)
        stream.trained(epoch)
        return self.means

    def forget(self) -> None:
        """Let go of what was recorded: it holds on to the samples."""
        self.model.forget(f"train {id(self)}")


class Careful(Trainer):
    """A trainer that takes an epoch on the tape, and names the first step after which something is not finite."""

    def __init__(self, other: Trainer, epoch: int) -> None:
        super().__init__(other.model, other.samples, random.generator(0), captured=False)
        self._finite, self._good = other._finite, Snapshot(other.model)
        self._epoch, self._steps = epoch, 0

    def _learn(self, x: Tensor, y: Tensor) -> None:
        self._good.take()
        drawn = self.generator.bit_generator.state
        super()._learn(x, y)
        self._steps += 1
        self.look()
        self.means.count += len(x)
        self.means.read()
        if self.means.finite:
            return
        changed = first_changed(self.model, self._finite)
        self._good.put_back()
        self.generator.bit_generator.state = drawn
        fault = first_fault(self.model, self.samples.in_dtype(x), y, self.generator)
        fault = fault or f"the update by {type(self.model.optimizer).__name__}, which makes {changed} infinite or NaN"
        raise divergence(f"epoch {self._epoch + 1}, step {self._steps}: {fault}", self.model, self._epoch)


def divergence(where: str, model: Sequential, epoch: int) -> DivergenceError:
    """The error for a training that is no longer finite, with the way out."""
    assert model.optimizer is not None
    return DivergenceError(
        f"the training is no longer finite in {where}. The model is what it was before that epoch, from which "
        f"fit(initial_epoch={epoch}, …) goes on. Try a smaller learning rate than {model.optimizer.learning_rate:g}, "
        "global_clipnorm=1.0 in the optimizer, or samples of a smaller scale; compile(check_finite=False) trains on "
        "regardless.",
        where,
    )


def _ahead(watchers: Sequence[Callback]) -> int:
    """How many steps may be enqueued on a GPU before the watchers are told of the last of them."""
    if any(watcher.each_batch for watcher in watchers):
        return 0
    return AHEAD if watchers else sys.maxsize


def evaluate(model: Sequential, samples: Samples, batch_size: int) -> dict[str, float]:
    """Loss and metrics of the weights as they are, over all samples; no dropout, nothing recorded on the tape."""

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        x = x if x.dtype == model.dtype else x.astype(model.dtype)
        return tuple(map(Tensor, measure(model, x, y, training=False)[1]))

    means, step = RunningMeans(model.metric_names, model.device), model.captured("evaluate", step)
    for x, y in samples.slices(batch_size):
        assert y is not None
        means.add([value._data for value in step(x, y)], len(x))
        means.count += len(x)
    return means.read()


def predict(model: Sequential, samples: Samples, batch_size: int) -> Any:
    """The model's outputs for all samples, as one NumPy array."""

    def step(x: Tensor) -> Tensor:
        return model.forward(x if x.dtype == model.dtype else x.astype(model.dtype), recorded=False)

    step = model.captured("predict", step)
    return numpy.concatenate([step(x).numpy() for x, _ in samples.slices(batch_size)])
