"""Many steps of `fit` in one compiled call: near the list, the same bits each time, and the list where it cannot be."""

import ctypes
import time

import numpy as np
import pytest

from chalkgrad import Sequential, layers, optim
from chalkgrad.errors import DivergenceError
from chalkgrad.nn import ahead, hooks
from chalkgrad.nn.callbacks import Callback
from chalkgrad.replay import blas, epoch, fuse, layout, part_text, splitting

pytest.importorskip("numba")
pytestmark = [
    pytest.mark.cpu_only("a GPU has its own road"),
    pytest.mark.skipif(blas.library() is None, reason="NumPy has no BLAS of its own here"),
]
LABELS = "sparse_categorical_crossentropy"


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch, tmp_path_factory):
    """Also where it would not pay; what is compiled is kept for this session alone."""
    monkeypatch.setattr(ahead, "WORTH", 1)
    monkeypatch.setattr(layout, "ADDING", 1000)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path_factory.getbasetemp() / project)


@pytest.fixture
def samples(digits):
    x, y, *_ = digits
    return x[:200].reshape(-1, 64), y[:200]


def dense(*units, activation="relu", last="softmax", dtype="float32", **options):
    middle = [layers.Dense(n, activation, **options) for n in units]
    return Sequential([*middle, layers.Dense(10, last)], dtype=dtype)


def trained(x, y, model=None, jit="auto", optimizer="adam", loss=LABELS, metrics=("accuracy",), check=True, **fitted):
    model = model or dense(32)
    if model.loss is None:
        model.compile(optimizer, loss, metrics, jit_compile=jit, check_finite=check)
    model.fit(x, y, **{"batch_size": 16, "epochs": 2, "verbose": 0, "seed": 3} | fitted)
    return model


def bits(model):
    return [model.flat.data.tobytes(), *(a.tobytes() for a in model.optimizer.state.values()), model.history.history]


def said(model):
    return model.recorded["train"].explain()


def averaged_momentum():
    return optim.Momentum(0.1, nesterov=True, use_ema=True)


def dropped(model):
    return Sequential([layers.Dropout(0.2), *model.layers], dtype=model.dtype)


def regular():
    model = dropped(dense(32, 32, activation="gelu"))
    model.layers[2].trainable = False
    return model


CASES = {
    "labels": {},
    "deep": {
        "model": lambda: dropped(dense(32, 32, activation="tanh", last="sigmoid", dtype="float64", use_bias=False)),
        "targets": "float64", "loss": "mse", "metrics": (), "optimizer": averaged_momentum,
    },
}  # fmt: skip
LONG = {
    "bytes, one-hot": {
        "bytes": True, "targets": "float32", "loss": "categorical_crossentropy", "optimizer": "adamw",
    },
    "one layer": {"model": dense, "optimizer": "rmsprop"},
    "binary": {
        "model": lambda: dense(32, activation="silu", last="sigmoid"), "targets": "float32",
        "loss": "binary_crossentropy",
    },
    "four": {
        "model": lambda: dense(32, 64, 48, activation="elu"), "optimizer": lambda: optim.Adam(bias_correction=False),
    },
    "random numbers, frozen weights, clipping": {
        "model": lambda: regular(), "optimizer": lambda: optim.Adam(global_clipnorm=0.1),
    },
    "regularised, weighted": {
        "model": lambda: dense(32, kernel_regularizer="l1_l2"), "sample_weight": np.linspace(0, 1, 200),
    },
    "softmax over split units": {"model": lambda: dense(32, activation="softmax")},
    "mean absolute error": {
        "model": lambda: dense(32, last="linear"), "targets": "float32", "loss": "mae", "metrics": (),
    },
    "squared hinge": {
        "model": lambda: dense(32, last="tanh"), "targets": "float32", "loss": "squared_hinge", "metrics": (),
    },
    "schedule": {"optimizer": lambda: optim.GradientDescent(optim.CosineDecay(0.1, steps=20))},
}  # fmt: skip


