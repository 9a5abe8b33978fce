"""Data that is not what it should be is refused before anything changes, and the message says where."""

import re

import numpy as np
import pytest

from chalkgrad import Sequential
from chalkgrad.errors import ChalkgradError, DataError, DtypeError, ShapeError, UsageError
from chalkgrad.nn.layers import Dense

N = 20
X = np.random.default_rng(0).standard_normal((N, 4))
LABELS = np.random.default_rng(1).integers(0, 3, N)
ROWS = np.eye(3)[LABELS]
SPARSE, CATEGORICAL, BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def put(row, value):
    return changed(X, (row, 2), value)


# loss, what fit is given, the error, and what its message names
FAULTS = {
    "unequal lengths": (CATEGORICAL, {"y": ROWS[:-1]}, ShapeError, "x has 20 samples, y has 19"),
    "empty": (CATEGORICAL, {"x": X[:0], "y": ROWS[:0]}, DataError, r"x is empty \(shape \(0, 4\)\)"),
    "empty y": (CATEGORICAL, {"y": ROWS[:0]}, DataError, "y is empty"),
    "a number": (CATEGORICAL, {"x": 3.0}, DataError, "x is empty|first axis"),
    "objects": (CATEGORICAL, {"x": X.astype(object)}, DtypeError, "x holds object"),
    "strings": (CATEGORICAL, {"x": X.astype(str)}, DtypeError, "x holds <U.*convert it first"),
    "string labels": (SPARSE, {"y": np.array(["cat"] * N)}, DtypeError, "y holds <U3.*'cat'"),
    "complex": (CATEGORICAL, {"x": X + 0j}, DtypeError, "x holds complex128"),
    "ragged": (CATEGORICAL, {"x": [[1.0, 2.0], [3.0]]}, DataError, "x is no array"),
    "NaN": (CATEGORICAL, {"x": put(13, np.nan)}, DataError, "x is not finite in row 13"),
    "infinity": (CATEGORICAL, {"x": put(19, -np.inf)}, DataError, "x is not finite in row 19"),
    "NaN in y": ("mse", {"y": changed(ROWS, (4, 0), np.nan)}, DataError, "y is not finite in row 4"),
    "features": (CATEGORICAL, {"x": X[:, :3]}, ShapeError, r"\(3,\).*\(4,\)|4.*20, 3"),
    "label too large": (SPARSE, {"y": changed(LABELS, 7, 3)}, DataError, "outside of 0 … 2 in row 7, .*: 3"),
    "label negative": (SPARSE, {"y": changed(LABELS, 0, -1)}, DataError, "outside of 0 … 2 in row 0, .*: -1"),
    "label a fraction": (SPARSE, {"y": changed(LABELS * 1.0, 5, 0.5)}, DataError, "in row 5, .*: 0.5"),
    "rows as labels": (SPARSE, {"y": ROWS}, ShapeError, "One-hot rows go to 'categorical_crossentropy'"),
    "one-hot of another width": (CATEGORICAL, {"y": np.eye(4)[LABELS]}, ShapeError, r"\(20, 4\).*\(batch, 3\)"),
    "labels as rows": (CATEGORICAL, {"y": LABELS}, ShapeError, "sparse_categorical_crossentropy.*to_categorical"),
    "no probabilities": (CATEGORICAL, {"y": changed(ROWS, 9, 2.0)}, DataError, r"not in \[0, 1\] in row 9"),
    "no probability": (BINARY, {"y": changed(ROWS, (3, 1), -0.5)}, DataError, r"not in \[0, 1\] in row 3"),
    "values of another width": ("mse", {"y": ROWS[:, :1]}, ShapeError, r"\(20, 1\).*\(batch, 3\)"),
    "batch_size 0": (CATEGORICAL, {"batch_size": 0}, UsageError, r"batch_size=0\): it is a whole number of 1 or more"),
    "batch_size fraction": (CATEGORICAL, {"batch_size": 2.5}, UsageError, "batch_size=2.5"),
    "batch_size bool": (CATEGORICAL, {"batch_size": True}, UsageError, "batch_size=True"),
    "epochs negative": (CATEGORICAL, {"epochs": -1}, UsageError, "epochs=-1.*of 0 or more"),
    "epochs float": (CATEGORICAL, {"epochs": 2.0}, UsageError, "epochs=2.0"),
    "epochs bool": (CATEGORICAL, {"epochs": True}, UsageError, "epochs=True"),
    "initial_epoch": (CATEGORICAL, {"initial_epoch": -1}, UsageError, "initial_epoch=-1"),
    "validation_split 1": (CATEGORICAL, {"validation_split": 1.0}, UsageError, "validation_split=1.0"),
    "validation_split negative": (CATEGORICAL, {"validation_split": -0.1}, UsageError, "between 0 and 1"),
    "validation_split of nothing": (CATEGORICAL, {"validation_split": 0.999}, DataError, "nothing on one side of 20"),
    "validation lengths": (CATEGORICAL, {"validation_data": (X, ROWS[1:])}, ShapeError, "validation y has 19"),
    "validation NaN": (CATEGORICAL, {"validation_data": (put(6, np.nan), ROWS)}, DataError, "validation x .* row 6"),
    "validation label": (SPARSE, {"validation_data": (X, LABELS + 1)}, DataError, "label outside of 0 … 2"),
}


