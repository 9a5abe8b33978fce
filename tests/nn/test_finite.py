"""A training that is no longer finite ends: it says where that began, and leaves what was good."""

import copy
import math
import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential
from chalkgrad.callbacks import Callback, EarlyStopping, ModelCheckpoint, TerminateOnNaN
from chalkgrad.errors import DivergenceError
from chalkgrad.nn.layers import Activation, BatchNormalization, Dense, Dropout, Layer
from chalkgrad.optim import Adam, GradientDescent, RMSprop

RNG = np.random.default_rng(5)
X = RNG.standard_normal((64, 4)).astype("float32")
Y = X[:, :1] * 2 + 1


@pytest.fixture(autouse=True)
def quietly():
    """NumPy warns of what is told here by an error."""
    with np.errstate(all="ignore"):
        yield


def model_of(*layers, loss="mse", optimizer=None, device="cpu", **options):
    model = Sequential(layers or [Dense(6, "tanh", input_shape=(4,)), Dropout(0.2), Dense(1)], device=device)
    model.compile(optimizer or GradientDescent(0.01), loss, **options)
    model.build((4,))
    return model


class Once(Callback):
    """Makes the learning rate enormous before an epoch."""

    def __init__(self, epoch, rate=1e30):
        self.epoch, self.rate = epoch, rate

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            self.model.optimizer.learning_rate = self.rate


def everything(model):
    arrays = [*model.get_weights(), *map(cg.engine.backend.fetch, model.optimizer.state.values())]
    return [a.copy() for a in arrays], model.optimizer.iterations


def spoilt(step, batch=8):
    """Samples of which one, in that step, is so large that its square is infinite."""
    x = X.copy()
    x[step * batch] = 1e25
    return x


def root(y_true, y_pred):
    return cg.mean(cg.sqrt(cg.relu(y_pred - 100)))


def enormous(y_true, y_pred):
    return cg.mean((y_true - y_pred) ** 2) * 1e25


