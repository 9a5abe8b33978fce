"""Models that are graphs: inputs, calls of layers, outputs; layers and models of one's own."""

import copy
from xml.etree import ElementTree

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Input, Model, Sequential, layers
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn.layers import LAYERS, Dense

X, Y = (np.random.default_rng(0).normal(size=(48, n)).astype("float32") for n in (6, 2))
MERGES = {
    name: kind
    for name, kind in LAYERS.items()
    if kind.takes_several is True and kind.__module__.startswith("chalkgrad.")
}


def functional(**options):
    x = Input((6,))
    h = Dense(5, activation="tanh")(x)
    return Model(x, Dense(2)(h), **options)


def trained(model, **options):
    model.compile("adam", "mse")
    return model.fit(X, Y, batch_size=16, epochs=4, verbose=0, **options).history["loss"]


def test_a_chain_is_the_sequential_model_to_the_last_bit():
    chain = Sequential([Input((6,)), Dense(5, activation="tanh"), Dense(2)])
    assert trained(functional(seed=3)) != trained(chain)
    chain = Sequential([Input((6,)), Dense(5, activation="tanh"), Dense(2)], seed=3)
    assert trained(functional(seed=3)) == trained(chain)


def test_a_shared_layer_is_one_layer(same):
    a, b, dense = Input((3,), name="a"), Input((3,), name="b"), Dense(4, name="shared")
    model = Model([a, b], layers.Subtract()([dense(a), dense(b)]))
    assert [layer.name for layer in model.layers] == ["a", "b", "shared", "subtract"]
    assert len(model.get_weights()) == 2
    expected = (X[:, :3] - X[:, 3:]) @ model.get_weights()[0]
    np.testing.assert_allclose(model([X[:, :3], X[:, 3:]]).numpy(), expected, atol=1e-5)
    same(model({"b": X[:, 3:], "a": X[:, :3]}), model([X[:, :3], X[:, 3:]]))
    assert (model.input_shape, model.output_shape) == ([(None, 3), (None, 3)], (None, 4))


def test_several_outputs():
    x = Input((6,))
    h = Dense(4)(x)
    model = Model(x, [Dense(1)(h), Dense(3, activation="softmax")(h)])
    assert [y.shape for y in model(X)] == [(48, 1), (48, 3)]
    assert model.output_shape == [(None, 1), (None, 3)]


@pytest.mark.parametrize("name", MERGES)
def test_what_a_merge_promises(name):
    layer = MERGES[name](**({"axes": 1} if name == "Dot" else {}))
    values = [X.reshape(16, 6, 3), Y.reshape(16, 6, 1)[:, :, [0] * 3]][: layer.count or 2]
    symbol = layer([Input((6, 3)), Input((6, 3))])
    assert layer(values).shape == (16, *symbol.shape[1:])
    with pytest.raises(ShapeError, match=rf"{layer.name}: .*\(6, 3\)|list of two"):
        layer([Input((6, 3)), Input((5, 2))] if name != "Concatenate" else [Input((6, 3)), Input((5, 2, 1))])


def test_a_model_is_a_layer_of_another_with_the_same_weights(same):
    base = functional()
    model = Sequential([base, Dense(3)])
    assert model.layers[0] is base
    assert len(model.get_weights()) == 6
    base.trainable = False
    before = base.get_weights()
    model.compile("sgd", "mse")
    model.fit(X, np.ones((48, 3)), verbose=0)
    same(base.get_weights(), before)
    base.trainable = True
    model.fit(X, np.ones((48, 3)), verbose=0)
    assert not np.array_equal(base.get_weights()[0], before[0])
    same(base.predict(X), model.layers[0](X))


def test_a_model_of_some_of_the_layers_has_their_weights(same):
    for whole in (functional(), Sequential([Dense(5, activation="tanh", input_shape=(6,)), Dense(2)])):
        part = Model(whole.inputs, whole.layers[-2].output)
        trained(whole)
        w, b, *_ = whole.get_weights()
        np.testing.assert_allclose(part.predict(X), np.tanh(X @ w + b), atol=1e-6)


