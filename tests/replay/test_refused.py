"""What cannot be replayed runs on the tape and says why; randomness that can be is replayed."""

import contextlib
import io
import itertools
import random
import types

import numpy as np
import pytest
from replaying import agree, bits, given_tensor, leaf, one, pure, values

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine import random as streams

# Randomness


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_draws_the_same_stream(dtype):
    def build():
        generator, layer = np.random.default_rng(0), layers.Dropout(0.4)
        w = leaf(4, 6, dtype=dtype)

        def f(x):
            w.grad = None
            y = layer(layer(x @ w, training=True, generator=generator), training=True, generator=generator).sum()
            y.backward()
            return y, streams.uniform(generator, like=x)

        return f, [w]

    agree(build, one(5, 4, dtype=dtype), calls=8)


def test_draws_that_nothing_comes_of_are_drawn():
    generators = [np.random.default_rng(0) for _ in range(2)]

    def f(x, g):
        streams.uniform(g, like=x)
        return x * 2

    captured = cg.capture(lambda x: f(x, generators[1]))
    for call in range(5):
        x = given_tensor(3, seed=call)
        assert bits(captured(x)) == bits(f(x, generators[0]))
        assert generators[1].bit_generator.state == generators[0].bit_generator.state


# What must be refused


def kept_outside():
    kept = []

    def f(x):
        kept.append(x * 2)
        return x.sum()

    return f, kept


def kept_on_an_object():
    kept = types.SimpleNamespace()

    def f(x):
        kept.last = x * 2
        return x.sum()

    return f, []


def counted():
    count = itertools.count()
    return (lambda x: x * next(count)), []


def drawn():
    chance = random.Random(0)
    return (lambda x: x * chance.random()), []


def drawn_by_numpy():
    rng = np.random.default_rng(0)
    return (lambda x: x * rng.standard_normal(3)), []


