"""Models as scikit-learn's estimators: in its pipelines, cross-validation and searches."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import UsageError

sklearn = pytest.importorskip("sklearn", reason="estimators are of the sklearn extra")
from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

pytestmark = pytest.mark.cpu_only("scikit-learn's arrays are on the CPU")
R = np.random.default_rng(0)
X = R.normal(size=(90, 4))
KINDS = np.array(["cat", "dog", "owl"])[np.argmax(X[:, :3], 1)]
SUM = X.sum(1)


def net(X, y, units=8, loss="sparse_categorical_crossentropy", outputs=3, activation="softmax"):
    model = cg.Sequential([cg.layers.Dense(units, "relu"), cg.layers.Dense(outputs, activation)])
    model.compile(cg.optim.Adam(0.05), loss)
    return model


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_labels_of_any_kind_are_learned(loss):
    found = cg.wrappers.SKLearnClassifier(net, model_kwargs={"loss": loss}, fit_kwargs={"epochs": 30})
    assert found.fit(X, KINDS).score(X, KINDS) > 0.9
    assert found.classes_.tolist() == ["cat", "dog", "owl"]
    np.testing.assert_allclose(found.predict_proba(X[:5]).sum(1), 1, rtol=1e-5)


def test_two_classes_by_one_output():
    found = cg.wrappers.SKLearnClassifier(
        net,
        model_kwargs={"loss": "binary_crossentropy", "outputs": 1, "activation": "sigmoid"},
        fit_kwargs={"epochs": 25},
    )
    y = np.where(X[:, 0] > 0, "yes", "no")
    assert found.fit(X, y).score(X, y) > 0.9
    assert found.predict_proba(X).shape == (90, 2)
    assert found.decision_function(X).shape == (90,)


def test_cross_validation_pipeline_and_search():
    estimator = cg.wrappers.SKLearnClassifier(net, fit_kwargs={"epochs": 12})
    assert cross_val_score(make_pipeline(StandardScaler(), estimator), X, KINDS, cv=3).mean() > 0.7
    search = GridSearchCV(estimator, {"model_kwargs": [{"units": 1}, {"units": 16}]}, cv=2).fit(X, KINDS)
    assert search.best_params_ == {"model_kwargs": {"units": 16}}


def test_a_model_is_copied_and_each_fit_begins_anew_but_for_warm_start():
    model = cg.Sequential([cg.layers.Dense(1, input_shape=(4,))])
    model.compile(cg.optim.Adam(0.1), "mse")
    before = [w.copy() for w in model.get_weights()]
    found = cg.wrappers.SKLearnRegressor(model, fit_kwargs={"epochs": 3})
    first = found.fit(X, SUM).predict(X)
    assert first.shape == (90,)
    np.testing.assert_array_equal(found.fit(X, SUM).predict(X), first)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    found.set_params(warm_start=True, fit_kwargs={"epochs": 40})
    assert found.fit(X, SUM).score(X, SUM) > 0.95
    assert clone(found).get_params() == found.get_params()


def test_several_outputs_weights_and_a_transformer():
    two = np.stack([SUM, -SUM], 1)
    model = cg.Sequential([cg.layers.Dense(2)])
    model.compile("adam", "mse")
    found = cg.wrappers.SKLearnRegressor(model).fit(X, two, sample_weight=np.ones(90))
    assert found.predict(X).shape == (90, 2)
    code = cg.Sequential([cg.layers.Dense(4)])
    code.compile("adam", "mse")
    assert cg.wrappers.SKLearnTransformer(code).fit_transform(X).shape == (90, 4)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (cg.Sequential([cg.layers.Dense(3)]), "has no loss yet"),
        (lambda X, y: None, "returned NoneType, not a model"),
        (3, "takes a model, or a function"),
    ],
)
def test_what_is_no_compiled_model(model, text):
    with pytest.raises(UsageError, match=text):
        cg.wrappers.SKLearnClassifier(model).fit(X, KINDS)


def test_one_class_alone():
    with pytest.raises(ValueError, match="only one class"):
        cg.wrappers.SKLearnClassifier(net).fit(X, np.zeros(90))
