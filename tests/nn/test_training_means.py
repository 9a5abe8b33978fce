"""Augmentation in fit, averaged weights and smoothed labels: what they compute, and that nothing else changes it."""

import threading

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.datasets import Augmentation
from chalkgrad.engine import backend
from chalkgrad.errors import ShapeError, UsageError
from chalkgrad.nn import Sequential, layers
from chalkgrad.nn.callbacks import Callback
from chalkgrad.nn.losses import CategoricalCrossentropy
from chalkgrad.optim import Adam

RNG = np.random.default_rng(0)
X = RNG.random((50, 6, 5), dtype=np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 50)]
SHAKEN = Augmentation(rotation=20, shift=1, elastic=0.5, elastic_grid=3)


def net(device, optimizer="adam", loss="categorical_crossentropy", **options):
    model = Sequential([layers.Flatten(input_shape=(6, 5)), layers.Dense(3, activation="softmax")], device=device)
    model.compile(optimizer, loss=loss, metrics=["accuracy"], **options)
    return model


def trained(device, *, epochs=3, augmentation=SHAKEN, optimizer=None, callbacks=None, seed=0, **options):
    model = net(device, optimizer or Adam(0.05), **options)
    model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, augmentation=augmentation, callbacks=callbacks, seed=seed)
    return model


def flat(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def test_augmentation_is_applied_anew_to_each_batch_and_follows_the_seed(device):
    seen = []

    def watched(images, generator):
        seen.append((images.shape, images.dtype, generator.random()))
        return SHAKEN(images, generator)

    one = trained(device, augmentation=watched)
    assert [shape for shape, _, _ in seen] == [(16, 6, 5)] * 3 + [(2, 6, 5)] + ([(16, 6, 5)] * 3 + [(2, 6, 5)]) * 2
    assert len({number for _, _, number in seen}) == 12
    assert {dtype for _, dtype, _ in seen} == {np.dtype("float32")}
    np.testing.assert_array_equal(flat(trained(device)), flat(trained(device)))
    assert not np.allclose(flat(trained(device, seed=1)), flat(trained(device)))
    assert not np.allclose(flat(one), flat(trained(device, augmentation=None)))


def test_captured_and_eager_see_the_same_images(device):
    np.testing.assert_array_equal(flat(trained(device)), flat(trained(device, run_eagerly=True)))


def test_augmentation_that_changes_nothing_is_none(device):
    np.testing.assert_array_equal(flat(trained(device, augmentation=lambda images, generator: images)),
                                  flat(trained(device, augmentation=None)))  # fmt: skip


def test_a_training_taken_up_again_sees_the_images_of_its_epochs():
    whole, parts = trained("cpu", epochs=4), trained("cpu", epochs=2)
    parts.fit(X, Y, batch_size=16, epochs=4, initial_epoch=2, verbose=0, augmentation=SHAKEN)
    np.testing.assert_array_equal(flat(parts), flat(whole))


def test_an_error_in_the_augmentation_is_raised_by_fit_and_the_thread_ends():
    calls = []

    def fails(images, generator):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("in the third batch")
        return images

    with pytest.raises(RuntimeError, match="in the third batch"):
        trained("cpu", augmentation=fails)
    with pytest.raises(ShapeError, match=r"made \(16, 6\) of a batch of shape \(16, 6, 5\)"):
        trained("cpu", augmentation=lambda images, generator: images[..., 0])
    with pytest.raises(UsageError, match="augmentation is a function"):
        trained("cpu", augmentation=3)
    assert not [thread for thread in threading.enumerate() if "augmentation" in thread.name]


class Weights(Callback):
    """The weights after each batch, and at each epoch's end."""

    def on_train_begin(self):
        self.batches, self.epochs = [flat(self.model)], []

    def on_train_batch_end(self, batch, logs):
        self.batches.append(flat(self.model))

    def on_epoch_end(self, epoch, logs):
        self.epochs.append(flat(self.model))


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_averaged_weights(device, run_eagerly):
    watcher = Weights()
    model = trained(device, optimizer=Adam(0.05, use_ema=True, ema_momentum=0.8), callbacks=[watcher],
                    augmentation=None, run_eagerly=run_eagerly)  # fmt: skip
    average = watcher.batches[0].astype(np.float64)
    averages = []
    for n, weights in enumerate(watcher.batches[1:], 1):
        average = 0.8 * average + 0.2 * weights
        if n % 4 == 0:
            averages.append(average)
    np.testing.assert_allclose(watcher.epochs, averages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(flat(model), averages[-1], rtol=1e-5, atol=1e-6)
    plain = Weights()
    trained(device, callbacks=[plain], augmentation=None)
    np.testing.assert_array_equal(plain.batches, watcher.batches)


def test_averages_are_saved_with_the_model(tmp_path):
    model = trained("cpu", optimizer=Adam(0.05, use_ema=True))
    model.set_weights([w + 1 for w in model.get_weights()])  # as amid an epoch, where weights are not their averages
    model.save(tmp_path / "m")
    again = Sequential.load(tmp_path / "m")
    assert (again.optimizer.use_ema, again.optimizer.ema_momentum) == (True, 0.99)
    assert not np.allclose(backend.fetch(again.optimizer.state["average"]), flat(again))
    kept = [backend.fetch(m.optimizer.state["average"]) for m in (again, model)]
    np.testing.assert_array_equal(*kept)
    with pytest.raises(UsageError, match=r"ema_momentum=1.*\[0, 1\)"):
        Adam(use_ema=True, ema_momentum=1)


def test_a_training_of_no_epochs_leaves_the_weights():
    model = trained("cpu", optimizer=Adam(0.05, use_ema=True))
    model.set_weights([w + 1 for w in model.get_weights()])
    before = flat(model)
    model.fit(X, Y, epochs=3, initial_epoch=3, verbose=0)
    np.testing.assert_array_equal(flat(model), before)


@pytest.mark.parametrize("logits", [False, True])
def test_smoothed_labels(logits, tmp_path):
    z = np.array([[2.0, 0.5, -1.0]])
    p = np.exp(z) / np.exp(z).sum()
    loss = CategoricalCrossentropy(from_logits=logits, label_smoothing=0.3)
    value = loss(cg.tensor([[0.0, 1.0, 0.0]]).astype("float64"), cg.tensor(z if logits else p))
    np.testing.assert_allclose(value.numpy(), -(np.array([0.1, 0.8, 0.1]) * np.log(p)).sum(), rtol=1e-6)


def test_smoothing_is_saved_and_checked(tmp_path, device):
    model = trained(device, loss=CategoricalCrossentropy(label_smoothing=0.2))
    model.save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    with pytest.raises(UsageError, match=r"label_smoothing=1.0.*\[0, 1\)"):
        CategoricalCrossentropy(label_smoothing=1.0)
