"""The one flat buffer: views, values, gradients, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chalkgrad as cg
from chalkgrad import optim
from chalkgrad.engine import backend
from chalkgrad.engine import flat as flat_module
from chalkgrad.engine.flat import Flat
from chalkgrad.errors import DtypeError, GraphError, UsageError

arrays = st.lists(
    hnp.arrays("float64", hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-9, 9)), min_size=1
)


def leaf(array, **options):
    return cg.tensor(array, requires_grad=True, **options)


@given(arrays)
def test_tensors_become_views_and_keep_their_values(values):
    tensors = [leaf(a) for a in values]
    flat = Flat(tensors)
    np.testing.assert_array_equal(backend.fetch(flat.data), np.concatenate([a.ravel() for a in values]))
    for x, a in zip(tensors, values, strict=True):
        np.testing.assert_array_equal(x.numpy(), a)
        assert backend.overlap(x._data, flat.data)
    flat.data[...] = 7.0
    assert all((x.numpy() == 7).all() for x in tensors)


def test_transposed_values_keep_their_places():
    a = np.arange(6.0).reshape(2, 3)
    x = leaf(a.T)
    Flat([x, leaf(np.zeros(1))])
    np.testing.assert_array_equal(x.numpy(), a.T)


def test_assigning_to_a_tensor_changes_the_buffer():
    x, y = leaf(np.zeros(2)), leaf(np.zeros((1, 2)))
    flat = Flat([x, y])
    y.assign([[3.0, 4.0]])
    np.testing.assert_array_equal(backend.fetch(flat.data), [0, 0, 3, 4])


def test_gradients_are_collected_and_missing_ones_are_zero():
    x, y = leaf(np.array([1.0, 2.0])), leaf(np.array([[3.0]]))
    flat = Flat([x, y])
    (x * x).sum().backward()
    np.testing.assert_array_equal(backend.fetch(flat.collect()), [2, 4, 0])
    x.grad = None
    (y * 5.0).sum().backward()
    np.testing.assert_array_equal(backend.fetch(flat.collect()), [0, 0, 5])
    assert flat.collect() is flat.gradient


@pytest.mark.cpu_only("on a GPU the buffer is the only place")
@pytest.mark.parametrize("captured", [False, True])
def test_a_large_gradient_is_read_where_it_is(monkeypatch, captured):
    """What is copied first takes a third of an update's time. The bits are those of the copy, frozen ones beside it."""

    def trained(large):
        monkeypatch.setattr(flat_module, "LARGE", large)
        draw = np.random.default_rng(0)
        w, frozen, v, b = [leaf(draw.normal(size=n)) for n in ((40, 3), 5, 70, 4)]
        optimizer = optim.AdamW(0.1)

        def step(gw, gv):
            w.grad, v.grad, b.grad = gw, gv, gv[:4]
            optimizer.step([w, frozen, v, b])

        made = cg.capture(step) if captured else step
        for call in range(4):
            frozen.requires_grad = call < 1
            made(*(cg.tensor(draw.normal(size=n)) for n in ((40, 3), 70)))
        assert not captured or all(r.program for r in made.recordings.values())
        return optimizer._flat, [optimizer._flat.data, *optimizer.state.values()]

    (flat, apart), (copied, whole) = trained(60), trained(1 << 30)
    assert [x.tobytes() for x in apart] == [x.tobytes() for x in whole]
    assert np.count_nonzero(copied.gradient) == 40 * 3 + 70 + 4
    assert np.count_nonzero(flat.gradient) == 4


@pytest.mark.parametrize(
    ("options", "given", "taken"),
    [({"clipvalue": 0.5}, np.full(5, 3.0), np.full(5, 0.5)), ({}, None, np.arange(5.0))],
    ids=["clipped", "in the memory of the parameters"],
)
def test_a_gradient_that_the_update_changes_is_copied(options, given, taken):
    x, y = leaf(np.arange(5.0)), leaf(np.arange(5.0))
    flat = Flat([x])
    x.grad, y.grad = x.detach() if given is None else cg.tensor(given), cg.tensor(taken)
    optim.GradientDescent(0.1, weight_decay=0.5, **options).step(flat)
    optim.GradientDescent(0.1, weight_decay=0.5).step([y])
    assert x.numpy().tobytes() == y.numpy().tobytes()


def test_split_gives_views_in_the_tensors_shapes():
    flat = Flat([leaf(np.zeros((2, 3))), leaf(np.zeros(4))])
    buffer = np.arange(10.0)
    first, second = flat.split(buffer)
    np.testing.assert_array_equal(first, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(second, np.arange(6.0, 10))
    assert np.shares_memory(first, buffer)


def test_float32_stays_float32():
    flat = Flat([leaf(np.ones(2, "float32"))])
    assert flat.data.dtype == flat.gradient.dtype == "float32"


def test_a_change_of_the_buffer_is_noticed_by_the_reverse_pass():
    x, y = leaf(np.ones(2)), leaf(np.ones(2))
    x.name, y.name = "left", "right"
    flat = Flat([x, y])
    z = (x * y).sum()
    flat.changed()
    with pytest.raises(GraphError, match=r"left|right"):
        z.backward()


@pytest.mark.parametrize("count", [0, 2])
def test_no_tensors_and_one_named_twice_are_refused(count):
    x = leaf(np.ones(2))
    with pytest.raises(UsageError, match=f"different tensors; {count} were given"):
        Flat([x] * count)


def test_mixed_dtypes_are_refused_and_nothing_is_moved():
    x, y = leaf(np.ones(2)), leaf(np.ones(2, "float32"))
    with pytest.raises(DtypeError, match="float64 and float32"):
        Flat([x, y])
    assert not backend.overlap(x._data, y._data)


def test_integers_are_refused():
    with pytest.raises(DtypeError, match="int64"):
        Flat([cg.tensor(np.arange(3))])


def test_computed_tensors_are_refused():
    with pytest.raises(GraphError, match="computed from others"):
        Flat([leaf(np.ones(2)) * 2.0])
