"""Random graphs beside PyTorch's: lists, NumPy's functions, writing in place and mixed dtypes.

Each step gives the same value and the same gradients there and here, or it is refused here, in one of the ways that
docs/numpy.md names. The deep form: CHALKGRAD_GRAPHS=2000 python -m pytest tests/engine/test_random_graphs.py
"""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ChalkgradError

torch = pytest.importorskip("torch", reason="graphs are compared with PyTorch's: pip install torch")
pytestmark = pytest.mark.cpu_only("beside PyTorch on the CPU")
GRAPHS, STEPS, LARGEST = int(os.environ.get("CHALKGRAD_GRAPHS", "60")), 8, 1e3
HALF = np.array([0.5, -1.5, 2.0], "float16")
ROW, T_ROW = np.zeros(3), torch.zeros(3, dtype=torch.float64)
MASK = np.array([True, False, True])
COUNTS = np.array([[1, 2, 3], [4, 5, 6]], "uint8")
T_HALF, T_MASK, T_COUNTS = torch.tensor(HALF).double(), torch.tensor(MASK), torch.tensor(COUNTS)


def real(x):
    """In PyTorch a mean of integers is an error, and a sine of them float32."""
    return x if x.is_floating_point() else x.double()


def written(x, value):
    buffer = cg.tensor(np.zeros(3))
    buffer[1] = value
    return buffer * x


def t_written(x, value):
    buffer = torch.zeros(3, dtype=torch.float64)
    buffer[1] = value
    return buffer * x


def augmented(x, y):
    x = x * 1
    x += y
    x *= 0.5
    return x


def own(x, y):
    buffer = cg.tensor(np.ones(3))
    buffer.assign(x.detach().sum())
    return buffer * y


def t_own(x, y):
    return torch.ones(3) * x.detach().sum() * y


def into_array(x):
    array = np.zeros((2, 3))
    array += x
    return cg.tensor(array)


def stack_of(*items):
    return torch.stack([torch.as_tensor(item, dtype=torch.float64) for item in items])


