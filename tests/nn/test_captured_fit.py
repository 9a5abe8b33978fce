"""fit, evaluate and predict give the same to the last bit, recorded and replayed or on the tape (run_eagerly)."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers, metrics, optim
from chalkgrad.engine import random as streams
from chalkgrad.errors import DataError
from chalkgrad.nn import compiled
from chalkgrad.nn.callbacks import Callback, EarlyStopping, LearningRateScheduler, TerminateOnNaN
from chalkgrad.nn.fitting import FITTING
from chalkgrad.nn.losses import LOSSES, make_loss
from chalkgrad.replay import fuse


class Told(Callback):
    """Keeps what the recorded training step says about itself."""

    def __init__(self):
        self.text = ""

    def on_epoch_end(self, epoch, logs):
        if epoch < self.params["epochs"] - 1 and not self.model.stop_training:
            return
        self.text = "\n".join(step.explain() for step in self.model.recorded_steps if "_step" in step.__name__)


class AtEpoch(Callback):
    """Does something to the model before one epoch."""

    def __init__(self, change, epoch=2):
        self.change, self.epoch = change, epoch

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            self.change(self.model)


def data(seed=0, rows=50, dtype="float32"):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 4)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, rows)]


def net(*middle, last="softmax", **options):
    return Sequential([layers.Dense(6, "tanh", input_shape=(4,)), *middle, layers.Dense(3, last)], **options)


def run(eagerly, make, x, y, compiled, callbacks, evaluated, fitted):
    model, told = make(), Told()
    options = {"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]} | compiled
    options = {name: value() if getattr(value, "fresh", False) else value for name, value in options.items()}
    model.compile(**options, run_eagerly=eagerly)
    followers = [*callbacks(), *([] if eagerly else [told])]
    history = model.fit(x, y, verbose=0, callbacks=followers, **{"epochs": 4, "batch_size": 8} | fitted).history
    found = [history, [w.tobytes() for w in model.get_weights()], model.optimizer.iterations]
    found.append({k: v.tobytes() for k, v in model.optimizer.state.items()})
    if evaluated:
        found += [model.evaluate(x, y, batch_size=size, verbose=0) for size in (7, 7, 7, 50)]
        found += [model.predict(x, batch_size=size, verbose=0).tobytes() for size in (7, 7, 7, 50)]
    return found, told.text


def agree(make=net, x=None, y=None, *, callbacks=tuple, replayed=True, evaluated=True, fitted=None, **compiled):
    """Assert that both ways give the same history, weights, state, evaluation and predictions; returns what is told."""
    given_x, given_y = data()
    x, y = given_x if x is None else x, given_y if y is None else y
    (expected, _), (found, told) = (
        run(eagerly, make, x, y, compiled, callbacks, evaluated, fitted or {}) for eagerly in (True, False)
    )
    assert found == expected
    if replayed is not None:
        assert ("replayed" in told) is replayed, told
        assert ("on the tape, since" in told) is not replayed, told
    return told


def fresh(make):
    """Made anew for each of the two trainings."""
    make.fresh = True
    return make


# Losses and metrics


@pytest.mark.parametrize("name", ["mse", "mae", "huber", *[name for name, kind in LOSSES.items() if kind.on_logits]])
@pytest.mark.parametrize("fused", [True, False])
def test_each_loss(name, fused):
    loss, (_, y) = make_loss(name), data()
    last = loss.fuses if fused and loss.fuses else "sigmoid" if name == "binary_crossentropy" else "softmax"
    make = lambda: net(last=last if fused else "softplus" if last == "softmax" else "gaussian")  # noqa: E731
    labels = loss.targets == "labels"
    agree(make, y=y.argmax(axis=1) if labels else y, loss=name, metrics=["accuracy" if labels else "mae"] * fused)


ON_CPU = pytest.mark.cpu_only(
    "a chain of elementwise calls is one loop on a GPU, which may contract a product and a sum"
)


@pytest.mark.parametrize(
    "name",
    [*FITTING.values(), "mse", "mae", "auc", "f1_score", pytest.param("r2_score", marks=ON_CPU), "one_hot"],
)
def test_each_kind_of_metric(name):
    _, y = data()
    last = "sigmoid" if name == "binary_accuracy" else "softmax"
    metric = {"f1_score": metrics.F1Score(), "one_hot": metrics.OneHotMeanIoU(3)}.get(name, name)
    agree(lambda: net(last=last), y=y.argmax(axis=1) if name == "sparse_categorical_accuracy" else y, metrics=[metric],
          replayed=True,
          loss="sparse_categorical_crossentropy" if name == "sparse_categorical_accuracy" else "mse")  # fmt: skip


def test_several_metrics_beside_a_fused_loss():
    agree(metrics=["accuracy", "mae", "mse"])
    agree(lambda: net(last="sigmoid"), loss="binary_crossentropy", metrics=["accuracy", "mse"])


# Data


@pytest.mark.parametrize("batch_size", [1, 7, 16, 49, 50, 64])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches(batch_size, shuffle):
    epochs = 2 if batch_size < 8 else 12
    agree(
        lambda: net(layers.Dropout(0.3)),
        fitted={"batch_size": batch_size, "shuffle": shuffle, "epochs": epochs, "seed": 3},
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes(dtype):
    x, y = data(dtype="float64")
    agree(lambda: net(dtype=dtype), x, y)


@pytest.mark.parametrize("kind", ["uint8", "int64", "bool", "float64", "fortran", "reversed", "lists"])
def test_kinds_of_samples(kind):
    x = (np.random.default_rng(0).random((50, 4)) * 255).astype("uint8")
    chosen = {
        "fortran": np.asfortranarray(x), "reversed": x[::-1, ::-1], "lists": (x / 255).tolist(),
    }.get(kind, x if kind in ("fortran", "reversed", "lists") else x.astype(kind))  # fmt: skip
    agree(x=chosen)


@pytest.mark.parametrize("kind", ["uint8", "int32", "float64", "column"])
def test_kinds_of_labels(kind):
    labels = data()[1].argmax(axis=1)
    y = labels[:, None] if kind == "column" else labels.astype(kind)
    agree(y=y, loss="sparse_categorical_crossentropy")


def test_images(digits):
    x, labels, *_ = digits
    images = (x[:200] * 255).astype("uint8")
    make = lambda: Sequential([layers.Flatten(input_shape=(8, 8)), layers.Dense(10, "softmax")])  # noqa: E731
    agree(make, images, labels[:200], loss="sparse_categorical_crossentropy")


def test_validation_and_evaluation_of_the_training():
    agree(fitted={"validation_split": 0.3, "evaluate_training": True})
    agree(lambda: net(layers.Dropout(0.5)), fitted={"validation_data": data(seed=1, rows=11)})


def test_a_training_that_goes_on():
    def run(eagerly):
        model, (x, y) = net(layers.Dropout(0.2)), data()
        model.compile("adam", "categorical_crossentropy", run_eagerly=eagerly)
        for rows, first, last in ((50, 0, 3), (31, 3, 6), (50, 6, 8)):
            model.fit(x[:rows], y[:rows], initial_epoch=first, epochs=last, batch_size=8, verbose=0)
        return model.history.history, [w.tobytes() for w in model.get_weights()]

    assert run(False) == run(True)


def test_two_models_and_two_trainings_within_one_another():
    def run(eagerly):
        (x, y), models = data(), [net(layers.Dropout(0.2), seed=n) for n in range(2)]
        for model in models:
            model.compile("adam", "categorical_crossentropy", run_eagerly=eagerly)

        class Another(Callback):
            def on_epoch_end(self, epoch, logs):
                for model in models:
                    model.fit(x, y, epochs=2, batch_size=8, verbose=0)

        models[0].fit(x, y, epochs=3, batch_size=8, verbose=0, callbacks=[Another()])
        return [w.tobytes() for model in models for w in model.get_weights()]

    assert run(False) == run(True)


# Optimisers


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_each_optimizer(name):
    schedule = optim.WarmUp(optim.CosineDecay(0.05, steps=15), steps=5)
    agree(optimizer=fresh(lambda: optim.OPTIMIZERS[name](schedule, global_clipnorm=0.3)))


# What happens between the epochs


def load(model):
    model.save(FOLDER[0] / "model.safetensors")
    model.set_weights([w * 0 for w in model.get_weights()])
    model.load_weights(FOLDER[0] / "model.safetensors")


FOLDER = []
SEEN = {
    "learning rate": lambda m: setattr(m.optimizer, "learning_rate", 0.3),
    "schedule": lambda m: setattr(m.optimizer, "learning_rate", optim.StepDecay(0.1, every=3)),
    "iterations": lambda m: setattr(m.optimizer, "iterations", 0),
    "dropout rate": lambda m: setattr(m.layers[1], "rate", 0.7),
    "no dropout": lambda m: setattr(m.layers[1], "rate", 0.0),
    "weights": lambda m: m.set_weights([w * 0.5 for w in m.get_weights()]),
    "a weight": lambda m: m.layers[0].weights["bias"].assign(1.0),
    "load": load,
    "loss": lambda m: setattr(m, "loss", make_loss("mse")),
    "evaluate": lambda m: m.evaluate(*data(seed=2), verbose=0),
    "predict": lambda m: m.predict(data(seed=2)[0], verbose=0),
    "gradients": lambda m: [setattr(w, "grad", cg.ones_like(w)) for w in m.weights],
    "generator": lambda m: streams.uniform(np.random.default_rng(0), like=m.weights[0]),
}
UNSEEN = {
    "frozen": lambda m: setattr(m.layers[0].weights["kernel"], "requires_grad", False),
    "optimizer": lambda m: setattr(m, "optimizer", optim.GradientDescent(0.5)),
    "clipnorm": lambda m: setattr(m.optimizer, "global_clipnorm", 0.001),
    "hyperparameters": lambda m: m.optimizer.hyperparameters.update(beta_1=0.1),
    "another weight": lambda m: m.layers[0].weights.update(bias=cg.tensor([0.5] * 6, requires_grad=True)),
    "activation": lambda m: setattr(m.layers[0], "function", cg.relu),
}


@pytest.mark.parametrize("name", SEEN)
def test_changed_between_the_epochs(name, tmp_path):
    FOLDER[:] = [tmp_path]
    agree(lambda: net(layers.Dropout(0.3)), callbacks=lambda: [AtEpoch(SEEN[name])])


@pytest.mark.parametrize("name", UNSEEN)
def test_changed_between_the_epochs_in_what_is_recorded(name):
    agree(
        callbacks=lambda: [AtEpoch(UNSEEN[name])],
        optimizer=fresh(lambda: optim.Adam(0.05, global_clipnorm=5.0)),
        replayed=None,
    )


def test_our_callbacks():
    agree(callbacks=lambda: [LearningRateScheduler(lambda epoch, rate: rate * 0.5), TerminateOnNaN()])
    agree(callbacks=lambda: [EarlyStopping("loss", patience=0, min_delta=1.0, restore_best_weights=True)])


class StopAfter(Callback):
    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs):
        self.left -= 1
        if not self.left:
            self.model.stop_training = True


@pytest.mark.parametrize("batches", [1, 2, 3, 7, 17])
def test_stopped_in_the_middle(batches):
    agree(lambda: net(layers.Dropout(0.3)), callbacks=lambda: [StopAfter(batches)], replayed=None)


class Collected(Callback):
    def __init__(self, into):
        self.into = into

    def on_train_batch_end(self, batch, logs):
        self.into.append(dict(logs))


def test_running_means_of_each_batch():
    seen = []
    agree(callbacks=lambda: [Collected(seen)])
    assert len(seen) == 2 * 4 * 7
    assert seen[:28] == seen[28:]


class Interrupted(Callback):
    def on_train_batch_end(self, batch, logs):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 17:
            raise KeyboardInterrupt


def test_an_interrupted_training_lets_go_of_what_was_recorded_and_can_go_on():
    def run(eagerly):
        model, (x, y) = net(layers.Dropout(0.2)), data()
        model.compile("adam", "categorical_crossentropy", run_eagerly=eagerly)
        given = weakref.ref(x)
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, epochs=4, batch_size=8, verbose=0, callbacks=[Interrupted()])
        del x
        gc.collect()
        assert given() is None
        x, _ = data()
        assert all(not hasattr(w._data, "place") and w.grad is None for w in model.weights)
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
        return [w.tobytes() for w in model.get_weights()]

    assert run(False) == run(True)


# Layers of one's own


class Scale(layers.Layer):
    config_names = ("factor",)

    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def apply(self, weights, x, *, training, generator):
        return x * self.factor


class Unlisted(Scale):
    config_names = ()


class Gain(layers.Layer):
    def make_weights(self, input_shape, generator):
        return {"gain": np.ones(input_shape), "shift": generator.random(input_shape)}

    def apply(self, weights, x, *, training, generator):
        y = (x - x.mean(axis=-1, keepdims=True)) / cg.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        return y * weights["gain"] + weights["shift"]


class Normalized(layers.Layer):
    """Subtracts the batch's mean; a running one in evaluation, which it keeps in a tensor outside."""

    def __init__(self):
        super().__init__()
        self.mean = cg.tensor(np.zeros(6, "float32"))

    def apply(self, weights, x, *, training, generator):
        if training:
            self.mean.assign(self.mean * 0.9 + x.mean(axis=0).detach() * 0.1)
            return x - x.mean(axis=0)
        return x - self.mean


