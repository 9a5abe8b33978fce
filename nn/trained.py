"""What is trained: compiled, fitted, evaluated and applied, with Keras's methods and meanings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy
import numpy.typing

from ..checks import whole
from ..distributed import Group, here
from ..engine import random
from ..engine.absent import checked, unknown_attribute
from ..engine.sharing import OfThread, changing, reading
from ..engine.streams import say
from ..errors import UnknownNameError, UsageError
from ..names import is_ours
from ..optim import Optimizer, make_optimizer
from ..replay.capture import Captured, check_jit
from . import training
from .criterion import Loss, LossFunction
from .draws import Stream
from .endings import ending
from .fitting import check_metric
from .graph import Graph, listed
from .heads import Heads, heads_of, in_order, metrics_of, of_output, reported
from .hooks import Callback, History, Hooks, checked_callbacks
from .keeping import BackupAndRestore
from .losses import make_loss
from .measuring import check_rows
from .network import Network, on_its_device
from .progress import figure
from .samples import Augment, Joined, Samples, Shape, split_off
from .sources import InBatches, Source, is_source, kinds
from .state import Standing
from .tally import Metric, MetricFunction
from .trainer import Trainer
from .validation import Validation, epochs_with, steps_of, triple

PROGRAMS = 16
"""Shapes of batches (and of all samples) that a recorded step is kept for."""
RECORDED = 1 << 26
"""Weights up to which a model's steps are recorded on a CPU without being asked."""


