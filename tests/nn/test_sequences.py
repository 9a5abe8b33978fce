"""Models of sequences: masks along the graph, both directions, steps by themselves; beside Keras with equal weights."""

import os
from pathlib import Path

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.errors import ShapeError, UsageError

EXAMPLE = Path(__file__).parents[2] / "examples" / "text.py"
IDS = np.array([[3, 5, 2, 7, 1], [4, 4, 6, 0, 0], [2, 0, 0, 0, 0], [1, 8, 9, 3, 0]])


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def embedded(keras, *more):
    return keras.Sequential([keras.Input((5,)), keras.layers.Embedding(10, 3, mask_zero=True), *more])


def both_ends(keras):
    i = keras.Input((None,))
    sequence, h = keras.layers.GRU(3, return_sequences=True, return_state=True)(keras.layers.Embedding(10, 3)(i))
    return keras.Model(i, keras.layers.GRU(3)(sequence, initial_state=h))


MODELS = {
    "stacked": lambda k: embedded(k, k.layers.LSTM(4, return_sequences=True), k.layers.Dropout(0.5), k.layers.GRU(3)),
    "concat": lambda k: embedded(k, k.layers.Bidirectional(k.layers.LSTM(3)), k.layers.Dense(2)),
    "each step": lambda k: embedded(
        k, k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True), merge_mode="ave"),
        k.layers.TimeDistributed(k.layers.Dense(4, activation="relu")), k.layers.GlobalAveragePooling1D(),
    ),
    "masking": lambda k: k.Sequential([k.Input((5, 1)), k.layers.Masking(), k.layers.SimpleRNN(3)]),
    "states": both_ends,
}  # fmt: skip


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_sequences_gives_what_keras_gives(keras, name):
    theirs, ours = MODELS[name](keras), MODELS[name](cg)
    x = IDS[..., None].astype("float32") if name == "masking" else IDS
    expected = np.asarray(theirs(x))
    assert [w.shape for w in theirs.get_weights()] == [w.shape for w in ours.get_weights()]
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_the_example_is_a_program_of_keras_with_other_imports(keras):
    source, spaces = EXAMPLE.read_text("utf-8"), []
    for text in (source, source.replace("chalkgrad as keras", "keras").replace("from chalkgrad", "from keras")):
        spaces.append({"__name__": "text"})
        exec(text, spaces[-1])
    models, histories = [space["network"]() for space in spaces], []
    x, y = spaces[0]["reviews"](96, 0)
    np.testing.assert_array_equal(x, spaces[1]["reviews"](96, 0)[0])
    models[0].set_weights(models[1].get_weights())
    for model in models:
        trained = model.fit(x, y, batch_size=32, epochs=2, shuffle=False, validation_data=(x, y), verbose=0)
        histories.append(trained.history)
    for key, values in histories[1].items():
        np.testing.assert_allclose(histories[0][key], values, rtol=2e-4, err_msg=key)  # Adam's ε stands elsewhere


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_both_directions_are_the_layer_and_it_from_the_end(mode):
    layer = layers.Bidirectional(layers.GRU(2, return_sequences=True, return_state=True), merge_mode=mode)
    layer.build((4, 3), np.random.default_rng(0), "float64")
    x = cg.tensor(np.random.default_rng(1).normal(size=(2, 4, 3)))
    forward, ahead = layer.forward_layer(x)
    backward, behind = layer.backward_layer(x)
    backward = backward.numpy()[:, ::-1]
    *merged, first, second = layer(x)
    np.testing.assert_array_equal([first, second], [ahead, behind])
    forward = forward.numpy()
    expected = {
        "concat": [np.concatenate([forward, backward], axis=-1)], "sum": [forward + backward],
        "mul": [forward * backward], "ave": [(forward + backward) / 2], None: [forward, backward],
    }[mode]  # fmt: skip
    for a, b in zip(merged, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    assert [m.shape[1:] for m in layer(x)] == layer.output_shape((4, 3))


@pytest.mark.parametrize("axis", [-1, 1])
def test_steps_that_do_not_count_are_in_no_statistics(axis):
    x = np.random.default_rng(1).normal(size=(2, 4, 3))
    counts = np.array([[1, 1, 0, 0], [1, 0, 1, 1]], bool)
    layer = layers.BatchNormalization(axis=axis, momentum=0.0)
    y = layer(cg.tensor(x), mask=cg.tensor(counts), training=True).numpy()
    rest = (0, 1) if axis == -1 else (0, 2)
    kept = np.where(counts[..., None], x, np.nan)
    mean, variance = np.nanmean(kept, rest, keepdims=True), np.nanvar(kept, rest, keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-12)
    for found, expected in zip(layer.state.values(), (mean, variance), strict=True):
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-12)


def test_both_ways_give_0_where_nothing_counts():
    layer = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    counts = np.array([[1, 0, 1, 0], [1, 1, 1, 1]], bool)
    x = np.random.default_rng(1).normal(size=(2, 4, 3)).astype("float32")
    y = layer(x, mask=cg.tensor(counts)).numpy()
    assert (y[~counts] == 0).all()
    assert (y[counts] != 0).all()
    np.testing.assert_allclose(y[:1, ::2], layer(x[:1, ::2]).numpy(), atol=1e-6)


def test_wrapped_layers_are_saved_and_loaded(tmp_path):
    model = MODELS["each step"](cg)
    model.compile("adam", "mse")
    model.fit(IDS, np.ones((4, 4)), verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = cg.Sequential.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(IDS), model.predict(IDS))
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]


def test_a_mask_ends_at_what_does_not_know_of_it():
    outputs = []
    for masked in (True, False):
        first = layers.Embedding(10, 3, mask_zero=masked)
        model = cg.Sequential([cg.Input((5,)), first, layers.Flatten(), layers.Reshape((5, 3)), layers.LSTM(2)], seed=3)
        outputs.append(model.predict(IDS))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Bidirectional(layers.Dense(3)), UsageError, "recurrent layer"),
        (lambda: layers.Bidirectional(layers.LSTM(3), merge_mode="max"), UsageError, "merge_mode"),
        (lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3)), UsageError, "go_backwards"),
        (lambda: layers.TimeDistributed("dense"), UsageError, "takes a layer"),
        (lambda: layers.TimeDistributed(layers.Dense(3)).output_shape((3,)), ShapeError, "steps"),
    ],
)  # fmt: skip
def test_what_wrappers_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_masks_and_states_may_be_lists():
    x, layer = np.ones((1, 3, 2), "float32"), layers.LSTM(2)
    counts, state = [[1, 1, 0]], [[0.5, 0.0]]
    found = layer(x, mask=counts, initial_state=[state, state])
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, layer(x[:, :2], initial_state=[cg.tensor(state), np.array(state)]))
    with pytest.raises(ShapeError, match="initial_state has shapes"):
        layer(x, initial_state=[0, 0])


def test_a_mask_of_another_shape_names_the_layer():
    layer = layers.LSTM(2)
    layer.build((5, 3), np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"lstm: a mask of shape \(2, 4\)"):
        layer(np.ones((2, 5, 3), "float32"), mask=cg.tensor(np.ones((2, 4), bool)))
