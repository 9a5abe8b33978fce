"""The training loop (D18), and evaluation and prediction in batches."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import numpy.typing

from ..distributed import Group, begin
from ..engine.tensor import Tensor
from ..errors import UsageError
from ..replay.arguments import leaves
from .ahead import alone, computing, runs_epochs
from .callbacks import TerminateOnNaN
from .careful import means_of
from .checkpoint import Description
from .graph import listed, mapped
from .hooks import Callback, History, Hooks
from .measuring import RunningMeans, copied, in_dtype, measure
from .progress import progress_for
from .samples import Samples, check_finite
from .sources import Source
from .state import Standing, changing, show_averages, show_raw, told, versions
from .trainer import Trainer
from .validation import Validation

if TYPE_CHECKING:
    from .trained import Trained

EVALUATION_BATCH = 512
WORTH_CAPTURING = 8
"""Steps, from which on a training is captured: recording it takes as long as a few."""


def fit(
    model: Trained,
    samples: Samples | Source,
    validation: Validation | None,
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
    group: Group | None = None,
) -> History:
    """Train: shuffle, forward, loss, backward, update, until the last epoch or until a callback sees convergence.

    Each epoch draws its order and its dropout from numbers of its own, see `Stream`, so that a run taken up again goes
    on as if it had not been interrupted. group: the ranks that train it together, each with its share of a batch.
    """
    if group:
        told_of = {
            "batch_size": batch_size, "the epochs": (initial_epoch, epochs), "shuffle": shuffle,
            "the seed": (seed, model.stream), "the list of callbacks (without those that write)": _kinds(callbacks),
        }  # fmt: skip
        group.whole(functools.partial(_begin_together, group, model, samples, told_of))
    source, bar = samples if isinstance(samples, Source) else None, progress_for(verbose)
    count = len(samples) if isinstance(samples, Samples) else 0
    steps = source.batches if source else -(-count // batch_size)
    params: dict[str, Any] = {"epochs": epochs, "steps": steps, "samples": count or None, "verbose": verbose}
    if validation and validation.epochs != 1:
        params["validation_freq"] = validation.epochs
    everyone = [*callbacks, *([bar] if bar else [])]
    writes = group is None or group.leads  # one rank shows the training, and writes files
    hooks = Hooks(model, [c for c in everyone if writes or not (c.writes or c is bar)], params, history)
    model.stop_training = False
    worth_it = steps is None or steps * (epochs - initial_epoch) > WORTH_CAPTURING or "train" in model.recorded
    worth_it = worth_it or runs_epochs(model, count, samples.streamed)
    if not model.trainable_weights:
        warnings.warn("the model has no trainable weights: fit measures it and changes nothing.", stacklevel=6)
    trainer = Trainer.of(model, samples, captured=worth_it and not model.run_eagerly, group=group)
    known = model.standing if initial_epoch and model.standing.epochs == initial_epoch else Standing()
    with hooks.training(history.before(initial_epoch), known.callbacks), contextlib.ExitStack() as endings:
        endings.callback(trainer.forget)
        if group:
            endings.enter_context(group.training())
            endings.enter_context(group.calling(functools.partial(_fewer, trainer, hooks, everyone)))
        for each in (samples, validation and validation.samples):
            if isinstance(each, Source):
                endings.callback(each.close)
        endings.enter_context(under_way(trainer, hooks))
        if known.stop or hooks.catch_up(known.callbacks):
            epochs = initial_epoch
        if initial_epoch < epochs:  # else nothing is drawn or averaged: weights that were set since stay
            here = computing(model, count, samples.streamed)
            if (others := model.facts.get("versions", here)) != here:
                warnings.warn(
                    f"this training goes on with {told(here)}, and was begun with {told(others)}: from here on "
                    "it may have other bits than one that was not interrupted.", stacklevel=6,
                )  # fmt: skip
            model.facts = {"batch_size": batch_size, "shuffle": bool(shuffle), "versions": here}
            model.stream.enter(seed, initial_epoch)
            endings.callback(show_averages, model)
            show_raw(model)
            ends = any(isinstance(callback, TerminateOnNaN) for callback in callbacks)
            trainer.watch(model.check_finite and not ends)
        within = model.standing.within
        for epoch in range(initial_epoch, epochs):
            if source and not source.begins(model.stream.generator("shuffle", epoch) if shuffle else None):
                source.ended_after(epoch, epochs)
                break
            show_raw(model)
            within = trainer.begin(epoch, batch_size, shuffle, within)
            hooks("on_epoch_begin", epoch)
            logs = means_of(trainer, hooks, within)
            within = None
            show_averages(model)
            if evaluate_training:
                logs |= {f"train_{k}": v for k, v in evaluate(model, samples, EVALUATION_BATCH, group=group).items()}
            if validation and validation.is_due(epoch):
                found = evaluate(model, validation.samples, validation.batch_size, validation.steps, hooks, group)
                logs |= {f"val_{k}": v for k, v in found.items()}
            if any(callback.tells_rate for callback in hooks.callbacks) and model.optimizer:
                logs["learning_rate"] = model.optimizer.learning_rate
            hooks.epoch_end(epoch, logs)
            trainer.agree()
            hooks.hand_on(epoch, logs, group)
            if model.stop_training:
                break
    return history


def _kinds(callbacks: Sequence[Callback]) -> str:
    """What the callbacks are that hear of the training on each rank; those that write may be on one alone."""
    return ", ".join(type(callback).__name__ for callback in callbacks if not callback.writes) or "none"


def _fewer(trainer: Trainer, hooks: Hooks, everyone: Sequence[Callback]) -> None:
    """A rank has died: nothing that was recorded holds, and the lowest one that lives shows the training and writes."""
    group = trainer.group
    assert group
    for step in trainer.model.recorded.values():
        step.recordings.clear()
    if group.leads and len(hooks.callbacks) < len(everyone):
        hooks.admit(everyone, trainer.seen is not None)


def _begin_together(group: Group, model: Trained, samples: Samples | Source, given: dict[str, Any]) -> None:
    """Compare what the ranks were given, and let them begin with the weights and the state of the lowest one."""
    if own := [metric.name for metric in model.metrics if metric.keeps_variables]:
        raise UsageError(
            f"fit(distributed=True): the metric {own[0]!r} keeps variables of its own, and what ranks keep cannot be "
            "added up: let it have `sums` and `value` instead."
        )
    same = {"the versions": versions(), "the model": Description(model).plain, **given}
    arrays = [a for a in leaves(samples.batch) if a is not None] if isinstance(samples, Samples) else []
    begin(group, given["batch_size"], model.device, arrays, same, changing(model).values())
    for w in model.weights:
        w.changed()


@contextlib.contextmanager
def under_way(trainer: Trainer, hooks: Hooks) -> Iterator[None]:
    """While it lasts, the model's standing is that of the training with these hooks; then it is where that ended."""
    model = trainer.model
    outer, model.under_way, trainer.hooks = model.under_way, trainer, hooks
    try:
        yield
    finally:
        model.under_way, model.standing = outer, Standing(hooks.epochs, False, hooks.states())


