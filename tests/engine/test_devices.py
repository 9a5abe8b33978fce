"""A GPU, or the stand-in for one: what moves, what it costs, what is refused. The suite's other tests run there too."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.engine import backend
from chalkgrad.engine.cuda.launch import gpu_named
from chalkgrad.errors import DeviceError, DeviceMemoryError


@pytest.fixture(autouse=True)
def on_a_device(device):
    if device == "cpu":
        pytest.skip("for a device: pytest --device standin, or -m gpu")


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype("float32")


def test_a_tensor_moves_when_it_is_asked_to_and_is_counted():
    x = cg.tensor(values(3, 4), device="cpu")
    with backend.count_transfers() as count:
        y = x.to("gpu")
        assert y.device == "gpu:0"
        assert y.to("gpu:0") is y
        (y @ y.T).exp().sum().backward() if y.requires_grad else None
        assert (count.to_device, count.bytes_to_device, count.to_host) == (1, 48, 0)
        np.testing.assert_array_equal(y.to("cpu").numpy(), x.numpy())
        assert y.sum().item() == pytest.approx(float(x.numpy().sum()), rel=1e-5)
    assert (count.to_host, count.bytes_to_host) == (2, 52)


def test_tensors_of_two_devices_are_not_mixed():
    a, b = cg.tensor(values(3), device="gpu"), cg.tensor(values(4), device="cpu")
    with pytest.raises(
        DeviceError, match=r"add got a tensor on gpu:0 \(shape \(3,\)\) and one on cpu \(shape \(4,\)\)"
    ):
        a + b


def test_a_gpu_that_is_not_there():
    with pytest.raises(DeviceError, match="there is no device 'gpu:99': this machine has"):
        cg.tensor([1.0], device="gpu:99")


def test_the_second_gpu_computes_there():
    if gpu_named("gpu").xp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("this machine has one GPU")
    w = cg.tensor(values(3, 3), device="gpu:1", requires_grad=True)
    ((w @ w).exp().sum() * 2).backward()
    assert w.grad.device == "gpu:1"
    model = cg.Sequential([cg.layers.Dense(3, "relu", input_shape=(3,)), cg.layers.Dense(2)], device="gpu:1")
    model.compile("adam", "mse")
    model.fit(values(20, 3), values(20, 2), epochs=8, batch_size=5, verbose=0)
    assert {x.device for x in model.weights} == {"gpu:1"}


def test_out_of_memory_tells_the_sizes_and_the_process_goes_on():
    total = backend.memory("gpu").total
    x = cg.tensor(np.zeros((1, 1 << 16), "float32"))
    large = cg.broadcast_to(x, (total // 4 // (1 << 16) + 1, 1 << 16))  # a view, as yet
    with pytest.raises(DeviceMemoryError, match=r"exp: gpu:0 has not the memory.*bytes are in arrays.*free"):
        cg.exp(large)
    assert (x + 1).sum().item() == 1 << 16


def test_memory_is_given_back():
    x = cg.tensor(values(1000))
    before = backend.memory("gpu").used
    y = x * 2
    assert backend.memory("gpu").used >= before + 4000
    del y
    assert backend.memory("gpu").used == before


# Recorded steps


def step_of(w, optimizer):
    def step(x):
        loss = (cg.tanh(x @ w) ** 2).mean()
        loss.backward()
        optimizer.step([w])
        w.grad = None
        return loss

    return step


def test_a_recorded_step_is_a_cuda_graph_with_the_results_of_the_tape():
    results = []
    for captured in (False, True):
        w, optimizer = cg.tensor(values(4, 3), requires_grad=True), cg.optim.Adam(0.1)
        step = step_of(w, optimizer)
        step = cg.capture(step) if captured else step
        results.append([step(cg.tensor(values(5, 4, seed=i))).item() for i in range(8)] + w.numpy().ravel().tolist())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    assert "replayed as a CUDA graph" in step.explain()


def test_a_replay_sends_one_parcel_and_fetches_nothing():
    w, optimizer = cg.tensor(values(4, 3), requires_grad=True), cg.optim.Adam(0.1)
    step, x = cg.capture(step_of(w, optimizer)), cg.tensor(values(5, 4))
    for _ in range(4):
        step(x)
    with backend.count_transfers() as count:
        for _ in range(10):
            step(x)
    assert (count.to_device, count.to_host) == (10, 0)


def test_an_argument_that_is_changed_in_place_is_changed():
    captured = cg.capture(lambda x: x.assign(x * 2) + 1)
    for _ in range(5):
        x = cg.tensor([1.0, 2.0])
        assert captured(x).tolist() == [3.0, 5.0]
        assert x.tolist() == [2.0, 4.0]


def test_what_cannot_be_captured_is_replayed_call_by_call():
    a, b = cg.tensor(values(3, 4)), cg.tensor(values(4, 2))
    captured = cg.capture(lambda a, b: cg.einsum("ij,jk->ik", a, b))
    for _ in range(5):
        np.testing.assert_allclose(captured(a, b).numpy(), a.numpy() @ b.numpy(), rtol=1e-5)
    assert "call by call" in captured.explain() or "CUDA graph" in captured.explain()


def test_many_replays_keep_no_memory(request):
    real = request.config.getoption("--device") != "standin"
    w, optimizer = cg.tensor(values(4, 3), requires_grad=True), cg.optim.Adam(0.01)
    step, x = cg.capture(step_of(w, optimizer)), cg.tensor(values(5, 4))
    for _ in range(5):
        step(x)
    before = backend.memory("gpu").used
    for _ in range(10_000 if real else 200):
        loss = step(x)
    assert np.isfinite(loss.item())
    del loss
    assert backend.memory("gpu").used <= before


def test_numbers_that_change_twice_in_a_step_are_two():
    """Two updates by one optimiser in a step have each their own correction."""

    def weights(captured):
        w, optimizer = cg.tensor(values(4, 3), requires_grad=True), cg.optim.Adam(0.1)
        once = step_of(w, optimizer)

        def twice(x):
            once(x)
            return once(x)

        twice = cg.capture(twice) if captured else twice
        for i in range(6):
            twice(cg.tensor(values(5, 4, seed=i)))
        return w.numpy()

    np.testing.assert_allclose(weights(True), weights(False), rtol=1e-5)
