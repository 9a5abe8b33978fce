"""Watching a computation tells what the engine did, and changes nothing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.engine.watching import Watching


def network(x, w):
    h = (x @ w).relu()
    return (h * h).sum() + h.sum()


def inputs():
    rng = np.random.default_rng(0)
    return [cg.tensor(rng.normal(size=shape), requires_grad=True) for shape in [(2, 3), (3, 4)]]


def test_every_application_is_noted_in_order():
    x, w = inputs()
    with Watching() as seen:
        loss = network(x, w)
    assert [a.primitive.name for a in seen.applications] == ["matmul", "relu", "multiply", "sum", "sum", "add"]
    assert seen.applications[0].operands == (x, w)
    assert seen.applications[-1].result is loss


def test_what_the_rules_sent_adds_up_to_the_gradients():
    x, w = inputs()
    with Watching() as seen:
        network(x, w).backward()
    for leaf in (x, w):
        sent = [backend.fetch(s.gx) for s in seen.sent if s.operand is leaf]
        np.testing.assert_array_equal(sum(sent), leaf.grad.numpy())
    h = seen.applications[1].result
    assert len([s for s in seen.sent if s.operand is h]) == 3, "h is used three times"
    into_relu = next(s for s in seen.sent if s.application.result is h)
    arrived = sum(backend.fetch(s.gx) for s in seen.sent if s.operand is h)
    np.testing.assert_allclose(backend.fetch(into_relu.gy), arrived)


def test_what_is_sent_has_the_operands_shape():
    b = cg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with Watching() as seen:
        (cg.tensor(np.ones((2, 3))) + b).sum().backward()
    assert next(s.gx.shape for s in seen.sent if s.operand is b) == (3,)


def test_gradients_are_the_same_to_the_last_bit():
    x, w = inputs()
    network(x, w).backward()
    again = inputs()
    with Watching():
        network(*again).backward()
    for a, b in zip((x, w), again, strict=True):
        assert a.grad.numpy().tobytes() == b.grad.numpy().tobytes()


def test_a_captured_function_is_carried_out_step_by_step():
    captured = cg.capture(lambda t: (t * t).sum())
    t = cg.tensor([1.0, 2.0])
    for _ in range(4):
        captured(t)
    with Watching() as seen:
        captured(t)
    assert [a.primitive.name for a in seen.applications] == ["multiply", "sum"]


def test_afterwards_nothing_is_noted():
    with Watching() as seen:
        pass
    cg.tensor([1.0]).exp()
    assert not seen.applications


def test_what_another_thread_does_is_not_watched_and_is_replayed_as_ever():
    captured, x = cg.capture(lambda x: (x * 2).sum()), cg.tensor([1.0, 2.0])
    for _ in range(3):
        captured(x)
    with Watching() as seen, ThreadPoolExecutor(1) as pool:
        pool.submit(captured, x).result()
    assert seen.applications == []
    assert [recording.replays for recording in captured.recordings.values()] == [2]