def prepared(loss, fitted=True):
    model = Sequential([Dense(5, "tanh", input_shape=(4,)), Dense(3, "sigmoid" if loss == BINARY else "softmax")])
    model.compile("adam", loss)
    if fitted:
        model.fit(X, LABELS if loss == SPARSE else ROWS, epochs=2, verbose=0)
    return model


def everything(model):
    numbers = [*model.get_weights(), *(s.copy() for s in model.optimizer.state.values())]
    return numbers, model.optimizer.iterations, dict(model.history.history), list(model.history.epoch)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_is_changed(name, same):
    loss, given, error, named = FAULTS[name]
    model = prepared(loss)
    before = everything(model)
    good = {"x": X, "y": LABELS if loss == SPARSE else ROWS}
    with pytest.raises(error, match=named):
        model.fit(**{**good, "verbose": 0, **given})
    after = everything(model)
    same(after[0], before[0])
    assert after[1:] == before[1:]


@pytest.mark.parametrize("name", ["unequal lengths", "NaN", "label too large", "labels as rows", "empty", "objects"])
def test_evaluate_refuses_the_same(name):
    loss, given, error, named = FAULTS[name]
    good = {"x": X, "y": LABELS if loss == SPARSE else ROWS}
    with pytest.raises(error, match=named):
        prepared(loss, fitted=False).evaluate(**{**good, **given}, verbose=0)


@pytest.mark.parametrize("name", ["NaN", "empty", "objects", "ragged"])
def test_predict_refuses_the_same(name):
    _, given, error, named = FAULTS[name]
    with pytest.raises(error, match=named):
        prepared(CATEGORICAL, fitted=False).predict(given["x"])


@pytest.mark.parametrize("loss", ["mse", "mae", BINARY])
def test_a_row_of_targets_is_one_output_each_never_all_beside_all(loss, same):
    """In Keras's way: the same as a column."""
    found, y = [], (X[:, 0] > 0).astype("float32")
    for targets in (y, y.reshape(-1, 1)):
        model = Sequential([Dense(1, "sigmoid", input_shape=(4,))])
        model.compile("adam", loss, metrics=["mae"] if loss != BINARY else ["accuracy"])
        history = model.fit(X, targets, verbose=0, validation_data=(X, targets)).history
        found.append([*model.get_weights(), *history.values(), model.evaluate(X, targets, verbose=0)])
    same(*found)
    with pytest.raises(ShapeError, match=r"\(20, 2\).*\(batch, 1\)"):
        model.fit(X, np.ones((N, 2)), verbose=0)


def test_labels_go_in_any_integer_dtype_and_as_whole_floats(same):
    weights = []
    for dtype in ("uint8", "int32", "int64", "float32"):
        model = prepared(SPARSE, fitted=False)
        model.fit(X, LABELS.astype(dtype), verbose=0)
        weights.append(model.get_weights())
    for others in weights[1:]:
        same(weights[0], others)


def test_all_errors_have_one_base():
    assert all(issubclass(error, ChalkgradError) for _, _, error, _ in FAULTS.values())


# What is known to be wrong


def test_bad_validation_targets_are_called_so():
    with pytest.raises(DataError, match="validation y"):
        prepared(SPARSE).fit(X, LABELS, validation_data=(X, LABELS + 1), verbose=0)


@pytest.mark.parametrize("what", ["fit", "evaluate"])
def test_missing_targets_are_named(what):
    with pytest.raises((DataError, DtypeError, UsageError), match=r"\by\b"):
        getattr(prepared(CATEGORICAL), what)(X, None, verbose=0)


@pytest.mark.parametrize("data", [(X, ROWS, np.ones(N), np.ones(N)), (X,), 3])
def test_validation_data_is_a_pair_or_three(data):
    with pytest.raises(UsageError, match="validation_data"):
        prepared(CATEGORICAL).fit(X, ROWS, validation_data=data, verbose=0)


def test_a_bad_seed_changes_nothing():
    model = prepared(CATEGORICAL)
    with pytest.raises(UsageError, match="seed"):
        model.fit(X, ROWS, seed=-1, verbose=0)
    assert model.history.epoch == [0, 1]


def test_a_failed_first_fit_does_not_build_the_model():
    model = Sequential([Dense(3, "softmax")])
    model.compile("adam", CATEGORICAL)
    with pytest.raises(DataError, match=re.escape("not in [0, 1]")):
        model.fit(X[:, :2], ROWS * 2, verbose=0)
    model.fit(X, ROWS, verbose=0)


@pytest.mark.parametrize("callbacks", [["EarlyStopping"], 3])
def test_what_is_no_callback(callbacks):
    with pytest.raises(UsageError, match="callback"):
        prepared(CATEGORICAL).fit(X, ROWS, callbacks=callbacks, verbose=0)
