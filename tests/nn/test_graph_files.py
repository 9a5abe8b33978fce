"""Models that are graphs, kept and made again: files, configurations, clones, weights of layers."""

import json
import warnings

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Input, Model, Sequential, layers, models
from chalkgrad.errors import DataError, ShapeError, UsageError
from chalkgrad.nn.architecture import graph_from

pytestmark = pytest.mark.cpu_only("holds what comes back to the CPU's bits; files know of no device")
X, Y = (np.random.default_rng(0).normal(size=(40, n)).astype("float32") for n in (6, 2))


class Multiplied(layers.Layer):
    def __init__(self, units=2, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")

    def call(self, x):
        return x @ self.w

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Own(Model):
    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.steps, self.last = [layers.Dense(width), layers.Dense(width)], Multiplied()

    def call(self, x):
        for step in self.steps:
            x = step(x)
        return self.last(x)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Pair(Model):
    def __init__(self):
        super().__init__()
        self.left, self.right = layers.Dense(2), layers.Dense(1)

    def call(self, inputs):
        a, b = inputs
        return self.left(a), self.right(b) + a[:, :1]


def test_a_model_of_ones_own_with_several_inputs_and_outputs(tmp_path):
    model, xs = Pair(), [X[:, :4], X[:, 4:]]
    assert [y.shape for y in model(xs)] == [(40, 2), (40, 1)]
    model.compile("adam", ["mse", "mae"])
    model.fit(xs, [Y, Y[:, :1]], epochs=2, verbose=0)
    model.save(tmp_path / "m")
    again = models.load_model(tmp_path / "m")
    for ours, theirs in zip(model.predict(xs), again.predict(xs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def graph():
    x, base, shared = Input((6,)), Sequential([layers.Dense(4)], name="base"), layers.Dense(4, name="shared")
    h = base(x)
    return Model(x, layers.Dense(2)(layers.Add()([shared(h), shared(base(x)), h])))


KINDS = {
    "graph": graph,
    "nested": lambda: Sequential([Input((6,)), Sequential([layers.Dense(4), Multiplied(3)]), layers.Dense(2)]),
    "own": lambda: Own(5),
    "own in a graph": lambda: Model(x := Input((6,)), Own(4)(x)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_back_from_its_file_and_trains_on_alike(kind, tmp_path, same):
    model, path = KINDS[kind](), tmp_path / "m.keras"
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save(path)
    again = models.load_model(path)
    assert type(again) is type(model)
    assert again.get_config() == model.get_config()
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    same(again.predict(X), model.predict(X))
    assert again.output.shape == (None, 2)
    assert (
        again.fit(X, Y, verbose=0, initial_epoch=1, epochs=2).history
        == model.fit(X, Y, verbose=0, initial_epoch=1, epochs=2).history
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_clone_takes_the_weights_alone(kind, tmp_path, same):
    model, path = KINDS[kind](), tmp_path / "m.weights.h5"
    model.build((6,))
    model.set_weights([w + 1 for w in model.get_weights()])
    model.save_weights(path)
    clone = models.clone_model(model)
    clone.build((6,))
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    clone.load_weights(path)
    same(clone.predict(X), model.predict(X))
    with pytest.raises(DataError, match="holds the weights alone"):
        models.load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["calls"][0].update(x=3), "the layer 'base' takes value 3, which is made by it or behind it"),
        (lambda c: c["calls"].pop(1), "the layer 'shared' is not connected|takes value"),
        (lambda c: c["outputs"].append(99), "its outputs are"),
        (lambda c: c["calls"][0].update(options={"heads": 3}), "the layer 'base' is called with 'heads'"),
        (lambda c: c["calls"][0].update(layer=17), "it calls layer 17, and has 4"),
    ],
)
def test_a_graph_that_is_none_names_the_layer(change, message):
    config = graph().get_config()
    change(config)
    with pytest.raises(UsageError, match=message):
        Model.from_config(config)


def test_a_cycle_of_models_is_named():
    model = Own()
    model.me = [model]
    with pytest.raises(UsageError, match="'own' holds itself, which is a cycle: own → own → own"):
        model(X)
    one, other = Sequential(name="one"), Sequential(name="other")
    one.add(other)
    with pytest.raises(UsageError, match="the model 'one' would be a layer of itself"):
        other.add(one)


def test_a_layer_without_a_call_is_named():
    config = json.loads(json.dumps(graph().get_config()))
    made = [layers.make_layer(each) for each in [*config["layers"], layers.Dense(1, name="lost").config()]]
    with pytest.raises(UsageError, match="the layer 'lost' is not connected"):
        graph_from(config, made)


def test_an_archive_of_keras_is_told(tmp_path):
    (tmp_path / "m.keras").write_bytes(b"PK\3\4" + bytes(40))
    with pytest.raises(DataError, match="an archive, as Keras writes them"):
        models.load_model(tmp_path / "m.keras")


def test_a_layers_weights_are_read_and_set_by_it(same):
    model = Sequential([Input((6,)), layers.Dense(3, name="first"), layers.Dense(2)])
    layer = model.get_layer("first")
    w, b = layer.get_weights()
    layer.set_weights([w * 0, b + 1])
    same(layer(X), np.ones((40, 3), "float32"))
    same(model.get_weights()[0], w * 0)
    for wrong in ([w], [w, b, b], [w.T, b]):
        with pytest.raises(ShapeError, match="the layer 'first' has weights of shapes"):
            layer.set_weights(wrong)
    layer.trainable = False
    assert ([*layer.trainable_weights], layer.count_params()) == ([], 21)


def test_a_weight_in_two_layers_is_not_written(tmp_path):
    base = Sequential([Input((6,)), layers.Dense(6)])
    model = Model(x := Input((6,)), base.layers[0](base(x)))
    model.build()
    with pytest.raises(cg.ChalkgradError, match="a file cannot tell"):
        model.save(tmp_path / "m.safetensors")