class Rebound(Normalized):
    def apply(self, weights, x, *, training, generator):
        if training:
            self.mean = self.mean * 0.9 + x.mean(axis=0).detach() * 0.1
        return x - self.mean


class Masked(layers.Layer):
    def apply(self, weights, x, *, training, generator):
        return x * (streams.uniform(generator, like=x) > 0.5).astype(x.dtype) if training else x * 0.5


class Noise(layers.Layer):
    def apply(self, weights, x, *, training, generator):
        return x + generator.standard_normal(x.shape).astype(x.dtype) * 0.1 if training else x


class Annealed(Unlisted):
    def apply(self, weights, x, *, training, generator):
        if training:
            self.factor *= 0.99
        return x * self.factor


class Branching(layers.Layer):
    def apply(self, weights, x, *, training, generator):
        return x * 2 if float(x.sum()) > 0 else x


class Looked(layers.Layer):
    def apply(self, weights, x, *, training, generator):
        return x * float(np.abs(x.numpy()).max())


@pytest.mark.parametrize("kind", [Scale, Gain, Masked, Normalized])
def test_a_layer_of_ones_own_is_replayed(kind):
    agree(lambda: net(kind()))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Rebound, "kept by somebody else"), (Noise, "made anew in each call"), (Annealed, "was given"),
        (Branching, "a value is read"), (Looked, "values are read"),
    ],
)  # fmt: skip
def test_a_layer_of_ones_own_that_cannot_be_replayed(kind, reason):
    assert reason in agree(lambda: net(kind()), replayed=False)


