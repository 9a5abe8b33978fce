"""The ranks that train a model together, as one of them sees them: their shares, the sum of a step, and who ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

from ..distributed import Bucket, Ended, Group, Shard
from ..engine import backend
from ..engine.tensor import Tensor
from .loading import named_weights
from .measuring import RunningMeans
from .state import Snapshot, changing

if TYPE_CHECKING:
    from .trained import Trained


class Ranks:
    """What one trainer has of the others. ended: whether one of them has ended the training, by the last step."""

    def __init__(self, model: Trained, group: Group) -> None:
        self.model, self.group = model, group
        self.shard = Shard(group, model.dtype, model.device)
        self.bucket: Bucket | None = None
        self._joined: RunningMeans | None = None
        self.begin()

    def begin(self) -> None:
        """A training begins, or has ended: what was kept of the last one goes."""
        self._steps, self.ended = 0, False
        self._kept: Snapshot | None = None
        self._last: list[backend.Array] | None = None

    def join(self, means: RunningMeans) -> None:
        """Have one buffer for what the ranks add up in a step, and nobody who ends the training."""
        model = self.model
        assert model.optimizer is not None
        flat = model.optimizer.flat_of(model.flat)
        if not self.bucket or self.bucket.flat is not flat or self._joined is not means:
            self.bucket, self._joined = Bucket(self.group, flat, means.sums.size - 1), means
            self._places = means.places(self.bucket.measured)
        self.bucket.ends._data[...], self._last, self.ended = 0, None, False

    def lay(self, values: Any) -> None:
        """Lay loss and metrics of the rows here where the sum of the step takes them."""
        assert self._joined
        self._joined.lay(values, self.shard, self._places)

    def whole(self, once: Callable[[], None], means: RunningMeans, generator: numpy.random.Generator) -> None:
        """A step; where a rank dies in it, again from what the model was before, by those that are left."""
        group, model = self.group, self.model
        if group.survives:
            kept, sums = self._kept or Snapshot(model), means.sums.copy()
            kept.take()
            self._kept, drawn = kept, generator.bit_generator.state

        def undo() -> None:
            kept.put_back()
            means.sums[...] = sums
            generator.bit_generator.state = drawn
            model.forget_gradients()

        def work() -> None:
            try:
                once()
            except Ended:
                self.ended = True

        group.whole(work, undo)
        if self.ended:
            self._end()
            return
        self._steps += 1
        if group.compared and self._steps % group.compared == 0:
            self._compare()

    def _compare(self) -> None:
        """Raise UsageError where a rank has other weights, or another state of the optimiser, than the lowest one."""
        arrays = {name: array for name, array in changing(self.model).items() if name != "weights"}
        arrays |= {name: w._data for name, w in named_weights(self.model).items()}
        self.group.check_replicas(arrays, f"after {self._steps} steps of this training")

    @property
    def ending(self) -> bool:
        """Whether this rank has asked the others to end the training: no step is made any more."""
        return self._last is not None

    def ask(self, told: bool) -> None:
        """Where the model says so, ask the others to end the training. told: whether callbacks have heard of the batch.

        A rank that wants so says it in the sum of the next step, which then no rank makes: so the model is what it was
        behind this batch, and there is no sum for that alone. Where the sum is on a GPU, and the host does not see it,
        they ask each other.
        """
        if not self.bucket or self.model.device != "cpu":
            if told:
                self.agree()
        elif self.model.stop_training and not self.ending:
            self.bucket.ends._data[...] = 1
            self._last = [w.numpy().copy() for w in self._moving()]

    def _moving(self) -> list[Tensor]:
        """What a forward pass changes, such as moving statistics."""
        return [w for layer in self.model.parts for w in layer.state.values()]

    def _end(self) -> None:
        """End the epoch, with the model as it was before the step that was begun: as those know who have ended it."""
        for each in self.group.gathered(self._last):
            for w, before in zip(self._moving(), each or (), strict=False):
                w._data[...] = before
                w.changed()
        self.model.forget_gradients()
        self.model.stop_training = True

    def agree(self) -> None:
        """Where a callback on one rank ends the training, all end it there."""
        self.model.stop_training = any(self.group.gathered(bool(self.model.stop_training)))