def near_the_list(x, y, targets="", bytes=False, **case):
    y = np.eye(10, dtype=targets)[y] if targets else y
    x = (x * 255).astype("uint8") if bytes else x
    make = {name: case.pop(name) for name in ("model", "optimizer") if callable(case.get(name))}
    runs = [trained(x, y, jit=jit, epochs=1, **{n: f() for n, f in make.items()}, **case) for jit in ("exact", "auto")]
    assert "in 2 parts" in said(runs[1]) or "in 4 parts" in said(runs[1])
    assert "parts" not in said(runs[0])
    bound = 1e-4 if runs[0].dtype == "float32" else 1e-12  # Adam makes much of a gradient that is rounding alone
    for a, b in zip(*(r.get_weights() for r in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * np.abs(a).max())
    np.testing.assert_allclose(*(r.history.history["loss"] for r in runs), rtol=1e-6)
    assert runs[0].optimizer.iterations == runs[1].optimizer.iterations == 13


@pytest.mark.parametrize("case", CASES)
def test_near_the_list(samples, case):
    near_the_list(*samples, **CASES[case])


@pytest.mark.deep
@pytest.mark.parametrize("case", LONG)
def test_others_near_the_list(samples, case):
    near_the_list(*samples, **LONG[case])


def parts_of(model, x, y, **options):
    """The step of a training in parts, as text."""
    program = next(
        r.program for r in trained(x, y, model, "exact", epochs=1, **options).recorded["train"].recordings.values()
    )
    return part_text.Text(splitting.split(program._listed, program.inputs)).source


@pytest.mark.parametrize("activation", [name for name, primitive in layers.ACTIVATIONS.items() if primitive])
def test_every_activation_is_taken(samples, activation):
    assert "section1" in parts_of(dense(32, activation=activation), *samples)


@pytest.mark.parametrize("optimizer", optim.OPTIMIZERS)
def test_every_optimizer_is_taken(samples, optimizer):
    assert "section1" in parts_of(dense(32), *samples, optimizer=optimizer)


def test_samples_that_lie_otherwise(samples):
    """As those of a pandas table do, or of every second column, or in reverse."""
    x, y = samples
    there = np.asfortranarray(np.repeat(x, 2, axis=1))[::-1, ::2]
    assert bits(trained(there, y, epochs=1)) == bits(trained(np.ascontiguousarray(there), y, epochs=1))


class Looks(Callback):
    """Wants to be told of each batch."""

    def on_train_batch_end(self, batch, logs):
        assert np.isfinite(logs["loss"])


def test_the_same_bits_each_time(samples, monkeypatch):
    """With one thread or two, in one call or step by step, in one fit or in two."""
    expected = bits(trained(*samples))
    assert bits(trained(*samples, callbacks=[Looks()])) == expected
    for cores in (1, 2):
        monkeypatch.setattr(epoch, "cores", lambda cores=cores: cores)
        assert bits(trained(*samples)) == expected
    begun = trained(*samples, epochs=1)
    again = trained(*samples, model=begun, epochs=2, initial_epoch=1, seed=None)
    assert bits(again) == expected


def test_taken_up_from_a_file(samples, tmp_path):
    begun = trained(*samples, epochs=1)
    begun.save(tmp_path / "model.safetensors")
    loaded = Sequential.load(tmp_path / "model.safetensors")
    assert bits(trained(*samples, model=loaded, initial_epoch=1, seed=None)) == bits(trained(*samples))


@pytest.mark.parametrize("batches", [5, 12])  # within the whole ones, and before the short last one
def test_taken_up_within_an_epoch(samples, tmp_path, monkeypatch, batches):
    class Saves(Callback):
        each_batch, seen = False, 0

        def on_train_batch_begin(self, batch):
            if batch == batches and not self.seen:
                self.seen = 1
                self.model.save(tmp_path / "model.safetensors")

    monkeypatch.setattr(hooks, "AHEAD", 5 if batches == 5 else 12)
    trained(*samples, epochs=3, callbacks=[Saves()])
    loaded = Sequential.load(tmp_path / "model.safetensors")
    assert loaded.standing.within.seen == 16 * batches
    assert bits(trained(*samples, loaded, epochs=3)) == bits(trained(*samples, epochs=3))


def test_an_optimizer_changed_between_epochs(samples):
    class Change(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 1:
                self.model.optimizer.beta_1, self.model.optimizer.learning_rate = 0.5, 0.01

    runs = [trained(*samples, jit=jit, callbacks=[Change()]) for jit in ("exact", "auto")]
    for a, b in zip(*(r.get_weights() for r in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-3)


def test_what_is_not_finite_goes_the_same_way(samples):
    def run(**options):
        with np.errstate(all="ignore"):
            return trained(*samples, optimizer=optim.Adam(1e30), epochs=1, **options)

    runs = [run(jit=jit, check=False) for jit in (False, "auto")]
    for a, b in zip(*(r.get_weights() for r in runs), strict=True):
        assert np.isnan(a).any()
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    assert np.isnan(runs[1].history.history["loss"]).all()
    with pytest.raises(DivergenceError, match="epoch 1, step"):
        run()


@pytest.mark.parametrize("jit", ["auto", "exact"])
def test_epochs_stay_clear_of_subnormals(samples, jit):
    """Pixels that are never there, and such as are there in one sample only: in 30 epochs their state decays."""

    class Counts(Callback):
        most = 0

        def on_epoch_end(self, epoch):
            optimizer = self.model.optimizer
            assert all(not below(a).any() for a in (self.model.flat.data, self.model.flat.gradient))
            self.most = max(self.most, *(below(a).mean() for a in optimizer.state.values()))

    def below(array):
        return (array != 0) & (np.abs(array) < np.finfo("f").smallest_normal)

    x, y = samples[0].copy(), samples[1]
    x[:, :20], x[1:, 20:40] = 0, 0
    counts = Counts()
    model = trained(x, y, batch_size=4, epochs=30, callbacks=[counts], jit=jit)
    assert ("2 parts" in said(model)) is (jit == "auto")
    assert counts.most < 0.005  # what came among them within 16 updates


@pytest.mark.parametrize("absent", ["Numba", "BLAS", "size"])
def test_without_what_it_needs_it_is_the_list(samples, monkeypatch, absent):
    expected = bits(trained(*samples, jit="exact"))
    if absent == "Numba":
        monkeypatch.setattr(fuse, "available", lambda: False)
    if absent == "BLAS":
        monkeypatch.setattr(blas, "library", lambda: None)
    if absent == "size":
        monkeypatch.setattr(ahead, "WORTH", 1 << 40)
    assert bits(trained(*samples)) == expected


def test_a_step_that_it_does_not_take_is_the_list(samples):
    def make():
        return Sequential([layers.Dense(32, "relu"), layers.BatchNormalization(), layers.Dense(10, "softmax")])

    model = trained(*samples, model=make())
    assert bits(model) == bits(trained(*samples, model=make(), jit="exact"))
    assert "not, since reshape has no rule" in said(model)


def test_large_products_are_left_to_the_threads_of_blas(samples, monkeypatch):
    monkeypatch.setattr(layout, "LARGE", 1 << 10)
    model = trained(*samples)
    assert bits(model) == bits(trained(*samples, jit="exact"))
    assert "BLAS's own threads" in said(model)


def test_who_is_interrupted_lets_the_others_go():
    def waits(thread, threads, counter):
        if thread == 0:
            raise KeyboardInterrupt
        while ctypes.c_int64.from_address(counter).value < threads:
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        epoch.together(waits, 3, [])


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "file")
    assert epoch._kept("text", "") is None


@pytest.mark.deep
def test_what_is_kept_may_be_damaged(samples, monkeypatch, tmp_path):
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path)
    monkeypatch.setattr(epoch, "_compiled", {})
    expected = bits(trained(*samples))
    (kept,) = (tmp_path / "compiled" / "__pycache__").glob("*.nbc")
    whole = kept.stat().st_size
    kept.write_bytes(b"damaged")
    monkeypatch.setattr(epoch, "_compiled", {})
    assert bits(trained(*samples)) == expected
    (kept,) = (tmp_path / "compiled" / "__pycache__").glob("*.nbc")
    assert kept.stat().st_size > whole // 2


def test_what_numba_refuses_is_the_list(samples, monkeypatch):
    monkeypatch.setattr(epoch, "compiled", lambda *_: 1 / 0)
    model = trained(*samples)
    assert bits(model) == bits(trained(*samples, jit="exact"))
    assert "not, since ZeroDivisionError" in said(model)
