"""A training that goes on from a file, a copy or the last call has the bits of one that was not interrupted."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.engine import backend
from chalkgrad.errors import DataError, UsageError
from chalkgrad.nn import checkpoint, keeping, state
from chalkgrad.nn.callbacks import Callback, EarlyStopping, LearningRateScheduler, ModelCheckpoint

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(40, 6, 6, 1)).astype("float32"), RNG.integers(0, 3, 40)
BATCH = 8


def shaken(x, generator):
    return x + generator.standard_normal(x.shape, dtype="float32")


MEANS = {
    "adam": ("adam", {}, 0.0),
    "momentum": (cg.optim.Momentum(cg.optim.CosineDecay(0.05, 20), nesterov=True), {}, 0.0),
    "use_ema": (cg.optim.RMSprop(0.01, use_ema=True, ema_momentum=0.8), {}, 0.0),
    "dropout": (cg.optim.AdamW(0.01, global_clipnorm=1.0), {}, 0.4),
    "augmentation": (cg.optim.GradientDescent(0.1, use_ema=True), {"augmentation": shaken}, 0.2),
}
NETS = {
    "mlp": lambda dropout: [layers.Flatten(input_shape=(6, 6, 1)), layers.Dense(7, "relu"), layers.Dropout(dropout)],
    "cnn": lambda dropout: [
        layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.BatchNormalization(), layers.Activation("relu"),
        layers.Flatten(), layers.Dropout(dropout),
    ],
}  # fmt: skip


def model(net, means="adam", eager=True):
    optimizer, _, dropout = copy.deepcopy(MEANS[means])
    made = Sequential([*NETS[net](dropout), layers.Dense(3, "softmax")], seed=1)
    made.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"], run_eagerly=eager)
    return made


def fit(made, means, epochs, begin=0, callbacks=(), **options):
    made.fit(
        X, LABELS, BATCH, epochs, 0, list(callbacks), validation_data=(X, LABELS), initial_epoch=begin,
        **MEANS[means][1], **options,
    )  # fmt: skip
    return made


def bits(made):
    """All that a training consists of."""
    slots = {name: backend.fetch(array).tobytes() for name, array in sorted(made.optimizer.state.items())}
    return [w.tobytes() for w in made.get_weights()], slots, made.optimizer.iterations


def through_file(made, folder):
    made.save(folder / "model")
    return Sequential.load(folder / "model")


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("means", MEANS)
def test_calls_files_and_copies_go_on_as_one_longer_call(net, means, tmp_path):
    whole = fit(model(net, means), means, 3)
    ways = {
        "call": lambda made: made, "file": lambda made: through_file(made, tmp_path), "copy": copy.deepcopy,
        "pickle": lambda made: pickle.loads(pickle.dumps(made)),
    }  # fmt: skip
    for way in ways:
        part = ways[way](fit(model(net, means, eager=way != "file"), means, 2))
        fit(part, means, 3, 2)
        assert part.history.history == whole.history.history, way
        assert bits(part) == bits(whole), way
    assert bits(fit(fit(model(net, means), means, 2), means, 1)) == bits(whole)


class SavesWithin(Callback):
    """Saves the model after a batch of an epoch."""

    def __init__(self, path, epoch, batch):
        self.path, self.epoch, self.batch = path, epoch, batch

    def on_epoch_begin(self, epoch, logs):
        self.now = epoch

    def on_train_batch_end(self, batch, logs):
        if (self.now, batch) == (self.epoch, self.batch):
            self.model.save(self.path)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("means", MEANS)
def test_within_an_epoch_it_goes_on_too(net, means, tmp_path):
    place = tmp_path / "model"
    for eager, epoch, batch in [(False, 1, 2), (True, 0, 0), *([(True, 1, 4)] if means == "adam" else [])]:
        seen = SavesWithin(place, epoch, batch)
        whole = fit(model(net, means, eager), means, 3, callbacks=[seen])
        begun = fit(model(net, means), means, epoch)
        part = Sequential.load(place)
        assert np.array_equal(part.predict(X), begun.predict(X))
        within = part.standing.within
        assert (within.seen, part.history.epoch) == ((batch + 1) * BATCH, list(range(epoch)))
        counted = Batches()
        part = copy.deepcopy(part)
        part.run_eagerly = not eager or epoch == 0
        fit(part, means, 3, epoch, callbacks=[counted])
        assert counted.first == (batch + 1) % 5
        assert part.history.history == whole.history.history
        assert bits(part) == bits(whole)

    anew = fit(Sequential.load(place), means, 2, epoch, seed=1)  # another order: the epoch begins anew
    assert bits(anew) == bits(fit(begun, means, 2, epoch, seed=1))


class Batches(Callback):
    """Which was the first it heard of, and the loss after each, of all calls of `fit` together."""

    first = None

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, batch, logs):
        self.first = batch if self.first is None else self.first
        self.losses.append(logs["loss"])

    def get_state(self):
        return {"losses": self.losses}

    def set_state(self, state):
        self.losses = state["losses"]


@pytest.mark.parametrize("how", [{}, {"check_finite": False}])
def test_a_checkpoint_every_so_many_seconds(tmp_path, monkeypatch, how):
    now, place = [0.0], tmp_path / "model"
    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Clock(Callback):
        def on_train_batch_begin(self, batch, logs):
            now[0] += 1
            if now[0] == 18:
                raise KeyboardInterrupt

    def made():
        one = model("mlp", "use_ema")
        one.check_finite = how.get("check_finite", True)
        return one

    heard, again = Batches(), Batches()
    whole = fit(made(), "use_ema", 5, callbacks=[heard])
    with pytest.raises(KeyboardInterrupt):
        fit(made(), "use_ema", 5, callbacks=[Clock(), ModelCheckpoint(place, seconds=1.5), Batches()])
    part = Sequential.load(place)
    assert (part.history.epoch, part.standing.within.seen) == ([0, 1, 2], BATCH)
    fit(part, "use_ema", 5, 3, callbacks=[again])
    assert bits(part) == bits(whole)
    assert again.losses == heard.losses
    assert len(Sequential.load(place).standing.callbacks["Batches 1"]["state"]["losses"]) == 15  # at the epoch's begin
    with pytest.raises(UsageError, match="save_best_only"):
        ModelCheckpoint(place, save_best_only=True, seconds=1)


@pytest.mark.parametrize("at", ["digest_of", "replacing"])
def test_a_save_within_an_epoch_that_fails_leaves_the_training_as_it_was(tmp_path, monkeypatch, at):
    def full(*args, **options):
        raise DataError("no room")

    class Tries(Callback):
        def on_train_batch_end(self, batch, logs):
            with pytest.raises(DataError, match="no room"):
                self.model.save(tmp_path / "m")

    whole = fit(model("cnn", "use_ema"), "use_ema", 2)
    monkeypatch.setattr(checkpoint, at, full)
    part = fit(model("cnn", "use_ema"), "use_ema", 2, callbacks=[Tries()])
    assert bits(part) == bits(whole)
    assert not list(tmp_path.iterdir())


WRONG = {
    "generator": {"bit_generator": "MT19937"}, "seen": -1, "means": np.zeros(9), "arrays": {},
    "callbacks": {"EarlyStopping 1": 3},
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_the_inside_of_an_epoch_is_refused_when_it_is_read(tmp_path, what):
    made = model("mlp")
    fit(made, "adam", 1, callbacks=[SavesWithin(tmp_path / "m", 0, 1)])
    good = Sequential.load(tmp_path / "m")
    setattr(good.standing.within, what, WRONG[what])
    good.save(tmp_path / "m")  # a model that was loaded keeps what it stands within
    with pytest.raises(DataError, match="what it says of the training cannot be used"):
        Sequential.load(tmp_path / "m")


def test_averages_predict_and_raw_weights_train_on(tmp_path):
    made = fit(model("mlp", "use_ema"), "use_ema", 2)
    again = through_file(made, tmp_path)
    assert np.array_equal(again.predict(X), made.predict(X))
    average, raw = (backend.fetch(made.optimizer.state[slot]) for slot in ("average", "raw"))
    assert np.array_equal(backend.fetch(made.flat.data), average)
    assert not np.array_equal(average, raw)
    again.layers[1].weights["kernel"].assign(again.layers[1].weights["kernel"].numpy() + 1)
    state.show_raw(again)
    assert np.array_equal(again.layers[1].weights["kernel"].numpy(), made.layers[1].weights["kernel"].numpy() + 1)
    last = [w.numpy().ravel() for w in again.layers[-1].weights.values()]
    assert np.array_equal(np.concatenate(last), raw[-sum(map(len, last)) :])


class Counts(Callback):
    """A callback of the user's own with a state: it counts the epochs, and adds up the weights at their ends."""

    def __init__(self):
        self.epochs, self.sums = 0, [np.zeros(3, "float32")]

    def on_epoch_end(self, epoch, logs):
        self.epochs += 1
        self.sums = [self.sums[0] + self.model.get_weights()[-1]]

    def get_state(self):
        return {"epochs": self.epochs, "sums": self.sums}

    def set_state(self, state):
        vars(self).update(state)


