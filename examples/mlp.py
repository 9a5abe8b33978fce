"""The documented multi-layer perceptron (D1, D20): 128 hidden units with ReLU, softmax over ten digits.

python examples/mlp.py            # 8×8 digits, offline, in a second
python examples/mlp.py mnist      # the documented program on MNIST, ten epochs
"""

import sys

import chalkgrad as keras
from chalkgrad import layers


def main(name: str = "digits") -> tuple[float, float]:
    """Train and evaluate; returns test loss and test accuracy."""
    (x_train, y_train), (x_test, y_test) = keras.datasets.load(name)
    scale = x_train.max()
    x_train, x_test = (x.reshape(len(x), -1).astype("float32") / scale for x in (x_train, x_test))
    y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))

    model = keras.Sequential([layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=10, batch_size=128 if name == "mnist" else 32, validation_data=(x_test, y_test))
    model.summary()
    loss, accuracy = model.evaluate(x_test, y_test)
    return loss, accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