SMOOTH = [
    (lambda x, y: cg.sin(x) * 3 + 0.3, lambda x, y: torch.sin(real(x)) * 3 + 0.3),
    (lambda x, y: np.tanh(x) + np.exp(cg.sin(x)), lambda x, y: torch.tanh(real(x)) + torch.exp(torch.sin(real(x)))),
    (lambda x, y: np.sinc(x) + y, lambda x, y: torch.sinc(real(x)) + y),
    (lambda x, y: np.nanmean(x) * np.arctan2(x, 2.5), lambda x, y: real(x).mean() * torch.atan(real(x) / 2.5)),
    (lambda x, y: np.logaddexp(x, y), lambda x, y: torch.logaddexp(real(x), real(y))),
    (lambda x, y: np.sqrt(x * x + 1.5), lambda x, y: torch.sqrt(real(x) * x + 1.5)),
    (lambda x, y: cg.sigmoid(x) - cg.gelu(y), lambda x, y: torch.sigmoid(real(x)) - torch.nn.functional.gelu(real(y))),
    (lambda x, y: x * y + 1, lambda x, y: x * y + 1),
    (lambda x, y: np.add(x, y) - np.float64(0.5) * x, lambda x, y: real(x + y) - 0.5 * real(x)),
    (lambda x, y: x / (y * y + 1.0), lambda x, y: real(x) / (real(y) * y + 1.0)),
    (lambda x, y: HALF * (x * np.float32(1)) + (x * np.float32(1)) * HALF, lambda x, y: 2 * x * T_HALF),
    (lambda x, y: COUNTS * cg.sin(x), lambda x, y: T_COUNTS * torch.sin(real(x))),
    (
        lambda x, y: np.mean(x) + (y + ROW).mean(axis=-1, keepdims=True),
        lambda x, y: real(x).mean() + (y + T_ROW).mean(-1, True),
    ),
    (lambda x, y: np.sum(x + ROW, axis=-1, keepdims=True) * 0.1, lambda x, y: (x + T_ROW).sum(-1, True) * 0.1),
    (lambda x, y: cg.var(x) + np.var(y), lambda x, y: real(x).var(correction=0) + real(y).var(correction=0)),
    (lambda x, y: cg.softmax(x + ROW) + y, lambda x, y: torch.softmax(x + T_ROW, -1) + y),
    (lambda x, y: np.reshape(x, -1).mean() * y, lambda x, y: real(x).reshape(-1).mean() * y),
    (
        lambda x, y: np.einsum("i,i", (x + 0 * HALF).reshape(-1)[:3], HALF.astype("float32")),
        lambda x, y: ((real(x) + 0 * T_HALF).reshape(-1)[:3] * T_HALF).sum(),
    ),
]
LISTS = [
    (lambda x, y: cg.mean([x.sum(), y.mean(), 2.0]), lambda x, y: stack_of(x.sum(), real(y).mean(), 2).mean()),
    (
        lambda x, y: cg.sin(x) * [y.mean(), 1.0, x.mean()],
        lambda x, y: torch.sin(real(x)) * stack_of(real(y).mean(), 1.0, real(x).mean()),
    ),
    (
        lambda x, y: cg.add((x.max(), 0.5, y.sum()), cg.sin(y)),
        lambda x, y: stack_of(x.amax(), 0.5, y.sum()) + torch.sin(real(y)),
    ),
    (
        lambda x, y: cg.tensor([[x.sum(), 1.0], (y.sum(), x.mean())]).sum(axis=0).mean() * y,
        lambda x, y: stack_of(x.sum(), 1.0, y.sum(), real(x).mean()).sum() / 2 * y,
    ),
    (
        lambda x, y: cg.stack([x + ROW, [x.sum(), y.sum(), 0.0] + 0.0 * x]).mean(axis=0),
        lambda x, y: (real(x) + stack_of(x.sum(), y.sum(), 0.0)) / 2,
    ),
    (
        lambda x, y: cg.concatenate([x.reshape(-1), [y.sum(), 3.0]]).mean(),
        lambda x, y: torch.cat([real(x).reshape(-1).double(), stack_of(y.sum(), 3.0)]).mean(),
    ),
    (
        lambda x, y: cg.where(MASK, [x.sum(), y.sum(), 1.0], cg.sin(y)),
        lambda x, y: torch.where(T_MASK, stack_of(x.sum(), y.sum(), 1.0), torch.sin(real(y))),
    ),
    (
        lambda x, y: [[x.sum(), 1.0, 0.0], [0.0, y.mean(), 1.0]] @ cg.tensor(HALF).astype("float64"),
        lambda x, y: stack_of(0.5 * real(x).sum() - 1.5, -1.5 * real(y).mean() + 2.0),
    ),
]
EDGES = [
    (
        lambda x, y: (cg.sin(x) * 3 + 0.3) % (cg.sin(y) + 2),
        lambda x, y: (torch.sin(real(x)) * 3 + 0.3) % (torch.sin(real(y)) + 2),
    ),
    (lambda x, y: (cg.sin(x) * 3 + 0.3) // 1 + y, lambda x, y: torch.floor(torch.sin(real(x)) * 3 + 0.3) + y),
    (lambda x, y: round(cg.sin(x) * 3 + 0.3) * y, lambda x, y: torch.round(torch.sin(real(x)) * 3 + 0.3) * y),
    (lambda x, y: np.maximum(cg.sin(x), 0.3) * y, lambda x, y: torch.clamp(torch.sin(real(x)), min=0.3) * y),
    (
        lambda x, y: np.where((cg.sin(x) > 0.1) & ~(cg.sin(x) > 0.7), x, y),
        lambda x, y: torch.where((torch.sin(real(x)) > 0.1) & ~(torch.sin(real(x)) > 0.7), x, y),
    ),
    (
        lambda x, y: cg.clip(cg.sin(x), -0.5, 0.1 + y * y),
        lambda x, y: torch.minimum(torch.clamp(torch.sin(real(x)), min=-0.5), (0.1 + real(y) * y).to(real(x).dtype)),
    ),
    (lambda x, y: np.max(x) * y + 1.0 * np.abs(x), lambda x, y: x.amax() * y + real(x).abs()),
    (lambda x, y: x.astype("float32") * y, lambda x, y: x.float() * y),
]
PLACES = [
    (lambda x, y: augmented(x, y), lambda x, y: (x * 1 + y) * 0.5),
    (own, t_own),
]
REFUSED = [
    (lambda x, y: np.i0(x) * y, lambda x, y: torch.special.i0(real(x)) * y, "np.i0(w)"),
    (lambda x, y: np.add.accumulate(np.ravel(x))[-1] + y, lambda x, y: x.sum() + y, "np.add.accumulate(w)"),
    (lambda x, y: np.sum(x, dtype="float64") + y, lambda x, y: x.double().sum() + y, "np.sum(w, dtype=…)"),
    (lambda x, y: np.add.reduce(cg.reshape(x, -1)) + y, lambda x, y: x.sum() + y, "np.add.reduce(w)"),
    (lambda x, y: cg.tensor(np.asarray(x)) + y, lambda x, y: x + y, "np.asarray(w)"),
    (lambda x, y: cg.tensor(np.array([x.sum(), 1.0])).sum() + y, lambda x, y: x.sum() + 1 + y, "np.array([w[0], 1.0])"),
    (lambda x, y: written(y, x.sum()), lambda x, y: t_written(y, x.sum()), "buffer[0] = w[0] * w[1]"),
    (lambda x, y: into_array(x) + y, lambda x, y: torch.zeros(2, 3) + x + y, "array += w"),
    (
        lambda x, y: cg.tensor(np.zeros(3)).assign(cg.sin(x).sum()) + y,
        lambda x, y: torch.zeros(3) + torch.sin(real(x)).sum() + y,
        "buffer.assign(w * 2)",
    ),
    (
        lambda x, y: cg.leaky_relu(cg.sin(y), negative_slope=x.mean()),
        lambda x, y: torch.where(torch.sin(real(y)) > 0, torch.sin(real(y)), real(x).mean() * torch.sin(real(y))),
        "cg.leaky_relu(x, negative_slope=w[0])",
    ),
]
KINDS = [
    [(*step, None) if len(step) == 2 else step for step in kind] for kind in (SMOOTH, LISTS, EDGES, PLACES, REFUSED)
]


def drawn(rng):
    """Leaves and constants, of shapes that broadcast to (2, 3), as pairs."""
    pairs = []
    for i in range(5):
        dtype = [
            "float32",
            "float64",
            "float32",
            ["float64", "float32"][rng.integers(2)],
            ["int64", "int32", "bool"][rng.integers(3)],
        ][i]
        values = np.asarray(rng.normal(size=[(2, 3), (3,), (1, 3), ()][rng.integers(4)]) * 1.5).astype(dtype)
        needs = bool(i < 3 and (not i or rng.random() < 0.7))
        pairs.append((cg.tensor(values, requires_grad=needs), torch.tensor(values, requires_grad=needs)))
    return pairs


def close(ours, theirs, what, size=1.0):
    ours, theirs = ours.numpy(), theirs.detach().numpy()
    bound = 2e-4 * max(size, np.abs(theirs).max())  # float32 here and float64 there, where the promotion differs
    assert ours.shape == theirs.shape, what
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound, err_msg=what)


