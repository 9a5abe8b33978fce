"""What is trained: fitted, evaluated and applied, with Keras's methods and meanings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from ..checks import whole
from ..distributed import Group, here
from ..engine import random
from ..engine.absent import checked, unknown_attribute
from ..engine.sharing import OfThread, changing, reading
from ..engine.streams import say
from ..errors import UnknownNameError, UsageError
from ..names import is_ours
from ..optim import Optimizer
from . import training
from .draws import Stream
from .fed import Fed, of_samples
from .graph import Graph, listed
from .hooks import Callback, History, Hooks, checked_callbacks
from .keeping import BackupAndRestore
from .measuring import check_rows, is_masked
from .network import on_its_device
from .progress import figure
from .samples import Augment, Samples, split_off
from .sources import InBatches, Source, is_source
from .state import Standing
from .trainer import Trainer
from .validation import Validation, epochs_with, steps_of, triple


class Trained(Fed):
    """A network that is trained: what `compile` chose, the recorded steps, the history, and where it all stands.

    facts: what decides the bits of a training besides what `compile` was given, as plain values; files keep them.
    """

    stop_evaluating = OfThread()
    stop_predicting = OfThread()

    def __init__(self, layers: Iterable[Any] | Graph, seed: int | None, dtype: str, device: str, name: str) -> None:
        self.history = History()
        self.stop_training = False
        self.stream, self.standing = Stream(), Standing()
        self.under_way: Trainer | None = None
        self.facts: dict[str, Any] = {}
        super().__init__(layers, seed, dtype, device, name)
        if seed is None:
            self.stream.seed = self.seed

    def __setattr__(self, name: str, value: Any) -> None:
        made = "_flat" in vars(self) and not hasattr(type(self), "call")  # which the network's constructor sets last
        if made and name not in vars(self) and not hasattr(type(self), name) and is_ours(type(self)):
            parts = {"optimizer": self._optimizer or Optimizer, "loss": self._loss}
            for place in (place for place, part in parts.items() if hasattr(part, name)):
                raise UnknownNameError(f"a model has no {name}: it is set by model.{place}.{name} = ….")
            raise unknown_attribute(type(self).__name__, name, [n for n in (*vars(self), *dir(self)) if n[0] != "_"])
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets, or `pickle`: all but the recorded steps, which stand for this model."""
        self.sharing.check("a copy")
        return {**super().__getstate__(), "recorded": {}, "under_way": None, "standing": self.present_standing()}

    def present_standing(self) -> Standing:
        """Where the training under way stands, else the last one."""
        return self.under_way.standing() if self.under_way else self.standing

    @checked
    @changing
    @on_its_device
    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        *,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        seed: int | None = None,
        evaluate_training: bool = False,
        augmentation: Augment | None = None,
        distributed: bool | Group = False,
    ) -> History:
        """Train the model; returns the history: the values of loss and metrics, one an epoch.

        x, y: samples and targets, the first axis being the samples. Or x alone: a generator, an iterable, or a
        `PyDataset`, of batches (x, y) or (x, y, sample_weight). batch_size: samples an update. epochs: the
        number of the epoch to stop at, counted from initial_epoch, which a training that goes on sets to the number of
        epochs done: then the callbacks go on, too, see `Callback.get_state`.
        steps_per_epoch: batches an epoch; the next one goes on behind them. By default all, so that what gives batches
        for ever needs it; what ends before, with a warning, ends the epoch or the training.
        sample_weight: how much each sample counts, (n,), or each position of its output; a batch's loss is
        sum(w · loss) / its number of losses, whatever the weights sum to. class_weight: {class: weight} instead, for
        training alone; a class that is not named has 1.
        validation_split: the last fraction of the samples is kept apart for validation; validation_data: (x, y) or
        (x, y, sample_weight) for it instead, or what gives batches. verbose: 0 silent, 1 or "auto" a bar (lines where
        there is no terminal), 2 lines. shuffle: another order in each epoch, of samples, or of a `PyDataset`'s batches.
        seed: what the orders, dropout and augmentation are drawn from; by default each call goes on where the last one
        stopped (a new model with 0, or its own after `utils.set_random_seed`), as one longer call would, and a call
        with initial_epoch where that epoch of the call before began.
        evaluate_training: add train_loss, … of the weights at the epoch's end; `loss` itself is the running mean while
        they change. augmentation: a function
        (samples, generator) -> samples that each batch goes through, anew in each epoch, such as
        `cg.datasets.Augmentation`. validation_freq: every how many epochs there is a validation, or after which
        (from 1); validation_batch_size, validation_steps: as batch_size and steps of `evaluate`, batch_size by default
        where that changes the result.
        distributed: train on all processes that `mpirun` has started, each with its share of a batch.

        Raises before anything is changed: UsageError (not compiled, batch_size 0), ShapeError, DtypeError, or
        DataError that names the first row at fault (labels out of range, values not finite). Later, DivergenceError
        where the training is no longer finite: it names step, layer and operation, and the model is what it was before
        that epoch.
        """
        loss = self._compiled("fit")
        batch_size = whole("fit", "batch_size", 32 if batch_size is None else batch_size, 1)
        epochs, initial_epoch = whole("fit", "epochs", epochs, 0), whole("fit", "initial_epoch", initial_epoch, 0)
        validated = epochs_with(validation_freq)
        random.generator(0 if seed is None else seed)  # refuses what is no seed
        if not isinstance(shuffle, (bool, numpy.bool_)):
            raise UsageError(f"fit(shuffle={shuffle!r}): it is True or False.")
        done = self.history.epoch[-1] + 1 if self.history.epoch else initial_epoch
        if initial_epoch > done:
            raise UsageError(
                f"fit(initial_epoch={initial_epoch}) would leave a gap: this model's training has {done} epochs, and "
                f"goes on with initial_epoch={done}. (A new model with load_weights knows of no epochs.)"
            )
        followers = checked_callbacks(callbacks)
        if validation_data is None and validation_split:
            if is_source(x):
                raise UsageError("validation_split splits arrays, not what gives batches: give validation_data.")
            (x, y, sample_weight), validation_data = split_off(validation_split, x, y, sample_weight)
        if augmentation is not None and not callable(augmentation):
            raise UsageError(f"augmentation is a function (samples, generator) -> samples, not {augmentation!r}.")
        steps = None if steps_per_epoch is None else whole("fit", "steps_per_epoch", steps_per_epoch)
        samples: Samples | Source
        if is_source(x):
            samples = self._source(x, (y, sample_weight), loss, "", steps, class_weight)
        else:
            samples = self._samples(x, y, loss, "", sample_weight, class_weight, augmentation)
            if steps not in (None, -(-len(samples) // batch_size)):
                samples = self._source(InBatches(samples.batch, batch_size), (), loss, "", steps)
        if isinstance(samples, Source) and (evaluate_training or augmentation):
            raise UsageError(
                "evaluate_training and augmentation take arrays of samples, each epoch going over all, not batches "
                "from outside or steps_per_epoch: change batches where they are made."
            )
        first, validation = samples.first() if isinstance(samples, Source) else samples, None
        if validation_data is not None:
            given = (validation_data, None, None) if is_source(validation_data) else triple(validation_data)
            kept = self._measurable(given[0], given[1], given[2], loss, "validation ", validation_steps)
            size = self._measured_by(
                "fit", "validation_batch_size", validation_batch_size, batch_size,
                self.output_shapes(of_samples(first.shape)),
            )  # fmt: skip
            taken = None
            if isinstance(kept, Samples):
                taken = steps_of("fit", "validation_steps", validation_steps, len(kept), size)
            validation = Validation(kept, size, taken, validated)
        self.build(of_samples(first.shape))
        check_rows(self, first, batch_size, *([training.EVALUATION_BATCH] if evaluate_training else []))
        if validation:
            kept = validation.samples
            check_rows(self, kept.first() if isinstance(kept, Source) else kept, size)
        assert self.optimizer is not None
        self.optimizer.prepare(self.flat.data)
        for backup in followers:
            if isinstance(backup, BackupAndRestore) and (found := backup.restored(self)) is not None:
                initial_epoch = found
        self.history = self.history.before(initial_epoch)
        return training.fit(
            self, samples, validation, batch_size=batch_size, epochs=epochs, initial_epoch=initial_epoch,
            shuffle=shuffle, seed=seed, verbose=verbose, callbacks=followers,
            evaluate_training=evaluate_training, history=self.history, group=here(distributed),
        )  # fmt: skip

    def _measured_by(self, method: str, name: str, given: Any, otherwise: int, outputs: Sequence[Any]) -> int:
        """How many samples are measured at a time: many, where the result is the same, else as Keras has it."""
        if given is not None:
            return whole(method, name, given, 1)
        masked = is_masked(self) and any(len(shape) > 1 for shape in outputs)
        by_batches = masked or any(loss.by_batches for loss in self.losses)
        return otherwise if by_batches else training.EVALUATION_BATCH

    @checked
    @changing
    @on_its_device
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update with these samples as the batch; returns loss and metrics of it, as `evaluate` does.

        They are those before the update, with dropout. Each call draws anew, as the next epoch of a `fit` would.
        """
        loss = self._compiled("train_on_batch")
        batch = self._samples(x, y, loss, "", sample_weight, class_weight)
        self.build(of_samples(batch.shape))
        check_rows(self, batch, len(batch))
        assert self.optimizer is not None
        self.optimizer.prepare(self.flat.data)
        return self._told(training.train_on_batch(self, batch), return_dict)

    @checked
    @reading
    @on_its_device
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of these samples as one batch, as `evaluate` gives them."""
        loss = self._compiled("test_on_batch")
        self._built("test_on_batch")
        batch = self._samples(x, y, loss, "", sample_weight)
        return self._told(training.evaluate(self, batch, len(batch)), return_dict)

    @reading
    @on_its_device
    def predict_on_batch(self, x: Any) -> Any:
        """The model's outputs for these samples as one batch."""
        self._built("predict_on_batch")
        batch = self._inputs(x)
        return self._as_given(training.predict(self, batch, len(batch)))

    def _as_given(self, outputs: Any) -> Any:
        """Outputs by name, where the model was made of a dict of them."""
        named: list[str] = getattr(self, "_outputs_named", [])
        return dict(zip(named, listed(outputs), strict=True)) if named else outputs

    def _told(self, results: dict[str, float], return_dict: bool) -> Any:
        if return_dict:
            return results
        return list(results.values()) if self.metrics else results["loss"]

    @checked
    @reading
    @on_its_device
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        return_dict: bool = False,
        *,
        distributed: bool | Group = False,
    ) -> Any:
        """The loss, and after it the metrics, over all samples: a list (one number where there are no metrics).

        x, y, sample_weight: as `fit` takes them, also what gives batches. batch_size changes speed and memory, not the
        result; but of a loss that is a sum, or a mean over what a mask or `ignore_class` leaves, the batches' mean is
        told, and they have 32 samples by default, as in Keras. steps: over the first so many batches instead.
        return_dict: by name instead. verbose: 0 prints nothing.
        distributed: shared out among the processes that `mpirun` has started; each gets all values.
        """
        loss, followers = self._compiled("evaluate"), checked_callbacks(callbacks)
        self._built("evaluate")
        size = self._measured_by("evaluate", "batch_size", batch_size, 32, self.output_shapes())
        samples = self._measurable(x, y, sample_weight, loss, "", steps)
        check_rows(self, samples.first() if isinstance(samples, Source) else samples, size)
        steps, params = _run("evaluate", steps, samples, size, verbose)
        group = here(distributed)
        results = training.evaluate(self, samples, size, steps, Hooks(self, followers, params), group)
        if verbose and not (group and not group.leads):
            say(" · ".join(f"{name} {figure(value)}" for name, value in results.items()))
        return self._told(results, return_dict)

    @checked
    @reading
    @on_its_device
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        *,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        distributed: bool | Group = False,
    ) -> Any:
        """The model's outputs for all samples, as a NumPy array; nothing goes on the tape, nothing is printed.

        Where there are several outputs it is a list of arrays, or a dict, as the model was given them.
        x: samples, or what gives batches: of (x, y) the first. steps: for the first so many batches instead.
        distributed: shared out among the processes that `mpirun` has started; each gets all outputs.
        """
        followers = checked_callbacks(callbacks)
        self._built("predict")
        if steps is None and not followers and training.is_one_batch(self, x, batch_size):
            self.check_input(x.shape)
            return self._as_given(training.predict_batch(self, x))
        samples: Samples | Source = self._inputs(x) if not is_source(x) else Source(x, self._inputs_of, steps=steps)
        size = training.EVALUATION_BATCH if batch_size is None else whole("predict", "batch_size", batch_size, 1)
        steps, params = _run("predict", steps, samples, size, verbose)
        hooks = Hooks(self, followers, params)
        return self._as_given(training.predict(self, samples, size, steps, hooks, here(distributed)))

    def _built(self, what: str) -> None:
        if self.built:
            return
        if not self.knows_its_input:
            raise UsageError(
                f"{what} before build: the model has no weights yet. Call fit first, load a model, "
                "or give input_shape= to the first layer."
            )
        self.build()


def _run(
    method: str, steps: Any, samples: Samples | Source, size: int, verbose: int | str
) -> tuple[int | None, dict[str, Any]]:
    """How many batches to take, and what callbacks are told of the run."""
    if isinstance(samples, Source):
        return None, {"epochs": 1, "steps": samples.batches, "samples": None, "verbose": verbose}
    count = len(samples)
    taken = steps_of(method, "steps", steps, count, size)
    return taken, {"epochs": 1, "steps": taken or -(-count // size), "samples": count, "verbose": verbose}
