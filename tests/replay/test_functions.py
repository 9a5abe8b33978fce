"""Composite functions under capture are the tape's, to the last bit."""

import numpy as np
import pytest
from replaying import agree, batch, bits, given_tensor, leaf, mlp, one, pure, replays, values

import chalkgrad as cg
from chalkgrad import layers


@pytest.mark.parametrize("activation", sorted(layers.ACTIVATIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_with_each_activation(activation, dtype):
    agree(mlp(activation, cg.categorical_cross_entropy, dtype), lambda call: batch(call, dtype))


LOSSES = [cg.categorical_cross_entropy, cg.binary_cross_entropy, cg.mean_squared_error]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: f.name)
def test_a_net_with_each_loss(loss):
    agree(mlp("tanh", loss), batch)


def test_a_net_with_integer_labels():
    agree(mlp("tanh", cg.sparse_categorical_cross_entropy), lambda call: batch(call, labels=True))


def backward_of(f):
    """f of x and two weights, walked back with a random cotangent of its own: the weights keep their gradients."""

    def build():
        w = [leaf(3, 4, seed=1), leaf(4, seed=2)]

        def step(x, cotangent):
            for p in w:
                p.grad = None
            y = f(x, *w)
            y.backward(cotangent if y.shape == (3, 4) else cotangent[: y.shape[0], : y.shape[1]])
            return y

        return step, w

    return build


COMPOSED = {
    "diamond": lambda x, w, b: (w.sin() * w + w.sin().exp() - w.sin()) * x,
    "broadcast": lambda x, w, b: x * b + w * b[None] + b * b,
    "column, row and number": lambda x, w, b: x * w[:, :1] + b * w[0, 0] + w[:1],
    "double use": lambda x, w, b: w + w + (w * w) * (b + b) + x,
    "einsum": lambda x, w, b: cg.einsum("ij,j,ij->ij", w, b, x),
    "einsum of a diagonal": lambda x, w, b: cg.einsum("ii,ij->ij", (w @ w.T), x) + w,
    "concatenate": lambda x, w, b: cg.concatenate([w, x, w])[2:5] * b,
    "stack": lambda x, w, b: cg.stack([w, x, w * x], axis=1)[:, 1] * cg.stack([w, w])[0],
    "getitem": lambda x, w, b: w[[0, 2, 2]] * x + w[1:2] + w[:, ::-1] + b[[0, 0, 1, 3]],
    "mask": lambda x, w, b: cg.where(x > 0, w, b) * cg.where(w > x, x, w),
    "pad": lambda x, w, b: cg.pad(w, 1)[1:-1, 1:-1] * x + cg.pad(b, (1, 2), 3.0)[1:5],
    "transpose": lambda x, w, b: (w.T @ x).T[:3] + cg.transpose(w.reshape(2, 2, 3), (2, 0, 1)).reshape(3, 4) * x,
    "reshape": lambda x, w, b: w.reshape(-1).reshape(4, 3).T + w.reshape(2, 6).reshape(3, 4) * x,
    "softmax twice": lambda x, w, b: w.softmax() * cg.log_softmax(w) + w.softmax(axis=0),
    "reductions": lambda x, w, b: w / w.sum() + w.mean(axis=0) + w.var(axis=1, keepdims=True) + w.max() - w.min(axis=0),
    "powers": lambda x, w, b: w**2 + (abs(w) + 1) ** b + 2.0 ** w + x**3 + (abs(w) + 1) ** 0.5 + (abs(w) + 1) ** -1,
    "integers": lambda x, w, b: w * 3 + w / 2 - 1 + (1 - w) + 2 / (abs(w) + 1),
    "outer": lambda x, w, b: cg.matmul(w.sum(axis=1, keepdims=True), b.reshape(1, 4)) * x,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name):
    agree(backward_of(COMPOSED[name]), lambda call: [given_tensor(3, 4, seed=call), given_tensor(3, 4, seed=call + 99)])


def test_a_chain_of_many():
    def f(x):
        y = x
        for n in range(300):
            y = (y * 1.01 + x).tanh() if n % 3 else y - x
        return y

    agree(pure(f), one(3))


def test_functions_of_functions():
    agree(pure(lambda x: cg.grad(lambda u: (u * u * u.sin()).sum())(x)), one(3))
    agree(pure(lambda x: cg.grad(lambda u: cg.grad(lambda v: (v * v * v.exp()).sum())(u).sum())(x)), one(3))
    agree(pure(lambda x: cg.value_and_grad(lambda u: (u * u).sum())(x)), one(3), replayed=None)


def test_second_derivative_of_a_power():
    agree(pure(lambda x: cg.grad(lambda u: cg.grad(lambda v: (v**3).sum())(u).sum())(x)), one(3))


def test_hessian_inside():
    agree(pure(lambda x: cg.hessian(lambda u: (u * u * u).sum())(x)), one(3))


def test_a_leaf_made_inside():
    def f(x):
        t = cg.tensor(x, requires_grad=True)
        (t * t).sum().backward()
        return t.grad, t

    def detached(x):
        gradient, t = f(x)
        return gradient, t.detach()

    agree(pure(detached), one(3))


def test_backward_twice():
    def build():
        w = leaf(3)

        def f(x):
            w.grad = None
            y = (w * w * x).sum()
            y.backward(retain_graph=True)
            y.backward()
            return y

        return f, [w]

    agree(build, one(3))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (1,), (1, 1)])
