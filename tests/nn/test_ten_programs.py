"""Ten small programs as Keras's users write them: they run with the imports changed, and lose what Keras loses.

Each is a function of the package. It calls `start(model)` before it trains: so both begin with the same weights.
"""

import csv

import numpy as np
import pytest

import chalkgrad as cg

pytestmark = [
    pytest.mark.cpu_only("compares with Keras on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]
R = np.random.default_rng(0)
IMAGES, LABELS = R.random((64, 12, 12, 1)).astype("float32"), R.integers(0, 10, 64)
X = R.normal(size=(120, 6)).astype("float32")
SIGN, SUM = (X[:, 0] > 0).astype("int64"), X.sum(1)
WORDS = R.integers(1, 30, (60, 7)) * (np.arange(7) < R.integers(2, 8, (60, 1)))


def convnet(keras, start, folder):
    model = keras.Sequential(
        [
            keras.Input(shape=(12, 12, 1)),
            keras.layers.Conv2D(4, kernel_size=(3, 3), activation="relu"),
            keras.layers.MaxPooling2D(pool_size=(2, 2)),
            keras.layers.Conv2D(8, kernel_size=(3, 3), activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.0),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.summary(print_fn=lambda *_: None)
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    start(model)
    history = model.fit(
        IMAGES, keras.utils.to_categorical(LABELS, 10), batch_size=16, epochs=2, validation_split=0.1, verbose=0,
        shuffle=False,
    )  # fmt: skip
    return history.history, model.evaluate(IMAGES, keras.utils.to_categorical(LABELS, 10), verbose=0)


def dropout_and_load(keras, start, folder):
    model = keras.Sequential(
        [keras.layers.Dense(16, activation="relu", input_shape=(6,)), keras.layers.Dropout(0.0), keras.layers.Dense(2)]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=1e-2),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start(model)
    history = model.fit(X, SIGN, epochs=3, verbose=0, shuffle=False)
    model.save(folder / "m.keras")
    again = keras.models.load_model(folder / "m.keras")
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    return history.history


def text(keras, start, folder):
    model = keras.Sequential(
        [
            keras.layers.Embedding(30, 8, mask_zero=True),
            keras.layers.LSTM(6, return_sequences=True),
            keras.layers.Bidirectional(keras.layers.LSTM(5)),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.build((None, 7))
    start(model)
    return model.fit(WORDS, (WORDS.sum(1) > 60).astype("float32"), epochs=2, verbose=0, shuffle=False).history


def autoencoder(keras, start, folder):
    inputs = keras.Input(shape=(6,))
    encoded = keras.layers.Dense(3, activation="relu", name="code")(inputs)
    decoded = keras.layers.Dense(6)(encoded)
    model, encoder = keras.Model(inputs, decoded), keras.Model(inputs, encoded)
    model.compile(optimizer="rmsprop", loss="mse")
    start(model)
    history = model.fit(X, X, epochs=2, batch_size=32, shuffle=False, validation_data=(X[:20], X[:20]), verbose=0)
    assert model.get_layer("code").units == 3
    return history.history, encoder.predict(X, verbose=0)


def regression(keras, start, folder):
    pandas = pytest.importorskip("pandas", reason="people bring tables")
    model = keras.Sequential(
        [
            keras.layers.Dense(8, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3), input_shape=(6,)),
            keras.layers.Dense(1),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate=0.05, momentum=0.9, nesterov=True), loss="mse", metrics=["mae"]
    )
    start(model)
    history = model.fit(
        pandas.DataFrame(X), pandas.Series(SUM), validation_split=0.2, epochs=4, verbose=0, shuffle=False,
        callbacks=[
            keras.callbacks.ReduceLROnPlateau(patience=1),
            keras.callbacks.CSVLogger(str(folder / "log.csv")),
            keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True),
        ],
    )  # fmt: skip
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return history.history, [float(row["val_mae"]) for row in rows]


def binary(keras, start, folder):
    model = keras.Sequential(
        [keras.layers.Dense(8, activation="tanh", input_shape=(6,)), keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(
        loss="binary_crossentropy",
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9), clipnorm=1.0),
        metrics=[keras.metrics.AUC(), keras.metrics.Precision(name="precision"), "accuracy"],
    )
    start(model)
    history = model.fit(X, SIGN, epochs=3, verbose=0, shuffle=False, validation_data=(X[:50], SIGN[:50]))
    return {name.replace("auc_1", "auc"): values for name, values in history.history.items()}


def transfer(keras, start, folder):
    base = keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="base",
    )
    base.trainable = False
    inputs = keras.Input(shape=(12, 12, 1))
    outputs = keras.layers.Dense(10)(base(inputs, training=False))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(), loss=loss)
    start(model)
    before = [w.copy() for w in base.get_weights()]
    first = model.fit(IMAGES, LABELS, epochs=1, verbose=0, shuffle=False).history
    assert all(np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True))
    base.trainable = True
    model.compile(optimizer=keras.optimizers.Adam(1e-5), loss=loss)
    second = model.fit(IMAGES, LABELS, epochs=1, verbose=0, shuffle=False).history
    assert len(model.trainable_weights) == 6
    return first, second


def weights(keras, start, folder):
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax", input_shape=(6,))])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    start(model)
    first = model.fit(X, SIGN, class_weight={0: 1.0, 1: 5.0}, epochs=2, verbose=0, shuffle=False).history
    w = np.linspace(0, 2, len(X))
    second = model.fit(
        X, SIGN, sample_weight=w, validation_data=(X, SIGN, w[::-1].copy()), epochs=1, verbose=0, shuffle=False
    )
    return first, second.history


def custom_layer(keras, start, folder):
    class Stretched(keras.layers.Layer):
        def __init__(self, units=4, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.kernel = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="glorot_uniform", trainable=True, name="kernel"
            )
            self.scale = self.add_weight(shape=(self.units,), initializer="ones", name="scale")

        def call(self, inputs):
            return keras.ops.tanh(keras.ops.matmul(inputs, self.kernel)) * self.scale

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = Stretched(5), keras.layers.Dense(1)

        def call(self, x, training=False):
            return self.last(self.first(x))

    model = Net()
    model(X[:2])
    model.compile("adam", keras.losses.Huber())
    start(model)
    return model.fit(X, SUM, epochs=2, verbose=0, shuffle=False).history


def generator(keras, start, folder):
    def batches():
        r = np.random.default_rng(1)
        while True:
            i = r.integers(0, len(X), 16)
            yield X[i], SUM[i, None]

    model = keras.Sequential([keras.layers.Dense(1, input_shape=(6,))])
    model.compile("adam", "mse")
    start(model)
    history = model.fit(batches(), steps_per_epoch=5, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    return history.history, [float(model.train_on_batch(X[:16], SUM[:16, None])) for _ in range(2)]


PROGRAMS = [
    convnet,
    dropout_and_load,
    text,
    autoencoder,
    regression,
    binary,
    transfer,
    weights,
    custom_layer,
    generator,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_it_runs_and_loses_what_keras_loses(keras, program, tmp_path):
    keras.utils.set_random_seed(0)  # else an output near a threshold may fall on another side once in many runs
    begun = []
    theirs = program(keras, lambda model: begun.extend(model.get_weights()), tmp_path)
    ours = program(cg, lambda model: model.set_weights(begun), tmp_path)
    assert_close(ours, theirs)


def assert_close(ours, theirs):
    if isinstance(theirs, dict):
        known = {name: values for name, values in theirs.items() if name != "learning_rate"}
        assert known.keys() == ours.keys() - {"learning_rate"}
        ours, theirs = [ours[name] for name in known], [*known.values()]
    if isinstance(theirs, (list, tuple)):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
