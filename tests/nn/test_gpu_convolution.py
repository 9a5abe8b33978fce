"""Convolution and pooling on a GPU, or on the stand-in for one: captured, by launches of our own and by array code."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine.primitive import registry
from chalkgrad.replay import gpu

LAUNCHES = (
    "convolution", "correlation", "transposed_convolution", "transposed_correlation", "kernel_correlation", "max_pool",
    "max_unpool", "average_pool", "average_unpool",
)  # fmt: skip


@pytest.fixture(autouse=True)
def on_a_device(device):
    if device == "cpu":
        pytest.skip("for a device: pytest --device standin, or -m gpu")


class Explained(cg.callbacks.Callback):
    each_batch = False

    def on_epoch_end(self, epoch, logs):
        self.text = "\n".join(step.explain() for step in self.model.recorded_steps)


def trained(device):
    """Weights after some steps, and what was captured."""
    rng, explained = np.random.default_rng(0), Explained()
    x, y = rng.random((48, 8, 6, 2), dtype="float32"), rng.integers(0, 5, 48)
    stack = [
        layers.Conv2D(6, 3, padding="same", activation="relu", input_shape=(8, 6, 2)), layers.MaxPooling2D(2),
        layers.Conv2D(4, 3, strides=2, groups=2, padding="same"), layers.DepthwiseConv2D(2, padding="same"),
        layers.Conv2DTranspose(6, 3, strides=2), layers.AveragePooling2D(3, strides=1, padding="same"),
        layers.Flatten(), layers.Dense(5, "softmax"),
    ]  # fmt: skip
    model = cg.Sequential(stack, device=device, seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=True)
    model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[explained])
    return model.get_weights(), explained.text


def test_steps_of_a_convolutional_net_are_those_of_the_cpu():
    pytest.importorskip("numba", reason="jit_compile=True needs Numba, which is not installed")
    (ours, _), (theirs, text), (again, _) = trained("cpu"), trained("gpu"), trained("gpu")
    assert "replayed as a CUDA graph" in text
    assert all(f"{name}(" in text for name in LAUNCHES)
    assert "= convolution_max_pool(" in text
    beside = [line for line in text.splitlines() if "= convolution_b(" in line]
    assert beside
    assert not any(line.endswith("µs") for line in beside)  # with the gradient in the kernel
    assert [w.tobytes() for w in theirs] == [w.tobytes() for w in again]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)


def test_batch_normalisation_sums_by_launches_of_our_own(device):
    rng, weights = np.random.default_rng(0), []
    x, y = rng.random((48, 8, 6, 2)), rng.integers(0, 5, 48)
    for place in ("cpu", device):
        stack = [
            layers.Conv2D(6, 3, use_bias=False, input_shape=(8, 6, 2)), layers.BatchNormalization(),
            layers.Activation("relu"), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(5, "softmax"),
        ]  # fmt: skip
        model, explained = cg.Sequential(stack, device=place, seed=1, dtype="float64"), Explained()
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[explained])
        weights.append(model.get_weights())
    assert all(f"= {name}(" in explained.text for name in ("channel_moments", "channel_slopes"))
    assert "channel_sums(" not in explained.text
    assert "matmul(" not in explained.text
    for mine, other in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-12)


def test_array_code_serves_where_launches_do_not_and_its_windows_are_views(monkeypatch):
    expected, _ = trained("gpu")
    for name in LAUNCHES:
        monkeypatch.setattr(registry[name].cuda_kernels[""], "suits", lambda *operands, **parameters: False)
    got, text = trained("gpu")
    looked = [line for line in text.splitlines() if "as_strided(" in line]
    assert looked
    assert not any(" new " in line or "@" in line for line in looked)  # which have no memory of their own
    for mine, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5)


def test_a_mixture_of_dtypes_is_for_the_array_code():
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 5, 5, 3), dtype="float32"), rng.random((2, 2, 3, 4))
    y = cg.convolution(cg.tensor(x, device="gpu"), cg.tensor(w, device="gpu"))
    assert y.dtype == "float64"
    np.testing.assert_allclose(
        y.numpy(), cg.convolution(cg.tensor(x, device="cpu"), cg.tensor(w, device="cpu")).numpy()
    )


def test_places_that_are_kept_and_convolutions_that_pool_change_no_bit(monkeypatch):
    expected, text = trained("gpu")
    assert "'uint8')" in text
    monkeypatch.setattr(gpu, "keep_places", lambda instructions, kept, xp: instructions)
    got, text = trained("gpu")
    assert "convolution_max_pool(" not in text
    assert [w.tobytes() for w in got] == [w.tobytes() for w in expected]
