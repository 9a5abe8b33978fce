"""How a model is trained: step by step, epoch by epoch, and what has come of an epoch that is under way."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy

from ..distributed import Group
from ..engine import backend, random
from ..engine.tensor import Tensor
from ..errors import UsageError
from ..optim import Constant
from ..replay.arguments import rebuilt
from .ahead import alone, steps_ahead
from .checkpoint import Description
from .graph import listed
from .hooks import Hooks
from .measuring import RunningMeans, in_dtype, measure
from .penalties import constrain
from .ranks import Ranks
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
        self.ranks = Ranks(model, group) if group else None
        self.generator: numpy.random.Generator = self.ranks.shard if self.ranks else random.generator(0)
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
        self.finite: tuple[str, ...] = ()
        self.seen: int | None = None
        self.steps = 0
        if self.ranks:
            self.ranks.begin()

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
            self.finite = tuple(name for name, array in changing(self.model).items() if is_finite(array))

    def begin(self, epoch: int, batch_size: int, shuffle: bool, within: Within | None) -> Within | None:
        """An epoch begins: keep what the model is then. Returns `within` where it is of this epoch."""
        assert self.hooks is not None
        self.place = epoch, batch_size, shuffle
        self._states = self.hooks.states() if self.hooks.any(*BATCH) else {}
        if self.before:
            self.before.take()
        return within if within and isinstance(self.samples, Samples) and self._key() == within.key else None

    def _key(self) -> str:
        """Tells the epoch, of which the model stands at the begin, from others."""
        epoch, *settings = self.place
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
        self.means.look_at(now[name] for name in self.finite if name in now)

    def _step(self, x: Tensor, y: Tensor, indices: Tensor | None = None, due: bool = True) -> None:
        """Learn from a batch: these rows, or those at the indices. due: whether weights change; recorded by itself."""
        self._learn(x, y) if indices is None else self._learn(*rebuilt([x, y], lambda t: rows(t, indices)))

    def _learn(self, x: Tensor, y: Tensor) -> None:
        model, ranks = self.model, self.ranks
        bucket = ranks and ranks.bucket
        assert model.optimizer is not None
        if self.means.metrics is not model.metrics:
            raise UsageError(
                f"the metrics were {self.means.names} when fit began, and are {model.metric_names} now: set them "
                "between two calls of fit."
            )
        counted: list[Any] | None = [] if model.optimizer.accumulates else None
        loss, values = measure(
            model, in_dtype(model, x), y, training=True, generator=self.generator, shard=ranks and ranks.shard,
            counted=counted,
        )  # fmt: skip
        if ranks and bucket:
            ranks.lay(values)
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
        model.forget_gradients()
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
        model.forget_gradients()
        if self.ranks:
            self.ranks.join(self.means)
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
                if told and not self._ending:
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
                if self.ranks and self.ranks.ended:
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
        part = self.ranks.shard.enter(min(batch_size, len(samples) - start)) if self.ranks else None
        tensors = [taken.tensor(start, start + batch_size, part) for taken in given]
        step(*(samples.joined(tensors) if samples.streamed else (*everything, *tensors)), **self._kind())

    def _whole(self, once: Callable[[], None]) -> None:
        """A step, by all ranks where there are several."""
        if self.ranks:
            self.ranks.whole(once, self.means, self.generator)
        else:
            once()

    @property
    def _ending(self) -> bool:
        """Whether no step is made any more, since a rank ends the training."""
        return bool(self.ranks and self.ranks.ending)

    def _epoch_of(self, source: Source, hooks: Hooks) -> None:
        """An epoch of batches that come from outside."""
        told, self.seen, self.steps = self._told(hooks), 0, 0
        with contextlib.ExitStack() as endings:
            endings.callback(setattr, self, "seen", None)
            batches = endings.enter_context(contextlib.closing(source.epoch()))
            for number, batch in enumerate(batches):
                if told and not self._ending:
                    hooks("on_train_batch_begin", number)
                self.one(batch)
                if self.ranks and self.ranks.ended:
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
            part = self.ranks.shard.enter(len(batch)) if self.ranks else slice(None)
            step(*rebuilt(batch.batch, lambda values: Tensor(values[part])), **self._kind())

        with alone(self.model, listed(batch.shape)[0]):
            self._whole(once)
        self.means.count += 0 if self.ranks and self.ranks.ended else len(batch)

    def _told(self, hooks: Hooks) -> bool:
        """Whether callbacks hear of each batch, on any rank."""
        told = hooks.any(*BATCH)
        return any(self.group.gathered(told)) if self.group else told

    def _stops(self, told: bool) -> bool:
        """Whether the epoch ends behind this batch. told: whether callbacks have heard of it, on any rank."""
        if self.ranks:
            self.ranks.ask(told)
        return bool(self.model.stop_training) and not self._ending

    def agree(self) -> None:
        """Where a callback on one rank ends the training, all end it there."""
        if self.ranks:
            self.ranks.agree()

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
