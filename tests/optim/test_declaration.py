"""Optimisers of a user's own: declared in one place by the text of their equation."""

import inspect
import json
import pickle

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers, optim
from chalkgrad.engine import backend
from chalkgrad.errors import EquationError, UsageError
from chalkgrad.optim.declaration import Update


@optim.declare("m = beta * m + (1 - beta) * g; theta = theta - learning_rate * sign(m)")
def SignedMomentum(*, learning_rate=0.01, beta=0.9):
    """Momentum of which each step takes the sign (Bernstein et al. 2018)."""


@optim.declare(
    "m = beta_1 * m + (1 - beta_1) * g; v = beta_2 * v + (1 - beta_2) * g**2;"
    "rate = learning_rate / (1 - beta_1**t); root = sqrt(v / (1 - beta_2**t)); theta = theta - rate * m / (root + pi)"
)
def Corrected(*, learning_rate=0.1, beta_1=0.5, beta_2=0.75):
    """Adam from its text alone, with names for what lies between, one of them a number."""


OWN = {name: (optim.OPTIMIZERS.pop(name), optim.updates.pop(name)) for name in ("signedmomentum", "corrected")}
"""Other tests take what is declared for ours."""


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    for name, (kind, update) in OWN.items():
        monkeypatch.setitem(optim.OPTIMIZERS, name, kind)
        monkeypatch.setitem(optim.updates, name, update)


def trained(optimizer, eager, device="cpu", dtype="float32"):
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 4)).astype(dtype), rng.random((40, 2)).astype(dtype)
    model = Sequential([layers.Dense(3, "tanh"), layers.Dense(2)], dtype=dtype, device=device)
    model.compile(optimizer, "mse", run_eagerly=eager)
    model.fit(x, y, batch_size=8, epochs=4, verbose=0)
    return model


def bits(model):
    return [a.tobytes() for a in (*model.get_weights(), *model.optimizer.state.values())]


def test_its_steps_are_those_of_its_equation():
    (x,) = [cg.tensor(np.array([1.0, -2.0]), requires_grad=True)]
    optimizer = SignedMomentum(0.5)
    for g in ([1.0, -1.0], [-20.0, 1.0]):
        x.grad = cg.tensor(g)
        optimizer.step([x])
    assert x.tolist() == [1.0, -2.0]
    np.testing.assert_allclose(backend.fetch(optimizer.state["m"]), [0.09 - 2, -0.09 + 0.1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [SignedMomentum, Corrected, lambda: Corrected(optim.StepDecay(0.1, 3))])
def test_it_is_captured_to_the_last_bit(make, dtype):
    eager, captured = (trained(make(), eager, dtype=dtype) for eager in (True, False))
    assert bits(captured) == bits(eager)
    assert captured.recorded["train"].recordings


def test_from_the_text_of_adam_comes_adam():
    def weights(optimizer):
        return trained(optimizer, eager=False, dtype="float64").get_weights()

    options = {"learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.75}
    for a, b in zip(weights(Corrected()), weights(optim.Adam(**options, epsilon=np.pi)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("make", [SignedMomentum, Corrected])
def test_it_trains_on_a_device(make, device):
    for here, there in zip(
        trained(make(), True).get_weights(), trained(make(), False, device).get_weights(), strict=True
    ):
        np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-4)


def test_it_is_saved_and_loaded(tmp_path):
    model = trained(SignedMomentum(optim.CosineDecay(0.1, 30), beta=0.5, use_ema=True), eager=False)
    model.save(tmp_path / "model")
    again = Sequential.load(tmp_path / "model")
    assert type(again.optimizer) is SignedMomentum
    assert again.optimizer.config() == model.optimizer.config()
    assert bits(again) == bits(model)


def test_it_is_known_by_name_and_by_configuration():
    assert (
        type(optim.make_optimizer("signedmomentum")) is type(optim.make_optimizer("SignedMomentum")) is SignedMomentum
    )
    again = optim.make_optimizer(json.loads(json.dumps(SignedMomentum(beta=0.25).config())))
    assert (again.beta, again.learning_rate) == (0.25, 0.01)
    with pytest.raises(UsageError, match="did you mean 'SignedMomentum'"):
        optim.make_optimizer("SignedMomentun")


@pytest.mark.cpu_only("explained are tensors on the CPU")
def test_it_is_explained_by_its_equation():
    explained = cg.explain(lambda x: (x * x).sum(), [2.0], optimizer=SignedMomentum())
    shown = [one.symbols("unicode") for one in explained.update[0].assignments]
    assert any("sign" in line for line in shown), shown


def test_its_constructor_says_and_checks_what_it_takes():
    names = [*inspect.signature(SignedMomentum).parameters]
    assert names[:5] == ["learning_rate", "beta", "global_clipnorm", "use_ema", "ema_momentum"]
    assert names[5:] == ["clipnorm", "clipvalue", "weight_decay", "undecayed", "gradient_accumulation_steps"]
    assert "takes the sign" in SignedMomentum.__doc__
    with pytest.raises(UsageError, match=r"SignedMomentum\(\) got .*'gamma'"):
        SignedMomentum(gamma=1)
    with pytest.raises(UsageError, match=r"SignedMomentum\(beta=1\)"):
        SignedMomentum(beta=1)
    assert pickle.loads(pickle.dumps(SignedMomentum(beta=0.5))).beta == 0.5


def test_what_cannot_be_read_is_refused_where_it_is_declared():
    with pytest.raises(EquationError, match="learnin_rate"):

        @optim.declare("theta = theta - learnin_rate * g")
        def Misspelled(*, learning_rate=0.01):
            """."""


@pytest.mark.parametrize("text", ["m = g * rate", "theta = theta - rate * g"])
def test_what_is_no_update_is_refused(text):
    with pytest.raises(EquationError, match="an update changes theta, and learning_rate is one of its numbers"):

        @optim.declare(text)
        def Odd(*, rate=0.01):
            """."""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("theta = theta - learning_rate * g[i]", "an update is elementwise"),
        ("theta = theta - learning_rate * (g & 1)", "cannot be computed here"),
        ("theta = theta - learning_rate * g * 2.0**(t * t * t)", "has no numbers for .*t = 1000"),
        ("theta = theta - learning_rate / (t - 1000) * g", "has no numbers for .*t = 1000: float division by zero"),
    ],
)
def test_what_cannot_be_computed_is_told(text, why):
    def function(*, learning_rate=0.1):
        """Odd."""

    with pytest.raises(EquationError, match=why):
        Update("odd", text, function)(np, np.ones(2), np.ones(2), np.zeros(2), {}, learning_rate=0.1, t=1000)


def test_our_names_are_ours():
    with pytest.raises(UsageError, match="our own optimizer by the name adam"):

        @optim.declare("theta = theta - learning_rate * g")
        def Adam(*, learning_rate=0.01):
            """."""
