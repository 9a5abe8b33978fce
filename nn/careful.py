"""An epoch of which the loss and the weights stay finite, or whose first step that they do not is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

from ..engine.tensor import Tensor
from ..errors import DivergenceError
from .finite import first_changed, first_fault
from .hooks import Hooks
from .measuring import in_dtype
from .samples import Samples
from .state import Snapshot, Within
from .trainer import Trainer

if TYPE_CHECKING:
    from .trained import Trained


def means_of(trainer: Trainer, hooks: Hooks, within: Within | None = None) -> dict[str, float]:
    """The means of the epoch that began. Raises DivergenceError, with the model as it was at its `begin`.

    within: go on from there.
    """
    model, epoch = trainer.model, trainer.place[0]
    means = trainer.epoch(*trainer.place, hooks, within)
    if trainer.checked:
        trainer.look()
    logs = means.read()
    if not trainer.checked or not trainer.before or means.finite:
        return logs
    assert model.optimizer is not None
    schedule, done = model.optimizer.schedule, trainer.steps
    trainer.before.put_back()
    model.optimizer.schedule = schedule  # which a callback may have set for this epoch
    model.stop_training = False
    if not isinstance(trainer.samples, Samples) or trainer.group:
        raise divergence(f"epoch {epoch + 1}, by step {done}", model, epoch)
    try:
        with numpy.errstate(all="ignore"):
            Careful(trainer, epoch).epoch(*trainer.place, Hooks(model))
    finally:
        trainer.before.put_back()
    raise divergence(
        f"epoch {epoch + 1}, but was when that was gone through again step by step: it depends on what has changed "
        "meanwhile, such as numbers that a loss reads from outside",
        model, epoch,
    )  # fmt: skip


class Careful(Trainer):
    """A trainer that takes an epoch on the tape, and names the first step after which something is not finite."""

    def __init__(self, other: Trainer, epoch: int) -> None:
        super().__init__(other.model, other.samples, captured=False)
        self.finite, self._good = other.finite, Snapshot(other.model)
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
        changed = first_changed(self.model, self.finite)
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
