"""Programs as Keras users write them, run with its name and with ours: equal weights and orders give equal losses.

Each takes the package, and runs in Keras unmodified; where Keras is not installed ours run alone.
"""

import os

import numpy as np
import pytest

import chalkgrad as cg

pytestmark = [
    pytest.mark.cpu_only("compares with Keras on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]
X = np.random.default_rng(0).random((64, 12)).astype("float32")
LABELS = (X.sum(axis=1) > 6).astype("int64") + (X[:, 0] > 0.5)


@pytest.fixture(scope="module")
def real():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


def autoencoder(keras, begin):
    layers = keras.layers
    pixels = keras.Input(shape=(12,))
    code = layers.Dense(3, activation="relu", name="code")(layers.Dense(8, activation="relu", name="narrow")(pixels))
    encoder = keras.Model(pixels, code, name="encoder")
    codes = keras.Input(shape=(3,))
    decoder = keras.Model(codes, layers.Dense(12, activation="sigmoid", name="wide")(codes), name="decoder")
    model = keras.Model(pixels, decoder(encoder(pixels)))
    begin(encoder, decoder)
    model.compile(optimizer="sgd", loss="binary_crossentropy")
    history = model.fit(X, X, epochs=4, batch_size=16, shuffle=False, validation_data=(X[:16], X[:16]), verbose=0)
    assert encoder.predict(X[:5], verbose=0).shape == (5, 3)
    assert model.layers[-1] is decoder
    decoded = decoder.predict(encoder.predict(X, verbose=0), verbose=0)
    np.testing.assert_allclose(decoded, model.predict(X, verbose=0), atol=1e-6)
    return history.history


def transfer(keras, begin):
    base = keras.Sequential(
        [
            keras.Input(shape=(12,)),
            keras.layers.Dense(8, activation="relu", name="one"),
            keras.layers.Dense(2, name="two"),
        ]
    )
    begin(base)
    base.compile(optimizer="sgd", loss="mse")
    found = base.fit(X, X[:, :2], epochs=2, batch_size=16, shuffle=False, verbose=0).history["loss"]
    features = keras.Model(base.inputs, base.get_layer("one").output, name="features")
    features.trainable = False
    inputs = keras.Input(shape=(12,))
    outputs = keras.layers.Dense(3, activation="softmax", name="head")(features(inputs, training=False))
    model = keras.Model(inputs, outputs)
    begin(model)
    assert (len(model.trainable_weights), len(model.weights)) == (2, 4)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    kept = base.get_layer("one").get_weights()
    first = model.fit(X, LABELS, epochs=3, batch_size=16, shuffle=False, verbose=0).history
    np.testing.assert_array_equal(base.get_layer("one").get_weights()[0], kept[0])
    features.trainable = True
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    then = model.fit(X, LABELS, epochs=3, batch_size=16, shuffle=False, verbose=0).history
    assert not np.array_equal(base.get_layer("one").get_weights()[0], kept[0])
    return {"base": found, **first, **{f"then {name}": values for name, values in then.items()}}


def own_layer(keras, begin):
    class Linear(keras.layers.Layer):
        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="w")
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="b")

        def call(self, inputs):
            return keras.ops.matmul(inputs, self.w) + self.b

        def get_config(self):
            config = super().get_config()
            config.update({"units": self.units})
            return config

    class Residual(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = keras.layers.LayerNormalization(epsilon=1e-3)
            self.inner = [Linear(12), Linear(12)]
            self.dropout = keras.layers.Dropout(0.0)

        def call(self, x, training=False):
            h = self.norm(x)
            for layer in self.inner:
                h = layer(h)
            return x + self.dropout(h, training=training)

    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = Residual()
            self.head = keras.layers.Dense(3)

        def call(self, x, training=False):
            return self.head(self.block(x, training=training))

    model = Classifier()
    model(X[:2])
    begin(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss, metrics=["accuracy"])
    history = model.fit(X, LABELS, epochs=4, batch_size=16, shuffle=False, verbose=0).history
    plain = keras.Sequential([keras.Input((12,)), Linear(5, name="first"), keras.layers.Dense(1, name="second")])
    begin(plain)
    plain.compile("sgd", "mse")
    losses = plain.fit(X, X[:, :1], epochs=3, batch_size=16, shuffle=False, verbose=0).history["loss"]
    again = Linear.from_config(plain.layers[0].get_config())
    assert (again.units, again.name) == (5, "first")
    return {**history, "plain": losses}


def counted(weights=None):
    """What a program calls for models whose weights begin here: keeps what each has, or gives it what is kept."""
    kept = [] if weights is None else list(weights)

    def begin(*models):
        for model in models:
            if weights is None:
                generator = np.random.default_rng(len(kept))
                kept.append([generator.normal(size=w.shape).astype("float32") / 3 for w in model.get_weights()])
            model.set_weights(kept.pop(0) if weights is not None else kept[-1])

    return begin, kept


@pytest.mark.deep  # Keras compiles each of its steps
@pytest.mark.parametrize("program", [autoencoder, transfer, own_layer])
def test_a_program_gives_keras_losses(program, real):
    begin, weights = counted()
    expected = program(real, begin)
    found = program(cg, counted(weights)[0])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("program", [autoencoder, transfer, own_layer])
def test_it_runs_by_itself(program):
    history = program(cg, lambda *models: None)
    assert all(np.isfinite(values).all() for values in history.values())
