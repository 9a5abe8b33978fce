"""The documented convolutional net (D2): two layers of convolutions with ReLU, pooled, then softmax over ten digits.

python examples/cnn.py            # 8×8 digits, offline, in a few seconds
python examples/cnn.py mnist      # MNIST, three epochs of distorted images, about half a minute

Afterwards one number of the first layer is computed once more, as D2 has it: the sum over a window, plus b, then σ.
"""

import sys

import numpy as np

import chalkgrad as keras
from chalkgrad import layers


def main(name: str = "digits") -> tuple[float, float]:
    """Train and evaluate; returns test loss and test accuracy."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.load(name)
    scale = x_train.max()
    x_train, x_test = (x[..., None].astype("float32") / scale for x in (x_train, x_test))  # (batch, height, width, 1)

    model = keras.Sequential([
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    large = name == "mnist"
    distorted = keras.datasets.Augmentation(rotation=9, shift=1.3, scale=0.1, shear=0.1, elastic=1.2)
    model.fit(x_train, y_train, epochs=3 if large else 15, batch_size=128 if large else 32,
              validation_data=(x_test, y_test), augmentation=distorted if large else None)  # fmt: skip
    model.summary()
    print(f"h[0, 3, 4, 5] by the layer {first_layer(model, x_test):.6f}, by the sum {by_the_sum(model, x_test):.6f}")
    loss, accuracy = model.evaluate(x_test, y_test)
    return loss, accuracy


def first_layer(model: keras.Sequential, x: np.ndarray) -> float:
    """h[0, 3, 4, 5] of the first layer."""
    return float(model.layers[0](x[:1]).numpy()[0, 3, 4, 5])


def by_the_sum(model: keras.Sequential, x: np.ndarray) -> float:
    """The same, σ(Σ W x + b) over the 3×3 window around row 3, column 4, for the filter 5 (D2)."""
    w, b = model.get_weights()[:2]
    window = x[0, 2:5, 3:6, 0]
    return max(0.0, float(np.sum(w[:, :, 0, 5] * window) + b[5]))


if __name__ == "__main__":
    main(*sys.argv[1:])
