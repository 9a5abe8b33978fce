"""A training that is started by mpirun: `python ranked.py KIND DTYPE EPOCHS OUT`. Writes what came of it."""

import sys
import warnings

import numpy as np

import chalkgrad as cg
from chalkgrad.distributed import launched, world
from chalkgrad.models import GPT
from chalkgrad.nn import Sequential, layers
from chalkgrad.nn.callbacks import Callback
from chalkgrad.nn.losses import SparseCategoricalCrossentropy

ROWS, BATCH = 93, 10  # the last batch has 3 rows: with four ranks, one has none


def noise(x, generator):
    return x + (generator.standard_normal(x.shape) / 10).astype(x.dtype)


def mlp(dtype):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((ROWS, 20)), draw.integers(0, 3, ROWS)
    model = Sequential(
        [
            layers.Dense(32, activation="relu", kernel_regularizer="l2", activity_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ],
        seed=1,
        dtype=dtype,
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model, x, y, {"sample_weight": draw.random(ROWS)}


def cnn(dtype):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((ROWS, 8, 8, 1)), draw.integers(0, 3, ROWS)
    model = Sequential(
        [
            layers.GaussianNoise(0.1),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ],
        seed=1,
        dtype=dtype,
    )
    optimizer = cg.optim.SGD(0.01, momentum=0.9, global_clipnorm=1.0)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, x, y, {"augmentation": noise}


def gpt(dtype):
    tokens = np.random.default_rng(0).integers(0, 11, (ROWS, 9))
    model = GPT(vocabulary=11, positions=8, width=16, depth=2, heads=2, dropout=0.1, seed=1, dtype=dtype)
    loss = SparseCategoricalCrossentropy(from_logits=True, ignore_class=3)
    model.compile(cg.optim.AdamW(1e-3, global_clipnorm=1.0), loss=loss, metrics=["accuracy"])
    return model, tokens[:, :-1], tokens[:, 1:], {}


def accumulated(dtype):
    model, *rest = gpt(dtype)
    model.optimizer.gradient_accumulation_steps = 3
    return model, *rest


def masked(dtype):
    tokens = np.random.default_rng(0).integers(0, 5, (ROWS, 6))
    model = Sequential(
        [
            layers.Embedding(5, 8, mask_zero=True),
            layers.LSTM(8, return_sequences=True, dropout=0.1),
            layers.Dense(5, activation="softmax"),
        ],
        seed=1,
        dtype=dtype,
    )
    model.compile("rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, tokens, tokens[:, ::-1].copy(), {}


KINDS = {"mlp": mlp, "cnn": cnn, "gpt": gpt, "masked": masked, "accumulated": accumulated}


class Ending(Callback):
    """Ends the training within its second epoch, on these ranks."""

    def __init__(self, ranks=(0, 1)):
        self.ranks = ranks

    def on_train_batch_end(self, batch, logs):
        if logs["loss"] > 0 and len(self.model.history.epoch) == 1 and batch == 4:
            self.model.stop_training = launched() == 1 or world().rank in self.ranks


def ended(dtype):
    model, x, y, options = mlp(dtype)
    return model, x, y, {**options, "callbacks": [Ending()]}


def ended_by_one(dtype):
    model, x, y, options = mlp(dtype)
    return model, x, y, {**options, "callbacks": [Ending([1])]}


ENDED = {"ended": ended, "ended_by_one": ended_by_one}


def plain(batches):
    """How often a rank asks MPI in two epochs of so many batches, with metrics and a callback that hears of each."""
    group, x = world(), np.ones((4 * batches, 3))
    model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)], seed=1)
    model.compile(cg.optim.Adam(global_clipnorm=1.0, gradient_accumulation_steps=2), "mse", metrics=["mae", "r2_score"])
    begin = group.watch.calls
    model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[Ending([])], distributed=group)
    return group.watch.calls - begin


def trained(kind, dtype, epochs, distributed, **changed):
    """The weights, and the history, row by row."""
    model, x, y, options = {**KINDS, **ENDED}[kind](dtype)
    options |= changed
    if kind not in ("mlp", *ENDED):
        options["validation_data"] = (x[:50], y[:50])
    history = model.fit(
        x, y, batch_size=BATCH, epochs=epochs, seed=3, verbose=0, distributed=distributed, **options
    ).history  # fmt: skip
    if kind == "mlp":
        figures = model.evaluate(x, y, batch_size=7, verbose=0, distributed=distributed)
        assert np.allclose(figures, model.evaluate(x, y, batch_size=7, verbose=0), rtol=1e-6, atol=0)
        outputs = model.predict(x, batch_size=7, distributed=distributed)
        assert (outputs == model.predict(x, batch_size=7)).all()
    weights = np.concatenate([np.ravel(w) for w in model.get_weights()])
    return weights, np.array([history[name] for name in history])


if __name__ == "__main__":
    warnings.simplefilter("error")
    group, (kinds, dtype, epochs, out) = world(), sys.argv[1:]
    _, few, many = map(plain, (2, 10, 30))
    assert many - few == 2 * 20, "a step asks MPI once"
    assert group._common.holds(group.room(3, "float32", "cpu")), "the ranks have memory in common"
    for kind in kinds.split(","):
        weights, history = trained(kind, dtype, int(epochs), True)
        ranks = group.gathered((weights.tobytes(), history.tobytes()))
        assert len(set(ranks)) == 1, f"the replicas of {kind} differ"
        if group.leads:
            np.savez(f"{out}/{kind}.npz", weights=weights, history=history)
