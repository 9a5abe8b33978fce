"""Whether a review praises: ids of words, an embedding, an LSTM. In Keras's calls; only the import lines differ."""

from typing import Any

import numpy as np

import chalkgrad as keras
from chalkgrad import layers

WORDS = ["", "the", "film", "plot", "was", "is", "and", "good", "great", "bad", "dull", "not"]


def reviews(count: int, seed: int) -> tuple[Any, Any]:
    """Texts as lists of ids, and whether each praises: "good" counts for it, "bad" against it, "not" turns both."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(1, len(WORDS), rng.integers(4, 20)).tolist() for _ in range(count)]
    worth, turns = np.array([0] * 7 + [1, 1, -1, -1, 0]), WORDS.index("not")
    pairs = [zip([0, *text], text, strict=False) for text in texts]
    scores = [sum(worth[b] * (-1 if a == turns else 1) for a, b in pair) for pair in pairs]
    return keras.utils.pad_sequences(texts, maxlen=20, padding="post"), np.array(scores) > 0


def network() -> Any:
    model = keras.Sequential([
        keras.Input(shape=(20,)),
        layers.Embedding(len(WORDS), 16, mask_zero=True),
        layers.Bidirectional(layers.LSTM(16, return_sequences=True)),
        layers.LSTM(16),
        layers.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    x_train, y_train = reviews(4000, 0)
    x_test, y_test = reviews(1000, 1)
    model = network()
    model.fit(x_train, y_train, epochs=8, batch_size=64, validation_data=(x_test, y_test))
    print("test loss and accuracy:", model.evaluate(x_test, y_test))
