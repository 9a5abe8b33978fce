"""`trainable = False` freezes: no gradient, no update, no decay, no moving statistics; and thaws again."""

import copy
import warnings

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.engine import backend

X = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 48)
LOSS = "sparse_categorical_crossentropy"
OPTIMIZERS = {
    "sgd": cg.optim.GradientDescent,
    "momentum": lambda: cg.optim.Momentum(nesterov=True),
    "adam": lambda: cg.optim.Adam(use_ema=True),
    "adamw": lambda: cg.optim.AdamW(weight_decay=0.1, global_clipnorm=0.5),
}


def model(optimizer="adam", eager=False, built=True):
    made = Sequential(
        [
            layers.Dense(8, activation="relu", input_shape=(4,)),
            layers.BatchNormalization(),
            layers.Dense(5, activation="tanh"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    made.compile(OPTIMIZERS[optimizer]() if optimizer in OPTIMIZERS else optimizer, LOSS, run_eagerly=eager)
    if built:
        made.build()
    return made


def trained(made, epochs=2, **options):
    made.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, **options)
    return made


def values(layer):
    return [w.numpy().tobytes() for w in layer.variables.values()]


def changed(made, before):
    return [values(layer) != old for layer, old in zip(made.layers, before, strict=True)]


def snapshot(made):
    return [values(layer) for layer in made.layers]


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (3,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("when", ["before build", "before fit", "between fits"])
def test_what_is_frozen_stays_to_the_last_bit_and_the_rest_learns(frozen, optimizer, when):
    made = model(optimizer, built=when != "before build")
    if when == "between fits":
        trained(made)
    for i in frozen:
        made.layers[i].trainable = False
    made.build()
    before, state = snapshot(made), {k: v.copy() for k, v in made.optimizer.state.items()}
    trained(made)
    assert changed(made, before) == [i not in frozen for i in range(4)]
    for slot, old in state.items():
        for w, then, now in zip(made.flat.tensors, made.flat.split(old), _parts(made, slot), strict=True):
            assert w.requires_grad or np.array_equal(backend.fetch(then), backend.fetch(now)), slot


def _parts(made, slot):
    return made.flat.split(made.optimizer.state[slot])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("frozen", [(0,), (0, 2), (1, 3), (0, 1, 2, 3)])
def test_replay_is_the_tape_while_layers_freeze_and_thaw(optimizer, frozen):
    class Switch(cg.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.turn(epoch % 3)

        def on_train_batch_end(self, batch, logs):
            self.turn((batch // 5) % 2)

        def turn(self, freeze):
            for i in frozen:
                self.model.layers[i].trainable = not freeze

    def run(eager):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return trained(model(optimizer, eager), 4, callbacks=[Switch()])

    assert snapshot(run(False)) == snapshot(run(True))


def test_a_frozen_layer_has_no_gradient_and_those_below_it_have():
    made = model()
    made.layers[2].trainable = False
    loss = made(X, training=True).sum()
    loss.backward()
    assert [w.grad is None for w in made.layers[2].weights.values()] == [True, True]
    assert made.layers[0].weights["kernel"].grad is not None


def test_unfreezing_goes_on_with_the_state_that_was_kept():
    """What the frozen layer would have been is reached where its gradient is 0 in between: by gradient descent."""
    made = trained(model("momentum"))
    kept = {slot: values.copy() for slot, values in made.optimizer.state.items()}
    made.layers[0].trainable = False
    trained(made)
    made.layers[0].trainable = True
    assert np.array_equal(*(backend.fetch(v["v"][:32]) for v in (kept, made.optimizer.state)))
    before = snapshot(made)
    trained(made)
    assert all(changed(made, before))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("loss", [LOSS, lambda t, p: (p * p).mean()], ids=["theirs", "own"])
def test_a_model_that_is_frozen_whole_is_measured_only(eager, loss):
    made = trained(model(eager=eager))
    made.compile("adam", loss, run_eagerly=eager)
    made.trainable = False
    before, iterations = snapshot(made), made.optimizer.iterations
    with pytest.warns(UserWarning, match="no trainable weights"):
        history = made.fit(X, Y, shuffle=False, verbose=0)
    assert snapshot(made) == before
    assert made.optimizer.iterations == iterations
    np.testing.assert_allclose(history.history["loss"][0], made.evaluate(X, Y, verbose=0), rtol=1e-6)


def test_the_model_freezes_all_layers_and_above_each():
    """As Keras has it: a layer that is thawed in a frozen model still does not learn."""
    made = model()
    made.trainable = False
    assert [layer.trainable for layer in made.layers] == [False] * 4
    assert made.trainable_weights == []
    made.layers[3].trainable = True
    assert made.trainable_weights == []
    made.trainable = True
    made.layers[0].trainable = False
    assert len(made.trainable_weights) == 6
    assert len(made.non_trainable_weights) == 4


def test_a_loss_that_no_weight_has_part_in_is_still_an_error():
    made = Sequential([layers.Dense(3, input_shape=(4,))])
    made.compile("sgd", lambda t, p: (t * 1.0).mean())
    with pytest.raises(cg.ChalkgradError, match="does not depend on y_pred"):
        made.fit(X, X[:, :3], verbose=0)


def test_frozen_batch_normalisation_normalises_by_its_moving_statistics():
    layer = layers.BatchNormalization()
    layer(X)
    own = layer(X, training=True).numpy()
    layer.trainable = False
    kept = values(layer)
    assert np.array_equal(layer(X, training=True).numpy(), layer(X).numpy())
    assert values(layer) == kept
    assert not np.array_equal(own, layer(X, training=True).numpy())


def test_files_and_copies_stay_frozen_and_go_on(tmp_path):
    made = trained(model())
    made.layers[0].trainable = made.layers[1].trainable = False
    trained(made)
    made.save(tmp_path / "model")
    for other in (Sequential.load(tmp_path / "model"), copy.deepcopy(made)):
        assert [layer.trainable for layer in other.layers] == [False, False, True, True]
        again = trained(copy.deepcopy(made))
        assert snapshot(trained(other)) == snapshot(again)
        other.layers[0].trainable = again.layers[0].trainable = True
        assert snapshot(trained(other)) == snapshot(trained(again))


def test_a_model_frozen_whole_is_loaded_so(tmp_path):
    made = model()
    made.trainable = False
    made.layers[0].trainable = True
    made.save(tmp_path / "model")
    other = Sequential.load(tmp_path / "model")
    assert (other.trainable, [layer.trainable for layer in other.layers]) == (False, [True, False, False, False])
    assert other.trainable_weights == []


def test_the_summary_counts_what_is_frozen():
    made, lines = model(), []
    made.layers[0].trainable = False
    made.summary(lines.append)
    assert "79 trainable, 56 non-trainable" in lines[0]
    assert "79 trainable" in made._repr_html_()


def test_a_gradient_of_a_frozen_parameter_is_refused_by_the_optimiser():
    x, y = (cg.tensor([1.0], requires_grad=True) for _ in range(2))
    (x * y).backward()
    y.requires_grad = False
    optimizer = cg.optim.Adam()
    with pytest.raises(cg.ChalkgradError, match="zero_grad"):
        optimizer.step([x, y])
    y.grad = None
    optimizer.step([x, y])
    assert x.tolist() != [1]
    assert y.tolist() == [1]
