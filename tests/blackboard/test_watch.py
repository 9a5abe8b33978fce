"""A training, watched: what the page shows is what the network has, and the training does not notice."""

import json
import os
import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.blackboard.landscape import direction, landscape
from chalkgrad.blackboard.watch import FRAMES, SAMPLES, Watch, histogram
from chalkgrad.commands.settings import Settings
from chalkgrad.commands.train import Shown, train
from chalkgrad.errors import DataError, DivergenceError, ShapeError, UsageError
from chalkgrad.nn.callbacks import Callback

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 4, 4))
X, Y = (IMAGES / 255).reshape(60, 16).astype("float32"), np.eye(3, dtype="float32")[np.arange(60) % 3]


def network():
    model = cg.Sequential(
        [layers.Dense(8, "relu", input_shape=(16,)), layers.BatchNormalization(), layers.Dropout(0.2),
         layers.Dense(3, "softmax")],
    )  # fmt: skip
    model.compile(cg.optim.Adam(use_ema=True), "categorical_crossentropy", metrics=["accuracy"])
    return model


def watched(path, model=None, epochs=4, **options):
    model = model or network()
    watch = Watch(path, X, Y, images=IMAGES[:6], labels=np.arange(6) % 3, inputs=X[:6], **options)
    model.fit(X, Y, epochs=epochs, batch_size=16, validation_data=(X, Y), verbose=0, callbacks=[watch])
    return model


def shown(path):
    """The data of a page."""
    written = re.search('<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1]
    return json.loads(written)["watched"]


@pytest.mark.gpu
def test_the_training_does_not_notice(tmp_path):
    model, alone = watched(tmp_path / "watch.html"), network()
    alone.fit(X, Y, epochs=4, batch_size=16, validation_data=(X, Y), verbose=0)
    assert model.history.history == alone.history.history
    for one, other in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(w.grad is None for w in model.weights)


def test_the_page_shows_what_the_network_has(tmp_path):
    model = watched(tmp_path / "watch.html")
    data = shown(tmp_path / "watch.html")
    assert [frame["epoch"] for frame in data["frames"]] == [0, 1, 2, 3, 4]
    assert data["state"] == "complete"
    assert data["history"]["values"] == model.history.history
    last = data["frames"][-1]
    np.testing.assert_allclose(last["predictions"], model.predict(X[:6]), rtol=1e-3)
    for drawn, weight in zip(last["weights"], model.trainable_weights, strict=True):
        assert sum(drawn["counts"]) == weight.size
        assert drawn["high"] == pytest.approx(weight.numpy().max(), rel=1e-3)
    middle = np.array(last["surface"])[7, 7]
    assert middle == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-3)
    assert list(tmp_path.iterdir()) == [tmp_path / "watch.html"]


def test_gradients_are_those_of_the_loss(tmp_path):
    model = cg.Sequential([layers.Dense(1, input_shape=(16,))])
    model.compile(cg.optim.GradientDescent(0.0), "mse")
    watch = Watch(tmp_path / "watch.html", X, X[:, :1])
    model.fit(X, X[:, :1], epochs=1, verbose=0, callbacks=[watch])
    loss = ((model(X) - cg.tensor(X[:, :1])) ** 2).mean()
    loss.backward()
    drawn = shown(tmp_path / "watch.html")["frames"][-1]["gradients"][0]
    gradient = model.trainable_weights[0].grad.numpy()
    assert (drawn["low"], drawn["high"]) == pytest.approx((gradient.min(), gradient.max()), rel=1e-3)


def test_the_surface_is_that_of_moved_weights():
    model = network()
    model.build()
    before = model.get_weights()
    x, y = cg.tensor(X), cg.tensor(Y)
    found = landscape(model, x, y, seed=3, points=5)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for layer, a, b in zip(model.layers, direction(model, 3, "δ"), direction(model, 3, "η"), strict=True):
        for name, weight in layer.weights.items():
            if weight.ndim == 2:
                length = np.linalg.norm(weight.numpy(), axis=0)
                np.testing.assert_allclose(np.linalg.norm(a[name].numpy(), axis=0), length, rtol=1e-5)
            else:
                assert not a[name].numpy().any()
            weight.assign(weight.detach() + 0.5 * a[name] - b[name])
    assert found.losses[0, 3] == pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-5)
    assert list(found.steps) == [-1, -0.5, 0, 0.5, 1]


