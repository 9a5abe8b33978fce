"""Changes in place and gradients under capture, and the versions that tell of them."""

import numpy as np
import pytest
from replaying import agree, batch, bits, given_tensor, leaf, mlp, one, pure

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.errors import GraphError

# Changes in place, and gradients


def test_assignment_to_a_tensor_outside():
    def build():
        b = given_tensor(2, 3, seed=9)

        def f(x):
            before = b * 2
            b.assign(x + before)
            b[0] = x[1]
            b[1:] = b[0] * 3
            return before + b * 2

        return f, [b]

    agree(build, one(2, 3))


def view_written():
    b = given_tensor(2, 3, seed=9)

    def f(x):
        b.detach()[1:].assign(b[0] * 3 + x[1])
        return b * 2

    return f, [b]


def test_assignment_to_a_view_of_a_tensor_outside():
    agree(view_written, one(2, 3), replayed=None)


def test_assignment_to_a_view_of_a_tensor_outside_is_replayed():
    agree(view_written, one(2, 3))


def test_a_running_mean_outside():
    def build():
        mean = cg.tensor(np.zeros(4))

        def f(x):
            mean.assign(mean * 0.9 + x.mean(axis=0) * 0.1)
            return x - mean

        return f, [mean]

    agree(build, one(3, 4))


def test_assignment_to_a_tensor_made_inside():
    def f(x):
        y = x.detach() * 2
        y[0] = x[1] * 3
        z = y * 2
        y[1] = 5.0
        return y, z

    agree(pure(f), one(3, 2))


def gradients_left(clear):
    def build():
        w, b = leaf(3, seed=5), leaf(3, seed=6)

        def f(x):
            if clear:
                w.grad = b.grad = None
            y = (w * x + b).sum()
            y.backward()
            return y

        return f, [w, b]

    return build


def test_gradients_are_left_with_the_leaves():
    agree(gradients_left(clear=True), one(3))


def test_gradients_accumulate():
    agree(gradients_left(clear=False), one(3), calls=8, replayed=None)


def test_gradients_set_between_the_calls_are_taken():
    (plain, outside), (function, captured_outside) = gradients_left(clear=False)(), gradients_left(clear=False)()
    captured = cg.capture(function)
    for call in range(12):
        for f, leaves in ((plain, outside), (captured, captured_outside)):
            if call % 3 == 0:
                for x in leaves:
                    x.grad = None if call % 2 else given_tensor(3, seed=call)
            f(given_tensor(3, seed=call))
        assert bits(captured_outside) == bits(outside)


def test_gradients_accumulate_on_zeros():
    def build():
        w = leaf(3)
        return (lambda x: (w * x).sum().backward()), [w]

    def inputs(call):
        return [cg.tensor(np.zeros(3)) if call < 5 else given_tensor(3, seed=call)]

    agree(build, inputs, calls=9, replayed=None)


def test_gradients_of_arguments():
    def f(x):
        y = (x * x).sum()
        y.backward()
        return y

    agree(pure(f), one(3, requires_grad=True))
    agree(pure(f), one(1, requires_grad=True))
    agree(pure(f), lambda call: [cg.tensor([0.0], requires_grad=True)])


def test_gradients_of_an_argument_accumulate():
    def f(x):
        (x * x).sum().backward()

    (a, b), captured = (leaf(3), leaf(3)), cg.capture(f)
    for _ in range(7):
        f(a)
        captured(b)
        assert bits(b) == bits(a)


def cleared_argument(x):
    x.grad = None
    return x.detach() * 2


def test_gradients_of_arguments_cleared():
    def inputs(call):
        x = leaf(3, seed=call)
        x.grad = given_tensor(3, seed=call + 9)
        return [x]

    agree(pure(cleared_argument), inputs)


def test_a_bystander_asked_for_gradients():
    b = leaf(3)

    def f(x):
        b.requires_grad = True
        return x * 2

    captured = cg.capture(f)
    for _ in range(4):
        b.requires_grad = False
        captured(given_tensor(3))
        assert b.requires_grad


def test_a_weight_frozen_between_the_calls():
    (plain, outside), (function, captured_outside) = gradients_left(clear=True)(), gradients_left(clear=True)()
    captured = cg.capture(function)
    for call in range(6):
        for f, (w, _) in ((plain, outside), (captured, captured_outside)):
            w.requires_grad = call < 4
            f(given_tensor(3, seed=call))
        assert bits(captured_outside) == bits(outside)


# Versions


@pytest.mark.parametrize("calls", [1, 4])
def test_a_stale_graph_is_refused_after_a_replay(calls):
    w, b = leaf(3), given_tensor(3, seed=1)
    captured = cg.capture(lambda x: b.assign(x).detach() * 1)
    for _ in range(calls):
        captured(given_tensor(3))
    y = (w * b).sum()
    captured(given_tensor(3))
    with pytest.raises(GraphError, match="changed in place"):
        y.backward()


def test_a_graph_over_what_no_replay_changes_is_walked():
    w, b, c = leaf(3), given_tensor(3, seed=1), given_tensor(3, seed=2)
    captured = cg.capture(lambda x: b.assign(x).detach() * 1)
    for _ in range(4):
        captured(given_tensor(3))
    y = (w * c).sum()
    captured(given_tensor(3))
    y.backward()
    assert bits(w.grad) == bits(c)


def test_the_weights_that_an_optimizer_updates_in_a_replay_are_marked_as_changed():
    optimizer = optim.Adam()
    f, w = mlp("tanh", cg.categorical_cross_entropy, update=optimizer.step)()
    captured = cg.capture(f)
    for call in range(4):
        captured(*batch(call))
    stale = (w[0] * w[0]).sum()
    captured(*batch(9))
    with pytest.raises(GraphError, match="changed in place"):
        stale.backward()
