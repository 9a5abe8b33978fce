"""What `fit` and `evaluate` mean."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential
from chalkgrad.nn.callbacks import Callback
from chalkgrad.nn.layers import Dense
from chalkgrad.optim import GradientDescent, Momentum


class Seen(Callback):
    """Notes what a training tells."""

    def __init__(self):
        self.events, self.losses = [], []

    def on_train_begin(self):
        self.events.append("begin")

    def on_epoch_begin(self, epoch):
        self.events.append(("epoch", epoch))

    def on_train_batch_end(self, batch, logs):
        self.losses.append(logs["loss"])

    def on_epoch_end(self, epoch, logs):
        self.events.append(("end", epoch, tuple(logs)))

    def on_train_end(self):
        self.events.append("end")


def linear_data(n=7):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 3)), rng.standard_normal((n, 2))


def descent(x, y, w, b, order, batch_size, rate):
    """One epoch of gradient descent on the mean squared error, by NumPy: the running loss; w and b in place."""
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        error = x[rows] @ w + b - y[rows]
        total += (error**2).mean() * len(rows)
        g = 2 * error / error.size
        w -= rate * x[rows].T @ g
        b -= rate * g.sum(axis=0)
    return total / len(order)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_without_shuffle_the_samples_come_in_order_and_the_short_batch_counts_as_it_is(batch_size):
    x, y = linear_data()
    model = Sequential([Dense(2, input_shape=(3,))], dtype="float64")
    model.compile(GradientDescent(0.1), "mse")
    model.build()
    w, b = model.get_weights()
    history = model.fit(x, y, batch_size=batch_size, epochs=3, shuffle=False, verbose=0).history
    expected = [descent(x, y, w, b, np.arange(7), batch_size, 0.1) for _ in range(3)]
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-10)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-10)


class Rows(cg.layers.Layer):
    """The identity, which notes what passes in training."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.passed = []

    def apply(self, weights, x, *, training, generator):
        if training:
            self.passed.append(x.numpy()[:, 0].copy())
        return x


def epochs_of(samples, **options):
    """The order of the samples in each epoch."""
    rows = Rows(input_shape=(1,))
    model = Sequential([rows, Dense(1)])
    model.compile("adam", "mse")
    x = np.arange(samples, dtype="float32")[:, None] / samples
    model.fit(x, x, batch_size=4, verbose=0, **options)
    numbers = np.rint(np.concatenate(rows.passed) * samples).astype(int)
    return numbers.reshape(options.get("epochs", 1), -1)


def test_each_epoch_takes_each_sample_once_in_an_order_of_its_own():
    first, second = epochs_of(30, epochs=2)
    assert sorted(first) == sorted(second) == list(range(30))
    assert list(first) != list(range(30))
    assert list(first) != list(second)


def test_the_seed_draws_the_order():
    np.testing.assert_array_equal(epochs_of(30, seed=1), epochs_of(30, seed=1))
    assert not np.array_equal(epochs_of(30, seed=1), epochs_of(30, seed=2))


def test_validation_split_takes_the_last_fraction_and_trains_on_the_rest():
    assert sorted(epochs_of(20, validation_split=0.25)[0]) == list(range(15))


def test_validation_split_is_validation_data_of_the_last_fraction(points, classifier, same):
    x, _, y = points
    split, given = classifier(), classifier()
    a = split.fit(x, y, epochs=2, validation_split=0.2, verbose=0).history
    b = given.fit(x[:40], y[:40], epochs=2, validation_data=(x[40:], y[40:]), verbose=0).history
    assert a == b
    same(split.get_weights(), given.get_weights())
    assert [a["val_loss"][-1], a["val_accuracy"][-1]] == split.evaluate(x[40:], y[40:], verbose=0)


def test_validation_data_comes_before_validation_split(points, classifier):
    x, _, y = points
    model = classifier()
    history = model.fit(x, y, validation_split=0.5, validation_data=(x[:9], y[:9]), verbose=0).history
    assert history["val_loss"] == [model.evaluate(x[:9], y[:9], verbose=0)[0]]


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(points, classifier, same):
    x, _, y = points
    runs = []
    for seed in (3, 3, 4):
        model = classifier(dropout=0.3)
        history = model.fit(x, y, epochs=3, batch_size=16, seed=seed, verbose=0)
        runs.append((model.get_weights(), history.history))
    same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not np.array_equal(runs[0][0][0], runs[2][0][0])


def test_the_seed_draws_dropout_too(points, classifier):
    x, _, y = points
    weights = []
    for seed in (1, 2):
        model = classifier(dropout=0.5)
        model.fit(x, y, batch_size=len(x), shuffle=False, seed=seed, verbose=0)
        weights.append(model.get_weights()[0])
    assert not np.array_equal(*weights)