def test_a_listed_setting_of_a_layer_of_ones_own_changes():
    agree(lambda: net(Scale(1.0)), callbacks=lambda: [AtEpoch(lambda m: setattr(m.layers[1], "factor", 0.1))])


def test_an_unlisted_setting_of_a_layer_of_ones_own_changes():
    agree(lambda: net(Unlisted(1.0)), callbacks=lambda: [AtEpoch(lambda m: setattr(m.layers[1], "factor", 0.1))])


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.layers[1], "factor", 0.1),
        lambda m: m.layers[0].weights.update(bias=cg.tensor(np.ones(6, "float32"))),
    ],
    ids=["a number", "a weight"],
)
def test_evaluation_after_a_layer_changed(change):
    def run(eagerly):
        model, (x, y) = net(Unlisted(1.0)), data()
        model.compile("adam", "mse", ["mae"], run_eagerly=eagerly)
        model.build()
        found = []
        for _ in range(2):
            found += [model.evaluate(x, y, batch_size=10, verbose=0), model.predict(x, batch_size=10).tobytes()]
            change(model)
        return found

    assert run(False) == run(True)


# Losses of one's own


def robust(y, p):
    return ((y - p) ** 2).mean() + 0.01 * abs(p).sum()


def focal(y, p):
    return -(y * (1 - p) ** 2 * cg.log(p + 1e-7)).sum(axis=-1).mean()