def alternating(eager, end):
    """Two models that share layers, trained in turns: one that has the other's first layers, or its last ones."""
    whole = functional()
    other = Model(whole.inputs, whole.layers[1].output) if end else Sequential([whole, Dense(5)])
    for model in (whole, other):
        model.compile("adam", "mse", run_eagerly=eager)
    for _ in range(3):
        other.fit(X, np.zeros((48, 5)), 8, epochs=3, verbose=0)
        whole.fit(X, Y, 8, epochs=3, verbose=0)
    return whole, other


@pytest.mark.cpu_only("holds recorded steps to the tape's bits")
@pytest.mark.parametrize("end", [True, False])
def test_two_models_that_train_the_same_layers_in_turns_both_see_it(end, same):
    whole, other = alternating(False, end)
    shared = [w for w in whole.weights if any(w is each for each in other.weights)]
    assert len(shared) == (2 if end else 4)
    same([w.numpy() for w in other.weights], [w.numpy() for w in alternating(True, end)[1].weights])
    assert np.shares_memory(whole.flat.data, other.flat.data)


def test_a_copy_is_a_model_by_itself(same):
    model = functional()
    model.build()
    other = copy.deepcopy(model)
    other.set_weights([w * 0 for w in other.get_weights()])
    assert model.get_weights()[0].any()
    assert other.layers[-1].output.shape == (None, 2)
    same(other.predict(X), np.zeros((48, 2)))


class Scale(layers.Layer):
    def __init__(self, units=2, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="he_normal", name="w")
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

    def call(self, x, training=False):
        if training:
            self.seen.assign(self.seen + 1)
        return x @ self.w