def test_a_histogram_counts_everything():
    drawn = histogram(np.array([0.0, 1.0, 1.0, np.nan, np.inf]))
    assert (sum(drawn["counts"]), drawn["strange"], drawn["low"], drawn["high"]) == (3, 2, 0, 1)
    assert sum(histogram(np.zeros(4))["counts"]) == 4
    assert histogram(np.array([np.nan]))["strange"] == 1


def test_a_long_training_keeps_some_epochs(tmp_path):
    watched(tmp_path / "watch.html", epochs=FRAMES * 2 + 2)
    epochs = [frame["epoch"] for frame in shown(tmp_path / "watch.html")["frames"]]
    assert len(epochs) <= FRAMES
    assert epochs[:2] == [0, 4]
    assert epochs[-1] == FRAMES * 2 + 2


class Stop(Callback):
    """An end after two epochs, in the third."""

    def on_epoch_begin(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_end_before_its_time_leaves_a_page(tmp_path):
    model, watch = network(), Watch(tmp_path / "watch.html", X, Y)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, verbose=0, callbacks=[watch, Stop()])
    data = shown(tmp_path / "watch.html")
    assert (data["state"], data["frames"][-1]["epoch"]) == ("ended", 2)


def test_a_training_that_fails_at_once_leaves_nothing(tmp_path):
    model, watch = network(), Watch(tmp_path / "watch.html", X, Y)
    model.build()
    model.set_weights([w * np.nan for w in model.get_weights()])
    with np.errstate(all="ignore"), pytest.raises(DivergenceError):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
    assert list(tmp_path.iterdir()) == []


def test_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="'fr'"):
        Watch(tmp_path / "watch.html", X, Y, lang="fr")
    with pytest.raises(ShapeError, match="6, 5 and 6"):
        Watch(tmp_path / "watch.html", X, Y, images=IMAGES[:6], labels=range(5), inputs=X[:6])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        watched(tmp_path / "file" / "watch.html")


# In a browser


class Follow(Callback):
    """After an epoch the open page has heard of it."""

    def __init__(self, opened, path):
        self.opened, self.path, self.tab = opened, path, None

    def on_epoch_end(self, epoch, logs):
        if self.tab is None:
            self.tab = self.opened(self.path)
        self.tab.wait_for_function(
            f"document.querySelector('.where')?.textContent.includes('after epoch {epoch + 1} ')", timeout=10_000
        )
        assert self.tab.locator(".state").inner_text() == "training"


@pytest.mark.filterwarnings("default")
def test_an_open_page_follows(opened, tmp_path):
    path = tmp_path / "watch.html"
    follow = Follow(opened, path)
    watch = Watch(path, X, Y, images=IMAGES[:6], labels=np.arange(6) % 3, inputs=X[:6], note="a note")
    network().fit(X, Y, epochs=3, validation_data=(X, Y), verbose=0, callbacks=[watch, follow])
    tab = follow.tab
    tab.wait_for_function("document.querySelector('.state')?.textContent === 'complete'", timeout=10_000)
    assert opened.said.pop() == "Failed to load resource: net::ERR_FILE_NOT_FOUND"  # so it heard of the end
    assert tab.locator("canvas").count() == 7
    assert tab.locator("table.spread tbody tr").count() == 6
    tab.locator("#epoch").fill("0")
    assert tab.locator(".where").inner_text() == "after epoch 0 of 3"
    assert tab.locator(".figure strong").first.inner_text() == "–"
    tab.click("#language")
    assert "权重附近的损失曲面" in tab.locator("main").inner_text()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_its_page_stands_in_nobodys_way(opened, accessible, tmp_path, scheme, width):
    watched(tmp_path / "watch.html")
    tab = opened(tmp_path / "watch.html", scheme=scheme, width=width)
    accessible(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.skipif("CHALKGRAD_PICTURES" not in os.environ, reason="CHALKGRAD_PICTURES is not set")
@pytest.mark.filterwarnings("default")
def test_picture(opened, save_picture, tmp_path):
    train(Settings(), str(tmp_path / "run"), Shown(0, watch=True))
    tab = opened(tmp_path / "run" / "watch.html", height=1150)
    save_picture(tab, "watch.png")


def test_gradients_are_taken_on_some_samples_only(tmp_path):
    many = np.tile(X, (10, 1)), np.tile(Y, (10, 1))
    model, watch = network(), Watch(tmp_path / "watch.html", *many)
    model.fit(*many, epochs=1, verbose=0, callbacks=[watch])
    assert shown(tmp_path / "watch.html")["samples"] == SAMPLES