def test_no_axes_and_no_elements(shape):
    def build():
        w = leaf(*shape, seed=9)

        def f(x):
            w.grad = None
            y = (w * x + w.exp()).sum(axis=0) if shape else w * x + 1
            y.backward(cg.ones_like(y))
            return y, x * 2, x.reshape(-1)

        return f, [w]

    agree(build, one(*shape))


def test_several_results_in_a_nest():
    def f(x, options):
        return {"a": x + options["b"], "more": [x * 2, (x.sum(), None)], "nothing": None}

    agree(pure(f), lambda call: [given_tensor(3, seed=call), {"b": given_tensor(3, seed=call + 50), "n": 3}])


def test_no_arguments_and_no_result():
    def build():
        w = given_tensor(3)

        def f():
            w.assign(w * 0.5 + 1)

        return f, [w]

    agree(build, lambda call: [])


def test_keyword_arguments_by_name():
    captured = cg.capture(lambda x, *, by=2, plus=None: x * by if plus is None else x * by + plus)
    for call in range(6):
        x, p = given_tensor(3, seed=call), given_tensor(3, seed=call + 9)
        assert bits(captured(x, by=3, plus=p)) == bits(x * 3 + p)
        assert bits(captured(x, plus=p, by=3)) == bits(x * 3 + p)
        assert bits(captured(x=x)) == bits(x * 2)
    assert replays(captured) == [4, 4, 4]


@pytest.mark.cpu_only("NumPy arrays, which a GPU's tensors are not mixed with")
def test_arrays_among_the_arguments():
    both = lambda c: [values(3, seed=c), given_tensor(3, seed=c)]  # noqa: E731
    captured = agree(pure(lambda a, x: cg.exp(a) * x + a * 2 - a.sum()), both, replayed=False)
    assert "an argument is an array: give a tensor" in captured.explain()
    agree(pure(lambda a: cg.tensor(a) * cg.Tensor(a)), lambda c: [values(3, seed=c)], replayed=False)


def test_numbers_of_numpy_have_no_device():
    a, b = np.float32(1.1), np.float64(0.3)
    w = cg.tensor(np.zeros(3))

    def f(x):
        w.assign(a)
        return cg.maximum(a * x + w, b) ** np.float32(2) + cg.stack([x[0], b]).sum() + cg.where(x > a, x, b)

    agree(pure(f), lambda call: [given_tensor(3, seed=call, dtype="float32")])


def test_the_same_tensor_twice():
    def inputs(call):
        x = given_tensor(3, seed=call)
        return [x, x, [x]]

    captured = agree(pure(lambda a, b, c: a * b + c[0].exp()), inputs)
    assert bits(captured(*map(given_tensor, (3, 3)), [given_tensor(3)])) == bits(
        given_tensor(3) * given_tensor(3) + given_tensor(3).exp()
    )


def shared_tensors(call):
    x = given_tensor(3, seed=call)
    return [x, x.detach()]


def shared_arrays(call):
    x = values(3, seed=call)
    return [x, x]


def shared_both(call):
    x = values(3, seed=call)
    return [x, cg.Tensor(x)]


def views_of_each_other(call):
    x = given_tensor(4, seed=call)
    return [x[:3], x[1:]]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(shared_tensors),
        pytest.param(shared_arrays),
        pytest.param(shared_both, marks=pytest.mark.cpu_only("NumPy arrays, which a GPU's tensors are not mixed with")),
        views_of_each_other,
    ],
)
def test_arguments_that_share_memory(inputs):
    agree(pure(lambda a, b: cg.exp(a) + cg.sin(b)), inputs, replayed=None)


def sharing(f, outside):
    """Recorded on arguments of their own, then replayed on one that shares memory with what is outside."""

    def build():
        w = given_tensor(4, seed=77)
        return (lambda x: f(x, w)), [w]

    (plain, (a,)), (function, (b,)) = build(), build()
    captured = cg.capture(function)
    for call in range(4):
        for g in (plain, captured):
            result = g(given_tensor(4, seed=call))
    assert replays(captured) == [2]
    expected, result = plain(outside(a)), captured(outside(b))
    assert bits([result, b]) == bits([expected, a])


def reads_before_and_after(x, w):
    y = x * 2
    w.assign(w + 1)
    return y + x * 2


def reads_before_the_copy(x, w):
    new, y = x + 1, x * 2
    w.assign(new)
    return y


@pytest.mark.parametrize("f", [reads_before_and_after, reads_before_the_copy])
@pytest.mark.parametrize("outside", [lambda w: w, lambda w: w.detach()], ids=["itself", "detached"])
def test_an_argument_that_shares_memory_with_what_is_written(f, outside):
    sharing(f, outside)


@pytest.mark.parametrize("outside", [lambda w: w, lambda w: w.detach()], ids=["itself", "detached"])
def test_a_weight_as_argument(outside):
    w = given_tensor(4, seed=77)
    captured = cg.capture(lambda x: x * w)
    for _ in range(4):
        assert bits(captured(outside(w))) == bits(w * w)
    x = given_tensor(4)
    assert bits(captured(x)) == bits(x * w)


@pytest.mark.cpu_only("NumPy arrays, which a GPU's tensors are not mixed with")
def test_a_view_that_hides_its_base():
    def build():
        array = values(8, seed=50)
        w, every_other = cg.Tensor(array), cg.Tensor(np.lib.stride_tricks.as_strided(array, (4,), (16,)))

        def f(x):
            y = every_other * 2
            w.assign(w * 0.5 + x)
            return y + every_other * 2

        return f, [w]

    agree(build, one(8), replayed=None)