# layers after the first Dense, options of the model, samples, and where the message says that it began
FAULTS = {
    "a rate far too large": (lambda: [Dense(1)], {"optimizer": GradientDescent(1e30)}, X,
                             "step 2: the forward pass: affine in the layer 'dense_1'"),
    "an infinite square": (lambda: [Dense(1)], {}, spoilt(5),
                           "step 6: the forward pass: mean_squared_error in the loss 'mean_squared_error'"),
    "a logarithm of 0": (lambda: [Activation("relu"), Activation(cg.log), Dense(1)], {}, X,
                         "step 1: the forward pass: log in the layer 'activation_1'"),
    "a root at 0": (lambda: [Dense(1)], {"loss": root}, X,
                    "step 1: the reverse pass: the gradient of sqrt in the loss 'root'"),
    "a square that Adam keeps": (lambda: [Dense(1)], {"loss": enormous, "optimizer": Adam()}, X,
                                 "step 1: the update by Adam, which makes the optimizer's 'r' of 'dense/kernel'"),
    "exp of too much": (lambda: [Dense(1, cg.exp)], {"optimizer": GradientDescent(1e30)}, X,
                        "step 2: the forward pass: affine in the layer 'dense_1'"),
    "in the gradient of a layer": (lambda: [Activation("relu"), Activation(cg.sqrt), Dense(1)], {}, X,
                                   "step 1: the reverse pass: the gradient of sqrt in the layer 'activation_1'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_step_layer_and_operation_are_named(name, run_eagerly, same):
    layers, options, x, where = FAULTS[name]
    options = {**options, "optimizer": copy.deepcopy(options.get("optimizer"))}
    model = model_of(Dense(3, input_shape=(4,)), *layers(), run_eagerly=run_eagerly, **options)
    before = model.get_weights()
    with pytest.raises(DivergenceError, match=r"Try a smaller learning rate than .*, global_clipnorm=1\.0") as error:
        model.fit(x, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert error.value.where.startswith(f"epoch 1, {where}")
    same(model.get_weights(), before)
    assert model.optimizer.iterations == 0
    assert all(w.grad is None for w in model.weights)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("kind", [GradientDescent, RMSprop, Adam])
def test_the_model_is_that_of_the_epochs_before_and_goes_on_from_there(kind, run_eagerly, same):
    def made():
        layers = Dense(6, "tanh", input_shape=(4,)), BatchNormalization(), Dropout(0.3), Dense(1)
        return model_of(*layers, optimizer=kind(0.01), run_eagerly=run_eagerly)

    options = {"batch_size": 8, "verbose": 0, "validation_data": (X, Y), "seed": 3}
    model, whole = made(), made()
    with pytest.raises(DivergenceError, match=r"in epoch 3, step \d: .* fit\(initial_epoch=2, …\) goes on"):
        model.fit(X, Y, epochs=9, callbacks=[Once(2)], **options)
    assert model.history.epoch == [0, 1]
    whole.fit(X, Y, epochs=2, **options)
    same(everything(model)[0], everything(whole)[0])
    model.optimizer.learning_rate = 0.01
    model.fit(X, Y, epochs=4, initial_epoch=2, **options)
    whole.fit(X, Y, epochs=4, initial_epoch=2, **options)
    same(everything(model)[0], everything(whole)[0])
    assert model.history.history == whole.history.history


def test_what_callbacks_keep_is_good(tmp_path, same):
    keepers = [ModelCheckpoint(tmp_path / "last"), ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True)]
    stopper = EarlyStopping("loss", patience=9, restore_best_weights=True)
    model = model_of(optimizer=GradientDescent(0.05))
    with pytest.raises(DivergenceError, match="epoch 3"):
        model.fit(X, Y, epochs=9, callbacks=[Once(2), *keepers, stopper], verbose=0)
    for name in ("last", "best"):
        assert Sequential.load(tmp_path / name).history.epoch == [0, 1]
    same(model.get_weights(), Sequential.load(tmp_path / "best").get_weights())


def test_the_batch_that_an_augmentation_spoilt():
    def spoils(x, generator):
        return np.where(generator.random() < 0.2, np.float32(np.nan), x)

    with pytest.raises(DivergenceError, match=r"epoch 1, step [1-8]: the batch of samples is not finite to begin with"):
        model_of().fit(X, Y, batch_size=8, epochs=3, augmentation=spoils, verbose=0)


def test_weights_that_are_not_finite_to_begin_with():
    model = model_of()
    model.layers[2].weights["kernel"].assign(np.nan)
    with pytest.raises(
        DivergenceError, match="step 1: the weight 'kernel' of the layer 'dense_1' is not finite to begin"
    ):
        model.fit(X, Y, verbose=0)


def test_an_infinity_that_is_masked_is_not_blamed():
    """log gives -∞ where it is not taken; what makes the loss infinite is the square behind it."""

    def loss(y_true, y_pred):
        taken = cg.where(y_pred > 1e30, cg.log(cg.relu(y_pred)), y_pred)
        return cg.mean((taken - y_true) ** 2)

    with pytest.raises(DivergenceError, match="the forward pass: power in the loss 'loss' gave an infinite value"):
        model_of(loss=loss).fit(spoilt(0), Y * np.float32(1e25), batch_size=8, verbose=0)


class Narrow(Layer):
    """The identity, with a state that is infinite on purpose."""

    def make_state(self, input_shape, generator):
        return {"limit": np.full((), np.inf, "float32")}

    def apply(self, weights, x, *, training, generator):
        return cg.minimum(x, self.state["limit"])


def test_a_state_that_is_infinite_on_purpose_is_left_alone():
    model = model_of(Narrow(input_shape=(4,)), Dense(1))
    assert math.isfinite(model.fit(X, Y, epochs=3, verbose=0).history["loss"][-1])


def test_what_is_changed_from_outside_is_told():
    class Poison(Callback):
        def on_train_batch_end(self, batch, logs):
            self.model.weights[0].assign(np.nan)

    model = model_of()
    with pytest.raises(DivergenceError, match="in epoch 1, but was when that was gone through again step by step"):
        model.fit(X, Y, batch_size=8, callbacks=[Poison()], verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("how", ["check_finite=False", "TerminateOnNaN"])
def test_it_is_left_alone_where_that_is_asked_for(how, tmp_path, capsys):
    model = model_of(check_finite=how != "check_finite=False")
    callbacks = [
        Once(2),
        ModelCheckpoint(tmp_path / "last"),
        EarlyStopping("loss", patience=9, restore_best_weights=True),
    ]
    callbacks += [TerminateOnNaN()] if how == "TerminateOnNaN" else []
    history = model.fit(X, Y, batch_size=8, epochs=5, callbacks=callbacks, verbose=0).history
    assert len(history["loss"]) == (3 if how == "TerminateOnNaN" else 5)
    assert not math.isfinite(history["loss"][2])
    assert Sequential.load(tmp_path / "last").history.epoch == [0, 1]
    assert re.search("epoch 3: .*last is left as it is: the weight 'kernel' of the layer", capsys.readouterr().out)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_model_that_is_not_finite_is_not_saved(tmp_path):
    model = model_of()
    model.save(tmp_path / "m")
    good = (tmp_path / "m").read_bytes()
    model.layers[2].weights["kernel"].assign(np.inf)
    with pytest.raises(
        DivergenceError, match="is left as it is: the weight 'kernel' of the layer 'dense_1' has become NaN or"
    ):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == good


def test_a_training_that_is_finite_is_not_changed_by_the_look(same):
    models = [model_of(check_finite=check) for check in (True, False)]
    for model in models:
        model.fit(X, Y, batch_size=8, epochs=4, verbose=0)
    same(models[0].get_weights(), models[1].get_weights())
    assert models[0].history.history == models[1].history.history