class Block(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.steps = [Dense(4, activation="relu"), layers.Dropout(0.5)]

    def call(self, x):
        for step in self.steps:
            x = step(x)
        return x


class Net(Model):
    def __init__(self):
        super().__init__()
        self.block, self.scale = Block(), Scale()

    def call(self, x):
        return self.scale(self.block(x))


def test_a_layer_in_keras_way_learns_and_keeps_its_state():
    model = Sequential([Input((6,)), Scale()])
    losses = trained(model)
    assert losses[-1] < losses[0]
    assert float(model.layers[0].seen) == 12
    assert model.layers[0].weights["w"] is model.layers[0].w


def test_a_model_of_ones_own_hands_training_on(same):
    model = Net()
    assert trained(model) != trained(Net(), seed=5)
    assert [w.shape for w in model.get_weights()] == [(6, 4), (4,), (4, 2), ()]
    same(model.predict(X), model(X))
    assert not np.array_equal(model.predict(X), model(X, training=True, generator=np.random.default_rng(0)))


class Mean(Model):
    def __init__(self):
        super().__init__()
        self.table, self.last = layers.Embedding(7, 4), Dense(3)

    def call(self, ids):
        return self.last(self.table(ids).mean(axis=1))


def test_a_model_of_ones_own_takes_sequences_of_any_length():
    model = Mean()
    short = model(np.array([[1, 2, 3]]))
    assert model(np.array([[1, 2, 3, 1, 2, 3]])).numpy() == pytest.approx(short.numpy(), rel=1e-6)
    assert model.predict(np.ones((5, 9), int)).shape == (5, 3)
    model.compile("adam", "mse")
    model.fit(np.ones((4, 2), int), np.ones((4, 3)), verbose=0)
    model = Net()
    model(X)
    with pytest.raises(ShapeError, match=r"batches of shape \(batch, 6\), not \(2, 5\): affine cannot take a of shape"):
        model(np.ones((2, 5)))


def test_operators_of_symbols_are_layers(device):
    a, b = Input((6,)), Input((6,), name="b")
    model = Model([a, b], -((2 * a - b / 4) ** 2) + 1)
    np.testing.assert_allclose(model([X, X + 1]).numpy(), -((2 * X - (X + 1) / 4) ** 2) + 1, rtol=1e-5)
    again = Model.from_config(model.get_config(), device=device)
    np.testing.assert_array_equal(again([X, X + 1]).numpy(), model([X, X + 1]).numpy())
    with pytest.raises(ShapeError, match=r"add: samples of shapes \(6,\) and \(5,\) do not go together"):
        a + Input((5,))
    with pytest.raises(UsageError, match="takes symbols, numbers"):
        a * X


def test_the_picture_of_a_graph(tmp_path, capsys):
    a = Input((6,), name="a & b")
    model = Model(a, layers.Add(name="sum")([Dense(6, name="one")(a), a]))
    path = cg.utils.plot_model(model, tmp_path / "model.png", show_shapes=True)
    assert path == tmp_path / "model.svg"
    assert "model.svg" in capsys.readouterr().out
    drawn = ElementTree.parse(path).getroot()
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a & b (Input)", "(None, 6)", "one (Dense)", "(None, 6)", "sum (Add)", "(None, 6)"]
    assert len([*drawn.iter("{http://www.w3.org/2000/svg}path")]) == 3


@pytest.mark.parametrize("nested", [False, True])
def test_a_mask_goes_along_to_the_loss_through_models_too(nested):
    ids = np.array([[1, 2, 0, 0], [3, 1, 2, 0]])
    x = Input((4,), dtype="int32")
    h = layers.Embedding(5, 3, mask_zero=True)(x)
    model = Model(x, Dense(1)(Model(x, h)(x) if nested else h))
    model.compile("sgd", "mse")
    error = np.square(model.predict(ids)[..., 0] - 1)
    assert model.evaluate(ids, np.ones((2, 4, 1)), verbose=0) == pytest.approx(error[ids > 0].mean(), rel=1e-5)


def test_the_first_of_several_values_may_be_the_output():
    x = Input((4, 3))
    y, _, _ = layers.LSTM(5, return_state=True)(x)
    model = Model(x, layers.Reshape((5,))(y))
    alone = Model(x, y)
    assert (model.output_shape, alone.output_shape, alone.predict(X.reshape(24, 4, 3)).shape) == (
        (None, 5),
        (None, 5),
        (24, 5),
    )
    alone.compile("adam", "mse")
    alone.fit(X.reshape(24, 4, 3), np.zeros((24, 5)), verbose=0)


def test_what_is_not_connected_is_named():
    a, b = Input((6,), name="left"), Input((6,), name="right")
    with pytest.raises(UsageError, match="the layer 'add' takes 'right', an input that is not connected"):
        Model(a, layers.Add()([a, b]))
    with pytest.raises(UsageError, match="the input 'right' leads to none"):
        Model([a, b], Dense(2)(a))
    with pytest.raises(UsageError, match="takes symbols"):
        Model(X, Y)
    with pytest.raises(UsageError, match="there are no numbers yet"):
        bool(a)


def test_shapes_that_do_not_fit_name_both_layers():
    x = Input((6,))
    with pytest.raises(ShapeError, match=r"reshape.*\(6,\).*called on what the layer 'first' gives"):
        layers.Reshape((4,))(layers.Activation("relu", name="first")(x))
    with pytest.raises(ShapeError, match="dense: Dense takes one value, not a list of 2"):
        Dense(2)([x, x])
    dense = Dense(2)
    model = Model(x, dense(layers.Concatenate()([dense(x), x])))
    with pytest.raises(ShapeError, match="'dense' has its weights already"):
        model.build()


def test_an_unknown_layer_names_the_nearest():
    with pytest.raises(cg.ChalkgradError, match="did you mean 'dense_1'"):
        functional().get_layer("dense_11")
    assert functional().get_layer(index=2).name == "dense_1"


def two_headed():
    a, b = Input((4,), name="a"), Input((2,), name="b")
    h = layers.Concatenate()([Dense(5, activation="tanh")(a), b])
    model = Model([a, b], [Dense(2, name="row")(h), Dense(3, activation="softmax", name="kind")(h)])
    losses = {"row": "mse", "kind": "sparse_categorical_crossentropy"}
    model.compile("adam", losses, {"kind": ["accuracy"]}, loss_weights=[0.5, 2.0])
    return model


KIND = np.arange(48) % 3


def test_several_inputs_and_outputs_train_by_list_and_by_name():
    parts = {"a": X[:, :4], "b": X[:, 4:]}
    by_list, by_name = two_headed(), two_headed()
    history = by_list.fit([*parts.values()], [Y, KIND], 8, 3, verbose=0, validation_split=0.25).history
    named = by_name.fit(parts, {"kind": KIND, "row": Y}, 8, 3, verbose=0, validation_split=0.25).history
    assert history == named
    assert [*history][:4] == ["loss", "row_loss", "kind_loss", "kind_accuracy"]
    np.testing.assert_allclose(
        history["loss"], 0.5 * np.array(history["row_loss"]) + 2 * np.array(history["kind_loss"]), rtol=1e-6
    )
    assert history["loss"][-1] < history["loss"][0]
    eager = two_headed()
    eager.run_eagerly = True
    assert eager.fit([*parts.values()], [Y, KIND], 8, 3, verbose=0, validation_split=0.25).history == history
    assert [y.shape for y in by_list.predict(parts)] == [(48, 2), (48, 3)]


def test_an_output_that_another_layer_takes_has_its_softmax():
    x = Input((6,))
    kind = Dense(3, activation="softmax")(x)
    model = Model(x, [kind, Dense(2)(kind)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], loss_weights=[0, 1])
    expected = np.square(model.predict(X)[1] - Y).mean()
    assert model.evaluate(X, [KIND, Y], verbose=0)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([X[:, :4]], [Y, KIND], UsageError, "takes a list of 2 inputs, \\['a', 'b'\\], not 1"),
        ({"a": X[:, :4], "bb": X[:, 4:]}, [Y, KIND], cg.ChalkgradError, "input 'bb'.*did you mean 'b'"),
        ([X[:, :4], X[:, 4:]], {"row": Y}, UsageError, "y has no targets for the output 'kind'"),
        ([X[:, :4], X[:, 4:]], [Y], UsageError, "y is a list of 2, one for each of the outputs"),
        ([X[:, :4], X[:9, 4:]], [Y, KIND], ShapeError, "48 samples of the first input, and 9 of input 2"),
        ([X[:, :4], X[:, 4:]], [Y, KIND + 5], cg.ChalkgradError, "output 'kind': y has a label outside of 0 … 2"),
        ([X[:, :4], X[:, 4:]], [Y[:9], KIND], ShapeError, "output 'row': .*one target for each sample"),
    ],
)  # fmt: skip
def test_what_does_not_fit_several_is_named(x, y, error, message):
    with pytest.raises(error, match=message):
        two_headed().fit(x, y, verbose=0)


@pytest.mark.gpu
def test_graphs_train_on_a_device_as_on_the_cpu(device):
    found = []
    for place in ("cpu", device):
        a, b = Input((4,), name="a"), Input((2,), name="b")
        inner = Sequential([Dense(5, activation="tanh"), Scale(4)])
        h = layers.Concatenate()([inner(a), 2 * b])
        outputs = [Dense(2, name="row")(h), Dense(3, activation="softmax", name="kind")(h)]
        model = Model([a, b], outputs, device=place, seed=2)
        model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], [[], ["accuracy"]])
        history = model.fit([X[:, :4], X[:, 4:]], [Y, KIND], 8, 3, verbose=0).history
        own = Sequential([Block(), Dense(2)], device=place)
        own.compile("sgd", "mse")
        history["own"] = own.fit(X, Y, 8, 3, verbose=0).history["loss"]
        found.append(history)
    for name, values in found[0].items():
        np.testing.assert_allclose(found[1][name], values, rtol=1e-5, err_msg=name)
