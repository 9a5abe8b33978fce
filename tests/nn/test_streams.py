"""`fit` goes on: what is drawn in a training does not depend on how it is cut into calls, files and copies."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.nn.draws import Stream

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 24)


def model(eager=False, dropout=0.5):
    made = Sequential(
        [layers.Dropout(dropout, input_shape=(4,)), layers.Dense(5, "tanh"), layers.Dense(3, activation="softmax")]
    )
    schedule = cg.optim.CosineDecay(0.05, 30)
    made.compile(cg.optim.Adam(schedule), "sparse_categorical_crossentropy", run_eagerly=eager)
    return made


def shaken(x, generator):
    return x + generator.standard_normal(x.shape, dtype="float32")


def trained(made, epochs, **options):
    made.fit(X, Y, batch_size=7, epochs=epochs, verbose=0, **options)
    return made


def bits(made):
    return [w.tobytes() for w in made.get_weights()]


def through_a_file(made, folder):
    made.save(folder / "model")
    return Sequential.load(folder / "model")


@pytest.mark.parametrize("cuts", [(4,), (1, 1, 1, 1), (2, 2), (1, 3), (0, 3, 0, 1)])
@pytest.mark.parametrize("options", [{}, {"augmentation": shaken}, {"shuffle": False}])
@pytest.mark.parametrize("eager", [False, True])
def test_several_calls_are_one_longer_call(cuts, options, eager):
    whole, parts = trained(model(eager), 4, **options), model(eager)
    for epochs in cuts:
        trained(parts, epochs, **options)
    assert bits(parts) == bits(whole)


@pytest.mark.parametrize("between", ["nothing", "file", "deepcopy", "pickle"])
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("by", ["epochs", "initial_epoch"])
def test_an_interrupted_training_is_the_whole_one(between, at, by, tmp_path):
    part = trained(model(), at)
    if between == "file":
        part = through_a_file(part, tmp_path)
    elif between != "nothing":
        part = copy.deepcopy(part) if between == "deepcopy" else pickle.loads(pickle.dumps(part))
    trained(part, **({"epochs": 5 - at} if by == "epochs" else {"epochs": 5, "initial_epoch": at}))
    assert bits(part) == bits(trained(model(), 5))


def test_the_second_of_two_trainings_is_taken_up_where_it_stopped(tmp_path):
    """Its epochs count from 0 again, while the numbers drawn go on."""
    whole = trained(trained(model(), 2), 4)
    part = trained(trained(model(), 2), 3)
    assert bits(trained(through_a_file(part, tmp_path), 4, initial_epoch=3)) == bits(whole)


def test_an_epoch_may_be_taken_up_again():
    made = trained(model(), 3)
    kept = copy.deepcopy(made)
    trained(made, 5, initial_epoch=3)
    again = trained(kept, 4, initial_epoch=3)
    assert bits(trained(again, 5, initial_epoch=4)) == bits(made)


def test_each_call_draws_other_numbers_and_the_same_program_the_same():
    def program():
        made = model()
        made.build()
        start = made.get_weights()
        for _ in range(3):
            made.set_weights(start)
            made.compile("sgd", "sparse_categorical_crossentropy")
            yield bits(trained(made, 1))

    first, again = list(program()), list(program())
    assert first == again
    assert all(a != b for a, b in itertools.combinations(first, 2))


def test_a_seed_begins_anew_and_what_follows_goes_on_from_it():
    made = trained(trained(trained(model(), 2), 2, seed=7), 1)
    assert (made.stream.seed, made.stream.done) == (7, 3)
    other = trained(trained(model(), 2), 3, seed=7)
    assert bits(other) == bits(made)


def test_without_a_seed_it_begins_with_0():
    assert bits(trained(model(), 2)) == bits(trained(model(), 2, seed=0))
    assert bits(trained(model(), 2)) != bits(trained(model(), 2, seed=1))


def test_a_call_that_raises_leaves_the_stream_where_it_was():
    made = trained(model(), 2)
    with pytest.raises(cg.ChalkgradError):
        trained(made, 2, seed=5, validation_data=(X[:, :2], Y))
    assert made.stream == Stream(0, 0, 2)


@pytest.mark.parametrize("seed", [True, False, -1, 1.5])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(cg.ChalkgradError, match="seed"):
        trained(model(), 1, seed=seed)