@pytest.mark.parametrize("way", ["call", "file", "during"])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_callbacks_go_on(way, first, tmp_path):
    """Also from a file that was written while callbacks behind the one that wrote it had not been told of the epoch."""

    def followers(name):
        made = [Counts(), EarlyStopping(patience=3, restore_best_weights=True),
                LearningRateScheduler(lambda epoch, rate: 3 * rate)]  # fmt: skip
        return [*made[:first], ModelCheckpoint(tmp_path / f"{name}{{epoch}}"), *made[first:]]

    one, other = followers("whole"), followers("part")
    whole = fit(model("mlp"), "adam", 9, callbacks=one)
    part = fit(model("mlp"), "adam", 3, callbacks=other)
    if way != "call":
        part = through_file(part, tmp_path) if way == "file" else Sequential.load(tmp_path / "part3")
    other = followers("part")
    if way != "during":  # the end of the training before went back to the best weights; that is undone here
        part = Sequential.load(tmp_path / "whole3") if way == "file" else part
    if way == "call":
        part.set_weights(Sequential.load(tmp_path / "whole3").get_weights())
    fit(part, "adam", 9, 3, other)
    assert part.history.history == whole.history.history
    assert bits(part) == bits(whole)
    for a, b in zip(one, other, strict=True):
        assert {k: str(v) for k, v in a.get_state().items()} == {k: str(v) for k, v in b.get_state().items()}


