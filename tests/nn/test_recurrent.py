"""Recurrent layers: beside PyTorch, with masks, in recorded steps, and what they refuse."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.errors import ShapeError, UnknownNameError, UsageError
from chalkgrad.ops import recurrent_loops

KINDS = {"SimpleRNN": ("RNN", [0]), "LSTM": ("LSTM", [0, 1, 2, 3]), "GRU": ("GRU", [1, 0, 2])}
"""PyTorch's names, and which of its gates each of ours is."""


def built(kind, rng, features, units, **options):
    layer = getattr(layers, kind)(units, **options)
    layer.build((2, features), rng, "float64")
    for w in layer.weights.values():
        w.assign(rng.normal(0, 0.5, w.shape))
    return layer


def outcome(layer, x, gy, mask=None):
    """Value and gradients, of x and of each weight."""
    x = cg.tensor(x, requires_grad=True)
    y = layer.apply(layer.weights, x, training=False, generator=None, mask=mask)
    y.backward(gy)
    return [y.numpy(), x.grad.numpy(), *(w.grad.numpy() for w in layer.weights.values())]


@pytest.mark.cpu_only("compares with PyTorch on the CPU")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_value_and_all_gradients_are_pytorchs(kind, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    batch, steps, features, units = rng.integers(1, 6, 4).tolist()
    theirs, order = KINDS[kind]
    ours = built(kind, rng, features, units, return_sequences=True)
    module = getattr(torch.nn, theirs)(features, units, batch_first=True, dtype=torch.float64)

    def regated(w):  # (…, gates · units) as PyTorch has it, and back: the orders are their own inverses
        parts = np.split(w, len(order), axis=-1)
        return np.concatenate([parts[n] for n in order], axis=-1)

    kernel, recurrent, bias = (w.numpy() for w in ours.weights.values())
    biases = bias if kind == "GRU" else np.stack([bias, 0 * bias])
    values = {"weight_ih_l0": kernel, "weight_hh_l0": recurrent, "bias_ih_l0": biases[0], "bias_hh_l0": biases[1]}
    module.load_state_dict({name: torch.from_numpy(regated(w).T.copy()) for name, w in values.items()})
    x, gy = rng.normal(size=(batch, steps, features)), rng.normal(size=(batch, steps, units))
    given = torch.from_numpy(x).requires_grad_()
    y = module(given)[0]
    y.backward(torch.from_numpy(gy))
    grads = [regated(getattr(module, name).grad.numpy().T) for name in values]
    expected = [y.detach().numpy(), given.grad.numpy(), *grads[:2]]
    expected.append(np.stack(grads[2:]) if kind == "GRU" else grads[2])
    for ours_, theirs_ in zip(outcome(ours, x, gy), expected, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_leaves_out_its_steps(kind):
    """Sequences with steps in between that do not count give what they give without those."""
    rng = np.random.default_rng(0)
    layer = built(kind, rng, 3, 2)
    x, gy = rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 2))
    mask = np.array([1, 0, 1, 1, 0, 0], bool)
    whole = outcome(layer, x, gy, cg.tensor(np.broadcast_to(mask, (4, 6)).copy()))
    for w in layer.weights.values():
        w.grad = None
    short = outcome(layer, x[:, mask], gy)
    np.testing.assert_array_equal(whole[1][:, ~mask], 0)
    whole[1] = whole[1][:, mask]
    for a, b in zip(whole, short, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_the_same(kind):
    rng = np.random.default_rng(1)
    layer = built(kind, rng, 3, 4, return_sequences=True)
    x, gy, mask = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 4)), rng.random((2, 5)) < 0.7
    at_once = outcome(layer, x, gy, cg.tensor(mask))
    for w in layer.weights.values():
        w.grad = None
    type(layer).as_the_equation, kept = False, type(layer).as_the_equation
    try:
        by_steps = outcome(layer, x, gy, cg.tensor(mask))
    finally:
        type(layer).as_the_equation = kept
    for a, b in zip(at_once, by_steps, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_handed_on(kind):
    rng = np.random.default_rng(2)
    layer = built(kind, rng, 3, 2, return_state=True, return_sequences=True)
    x = cg.tensor(rng.normal(size=(2, 6, 3)))
    run = lambda x, **more: layer.apply(layer.weights, x, training=False, generator=None, **more)  # noqa: E731
    whole, *last = run(x)
    first, *state = run(x[:, :4])
    second, *end = run(x[:, 4:], initial_state=state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-12)
    for a, b in zip(last, end, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    assert layer.output_shape((6, 3)) == [(6, 2)] + [(2,)] * layer.states


@pytest.mark.cpu_only("on a GPU each step of the sequence is listed")
@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_step_lists_a_few_calls_whatever_the_length(kind):
    def calls(steps):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(12, steps, 3)).astype("float32"), rng.normal(size=(12, 2)).astype("float32")
        losses = []
        for eagerly in (False, True):
            model = cg.Sequential([getattr(layers, kind)(2, input_shape=(steps, 3))], seed=1)
            model.compile("adam", "mse", run_eagerly=eagerly, jit_compile="exact")
            losses.append(model.fit(x, y, epochs=3, batch_size=4, verbose=0).history["loss"])
            if not eagerly:
                said = model.recorded_steps[0].explain()
        assert losses[0] == losses[1]  # to the last bit
        assert "array calls recorded" in said
        return int(said.split(" array calls recorded")[0].split()[-1])

    assert calls(5) == calls(60) < 120


@pytest.fixture
def compiled(monkeypatch):
    """Has the compiled loops serve, whatever the size, or not at all."""
    pytest.importorskip("numba")
    if not recurrent_loops.serves():
        pytest.skip("the machine does not multiply and add in one operation")
    return lambda served: monkeypatch.setattr(recurrent_loops, "WORTH", 0 if served else 1 << 60)


@pytest.mark.cpu_only("the loops are the CPU's")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(("batch", "steps", "units"), [(9, 3, 21), (3, 2, 5), (16, 4, 32)])
def test_compiled_loops_give_what_the_array_code_gives(compiled, kind, batch, steps, units):
    rng = np.random.default_rng(3)
    layer = getattr(layers, kind)(units, return_sequences=True)
    layer.build((steps, 7), rng)
    x, gy = (rng.normal(size=(batch, steps, n)).astype("float32") for n in (7, units))
    for mask in (None, cg.tensor(rng.random((batch, steps)) < 0.6)):
        found = []
        for served in (True, False):
            compiled(served)
            for w in layer.weights.values():
                w.grad = None
            found.append(outcome(layer, x, gy, mask))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=3e-6)


