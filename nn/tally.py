"""What a metric is: sums over the batches so far, and the number that these come to. `metrics` has those there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar

import numpy

from ..engine import backend
from ..engine.backend import Array, Namespace
from ..engine.piece import Piece
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError, UsageError
from ..names import Names, is_ours, snake
from ..ops.arithmetic import add
from .criterion import check_arguments, check_one_a_sample

MetricFunction = Callable[..., Any]
Shape = tuple[int, ...]
UNKNOWN: Any = None


class Metric(Piece, key="metric"):
    """A number over all samples seen: `sums` of each batch, added up in a `state`, and the `value` of that.

    One of one's own says these three; or, in Keras's way, makes variables (`add_variable`) in its constructor, changes
    them in `update_state`, and has `result`. By hand: update_state(y_true, y_pred), result(), reset_state(). In a model
    each training and evaluation has a state of its own, so that several may run at once.

    on_logits: whether logits give the same as probabilities, so that softmax need not be taken for it.
    targets: what it compares outputs with, as a loss says it; "any" is left to it.
    mode: "max" where more is better, "min" where less is, None where that is not known.
    weighted: whether the weights of samples count in it.
    """

    name: str = field(default="", kw_only=True, repr=False)

    kinds: ClassVar[Names[type[Metric]]]
    targets: ClassVar[str] = "any"
    on_logits = False
    mode = UNKNOWN
    weighted: ClassVar[bool] = False
    called: ClassVar[str] = ""
    """Its name, where it is not that of its class."""
    _variables: ClassVar[tuple[Tensor, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(name=self.name or self.called or snake(type(self).__name__))

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        """The arrays that it adds up, by name, for outputs of that shape each."""
        return {}

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        """What a batch adds to each of them. weights: one a sample, or None."""
        raise NotImplementedError(
            f"{type(self).__name__} has neither sums(xp, y_true, y_pred, weights) nor update_state."
        )

    def value(self, **state: Any) -> Any:
        """The number that the sums come to; several, as an array, where it has one a class, say."""
        raise NotImplementedError(f"{type(self).__name__} has neither value(…) nor result().")

    @property
    def keeps_variables(self) -> bool:
        """Whether it was written in Keras's way, with an `update_state` of its own."""
        return not is_ours(type(self).update_state)

    def with_weights(self) -> Metric:
        """The same, with the weights of samples counting in it."""
        made = self.from_config(self.get_config())
        made._set(weighted=True)
        return made

    # By hand, and in Keras's way

    def add_variable(
        self, shape: Shape = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Tensor:
        """A tensor of its state, which `update_state` changes by assign. dtype: float64 unless that is said."""
        from .initializers import make_initializer

        begin = make_initializer(initializer or "zeros")
        made = tensor(numpy.asarray(begin(numpy.random.default_rng(0), tuple(shape)), dtype or "float64"))
        made.name = name
        self._set(_variables=(*self._variables, made))
        return made

    add_weight = add_variable

    @property
    def variables(self) -> list[Tensor]:
        """Its state."""
        return list(self._variables)

    def begin(self, output_shape: Shape) -> None:
        """Make the state, where there is none yet."""
        if not self._variables:
            for name, shape in self.state(output_shape).items():
                self.add_variable(shape, name=name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch."""
        y, p = (x if isinstance(x, Tensor) else tensor(x) for x in (y_true, y_pred))
        if self.targets in ("values", "classes", "probabilities") and y.size != p.size:
            raise ShapeError(
                f"{self.name}: y_true has shape {y.shape}, y_pred {p.shape}; each has a target of its own."
            )
        self.begin(p.shape[1:])
        weights = None if sample_weight is None else tensor(sample_weight)._data
        shapes = [] if weights is None else [weights.shape, weights.shape[: -1 if weights.shape[-1:] == (1,) else None]]
        if shapes and all(shape != p.shape[: len(shape)] for shape in shapes):
            raise ShapeError(f"{self.name}: sample_weight has shape {shapes[0]} beside y_pred {p.shape}: one a sample.")
        parts = self.sums(backend.namespace_of(p._data), y._data, p._data, weights)
        for variable, part in zip(self._variables, parts, strict=True):
            variable.assign(add(variable, Tensor(part)))

    def result(self) -> Any:
        """The number over the batches so far."""
        if not self._variables:
            return tensor(0.0)
        arrays = {str(v.name): backend.fetch(v._data) for v in self._variables}
        return tensor(numpy.asarray(self.value(**arrays), "float64"))

    def reset_state(self) -> None:
        """Begin anew."""
        for variable in self._variables:
            variable.assign(0)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Take in a batch, and the number over the batches so far."""
        self.update_state(*args, **options)
        return self.result()


class MeanMetric(Metric, abstract=True):
    """The mean of one number a sample."""

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        """The number of each sample, or of each of its elements."""
        raise NotImplementedError

    def mean(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        """The batch's mean."""
        return xp.mean(self.values(xp, y_true, y_pred))

    def of_mean(self, mean: Any) -> Any:
        """What the mean comes to."""
        return mean

    def state(self, output_shape: Shape) -> Mapping[str, Shape]:
        return {"total": (), "count": ()}

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        count = y_pred.shape[0] if y_pred.ndim else 1
        if weights is None:
            return self.mean(xp, y_true, y_pred) * count, xp.full((), count, "float64")
        values = xp.asarray(self.values(xp, y_true, y_pred))
        if not values.shape:
            raise UsageError(f"the metric {self.name!r} gives one number for the batch: its samples cannot be weighed.")
        if values.ndim < weights.ndim:  # one number a sample, of which each position has a weight
            weights = xp.mean(xp.reshape(weights, (count, -1)), axis=1)
        values = xp.mean(xp.reshape(values, (*weights.shape, -1)), axis=-1)
        return xp.sum(values * weights), xp.sum(weights)

    def value(self, **state: Any) -> Any:
        return self.of_mean(state["total"] / state["count"] if state["count"] else 0.0)


class MeanMetricWrapper(MeanMetric, wrapper=True):
    """The mean of a function of the user's own: (xp, y_true, y_pred) on arrays, or (y_true, y_pred) on tensors.

    It gives the batch's mean, or one number a sample.
    """

    on_arrays: ClassVar[bool] = True

    function: MetricFunction
    on_logits: bool = False
    mode: str | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise UsageError(f"a metric of your own is a function (xp, y_true, y_pred); {self.function!r} is not.")
        self._set(name=self.name or getattr(self.function, "__name__", "metric"), on_arrays=_takes_three(self.function))
        super().__post_init__()

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        y_true, y_pred = (xp.array(x) for x in (y_true, y_pred))  # which it may write into
        given = (xp, y_true, y_pred) if self.on_arrays else (Tensor(y_true), Tensor(y_pred))
        found = self.function(*given)
        found = found._data if isinstance(found, Tensor) else found
        if not isinstance(found, (bool, int, float)) and getattr(found, "dtype", numpy.dtype("O")).kind not in "biuf":
            raise UsageError(f"the metric {self.name!r} returned {found!r}: it is a number, the batch's mean.")
        found = xp.asarray(found)
        if found.shape:
            check_one_a_sample("metric", self.name, found.shape, len(y_pred))
        return found

    def mean(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        found = self.values(xp, y_true, y_pred)
        return xp.mean(found) if found.shape else found


def _takes_three(function: MetricFunction) -> bool:
    try:
        check_arguments("metric", function, "y_true", "y_pred")
    except UsageError:
        check_arguments("metric", function, "xp", "y_true", "y_pred")
        return True
    return False


class Mean(MeanMetric):
    """The mean of values that it is given, one or many at a time: update_state(values, sample_weight=None)."""

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Take in values."""
        super().update_state(values, values, sample_weight)

    def values(self, xp: Namespace, y_true: Array, y_pred: Array) -> Array:
        return y_true


class Sum(Mean):
    """The sum of values that it is given, one or many at a time: update_state(values, sample_weight=None)."""

    def sums(self, xp: Namespace, y_true: Array, y_pred: Array, weights: Array = None) -> tuple[Array, ...]:
        if weights is not None:
            y_true = y_true * xp.reshape(weights, (*weights.shape, *[1] * (y_true.ndim - weights.ndim)))
        return xp.sum(y_true), xp.full((), y_true.size, "float64")

    def value(self, **state: Any) -> Any:
        return state["total"]
