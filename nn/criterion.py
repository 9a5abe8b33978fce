"""What a loss is: one number a sample, then one number of them all. `losses` has those that there are."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar

from ..engine.piece import Piece
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError, UsageError, unknown_name
from ..names import Names, snake
from ..ops.arithmetic import maximum
from ..ops.loss import check_same_shape
from ..ops.reduction import mean, sum

LossFunction = Callable[[Tensor, Tensor], Tensor]
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
TINY = 1e-7
"""At least so much a batch counts that is added to others."""
REDUCTIONS = (*MEANS, "sum", "none", None)
"""Keras's names of what is made of one number a sample; the first three differ where there are weights."""


class Loss(Piece, key="loss"):
    """J(targets, outputs): `call` gives one number a sample, `reduction` says what is made of them.

    reduction: "sum_over_batch_size" or "mean", their sum over their number; "sum"; "mean_with_sample_weight", their sum
    over that of the weights; "none" or None leaves one a sample.

    A loss of one's own is a class with `call(y_true, y_pred)`, computed by tensor operations. Those of ours also say:
    targets: "values" (the outputs' shape), "classes" (rows of probabilities over the last axis), "labels" (integers,
    without that axis), "probabilities" (each in [0, 1]) or "any" (a loss of one's own).
    on_logits, fuses: the primitive that computes the mean from logits, and the activation that is in it.
    from_logits: outputs are logits already. label_smoothing: ε of targets t (1 - ε) + ε / K over K classes (Szegedy
    et al. 2016). ignore_class: a label whose samples do not count.
    """

    reduction: str | None = field(default="sum_over_batch_size", kw_only=True, repr=False)
    name: str = field(default="", kw_only=True, repr=False)

    kinds: ClassVar[Names[type[Loss]]]
    limits: ClassVar[Mapping[str, str]] = {"label_smoothing": "[0, 1)"}
    targets: ClassVar[str] = "any"
    on_logits: ClassVar[Primitive | None] = None
    fuses: ClassVar[str | None] = None
    from_logits = False
    label_smoothing = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduction not in REDUCTIONS:
            raise unknown_name("reduction", self.reduction, [one for one in REDUCTIONS if one])
        self._set(name=self.name or snake(type(self).__name__))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One number a sample."""
        raise NotImplementedError(f"{type(self).__name__} has no call(y_true, y_pred).")

    def call_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        """The same from logits."""
        return self.call(y_true, z)

    def mean_of(self, y_true: Tensor, y_pred: Tensor, logits: bool) -> Tensor:
        """The mean of `call`, by a shorter road where there is one."""
        if logits and self.on_logits:
            return self.on_logits(y_pred, y_true)
        values: Any = self.call_logits(y_true, y_pred) if logits else self.call(y_true, y_pred)
        return mean(values) if getattr(values, "shape", ()) else values

    def prepared(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The targets as `call` takes them; raises ShapeError where they do not fit the outputs."""
        if self.targets == "any":
            return y_true
        check_same_shape(self.name, "y_true", y_true, "y_pred", y_pred)
        y_true = y_true if y_true.dtype.kind == "f" else y_true.astype(y_pred.dtype)
        if self.label_smoothing:
            classes = 2 if self.targets == "probabilities" else y_pred.shape[-1]
            y_true = y_true * (1 - self.label_smoothing) + self.label_smoothing / classes
        return y_true

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None, *, logits: bool = False,
        shard: Any = None,
    ) -> Tensor:  # fmt: skip
        """J. sample_weight: a factor a sample. mask: which samples count. logits: y_pred are no probabilities yet.

        Weights and masks have the shape of what `call` gives, or its first axes alone. shard: the samples are a share
        of a batch over several ranks, and what is returned is their part of its J: the sum over the ranks is J.
        """
        y_true, y_pred = (t if isinstance(t, Tensor) else tensor(t) for t in (y_true, y_pred))
        logits = logits or self.from_logits
        y_true = self.prepared(y_true, y_pred)
        if (counts := self._counts(y_true)) is not None:
            y_true, mask = y_true * counts, counts if mask is None else counts & beside(counts, mask, "mask")
        if sample_weight is None and mask is None and self.reduction in MEANS:
            found = self.mean_of(y_true, y_pred, logits)
            return found if shard is None else _part(found, shard)
        weighed = sample_weight is not None or mask is not None
        if weighed and y_pred.ndim == 1 and self.targets in ("values", "probabilities"):  # each element is a sample
            y_true, y_pred = y_true.reshape(-1, 1), y_pred.reshape(-1, 1)
        values = self.call_logits(y_true, y_pred) if logits else self.call(y_true, y_pred)
        return reduced(values, self.reduction, sample_weight, mask, shard)

    @property
    def by_batches(self) -> bool:
        """Whether the mean over several batches depends on what is in a batch with what."""
        return self.reduction in ("sum", "mean_with_sample_weight") or getattr(self, "ignore_class", None) is not None

    def _counts(self, y_true: Tensor) -> Tensor | None:
        """Which labels count, where one is said not to."""
        ignored = getattr(self, "ignore_class", None)
        return None if ignored is None else y_true != ignored

    def counted(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None, mask: Any = None) -> Tensor | float:
        """What J is a mean over, and so how much it counts in a mean over several batches: samples, or places of
        sequences; those that count; or the sum of their weights. A sum counts 1.
        """
        one = y_pred.detach()[..., 0] if y_pred.ndim > 1 else y_pred.detach()
        parts = [each for each in (mask, self._counts(y_true)) if each is not None]
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            parts.append(sample_weight)
        if self.reduction == "sum" or not parts:
            return 1.0 if self.reduction == "sum" else float(one.size)
        return maximum(sum(math.prod(beside(one, each, "mask") for each in parts)), TINY)


