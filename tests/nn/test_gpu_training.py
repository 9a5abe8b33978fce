"""Training on a GPU, or on the stand-in for one: the numbers of the CPU, enqueued without waiting."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.engine import backend
from chalkgrad.errors import UsageError
from chalkgrad.nn import ahead, samples

STEPS_APART = {"float32": 2e-4, "float64": 1e-8}
"""How far weights of CPU and GPU may be apart after the steps of these tests, relative to the largest.

Sums are taken in another order; Adam makes more of it, and float64 shows that this is all there is.
"""


@pytest.fixture(autouse=True)
def on_a_device(device):
    if device == "cpu":
        pytest.skip("for a device: pytest --device standin, or -m gpu")


def data(count=203, dtype="float32"):
    rng = np.random.default_rng(3)
    x = (rng.random((count, 12)) * 255).astype(dtype)
    return x / np.float32(255) if dtype == "float32" else x, rng.integers(0, 5, count)


def trained(
    device, x, y, dropout=0.0, loss="sparse_categorical_crossentropy", epochs=3, each=(), dtype="float32", **options
):
    model = cg.Sequential(
        [layers.Dense(16, "relu", input_shape=(12,)), layers.Dropout(dropout), layers.Dense(5, "softmax")],
        device=device, seed=1, dtype=dtype,
    )  # fmt: skip
    model.compile("adam", loss, ["accuracy"], **options)
    model.fit(x, y, batch_size=10, epochs=epochs, verbose=0, callbacks=list(each))
    return model


class Weights(cg.callbacks.Callback):
    """Keeps the weights after each update."""

    def __init__(self):
        self.kept = []

    def on_train_batch_end(self, batch, logs):
        self.kept.append(np.concatenate([w.ravel() for w in self.model.get_weights()]))


class Explained(cg.callbacks.Callback):
    def on_epoch_end(self, epoch, logs):
        self.text = "\n".join(step.explain() for step in self.model.recorded_steps)
        recordings = [each for step in self.model.recorded_steps for each in step.recordings.values()]
        self.feeds = [feed for each in recordings if (feed := getattr(each.program, "_feed", None))]


def bits(model):
    return model.history.history, [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(("dropout", "dtype"), [(0.0, "float32"), (0.4, "float32"), (0.0, "float64")])
def test_cpu_and_gpu_agree_step_by_step(dropout, dtype, run_eagerly):
    seen = []
    for device in ("cpu", "gpu"):
        follower = Weights()
        trained(device, *data(), dropout=dropout, each=[follower], dtype=dtype, run_eagerly=run_eagerly)
        seen.append(np.array(follower.kept))
    assert seen[0].shape == seen[1].shape == (63, 16 * 12 + 16 + 16 * 5 + 5)
    assert np.abs(seen[0] - seen[1]).max() <= STEPS_APART[dtype] * np.abs(seen[0]).max()


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_an_epoch_enqueued_is_the_same_as_step_by_step(dropout):
    follower = Weights()
    assert bits(trained("gpu", *data(), dropout=dropout)) == bits(trained("gpu", *data(), dropout, each=[follower]))


def test_the_step_is_a_cuda_graph():
    explained = Explained()
    trained("gpu", *data(), each=[explained])
    assert any("gather_rows(" in feed._text for feed in explained.feeds)  # the batch, in the launch that feeds it
    assert "replayed as a CUDA graph" in explained.text
    assert "affine_relu(" in explained.text
    assert "array calls recorded, 8 replayed" in explained.text  # loss, its gradient, metrics and their sums: one


def test_scalars_are_fetched_once_an_epoch_and_steps_send_little():
    x, y = data(2000)
    with backend.count_transfers() as few:
        trained("gpu", x, y, epochs=2)
    with backend.count_transfers() as many:
        trained("gpu", x, y, epochs=4)
    assert many.to_host - few.to_host == 2
    assert (many.to_device - few.to_device) / 2 < 10  # of 200 steps each


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_samples_larger_than_the_card_are_streamed(monkeypatch, dtype):
    x, y = data(dtype=dtype)
    resident = trained("gpu", x, y)
    monkeypatch.setattr(samples, "ROOM", 0.0)
    streamed = trained("gpu", x, y)
    assert bits(resident) == bits(streamed)
    assert resident.evaluate(x, y, verbose=0) == streamed.evaluate(x, y, verbose=0)
    np.testing.assert_array_equal(resident.predict(x), streamed.predict(x))


def test_runs_repeat_to_the_last_bit():
    first, second = (trained("gpu", *data(), dropout=0.4, deterministic=True) for _ in range(2))
    assert bits(first) == bits(second)


class Picks(layers.Layer):
    """Takes columns by number, some twice: the gradient adds to the same place more than once."""

    def output_shape(self, input_shape):
        return (4,)

    def apply(self, weights, x, *, training, generator):
        return (x * weights["w"])[:, np.array([0, 1, 1, 3])]

    def make_weights(self, input_shape, generator):
        return {"w": np.ones(input_shape, "float32")}


def test_what_does_not_repeat_is_refused_where_that_is_asked_for():
    for deterministic in (False, True):
        model = cg.Sequential([Picks(input_shape=(12,)), layers.Dense(5, "softmax")], device="gpu")
        model.compile("sgd", "sparse_categorical_crossentropy", deterministic=deterministic)
        if not deterministic:
            model.fit(*data(), batch_size=10, verbose=0)
        else:
            with pytest.raises(UsageError, match=r"deterministic=True: .*add\.at"):
                model.fit(*data(), batch_size=10, verbose=0)


def test_one_hot_targets_validation_and_a_model_kept_in_a_file(tmp_path):
    x, y = data()
    targets = np.eye(5, dtype="float32")[y]
    model = trained("gpu", x, targets, loss="categorical_crossentropy")
    model.fit(x, targets, validation_data=(x, targets), epochs=4, initial_epoch=3, verbose=0)
    model.save(tmp_path / "m.safetensors")
    for device in ("cpu", "gpu"):
        loaded = cg.Sequential.load(tmp_path / "m.safetensors", device=device)
        np.testing.assert_allclose(loaded.predict(x), model.predict(x), rtol=1e-5, atol=1e-7)


def test_bad_labels_and_values_are_named_on_a_gpu_too():
    x, y = data()
    y[7] = 5
    with pytest.raises(cg.errors.DataError, match="outside of 0 … 4 in row 7"):
        trained("gpu", x, y)


def test_metrics_with_state_penalties_and_further_optimizers_are_those_of_the_cpu(device):
    x, labels = data(120)
    y = np.eye(5)[labels]
    histories = []
    for place in ("cpu", device):
        kind = {"kernel_regularizer": "l2", "activity_regularizer": "l1", "kernel_constraint": "max_norm"}
        net = [layers.Dense(16, "relu", input_shape=(12,), **kind), layers.Dense(5, "softmax")]
        model = cg.Sequential(net, device=place, seed=1)
        measured = ["auc", cg.metrics.F1Score(), cg.metrics.R2Score(), cg.metrics.OneHotMeanIoU(5), "precision"]
        loss = cg.losses.CategoricalFocalCrossentropy(label_smoothing=0.1)
        model.compile(cg.optim.Nadam(0.01, clipnorm=1.0, weight_decay=0.01), loss, measured)
        model.fit(x, y, batch_size=10, epochs=3, verbose=0, sample_weight=np.arange(120) / 60)
        histories.append([value for values in model.history.history.values() for value in values])
    for a, b in zip(*histories, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5)


# Many steps in one launch


@pytest.fixture
def one_launch(monkeypatch):
    monkeypatch.setattr(ahead, "WORTH", 0)


@pytest.mark.parametrize(("dropout", "dtype"), [(0.0, "uint8"), (0.4, "float32")])
def test_one_launch_agrees_with_the_graph(dropout, dtype, one_launch):
    (x, y), explained = data(dtype=dtype), Explained()
    many = trained("gpu", x, y, dropout, each=[explained])
    graph = trained("gpu", x, y, dropout, jit_compile="exact")
    assert "many steps in one launch, of " in explained.text
    for mine, theirs in zip(many.get_weights(), graph.get_weights(), strict=True):
        assert np.abs(mine - theirs).max() <= STEPS_APART["float32"] * np.abs(theirs).max()
    np.testing.assert_allclose(many.history.history["loss"], graph.history.history["loss"], rtol=1e-5)
    assert many.history.history["accuracy"] == graph.history.history["accuracy"]


def test_it_repeats_and_does_not_depend_on_who_looks_on_or_on_interruptions(tmp_path, one_launch):
    x, y = data()
    whole = trained("gpu", x, y, dropout=0.4)
    assert bits(whole) == bits(trained("gpu", x, y, dropout=0.4))
    assert bits(whole) == bits(trained("gpu", x, y, dropout=0.4, each=[Weights()]))
    trained("gpu", x, y, dropout=0.4, epochs=1).save(tmp_path / "model")
    rest = cg.Sequential.load(tmp_path / "model", device="gpu")
    rest.fit(x, y, batch_size=10, epochs=3, initial_epoch=1, verbose=0)
    assert [w.tobytes() for w in rest.get_weights()] == bits(whole)[1]


def test_an_epoch_takes_few_transfers(one_launch):
    x, y = data(2000)
    with backend.count_transfers() as few:
        trained("gpu", x, y, epochs=2)
    with backend.count_transfers() as many:
        trained("gpu", x, y, epochs=3)
    assert (many.to_host - few.to_host, many.to_device - few.to_device) == (1, 3)


def test_what_cannot_be_one_launch_says_why_and_is_a_graph(one_launch):
    explained = Explained()
    model = cg.Sequential([layers.Dense(5, "softmax")], device="gpu", seed=1)
    model.compile(cg.optimizers.Adam(global_clipnorm=1.0), "sparse_categorical_crossentropy")
    model.fit(*data(), batch_size=10, verbose=0, callbacks=[explained])
    assert "as a CUDA graph. One launch for many: not, since it looks at all weights at once" in explained.text