def picked(y, p):
    return -cg.log(p[np.arange(len(p)), cg.argmax(y, axis=-1)]).mean()


def branching(y, p):
    loss = ((y - p) ** 2).mean()
    return loss * 2 if loss > 0.2 else loss


def through_numpy(y, p):
    return cg.mean((p - y.numpy()) ** 2)


@pytest.mark.parametrize("loss", [robust, focal, picked])
def test_a_loss_of_ones_own_is_replayed(loss):
    agree(loss=loss, metrics=())


@pytest.mark.parametrize(("loss", "reason"), [(branching, "a value is read"), (through_numpy, "values are read")])
def test_a_loss_of_ones_own_that_cannot_be_replayed(loss, reason):
    told = agree(loss=loss, metrics=(), replayed=False)
    assert reason in told
    assert "(test_captured_fit.py:" in told


@pytest.mark.cpu_only("labels on a GPU are not looked at, since that would wait for it")
def test_bad_labels_of_a_loss_of_ones_own_are_refused():
    x, y = data()
    labels = y.argmax(axis=1)
    labels[45] = 7

    def loss(labels, p):
        return cg.sparse_categorical_cross_entropy(p, labels)

    for eagerly in (True, False):
        model = net(last=None)
        model.compile("adam", loss, run_eagerly=eagerly)
        with pytest.raises(DataError, match="label 7"):
            model.fit(x, labels, epochs=3, batch_size=8, shuffle=False, verbose=0)