def test_each_epoch_draws_a_dropout_of_its_own():
    rows = Rows()
    model = Sequential([cg.layers.Dropout(0.5, input_shape=(1,)), rows, Dense(1)])
    model.compile("adam", "mse")
    x = np.ones((60, 1), "float32")
    model.fit(x, x, batch_size=60, epochs=2, verbose=0)
    assert set(np.concatenate(rows.passed)) == {0, 2}
    assert not np.array_equal(*rows.passed)


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_a_training_taken_up_again_goes_on_to_the_last_bit(
    points, classifier, same, tmp_path, through_a_file, optimizer
):
    x, _, y = points
    options = {"batch_size": 16, "seed": 5, "verbose": 0, "validation_split": 0.2}
    whole, parts = (classifier(optimizer=optimizer, dropout=0.2) for _ in range(2))
    expected = whole.fit(x, y, epochs=5, **options)
    parts.fit(x, y, epochs=2, **options)
    if through_a_file:
        parts.save(tmp_path / "model")
        parts = Sequential.load(tmp_path / "model")
    history = parts.fit(x, y, epochs=5, initial_epoch=2, **options)
    same(parts.get_weights(), whole.get_weights())
    same(list(parts.optimizer.state.values()), list(whole.optimizer.state.values()))
    assert parts.optimizer.iterations == whole.optimizer.iterations == 5 * 3
    assert history.history == expected.history
    assert history.epoch == expected.epoch == [0, 1, 2, 3, 4]


def test_history_has_each_name_once_an_epoch(points, classifier):
    x, _, y = points
    history = classifier(metrics=["accuracy", "mse"]).fit(
        x, y, epochs=3, validation_split=0.2, evaluate_training=True, verbose=0
    )
    names = ["loss", "accuracy", "mse"]
    assert list(history.history) == names + [f"train_{n}" for n in names] + [f"val_{n}" for n in names]
    assert {len(values) for values in history.history.values()} == {3}
    assert history.epoch == [0, 1, 2]
    assert all(isinstance(v, float) for values in history.history.values() for v in values)


def test_a_second_fit_begins_a_new_history(points, classifier):
    x, _, y = points
    model = classifier()
    first = model.fit(x, y, epochs=2, verbose=0)
    assert model.fit(x, y, epochs=1, verbose=0).epoch == [0]
    assert first.epoch == [0, 1]


def test_history_stays_aligned_where_validation_began_later(points, classifier):
    x, _, y = points
    model = classifier()
    model.fit(x, y, epochs=2, verbose=0)
    late = model.fit(x, y, epochs=4, initial_epoch=2, validation_data=(x, y), verbose=0)
    assert np.isnan(late.history["val_loss"][:2]).all()
    assert late.before(3).history["val_loss"][-1] == late.history["val_loss"][2] > 0


@pytest.mark.parametrize("epochs", [0, 2])
def test_no_epochs_left_changes_nothing(points, classifier, same, epochs):
    x, _, y = points
    model = classifier()
    model.build()
    before = model.get_weights()
    assert model.fit(x, y, epochs=epochs, initial_epoch=2, verbose=0).history == {}
    same(model.get_weights(), before)


def test_evaluate_training_is_evaluate(points, classifier):
    x, _, y = points
    model = classifier(dropout=0.4)
    history = model.fit(x, y, batch_size=16, evaluate_training=True, verbose=0).history
    assert [history["train_loss"][0], history["train_accuracy"][0]] == model.evaluate(x, y, verbose=0)
    assert history["loss"] != history["train_loss"]


@pytest.mark.parametrize("batch_size", [1, 7, 49, 1000])
def test_evaluate_does_not_depend_on_the_batch_size(points, classifier, batch_size):
    x, _, y = points
    model = classifier(metrics=["accuracy", "mse"], dtype="float64")
    whole = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(model.evaluate(x, y, batch_size=batch_size, verbose=0), whole, rtol=1e-12)
    p = model.predict(x)
    assert whole[1] == pytest.approx((p.argmax(axis=1) == y.argmax(axis=1)).mean())
    np.testing.assert_allclose(whole[0], -(y * np.log(p)).sum(axis=1).mean(), rtol=1e-12)


def test_evaluate_changes_nothing_and_drops_nothing(points, classifier, same):
    x, _, y = points
    model = classifier(dropout=0.9)
    model.build()
    before = model.get_weights()
    assert model.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    same(model.get_weights(), before)
    assert all(w.grad is None for w in model.weights)


@pytest.mark.parametrize("what", ["evaluate", "predict"])
@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_sizes_that_are_none(points, classifier, what, batch_size):
    x, _, y = points
    with pytest.raises(cg.errors.UsageError, match="batch_size"):
        getattr(classifier(), what)(*((x, y) if what == "evaluate" else (x,)), batch_size=batch_size, verbose=0)


