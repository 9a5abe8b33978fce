"""Layers and whole models beside Keras with the same weights; skipped where Keras is not installed."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers

pytestmark = [
    pytest.mark.cpu_only("compares with Keras on the CPU"),
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]


IMAGE, LINE = (7, 6, 4), (9, 4)
CASES = [
    ("Conv2D", {"filters": 5, "kernel_size": 3}, IMAGE),
    (
        "Conv2D",
        {"filters": 5, "kernel_size": (3, 2), "strides": (2, 1), "padding": "same"},
        IMAGE,
    ),
    ("Conv2D", {"filters": 6, "kernel_size": 2, "dilation_rate": 2, "groups": 2, "use_bias": False}, IMAGE),
    ("Conv2D", {"filters": 2, "kernel_size": 4, "padding": "same", "dilation_rate": (1, 2)}, IMAGE),
    ("Conv1D", {"filters": 5, "kernel_size": 3, "strides": 2, "padding": "same"}, LINE),
    ("Conv1D", {"filters": 5, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}, LINE),
    ("DepthwiseConv2D", {"kernel_size": 3}, IMAGE),
    ("DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": (2, 4), "strides": (3, 2), "use_bias": False}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "output_padding": 1}, IMAGE),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 0}, IMAGE),
    ("MaxPooling2D", {}, IMAGE),
    ("MaxPooling2D", {"pool_size": 3, "strides": (2, 1), "padding": "same"}, IMAGE),
    ("AveragePooling2D", {"pool_size": (2, 3)}, IMAGE),
    ("AveragePooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE),
    ("MaxPooling1D", {"pool_size": 2}, LINE),
    ("AveragePooling1D", {"pool_size": 3, "strides": 2, "padding": "same"}, LINE),
    ("GlobalAveragePooling2D", {}, IMAGE),
    ("GlobalMaxPooling2D", {"keepdims": True}, IMAGE),
    ("GlobalAveragePooling1D", {}, LINE),
    ("GlobalMaxPooling1D", {}, LINE),
    ("BatchNormalization", {}, IMAGE),
    ("BatchNormalization", {"axis": 2, "epsilon": 0.1, "scale": False}, IMAGE),
    ("LayerNormalization", {}, IMAGE),
    ("LayerNormalization", {"axis": [1, 2, 3], "epsilon": 0.1}, IMAGE),
    ("Rescaling", {"scale": 0.5, "offset": 1.0}, IMAGE),
    ("Reshape", {"target_shape": (6, -1)}, IMAGE),
    ("Flatten", {}, IMAGE),
    ("Dense", {"units": 3, "activation": "tanh"}, (5,)),
    ("SimpleRNN", {"units": 3, "return_sequences": True}, LINE),
    ("SimpleRNN", {"units": 3, "activation": "relu", "use_bias": False}, LINE),
    ("LSTM", {"units": 3}, LINE),
    ("LSTM", {"units": 3, "return_sequences": True, "go_backwards": True, "unit_forget_bias": False}, LINE),
    ("LSTM", {"units": 3, "activation": "relu", "recurrent_activation": "tanh"}, LINE),
    ("GRU", {"units": 3, "return_sequences": True}, LINE),
    ("GRU", {"units": 3, "reset_after": False, "go_backwards": True}, LINE),
    ("GRU", {"units": 3, "use_bias": False}, LINE),
    ("ReLU", {"max_value": 1.5, "negative_slope": 0.25, "threshold": 0.5}, LINE),
    ("LeakyReLU", {}, LINE),
    ("LeakyReLU", {"negative_slope": 0.1}, LINE),
    ("PReLU", {"shared_axes": [1, 2]}, IMAGE),
    ("ELU", {"alpha": 0.5}, LINE),
    ("Softmax", {}, LINE),
    ("Softmax", {"axis": 1}, LINE),
    ("Permute", {"dims": (3, 1, 2)}, IMAGE),
    ("RepeatVector", {"n": 3}, (5,)),
    ("UpSampling2D", {"size": (2, 3)}, IMAGE),
    ("UpSampling2D", {"size": 3, "interpolation": "bilinear"}, IMAGE),
    ("ZeroPadding2D", {"padding": (1, 2)}, IMAGE),
    ("ZeroPadding2D", {"padding": ((1, 0), (0, 2))}, IMAGE),
    ("ZeroPadding1D", {"padding": (1, 2)}, LINE),
    ("Cropping2D", {"cropping": ((1, 0), (0, 2))}, IMAGE),
    ("Cropping1D", {"cropping": 2}, LINE),
    ("GroupNormalization", {"groups": 2}, IMAGE),
    ("GroupNormalization", {"groups": -1, "axis": 2, "epsilon": 0.1}, IMAGE),
]


@pytest.mark.parametrize(("kind", "options", "shape"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
def test_a_layer_gives_what_keras_gives(keras, kind, options, shape):
    rng = np.random.default_rng(0)
    theirs = keras.Sequential([keras.Input(shape), getattr(keras.layers, kind)(**options)])
    ours = Sequential([getattr(layers, kind)(**options, input_shape=shape)])
    ours.build()
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    values = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in theirs.get_weights()]
    ours.set_weights(values)
    theirs.set_weights(values)
    x = rng.standard_normal((3, *shape)).astype("float32")
    y = np.asarray(theirs(x))
    assert (3, *ours.output_shape[1:]) == y.shape
    np.testing.assert_allclose(ours.predict(x), y, rtol=2e-5, atol=2e-5)
    assert ours.count_params() == theirs.count_params()
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    names = {w.name.rpartition("/")[2] for w in ours.weights}
    assert names == {w.name for w in theirs.weights}
    assert ours.layers[0].name == theirs.layers[0].name.rstrip("0123456789").rstrip("_")


@pytest.mark.parametrize("kind", ["Conv2D", "Conv1D", "DepthwiseConv2D", "Conv2DTranspose"])
def test_kernels_begin_with_the_same_spread(keras, kind):
    options = {"kernel_size": 3, **({} if kind == "DepthwiseConv2D" else {"filters": 32})}
    shape = (12, 64) if kind == "Conv1D" else (12, 12, 64)
    theirs = keras.Sequential([keras.Input(shape), getattr(keras.layers, kind)(**options)]).get_weights()[0]
    model = Sequential([getattr(layers, kind)(**options, input_shape=shape)])
    model.build()
    assert np.abs(model.get_weights()[0]).max() == pytest.approx(np.abs(theirs).max(), rel=0.03)


def test_training_moves_batch_normalisation_as_keras_does(keras):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((24, 6, 6, 2)).astype("float32") + 1, rng.standard_normal((24, 2)).astype("float32")

    def net(kinds, first):
        return [*first, kinds.Conv2D(3, 3), kinds.BatchNormalization(momentum=0.9), kinds.GlobalAveragePooling2D(),
                kinds.Dense(2)]  # fmt: skip

    theirs = keras.Sequential(net(keras.layers, [keras.Input((6, 6, 2))]))
    ours = Sequential(net(layers, []))
    ours.build((6, 6, 2))
    values = [w + 0.1 * rng.standard_normal(w.shape).astype("float32") for w in theirs.get_weights()]
    values[5] = np.abs(values[5])
    for model, sgd in ((ours, "sgd"), (theirs, "sgd")):
        model.set_weights(values)
        model.compile(sgd, "mse")
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_frozen_layers_stay_and_the_others_train_alike(keras):
    rng = np.random.default_rng(0)
    x, y, loss = rng.normal(size=(48, 4)).astype("float32"), rng.integers(0, 3, 48), "sparse_categorical_crossentropy"
    both = []
    for kind, optimizer in ((keras, keras.optimizers.SGD(0.1)), (cg, cg.optim.GradientDescent(0.1))):
        made = kind.Sequential(
            [kind.layers.Dense(8, "relu"), kind.layers.BatchNormalization(), kind.layers.Dense(3, "softmax")]
        )
        made.build((None, 4) if kind is keras else (4,))
        if both:
            made.set_weights(both[0].get_weights())
        made.layers[0].trainable = made.layers[1].trainable = False
        made.compile(optimizer, loss)
        both.append(made)
    for made in both:
        made.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert len({(len(made.trainable_weights), len(made.non_trainable_weights)) for made in both}) == 1
    for a, b in zip(*(made.get_weights() for made in both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