def train_on_batch(model: Trained, batch: Samples) -> dict[str, float]:
    """One step; returns loss and metrics of the batch before it. It draws as an epoch of one batch does."""
    trainer = Trainer.of(model, batch, captured=not model.run_eagerly)
    model.stream.enter(None, 0)
    trainer.generator.bit_generator.state = model.stream.generator("dropout", 0).bit_generator.state
    trainer.means.reset()
    show_raw(model)
    try:
        trainer.one(batch)
        model.stream.trained(0)
        return trainer.means.read()
    finally:
        show_averages(model)
        trainer.forget()


class Measured:
    """A model on batches that it does not learn from."""

    def __init__(self, model: Trained) -> None:
        self.model = model

    def measured(self, x: Any, y: Any) -> tuple[Tensor, ...]:
        """Loss and metrics."""
        return tuple(map(Tensor, measure(self.model, self._taken(x), y, training=False)[1]))

    def applied(self, x: Any) -> Any:
        """The outputs."""
        return self.model.forward(self._taken(x), taped=False)

    def _taken(self, x: Any) -> Any:
        """The batch as the first layer takes it; a copy, where a layer of the user's own could write into it."""
        if isinstance(x, list):
            return in_dtype(self.model, x if self.model.all_ours else [Tensor(copied(each._data)) for each in x])
        taken = in_dtype(self.model, x)
        return Tensor(copied(x._data)) if taken is x and not self.model.all_ours else taken


