"""Several threads and capture."""

import threading

import numpy as np
from replaying import assert_plain, bits, given_tensor, leaf, replays, values

import chalkgrad as cg


def in_thread(function):
    """Run it in another thread; returns what it raised, if anything, once asked."""
    raised = []

    def run():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def finish():
        thread.join()
        if raised:
            raise raised[0]

    return finish


def while_recording(function):
    """Record a step on a weight, and have another thread run function(weight) in the middle of it."""
    w, inside, done = leaf(3, seed=5), threading.Event(), threading.Event()

    def f(x):
        y = w * x
        inside.set()
        done.wait(5)
        y.sum().backward()
        w.grad = None
        return y.detach()

    def other():
        inside.wait(5)
        try:
            function(w)
        finally:
            done.set()

    finish, captured, x = in_thread(other), cg.capture(f), given_tensor(3)
    assert bits(captured(x)) == bits((w * x).detach())
    finish()
    for call in range(4):
        x = given_tensor(3, seed=call)
        assert bits(captured(x)) == bits((w * x).detach())
    assert replays(captured) == [3]
    assert_plain(w)


def others(w):
    for seed in range(20):
        a = leaf(4, seed=seed)
        y = (a * a + 1).sum()
        y.backward()
        assert bits(a.grad) == bits(a.detach() * 2)
        assert bits(cg.tensor(values(4)).exp()) == bits(cg.tensor(np.exp(values(4))))


def test_another_thread_computes_with_tensors_of_its_own():
    while_recording(others)


def test_another_thread_computes_with_the_same_weights():
    while_recording(lambda w: others(w) or bits((w.detach() * 2).sum()))


def test_two_threads_record_at_the_same_time():
    def record(w):
        captured = cg.capture(lambda x: (x * x.exp()).sum())
        for call in range(4):
            x = given_tensor(3, seed=call)
            assert bits(captured(x)) == bits((x * x.exp()).sum())

    inside, done = threading.Event(), threading.Event()
    w = given_tensor(3)

    def second(x):
        y = x * 2
        inside.set()
        done.wait(0.5)
        return y + 1

    def first(x):
        y = w * x
        finish.append(in_thread(lambda: cg.capture(second)(given_tensor(3))))
        inside.wait(0.5)
        y = y + w
        done.set()
        return y

    finish = []
    captured, x = cg.capture(first), given_tensor(3)
    result = captured(x)
    finish[0]()
    assert bits(result) == bits(w * x + w)


def test_two_threads_replay_the_same_program(declare):
    waiting, other_is_done = threading.Event(), threading.Event()
    armed = []

    @declare("y = x")
    def passed(xp, x):
        return x * 1.0

    @passed.check_values
    def _(x):
        if armed and armed.pop():
            waiting.set()
            other_is_done.wait(0.5)

    f = lambda x: (lambda y: passed(y) + y)(x.exp())  # noqa: E731
    captured, (a, b) = cg.capture(f), (given_tensor(3, seed=1), given_tensor(3, seed=2))
    for _ in range(3):
        captured(a)
    armed.append(True)
    results = []
    finish = in_thread(lambda: results.append(captured(a)))
    waiting.wait(5)
    other = captured(b)
    other_is_done.set()
    finish()
    assert bits([results[0], other]) == bits([f(a), f(b)])
