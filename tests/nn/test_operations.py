"""A training, however interrupted, copied, resumed, frozen and looked at, is the one that is not: to the last bit.

Programs are generated: what changes a model (fit, freeze, set weights, compile, seed) is carried out twice, once on the
tape, without anything between, and once replayed, with copies, pickles, files, evaluations and predictions between.
"""

import copy
import os
import pickle
import tempfile
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import Sequential, layers

pytestmark = pytest.mark.cpu_only("the list gives the tape's bits on the CPU")
PROGRAMS = int(os.environ.get("CHALKGRAD_PROGRAMS", "12"))
X = np.random.default_rng(0).normal(size=(22, 3)).astype("float32")
Y = np.random.default_rng(1).integers(0, 2, 22)
LOSS = "sparse_categorical_crossentropy"
OPTIMIZERS = {
    "sgd": lambda: cg.optim.GradientDescent(cg.optim.CosineDecay(0.1, 12)),
    "momentum": lambda: cg.optim.Momentum(0.05, global_clipnorm=0.3),
    "adam": lambda: cg.optim.Adam(0.05, use_ema=True),
    "adamw": lambda: cg.optim.AdamW(0.05),
}

changes = st.one_of(
    st.tuples(st.just("fit"), st.integers(1, 3), st.sampled_from([4, 10, 22]), st.sampled_from([None, None, 5])),
    st.tuples(st.just("resume"), st.integers(1, 2)),
    st.tuples(st.just("freeze"), st.integers(0, 4), st.booleans()),
    st.tuples(st.just("set"), st.floats(0.5, 1.5)),
    st.tuples(st.just("compile"), st.sampled_from([*OPTIMIZERS])),
)
between = st.lists(st.sampled_from(["copy", "deepcopy", "pickle", "file", "evaluate", "predict"]), max_size=2)


def begin(optimizer, eager):
    made = Sequential(
        [
            layers.Dense(4, activation="relu", input_shape=(3,)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(2, activation="softmax"),
        ]
    )
    made.compile(OPTIMIZERS[optimizer](), LOSS, run_eagerly=eager)
    made.build()
    return made


def carry_out(model, eager, what, *how):
    if what == "fit":
        epochs, batch_size, seed = how
        model.fit(X, Y, epochs=epochs, batch_size=batch_size, seed=seed, verbose=0)
    elif what == "resume":
        done = len(model.history.epoch)
        model.fit(X, Y, epochs=done + how[0], initial_epoch=done, batch_size=4, validation_data=(X, Y), verbose=0)
    elif what == "freeze":
        place, value = how
        (model.layers[place] if place < 4 else model).trainable = not value
    elif what == "set":
        model.set_weights([w * np.float32(how[0]) for w in model.get_weights()])
    else:
        model.compile(OPTIMIZERS[how[0]](), LOSS, run_eagerly=eager)


def interrupt(model, how):
    if how == "file":
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model")
            return Sequential.load(f"{folder}/model")
    if how == "pickle":
        return pickle.loads(pickle.dumps(model))
    if how in ("copy", "deepcopy"):
        return getattr(copy, how)(model)
    arguments = {"evaluate": (X, Y), "predict": (X,), "summary": (lambda text: None,)}[how]
    getattr(model, how)(*arguments, **({} if how == "summary" else {"verbose": 0}))
    return model


def told(model):
    arrays = [*model.get_weights(), *(model.optimizer.state[slot] for slot in sorted(model.optimizer.state))]
    flags = [w.requires_grad for w in model.weights]
    return [a.tobytes() for a in arrays], model.optimizer.iterations, model.stream, repr(model.history.history), flags


@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([*OPTIMIZERS]), st.lists(st.tuples(changes, between), min_size=2, max_size=6))
def test_an_interrupted_program_is_the_uninterrupted_one(optimizer, program):
    plain, other, left_behind = begin(optimizer, True), begin(optimizer, False), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model has no trainable weights")
        for change, interruptions in program:
            carry_out(plain, True, *change)
            carry_out(other, False, *change)
            for how in interruptions:
                before = other
                other = interrupt(other, how)
                if other is not before:
                    left_behind.append((before, told(before)))
            assert told(other) == told(plain)
    for model, before in left_behind:
        assert told(model) == before