REFUSED = {
    "branch": (pure(lambda x: x * 2 if x.sum() > 0 else x.exp()), "a value is read"),
    "float": (pure(lambda x: x * float(x.sum())), "a value is read"),
    "int": (pure(lambda x: x * int(x.sum() * 10)), "a value is read"),
    "item": (pure(lambda x: x * x.sum().item()), "a value is read"),
    "numpy": (pure(lambda x: x * x.numpy()), "values are read"),
    "data": (pure(lambda x: x * x.data.sum()), "values are read"),
    "tolist": (pure(lambda x: x * cg.tensor(x.tolist())), "values are read"),
    "a function of numpy": (pure(lambda x: x * np.sin(np.asarray(x))), "values are read"),
    "format": (pure(lambda x: x * len(f"{x.sum():.3f}")), "a value is read"),
    "assert": (pure(lambda x: x * bool((x * x).sum() >= 0)), "a value is read"),
    "while": (pure(lambda x: next(x * n for n in itertools.count() if n > x.sum())), "a value is read"),
    "a weight": (lambda: (lambda w: ((lambda x: x * w.sum().item()), [w]))(given_tensor(3, seed=8)), "a value is read"),
    "an argument changed": (pure(lambda x: x.assign(x * 2).detach() * 1), "changes an argument in place"),
    "a view of an argument changed": (pure(lambda x: x[1:].assign(5.0).detach() * 1), "changes an argument in place"),
    "a list outside": (kept_outside, "kept by somebody else"),
    "an object outside": (kept_on_an_object, "kept by somebody else"),
    "a counter": (counted, "multiply was given 2, then 3"),
    "random": (drawn, "multiply was given 0."),
    "numpy.random": (drawn_by_numpy, "made anew in each call"),
    "a number returned": (pure(lambda x: (x * 2, 3.0)), "it returns float, not tensors alone"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_runs_on_the_tape_and_says_why(name):
    build, reason = REFUSED[name]
    captured = agree(build, one(3), calls=7, replayed=False)
    assert "on the tape, since" in captured.explain()
    assert reason in captured.explain()


def a_cycle(x):
    y = x * 2
    around = [y]
    around.append(around)
    return y.sum()


def a_traceback(x):
    y = x * 2
    try:
        raise ValueError
    except ValueError as error:
        caught = error  # holds this frame, which holds it
    return y.sum() if caught else y


@pytest.mark.parametrize("function", [a_cycle, a_traceback])
def test_what_only_garbage_holds_is_not_kept(function):
    agree(pure(function), one(3))


def test_what_was_kept_once_is_recorded_later():
    kept = []

    def f(x):
        y = x * 2
        if not kept:
            kept.append(y)
        return y + kept[0]

    captured = cg.capture(f)
    for call in range(5):
        x = given_tensor(3, seed=call)
        assert bits(captured(x)) == bits(x * 2 + kept[0])
    assert "replayed" in captured.explain()


def test_a_reason_names_the_line():
    captured = cg.capture(lambda x: x * 2 if x.sum() > 0 else x)
    captured(given_tensor(3))
    line = captured.function.__code__.co_firstlineno
    assert f"(test_refused.py:{line})" in captured.explain()


def test_printed_values_are_printed_each_time():
    def f(x):
        print(x)
        return x * 2

    captured, out = cg.capture(f), io.StringIO()
    with contextlib.redirect_stdout(out):
        for call in range(5):
            captured(given_tensor(1, seed=call))
    assert out.getvalue() == "".join(f"{given_tensor(1, seed=call)}\n" for call in range(5))
    assert "values are read" in captured.explain()


def test_a_result_that_asks_for_gradients_can_be_walked_each_time():
    w = leaf(3)
    captured = cg.capture(lambda x: (w * x).sum())
    for call in range(5):
        w.grad = None
        x = given_tensor(3, seed=call)
        captured(x).backward()
        assert bits(w.grad) == bits(x)
    assert "asks for gradients" in captured.explain()


def test_values_that_choose_among_shapes():
    def inputs(call):
        x = np.abs(values(6, seed=call))
        x[: [3, 3, 4, 0, 6][call]] *= -1
        return [cg.tensor(x)]

    agree(pure(lambda x: x[x > 0].sum() + x[x < 0].sum()), inputs, replayed=None)


def test_values_that_choose_among_shapes_of_what_is_computed_next():
    def inputs(call):
        x = np.abs(values(6, seed=call))
        x[: [3, 3, 4, 0, 6][call]] *= -1
        return [cg.tensor(x)]

    agree(pure(lambda x: (x[x > 0] * 2 + 1).sum()), inputs, replayed=None)


@pytest.mark.parametrize("which", ["result", "gradient"])
def test_a_list_outside_that_collects_what_is_returned_too(which):
    w, kept = leaf(3), []

    def f(x):
        w.grad = None
        y = (w * x).sum()
        y.backward()
        kept.append(w.grad if which == "gradient" else y)
        return y

    captured = cg.capture(f)
    for _ in range(5):
        captured(given_tensor(3))
    assert len(kept) == 5


@pytest.mark.parametrize("kind", [list, dict])
def test_a_container_among_the_arguments_that_is_filled(kind):
    def f(container):
        if kind is list:
            container.append(container[0] * 2)
        else:
            container[1] = container[0] * 2
        return container[0].sum()

    captured = cg.capture(f)
    for call in range(4):
        x = given_tensor(3, seed=call)
        container = kind([x] if kind is list else {0: x})
        assert bits(captured(container)) == bits(x.sum())
        assert len(container) == 2


ARRAYS = {
    "ufunc": lambda a: cg.tensor(np.sin(a)),
    "isinstance": lambda a: cg.tensor(a * 2 if isinstance(a, np.ndarray) else a),
    "std": lambda a: cg.exp(a) * a.std(),
    "tolist": lambda a: cg.tensor(a.tolist()),
    "ravel": lambda a: cg.exp(a.ravel()),
    "clip": lambda a: cg.exp(a.clip(0, 1)),
    "flags": lambda a: cg.exp(a) * a.flags.c_contiguous,
    "cumsum": lambda a: cg.exp(a.cumsum()),
    "transpose": lambda a: cg.exp(a[None].transpose(1, 0)),
    "plus": lambda a: cg.exp(+a),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_what_one_does_with_an_array_among_the_arguments(name):
    agree(pure(ARRAYS[name]), lambda call: [values(3, seed=call)], replayed=None)


USUAL = {
    "asarray": lambda a: cg.exp(np.asarray(a)),
    "branch": lambda a: cg.exp(a) if a.sum() > 0 else cg.sin(a),
    "mask": lambda a: cg.exp(a[a > 0]),
    "float": lambda a: cg.exp(a) * float(a.max()),
    "rows": lambda a: cg.stack([cg.tensor(v) for v in a]),
    "arithmetic": lambda a: cg.exp(2 * a**2 - a / 3 + abs(a) - (1 - a)),
    "methods": lambda a: cg.tensor(a.sum() + a.mean() + a.max() + a.argmax() + a.reshape(3, 1).T.sum()),
}


@pytest.mark.parametrize("name", USUAL)
def test_what_an_array_among_the_arguments_can_do(name):
    agree(pure(USUAL[name]), lambda call: [values(3, seed=call)], replayed=None)