def test_a_training_that_a_callback_had_ended_is_not_gone_on_with(tmp_path):
    def followers():
        return [EarlyStopping("loss", mode="max", patience=1), ModelCheckpoint(tmp_path / "last")]

    whole = fit(model("mlp"), "adam", 9, callbacks=followers())
    part = fit(Sequential.load(tmp_path / "last"), "adam", 9, len(whole.history.epoch), followers())
    assert len(whole.history.epoch) < 9
    assert bits(part) == bits(whole)


def test_a_state_that_a_file_cannot_hold_names_its_callback(tmp_path):
    class Odd(Callback):
        def get_state(self):
            return {"odd": {1, 2}}

    with pytest.raises(UsageError, match=r"get_state of a callback \(Odd 1\) gave a set: a file holds"):
        fit(model("mlp"), "adam", 1, callbacks=[Odd(), ModelCheckpoint(tmp_path / "m")])


def test_a_gap_is_refused_where_the_model_knows_its_epochs(tmp_path):
    made = fit(model("mlp"), "adam", 2)
    with pytest.raises(UsageError, match=r"initial_epoch=5\) would leave a gap: .* has 2 epochs, .* initial_epoch=2"):
        fit(made, "adam", 6, 5)
    made.save(tmp_path / "m")
    other = model("mlp")
    other.build()
    other.load_weights(tmp_path / "m")
    assert fit(other, "adam", 6, 5).history.epoch == [5]


def test_what_compile_was_given_and_the_versions_are_kept(tmp_path, monkeypatch):
    made = model("mlp")
    made.check_finite, made.jit_compile = False, False
    again = through_file(fit(made, "adam", 1), tmp_path)
    assert (again.run_eagerly, again.check_finite, again.jit_compile) == (True, False, False)
    assert again.facts == {"batch_size": BATCH, "shuffle": True, "versions": state.versions()}
    monkeypatch.setattr(np, "__version__", "9.9")
    with pytest.warns(UserWarning, match=r"goes on with chalkgrad .*, numpy 9\.9, and was begun with chalkgrad"):
        fit(again, "adam", 1)
