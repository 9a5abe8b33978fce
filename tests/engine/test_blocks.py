"""Large arrays in blocks have the bits of the whole."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.engine import blocks

LOSSES = {"labels": cg.sparse_categorical_cross_entropy, "rows": cg.categorical_cross_entropy}


@pytest.fixture(params=[4, 64])
def both(request, monkeypatch):
    """Computes something twice: whole, and in blocks."""

    def run(f):
        taken = []
        for size in (1 << 30, request.param):
            monkeypatch.setattr(blocks, "BLOCK", size)
            taken.append(f())
        return taken

    return run


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(37, 5), (11, 40), (1, 300), (300, 1), (9, 4, 7)])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("order", "CF")
def test_cross_entropy(both, kind, shape, dtype, order):
    draw = np.random.default_rng(0)
    logits = np.array(30 * draw.normal(size=shape), dtype, order=order)
    logits.flat[::7] = -np.inf
    labels = draw.integers(0, shape[-1], shape[:-1])
    targets = labels if kind == "labels" else draw.random(shape).astype(dtype)

    def run():
        x = cg.tensor(logits, requires_grad=True)
        with np.errstate(all="ignore"):
            loss = LOSSES[kind](x, cg.tensor(targets))
            loss.backward(np.asarray(0.7, dtype))
        return loss.numpy().tobytes() + x.grad.numpy().tobytes()

    whole, apart = both(run)
    assert whole == apart


@pytest.mark.parametrize("options", [{"jit": False}, {"jit": True}], ids=["list", "compiled"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_recorded_step(both, kind, options):
    """Tape and list, whole and in blocks: rows and columns beside the matrix, numbers, what is read later and not."""
    if options["jit"]:
        pytest.importorskip("numba")
    draw = np.random.default_rng(0)
    given = [cg.tensor(draw.normal(size=(50, 6)).astype("float32")) for _ in range(5)]
    target = cg.tensor(draw.integers(0, 6, 50)) if kind == "labels" else given[0].softmax()

    def run(recorded):
        w = cg.tensor(np.linspace(-1, 1, 300, dtype="float32").reshape(50, 6), requires_grad=True)
        optimizer = optim.AdamW(0.1)

        def step(x):
            w.grad = None
            z = (x * w).tanh() * 2 + x[0] - x.mean(axis=1, keepdims=True)
            loss = LOSSES[kind](z, target) + (z * z > 0.5).astype("float32").mean()
            loss.backward()
            optimizer.step([w])
            return loss, z.detach()

        step_made = cg.capture(step, **options) if recorded else step
        made = [step_made(x)[i].numpy().tobytes() for x in given for i in (0, 1)]
        assert not recorded or (step_made.recordings and all(r.program for r in step_made.recordings.values()))
        return made, w.numpy().tobytes(), {k: v.tobytes() for k, v in optimizer.state.items()}

    whole, apart = both(lambda: (run(False), run(True)))
    assert whole[0] == whole[1] == apart[0] == apart[1]


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer(both, name):
    def run():
        draw, optimizer = np.random.default_rng(0), optim.OPTIMIZERS[name](0.1, use_ema=True)
        w, frozen, b = (cg.tensor(draw.normal(size=n).astype("float32"), requires_grad=True) for n in (301, 7, 20))
        for call in range(17):
            frozen.requires_grad = call % 2 == 0
            for x in (w, frozen, b):
                g = cg.tensor(draw.normal(size=x.shape).astype("float32"))
                x.grad = g if x.requires_grad else None
            optimizer.step([w, frozen, b])
        return [x.numpy().tobytes() for x in (w, frozen, b)], {k: v.tobytes() for k, v in optimizer.state.items()}

    whole, apart = both(run)
    assert whole == apart


def test_an_update_that_looks_at_all_elements_is_not_taken_apart(both):
    @optim.declare("theta = theta - learning_rate * g / sqrt(sum(g[i]**2, i))")
    def Normalised(xp, theta, g, scratch, *, learning_rate=0.1):
        xp.multiply(g, learning_rate / xp.sqrt(xp.sum(g * g)), out=scratch)
        xp.subtract(theta, scratch, out=theta)

    def run():
        theta = np.zeros(999)
        Normalised().apply(theta, np.arange(999.0))
        return theta.tobytes()

    whole, apart = both(run)
    assert whole == apart