@pytest.mark.cpu_only("the loops are the CPU's")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_no_bit_depends_on_who_does_which_rows(compiled, kind, monkeypatch):
    compiled(True)
    rng = np.random.default_rng(3)
    layer = getattr(layers, kind)(20, return_sequences=True)
    layer.build((3, 17), rng)
    x, gy = (rng.normal(size=(27, 3, n)).astype("float32") for n in (17, 20))
    found = []
    for least in (0, 1 << 60):
        monkeypatch.setattr(recurrent_loops, "FOR_TWO", least)
        for w in layer.weights.values():
            w.grad = None
        found.append(outcome(layer, x, gy, cg.tensor(np.arange(81).reshape(27, 3) % 5 > 0)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.cpu_only("the loops are the CPU's")
def test_compiled_loops_serve_the_tape_and_recorded_steps_alike(compiled):
    compiled(True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5, 3)).astype("float32"), rng.normal(size=(12, 4)).astype("float32")
    losses = []
    for eagerly in (False, True):
        model = cg.Sequential([layers.LSTM(4, input_shape=(5, 3))], seed=1)
        model.compile("adam", "mse", run_eagerly=eagerly)
        losses.append(model.fit(x, y, epochs=3, batch_size=4, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.cpu_only("the loops are the CPU's")
def test_what_is_not_finite_stays_so(compiled):
    compiled(True)
    layer = layers.LSTM(3)
    layer.build((2, 2), np.random.default_rng(0))
    x = np.zeros((3, 2, 2), "float32")
    x[1, 0, 0], x[2, 1, 1] = np.nan, 1e30
    y = layer(x).numpy()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


def test_dropout_is_the_same_for_all_steps():
    layer = layers.LSTM(3, dropout=0.5, recurrent_dropout=0.5, return_sequences=True)
    x = np.ones((2, 4, 3), "float32")
    one, two, other = (
        layer(x, training=True, generator=np.random.default_rng(seed)).numpy() for seed in (1, 1, 2)
    )  # fmt: skip
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    with pytest.raises(UsageError, match="generator="):
        layer(x, training=True)


def test_the_state_kernel_begins_orthogonal_and_the_forget_gate_open():
    layer = layers.LSTM(4)
    layer.build((2, 3), np.random.default_rng(0), "float64")
    r, b = layer.weights["recurrent_kernel"].numpy(), layer.weights["bias"].numpy()
    np.testing.assert_allclose(r @ r.T, np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(b, [0] * 4 + [1] * 4 + [0] * 8)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.LSTM(3).output_shape((4,)), ShapeError, r"\(batch, steps, features\)"),
        (lambda: layers.GRU(0), UsageError, "units"),
        (lambda: layers.LSTM(3, stateful=True), UnknownNameError, "initial_state"),
        (lambda: layers.LSTM(3, "tahn"), UsageError, "did you mean 'tanh'"),
        (lambda: cg.lstm(*(np.ones(s) for s in [(2, 3, 8), (2, 8), (2, 2), (2, 2), (2, 4)])), ShapeError, "mask"),
        (lambda: cg.projection(np.ones((2, 3, 4)), np.ones((3, 4)), np.ones(4)), ShapeError, "projection takes"),
        (lambda: cg.gru(*(np.ones(s) for s in [(2, 3, 6), (2, 6), (5,), (2, 2), (2, 3)])), ShapeError, "takes b"),
        (lambda: cg.simple_rnn(*(np.ones(s) for s in [(2, 0, 2), (2, 2), (2, 2), (2, 0)])), ShapeError, "no steps"),
    ],
)  # fmt: skip
def test_what_recurrent_layers_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()
