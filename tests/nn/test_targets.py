"""Targets beside outputs: row by row, in the dtype that is meant, judged by losses and metrics that fit them."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, losses
from chalkgrad.errors import ChalkgradError, DataError, ShapeError, UsageError
from chalkgrad.nn.fitting import FITTING
from chalkgrad.nn.layers import Activation, Dense, Flatten, Reshape
from chalkgrad.nn.layers.base import make_layer
from chalkgrad.nn.losses import Loss, make_loss
from chalkgrad.nn.metrics import METRICS, MeanMetricWrapper, Metric

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 4)).astype("float32")
T = RNG.standard_normal(23).astype("float32")
LABELS = RNG.integers(0, 3, 23)
ROWS = np.eye(3)[LABELS]
BITS = LABELS[:, None] > 0
STILL = cg.optimizers.GradientDescent(0.0)


def squares(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean()


def apart(xp, y_true, y_pred):
    return xp.mean(xp.abs(y_true - y_pred))


def model_of(*last, loss=squares, metrics=(), optimizer="adam", **options):
    model = Sequential([Dense(6, "tanh", input_shape=(4,)), *(make_layer(layer.config()) for layer in last)])
    model.compile(optimizer, loss, list(metrics), **options)
    model.build()
    return model


# Rows beside columns

SHAPES = {
    "(n,) beside (n, 1)": ([Dense(1)], T),
    "(n, 1) beside (n,)": ([Dense(1), Reshape(())], T[:, None]),
    "(n, t) beside (n, t, 1)": ([Dense(3), Reshape((3, 1))], ROWS),
    "(n, t, 1) beside (n, t)": ([Dense(3)], ROWS[..., None]),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_losses_and_metrics_of_ones_own_compare_row_by_row(name, run_eagerly):
    last, y = SHAPES[name]
    model = model_of(*last, metrics=[apart], run_eagerly=run_eagerly)
    history = model.fit(X, y, batch_size=5, epochs=2, validation_data=(X, y), verbose=0).history
    difference = model.predict(X).reshape(23, -1) - y.reshape(23, -1)
    expected = [(difference**2).mean(), np.abs(difference).mean()]
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose([history["val_loss"][-1], history["val_apart"][-1]], expected, rtol=1e-5)


@pytest.mark.parametrize("what", ["fit", "validation", "evaluate"])
@pytest.mark.parametrize("judge", ["loss", "metric"])
def test_as_many_rows_as_outputs_are_not_laid_beside_them(what, judge):
    chosen = {"loss": squares} if judge == "loss" else {"loss": losses.SparseCategoricalCrossentropy()}
    model = model_of(Dense(3, "softmax"), **chosen, metrics=[apart] if judge == "metric" else ())
    y = T if judge == "loss" else LABELS
    fitting = ROWS if judge == "loss" else y
    before = model.get_weights()[0]
    call = {
        "fit": lambda: model.fit(X[:3], y[:3], verbose=0),
        "evaluate": lambda: model.evaluate(X[:3], y[:3], verbose=0),
        "validation": lambda: model.fit(X[:3], fitting[:3], validation_data=(X[:3], y[:3]), verbose=0),
    }[what]
    with pytest.raises(ShapeError, match=r"y of shape \(3,\) beside outputs of shape \(3,\) each"):
        call()
    np.testing.assert_array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize("count", [2, 3, 23])
def test_labels_beside_rows_in_a_loss_of_ones_own(count):
    def sparse(y_true, y_pred):
        return cg.sparse_categorical_cross_entropy(cg.log(y_pred), y_true)

    own, ours = (
        model_of(Dense(3, "softmax"), loss=loss) for loss in (sparse, make_loss("sparse_categorical_crossentropy"))
    )
    for dtype in ("int64", "uint8", "int8"):
        value = own.evaluate(X[:count], LABELS[:count].astype(dtype), verbose=0)
        assert value == pytest.approx(ours.evaluate(X[:count], LABELS[:count], verbose=0), rel=1e-6)


@pytest.mark.parametrize("batch_size", [6, 9])
def test_the_last_short_batch_counts_too(batch_size):
    model = model_of(Dense(3), loss=squares)
    with pytest.raises(ShapeError, match="y of shape"):
        model.fit(X[:21], T[:21], batch_size=batch_size, verbose=0)


def test_a_loss_that_compares_samples_with_each_other_is_left_alone():
    def pairs(y_true, y_pred):
        assert y_pred.shape[0] % 3 == 0
        alike = (y_true.reshape(-1, 1) == y_true.reshape(1, -1)).astype("float32")
        return cg.mean((y_pred @ y_pred.T - alike) ** 2)

    history = model_of(Dense(3), loss=pairs).fit(X[:21], LABELS[:21], batch_size=3, epochs=2, verbose=0).history
    assert len(history["loss"]) == 2


def test_one_target_beside_several_outputs_is_compared_with_each():
    model = model_of(Dense(3))
    expected = ((model.predict(X) - T[:, None]) ** 2).mean()
    assert model.evaluate(X, T[:, None], verbose=0) == pytest.approx(expected, rel=1e-5)


# The dtype of targets


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint32", "int8", "int32", "int64", "float64"])
@pytest.mark.parametrize("shape", [(23,), (23, 1)])
def test_whole_numbers_beside_outputs_are_calculated_with_as_in_the_models_dtype(dtype, shape):
    seen = []

    def far(y_true, y_pred):
        seen.append((y_true.shape, y_true.dtype))
        return ((300 * (-y_true - 2) - y_pred) ** 2).mean()

    def near(xp, y_true, y_pred):
        seen.append((y_true.shape, y_true.dtype))
        return xp.mean(300 * -y_true)

    y = BITS.astype(dtype).reshape(shape)
    model = model_of(Dense(1, "sigmoid"), loss=far, metrics=[near])
    model.fit(X, y, verbose=0)
    bits = BITS.astype("float64")
    expected = [((300 * (-bits - 2) - model.predict(X)) ** 2).mean(), -300 * bits.mean()]
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-5)
    assert set(seen) == {((23, 1), np.dtype("float32"))}


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool"])
def test_labels_of_another_shape_than_the_outputs_stay_whole(dtype):
    seen = []

    def loss(y_true, y_pred):
        seen.append(y_true.dtype)
        return cg.mean(y_pred) + cg.mean(y_true * 1000)

    y = (LABELS > 0).astype(dtype)
    value = model_of(Dense(3, "softmax"), loss=loss).evaluate(X, y, verbose=0)
    assert value == pytest.approx(1 / 3 + 1000 * y.mean(), rel=1e-5)
    assert set(seen) == {np.dtype("int64")}


# What a loss returns


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_a_loss_of_one_number_a_sample_is_its_mean(shape, same):
    def each(y_true, y_pred):
        return cg.mean((y_true - y_pred) ** 2, axis=-1).reshape(shape)

    weights, values = [], []
    for loss in (each, squares):
        model = model_of(Dense(3), loss=loss)
        model.fit(X, ROWS, batch_size=5, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        values.append(model.evaluate(X, ROWS, verbose=0))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


RETURNS = {
    "a number for each output": (lambda t, p: (t - p) ** 2, r"returned shape \(23, 3\)"),
    "a sum over samples": (lambda t, p: cg.sum(p, axis=0), r"returned shape \(3,\).* of shape \(23,\)"),
    "a number": (lambda t, p: 1.5, "returned float: it is a tensor"),
    "NumPy's number": (lambda t, p: np.float32(2), "returned float32: it is a tensor"),
    "NumPy's mean": (lambda t, p: np.mean(t.numpy() - p.detach().numpy()), "returned float"),
    "nothing": (lambda t, p: None, "returned NoneType"),
    "what does not follow from the outputs": (lambda t, p: cg.mean(t), "does not depend on y_pred"),
    "a detached value": (lambda t, p: cg.mean(p.detach()), "does not depend on y_pred"),
    "a value read and made a tensor": (lambda t, p: cg.tensor(p.detach().numpy().mean()), "does not depend on y_pred"),
}


@pytest.mark.parametrize("name", RETURNS)
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_what_a_loss_cannot_return(name, run_eagerly, same):
    function, message = RETURNS[name]
    model = model_of(Dense(3), loss=function, run_eagerly=run_eagerly)
    before = model.get_weights()
    with pytest.raises(UsageError, match=message):
        model.fit(X, ROWS, verbose=0)
    same(model.get_weights(), before)


@pytest.mark.parametrize("loss", [lambda y: 0, lambda: 0, Loss, "mse_loss", lambda a, b, c: 0])
def test_what_is_no_loss(loss):
    with pytest.raises(UsageError):
        model_of(Dense(3), loss=loss)


# What a metric returns


def test_a_metric_of_one_number_a_sample_is_its_mean_and_short_batches_count_as_they_are():
    def each(xp, y_true, y_pred):
        return xp.max(y_pred, axis=-1)

    def tensors(xp, y_true, y_pred):
        return cg.mean(cg.tensor(xp.max(y_pred, axis=-1)))

    model = model_of(Dense(3, "softmax"), loss="categorical_crossentropy", metrics=[each, tensors, "accuracy"])
    p = model.predict(X)
    expected = [p.max(axis=1).mean()] * 2 + [(p.argmax(axis=1) == LABELS).mean()]
    for size in (1, 4, 22, 23):
        np.testing.assert_allclose(model.evaluate(X, ROWS, batch_size=size, verbose=0)[1:], expected, rtol=1e-6)
    still = model_of(Dense(3, "softmax"), loss="categorical_crossentropy", metrics=[each, "accuracy"], optimizer=STILL)
    history = still.fit(X, ROWS, batch_size=4, verbose=0).history
    np.testing.assert_allclose([history["each"][0], history["accuracy"][0]], expected[1:], rtol=1e-6)


@pytest.mark.parametrize("value", [None, "much", 1j])
def test_what_a_metric_cannot_return(value):
    with pytest.raises(UsageError, match="metric 'odd' returned"):
        model_of(Dense(3), metrics=[MeanMetricWrapper(lambda xp, t, p: value, name="odd")]).evaluate(X, ROWS, verbose=0)


@pytest.mark.parametrize("name", ["val_f1", "train_f1"])
def test_a_metric_that_would_be_taken_for_another(name):
    with pytest.raises(UsageError, match=f"'{name}' would be taken for that of other samples"):
        model_of(Dense(3), metrics=[MeanMetricWrapper(apart, name=name)])


@pytest.mark.parametrize("metric", [lambda y_true: 0, make_loss("mean_squared_error"), Metric, 3])
def test_what_is_no_metric(metric):
    with pytest.raises(UsageError, match="metric"):
        model_of(Dense(3), metrics=[metric])


def writes_outputs(xp, y_true, y_pred):
    y_pred[y_pred < 0.3] = 0
    return xp.mean(y_pred)


def writes_targets(xp, y_true, y_pred):
    y_true -= 5
    return xp.mean(y_true)


@pytest.mark.parametrize("metric", [writes_outputs, writes_targets])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_what_a_metric_writes_into_its_arguments_stays_with_it(metric, run_eagerly, same):
    y, weights, values = ROWS.astype("float32"), [], []
    for metrics in ([], [metric, apart]):
        model = model_of(Dense(3), loss="mse", metrics=metrics, run_eagerly=run_eagerly)
        history = model.fit(X, y, batch_size=5, epochs=3, verbose=0).history
        weights.append(model.get_weights())
        values.append((history["loss"], model.evaluate(X, y, verbose=0, return_dict=True)["loss"]))
    same(*weights)
    assert values[0] == values[1]
    np.testing.assert_array_equal(y, ROWS)
    assert model.evaluate(X, y, verbose=0)[2] == pytest.approx(abs(model.predict(X) - ROWS).mean(), rel=1e-5)


def test_what_a_loss_writes_into_the_targets_stays_with_it():
    def loss(y_true, y_pred):
        y_true[...] = 0
        return cg.mean((y_true - y_pred) ** 2)

    y = ROWS.astype("float32")
    model = model_of(Dense(3), loss=loss, metrics=[apart])
    model.fit(X, y, verbose=0)
    p = model.predict(X)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), [(p**2).mean(), abs(p - ROWS).mean()], rtol=1e-5)
    np.testing.assert_array_equal(y, ROWS)


@pytest.mark.parametrize("swapped", [lambda y_pred, y_true: 0, lambda p, y_true, y_pred=None: 0])
def test_arguments_in_another_order_are_refused(swapped):
    with pytest.raises(UsageError, match=r"a loss of your own is a function \(y_true, y_pred\)"):
        model_of(Dense(3), loss=swapped)


def test_a_metric_as_keras_has_it_takes_tensors():
    def furthest(y_true, y_pred, power=1.0):
        return cg.max(cg.absolute(y_true - y_pred) ** power, axis=-1)

    model = model_of(Dense(3), loss="mse", metrics=[furthest])
    expected = abs(model.predict(X) - ROWS).max(axis=1).mean()
    assert model.evaluate(X, ROWS, verbose=0)[1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("primitive", "y"),
    [
        (cg.mean_squared_error, ROWS),
        (cg.categorical_cross_entropy, ROWS),
        (cg.sparse_categorical_cross_entropy, LABELS),
        (cg.binary_cross_entropy, ROWS),
    ],
)
def test_a_primitive_as_a_loss_takes_its_operands_as_it_names_them(primitive, y):
    model = model_of(Dense(3), loss=primitive)
    expected = primitive(model.predict(X), y.astype("int64" if y is LABELS else "float32")).item()
    assert model.evaluate(X, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UsageError, match="'matmul' is no loss"):
        model_of(Dense(3), loss=cg.matmul)


# Which metric fits

CLASSES, SPARSE, BINARY = "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy"
LOGITS = losses.BinaryCrossentropy(from_logits=True)
# the last layer, the loss, the targets, a metric that does not fit them, and the one that does
MISFITS = {
    "one-hot for labels": (Dense(3, "softmax"), SPARSE, LABELS, "categorical_accuracy", "sparse_categorical_accuracy"),
    "labels for one-hot": (Dense(3, "softmax"), CLASSES, ROWS, "sparse_categorical_accuracy", "categorical_accuracy"),
    "binary for labels": (Dense(3, "softmax"), SPARSE, LABELS, "binary_accuracy", "sparse_categorical_accuracy"),
    "binary for one-hot": (Dense(3, "softmax"), CLASSES, ROWS, "binary_accuracy", "categorical_accuracy"),
    "binary beside softmax": (Dense(3, "softmax"), BINARY, ROWS, "accuracy", "categorical_accuracy"),
    "labels for bits": (Dense(1, "sigmoid"), BINARY, BITS, "sparse_categorical_accuracy", "binary_accuracy"),
    "one-hot for bits": (Dense(1, "sigmoid"), BINARY, BITS, "categorical_accuracy", "binary_accuracy"),
    "values for labels": (Dense(3, "softmax"), SPARSE, LABELS, "mse", "sparse_categorical_accuracy"),
    "one-hot, own loss": (Dense(3), lambda t, p: cg.sparse_categorical_cross_entropy(p, t), LABELS,
                          "categorical_accuracy", "sparse_categorical_accuracy"),
    "values, own loss": (Dense(3), lambda t, p: cg.sparse_categorical_cross_entropy(p, t), LABELS, "mae",
                         "sparse_categorical_accuracy"),
    "labels, own loss": (Dense(3), lambda t, p: cg.categorical_cross_entropy(p, t), ROWS,
                         "sparse_categorical_accuracy", "categorical_accuracy"),
    "one-hot for bits, own loss": (Dense(1, "sigmoid"), squares, BITS, "categorical_accuracy", "binary_accuracy"),
}  # fmt: skip


def right(name, y, p):
    """An accuracy by its definition."""
    if name == "binary_accuracy":
        return ((y > 0.5) == (p > 0.5)).mean()
    return ((y if name.startswith("sparse") else y.argmax(axis=-1)) == p.argmax(axis=-1)).mean()


@pytest.mark.parametrize("name", MISFITS)
def test_a_metric_that_does_not_fit_is_refused_and_the_right_one_is_named(name):
    last, loss, y, wrong, fitting = MISFITS[name]
    with pytest.raises((UsageError, ShapeError), match=f"use .*'{fitting}'"):
        model_of(last, loss=loss, metrics=[wrong]).fit(X, y, verbose=0)
    model = model_of(last, loss=loss, metrics=[fitting])
    assert model.evaluate(X, y, verbose=0)[1] == pytest.approx(right(fitting, y, model.predict(X)))


@pytest.mark.parametrize("metric", ["binary_accuracy", "accuracy", METRICS["binary_accuracy"]()])
@pytest.mark.parametrize("width", [1, 3])
def test_binary_accuracy_of_logits_is_that_of_their_probabilities(metric, width):
    y = BITS if width == 1 else ROWS
    model = model_of(Dense(width), loss=LOGITS, metrics=[metric])
    z = model.predict(X)
    assert ((z > 0) != (z > 0.5)).any()
    assert model.evaluate(X, y, verbose=0)[1] == pytest.approx(((y > 0.5) == (z > 0)).mean())


@pytest.mark.parametrize("after", [[], [Activation("linear")], [Flatten(), Reshape((1,))]])
@pytest.mark.parametrize("loss", [BINARY, lambda t, p: cg.binary_cross_entropy(p, t)])
def test_binary_accuracy_of_what_may_be_logits_is_refused(after, loss):
    with pytest.raises(
        UsageError, match=r"logits: let it apply 'sigmoid', or use BinaryCrossentropy\(from_logits=True"
    ):
        model_of(Dense(1), *after, loss=loss, metrics=["binary_accuracy"]).evaluate(X, BITS, verbose=0)


def test_rows_that_name_no_single_class_have_no_categorical_accuracy():
    rows = ROWS.copy()
    rows[7] = [1, 1, 0]
    with pytest.raises(DataError, match="one-hot rows, each with one greatest element; y in row 7"):
        model_of(Dense(3, "sigmoid"), loss=BINARY, metrics=["categorical_accuracy"]).evaluate(X, rows, verbose=0)


def test_rows_of_several_classes_have_no_accuracy():
    rows = ROWS.copy()
    rows[7] = [1, 1, 0]
    with pytest.raises(DataError, match=r"one-hot rows, .* y in row 7"):
        model_of(Dense(3, "softmax"), loss=CLASSES, metrics=["accuracy"]).evaluate(X, rows, verbose=0)
    rows[7] = [0.5, 0.5, 0]
    model_of(Dense(3, "softmax"), loss=CLASSES, metrics=["accuracy"]).evaluate(X, rows, verbose=0)


def test_binary_accuracy_takes_targets_of_0_and_1():
    with pytest.raises(DataError, match="targets of 0 and 1; y in row 0"):
        model_of(Dense(1), loss="mse", metrics=["binary_accuracy"]).evaluate(X, BITS * 2.0 - 1, verbose=0)


@pytest.mark.parametrize("loss", ["mse", "mae", CLASSES, SPARSE, BINARY])
@pytest.mark.parametrize("metric", [*FITTING.values(), "mean_squared_error", "mean_absolute_error", "accuracy"])
@pytest.mark.parametrize(("width", "ending"), [(1, "sigmoid"), (3, "sigmoid"), (3, "softmax"), (3, None), (1, None)])
def test_each_metric_is_right_or_refused(loss, metric, width, ending):
    """Every loss beside every metric and kind of output: the value by its definition, or an error of ours."""
    y = LABELS if make_loss(loss).targets == "labels" else BITS if width == 1 else ROWS
    try:
        model = model_of(Dense(width, ending), loss=loss, metrics=[metric])
        value = model.evaluate(X, y, verbose=0)[1]
    except ChalkgradError:
        return
    p, y = model.predict(X), y if make_loss(loss).targets == "labels" else y.astype("float64")
    name = FITTING[make_loss(loss).targets] if metric == "accuracy" else metric
    differences = {"mean_squared_error": lambda: (y - p) ** 2, "mean_absolute_error": lambda: abs(y - p)}
    expected = differences[name]().mean() if name in differences else right(name, y, p)
    assert value == pytest.approx(expected, rel=1e-5)


# Losses called by hand


def test_labels_beside_probabilities_are_checked_in_a_loss_called_by_hand():
    loss, p = losses.SparseCategoricalCrossentropy(), np.full((3, 2), 0.5)
    for labels in ([[0], [1], [1]], [0.0, 1.0, 1.0], [0, 1]):
        with pytest.raises(ShapeError, match="labels"):
            loss(labels, p)
    assert loss([0, 1, 1], p).item() == pytest.approx(np.log(2))


@pytest.mark.cpu_only("values on a GPU are not waited for")
def test_a_label_beyond_the_classes_is_named_in_a_loss_called_by_hand():
    with pytest.raises(DataError, match="label 5 in row 2"):
        losses.SparseCategoricalCrossentropy()([0, 1, 5], np.full((3, 2), 0.5))


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "binary_crossentropy"])
def test_losses_take_lists(name):
    loss = make_loss(name)
    expected = loss(cg.tensor([0.0, 1.0]), cg.tensor([0.25, 0.5])).item()
    assert loss([0.0, 1.0], [0.25, 0.5]).item() == expected
    assert loss(np.array([0, 1], "uint8"), np.array([0.25, 0.5])).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.25, 0.999])
@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32"])
def test_smoothed_labels_of_any_dtype(smoothing, dtype):
    p = np.array([[0.7, 0.2, 0.1]])
    t = np.array([[0, 1, 0]])
    expected = -((t * (1 - smoothing) + smoothing / 3) * np.log(p)).sum()
    loss = losses.CategoricalCrossentropy(label_smoothing=smoothing)
    assert loss(t.astype(dtype), p).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", [1, -0.1, np.nan, True, "0.1", None])
def test_smoothing_that_is_none(smoothing):
    with pytest.raises(UsageError, match=r"\[0, 1\)"):
        losses.CategoricalCrossentropy(label_smoothing=smoothing)
