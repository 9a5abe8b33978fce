"""What `compile` chose for a network: optimiser, loss and metrics, how its steps are recorded, and what fits what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..engine.absent import checked
from ..engine.sharing import changing
from ..errors import UsageError
from ..optim import Optimizer, make_optimizer
from ..replay.capture import Captured, check_jit
from .criterion import Loss, LossFunction
from .graph import Graph
from .heads import Heads, heads_of, metrics_of, of_output, reported
from .losses import make_loss
from .network import Network
from .samples import Shape
from .tally import Metric, MetricFunction

PROGRAMS = 16
"""Shapes of batches (and of all samples) that a recorded step is kept for."""
RECORDED = 1 << 26
"""Weights up to which a model's steps are recorded on a CPU without being asked."""


class Compiled(Network):
    """A network with an optimiser, a loss and metrics, and its recorded steps."""

    def __init__(self, layers: Iterable[Any] | Graph, seed: int | None, dtype: str, device: str, name: str) -> None:
        self._optimizer: Optimizer | None = None
        self._loss: Loss | None = None
        self._metrics: tuple[Metric, ...] = ()
        self._places: list[int] = []
        self.run_eagerly = self.deterministic = False
        self.check_finite = True
        self.jit_compile: bool | str = "auto"
        self.recorded: dict[str, Captured[..., Any]] = {}
        super().__init__(layers, seed, dtype, device, name)

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

    def _compiled(self, what: str) -> Loss:
        if self.loss is None:
            raise UsageError(f"{what} before compile: call model.compile(optimizer=…, loss=…) first.")
        self._check_softmax_once()
        return self.loss