# Metrics of one's own


def root(xp, y, p):
    return xp.sqrt(xp.mean((y - p) ** 2))


def top_two(xp, y, p):
    return xp.mean(xp.any(xp.argsort(p, axis=-1)[:, -2:] == xp.argmax(y, axis=-1)[:, None], axis=-1))


def half_power(xp, y, p):
    return ((y - p) ** 2).mean() ** 0.5


def correlation(xp, y, p):
    return ((y - y.mean()) * (p - p.mean())).sum() / xp.sqrt(xp.var(y) * xp.var(p))


def as_number(xp, y, p):
    return float(xp.mean(p))


def on_the_host(xp, y, p):
    return xp.mean(p) if xp.mean(p) > 0.33 else xp.mean(y)


def by_asarray(xp, y, p):
    return np.median(np.asarray(p))


def by_ufunc(xp, y, p):
    return np.sqrt(np.mean((y - p) ** 2))


def spread(xp, y, p):
    return p.std()


def flattened(xp, y, p):
    return xp.mean(p.ravel() - y.flatten())


def cubed(xp, y, p):
    return xp.mean(xp.abs(y - p)) ** 3


def filled(xp, y, p):
    return xp.mean(xp.full(3, xp.max(p)) * 2)


def written(xp, y, p):
    best = xp.zeros(p.shape)
    xp.copyto(best, p)
    return xp.mean(best)


