"""Convolution and pooling as layers: names, counts and shapes as Keras's, values, training, what is refused."""

import numpy as np
import pytest

from chalkgrad import Sequential, layers
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn.layers import (
    AveragePooling2D,
    BatchNormalization,
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Reshape,
)


def known():
    """A model whose summary in Keras is known."""
    return Sequential(
        [
            Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)),
            MaxPooling2D(),
            Conv2D(64, (3, 3), activation="relu"),
            BatchNormalization(),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )


def small(**options):
    return Sequential(
        [
            Reshape((8, 8, 1), input_shape=(8, 8)),
            Conv2D(4, 3, padding="same", use_bias=False),
            BatchNormalization(momentum=0.8),
            layers.Activation("relu"),
            MaxPooling2D(),
            DepthwiseConv2D(3, activation="relu"),
            Conv2D(6, 1, strides=(1, 1), activation="relu"),
            GlobalAveragePooling2D(),
            Dense(10, "softmax"),
        ],
        **options,
    )


# As in Keras


def test_the_summary_is_that_of_keras():
    lines = []
    known().summary(print_fn=lines.append)
    rows = [line.split("  ") for line in "\n".join(lines).splitlines()]
    found = [tuple(cell.strip() for cell in row if cell.strip()) for row in rows if row[0].count("(") == 1][1:]
    assert found == [
        ("conv2d (Conv2D)", "(None, 26, 26, 32)", "320"),
        ("max_pooling2d (MaxPooling2D)", "(None, 13, 13, 32)", "0"),
        ("conv2d_1 (Conv2D)", "(None, 11, 11, 64)", "18,496"),
        ("batch_normalization (BatchNormalization)", "(None, 11, 11, 64)", "256"),
        ("max_pooling2d_1 (MaxPooling2D)", "(None, 5, 5, 64)", "0"),
        ("flatten (Flatten)", "(None, 1600)", "0"),
        ("dropout (Dropout)", "(None, 1600)", "0"),
        ("dense (Dense)", "(None, 10)", "16,010"),
    ]
    assert "35,082 parameters" in lines[-1]
    assert "34,954 trainable, 128 non-trainable" in lines[-1]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Conv1D", "conv1d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("DepthwiseConv2D", "depthwise_conv2d"),
        ("AveragePooling2D", "average_pooling2d"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("GlobalMaxPooling2D", "global_max_pooling2d"),
        ("BatchNormalization", "batch_normalization"),
        ("LayerNormalization", "layer_normalization"),
        ("Dense", "dense"),
    ],
)
def test_default_names_are_those_of_keras(kind, name):
    assert layers.base.default_name(getattr(layers, kind)) == name


@pytest.mark.parametrize(
    ("layer", "sample", "shape", "parameters"),
    [
        (Conv2D(8, 5, strides=2, padding="same"), (7, 8, 3), (4, 4, 8), 608),
        (Conv2D(8, (3, 5), groups=2, use_bias=False), (9, 9, 4), (7, 5, 8), 240),
        (Conv2D(8, 3, dilation_rate=2, data_format="channels_first"), (3, 9, 10), (8, 5, 6), 224),
        (Conv1D(8, 3, strides=2), (10, 4), (4, 8), 104),
        (Conv1D(8, 3, padding="causal", dilation_rate=2), (10, 4), (10, 8), 104),
        (DepthwiseConv2D(3, depth_multiplier=2), (5, 6, 4), (3, 4, 8), 80),
        (Conv2DTranspose(8, 3, strides=2), (5, 6, 4), (11, 13, 8), 296),
        (Conv2DTranspose(8, 2, strides=3), (5, 6, 4), (15, 18, 8), 136),
        (Conv2DTranspose(8, 3, strides=2, padding="same"), (5, 6, 4), (10, 12, 8), 296),
        (Conv2DTranspose(8, 3, strides=2, padding="same", output_padding=0), (5, 6, 4), (9, 11, 8), 296),
        (Conv2DTranspose(8, 3, strides=2, output_padding=1), (5, 6, 4), (12, 14, 8), 296),
        (MaxPooling2D(3, strides=2, padding="same"), (7, 8, 3), (4, 4, 3), 0),
        (AveragePooling2D((2, 3), data_format="channels_first"), (3, 7, 8), (3, 3, 2), 0),
    ],
)
def test_shapes_and_counts_are_those_of_keras(layer, sample, shape, parameters):
    assert layer.build(sample, np.random.default_rng(0)) == shape
    assert layer.parameters == parameters
    assert layer(np.ones((2, *sample), "float32")).shape == (2, *shape)


