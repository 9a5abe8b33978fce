"""Whatever a captured function reads from outside may change at any moment: the next call sees it, as the tape does."""

import collections
import functools
import itertools
import operator
import types

import numpy as np
import numpy.random as numpy_random
import pytest
from replaying import bits, given_tensor, leaf, reasons, replays

import chalkgrad as cg

BETA = 1.0
SETTINGS = {"beta": 1.0}


class Loss:
    """A callable object with a setting of its own, one of its class, and one behind a property."""

    scale = 1.0
    __slots__ = ("__dict__", "slot")

    def __init__(self):
        self.beta, self.nested, self.slot = 1.0, types.SimpleNamespace(beta=[1.0]), 1.0

    @property
    def doubled(self):
        return 2 * self.beta

    def __call__(self, x):
        return x.sum() * self.doubled

    def by_class(self, x):
        return x.sum() * self.scale

    def by_slot(self, x):
        return x.sum() * self.slot

    def deep(self, x):
        return inner(x, self.nested)

    def by_name(self, x):
        return x.sum() * getattr(self, "be" + "ta")


class Private:
    __slots__ = ("__beta",)

    def __init__(self):
        self.__beta = 1.0

    def change(self, v):
        self.__beta = v

    def __call__(self, x):
        return x.sum() * self.__beta


def inner(x, settings):
    return x.sum() * settings.beta[0]


def by_global(x):
    return x.sum() * BETA


def by_global_of_a_callee(x):
    return by_global(x) + 1


def by_dict_of_a_callee(x):
    return (lambda y: y.sum() * SETTINGS["beta"])(x) * 2


def set_global(value):
    globals()["BETA"] = value


def reading(kind):
    """A function that reads a number from outside in one way, and how that number is changed."""
    if kind == "dict":
        held = {"b": 1.0}
        return lambda x: x.sum() * held["b"], lambda v: held.update(b=v)
    if kind == "list":
        held = [1.0]
        return lambda x: x.sum() * held[-1], lambda v: held.append(v)
    if kind == "deque":
        held = collections.deque([1.0], maxlen=1)
        return lambda x: x.sum() * held[0], held.append
    if kind == "order of a dict":
        held = {"a": 1.0, "b": 2.0}

        def change(v):
            held["a"] = held.pop("a") * v

        return lambda x: functools.reduce(lambda y, n: (y + n) * n, held.values(), x.sum()), change
    if kind == "array":
        held = np.ones(3)
        return lambda x: x.sum() * float(held[1]), lambda v: held.__setitem__(1, v)
    if kind == "array of an operation":
        held = np.ones(3)
        return lambda x: (x * held).sum(), lambda v: held.fill(v)
    if kind == "tensor":
        held = cg.tensor(1.0, dtype="float64")
        return lambda x: (held * x.sum()) * 3, held.assign
    if kind == "tensor's number":
        held = cg.tensor(1.0, dtype="float64")
        return lambda x: x.sum() * float(held), held.assign
    if kind == "gradient":
        w = leaf(3)
        w.grad = cg.tensor(np.ones(3))

        def change(v):
            w.grad = cg.tensor(np.full(3, v))

        return lambda x: (x * w.grad).sum(), change
    if kind == "nonlocal":
        beta = 1.0

        def change(v):
            nonlocal beta
            beta = v

        return lambda x: x.sum() * beta, change
    if kind == "default":
        f = lambda x, b=1.0: x.sum() * b  # noqa: E731
        return lambda x: f(x) * 2, lambda v: setattr(f, "__defaults__", (v,))
    if kind == "default in a dict":
        held = {"b": 1.0}
        return lambda x, h=held: x.sum() * h["b"], lambda v: held.update(b=v)
    if kind == "partial":
        held = {"b": 1.0}
        return functools.partial(lambda h, x: x.sum() * h["b"], held), lambda v: held.update(b=v)
    if kind == "attribute of a function":
        f = lambda x: x.sum() * f.beta  # noqa: E731
        f.beta = 1.0
        return f, lambda v: setattr(f, "beta", v)
    if kind in ("object", "class", "slot", "deep", "computed name", "bound method"):
        held = Loss()
        change = {
            "class": lambda v: setattr(Loss, "scale", v), "slot": lambda v: setattr(held, "slot", v),
            "deep": lambda v: held.nested.beta.__setitem__(0, v),
        }.get(kind, lambda v: setattr(held, "beta", v))  # fmt: skip
        functions = {"class": held.by_class, "slot": held.by_slot, "deep": held.deep, "computed name": held.by_name}
        return functions.get(kind, held), change
    if kind == "instance over class":
        held = Loss()
        return held.by_class, lambda v: setattr(held, "scale", v)
    if kind == "method replaced":
        held = Loss()
        return lambda x: held.by_slot(x), lambda v: setattr(held, "by_slot", lambda x: x.sum() * v)
    if kind == "global":
        return by_global, set_global
    if kind == "global of a callee":
        return by_global_of_a_callee, set_global
    if kind == "dict of a callee":
        return by_dict_of_a_callee, lambda v: SETTINGS.update(beta=v)
    if kind == "private slot":
        held = Private()
        return held, held.change
    if kind == "pattern":
        held = Loss()

        def f(x):
            match held:
                case Loss(beta=b):
                    return x.sum() * b

        return f, lambda v: setattr(held, "beta", v)
    if kind == "attribute getter":
        held, get = Loss(), operator.attrgetter("nested.beta")
        return lambda x: x.sum() * get(held)[0], lambda v: held.nested.beta.__setitem__(0, v)
    if kind == "cache":
        held = {"b": 1.0}
        get = functools.lru_cache(lambda: held["b"])

        def change(v):
            held["b"] = v
            get.cache_clear()

        return lambda x: x.sum() * get(), change
    if kind == "code":
        f = lambda x: x.sum() * 1.0  # noqa: E731
        return lambda x: f(x), lambda v: setattr(f, "__code__", (lambda x: x.sum() * 0.25).__code__)
    if kind == "generator of numbers":
        held = np.random.default_rng(0)
        return lambda x: x.sum() if held.random() < 0.5 else x.sum() * 2, lambda v: None
    if kind == "random module":
        numpy_random.seed(0)
        return lambda x: x.sum() if numpy_random.uniform() < 0.8 else x.sum() * 2, lambda v: None
    if kind == "iterator":
        held = itertools.cycle([1.0, 1.0, 1.0, 2.0])
        return lambda x: x.sum() * next(held), lambda v: None
    held = iter([1.0] * 5 + [2.0] * 99)
    return lambda x: x.sum() * next(held), lambda v: None