@pytest.mark.parametrize("metric", [root, top_two, half_power, correlation])
def test_a_metric_of_ones_own_is_replayed(metric):
    agree(metrics=[metric, "accuracy"])


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (as_number, "a value is read"),
        (on_the_host, "a value is read"),
        pytest.param(by_asarray, "a function of NumPy is called", marks=pytest.mark.cpu_only("it calls NumPy")),
    ],
)
def test_a_metric_of_ones_own_that_cannot_be_replayed(metric, reason, host_scalars):
    assert reason in agree(metrics=[metric, "accuracy"], replayed=False)


@pytest.mark.parametrize(
    "metric",
    [
        pytest.param(by_ufunc, marks=pytest.mark.cpu_only("it calls NumPy")),
        pytest.param(spread),
        pytest.param(flattened),
        pytest.param(cubed),
        pytest.param(filled),
        pytest.param(written),
    ],
)
def test_another_metric_of_ones_own(metric):
    agree(metrics=[metric], replayed=None)


def remembering():
    past = {"mean": 0.0}

    def metric(xp, y, p):
        past["mean"] = 0.9 * past["mean"] + 0.1 * xp.mean(p)
        return xp.asarray(past["mean"])

    return [metric]


@pytest.mark.cpu_only("it keeps an array of a step while that is recorded, which CuPy does not take for one")
def test_a_metric_that_remembers():
    agree(metrics=fresh(remembering), replayed=False)


def collecting(seen, change):
    def make():
        kept = np.zeros(()) if change == "adds" else []
        seen.append(kept)

        def metric(xp, y, p):
            nonlocal kept
            if change == "adds":
                kept += xp.mean(p)
            else:
                kept.append(p.copy())
            return xp.mean(p)

        return [metric]

    return fresh(make)


@pytest.mark.cpu_only("it calls NumPy")
@pytest.mark.parametrize("change", ["adds", "collects"])
def test_a_metric_that_keeps_arrays(change):
    seen = []
    agree(metrics=collecting(seen, change), replayed=None, evaluated=False)
    found, expected = ([np.asarray(x) for x in (kept if change == "collects" else [kept])] for kept in seen[::-1])
    assert [x.tobytes() for x in found] == [x.tobytes() for x in expected]


# Evaluation and prediction


def test_evaluation_and_prediction_follow_the_weights():
    def run(eagerly):
        model, (x, y) = net(layers.Dropout(0.5)), data()
        model.compile("adam", "categorical_crossentropy", ["accuracy", "mae"], run_eagerly=eagerly)
        model.build()
        found = []
        for n in range(4):
            found += [model.evaluate(x, y, batch_size=9, verbose=0), model.predict(x, batch_size=9).tobytes()]
            model.set_weights([w + 0.1 * n for w in model.get_weights()])
        return found

    assert run(False) == run(True)


def test_predictions_have_memory_of_their_own():
    model, (x, _) = net(), data()
    model.compile("adam", "mse")
    model.build()
    first = model.predict(x, batch_size=10)
    kept = first.copy()
    model.predict(x * 2, batch_size=10)
    np.testing.assert_array_equal(first, kept)


def test_the_batch_size_of_an_evaluation_that_is_recorded_changes_nothing_but_rounding():
    model, (x, y) = net(), data()
    model.compile("adam", "categorical_crossentropy", ["accuracy"])
    model.build()
    found = [model.evaluate(x, y, batch_size=size, verbose=0) for size in (1, 3, 10, 50)]
    np.testing.assert_allclose(found, [found[0]] * 4, rtol=1e-6)


# Data on a disk


@pytest.fixture
def on_disk(tmp_path):
    """Samples in a file of some megabytes, mapped into memory, and labels likewise."""
    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (20_000, 100))
    x[:] = rng.random((20_000, 100), dtype="float32")
    y = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", "uint8", (20_000,))
    y[:] = x[:, 0] * 3
    x.flush()
    y.flush()
    return np.load(tmp_path / "x.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")


