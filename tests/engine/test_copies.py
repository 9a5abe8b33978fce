"""A copy of a tensor is a tensor of its own: `copy.copy`, `copy.deepcopy` and `pickle` alike."""

import copy
import pickle

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.engine.flat import Flat
from chalkgrad.errors import GraphError
from chalkgrad.optim import Adam, GradientDescent

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def parameter(*values):
    return cg.tensor(np.array(values, dtype=float), requires_grad=True)


@copies
def test_a_tensor_keeps_what_it_is_and_shares_no_memory(copied):
    x = parameter(1.0, 2.0)
    x.name = "w"
    (x * x).sum().backward()
    y = copied(x)
    x.assign(0.0)
    assert y.tolist() == [1, 2]
    assert y.grad.tolist() == [2, 4]
    assert (y.requires_grad, y.name, y.dtype) == (True, "w", x.dtype)
    (y * y).sum().backward()
    assert y.grad.tolist() == [4, 8]
    assert x.grad.tolist() == [2, 4]


@copies
def test_a_computed_tensor_is_refused_since_its_gradient_would_be_lost(copied):
    y = parameter(1.0) * 2
    with pytest.raises(GraphError, match=r"multiply.*detach"):
        copied(y)
    assert copied(y.detach()).tolist() == [2]


@copies
def test_what_is_named_twice_is_one_thing_in_the_copy_too(copied):
    x = parameter(1.0, 2.0)
    a, b = copied([x, x]) if copied is not copy.copy else copy.deepcopy([x, x])
    assert a is b
    assert a is not x


@copies
def test_the_tensors_of_a_copied_flat_buffer_are_views_of_it(copied):
    flat = copied(Flat([parameter(1.0, 2.0), parameter(3.0)]))
    flat.data[...] = 7
    assert [x.tolist() for x in flat.tensors] == [[7, 7], [7]]


@copies
def test_a_view_is_pickled_without_the_rest_of_its_memory(copied):
    whole = Flat([parameter(*range(1000)), parameter(3.0)])
    assert len(pickle.dumps(whole.tensors[1])) < 1000
    assert copied(whole.tensors[1]).tolist() == [3]


@copies
def test_primitives_are_themselves(copied):
    assert all(copied(primitive) is primitive for primitive in cg.registry.values())


def steps(optimizer, x, count):
    for _ in range(count):
        (x * x * x).sum().backward()
        optimizer.step([x])
        x.grad = None
    return x.tolist()


@copies
def test_a_copied_optimiser_goes_on_as_the_original_would(copied):
    x, optimizer = parameter(1.0, 2.0), Adam(0.1, use_ema=True)
    steps(optimizer, x, 3)
    other, own = copied(optimizer), copy.copy(x)
    assert steps(other, own, 4) == steps(optimizer, x, 4)
    assert other.iterations == 7
    for slot in optimizer.slots:
        mine, theirs = other.state[slot], optimizer.state[slot]
        assert backend.fetch(mine).tolist() == backend.fetch(theirs).tolist()
        assert not backend.overlap(mine, theirs)


def test_a_second_optimiser_of_the_same_parameters_leaves_the_first_at_work():
    x, y = parameter(1.0), parameter(2.0)
    for order in ([x, y], [y, x], [y], [x, y]):
        first, second = GradientDescent(0.5), GradientDescent(0.25)
        x.assign(1.0)
        y.assign(2.0)
        for optimizer, parameters in ((first, [x, y]), (second, order), (first, [x, y])):
            (x + y).backward()
            optimizer.step(parameters)
            optimizer.zero_grad([x, y])
        assert y.tolist() == [0.75]
        assert x.tolist() == [-0.25 if x in order else 0]


@copies
def test_a_captured_function_is_copied_without_what_it_has_recorded(copied):
    w = parameter(1.0)

    @cg.capture
    def step(x):
        return (w * x).sum().detach()

    for _ in range(3):
        step(cg.tensor(np.ones(1)))
    if copied is COPIES["pickle"]:
        with pytest.raises((pickle.PicklingError, AttributeError), match="step"):
            copied(step)
    else:
        other = copy.deepcopy(step)
        assert not other.recordings
        assert float(other(cg.tensor(np.ones(1)))) == 1