@pytest.mark.parametrize(
    ("layer", "limit"),
    [
        (Conv2D(32, 3), np.sqrt(6 / (9 * 16 + 9 * 32))),
        (DepthwiseConv2D(3), np.sqrt(6 / (9 * 16 + 9))),
        (Conv2DTranspose(32, 3), np.sqrt(6 / (9 * 16 + 9 * 32))),
    ],
)
def test_kernels_begin_within_glorots_limit(layer, limit):
    layer.build((8, 8, 16), np.random.default_rng(0))
    largest = np.abs(layer.weights["kernel"].numpy()).max()
    assert 0.9 * limit < largest <= limit


# Values


def by_loops(x, w, stride=1):
    """A convolution without border, by its definition."""
    n, height, width, _ = x.shape
    size = w.shape[:2]
    count = [(length - k) // stride + 1 for length, k in zip((height, width), size, strict=True)]
    y = np.zeros((n, *count, w.shape[-1]))
    for i, j in np.ndindex(*count):
        window = x[:, i * stride : i * stride + size[0], j * stride : j * stride + size[1], :]
        y[:, i, j] = np.tensordot(window, w, 3)
    return y


def drawn(layer, sample, seed=0):
    rng = np.random.default_rng(seed)
    layer.build(sample, rng, "float64")
    for w in layer.weights.values():
        w.assign(rng.standard_normal(w.shape))
    return rng.standard_normal((2, *sample)), [w.numpy() for w in layer.weights.values()]


def test_conv2d_is_sigma_of_w_x_plus_b():
    layer = Conv2D(3, 2, strides=2, activation="relu")
    x, (w, b) = drawn(layer, (5, 6, 2))
    np.testing.assert_allclose(layer(x), np.maximum(by_loops(x, w, 2) + b, 0), rtol=1e-12, atol=1e-13)


def test_channels_first_is_the_same_with_the_axes_exchanged():
    for make in (
        lambda order: Conv2D(4, 3, padding="same", groups=2, data_format=order),
        lambda order: DepthwiseConv2D(2, depth_multiplier=2, data_format=order),
        lambda order: Conv2DTranspose(3, 3, 2, data_format=order),
        lambda order: MaxPooling2D(2, data_format=order),
        lambda order: AveragePooling2D(2, 1, data_format=order),
    ):
        last, first = make("channels_last"), make("channels_first")
        x, values = drawn(last, (5, 6, 2))
        drawn(first, (2, 5, 6))
        for w, value in zip(first.weights.values(), values, strict=True):
            w.assign(value)
        moved = first(np.moveaxis(x, -1, 1).copy()).numpy()
        np.testing.assert_allclose(np.moveaxis(moved, 1, -1), last(x).numpy(), rtol=1e-12, atol=1e-13)


def test_a_depthwise_convolution_takes_each_channel_by_itself():
    layer = DepthwiseConv2D(2, depth_multiplier=3)
    x, (w, b) = drawn(layer, (4, 5, 2))
    parts = [by_loops(x[..., c : c + 1], w[:, :, c : c + 1, :]) for c in range(2)]
    np.testing.assert_allclose(layer(x), np.concatenate(parts, axis=-1) + b, rtol=1e-12, atol=1e-13)


def test_a_causal_convolution_does_not_look_ahead():
    layer = Conv1D(3, 3, padding="causal", dilation_rate=2)
    x, _ = drawn(layer, (9, 2))
    changed = x.copy()
    changed[:, 5:] += 1
    np.testing.assert_array_equal(layer(x).numpy()[:, :5], layer(changed).numpy()[:, :5])
    assert not np.allclose(layer(x).numpy()[:, 5], layer(changed).numpy()[:, 5])


def test_a_transposed_convolution_is_the_adjoint_of_the_convolution():
    there, back = Conv2D(3, 3, 2, "same", use_bias=False), Conv2DTranspose(2, 3, 2, "same", use_bias=False)
    x, (w,) = drawn(there, (6, 4, 2))
    y, _ = drawn(back, (3, 2, 3), seed=1)
    back.weights["kernel"].assign(w)
    assert back.output_shape((3, 2, 3)) == (6, 4, 2)
    np.testing.assert_allclose(np.vdot(there(x).numpy(), y), np.vdot(x, back(y).numpy()), rtol=1e-12)


# Training


def trained(digits, eagerly=False, rows=192, **compiled):
    x, y, *_ = digits
    model = small()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], run_eagerly=eagerly, **compiled)
    history = model.fit(x[:rows], y[:rows], batch_size=32, epochs=3, verbose=0).history
    return model, history


