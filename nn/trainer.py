"""How a model is trained: step by step, epoch by epoch, and what has come of an epoch that is under way."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy

from ..distributed import Bucket, Ended, Group, Shard
from ..engine import backend, random
from ..engine.tensor import Tensor
from ..errors import DivergenceError, UsageError
from ..optim import Constant
from ..replay.arguments import rebuilt
from .ahead import alone, steps_ahead
from .checkpoint import Description
from .finite import first_changed, first_fault
from .graph import listed
from .hooks import Hooks
from .loading import named_weights
from .measuring import RunningMeans, in_dtype, measure
from .penalties import constrain
from .samples import Samples, rows
from .sources import Source
from .state import Snapshot, Standing, Within, changing, is_finite, key_of, show_averages, show_raw

if TYPE_CHECKING:
    from .trained import Trained


BATCH = "on_train_batch_begin", "on_train_batch_end"
"""The hooks in which a callback may save the model within an epoch."""


SCALE = 1024.0
"""Of the loss, where a mixed policy computes its gradients: a power of two changes no digit."""


class Trainer:
    """One step after another: gather a batch, forward, loss, backward, update. Captured, unless run_eagerly says no.

    A model has one, so that what was recorded in one fit serves the next. It holds no samples between them.
    """

    def __init__(
        self, model: Trained, samples: Samples | Source | None, captured: bool, group: Group | None = None
    ) -> None:
        self.model, self.group = model, group
        self.shard = Shard(group, model.dtype, model.device) if group else None
        self.bucket: Bucket | None = None
        self._joined: RunningMeans | None = None
        self.generator: numpy.random.Generator = self.shard or random.generator(0)
        self.means = RunningMeans(model)
        self.take(samples, captured)

    @classmethod
    def of(
        cls, model: Trained, samples: Samples | Source | None, captured: bool, group: Group | None = None
    ) -> Trainer:
        """The model's: the one whose step is recorded, or a new one, also within another training of the model."""
        recorded = model.recorded.get("train")
        trainer: Trainer | None = getattr(recorded and recorded.function, "__self__", None)
        if trainer is None or trainer.samples is not None or trainer.group is not group:
            return cls(model, samples, captured, group)
        trainer.take(samples, captured)
        if trainer.means.fits(model):
            trainer.means.metrics = model.metrics
        else:
            trainer.means = RunningMeans(model)
        return trainer

    def take(self, samples: Samples | Source | None, captured: bool) -> None:
        """Train on these samples from now on."""
        self.samples, self.captured = samples, captured
        self.hooks: Hooks | None = None
        self.before: Snapshot | None = None
        self.checked = False
        self._finite: tuple[str, ...] = ()
        self.seen: int | None = None
        self.steps = self._taken = 0
        self._kept: Snapshot | None = None
        self._last: list[backend.Array] | None = None
        self._ended = False

    def _ready(self) -> tuple[Callable[..., Any], list[Any]]:
        """The step, recorded if it shall be, and what it is given before the places or the rows of a batch.

        A recorded step is the model's, and serves the next fit: it is given all samples, or batch by batch their rows.
        It is the trainer's alone, and forgotten with the samples, where a training within another takes it, and on a
        GPU, where all samples have their place in the recorded graph.
        """
        model, samples, step = self.model, self.samples, self._step
        assert isinstance(samples, Samples)
        everything: list[Any] = [] if samples.streamed else rebuilt(samples.batch, Tensor)
        name = self._step_name
        if model.device != "cpu" and everything:
            placed = functools.partial(self._step, *everything)
            step, name, everything = functools.update_wrapper(placed, self._step), self._own_name, []
        return (model.captured(name, step) if self.captured else step), everything

    @property
    def _step_name(self) -> str:
        recorded = self.model.recorded.get("train")
        theirs = recorded and getattr(recorded.function, "__self__", None) is not self
        return self._own_name if theirs else "train"

    @property
    def _own_name(self) -> str:
        return f"train {id(self)}"

    def watch(self, checked: bool) -> None:
        """A training begins. Keep what the model is at the begin of each epoch, where that may be asked for.

        checked: end with DivergenceError where the loss, or what was finite until now, is so no longer.
        """
        assert self.hooks is not None
        self.checked = checked
        if checked or self.hooks.any(*BATCH):
            self.before = Snapshot(self.model)
        if checked:
            self._finite = tuple(name for name, array in changing(self.model).items() if is_finite(array))

    def begin(self, epoch: int, batch_size: int, shuffle: bool, within: Within | None) -> Within | None:
        """An epoch begins: keep what the model is then. Returns `within` where it is of this epoch."""
        assert self.hooks is not None
        self._place = epoch, batch_size, shuffle
        self._states = self.hooks.states() if self.hooks.any(*BATCH) else {}
        if self.before:
            self.before.take()
        return within if within and isinstance(self.samples, Samples) and self._key() == within.key else None

    def _key(self) -> str:
        """Tells the epoch, of which the model stands at the begin, from others."""
        epoch, *settings = self._place
        stream, samples = self.model.stream, self.samples
        assert isinstance(samples, Samples)
        place = stream.seed, stream.begin + epoch, bool(samples.augmentation), *settings
        return key_of(self.model, Description(self.model).plain, samples, *place)

    def standing(self) -> Standing:
        """What a file or a copy has of the training, besides the model: within an epoch, as it was at its begin."""
        assert self.hooks is not None
        if self.seen is None:
            return Standing(self.hooks.epochs, self.model.stop_training, self.hooks.states())
        return Standing(self.hooks.epochs, False, self._states)

    @contextlib.contextmanager
    def at_begin(self) -> Iterator[Within | None]:
        """With the model as it was at the begin of the epoch under way; what has come of it since is what is yielded.

        Where there is none under way, or nothing was kept of it, the model is what it is, and that is None. It is None,
        too, where batches come from outside: nobody can give those again that have come.
        """
        if self.seen is None or self.before is None:
            yield None
            return
        model, hooks = self.model, self.hooks
        assert model.optimizer is not None
        assert hooks is not None
        now, rate = Snapshot(model), model.optimizer.schedule
        within = Within(
            "", self.seen, now.arrays, model.optimizer.iterations,
            rate.learning_rate if isinstance(rate, Constant) else None,
            dict(self.generator.bit_generator.state), self.means.sums.copy(), hooks.states(),
        )  # fmt: skip
        try:
            self.before.put_back()
            within.key = self._key() if isinstance(self.samples, Samples) else ""
            show_averages(model)
            yield within if within.key else None
        finally:
            show_raw(model)
            now.put_back()

    def _take_up(self, within: Within) -> int:
        """Make model, generator, means and callbacks what they were within the epoch; returns how many were seen."""
        model, hooks = self.model, self.hooks
        assert model.optimizer is not None
        assert hooks is not None
        for name, array in changing(model).items():  # type: str, backend.Array
            array[...] = backend.to_device(within.arrays[name], model.device)
        for w in model.weights:
            w.changed()
        model.optimizer.iterations = within.iterations
        if within.learning_rate is not None:
            model.optimizer.learning_rate = within.learning_rate
        self.generator.bit_generator.state = within.generator
        self.means.sums[...] = backend.to_device(within.means, model.device)
        self.means.count = within.seen
        hooks.set_states(within.callbacks)
        return within.seen

    def look(self) -> None:
        """Note whether what was finite at first is so still."""
        now = changing(self.model)
        self.means.look_at(now[name] for name in self._finite if name in now)

    def means_of(self, hooks: Hooks, within: Within | None = None) -> dict[str, float]:
        """The means of the epoch that began. Raises DivergenceError, with the model as it was at its `begin`.

        within: go on from there.
        """
        epoch = self._place[0]
        means = self.epoch(*self._place, hooks, within)
        if self.checked:
            self.look()
        logs = means.read()
        if self.checked and self.before and not means.finite:
            assert self.model.optimizer is not None
            schedule, done = self.model.optimizer.schedule, self.steps
            self.before.put_back()
            self.model.optimizer.schedule = schedule  # which a callback may have set for this epoch
            self.model.stop_training = False
            if not isinstance(self.samples, Samples) or self.group:
                raise divergence(f"epoch {epoch + 1}, by step {done}", self.model, epoch)
            try:
                with numpy.errstate(all="ignore"):
                    Careful(self, epoch).epoch(*self._place, Hooks(self.model))
            finally:
                self.before.put_back()
            raise divergence(
                f"epoch {epoch + 1}, but was when that was gone through again step by step: it depends on what has "
                "changed meanwhile, such as numbers that a loss reads from outside",
                self.model, epoch,
            )  # fmt: skip
        return logs

    def _step(self, x: Tensor, y: Tensor, indices: Tensor | None = None, due: bool = True) -> None:
        """Learn from a batch: these rows, or those at the indices. due: whether weights change; recorded by itself."""
        self._learn(x, y) if indices is None else self._learn(*rebuilt([x, y], lambda t: rows(t, indices)))

    def _learn(self, x: Tensor, y: Tensor) -> None:
        model, bucket = self.model, self.bucket
        assert model.optimizer is not None
        if self.means.metrics is not model.metrics:
            raise UsageError(
                f"the metrics were {self.means.names} when fit began, and are {model.metric_names} now: set them "
                "between two calls of fit."
            )
        counted: list[Any] | None = [] if model.optimizer.accumulates else None
        loss, values = measure(
            model, in_dtype(model, x), y, training=True, generator=self.generator, shard=self.shard, counted=counted
        )
        if bucket and self.shard:
            self.means.lay(values, self.shard, self._places)
        if model.trainable_weights:  # else everything is frozen
            if model.mixed:
                _backward_scaled(loss, model.trainable_weights)
            else:
                loss.backward()
            due = model.optimizer.is_due
            weight = counted[0] if counted else 1.0
            model.optimizer.step(model.flat, *((bucket.sum, bucket.weigh(weight)) if bucket else (None, weight)))
            if due:
                constrain(model)
        elif bucket:
            bucket.sum()
        for w in model.weights:
            w.grad = None
        if bucket:
            self.means.take_in(bucket.measured)
        else:
            self.means.add(values, listed(x)[0].shape[0], y)

    def _kind(self) -> dict[str, bool]:
        """What the step is told besides its batch: whether weights change, where they do not in each."""
        optimizer = self.model.optimizer
        assert optimizer is not None
        return {"due": optimizer.is_due} if optimizer.accumulates else {}

    def epoch(
        self, epoch: int, batch_size: int, shuffle: bool, hooks: Hooks, within: Within | None = None
    ) -> RunningMeans:
        """Every sample once; those that were not seen yet, where it goes on within an epoch."""
        model, samples = self.model, self.samples
        stream = model.stream
        self.generator.bit_generator.state = stream.generator("dropout", epoch).bit_generator.state
        self.means.reset()
        for w in model.weights:
            w.grad = None
        if self.group:
            self._join(self.group)
        if isinstance(samples, Source):
            self._epoch_of(samples, hooks)
            stream.trained(epoch)
            return self.means
        assert samples is not None
        count = len(samples)
        order = stream.generator("shuffle", epoch).permutation(count) if shuffle else numpy.arange(count)
        given = samples.taken(order, lambda at: stream.generator("augmentation", epoch, f" {at}"), batch_size)
        step: Any
        step, everything = self._ready()
        start = self.seen = self._take_up(within) if within else 0
        assert model.optimizer is not None
        ahead = int(batch_size <= count and not self.group and not model.optimizer.accumulates)
        told = self._told(hooks)
        with contextlib.ExitStack() as endings:
            endings.callback(setattr, self, "seen", None)
            for taken in given:
                endings.callback(taken.close)
            while start < count:
                if told and self._last is None:
                    hooks("on_train_batch_begin", start // batch_size)
                whole = (count - start) // batch_size
                if ahead:  # also where a short batch alone is left: it is taken as after the whole ones
                    first = min(start, count - batch_size)
                    ahead = steps_ahead(self, step, everything, given, first, batch_size, hooks)
                whole, done = min(ahead, whole), 0
                if whole:
                    done = step.enqueue([taken.batches(start, whole, batch_size) for taken in given], everything)
                if not done:
                    with alone(model, (batch_size, *listed(samples.shape)[0][1:]), ahead):
                        self._whole(functools.partial(self._once, step, everything, given, start, batch_size))
                if self._ended:
                    break
                stop = min(start + max(done, 1) * batch_size, count)
                self.means.count += stop - start
                start = self.seen = stop
                if self.checked and model.device == "cpu" and not self.means.loss_is_finite():
                    break
                if told:
                    hooks("on_train_batch_end", (start - 1) // batch_size, logs=self.means)
                if self._stops(told):
                    break
        stream.trained(epoch)
        return self.means

    def _once(
        self, step: Callable[..., Any], everything: list[Any], given: list[Any], start: int, batch_size: int
    ) -> None:
        samples = self.samples
        assert isinstance(samples, Samples)
        part = self.shard.enter(min(batch_size, len(samples) - start)) if self.shard else None
        tensors = [taken.tensor(start, start + batch_size, part) for taken in given]
        step(*(samples.joined(tensors) if samples.streamed else (*everything, *tensors)), **self._kind())

    def _whole(self, once: Callable[[], None]) -> None:
        """A step; where a rank dies in it, again from what the model was before, by those that are left."""
        group, model = self.group, self.model
        if not group:
            once()
            return
        if group.survives:
            kept, sums = self._kept or Snapshot(model), self.means.sums.copy()
            kept.take()
            self._kept, drawn = kept, self.generator.bit_generator.state

        def undo() -> None:
            kept.put_back()
            self.means.sums[...] = sums
            self.generator.bit_generator.state = drawn
            for w in model.weights:
                w.grad = None

        def work() -> None:
            try:
                once()
            except Ended:
                self._ended = True

        group.whole(work, undo)
        if self._ended:
            self._end(group)
            return
        self._taken += 1
        if group.compared and self._taken % group.compared == 0:
            self._compare(group)

    def _compare(self, group: Group) -> None:
        """Raise UsageError where a rank has other weights, or another state of the optimiser, than the lowest one."""
        arrays = {name: array for name, array in changing(self.model).items() if name != "weights"}
        arrays |= {name: w._data for name, w in named_weights(self.model).items()}
        group.check_replicas(arrays, f"after {self._taken} steps of this training")

    def _epoch_of(self, source: Source, hooks: Hooks) -> None:
        """An epoch of batches that come from outside."""
        told, self.seen, self.steps = self._told(hooks), 0, 0
        with contextlib.ExitStack() as endings:
            endings.callback(setattr, self, "seen", None)
            batches = endings.enter_context(contextlib.closing(source.epoch()))
            for number, batch in enumerate(batches):
                if told and self._last is None:
                    hooks("on_train_batch_begin", number)
                self.one(batch)
                if self._ended:
                    break
                self.seen, self.steps = self.means.count, number + 1
                if self.checked and self.model.device == "cpu" and not self.means.loss_is_finite():
                    break
                if told:
                    hooks("on_train_batch_end", number, logs=self.means)
                if self._stops(told):
                    break

    def one(self, batch: Samples) -> None:
        """A step on a batch of its own."""
        step: Any = self.model.captured(self._step_name, self._step) if self.captured else self._step

        def once() -> None:
            part = self.shard.enter(len(batch)) if self.shard else slice(None)
            step(*rebuilt(batch.batch, lambda values: Tensor(values[part])), **self._kind())

        with alone(self.model, listed(batch.shape)[0]):
            self._whole(once)
        self.means.count += 0 if self._ended else len(batch)

    def _told(self, hooks: Hooks) -> bool:
        """Whether callbacks hear of each batch, on any rank."""
        told = hooks.any(*BATCH)
        return any(self.group.gathered(told)) if self.group else told

    def _join(self, group: Group) -> None:
        """Have one buffer for what the ranks add up in a step, and nobody who ends the training."""
        model, size = self.model, self.means.sums.size - 1
        assert model.optimizer is not None
        flat = model.optimizer.flat_of(model.flat)
        if not self.bucket or self.bucket.flat is not flat or self._joined is not self.means:
            self.bucket, self._joined = Bucket(group, flat, size), self.means
            self._places = self.means.places(self.bucket.measured)
        self.bucket.ends._data[...], self._last, self._ended = 0, None, False

    def _stops(self, told: bool) -> bool:
        """Whether the epoch ends behind this batch. told: whether callbacks have heard of it, on any rank.

        A rank that wants so says it in the sum of the next step, which then no rank makes: so the model is what it was
        behind this batch, and there is no sum for that alone. Where the sum is on a GPU, and the host does not see it,
        they ask each other.
        """
        if not self.bucket or self.model.device != "cpu":
            if told:
                self.agree()
        elif self.model.stop_training and self._last is None:
            self.bucket.ends._data[...] = 1
            self._last = [w.numpy().copy() for w in self._moving()]
        return bool(self.model.stop_training) and self._last is None

    def _moving(self) -> list[Tensor]:
        """What a forward pass changes, such as moving statistics."""
        return [w for layer in self.model.parts for w in layer.state.values()]

    def _end(self, group: Group) -> None:
        """End the epoch, with the model as it was before the step that was begun: as those know who have ended it."""
        for each in group.gathered(self._last):
            for w, before in zip(self._moving(), each or (), strict=False):
                w._data[...] = before
                w.changed()
        for w in self.model.weights:
            w.grad = None
        self.model.stop_training = True

    def agree(self) -> None:
        """Where a callback on one rank ends the training, all end it there."""
        if self.group:
            self.model.stop_training = any(self.group.gathered(bool(self.model.stop_training)))

    def forget(self) -> None:
        """Let go of the samples, and of what was recorded for them alone."""
        self.take(None, captured=False)
        self.model.forget(self._own_name)


def _backward_scaled(loss: Tensor, weights: Iterable[Tensor]) -> None:
    """The gradients by way of SCALE times the loss, whose small ones float16 holds (Micikevicius et al. 2018)."""
    (loss * SCALE).backward()
    for w in weights:
        if w.grad is not None:
            w.grad = w.grad * (1 / SCALE)


class Careful(Trainer):
    """A trainer that takes an epoch on the tape, and names the first step after which something is not finite."""

    def __init__(self, other: Trainer, epoch: int) -> None:
        super().__init__(other.model, other.samples, captured=False)
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
        fault = first_fault(self.model, in_dtype(self.model, x), y, self.generator)
        fault = fault or f"the update by {type(self.model.optimizer).__name__}, which makes {changed} infinite or NaN"
        raise divergence(f"epoch {self._epoch + 1}, step {self._steps}: {fault}", self.model, self._epoch)


def divergence(where: str, model: Trained, epoch: int) -> DivergenceError:
    """The error for a training that is no longer finite, with the way out."""
    assert model.optimizer is not None
    return DivergenceError(
        f"the training is no longer finite in {where}. The model is what it was before that epoch, from which "
        f"fit(initial_epoch={epoch}, …) goes on. Try a smaller learning rate than {model.optimizer.learning_rate:g}, "
        "global_clipnorm=1.0 in the optimizer, or samples of a smaller scale; compile(check_finite=False) trains on "
        "regardless.",
        where,
    )