class Trained(Network):
    """A network that is trained: what `compile` chose, the recorded steps, the history, and where it all stands.

    facts: what decides the bits of a training besides what `compile` was given, as plain values; files keep them.
    """

    stop_evaluating = OfThread()
    stop_predicting = OfThread()

    def __init__(self, layers: Iterable[Any] | Graph, seed: int | None, dtype: str, device: str, name: str) -> None:
        self._optimizer: Optimizer | None = None
        self._loss: Loss | None = None
        self._metrics: tuple[Metric, ...] = ()
        self._places: list[int] = []
        self.history = History()
        self.stop_training = False
        self.run_eagerly = self.deterministic = False
        self.check_finite = True
        self.jit_compile: bool | str = "auto"
        self.recorded: dict[str, Captured[..., Any]] = {}
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

    # How it is trained

    @checked
    @changing
    def compile(
        self,
        optimizer: str | Optimizer = "rmsprop",
        loss: str | Loss | LossFunction | None = None,
        metrics: Sequence[str | Metric | MetricFunction] | None = None,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        deterministic: bool = False,
        check_finite: bool = True,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Choose how to train: the optimiser, the loss, and the metrics to report, each by name or as an object.

        Where there are several outputs loss, loss_weights and metrics may be lists, one of each, or dicts by name; the
        loss is the sum of theirs, times the weights, and each of them is told, too. weighted_metrics: those in which
        the weights of samples count, Σ w v / Σ w; in metrics all samples count alike.

        run_eagerly: take every step on the tape, in Python, rather than record it and replay it; the results are the
        same to the last bit. jit_compile: whether a recorded step is compiled with Numba, see `cg.capture`; "auto" and
        True also let a large training of dense layers run many steps in one call on all cores, or one launch on a GPU,
        whose last digits are its own (docs/replay.md); "exact" compiles, and keeps the bits of the tape. On a GPU True
        also lets a launch do what the next would, with sums of another order. On a CPU the steps of a model of more
        than 67 million weights are recorded where this is True alone: a replay saves a tenth of its time there, and
        recording takes 1.1 GB for GPT-2's 124 million.
        deterministic: on a GPU, refuse a step with a call whose results may differ from run to run (adding to places
        named by arrays); all others repeat to the last bit anyhow, as everything does on the CPU. check_finite: end
        `fit` with DivergenceError where the loss or the weights become NaN or infinite; a `TerminateOnNaN` among the
        callbacks ends it without an error instead.
        """
        check_jit("auto" if jit_compile == "exact" else jit_compile)
        if loss is None:
            raise UsageError("compile needs a loss, such as 'categorical_crossentropy' or 'mse'.")
        chosen = make_optimizer(optimizer)
        made = self._made_loss(loss, loss_weights)
        self._measure(made, metrics or (), weighted_metrics or ())
        self._optimizer = chosen
        self.run_eagerly, self.jit_compile, self.deterministic = run_eagerly, jit_compile, deterministic
        self.check_finite = check_finite
        self.recorded.clear()
        self._check_softmax_once()

    def _made_loss(self, loss: Any, loss_weights: Any = None) -> Loss:
        if len(self.outputs_at) > 1:
            return heads_of(loss, loss_weights, self.output_names)
        if isinstance(loss, (list, tuple)) and len(loss) == 1:
            loss = loss[0]
        elif isinstance(loss, dict) and [*loss] == self.output_names:
            loss = loss[self.output_names[0]]
        if loss_weights not in (None, 1, [1]):
            raise UsageError("loss_weights weigh the losses of several outputs, and the model has one.")
        return make_loss(loss)

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimiser; None before `compile`. May be set, by name too; steps go on with the one that is set."""
        return self._optimizer

    @optimizer.setter
    @changing
    def optimizer(self, value: str | Optimizer) -> None:
        self._optimizer = make_optimizer(value)

    @property
    def loss(self) -> Loss | None:
        """The loss; None before `compile`. May be set to what `compile` takes, if the metrics fit it."""
        return self._loss

    @loss.setter
    @changing
    def loss(self, value: str | Loss | LossFunction) -> None:
        made = self._made_loss(value)
        try:
            self._measure(made, *self._reported())
        except UsageError as error:
            raise UsageError(f"{error} To change both, call model.compile(optimizer, loss, metrics).") from None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics. May be set to what `compile` takes, after it."""
        return self._metrics

    @metrics.setter
    @changing
    def metrics(self, value: Sequence[str | Metric | MetricFunction]) -> None:
        if self._loss is None:
            raise UsageError("metrics are set before compile: call model.compile(optimizer=…, loss=…, metrics=…).")
        self._measure(self._loss, value or (), self._reported()[1])

    def _reported(self) -> list[Any]:
        """The metrics as `compile` takes them, plain ones and weighted ones."""
        return [reported(self, weighted) for weighted in (False, True)]

    def _measure(self, loss: Loss, metrics: Any, weighted: Any = ()) -> None:
        """Take a loss, and metrics that fit it; raises UsageError, with nothing changed, where they do not."""
        for what, given in (("metrics", metrics), ("weighted_metrics", weighted)):
            if isinstance(given, str):
                raise UsageError(f"{what} is a list: {what}=[{given!r}].")
        if isinstance(loss, Heads):
            found, places = metrics_of(metrics, weighted, loss, self.output_names)
            made = tuple(found)
        else:
            made = tuple(of_output(metrics, weighted, loss))
            places = [0] * len(made)
        names = ["loss", *(metric.name for metric in made)]
        if len(set(names)) != len(names):
            raise UsageError(f"each metric is named once: {names}.")
        prefixed = [name for name in names if name.startswith(("val_", "train_"))]
        if prefixed:
            raise UsageError(f"the metric {prefixed[0]!r} would be taken for that of other samples: name it otherwise.")
        self._loss, self._metrics = loss, self._metrics if made == self._metrics else made
        self._places = places

    def _check_softmax_once(self) -> None:
        for loss, head in zip(self.losses, self.last_layers, strict=False):
            last = getattr(head, "activation", None)
            if not (loss.from_logits and loss.fuses and last == loss.fuses):
                continue
            raise UsageError(
                f"{last} would be taken twice: the last layer applies it, and the loss has from_logits=True. "
                "Leave one of them out; the loss is fused to logits by itself."
            )

    @property
    def fuses_loss(self) -> bool:
        """Whether the last layer's σ and the loss are computed in one, from logits."""
        return any(self.fused)

    @property
    def losses(self) -> Sequence[Loss]:
        """The loss of each output; none before `compile`."""
        return self.loss.losses if isinstance(self.loss, Heads) else [self.loss] if self.loss else []

    @property
    def fused(self) -> list[bool]:
        """Of each output, whether its σ and its loss are computed in one, from logits."""
        pairs = zip(self.losses, self.last_layers, strict=False)
        fused = [loss.fuses is not None and loss.fuses == getattr(head, "activation", None) for loss, head in pairs]
        return fused if len(fused) < 2 else self._left_raw(fused)

    def _left_raw(self, fused: list[bool]) -> list[bool]:
        """Those of them that no layer takes, and that stand for one output alone."""
        taken = [*self.outputs_at, *(number for call in self.calls for number in call.taken())]
        once = [[n for n in taken if n == number] == [number] for number in self.outputs_at]
        return [one and alone for one, alone in zip(fused, once, strict=True)]

    @property
    def metric_heads(self) -> list[int]:
        """Of which output each metric is, by number."""
        return self._places

    @property
    def metric_shapes(self) -> list[Shape]:
        """The shape of a sample of that output."""
        return [self.shapes[self.outputs_at[place]] for place in self._places]

    @property
    def metric_names(self) -> list[str]:
        """What `evaluate` returns, in its order."""
        return ["loss", *(metric.name for metric in self.metrics)]

    def captured(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """A step of this model, recorded and replayed; the one that was kept under that name, if there is one.

        What it reads is looked at in each replay, so it holds as long as nothing of that has changed.
        """
        large = self.device == "cpu" and self._flat is not None and self._flat.data.size > RECORDED
        if self.run_eagerly or (large and self.jit_compile is not True):
            return step
        kept, own = self.recorded.get(name), self.loss is None or self.loss.targets != "any"
        jit = "auto" if self.jit_compile == "exact" else self.jit_compile
        settings = jit, own, self.deterministic, self.jit_compile is not True
        if kept is None or len(kept.recordings) > PROGRAMS or kept.settings != settings:
            kept = self.recorded[name] = Captured(step, *settings)
        return kept

    @property
    def recorded_steps(self) -> list[Captured[..., Any]]:
        """The steps of training, evaluation and prediction that are recorded at present; `explain()` tells of each."""
        return list(self.recorded.values())

    def forget(self, name: str) -> None:
        """Let go of the step kept under that name."""
        self.recorded.pop(name, None)

    # Training, evaluation, prediction

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
        (from 1); validation_batch_size, validation_steps: as batch_size and steps of `evaluate`.
        distributed: train on all processes that `mpirun` has started, each with its share of a batch.

        Raises before anything is changed: UsageError (not compiled, batch_size 0), ShapeError, DtypeError, or
        DataError that names the first row at fault (labels out of range, values not finite). Later, DivergenceError
        where the training is no longer finite: it names step, layer and operation, and the model is what it was before
        that epoch.
        """
        loss = self._compiled("fit")
        batch_size = whole("fit", "batch_size", 32 if batch_size is None else batch_size, 1)
        epochs, initial_epoch = whole("fit", "epochs", epochs, 0), whole("fit", "initial_epoch", initial_epoch, 0)
        validated, size = epochs_with(validation_freq), _size("fit", validation_batch_size, "validation_batch_size")
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
            taken = None
            if isinstance(kept, Samples):
                taken = steps_of("fit", "validation_steps", validation_steps, len(kept), size)
            validation = Validation(kept, size, taken, validated)
        self.build(_of_samples(first.shape))
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
        self.build(_of_samples(batch.shape))
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
        result. steps: over the first so many batches instead. return_dict: by name instead. verbose: 0 prints nothing.
        distributed: shared out among the processes that `mpirun` has started; each gets all values.
        """
        loss, followers = self._compiled("evaluate"), checked_callbacks(callbacks)
        self._built("evaluate")
        size, samples = _size("evaluate", batch_size), self._measurable(x, y, sample_weight, loss, "", steps)
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
        size = _size("predict", batch_size)
        steps, params = _run("predict", steps, samples, size, verbose)
        hooks = Hooks(self, followers, params)
        return self._as_given(training.predict(self, samples, size, steps, hooks, here(distributed)))

    def _compiled(self, what: str) -> Loss:
        if self.loss is None:
            raise UsageError(f"{what} before compile: call model.compile(optimizer=…, loss=…) first.")
        self._check_softmax_once()
        return self.loss

    def _built(self, what: str) -> None:
        if self.built:
            return
        if not self.knows_its_input:
            raise UsageError(
                f"{what} before build: the model has no weights yet. Call fit first, load a model, "
                "or give input_shape= to the first layer."
            )
        self.build()

    def _samples(
        self,
        x: Any,
        y: Any,
        loss: Loss,
        what: str,
        sample_weight: Any = None,
        class_weight: Any = None,
        augmentation: Augment | None = None,
    ) -> Samples:
        if y is None:
            raise UsageError(f"{what}y is missing: a loss compares the outputs with targets.")
        if len(self._separate(x)) > 1 or len(self.outputs_at) > 1:
            return self._joined(x, y, what, sample_weight, class_weight, augmentation)
        (x,), (y,) = self._separate(x), self._separate_outputs(y, f"{what}y")
        samples = Samples(x, y, self.dtype, self.device, what, augmentation, self.deciding_layer)
        self.check_input(samples.x.shape)
        output_shape = self.output_shapes(samples.x.shape[1:])[0]
        samples.prepare_targets(loss, output_shape)
        samples.weigh(sample_weight, class_weight, loss, output_shape)
        for metric in self.metrics:
            check_metric(metric, loss, samples.y, output_shape, ending(self))
        return samples

    def _separate_outputs(self, y: Any, what: str) -> list[Any]:
        """The targets of each output by itself."""
        names = self.output_names
        if len(names) == 1 and not (isinstance(y, (list, tuple)) and len(y) == 1 and hasattr(y[0], "shape")):
            return [y[names[0]] if isinstance(y, dict) and [*y] == names else y]
        return in_order(y, names, what)

    def _joined(
        self, x: Any, y: Any, what: str, sample_weight: Any, class_weight: Any, augmentation: Augment | None
    ) -> Samples:
        """Samples of several inputs or outputs."""
        if augmentation is not None or (class_weight is not None and len(self.outputs_at) > 1):
            raise UsageError("augmentation takes one input, and class_weight one output: this model has several.")
        inputs, names = self._inputs(x, what), self.output_names
        ys = self._separate_outputs(y, f"{what}y")
        apart = isinstance(sample_weight, (list, tuple, dict))
        weights = in_order(sample_weight, names, f"{what}sample_weight") if apart else [sample_weight] * len(names)
        shapes = self.infer_shapes(_of_samples(inputs.shape))
        first = inputs.inputs[0].x if isinstance(inputs, Joined) else inputs.x
        outputs = []
        for number, loss in enumerate(self.losses):
            told = f"{what}output {names[number]!r}: " if len(names) > 1 else what
            one = Samples(first, ys[number], self.dtype, self.device, told, deciding=self.deciding_layers[0])
            one.prepare_targets(loss, shapes[self.outputs_at[number]])
            one.weigh(weights[number], class_weight, loss, shapes[self.outputs_at[number]])
            outputs.append(one)
        for metric, head in zip(self.metrics, self._places, strict=True):
            shape = shapes[self.outputs_at[head]]
            check_metric(metric, self.losses[head], outputs[head].y, shape, ending(self, head))
        return Joined(inputs.inputs if isinstance(inputs, Joined) else [inputs], outputs)

    def _source(
        self, given: Any, beside: Iterable[Any], loss: Loss, what: str, steps: Any, class_weight: Any = None
    ) -> Source:
        """What gives batches, each of which is checked as samples are."""
        if any(part is not None for part in beside):
            raise UsageError(f"{what}x gives batches, so y and sample_weight are in them: (x, y, sample_weight).")

        def made(parts: tuple[Any, ...], what: str) -> Samples:
            if len(parts) not in (2, 3):
                raise UsageError(
                    f"{what} is {len(parts)} things ({kinds(parts)}): it is (x, y) or (x, y, sample_weight)."
                )
            x, y, weights = (*parts, None)[:3]
            return self._samples(x, y, loss, f"{what}: ", weights, class_weight)

        return Source(given, made, what, steps)

    def _measurable(self, x: Any, y: Any, sample_weight: Any, loss: Loss, what: str, steps: Any) -> Samples | Source:
        """What the model is measured on."""
        if is_source(x):
            return self._source(x, (y, sample_weight), loss, what, steps)
        return self._samples(x, y, loss, what, sample_weight)

    def _inputs(self, x: Any, what: str = "") -> Samples:
        xs = self._separate(x)
        if len(xs) > 1:
            parts = zip(xs, self.input_names, self.deciding_layers, strict=True)
            each = [
                Samples(values, None, self.dtype, self.device, f"{what}input {name!r}: ", deciding=layer)
                for values, name, layer in parts
            ]
            samples: Samples = Joined(each, [])
        else:
            samples = Samples(xs[0], None, self.dtype, self.device, what, deciding=self.deciding_layer)
        self.check_input(samples.shape)
        return samples

    def _inputs_of(self, parts: tuple[Any, ...], what: str) -> Samples:
        return self._inputs(parts[0], f"{what}: ")


def _of_samples(shape: Any) -> Any:
    """The shape of a sample, or of one of each input."""
    return [each[1:] for each in shape] if isinstance(shape, list) else shape[1:]


def _size(method: str, batch_size: Any, name: str = "batch_size") -> int:
    return training.EVALUATION_BATCH if batch_size is None else whole(method, name, batch_size, 1)


def _run(
    method: str, steps: Any, samples: Samples | Source, size: int, verbose: int | str
) -> tuple[int | None, dict[str, Any]]:
    """How many batches to take, and what callbacks are told of the run."""
    if isinstance(samples, Source):
        return None, {"epochs": 1, "steps": samples.batches, "samples": None, "verbose": verbose}
    count = len(samples)
    taken = steps_of(method, "steps", steps, count, size)
    return taken, {"epochs": 1, "steps": taken or -(-count // size), "samples": count, "verbose": verbose}