@pytest.mark.parametrize("jit", ["auto", False])
def test_captured_training_is_that_on_the_tape_to_the_bit(digits, same, jit):
    (captured, found), (eager, expected) = trained(digits, jit_compile=jit), trained(digits, eagerly=True)
    assert found == expected
    same(captured.get_weights(), eager.get_weights())
    np.testing.assert_array_equal(captured.predict(digits[2][:50]), eager.predict(digits[2][:50]))


def test_a_small_network_learns_digits(digits):
    x, y, x_test, y_test = digits
    middle = [
        BatchNormalization(momentum=0.9),
        layers.Activation("relu"),
        MaxPooling2D(),
        Conv2D(16, 3, padding="same"),
    ]
    first = [Reshape((8, 8, 1), input_shape=(8, 8)), Conv2D(8, 3, padding="same", use_bias=False)]
    model = Sequential([*first, *middle, Flatten(), Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, batch_size=32, epochs=6, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0)[1] > 0.93


def test_the_model_file_holds_it_all(digits, tmp_path, same):
    model, _ = trained(digits)
    model.save(tmp_path / "model")
    again = Sequential.load(tmp_path / "model")
    same(again.get_weights(), model.get_weights())
    np.testing.assert_array_equal(again.predict(digits[2]), model.predict(digits[2]))
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]


def test_the_last_layers_softmax_is_fused_with_the_loss():
    model = Sequential([Conv2D(3, 1, activation="softmax", input_shape=(2, 2, 1))])
    model.compile("sgd", "categorical_crossentropy")
    assert model.fuses_loss
    model.fit(np.ones((4, 2, 2, 1)), np.eye(3)[np.zeros((4, 2, 2), int)], verbose=0)


