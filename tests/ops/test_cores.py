"""Convolution and pooling part by part: on any number of threads, with array code and compiled, to the same bits."""

import os
import threading

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine.primitive import registry
from chalkgrad.ops import cores
from chalkgrad.replay import blas, fuse, team

pytestmark = pytest.mark.cpu_only("kernels of the CPU")
NAMES = (
    "correlation", "convolution", "kernel_correlation", "transposed_correlation", "transposed_convolution", "max_pool",
    "max_unpool", "average_pool", "average_unpool",
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(cores, "LEAST", 1)
    monkeypatch.setattr(cores, "PART", 500)


@pytest.fixture
def on_threads():
    """Have BLAS use so many threads, for the test."""
    if blas.library() is None:
        pytest.skip("another BLAS than NumPy's own")
    get, put = (getattr(blas.library(), blas.THREADS.format(what)) for what in ("get", "set"))
    before = get()
    yield put
    put(before)


@pytest.fixture(params=[1, 2, 3])
def threads(request, on_threads):
    on_threads(request.param)


def drawn(seed):
    """Operands and parameters of each primitive, all of one configuration."""
    rng = np.random.default_rng(seed)
    axes, dtype = int(rng.choice((1, 2, 2))), rng.choice(("float32", "float64"))

    def each(low, high):
        return tuple(int(n) for n in rng.integers(low, high + 1, axes))

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    size, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    padding = tuple(zip(each(0, 1), each(0, 1), strict=True))
    lengths, batch = each(7, 12), int(rng.integers(2, 9))
    groups = int(rng.choice((1, 1, 1, 2)))
    channels, filters = groups * int(rng.choice((1, 3, 9))), groups * int(rng.integers(1, 5))
    x, w = normal(batch, *lengths, channels), normal(*size, channels // groups, filters)
    slides = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = registry["correlation"].kernel(np, x, w, **slides)
    pooled = {"size": size, "stride": stride, "padding": padding if min(size) > 1 else ((0, 0),) * axes}
    z = np.round(x)  # so that some are the greatest together
    best = registry["max_pool"].kernel(np, z, **pooled)
    g, back = normal(*best.shape), {**slides, "lengths": lengths}
    return {
        "correlation": ((x, w), slides), "convolution": ((x, w, normal(filters)), slides),
        "kernel_correlation": ((x, y), {**slides, "size": size}), "transposed_correlation": ((y, w), back),
        "transposed_convolution": ((y, w, normal(channels)), back), "max_pool": ((z,), pooled),
        "max_unpool": ((g, z, best), pooled), "average_pool": ((x,), pooled),
        "average_unpool": ((g,), {**pooled, "lengths": lengths}),
    }  # fmt: skip


def in_parts(name, operands, parameters):
    """What the array code gives of each part, together."""
    primitive, extent = registry[name], {"kernel_correlation": cores.of_kernel}
    for other in NAMES:
        kind = ("pool" in other and cores.of_maps) or ("transposed" in other and cores.of_transposed)
        extent.setdefault(other, kind or cores.of_convolution)
    count, each = cores.parts(len(operands[0]), extent[name](*operands, **parameters))
    batched = {"kernel_correlation": 2, "max_unpool": 3}.get(name, 1)
    found = []
    for n in range(count):
        given = [x[n * each : (n + 1) * each] if i < batched else x for i, x in enumerate(operands)]
        found.append(primitive.kernel(np, *given, **parameters))
    return sum(found[1:], found[0]) if name == "kernel_correlation" else np.concatenate(found)


@pytest.mark.parametrize("seeds", [range(15)], ids=str)
@pytest.mark.usefixtures("threads")
def test_parts_give_the_bits_of_the_array_code_on_any_number_of_threads(seeds):
    for seed in seeds:
        for name, (operands, parameters) in drawn(seed).items():
            kernel = registry[name].cpu_kernel
            if not kernel.suits(*operands, **parameters):
                continue
            expected = in_parts(name, operands, parameters)
            compiled = fuse.available() and expected.dtype == "float32"  # for another it would be compiled anew
            functions = [kernel] * 3 + [kernel.compiled] * compiled  # array code, and what that is replayed as
            for function in functions:
                for out in (None, np.full_like(expected, 7)):
                    got = function(*operands, out=out, **parameters)
                    assert (got.dtype, got.tobytes()) == (expected.dtype, expected.tobytes()), (seed, name)


def test_what_they_give_is_what_the_array_code_gives_of_all():
    for name, (operands, parameters) in drawn(3).items():
        whole = registry[name].kernel(np, *operands, **parameters)
        np.testing.assert_allclose(registry[name].cpu_kernel(*operands, **parameters), whole, rtol=1e-4, atol=1e-4)


def trained(**options):
    x, y = np.random.default_rng(0).random((40, 9, 8, 2), dtype="float32"), np.arange(40) % 3
    parts = [
        layers.Conv2D(5, 3, padding="same", activation="relu", input_shape=(9, 8, 2)), layers.MaxPooling2D(),
        layers.Conv2D(4, 2, padding="same", activation="relu"), layers.MaxPooling2D(3, strides=1, padding="same"),
        layers.Conv2D(4, 2, activation="relu"), layers.AveragePooling2D(), layers.Flatten(), layers.Dense(3, "softmax"),
    ]  # fmt: skip
    model = cg.Sequential(parts, seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", **options)
    model.fit(x, y, batch_size=16, epochs=4, verbose=0)
    return [w.tobytes() for w in model.get_weights()], model


def test_a_convolutional_net_trains_to_the_same_bits_however_it_runs(on_threads):
    on_threads(2)
    expected, _ = trained(run_eagerly=True)
    for jit in (False, True)[: 1 + fuse.available()]:
        got, model = trained(jit_compile=jit)
        assert got == expected
        explained = model.recorded_steps[0].explain()
        assert all(f" {name}(" in explained for name in ("convolution", "max_pool", "kernel_correlation")), explained
    on_threads(1)
    assert trained(run_eagerly=True)[0] == expected


def failing(n):
    if n == 5:
        raise FloatingPointError("the fifth")
    done.append(n)


done: list = []


@pytest.mark.usefixtures("threads")
def test_an_error_of_a_part_is_raised_and_the_others_are_waited_for():
    done.clear()
    with pytest.raises(FloatingPointError, match="the fifth"):
        team.each(failing, 8)
    done.clear()
    team.each(done.append, 8)
    assert sorted(done) == list(range(8))


def test_an_interruption_leaves_nobody_at_work(on_threads):
    on_threads(2)
    main = threading.current_thread()

    def part(n):
        if threading.current_thread() is main:
            raise KeyboardInterrupt
        done.append(n)

    done.clear()
    with pytest.raises(KeyboardInterrupt):
        team.each(part, 100)
    seen = len(done)
    assert seen < 100
    assert not any(thread.name == "chalkgrad helper" for thread in threading.enumerate())
    team.each(done.append, 3)
    assert len(done) == seen + 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_helpers_of_its_own(on_threads):
    on_threads(2)
    team.each(done.append, 4)
    child = os.fork()
    if not child:
        done.clear()
        team.each(done.append, 4)
        os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0
