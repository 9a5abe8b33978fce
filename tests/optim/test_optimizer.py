"""Optimisers: first steps by hand, twenty steps against a second transcription, invariances, and what they refuse."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.engine import backend
from chalkgrad.errors import DataError, GraphError, UsageError
from chalkgrad.optim import OPTIMIZERS, Adam, AdamW, GradientDescent, Lion, Momentum, RMSprop, make_optimizer
from chalkgrad.optim.declaration import Computed


def parameters(*arrays):
    return [cg.tensor(a, requires_grad=True) for a in arrays]


def step(optimizer, tensors, gradients):
    for x, g in zip(tensors, gradients, strict=True):
        x.grad = None if g is None else cg.tensor(g)
    optimizer.step(tensors)


def walk(optimizer, theta, gradients):
    """θ after a step along each gradient, in the dtype of theta."""
    (x,) = parameters(theta)
    for g in gradients:
        step(optimizer, [x], [g])
    return x.numpy().copy()


# By hand: θ = 1, ∇J = 2, α = 0.1.
BY_HAND = [
    (GradientDescent(0.1), 1 - 0.1 * 2),
    (Momentum(0.1, momentum=0.9), 1 - 0.2),
    (Momentum(0.1, momentum=0.9, nesterov=True), 1 + 0.9 * -0.2 - 0.2),
    (RMSprop(0.1, rho=0.9, epsilon=0.1), 1 - 0.1 * 2 / math.sqrt(0.1 * 4 + 0.1)),
    (Adam(0.1, epsilon=0.5), 1 - 0.1 * 2 / (2 + 0.5)),
    (Adam(0.1, beta_1=0.9, beta_2=0.99, epsilon=0.3, bias_correction=False), 1 - 0.1 * 0.2 / (0.2 + 0.3)),
    (AdamW(0.1, weight_decay=0.5, epsilon=0.5), 1 - 0.1 * 0.5 * 1 - 0.1 * 2 / (2 + 0.5)),
]


@pytest.mark.parametrize(("optimizer", "expected"), BY_HAND, ids=lambda value: type(value).__name__)
def test_first_step_by_hand(optimizer, expected):
    np.testing.assert_allclose(walk(optimizer, np.ones(1), [np.full(1, 2.0)]), [expected], rtol=1e-14)


def test_second_step_of_momentum_by_hand():
    gradients = [np.full(1, 2.0)] * 2
    np.testing.assert_allclose(walk(Momentum(0.1), np.ones(1), gradients), [1 - 0.2 - (0.9 * 0.2 + 0.2)], rtol=1e-14)
    expected = 0.62 + 0.9 * -0.38 - 0.2
    np.testing.assert_allclose(walk(Momentum(0.1, nesterov=True), np.ones(1), gradients), [expected], rtol=1e-14)


# A second transcription, from the papers, one sample path each.


def plain(theta, gradients, a=0.05):
    for g in gradients:
        theta = theta - a * g
    return theta


def heavy_ball(theta, gradients, a=0.05, mu=0.8):
    v = 0
    for g in gradients:
        v = mu * v - a * g
        theta = theta + v
    return theta


def accelerated(theta, gradients, a=0.05, mu=0.8):
    v = 0
    for g in gradients:
        v = mu * v - a * g
        theta = theta + mu * v - a * g
    return theta


def mean_square(theta, gradients, a=0.05, rho=0.7, e=1e-3):
    v = 0
    for g in gradients:
        v = rho * v + (1 - rho) * g * g
        theta = theta - a * g / np.sqrt(v + e)
    return theta


def moments(theta, gradients, a=0.05, b1=0.8, b2=0.95, e=1e-3, corrected=True, decay=0.0):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
        theta = theta - a * (m_hat / (np.sqrt(v_hat) + e) + decay * theta)
    return theta


ADAM = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}
TRANSCRIPTIONS = {
    "GradientDescent": (lambda: GradientDescent(0.05), plain),
    "Momentum": (lambda: Momentum(0.05, 0.8), heavy_ball),
    "Momentum, Nesterov": (lambda: Momentum(0.05, 0.8, nesterov=True), accelerated),
    "RMSprop": (lambda: RMSprop(0.05, 0.7, 1e-3), mean_square),
    "Adam": (lambda: Adam(**ADAM), moments),
    "Adam, documented": (lambda: Adam(**ADAM, bias_correction=False), lambda x, g: moments(x, g, corrected=False)),
    "AdamW": (lambda: AdamW(**ADAM, weight_decay=0.3), lambda x, g: moments(x, g, decay=0.3)),
}
KINDS = sorted({kind.__name__ for kind in OPTIMIZERS.values()})


@pytest.mark.parametrize("kind", KINDS)
def test_each_optimizer_with_a_kernel_has_a_transcription(kind):
    assert kind in TRANSCRIPTIONS or isinstance(OPTIMIZERS[kind].update.kernel, Computed)  # see test_further.py


@pytest.mark.parametrize("name", TRANSCRIPTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_twenty_steps_of_two_parameters(name, dtype, tolerance):
    make, transcription = TRANSCRIPTIONS[name]
    rng = np.random.default_rng(3)
    w, b = rng.standard_normal((3, 2)), rng.standard_normal(2)
    gradients = [(rng.standard_normal((3, 2)), rng.standard_normal(2)) for _ in range(20)]
    tensors, optimizer = parameters(w.astype(dtype), b.astype(dtype)), make()
    for pair in gradients:
        step(optimizer, tensors, [g.astype(dtype) for g in pair])
    for x, start, path in zip(tensors, (w, b), zip(*gradients, strict=True), strict=True):
        assert x.dtype == dtype
        np.testing.assert_allclose(x.numpy(), transcription(start, path), rtol=tolerance, atol=tolerance)
    assert optimizer.iterations == 20


def test_documented_adam_differs_from_the_corrected_one():
    rng = np.random.default_rng(4)
    theta, gradients = rng.standard_normal(5), rng.standard_normal((3, 5))
    documented = walk(Adam(bias_correction=False), theta, gradients)
    assert (np.abs(documented - walk(Adam(), theta, gradients)) > 1e-4).all()


# Invariances

vectors = st.lists(st.floats(-100, 100).filter(lambda v: abs(v) > 1e-3), min_size=1, max_size=4).map(np.array)


@given(vectors, st.floats(-10, 10))
def test_gradient_descent_is_linear_in_the_gradient(g, factor):
    once, scaled = (walk(GradientDescent(0.1), np.zeros(len(g)), [v]) for v in (g, factor * g))
    np.testing.assert_allclose(scaled, factor * once, rtol=1e-13, atol=1e-300)


@given(vectors)
def test_first_step_of_adam_is_the_sign_times_the_rate(g):
    np.testing.assert_allclose(walk(Adam(0.1, epsilon=1e-12), np.zeros(len(g)), [g]), -0.1 * np.sign(g), rtol=1e-8)


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_adam_without_epsilon_does_not_see_the_gradients_scale(seed, factor):
    rng = np.random.default_rng(seed)
    theta, gradients = rng.standard_normal(3), rng.standard_normal((5, 3))
    a, b = (walk(Adam(0.1, epsilon=0.0), theta, scale * gradients) for scale in (1, factor))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# Buffers


@pytest.mark.parametrize("name", TRANSCRIPTIONS)
def test_steps_are_in_place_in_one_buffer(name):
    tensors, optimizer = parameters(np.ones((2, 3), "float32"), np.ones(4, "float32")), TRANSCRIPTIONS[name][0]()
    ones = [np.ones((2, 3), "float32"), np.ones(4, "float32")]
    step(optimizer, tensors, ones)
    addresses = [backend.address_of(x._data) for x in tensors]
    state = dict(optimizer.state)
    step(optimizer, tensors, ones)
    assert [backend.address_of(x._data) for x in tensors] == addresses
    assert addresses[1] - addresses[0] == 6 * 4
    assert all(optimizer.state[slot] is buffer and buffer.dtype == "float32" for slot, buffer in state.items())


def test_a_missing_gradient_counts_as_zero():
    a, b = parameters(np.ones(2), np.ones(2))
    optimizer = Momentum(0.1, 0.5)
    step(optimizer, [a, b], [np.ones(2), np.ones(2)])
    step(optimizer, [a, b], [np.ones(2), None])
    np.testing.assert_allclose(a.numpy(), 1 - 0.1 - 0.15)
    np.testing.assert_allclose(b.numpy(), 1 - 0.1 - 0.05)


def test_zero_grad_forgets_the_gradients():
    tensors = parameters(np.ones(2), np.ones(1))
    (tensors[0].sum() * tensors[1].sum()).backward()
    assert all(x.grad is not None for x in tensors)
    GradientDescent().zero_grad(tensors)
    assert all(x.grad is None for x in tensors)


def test_steps_of_a_parabola_reach_its_foot():
    (x,) = parameters(np.array([3.0, -2.0]))
    optimizer = Momentum(0.1, 0.5, nesterov=True)
    for _ in range(200):
        optimizer.zero_grad([x])
        ((x - 1.0) * (x - 1.0)).sum().backward()
        optimizer.step([x])
    np.testing.assert_allclose(x.numpy(), 1, atol=1e-12)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_an_update_between_forward_and_backward_is_noticed(steps_before):
    (w,) = parameters(np.array([1.0, 2.0]))
    w.name = "the kernel"
    optimizer = GradientDescent(0.1)
    for _ in range(steps_before):
        step(optimizer, [w], [np.ones(2)])
    y = (w * w).sum()
    step(optimizer, [w], [np.ones(2)])
    with pytest.raises(GraphError, match="the kernel"):
        y.backward()


def test_other_parameters_than_before_are_refused():
    a, b = parameters(np.ones(2), np.ones(2))
    optimizer = Adam()
    step(optimizer, [a], [np.ones(2)])
    with pytest.raises(UsageError, match="Adam keeps the state of other parameters"):
        optimizer.step([b])
    with pytest.raises(UsageError, match="other parameters"):
        optimizer.step([a, b])
    np.testing.assert_array_equal(b.numpy(), 1)
    step(optimizer, (a,), [np.ones(2)])  # the same ones in another sequence are welcome
    assert optimizer.iterations == 2


def test_state_of_another_size_is_refused():
    optimizer = Adam()
    optimizer.prepare(np.zeros(3))
    with pytest.raises(DataError, match="for 3 parameters, not 4"):
        optimizer.prepare(np.zeros(4))


# The learning rate, names and configurations


def test_the_schedule_is_asked_before_each_update():
    (x,) = parameters(np.zeros(1))
    optimizer = GradientDescent(optim.StepDecay(1.0, every=2, factor=0.5))
    rates = []
    for _ in range(6):
        rates.append(optimizer.learning_rate)
        step(optimizer, [x], [np.ones(1)])
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]
    np.testing.assert_allclose(x.numpy(), -3.5)


def test_setting_the_rate_replaces_the_schedule():
    optimizer = Adam(optim.CosineDecay(0.1, 10))
    optimizer.learning_rate = 0.25
    assert optimizer.schedule == optim.Constant(0.25)
    with pytest.raises(UsageError, match="learning rate"):
        optimizer.learning_rate = -1


CONFIGURED = [make() for make, _ in TRANSCRIPTIONS.values()] + [
    Adam(optim.WarmUp(optim.CosineDecay(0.1, 10, 0.01), 3), global_clipnorm=0.5)
]


@pytest.mark.parametrize("optimizer", CONFIGURED, ids=lambda o: f"{type(o).__name__}, {o.update.name}")
def test_the_configuration_makes_the_same_optimizer_again(optimizer):
    again = make_optimizer(json.loads(json.dumps(optimizer.config())))
    assert type(again) is type(optimizer)
    assert again.config() == optimizer.config()
    assert again.update is optimizer.update
    rng = np.random.default_rng(5)
    theta, gradients = rng.standard_normal(4), rng.standard_normal((6, 4))
    fresh = make_optimizer(optimizer.config())
    np.testing.assert_array_equal(walk(again, theta, gradients), walk(fresh, theta, gradients))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names(name):
    assert type(make_optimizer(name)) is type(make_optimizer(name.upper())) is OPTIMIZERS[name]


def test_an_optimizer_is_itself():
    optimizer = Adam()
    assert make_optimizer(optimizer) is optimizer


@pytest.mark.parametrize(("name", "hint"), [("adan", "adam"), ("momentun", "momentum"), ({"name": "Adamm"}, "Adam")])
def test_unknown_names_get_a_hint(name, hint):
    with pytest.raises(UsageError, match=f"unknown optimizer .*did you mean '{hint}'"):
        make_optimizer(name)


@pytest.mark.parametrize("value", [3, None, ["adam"], {}])
def test_what_is_no_optimizer(value):
    with pytest.raises(UsageError, match="unknown optimizer"):
        make_optimizer(value)


WRONG = [
    (Adam, {"beta_1": 1.0}),
    (Adam, {"beta_2": -0.1}),
    (Adam, {"beta_2": math.nan}),
    (Adam, {"epsilon": -1e-9}),
    (AdamW, {"weight_decay": -0.1}),
    (RMSprop, {"rho": 1.0}),
    (RMSprop, {"epsilon": -1.0}),
    (Momentum, {"momentum": 1.0}),
    (GradientDescent, {"global_clipnorm": 0}),
    (Adam, {"global_clipnorm": -1.0}),
    (Adam, {"global_clipnorm": math.nan}),
]


@pytest.mark.parametrize(("kind", "options"), WRONG, ids=str)
def test_hyperparameters_out_of_range_are_named(kind, options):
    with pytest.raises(UsageError, match=rf"{kind.__name__}\({next(iter(options))}="):
        kind(**options)


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, True, "0.1", None])
def test_learning_rates_that_are_none(rate):
    with pytest.raises(UsageError, match="learning rate"):
        GradientDescent(rate)


def test_a_learning_rate_of_numpy_is_a_number():
    assert GradientDescent(np.float64(0.5)).learning_rate == 0.5


@pytest.mark.parametrize("rate", [np.float32(0.5), np.int64(1)])
def test_a_learning_rate_of_any_numpy_dtype(rate):
    assert GradientDescent(rate).learning_rate == float(rate)


def test_a_hyperparameter_that_is_no_number_is_named():
    with pytest.raises(UsageError, match="beta_1"):
        Adam(beta_1="0.9")


# What may be set later


@pytest.mark.parametrize("kind", dict.fromkeys(OPTIMIZERS.values()), ids=lambda kind: kind.__name__)
def test_hyperparameters_are_attributes(kind):
    theta, gradients = np.ones(3), np.arange(9.0).reshape(3, 3)
    for name, value in kind().hyperparameters.items():
        optimizer = kind(0.1)
        assert getattr(optimizer, name) == value
        setattr(optimizer, name, value / 2)
        assert optimizer.config() == kind(0.1, **{name: value / 2}).config()
        np.testing.assert_array_equal(
            walk(optimizer, theta, gradients), walk(kind(0.1, **{name: value / 2}), theta, gradients)
        )


@pytest.mark.parametrize(("kind", "options"), [*WRONG, (Adam, {"ema_momentum": 1}), (Adam, {"epsilon": math.inf})])
def test_what_is_set_is_checked_as_what_is_given(kind, options):
    ((name, value),) = options.items()
    optimizer = kind()
    before = optimizer.config()
    with pytest.raises(UsageError, match=rf"{name}="):
        setattr(optimizer, name, value)
    assert optimizer.config() == before


def test_the_chosen_update_may_be_set():
    optimizer = Momentum(0.1)
    optimizer.nesterov = True
    assert optimizer.config() == Momentum(0.1, nesterov=True).config()
    assert walk(optimizer, np.ones(1), np.ones((2, 1))) == walk(Momentum(0.1, nesterov=True), np.ones(1), [[1], [1]])
    adam = Adam()
    adam.bias_correction = False
    assert adam.update is Adam(bias_correction=False).update
    walk(adam, np.ones(1), np.ones((1, 1)))
    with pytest.raises(UsageError, match="bias_correction is fixed"):
        adam.bias_correction = True


ABSENT = {
    "lr": "learning_rate",
    "decay": "schedule",
    "loss_scale_factor": "float32",
    "learning_rat": "did you mean 'learning_rate'",
}


@pytest.mark.parametrize("kind", dict.fromkeys(OPTIMIZERS.values()), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ABSENT)
def test_other_names_are_refused_with_the_way_out(kind, name):
    optimizer = kind()
    for use in (lambda: kind(**{name: 0.5}), lambda: setattr(optimizer, name, 0.5), lambda: getattr(optimizer, name)):
        with pytest.raises(UsageError, match=rf"{kind.__name__}.*{name}.*{ABSENT[name]}"):
            use()
    assert not hasattr(optimizer, name)


def test_what_a_neighbour_has_is_named():
    for kind, name, way in [(Lion, "amsgrad", "Adam has"), (GradientDescent, "momentum", r"optim\.SGD")]:
        for use in (lambda k=kind, n=name: k(**{n: 0.5}), lambda k=kind, n=name: setattr(k(), n, 0.5)):
            with pytest.raises(UsageError, match=way):
                use()
        kind(**{name: False})


def test_an_optimizer_of_ones_own_is_free():
    class Noted(Adam):
        def __init__(self, note, **options):
            super().__init__(**options)
            self.note = note

    noted = Noted("a", beta_1=0.5)
    noted.note, noted.seen, noted.beta_1 = "b", 1, 0.25
    assert (noted.note, noted.seen, noted.hyperparameters["beta_1"]) == ("b", 1, 0.25)
    with pytest.raises(UsageError, match="beta_1"):
        Noted("a", beta1=0.5)