# What is refused


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Conv2D(0, 3), r"Conv2D\(filters=0\): it is a whole number of 1 or more"),
        (lambda: Conv2D(4, 0), r"Conv2D\(kernel_size=0\): it is a whole number of 1 or more"),
        (lambda: Conv2D(4, (3, 3, 3)), r"kernel_size=\(3, 3, 3\)\): .* one for each of height, width"),
        (lambda: Conv2D(4, 3, strides=0), r"Conv2D\(strides=0\): it is a whole number of 1 or more"),
        (lambda: Conv2D(4, 3, strides=(1, -2)), r"strides=\(1, -2\)"),
        (lambda: Conv2D(4, 3, dilation_rate=1.5), r"dilation_rate=1.5"),
        (lambda: Conv2D(4, 3, padding="smae"), "unknown padding 'smae': did you mean 'same'"),
        (lambda: Conv2D(4, 3, padding=None), "unknown padding None"),
        (lambda: Conv2D(4, 3, padding="causal"), "unknown padding 'causal'"),
        (lambda: Conv2D(4, 3, data_format="channel_last"), "did you mean 'channels_last'"),
        (lambda: Conv2D(4, 3, groups=3), r"Conv2D\(filters=4, groups=3\): groups divide the filters"),
        (lambda: Conv2D(4, 3, activation="rleu"), "unknown activation 'rleu': did you mean 'relu'"),
        (lambda: DepthwiseConv2D(3, depth_multiplier=0), r"depth_multiplier=0"),
        (lambda: Conv2DTranspose(4, 3, 2, output_padding=2), "output padding is less than the stride"),
        (lambda: MaxPooling2D(0), r"MaxPooling2D\(pool_size=0\): it is a whole number of 1 or more"),
        (lambda: MaxPooling2D(2, padding="vaild"), "unknown padding 'vaild': did you mean 'valid'"),
    ],
)
def test_arguments_that_are_none(make, text):
    with pytest.raises(UsageError, match=text):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (
            Conv2D(4, 3),
            (784,),
            r"conv2d: Conv2D takes batches of shape \(batch, height, width, channels\), not \(batch, 784\): "
            r"add Reshape\(\(height, width, channels\)\) before it",
        ),
        (Conv2D(4, 3), (28, 28), r"not \(batch, 28, 28\): add Reshape\(\(28, 28, 1\)\) before it"),
        (Conv2D(4, 3, data_format="channels_first"), (28, 28), r"\(batch, channels, .*Reshape\(\(1, 28, 28\)\)"),
        (Conv1D(4, 3), (28, 28, 1), r"Conv1D takes batches of shape \(batch, length, channels\)"),
        (MaxPooling2D(), (28, 28), r"MaxPooling2D takes batches of shape .*Reshape\(\(28, 28, 1\)\)"),
        (GlobalAveragePooling2D(), (10,), r"GlobalAveragePooling2D takes batches of shape"),
        (Conv2D(4, 5), (4, 6, 1), r"conv2d: a window of \(5, 5\) is larger than the input of \(4, 6\).*padding='same'"),
        (Conv2D(4, 3, dilation_rate=3), (6, 9, 1), r"\(3, 3\) with dilation \(3, 3\) is larger than"),
        (MaxPooling2D(5), (4, 4, 1), r"max_pooling2d: a window of \(5, 5\) is larger"),
        (Conv2D(4, 3, groups=2), (8, 8, 3), r"groups=2\) takes samples whose number of channels 2 divides, not 3"),
        (Conv2DTranspose(4, 2, 2, "same", output_padding=0), (3, 3, 1), "choose another output_padding"),
    ],
)
def test_samples_that_do_not_fit(layer, shape, text):
    with pytest.raises(ShapeError, match=text):
        Sequential([layer]).build(shape)


def test_a_layer_refuses_other_channels_than_it_was_built_for():
    for layer in (Conv2D(4, 3), DepthwiseConv2D(3), Conv2DTranspose(4, 3)):
        layer.build((8, 8, 3), np.random.default_rng(0))
        with pytest.raises(ShapeError, match=r"has 5 channels, the kernel of shape .* takes others: .*\(8, 8, 3\)"):
            layer(np.ones((2, 8, 8, 5), "float32"))


def test_fit_says_it_before_anything_is_built():
    model = Sequential([Conv2D(4, 3), Flatten(), Dense(10)])
    model.compile("adam", "mse")
    with pytest.raises(ShapeError, match=r"add Reshape\(\(28, 28, 1\)\) before it"):
        model.fit(np.ones((2, 28, 28)), np.ones((2, 10)), verbose=0)
    assert not model.built
