"""Optimisers, clipping, decay and schedules by Keras's names, beside Keras's or PyTorch's own steps."""

import json
import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.errors import UsageError
from chalkgrad.optim import schedules

RNG = np.random.default_rng(0)
THETA, GRADIENTS = RNG.standard_normal((2, 3)), RNG.standard_normal((20, 2, 3))

OURS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1, "clipnorm": 0.5}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.3}],
    "Adadelta": [{"learning_rate": 0.5}],
    "Adamax": [{}],
    "Nadam": [{}],
    "Lion": [{}, {"weight_decay": 0.1}],
    "RMSprop": [{}, {"centered": True}],
    "Adam": [{}, {"clipvalue": 0.1}, {"global_clipnorm": 0.3, "weight_decay": 0.1}],
    "AdamW": [{}, {"weight_decay": 0.1}],
}


def each(cases, some):
    """All of them under --deep, else every so many: Keras compiles each of its steps."""
    marks = [[] if number % some == 1 else [pytest.mark.deep] for number in range(len(cases))]
    return [pytest.param(*case, marks=own, id=f"{case[0]} {case[-1]}") for case, own in zip(cases, marks, strict=True)]


CASES = [(name, options) for name, each in OURS.items() for options in each]


def walk(optimizer, gradients=GRADIENTS):
    a, b = (cg.tensor(part.copy(), requires_grad=True) for part in (THETA, THETA[0]))
    a.name, b.name = "layer/kernel", "layer/bias"
    for g in gradients:
        a.grad, b.grad = cg.tensor(g), cg.tensor(g[1])
        optimizer.step([a, b])
    return a.numpy(), b.numpy()


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras")


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), each(CASES, 6))
def test_twenty_steps_are_those_of_keras(keras, name, options):
    options = {"learning_rate": 0.05, **options}
    theirs = getattr(keras.optimizers, name)(**options)
    variables = [keras.Variable(part.astype("float32")) for part in (THETA, THETA[0])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.src.backend.config, "_FLOATX", "float32")
        for g in GRADIENTS:
            theirs.apply([g.astype("float32"), g[1].astype("float32")], variables)
    for ours, other in zip(walk(getattr(optim, name)(**options)), variables, strict=True):
        np.testing.assert_allclose(ours, np.asarray(other), rtol=5e-4, atol=5e-5)


def test_amsgrad_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    theta = torch.tensor(THETA, requires_grad=True)
    theirs = torch.optim.Adam([theta], 0.05, eps=1e-7, amsgrad=True)
    for g in GRADIENTS:
        theta.grad = torch.tensor(g)
        theirs.step()
    np.testing.assert_allclose(walk(optim.Adam(0.05, amsgrad=True))[0], theta.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_no_weight_decays_that_is_excluded(kind):
    options = {"learning_rate": 0.05, "weight_decay": 0.2}
    optimizer = getattr(optim, kind)(**options)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    kernel, bias = walk(optimizer)
    np.testing.assert_array_equal(kernel, walk(getattr(optim, kind)(**options))[0])
    np.testing.assert_allclose(bias, walk(optim.Adam(0.05))[1], rtol=1e-12)
    assert optim.make_optimizer(json.loads(json.dumps(optimizer.config()))).undecayed == ("bias",)


@pytest.mark.cpu_only("on a GPU a recorded step is for the samples of one fit")
@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "Lion", "Nadam"])
def test_they_are_replayed_to_the_last_bit(kind):
    x = RNG.standard_normal((48, 3)).astype("float32")
    found = []
    for eager in (True, False):
        rate = schedules.ExponentialDecay(0.05, 4, 0.9)
        model = cg.Sequential([cg.layers.Dense(4, "tanh"), cg.layers.Dense(3)])
        optimizer = getattr(optim, kind)(rate, weight_decay=0.1, undecayed=["bias"], clipnorm=0.5)
        model.compile(optimizer, "huber", run_eagerly=eager)
        model.fit(x, x, batch_size=4, epochs=2, verbose=0)
        found.append(b"".join(w.tobytes() for w in model.get_weights()))
    assert found[0] == found[1]
    assert model.recorded["train"].recordings


def test_two_ways_to_clip_and_two_variants_are_refused():
    with pytest.raises(UsageError, match="clips in one way, not by clipnorm and clipvalue"):
        optim.Adam(clipnorm=1.0, clipvalue=1.0)
    with pytest.raises(UsageError, match="both bias_correction and amsgrad"):
        optim.Adam(bias_correction=False, amsgrad=True)
    with pytest.raises(UsageError, match="boundaries that rise"):
        schedules.PiecewiseConstantDecay([3, 1], [0.1, 0.2, 0.3])


SCHEDULES = [
    ("ExponentialDecay", (0.1, 10, 0.9), {}), ("ExponentialDecay", (0.1, 10, 0.9), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {}), ("InverseTimeDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("PolynomialDecay", (0.1, 20), {}), ("PolynomialDecay", (0.1, 20, 0.01, 2.0), {"cycle": True}),
    ("PiecewiseConstantDecay", ([10, 20], [0.1, 0.05, 0.01]), {}),
    ("CosineDecay", (0.1, 30), {"alpha": 0.1}), ("CosineDecay", (0.0, 30), {"warmup_target": 0.2, "warmup_steps": 5}),
    ("CosineDecayRestarts", (0.1, 7), {"m_mul": 0.9, "alpha": 0.1}), ("CosineDecayRestarts", (0.1, 7, 1.0), {}),
]  # fmt: skip


@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "given", "options"), each(SCHEDULES, 5))
def test_a_schedule_is_that_of_keras_and_comes_back_from_a_file(keras, name, given, options):
    ours = getattr(schedules, name)(*given, **options)
    theirs = getattr(keras.optimizers.schedules, name)(*given, **options)
    steps = [0, 1, 6, 10, 11, 20, 47]
    np.testing.assert_allclose([ours(n) for n in steps], [float(theirs(n)) for n in steps], rtol=2e-4, atol=1e-8)
    assert optim.make_schedule(json.loads(json.dumps(ours.config()))) == ours