def evaluate(
    model: Trained, samples: Samples | Source, batch_size: int, steps: int | None = None, hooks: Hooks | None = None,
    group: Group | None = None,
) -> dict[str, float]:  # fmt: skip
    """Loss and metrics of the weights as they are, over all samples; no dropout, nothing on the tape.

    steps: over so many batches instead. group: its ranks take the batches in turn, and all get
    the same values.
    """
    run = functools.partial(_evaluate, model, samples, batch_size, steps, hooks, group)
    return group.whole(run) if group else run()


def _evaluate(
    model: Trained, samples: Samples | Source, batch_size: int, steps: int | None, hooks: Hooks | None,
    group: Group | None,
) -> dict[str, float]:  # fmt: skip
    hooks = hooks or Hooks(model)
    if model.stop_evaluating:
        model.stop_evaluating = False
    hooks("on_test_begin")
    means, step = (
        RunningMeans(model),
        model.captured("evaluate", Measured(model).measured),
    )
    shared = None if any(metric.keeps_variables for metric in model.metrics) else group
    for batch, (x, y) in enumerate(itertools.islice(samples.slices(batch_size), steps)):
        if shared and batch % shared.size != shared.rank:
            continue
        hooks("on_test_batch_begin", batch)
        count = len(listed(x)[0])
        with alone(model, listed(x)[0].shape):
            means.add([value._data for value in step(x, y)], count, y)
        means.count += count
        hooks("on_test_batch_end", batch, logs=means)
        if model.stop_evaluating:
            break
    if shared:
        means.unite(shared)
    results = means.read()
    hooks("on_test_end", logs=results)
    return results


def is_one_batch(model: Trained, x: Any, batch_size: Any) -> bool:
    """Whether samples are an array that is one batch as it stands: then `predict` has little to do around the step."""
    few = x.__class__ is numpy.ndarray and x.ndim and 0 < len(x) <= EVALUATION_BATCH and batch_size is None
    return bool(few and model.device == "cpu" and x.dtype is numpy.dtype(model.dtype) and not model.stop_predicting)


def predict_batch(model: Trained, x: Any) -> Any:
    """The model's outputs for one batch, of which no callback is told."""
    check_finite(x, "x")
    with alone(model, x.shape):
        outputs = model.captured("predict", Measured(model).applied)(Tensor(x))
    return mapped(lambda each: each._data.copy(), outputs)  # it may be x itself, which is the caller's


def predict(
    model: Trained, samples: Samples | Source, batch_size: int, steps: int | None = None, hooks: Hooks | None = None,
    group: Group | None = None,
) -> Any:  # fmt: skip
    """The model's outputs for all samples, or so many batches, as one NumPy array. group: as in `evaluate`."""
    run = functools.partial(_predict, model, samples, batch_size, steps, hooks, group)
    return group.whole(run) if group else run()


def _predict(
    model: Trained, samples: Samples | Source, batch_size: int, steps: int | None, hooks: Hooks | None,
    group: Group | None,
) -> Any:  # fmt: skip
    hooks = hooks or Hooks(model)
    if model.stop_predicting:
        model.stop_predicting = False
    hooks("on_predict_begin")
    step = model.captured("predict", Measured(model).applied)
    outputs = []
    for batch, (x, _) in enumerate(itertools.islice(samples.slices(batch_size), steps)):
        if group and batch % group.size != group.rank:
            continue
        hooks("on_predict_batch_begin", batch)
        with alone(model, listed(x)[0].shape):
            outputs.append(mapped(Tensor.numpy, step(x)))
        hooks("on_predict_batch_end", batch, logs={"outputs": outputs[-1]})
        if model.stop_predicting:
            break
    if group:
        every = group.gathered(outputs)
        outputs = [each for turn in itertools.zip_longest(*every) for each in turn if each is not None]
    hooks("on_predict_end")
    if len(model.outputs_at) > 1:
        return [numpy.concatenate(each) for each in zip(*outputs, strict=True)]
    return numpy.concatenate(outputs)
