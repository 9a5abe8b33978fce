"""Optimisers in a captured step."""

import numpy as np
import pytest
from replaying import agree, batch, bits, leaf, mlp, one, replays

import chalkgrad as cg
from chalkgrad import optim

SCHEDULES = {
    "constant": lambda: 0.05,
    "step": lambda: optim.StepDecay(0.1, every=3),
    "cosine": lambda: optim.CosineDecay(0.1, steps=8),
    "warm-up": lambda: optim.WarmUp(optim.CosineDecay(0.1, steps=4), steps=3),
}


def training(make, dtype="float32", **options):
    """Ten captured steps and ten on the tape are the same: losses, weights, state, iterations, rates."""
    runs = []
    for captured in (False, True):
        optimizer, seen = make(), []
        f, w = mlp("tanh", cg.categorical_cross_entropy, dtype, update=optimizer.step)()
        step = cg.capture(f, **options) if captured else f
        for call in range(10):
            loss = step(*batch(call, dtype))
            seen.append((bits([loss.detach(), w, optimizer.state]), optimizer.iterations, optimizer.learning_rate))
        runs.append(seen)
        assert not captured or replays(step) == [7]  # the first step makes the state and the flat buffer
    assert runs[1] == runs[0]


CONTRACTED = pytest.mark.cpu_only(
    "a chain of elementwise calls is one loop on a GPU, which may contract a product and a sum"
)
NAMES = [pytest.param(n, marks=CONTRACTED) if n in ("adadelta", "nadam") else n for n in optim.OPTIMIZERS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer(name, schedule):
    for clip in (None, 0.05):
        training(lambda clip=clip: optim.OPTIMIZERS[name](SCHEDULES[schedule](), global_clipnorm=clip))


@pytest.mark.parametrize(
    "make",
    [lambda: optim.Momentum(0.1, nesterov=True), lambda: optim.Adam(0.1, bias_correction=False), optim.AdamW],
    ids=["nesterov", "adam as documented", "adamw"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_optimizers(make, dtype):
    training(make, dtype)


@pytest.mark.cpu_only("a GPU is not slower on subnormal numbers, which stay there")
@pytest.mark.parametrize("options", [{}, {"jit": True}], ids=["list", "compiled"])
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_what_decays_is_cleared_before_it_is_subnormal(name, options):
    """Elements without a gradient, whose state decays to 0 and is 0 then; tape and list alike, at every 16th update."""
    runs = []
    for captured in (False, True):
        optimizer, w = optim.OPTIMIZERS[name](1e-3, use_ema=True, ema_momentum=0.5), leaf(40, dtype="float32")
        w._data[20:] = 0

        def f(x, w=w, optimizer=optimizer):
            (x * w).sum().backward()
            optimizer.step([w])
            w.grad = None

        step = cg.capture(f, **options) if captured else f
        begin = np.where(np.arange(40) % 2, 1e-30, 1e-19).astype("f")  # of which the square is subnormal at once
        step(cg.tensor(begin))
        for _ in range(1119):
            step(cg.tensor(np.zeros(40, "f")))
        assert not captured or replays(step) == [1117]
        state = np.concatenate([*optimizer.state.values()])
        assert not np.count_nonzero(state[np.abs(state) < np.finfo("f").smallest_normal])
        runs.append(bits([w, optimizer.state]))
    assert runs[0] == runs[1]


@pytest.mark.cpu_only("a GPU is not slower on subnormal numbers, which stay there")
def test_subnormals_of_float16_are_left():
    optimizer, w = optim.Momentum(1e-3, momentum=0.999), cg.tensor(np.ones(4, "float16"), requires_grad=True)
    for _ in range(16):
        w.grad = cg.tensor(np.full(4, 2e-3, "float16"))
        optimizer.step([w])
    assert (np.abs(optimizer.state["v"]) > 0).all()


def test_two_optimizers_and_two_steps_in_one():
    def build():
        w, v = leaf(3, seed=5), leaf(3, seed=6)
        first, second = optim.Adam(optim.StepDecay(0.1, every=2)), optim.Momentum(0.1)

        def f(x):
            for optimizer, p in ((first, w), (second, v), (first, w)):
                (w * v * x).sum().backward()
                optimizer.step([p])
                w.grad = v.grad = None

        return f, [w, v]

    agree(build, one(3), calls=8, replayed=None)


def changed_between(change, make=lambda: optim.Momentum(0.1, global_clipnorm=1.0)):
    runs = []
    for captured in (False, True):
        optimizer = make()
        f, w = mlp("tanh", cg.categorical_cross_entropy, update=optimizer.step)()
        step = cg.capture(f) if captured else f
        for call in range(10):
            if call == 5:
                change(optimizer)
            step(*batch(call))
        runs.append(bits(w))
    assert runs[1] == runs[0]


CHANGES = {
    "learning_rate": lambda o: setattr(o, "learning_rate", 0.7),
    "schedule": lambda o: setattr(o, "learning_rate", optim.StepDecay(0.5, every=2)),
    "iterations": lambda o: setattr(o, "iterations", 0),
    "state": lambda o: o.state.update({k: v * 0 for k, v in o.state.items()}),
    "state in place": lambda o: [v.fill(0.5) for v in o.state.values()],
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_optimizer_changed_between_the_calls(name):
    changed_between(CHANGES[name])


FROZEN = {
    "global_clipnorm": lambda o: setattr(o, "global_clipnorm", 0.01),
    "hyperparameters": lambda o: o.hyperparameters.update(momentum=0.1),
    "update": lambda o: setattr(o, "update", optim.updates["nesterov"]),
}


@pytest.mark.parametrize("name", FROZEN)
def test_an_optimizer_changed_in_what_is_recorded(name):
    changed_between(FROZEN[name])


def test_clipping_by_hand():
    def update(w):
        assert optim.clip_by_global_norm(w, 0.05) > 0

    captured = agree(mlp("tanh", cg.categorical_cross_entropy, update=update), batch, replayed=False)
    assert "a value is read" in captured.explain()
