"""Many steps of a training at once: how many, and whether the model's step runs so at all.

Whether it does is a matter of model, samples and what is installed, never of how many epochs there are or who looks
on: so a training that is interrupted and taken up again has the same bits. That is also why the step is recorded
before the first of them, on a batch whose effects are undone.
"""

from __future__ import annotations

import contextlib
import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..replay import blas, fuse
from ..replay.capture import Captured
from ..replay.layout import LARGE
from .layers.convolution import Convolution
from .state import Snapshot, versions

if TYPE_CHECKING:
    from ..engine.tensor import Tensor
    from .hooks import Hooks
    from .samples import Taken
    from .trained import Trained
    from .trainer import Trainer

WORTH = 1 << 30
"""Samples times parameters, from which on an epoch is worth compiling: some 0.05 seconds each."""


def runs_epochs(model: Trained, count: int, streamed: bool = False) -> bool:
    """Whether a training on so many samples may run many steps in one compiled call, on a GPU in one launch."""
    if model.run_eagerly or model.jit_compile not in (True, "auto") or streamed:
        return False
    if model.optimizer and model.optimizer.accumulates:
        return False
    large = count * model.flat.data.size >= WORTH
    return large and (model.device != "cpu" or (fuse.available() and blas.library() is not None))


def computing(model: Trained, count: int, streamed: bool = False) -> dict[str, str]:
    """What computes a training on so many samples, as far as other versions of it may give other bits."""
    compiles = model.device == "cpu" and runs_epochs(model, count, streamed)
    return {**versions(), **({"numba": version("numba")} if compiles else {})}


def steps_ahead(
    trainer: Trainer, step: Any, everything: list[Any], given: list[Taken], start: int, batch_size: int, hooks: Hooks
) -> int:
    """How many steps may run before the callbacks hear of the last of them; 0: each by itself, by the list.

    everything, given: what the step is called with; the next whole batch begins at `start`.
    """
    if not isinstance(step, Captured):
        return 0
    samples: Any = trainer.samples
    otherwise = 0 if trainer.model.device == "cpu" else hooks.ahead  # there as CUDA graphs, one after another
    if samples is None or samples.streamed or not runs_epochs(trainer.model, len(samples)):
        return otherwise
    batch = [*everything, *[taken.tensor(start, start + batch_size) for taken in given]]
    if not step.is_in_parts(*batch):
        if step.is_tried(*batch):
            return otherwise
        _record(trainer, step, batch)
        if not step.is_in_parts(*batch):
            return otherwise
    return max(1, hooks.ahead)


def alone(model: Trained, shape: Any, ahead: int = 0) -> contextlib.AbstractContextManager[Any]:
    """With products on the calling thread alone, on a CPU: for the list's steps among those that run ahead, as theirs
    are, and for a model whose products are not large. BLAS's own threads gain little there, give other bits on other
    numbers of cores, and make a step a hundred times as long where others are at work on the machine. The windows of
    convolutions, and `replay.halves`, go to all cores without them.

    shape: of the batch; of the first of several inputs.
    """
    known = _known.get(model)
    if known is None or known[0] is not model._flat:
        known = _known[model] = _products(model)
    _, by_place, most = known
    rows: int = _places(model, shape) if by_place else shape[0]
    if model.device != "cpu" or not (ahead or rows <= most) or blas.library() is None:
        return NOTHING
    return blas.one_thread()


NOTHING = contextlib.nullcontext()
_known: WeakKeyDictionary[Trained, tuple[Any, bool, int]] = WeakKeyDictionary()
"""For each model its flat buffer, whether it takes each place of a sequence by itself, and how many rows make no large
product with any of its matrices.
"""


def _products(model: Trained) -> tuple[Any, bool, int]:
    convolves = any([isinstance(layer, Convolution) for layer in model.parts])
    sizes = [w.size for w in model.weights if len(w.shape) == 2 or (len(w.shape) > 2 and not convolves)]
    by_place = not convolves and any(len(w.shape) > 2 for w in model.weights)
    return model._flat, by_place, LARGE // max(sizes, default=1)


def _places(model: Trained, shape: Any) -> int:
    """The places of the sequences in a batch."""
    return math.prod(shape if model.takes_integers else shape[:-1])


def _record(trainer: Trainer, step: Captured[..., Any], batch: list[Tensor]) -> None:
    """Record the step, and leave everything as it was."""
    before, means = Snapshot(trainer.model), trainer.means.sums.copy()
    drawn = trainer.generator.bit_generator.state
    try:
        step.record(*batch)
    finally:
        before.put_back()
        trainer.means.sums[...] = means
        trainer.generator.bit_generator.state = drawn