def trained_on(x, y, eagerly=False):
    model = Sequential([layers.Dense(8, "relu", input_shape=x.shape[1:]), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"], eagerly, jit_compile=False)
    history = model.fit(x, y, epochs=1, batch_size=256, verbose=0).history
    return history, [w.tobytes() for w in model.get_weights()], model.evaluate(x, y, verbose=0)


def test_a_memory_map_trains_as_the_same_data_in_memory(on_disk):
    x, y = on_disk
    assert isinstance(x, np.memmap)
    trained = trained_on(x, y)
    assert trained == trained_on(np.array(x), np.array(y))
    assert trained == trained_on(x, y, eagerly=True)


@pytest.mark.cpu_only("data that fits onto a GPU is moved there whole")
def test_a_memory_map_is_not_read_whole(on_disk):
    x, y = on_disk
    trained_on(x[:4096], y[:4096])
    tracemalloc.start()
    try:
        trained_on(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 4


# What a loss, a metric or a layer reads changes


class Changing(Callback):
    """Changes what it is given after one batch, and at the end of each epoch."""

    def __init__(self, change, batch):
        self.change, self.batch = change, batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.change()

    def on_epoch_end(self, epoch, logs=None):
        self.change()


class Cooled(layers.Layer):
    """Keeps its setting in a dict."""

    def __init__(self, **options):
        super().__init__(**options)
        self.settings = {"factor": 1.0}

    def apply(self, weights, x, *, training, generator):
        return x * self.settings["factor"]


@pytest.mark.parametrize("part", ["loss", "metric", "layer", "activation", "rate"])
@pytest.mark.parametrize("batch", [None, 3])
def test_what_the_parts_of_a_step_read_changes_between_epochs_and_batches(part, batch):
    def trained(eagerly):
        beta, cooled, dropout = {"b": 1.0}, Cooled(), layers.Dropout(0.2)
        activation = (lambda x: x * beta["b"]) if part == "activation" else "tanh"
        model = Sequential([layers.Dense(6, activation, input_shape=(4,)), cooled, dropout, layers.Dense(3)])

        def loss(t, p):
            return (beta["b"] if part == "loss" else 1.0) * ((t - p) ** 2).mean()

        def near(xp, t, p):
            return xp.mean(xp.abs(t - p) < (beta["b"] if part == "metric" else 1.0))

        def change():
            beta["b"] *= 0.5
            if part == "layer":
                cooled.settings["factor"] *= 0.5
            if part == "rate":
                dropout.rate *= 0.5

        model.compile("sgd", loss, metrics=[near], run_eagerly=eagerly)
        x, y = data(rows=64)
        fitted = model.fit(x, y, epochs=4, batch_size=8, verbose=0, callbacks=[Changing(change, batch)],
                           validation_data=(x, y))  # fmt: skip
        return [w.tobytes() for w in model.get_weights()], fitted.history

    assert trained(False) == trained(True)


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
def test_a_step_recorded_in_one_fit_serves_the_next():
    model, (x, y) = net(), data(rows=64)
    model.compile("adam", "categorical_crossentropy")
    for _ in range(3):
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
        x, y = x.copy(), y.copy()
    (recording,) = model.recorded["train"].recordings.values()
    assert recording.replays == 3 * 2 * 8 - 2


@pytest.mark.cpu_only("a GPU's steps are always recorded")
def test_a_large_model_stays_on_the_tape_unless_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(compiled, "RECORDED", 50)
    steps = []
    for jit in ("auto", True) if fuse.available() else ("auto",):
        model = net()
        model.compile("adam", "categorical_crossentropy", jit_compile=jit)
        model.fit(*data(), batch_size=5, verbose=0)
        steps.append(len(model.recorded))
    assert steps in ([0, 1], [0])