def compared(seed, refused):
    """One graph: its values and gradients beside PyTorch's; counts what is refused."""
    rng = np.random.default_rng([13, seed])
    pairs = drawn(rng)
    leaves, pool = [p for p in pairs if p[0].requires_grad], list(pairs)
    for number in range(STEPS):
        kind = KINDS[rng.integers(len(KINDS))]
        which = int(rng.integers(len(kind)))
        ours, theirs, documented = kind[which]
        (a, ta), (b, tb) = (pool[i] for i in rng.integers(len(pool), size=2))
        what = f"graph {seed}, step {number}: kind {KINDS.index(kind)}, {which}"
        expected = theirs(ta, tb)
        if not bool(torch.isfinite(expected).all()) or float(expected.detach().double().abs().max()) > LARGEST:
            continue
        try:
            y = ours(a, b)
        except ChalkgradError:
            assert documented, f"{what} was refused"
            refused[documented] += 1
            continue
        y = y if isinstance(y, cg.Tensor) else cg.tensor(y)
        close(y, expected, what)
        if y.shape in ((), (3,), (1, 3), (2, 1), (2, 3)):
            pool.append((y, expected))
    total = sum(x.sum() * (0.5 + i) for i, (x, _) in enumerate(pool))
    t_total = sum(t.sum() * (0.5 + i) for i, (_, t) in enumerate(pool))
    close(
        total,
        t_total,
        f"graph {seed}: the sum",
        sum(float(t.detach().double().abs().sum()) * (0.5 + i) for i, (_, t) in enumerate(pool)),
    )
    total.backward()
    t_total.backward()
    size = max(float(t.grad.abs().max()) for _, t in leaves)
    for i, (x, t) in enumerate(leaves):
        close(x.grad, t.grad, f"graph {seed}: the gradient of leaf {i}", size)


def test_no_graph_differs_in_silence():
    refused = Counter()
    for seed in range(GRAPHS):
        compared(seed, refused)
    documented = (Path(__file__).parents[2] / "docs" / "numpy.md").read_text("utf-8")
    assert all(form in documented for form in refused)
    assert refused.keys() == {form for _, _, form in KINDS[-1]}
    print(f"{GRAPHS} graphs; refused: {dict(refused)}")
