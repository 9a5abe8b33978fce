"""Several batches make one update: by the mean of their gradients, each of which counts as much as it has samples."""

import copy

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers, optim
from chalkgrad.errors import UsageError
from chalkgrad.nn.losses import SparseCategoricalCrossentropy

R = np.random.default_rng(3)
X, LABELS = R.normal(size=(48, 6)), R.integers(0, 4, 48)
IDS = R.integers(0, 5, (48, 7))


def dense(k, kind=optim.Adam, **options):
    model = cg.Sequential([layers.Dense(5, "tanh", input_shape=(6,)), layers.Dense(4)], dtype="float64", seed=1)
    optimizer = kind(0.05, gradient_accumulation_steps=k, **options)
    model.compile(optimizer, SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def fitted(model, batch_size, epochs=2, x=X, y=LABELS, **options):
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0, shuffle=False, **options)
    return np.concatenate([w.ravel() for w in model.get_weights()])


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 0.01}, {"use_ema": True}, {"weight_decay": 0.1}])
@pytest.mark.parametrize("kind", [optim.GradientDescent, optim.Adam])
def test_it_is_one_large_batch(kind, options):
    single, several = (fitted(dense(k, kind, **options), 24 // (k or 1)) for k in (None, 3))
    np.testing.assert_allclose(several, single, rtol=0, atol=1e-12)


def test_batches_count_as_their_samples_do():
    """Batches of 16, 16, 10 are one of 42; masked and ignored labels do not count."""
    single, several = (fitted(dense(k), b, x=X[:42], y=LABELS[:42]) for k, b in ((None, 42), (3, 16)))
    np.testing.assert_allclose(several, single, rtol=0, atol=1e-12)
    found = []
    for k, size in ((None, 24), (2, 12)):
        model = cg.Sequential([layers.Embedding(5, 3, input_shape=(7,)), layers.Dense(4)], dtype="float64", seed=1)
        loss = SparseCategoricalCrossentropy(from_logits=True, ignore_class=3)
        model.compile(optim.Adam(0.05, gradient_accumulation_steps=k), loss)
        found.append(fitted(model, size, x=IDS, y=(IDS + 1) % 4))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_replays_are_the_tape_and_a_training_goes_on(tmp_path):
    eager, recorded, parted = (dense(3) for _ in range(3))
    eager.run_eagerly = True
    whole = fitted(recorded, 10, 3)  # five batches an epoch: the mean goes on from one to the next
    np.testing.assert_array_equal(fitted(eager, 10, 3), whole)
    assert (recorded.optimizer.iterations, recorded.optimizer.updates) == (15, 5)
    fitted(parted, 10, 1)
    parted.save(tmp_path / "m.safetensors")
    again = cg.models.load_model(tmp_path / "m.safetensors", device=parted.device)
    for model in (parted, again, copy.deepcopy(again)):
        np.testing.assert_array_equal(fitted(model, 10, 3, initial_epoch=1), whole)


def test_schedules_count_updates():
    model = dense(4)
    model.optimizer.schedule = optim.CosineDecay(1.0, 6)
    rates = []
    note = cg.callbacks.LambdaCallback(on_train_batch_begin=lambda *_: rates.append(model.optimizer.learning_rate))
    fitted(model, 4, 1, callbacks=[note])
    assert rates == [optim.CosineDecay(1.0, 6)(n // 4) for n in range(12)]


def test_a_captured_step_of_ones_own_records_both_kinds():
    def trained(capture):
        w = cg.tensor(np.ones((6, 2)), requires_grad=True)
        optimizer = optim.Adam(0.1, gradient_accumulation_steps=2)

        def step(x, due):
            ((x @ w) ** 2).mean().backward()
            optimizer.step([w], weight=len(x))
            w.grad = None

        step = cg.capture(step) if capture else step
        for at in range(0, 40, 4):
            step(cg.tensor(X[at : at + 4]), optimizer.is_due)
        return w.numpy(), step

    (tape, _), (replayed, step) = trained(False), trained(True)
    np.testing.assert_array_equal(tape, replayed)
    assert step.explain().count("0 new arrays a replay") == 2


def test_what_is_refused():
    for k in (0, -1, 1.5, True, "2"):
        with pytest.raises(
            UsageError, match=r"Adam\(gradient_accumulation_steps=.*\): it is a whole number of 1 or more"
        ):
            optim.Adam(gradient_accumulation_steps=k)
    w = cg.tensor(np.ones(2), requires_grad=True)
    with pytest.raises(UsageError, match=r"Adam\(weight=0\): it lies in \(0, ∞\)"):
        optim.Adam(gradient_accumulation_steps=2).step([w], weight=0)