class Elementwise(Loss, abstract=True):
    """A loss with one number an element; a sample's is the mean of those along the last axis."""

    def element(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One number an element."""
        raise NotImplementedError

    def element_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        """The same from logits."""
        return self.element(y_true, z)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return mean(self.element(y_true, y_pred), axis=-1)

    def call_logits(self, y_true: Tensor, z: Tensor) -> Tensor:
        return mean(self.element_logits(y_true, z), axis=-1)

    def mean_of(self, y_true: Tensor, y_pred: Tensor, logits: bool) -> Tensor:
        if logits and self.on_logits:
            return self.on_logits(y_pred, y_true)
        return mean(self.element_logits(y_true, y_pred) if logits else self.element(y_true, y_pred))


class LossFunctionWrapper(Loss, wrapper=True):
    """A loss of a function (y_true, y_pred) of the user's own: it returns the batch's mean, or one number a sample."""

    function: LossFunction

    def __post_init__(self) -> None:
        check_arguments("loss", self.function, "y_true", "y_pred")
        self._set(name=self.name or getattr(self.function, "__name__", "loss"))
        super().__post_init__()

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.function(y_true, y_pred)

    def mean_of(self, y_true: Tensor, y_pred: Tensor, logits: bool) -> Tensor:
        values: Any = self.function(y_true, y_pred)
        if getattr(values, "shape", ()):
            check_one_a_sample("loss", self.name, values.shape, len(y_pred))
            return mean(values)
        return values  # type: ignore[no-any-return]


def reduced(values: Tensor, reduction: str | None, weights: Any = None, mask: Any = None, shard: Any = None) -> Tensor:
    """What a reduction makes of one number a sample: each times its weight, and none where the mask says so.

    The masked ones do not count in a mean (Keras's meaning). Raises UsageError for one number of them all, ShapeError
    for weights of another shape.
    """
    total: Any = values.size
    if (weights is not None or mask is not None) and not values.shape:
        raise UsageError(
            "this loss gives one number for the batch, so that no sample of it can be weighed: let it return one "
            "number a sample, of shape (batch,)."
        )
    if weights is not None:
        weights = beside(values, weights, "sample_weight")
        values = values * weights
    if mask is not None:
        mask = beside(values, mask, "mask")
        count = sum(mask)
        values, total = values * mask, maximum(count if shard is None else shard.summed(count), 1)
    if reduction == "mean_with_sample_weight" and weights is not None:
        weights = weights if mask is None else weights * mask
        total = sum(weights) if shard is None else shard.summed(sum(weights))
    if shard is not None:
        counted = reduction in MEANS and isinstance(total, Tensor)
        if not counted and reduction != "sum":
            return _part(values, shard)
        found: Tensor = sum(values) * shard.present.astype(values.dtype)
        return found / total if counted else found
    if reduction not in MEANS:
        return sum(values) if reduction == "sum" else values
    return mean(values) if total is values.size else sum(values) / total


def _part(values: Tensor, shard: Any) -> Tensor:
    """The mean of a share's values as its part of the mean over the global batch."""
    found = mean(values) if getattr(values, "shape", ()) else values
    part: Tensor = found * shard.share.astype(found.dtype)
    return part


def beside(values: Tensor, factors: Any, what: str) -> Tensor:
    """Factors, of the shape of values or of their first axes, in a shape and a dtype that multiply them."""
    made = factors if isinstance(factors, Tensor) else tensor(factors, device=values.device)
    shape = made.shape[:-1] if made.ndim == values.ndim + 1 and made.shape[-1] == 1 else made.shape
    if shape != values.shape[: len(shape)]:
        raise ShapeError(f"{what} has shape {made.shape} beside values of shape {values.shape}: one for each sample.")
    return made.reshape(*shape, *[1] * (values.ndim - len(shape))).astype(
        values.dtype if values.dtype.kind == "f" else made.dtype
    )


def check_one_a_sample(kind: str, name: str, shape: tuple[int, ...], count: int) -> None:
    """Raise UsageError where a function of the user's own gave neither one number nor one a sample."""
    if math.prod(shape) != 1 and shape not in ((count,), (count, 1)):
        raise UsageError(
            f"the {kind} {name!r} returned shape {shape}: it is a tensor of one number, the batch's mean, or of one "
            f"number a sample, of shape ({count},)."
        )


def check_arguments(kind: str, function: Callable[..., object], *arguments: str) -> None:
    """Raise UsageError where a function of the user's own cannot take these arguments, as far as it tells."""
    if isinstance(function, type):
        raise UsageError(f"the {kind} {function.__name__} is a class: make one, {function.__name__}().")
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, and says nothing of its arguments
        return
    places = {name: place for place, name in enumerate(signature.parameters)}
    try:
        signature.bind(*arguments)
    except TypeError:
        fits = False
    else:
        fits = all(places.get(name, place) == place for place, name in enumerate(arguments))
    if not fits:
        raise UsageError(f"a {kind} of your own is a function ({', '.join(arguments)}); {function!r} is not.")
