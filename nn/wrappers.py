"""Models as scikit-learn's estimators: for its pipelines, cross-validation and searches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from ..errors import UsageError
from ..hints import missing_extra
from ..optim import make_optimizer
from .model import Model
from .models import clone_model

try:
    from sklearn.base import (  # type: ignore[import-untyped]
        BaseEstimator,
        ClassifierMixin,
        RegressorMixin,
        TransformerMixin,
    )
    from sklearn.utils.multiclass import check_classification_targets  # type: ignore[import-untyped]
    from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[import-untyped]
except ImportError as error:
    raise missing_extra("an estimator", "scikit-learn", "sklearn") from error

Made = Model | Callable[..., Model]


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What the three estimators have in common.

    model: a compiled model, of which each `fit` trains a copy with weights drawn anew; or a function
    (X, y, **model_kwargs) that makes one. warm_start: go on with the model that the last `fit` trained. model_kwargs,
    fit_kwargs: what goes to the function, and to the model's `fit`; X and y there are as the model gets them.

    After `fit`: model_, the trained model; history_, what `fit` gave.
    """

    def __init__(
        self,
        model: Made,
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.warm_start = model, warm_start
        self.model_kwargs, self.fit_kwargs = model_kwargs, fit_kwargs

    def __sklearn_clone__(self) -> Any:
        return type(self)(self.model, self.warm_start, self.model_kwargs, self.fit_kwargs)

    def _made(self, x: Any, y: Any) -> Model:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        model = self.model
        if not isinstance(model, Model):
            if not callable(model):
                raise UsageError(f"{type(self).__name__} takes a model, or a function that makes one, not {model!r}.")
            made = model(X=x, y=y, **(self.model_kwargs or {}))
        else:
            made = _anew(model)
        if not isinstance(made, Model):
            raise UsageError(f"the function for {type(self).__name__} returned {type(made).__name__}, not a model.")
        if made.loss is None:
            raise UsageError(f"the model of {type(self).__name__} has no loss yet: call compile(…) on it first.")
        return made

    def _trained(self, x: Any, y: Any, **more: Any) -> Any:
        self.model_ = self._made(x, y)
        self.history_ = self.model_.fit(x, y, **{"verbose": 0, **(self.fit_kwargs or {}), **more})
        return self

    def _outputs(self, X: Any) -> Any:
        check_is_fitted(self)
        return self.model_.predict(validate_data(self, X, reset=False), verbose=0)


def _anew(model: Model) -> Model:
    """A model of the same layers, compiled as this one is, with weights that are drawn."""
    made: Model = clone_model(model)
    if model.optimizer and model.loss:
        made.compile(
            make_optimizer(model.optimizer.config()), copy.deepcopy(model.loss), copy.deepcopy(model.metrics),
            model.run_eagerly, model.jit_compile, model.deterministic, model.check_finite,
        )  # fmt: skip
    return made


class SKLearnClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A model as a classifier of scikit-learn. Labels may be of any kind; the model gets them as its loss wants them:
    as numbers from 0, or one-hot.

    classes_: the labels, in the order of the model's outputs.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on samples X and their labels y. Raises scikit-learn's ValueError for what is no classification."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, numbers = numpy.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier can't train when only one class is present: all labels are {y[0]!r}.")
        model = self._made(X, numbers)
        wanted = getattr(model.loss, "targets", "any")
        if wanted == "classes":
            numbers = numpy.eye(len(self.classes_), dtype="float32")[numbers]
        return self._trained(X, numbers, sample_weight=sample_weight)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class: shape (samples, classes)."""
        outputs = self._outputs(X)
        return numpy.concatenate([1 - outputs, outputs], 1) if outputs.shape[1] == 1 else outputs

    def decision_function(self, X: Any) -> Any:
        """What the model gives: one column a class, or of two classes the second's alone."""
        outputs = self._outputs(X)
        return outputs[:, -1] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> Any:
        """The label of the greatest output."""
        return self.classes_[self.predict_proba(X).argmax(1)]


class SKLearnRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A model as a regressor of scikit-learn."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train on samples X and their values y, of shape (samples,) or (samples, outputs)."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self._single = y.ndim == 1
        return self._trained(X, y, sample_weight=sample_weight)

    def predict(self, X: Any) -> Any:
        """The outputs, of the shape that y had."""
        outputs = self._outputs(X)
        return outputs.reshape(-1) if self._single else outputs


class SKLearnTransformer(TransformerMixin, _Estimator):  # type: ignore[misc]
    """A model as a transformer of scikit-learn: what it makes of samples goes to the next step of a pipeline."""

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train on samples X and targets y; without y, X itself is the target, as of an autoencoder."""
        X = validate_data(self, X)
        return self._trained(X, X if y is None else y)

    def transform(self, X: Any) -> Any:
        """The model's outputs."""
        return self._outputs(X)