KINDS = [
    "dict", "list", "deque", "order of a dict", "array", "array of an operation", "tensor", "tensor's number",
    "gradient", "nonlocal", "default", "default in a dict", "partial", "attribute of a function", "object", "class",
    "slot", "deep", "computed name", "bound method", "instance over class", "method replaced", "global",
    "global of a callee", "dict of a callee", "private slot", "pattern",
    "attribute getter", "cache", "code", "generator of numbers", "random module", "iterator",
    "iterator of a list",
]  # fmt: skip

ON_THE_TAPE = {"attribute getter", "cache", "tensor's number", "generator of numbers", "random module", "iterator",
               "iterator of a list"}  # fmt: skip


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    set_global(1.0)
    SETTINGS["beta"] = Loss.scale = 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_from_outside_changes(kind):
    results = []
    for captures in (False, True):
        set_global(1.0)
        SETTINGS["beta"] = Loss.scale = 1.0
        function, change = reading(kind)
        called = cg.capture(function) if captures else function
        found = []
        for call in range(14):
            if call in (5, 6, 11):
                change(call / 2)
            found.append(bits(called(given_tensor(3, seed=call)).detach()))
        results.append(found)
    assert results[0] == results[1]
    assert bool(replays(called)) == (kind not in ON_THE_TAPE), called.explain()


def test_what_stays_is_replayed():
    held, loss = {"b": 1.0, "list": [2.0, "text"], "array": np.ones(3)}, Loss()

    def f(x):
        return x.sum() * held["b"] * held["list"][0] * float(held["array"][0]) + loss.deep(x) + by_global(x)

    captured = cg.capture(f)
    for call in range(9):
        held["b"] = float("1.0")  # another object, the same number
        captured(given_tensor(3, seed=call))
    assert replays(captured) == [7], captured.explain()


def test_what_changes_now_and_then_is_recorded_anew_for_ever():
    held = {"b": 0.0}
    captured = cg.capture(lambda x: x.sum() * held["b"])
    for call in range(40 * 20):
        held["b"] = float(call // 20)
        assert captured(cg.tensor(np.ones(3))).item() == 3.0 * (call // 20)
    assert reasons(captured) == [None]


def test_a_call_that_may_give_something_else_stays_on_the_tape():
    import time

    captured = cg.capture(lambda x: x * (1.0 if time.time() > 0 else 2.0))
    for _ in range(4):
        captured(given_tensor(3))
    assert replays(captured) == []
    assert "time.time is called" in captured.explain()


def test_a_function_of_the_library_of_which_nothing_is_known_stops_the_recording():
    @cg.primitive("y = x")
    def unwrapped(xp, x):
        return xp.unwrap(x)

    try:
        captured = cg.capture(lambda x: unwrapped(x))
        for call in range(4):
            x = given_tensor(5, seed=call)
            assert bits(captured(x)) == bits(unwrapped(x))
        assert "nothing is known of where unwrap writes" in captured.explain()
    finally:
        cg.registry.pop("unwrapped")
        delattr(cg.engine.primitive.namespace, "unwrapped")


def test_an_array_too_large_to_be_compared_stays_on_the_tape():
    held = np.ones(600_000)
    captured = cg.capture(lambda x: x * float(held[0]))
    for call in range(6):
        held[0] = call // 3
        assert captured(cg.tensor([1.0])).item() == call // 3
    assert "too large to be compared" in captured.explain()


def test_a_primitive_of_ones_own_reads_what_changes():
    held = {"b": 1.0}

    @cg.primitive("y = x", method=True)
    def warmed(xp, x):
        return x * held["b"]

    try:
        captured = cg.capture(lambda x: x.warmed())
        for call in range(12):
            held["b"] = float(call // 4)
            x = given_tensor(3, seed=call)
            assert bits(captured(x)) == bits(x * held["b"])
        assert replays(captured) == [2]
    finally:
        cg.registry.pop("warmed")
        delattr(cg.engine.primitive.namespace, "warmed")
        delattr(cg.Tensor, "warmed")
