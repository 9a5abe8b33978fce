"""What a program depends on: arguments, surroundings, weights."""

import numpy as np
import pytest
from replaying import bits, given_tensor, leaf, replays, values

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine.flat import Flat

# Signatures


def test_each_shape_dtype_layout_and_number_has_a_program_of_its_own():
    captured = cg.capture(lambda x, n=1: (x * n).sum(axis=0))
    square = np.ascontiguousarray(values(4, 4))
    kinds = [(values(2, 4),), (values(3, 4),), (values(2, 4, dtype="float32"),), (square,), (square.T,)]
    kinds += [(square, 1), (square, 1.0), (square, True), (square, "2" == "3"), (square > 0, 2), (square[::-1], 1)]
    for _ in range(4):
        for x, *n in kinds:
            assert bits(captured(cg.Tensor(x), *n)) == bits((cg.Tensor(x) * (n or [1])[0]).sum(axis=0))
    assert replays(captured) == [2] * len(kinds)


def test_a_string_chooses_the_way():
    captured = cg.capture(lambda x, kind: getattr(x, kind)())
    for kind in ["exp", "sin", "exp", "sin", "exp", "sin", "sum"]:
        assert bits(captured(given_tensor(3), kind)) == bits(getattr(given_tensor(3), kind)())


@pytest.mark.parametrize("how", ["argument", "closure", "two in one program"])
def test_the_sign_of_zero(how):
    scale, x = 0.0, cg.tensor([1.0, 2.0])
    f = {
        "argument": lambda x, s: x * s,
        "closure": lambda x, s: x * scale,
        "two in one program": lambda x, s: (x * 0.0, x * -0.0),
    }[how]
    captured = cg.capture(f)
    for scale in (0.0, 0.0, 0.0, 0.0, -0.0):
        assert bits(captured(x, scale)) == bits(f(x, scale))


def test_numbers_in_closure_and_globals_are_watched(monkeypatch):
    scale, name = 2.0, "exp"

    def f(x):
        return getattr(x, name)() * scale + GLOBAL

    captured = cg.capture(f)
    for call in range(12):
        scale, name = (2.0, "exp") if call < 6 else (3, "sin")
        if call == 9:
            monkeypatch.setitem(globals(), "GLOBAL", 7.0)
        x = given_tensor(3, seed=call)
        assert bits(captured(x)) == bits(f(x))
    assert replays(captured) == [1]


GLOBAL = 1.0


@pytest.mark.cpu_only("the sign of a NaN is another on a GPU")
def test_a_watched_nan_is_right():
    scale = float("nan")

    def f(x):
        return cg.where(x > 0, x, scale)

    captured = cg.capture(f)
    for call in range(30):
        assert bits(captured(given_tensor(3, seed=call))) == bits(f(given_tensor(3, seed=call)))


def rebound(first, second, apply=lambda x, y: x * y):
    """A name in the closure that stands for something else from the fifth call on."""
    thing, x = first, given_tensor(3, seed=3)

    def f(x):
        return apply(x, thing)

    captured = cg.capture(f)
    for call in range(7):
        thing = first if call < 4 else second
        assert bits(captured(x)) == bits(f(x))


REBOUND = {
    "tensor": (given_tensor(3), given_tensor(3, seed=1)),
    "array": (values(3), values(3, seed=1)),
    "function": (cg.tanh, cg.sigmoid, lambda x, f: f(x)),
    "number of NumPy": (np.float64(2), np.float64(3)),
    "tuple": ((2.0,), (3.0,), lambda x, t: x * t[0]),
    "list in place of its numbers": ([2.0], [3.0], lambda x, t: x * t[0]),
    "number to tensor": (2.0, given_tensor(3, seed=1)),
}


@pytest.mark.parametrize("name", REBOUND)
def test_a_name_in_the_closure_is_bound_anew(name):
    rebound(*REBOUND[name])


def test_a_number_of_another_kind():
    for first, second in [(2, 3), (2.0, 3.0), ("a", None), (None, 2.0), (1, 1 + 1e-15)]:
        rebound(first, second, lambda x, y: x * (y if isinstance(y, (int, float)) else 1))


def test_a_watched_number_of_the_same_value():
    scale = 2

    def f(x):
        return x * scale

    captured, x = cg.capture(f), cg.tensor(np.arange(3))
    for scale in (2, 2, 2, 2, 2.0):  # noqa: B007
        assert bits(captured(x)) == bits(f(x))


@pytest.mark.parametrize(
    "f",
    [lambda x: (lambda y: y * GLOBAL)(x), lambda x: sum((x * GLOBAL for _ in range(2)), start=x)],
    ids=["lambda", "generator"],
)
def test_globals_named_in_functions_inside_are_watched(f, monkeypatch):
    captured = cg.capture(f)
    for call in range(6):
        if call == 4:
            monkeypatch.setitem(globals(), "GLOBAL", 7.0)
        assert bits(captured(given_tensor(3))) == bits(f(given_tensor(3)))


@pytest.mark.cpu_only("NumPy arrays, which a GPU's tensors are not mixed with")
def test_a_constant_array_that_changes_in_place_is_read_anew():
    constant, x = values(3), given_tensor(3)
    captured = cg.capture(lambda x: x * constant)
    for call in range(12):
        constant[:] = call // 4
        assert bits(captured(x)) == bits(x * constant)
    assert replays(captured) == [2]


# Weights replaced or moved


def move(w):
    Flat([w]).data[:] = 3.0


def replace(w):
    w._data = given_tensor(3, seed=9)._data


@pytest.mark.parametrize("change", [move, replace])
def test_weights_moved_are_recorded_anew(change):
    w, b = leaf(3), given_tensor(3, seed=4)

    def f(x):
        b.assign((x * w).detach())
        return b * w.detach()

    captured = cg.capture(f)
    for call in range(8):
        if call == 4:
            change(w)
        x = given_tensor(3, seed=call)
        result = captured(x)
        assert bits(result) == bits(f(x))
    assert replays(captured) == [2]


UNSEEN = {
    "cg.tensor of it": lambda x, w, b: cg.tensor(w) * x,
    "assigned from it": lambda x, w, b: b.assign(w.detach()).detach() * x,
}


@pytest.mark.parametrize("name", UNSEEN)
def test_a_tensor_only_copied_is_moved(name):
    w, b = leaf(3), given_tensor(3, seed=4)
    captured = cg.capture(lambda x: UNSEEN[name](x, w, b))
    for call in range(6):
        if call == 4:
            move(w)
        x = given_tensor(3, seed=call)
        assert bits(captured(x)) == bits(UNSEEN[name](x, w, b).detach())


def test_a_model_that_loads_weights_is_replayed_with_them(tmp_path):
    def made(seed):
        return cg.Sequential([layers.Dense(3, "tanh", input_shape=(4,))], seed=seed)

    model, other, x = made(0), made(1), given_tensor(5, 4, dtype="float32")
    model.build()
    other.build()
    other.save(tmp_path / "other.safetensors")
    captured = cg.capture(lambda x: model(x).detach())
    for call in range(6):
        if call == 4:
            model.load_weights(tmp_path / "other.safetensors")
        assert bits(captured(x)) == bits(model(x).detach())
    assert bits(captured(x)) == bits(other(x).detach())
