"""Batch and layer normalisation as layers: training, moving statistics, what is learned and what is not, files."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn.callbacks import EarlyStopping
from chalkgrad.nn.layers import BatchNormalization, Dense, LayerNormalization


def batch(*shape, seed=0, dtype="float64"):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 3 + 2).astype(dtype)


def data(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((rows, 4)) * 5 + 3).astype("float32")
    return x, np.eye(3, dtype="float32")[np.argmax(x[:, :3], axis=1)]


def net(**options):
    return Sequential(
        [
            Dense(6, input_shape=(4,), use_bias=False),
            BatchNormalization(momentum=0.8),
            layers.Activation("relu"),
            layers.Dropout(0.2),
            LayerNormalization(),
            Dense(3, "softmax"),
        ],
        **options,
    )


def trained(eagerly=False, epochs=4, **options):
    model = net(**options)
    model.compile("adam", "categorical_crossentropy", ["accuracy"], run_eagerly=eagerly)
    x, y = data()
    history = model.fit(x, y, batch_size=8, epochs=epochs, validation_split=0.2, verbose=0).history
    return model, history


# Values


def test_training_normalises_the_batch_and_moves_the_statistics():
    layer, x = BatchNormalization(momentum=0.9, epsilon=0.01), batch(16, 3)
    y = layer(x, training=True).numpy()
    mean, variance = x.mean(0), x.var(0)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 0.01), rtol=1e-10)
    np.testing.assert_allclose(layer.state["moving_mean"], 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(layer.state["moving_variance"], 0.9 + 0.1 * variance, rtol=1e-12)
    layer(x, training=True)
    np.testing.assert_allclose(layer.state["moving_mean"], 0.19 * mean, rtol=1e-12)


def test_inference_uses_the_moving_statistics_and_leaves_them():
    layer, x = BatchNormalization(), batch(5, 3)
    layer.build((3,), np.random.default_rng(0), "float64")
    given = {"gamma": [2.0, 1.0, -1.0], "beta": [0.0, 1.0, 2.0], "moving_mean": [1.0, 2.0, 3.0]}
    given["moving_variance"] = [4.0, 1.0, 0.25]
    for name, w in layer.variables.items():
        w.assign(np.array(given[name]))
    gamma, beta, mean, variance = (np.array(given[name]) for name in layer.variables)
    expected = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
    for rows in (5, 1):  # one sample is enough here
        np.testing.assert_allclose(layer(x[:rows]), expected[:rows], rtol=1e-12)
    np.testing.assert_array_equal(layer.state["moving_mean"], mean)


def test_many_steps_move_the_statistics_to_those_of_the_data():
    layer, x = BatchNormalization(momentum=0.5), batch(64, 2)
    for _ in range(60):
        layer(x, training=True)
    np.testing.assert_allclose(layer(x), layer(x, training=True).numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("axis", [1, -3, 2, 3, -1])
def test_the_axis_of_the_channels(axis):
    layer, x = BatchNormalization(axis=axis), batch(3, 2, 4, 5)
    y = layer(x, training=True)
    others = tuple(a for a in range(4) if a != axis % 4)
    expected = (x - x.mean(others, keepdims=True)) / np.sqrt(x.var(others, keepdims=True) + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)
    assert layer.state["moving_mean"].shape == layer.weights["gamma"].shape == (x.shape[axis],)
    for name, value in (("moving_mean", x.mean(others)), ("moving_variance", x.var(others))):
        layer.state[name].assign(value)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2], (-2, -1)])
def test_layer_normalisation_along_its_axes(axis):
    layer, x = LayerNormalization(axis=axis), batch(3, 4, 5)
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    y = layer(x)
    expected = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(y, layer(x, training=True).numpy())
    assert layer.weights["gamma"].shape == tuple(np.atleast_1d(np.array(x.shape)[np.array(axes)]))


@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("kind", [BatchNormalization, LayerNormalization])
def test_without_shift_or_scale(kind, center, scale):
    layer, x = kind(center=center, scale=scale), batch(6, 3)
    whole = kind()
    np.testing.assert_allclose(layer(x, training=True), whole(x, training=True).numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer(x), whole(x).numpy(), rtol=1e-12)
    assert list(layer.weights) == ["gamma"] * scale + ["beta"] * center


# In a model


def test_captured_training_is_that_on_the_tape_to_the_bit(same):
    (captured, found), (eager, expected) = trained(), trained(eagerly=True)
    assert found == expected
    same(captured.get_weights(), eager.get_weights())
    same([captured.optimizer.state[k] for k in captured.optimizer.state], list(eager.optimizer.state.values()))
    x, y = data(seed=1)
    assert captured.evaluate(x, y, verbose=0) == eager.evaluate(x, y, verbose=0)
    np.testing.assert_array_equal(captured.predict(x), eager.predict(x))
    assert found["loss"][-1] != found["loss"][0]


def test_the_training_step_is_replayed_and_computes_the_statistics_once(device):
    texts = []

    class Told(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            texts.extend(step.explain() for step in self.model.recorded_steps if "_step" in step.__name__)

    model = Sequential([BatchNormalization(input_shape=(4,)), Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy", jit_compile=False)
    model.fit(*data(rows=80), batch_size=8, epochs=3, verbose=0, callbacks=[Told()])
    assert "replayed" in texts[-1], texts[-1]
    # of the statistics, and of the gradients of γ and β: products on a CPU, with those of Dense; else launches of ours
    if device == "cpu":
        assert texts[-1].count("matmul") - 3 == 2 + 2, texts[-1]
    else:
        assert [texts[-1].count(f"{name}(") for name in ("channel_moments", "channel_slopes")] == [1, 1], texts[-1]


def test_evaluation_and_prediction_change_nothing(same):
    model, _ = trained()
    before = model.get_weights()
    x, y = data(seed=2)
    first = [model.evaluate(x, y, batch_size=7, verbose=0) for _ in range(3)]
    model.predict(x)
    same(model.get_weights(), before)
    assert first[0] == first[1] == first[2]


def test_recorded_prediction_follows_the_statistics():
    model, _ = trained()
    x, y = data(seed=3)
    one = model.predict(x)
    model.fit(x, y, epochs=2, batch_size=20, verbose=0)
    assert not np.array_equal(model.predict(x), one)
    np.testing.assert_allclose(model.predict(x), model(x).numpy(), rtol=1e-5, atol=1e-6)


def test_only_what_is_learned_lies_in_the_flat_buffer():
    model = net()
    model.build()
    names = [w.name.partition("/")[2] for w in model.weights]
    moving = ["moving_mean", "moving_variance"]
    assert names == ["kernel", "gamma", "beta", *moving, "gamma", "beta", "kernel", "bias"]
    assert [w.name.partition("/")[2] for w in model.non_trainable_weights] == moving
    assert model.flat.data.size == model.count_params() - 12 == sum(w.size for w in model.trainable_weights)
    assert not any(w.requires_grad for w in model.non_trainable_weights)


def test_weights_go_out_and_in_in_kerass_order(same):
    layer = BatchNormalization(input_shape=(3,))
    model = Sequential([layer, Dense(2)])
    model.build()
    values = [np.full(3, n, "float32") for n in range(4)] + [np.ones((3, 2), "float32"), np.ones(2, "float32")]
    model.set_weights(values)
    same(model.get_weights(), values)
    assert [float(w.numpy()[0]) for w in (*layer.weights.values(), *layer.state.values())] == [0, 1, 2, 3]


def test_the_summary_tells_trainable_from_non_trainable():
    model = Sequential([Dense(64, input_shape=(10,)), BatchNormalization(), Dense(10)])
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for part in (
        "batch_normalization (BatchNormalization)",
        "256",
        "1,610 parameters",
        "1,482 trainable",
        "128 non-tr",
    ):
        assert part in text
    assert model.count_params() == 1610


@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
def test_the_model_file_holds_the_statistics(tmp_path, same, optimizer):
    model = net()
    x, y = data()
    model.compile(optimizer, "categorical_crossentropy", ["accuracy"])
    model.fit(x, y, batch_size=10, epochs=3, verbose=0)
    model.save(tmp_path / "model")
    again = Sequential.load(tmp_path / "model")
    same(again.get_weights(), model.get_weights())
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]
    for other in (model, again):
        other.fit(x, y, batch_size=10, epochs=5, initial_epoch=3, verbose=0)
    same(again.get_weights(), model.get_weights())
    fresh = net()
    fresh.load_weights(tmp_path / "model")
    assert not np.array_equal(fresh.get_weights()[3], np.zeros(6))


def test_the_best_epochs_statistics_come_back(same):
    x, y = data()
    model = net()
    model.compile(cg.optimizers.GradientDescent(2.0), "categorical_crossentropy")
    kept = []

    class Keeping(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            kept.append((logs["val_loss"], self.model.get_weights()))

    stop = EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    model.fit(x, y, batch_size=8, epochs=10, validation_data=(x, y), verbose=0, callbacks=[Keeping(), stop])
    same(model.get_weights(), min(kept, key=lambda pair: pair[0])[1])


def test_captured_functions_of_ones_own_move_the_statistics():
    layer, x = BatchNormalization(momentum=0.5), cg.tensor(batch(8, 3))
    other = BatchNormalization(momentum=0.5)
    for one in (layer, other):
        one.build((3,), np.random.default_rng(0), "float64")

    @cg.capture
    def step(x):
        return layer(x, training=True).detach()

    for _ in range(5):
        np.testing.assert_array_equal(step(x).numpy(), other(x, training=True).numpy())
    np.testing.assert_array_equal(layer.state["moving_mean"].numpy(), other.state["moving_mean"].numpy())


# What is refused


def test_a_single_sample_left_over_trains(same):
    model = net()
    model.compile("adam", "categorical_crossentropy")
    x, y = data(rows=17)
    assert np.isfinite(model.fit(x, y, batch_size=8, verbose=0).history["loss"]).all()
    assert model.optimizer.iterations == 3
    layer = BatchNormalization(momentum=0.5)
    same([layer(np.ones((1, 3)), training=True).numpy()], [np.zeros((1, 3))])
    same([layer.state[name].numpy() for name in ("moving_mean", "moving_variance")], [np.full(3, 0.5)] * 2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: BatchNormalization(momentum=1.5), r"momentum=1.5\): it lies in \[0, 1\]"),
        (lambda: BatchNormalization(epsilon=0), r"BatchNormalization\(epsilon=0\): it lies in \(0, ∞\)"),
        (lambda: LayerNormalization(epsilon=-1), r"LayerNormalization\(epsilon=-1\): it lies in \(0, ∞\)"),
        (lambda: BatchNormalization(axis=1.5), r"axis=1.5\): it is an axis of the batch by number"),
        (lambda: BatchNormalization(axis=(1, 2)), r"axis=\(1, 2\)\): it is one axis, that of the channels"),
        (lambda: LayerNormalization(axis=()), r"axis=\(\)\): it is an axis of the batch"),
        (lambda: BatchNormalization(gamma_initializer="one"), "unknown initializer 'one': did you mean 'ones'"),
    ],
)
def test_arguments_that_are_none(make, text):
    with pytest.raises(UsageError, match=text):
        make()


@pytest.mark.parametrize("axis", [0, 3, -4, (1, 1), (0, 1)])
def test_axes_that_are_none_of_the_batch(axis):
    layer = LayerNormalization(axis=axis)
    with pytest.raises(ShapeError, match=r"layer_normalization: .* \(batch, 2, 3\): axis is one of 1 … 2"):
        layer(np.ones((4, 2, 3)))
