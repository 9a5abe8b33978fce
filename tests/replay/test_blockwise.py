"""Chains over large arrays, with reductions of rows, block by block on all cores: the tape's bits."""

import random

import pytest

import chalkgrad as cg

from .replaying import JIT, RECORDED, few_are_large, given_tensor, same

pytestmark = pytest.mark.cpu_only("a GPU has cores of its own")


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    """What few elements are large; how many parts there were in each call."""
    found = []
    few_are_large(monkeypatch, 60, 20, 16, found.append)
    return found


STEPS = {
    "tanh": lambda a, b, w: a.tanh(), "product": lambda a, b, w: a * b, "row": lambda a, b, w: a - w[0, 1],
    "column": lambda a, b, w: a * w[..., :1], "one": lambda a, b, w: a / w[0, 0, 0], "number": lambda a, b, w: 2 - a,
    "sums": lambda a, b, w: a / ((a * a).sum(axis=-1, keepdims=True) + 1), "rest": lambda a, b, w: a + w,
    "mean": lambda a, b, w: b - a.mean(axis=-1, keepdims=True), "all": lambda a, b, w: a - a.mean(),
    "max": lambda a, b, w: a - a.max(axis=-1, keepdims=True), "mask": lambda a, b, w: (a > b) * a,
    "root": lambda a, b, w: a * (b.min(axis=-1, keepdims=True) ** 2 + 1).sqrt(), "softmax": lambda a, b, w: a.softmax(),
    "rows": lambda a, b, w: b + a.sum(axis=-1)[..., None], "turned": lambda a, b, w: a[:, ::-1] * 1.0,
}  # fmt: skip


@pytest.mark.parametrize("jit", JIT)
def test_random_chains(jit):
    w = given_tensor(3, 5, 4, seed=5)
    for seed in range(1 if jit else 25):
        draw = random.Random(seed)
        chosen = [(draw.choice(sorted(STEPS)), draw.random() < 0.4) for _ in range(8)]

        def f(x, chosen=chosen):
            a, b = x * 2.0, x * 0.5
            for name, keep in chosen:
                a, b = STEPS[name](a, b, w), (a if keep else b)
            return a * 1.0, (a + b).sum(axis=0)

        recorded = cg.capture(f, jit=jit)
        for call in range(RECORDED + 2):
            x = given_tensor(3, 5, 4, seed=call)
            assert same(recorded(x), f(x)), chosen


@pytest.mark.parametrize("jit", JIT)
def test_a_normalised_layer_is_one_call_on_both_cores(jit, shared):
    """What lies between is a block's: of two cores each has some rows. A view of what is given does not part it."""
    gamma, beta = given_tensor(4, seed=1), given_tensor(4, seed=2)

    def f(x, weights):
        centred = x - x.mean(axis=-1, keepdims=True)
        normal = centred / ((centred * centred).mean(axis=-1, keepdims=True) + 1e-5).sqrt() * weights[..., None]
        return (normal * gamma + beta).sum(axis=0)

    recorded, x, weights = cg.capture(f, jit=jit), given_tensor(3, 5, 4), given_tensor(3, 5)
    for _ in range(RECORDED + 1):
        assert same(recorded(x, weights), f(x, weights))
    ((program,),) = ([r.program] for r in recorded.recordings.values())
    assert sum(bool(step.calls) for step in program.steps if step.instruction.kind == "make") == 2, recorded.explain()
    assert set(shared) == {4}
