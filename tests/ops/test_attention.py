"""Attention beside PyTorch's, in parts and whole, in a recorded step, and what it refuses."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine.together import found
from chalkgrad.errors import DataError, ShapeError
from chalkgrad.ops import attention as module
from chalkgrad.replay import team

SHAPES = {
    "free": ((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 2)),
    "causal": ((2, 3, 6, 4),) * 3,
    "ahead": ((4, 4), (9, 4), (9, 3)),
}


def drawn(shapes, seed=0, dtype="float64"):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


def attended(q, k, v, mask, causal):
    return cg.attention(q, k, v, causal=causal) if mask is None else cg.masked_attention(q, k, v, mask, causal=causal)


def gradients(arrays, mask, causal):
    tensors = [cg.tensor(a, requires_grad=True) for a in arrays]
    y = attended(*tensors, mask, causal)
    (y * np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)).sum().backward()
    return [y.numpy(), *(t.grad.numpy() for t in tensors)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_it_is_pytorchs(name, masked):
    torch = pytest.importorskip("torch", reason="a test beside PyTorch")
    arrays, causal = drawn(SHAPES[name]), name != "free"
    (*lead, queries, _), keys = arrays[0].shape, arrays[1].shape[-2]
    mask = np.random.default_rng(1).random((*lead[:1], *[1] * len(lead[1:]), keys)) < 0.7 if masked else None
    if masked:
        mask[..., 0] = True
    seen = np.tril(np.ones((queries, keys), bool), keys - queries) if causal else np.ones((queries, keys), bool)
    seen = seen if mask is None else seen & mask[..., None, :]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = torch.nn.functional.scaled_dot_product_attention(*theirs, attn_mask=torch.tensor(seen))
    (y * torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)).sum().backward()
    ours = gradients(arrays, mask, causal)
    for a, b in zip(ours, [y.detach(), *(t.grad for t in theirs)], strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.cpu_only("parts are the CPU's")
@pytest.mark.parametrize("most", [1, 40, 100])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_in_parts_it_is_the_same(monkeypatch, name, masked, most):
    arrays, causal = drawn(SHAPES[name]), name != "free"
    mask = np.linspace(0.1, 1, arrays[1].shape[-2]) if masked else None
    whole = gradients(arrays, mask, causal)
    monkeypatch.setattr(module, "MOST", most)
    monkeypatch.setattr(module, "ROWS", 2)
    for a, b in zip(gradients(arrays, mask, causal), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.cpu_only("cores are the CPU's")
def test_heads_are_shared_by_the_cores(monkeypatch):
    counts, each = [], team.each
    monkeypatch.setattr(team, "each", lambda part, count: (counts.append(count), each(part, count)))
    arrays = drawn([(12, 64, 8)] * 3, dtype="float32")
    together = gradients(arrays, None, True)
    assert counts == [2, 2]
    waves = np.cos(np.arange(together[0].size)).reshape(together[0].shape).astype("float32")
    q, k, v = [[cg.tensor(head[None], requires_grad=True) for head in x] for x in arrays]
    for n in range(12):
        y = cg.attention(q[n], k[n], v[n], causal=True)
        (y * waves[n : n + 1]).sum().backward()
        alone = [y.numpy(), *(x[n].grad.numpy() for x in (q, k, v))]
        assert all(np.array_equal(a[n], b[0]) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("steps", [6, 150])
@pytest.mark.parametrize("masked", [False, True])
def test_a_recorded_step_is_the_tapes(masked, steps):
    mask = np.ones(steps, "float32") if masked else None

    def step(q, k, v):
        return cg.value_and_grad(lambda *xs: (attended(*xs, mask, True) ** 2).sum(), argnums=(0, 1, 2))(q, k, v)

    recorded = cg.capture(step)
    for seed in range(4):
        given = [cg.tensor(a) for a in drawn([(2, 3, steps, 4)] * 3, seed, "float32")]
        (value, found), (right, expected) = recorded(*given), step(*given)
        for a, b in zip([value, *found], [right, *expected], strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.cpu_only("on a GPU each rule runs alone")
@pytest.mark.parametrize("masked", [False, True])
def test_on_the_tape_all_rules_share_one_way_back(monkeypatch, masked):
    calls, pull = [], module.PULL[True]
    monkeypatch.setitem(module.PULL, True, lambda *given: calls.append(given) or pull(*given))
    q, k, v = arrays = drawn([(2, 150, 4)] * 3)  # three parts
    mask = np.arange(150) % 7 != 6 if masked else None
    together = gradients(arrays, mask, True)[1:]
    assert len(calls) == 1
    made, given = (cg.masked_attention, (q, k, v, mask)) if masked else (cg.attention, (q, k, v))
    gy = np.cos(np.arange(q.size)).reshape(q.shape)
    alone = [made.rules[name].kernel(np, gy, *given, True) for name in "qkv"]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert len(calls) == 4
    assert not found


def test_no_query_sees_what_comes_later_or_is_masked():
    q, k, v = drawn([(5, 3)] * 3)
    mask = np.array([1.0, 0, 1, 1, 1])
    before = cg.masked_attention(q, k, v, mask, causal=True).numpy()
    k[1], v[1], k[4], v[4] = np.inf, 1e300, 1e9, 1e300
    k[1] = 7
    after = cg.masked_attention(q, k, v, mask, causal=True).numpy()
    np.testing.assert_array_equal(before[:4], after[:4])


def test_large_scores_do_not_overflow():
    q, k, v = (np.full((2, 2), 200.0, "float32") for _ in range(3))
    np.testing.assert_array_equal(cg.attention(q, k, v).numpy(), v)


Z = np.zeros


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        ((Z((3, 2)), Z((4, 3)), Z((4, 3))), {}, r"q \(…, queries, width\)"),
        ((Z((3, 2)), Z((4, 2)), Z((5, 3))), {}, r"not \(3, 2\), \(4, 2\), \(5, 3\)"),
        ((Z((2, 3, 2)), Z((4, 2)), Z((4, 2))), {}, "attention takes"),
        ((Z((3, 2)), Z((0, 2)), Z((0, 2))), {}, "no keys"),
        ((Z((5, 2)), Z((4, 2)), Z((4, 2))), {"causal": True}, "5 queries to 4 keys"),
    ],
)
def test_shapes_that_do_not_fit(given, options, text):
    with pytest.raises(ShapeError, match=text):
        cg.attention(*given, **options)


@pytest.mark.parametrize("mask", [Z(4), Z((3, 1, 5)), np.float64(1)])
def test_masks_that_do_not_fit(mask):
    with pytest.raises(ShapeError, match=r"it is \(…, keys\)"):
        cg.masked_attention(*[Z((2, 1, 5, 3))] * 3, mask)


@pytest.mark.cpu_only("values are looked at on the CPU")
def test_a_row_without_a_key_is_named():
    mask = np.ones((3, 1, 5))
    mask[1] = 0
    with pytest.raises(DataError, match="first query of row 1, 0 no key"):
        cg.masked_attention(*[Z((3, 2, 5, 2))] * 3, mask)
    with pytest.raises(DataError, match="its first 1 be 1"):
        cg.masked_attention(*[Z((3, 2, 5, 2))] * 3, np.array([0, 1, 1, 1, 1]), causal=True)