def test_return_types_are_keras_ones(points, classifier):
    x, _, y = points
    model = classifier()
    assert isinstance(model.fit(x, y, verbose=0), cg.History)
    results = model.evaluate(x, y, verbose=0)
    assert isinstance(results, list)
    assert [type(v) for v in results] == [float, float]
    assert model.evaluate(x, y, verbose=0, return_dict=True) == dict(zip(("loss", "accuracy"), results, strict=True))
    assert type(classifier(metrics=[]).evaluate(x, y, verbose=0)) is float
    predicted = model.predict(x)
    assert type(predicted) is np.ndarray
    assert predicted.flags.writeable
    assert (predicted.shape, predicted.dtype) == ((50, 3), np.float32)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-6)


def test_bytes_are_taken_as_numbers(digits, same):
    x = np.rint(digits[0][:100] * 255).astype("uint8")
    weights = []
    for images in (x, x.astype("float32"), x.astype("float64")):
        model = Sequential([cg.layers.Flatten(input_shape=(8, 8)), Dense(10, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images, digits[1][:100], verbose=0)
        weights.append(model.get_weights())
    same(weights[0], weights[1])
    same(weights[0], weights[2])


def test_lists_and_tensors_are_taken_too(points, classifier, same):
    x, _, y = points
    weights = []
    for convert in (np.asarray, lambda a: a.tolist(), cg.tensor):
        model = classifier()
        model.fit(convert(x), convert(y), verbose=0)
        weights.append(model.get_weights())
    same(weights[0], weights[1])
    same(weights[0], weights[2])


def test_the_logs_of_a_batch_are_running_means():
    x, y = linear_data()
    model = Sequential([Dense(2, input_shape=(3,))], dtype="float64")
    model.compile(GradientDescent(0.1), "mse")
    model.build()
    seen, before = Seen(), model.get_weights()
    history = model.fit(x, y, batch_size=3, shuffle=False, callbacks=[seen], verbose=0).history
    assert seen.losses[0] == pytest.approx(((x[:3] @ before[0] + before[1] - y[:3]) ** 2).mean(), rel=1e-12)
    assert seen.losses[-1] == history["loss"][0]
    assert len(seen.losses) == 3


def test_training_with_everything_learns(points, classifier):
    x, labels, _ = points
    model = classifier("sparse_categorical_crossentropy", optimizer=Momentum(0.5, nesterov=True, global_clipnorm=5.0))
    history = model.fit(x, labels, epochs=60, batch_size=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 4
    assert model.evaluate(x, labels, verbose=0)[1] > 0.95


# What is shown


def test_verbose_0_is_silent(points, classifier, capsys):
    x, _, y = points
    model = classifier()
    model.fit(x, y, epochs=2, validation_split=0.2, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [2, 1, "auto", True])
def test_a_line_an_epoch_where_there_is_no_terminal(points, classifier, capsys, monkeypatch, verbose):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    x, _, y = points
    history = classifier().fit(x, y, epochs=2, validation_split=0.2, evaluate_training=True, verbose=verbose).history
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2 · ")
    assert f"running means: loss {history['loss'][1]:.4f} accuracy" in lines[1]
    assert f"train_loss {history['train_loss'][1]:.4f}" in lines[1]
    assert f"val_accuracy {history['val_accuracy'][1]:.4f}" in lines[1]
    assert lines[1].count("running mean") == 1


def test_a_bar_on_a_terminal_and_a_line_for_each_epoch_done(points, classifier, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    x, _, y = points
    classifier().fit(x, y, epochs=2, verbose=1)
    shown = capsys.readouterr().out
    assert "epoch" in shown
    assert "running mean" in shown


def test_evaluate_prints_its_results(points, classifier, capsys):
    x, _, y = points
    loss, accuracy = classifier().evaluate(x, y)
    assert capsys.readouterr().out == f"loss {loss:.4f} · accuracy {accuracy:.4f}\n"


# When callbacks are told


def test_callbacks_are_told_in_order(points, classifier):
    x, _, y = points
    seen = Seen()
    classifier().fit(x, y, epochs=3, initial_epoch=1, validation_split=0.5, callbacks=[seen], verbose=0)
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert seen.events == ["begin", ("epoch", 1), ("end", 1, names), ("epoch", 2), ("end", 2, names), "end"]
    assert dict(seen.params) == {"epochs": 3, "steps": 1, "samples": 25, "verbose": 0}


def test_the_end_is_told_also_after_an_exception(points, classifier):
    class Failing(Callback):
        def on_epoch_end(self, epoch, logs):
            raise RuntimeError("out of paper")

    x, _, y = points
    first, last = Seen(), Seen()
    with pytest.raises(RuntimeError, match="out of paper"):
        classifier().fit(x, y, callbacks=[first, Failing(), last], verbose=0)
    assert first.events[-1] == last.events[-1] == "end"


def test_a_callback_that_did_not_begin_is_not_told_the_end(points, classifier):
    class Failing(Callback):
        def on_train_begin(self):
            raise RuntimeError("no chalk")

    x, _, y = points
    first, last = Seen(), Seen()
    with pytest.raises(RuntimeError, match="no chalk"):
        classifier().fit(x, y, callbacks=[first, Failing(), last], verbose=0)
    assert first.events == ["begin", "end"]
    assert last.events == []
