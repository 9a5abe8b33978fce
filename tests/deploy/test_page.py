"""The page of one net: what it refuses, what is in it, and, in a browser, that it computes what Python computes."""

import base64
import copy
import functools
import json
import os
import re
import zlib

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import datasets, layers
from chalkgrad.commands.export import export
from chalkgrad.commands.run_folder import FACT, FORMAT
from chalkgrad.commands.settings import Settings
from chalkgrad.commands.train_images import make_model, training_data
from chalkgrad.deploy.page import page
from chalkgrad.deploy.typed_arrays import encoded
from chalkgrad.errors import DataError, UsageError

browsers = pytest.mark.filterwarnings("default")  # of the libraries that drive the browser


@functools.cache
def net(name="digits", kind="mlp", epochs=4, rows=4000):
    """A trained net, and the test images as it takes them, with their labels."""
    (x, labels), (x_test, test_labels) = datasets.load(name)
    model = make_model(x.shape[1:], Settings(dataset=name, model=kind), "cpu")
    data, targets = training_data(x[:rows], labels[:rows], model)
    model.fit(data, targets, epochs=epochs, batch_size=32, verbose=0)
    return model, training_data(x_test, test_labels, model)[0], test_labels


@pytest.fixture(scope="module")
def digits():
    return net()


def made(*stack, shape):
    model = cg.Sequential(stack)
    model.build(tuple(np.ravel(shape).tolist()))
    return model


class Reading(layers.Layer):
    """A layer that looks at a value."""

    def call(self, x):
        return x * float(x.sum())


def flat(model):
    return np.concatenate([w.numpy().reshape(-1) for w in model.weights])


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def held_in(text, dtype="f4"):
    """The elements of an array as a page holds it."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), "u1").reshape(np.dtype(dtype).itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype)[:, 0]


@pytest.fixture
def opened(opened):
    """Open a page of a net, and wait until it has told whether it is right."""

    def open_page(*args, **options):
        tab = opened(*args, **options)
        tab.wait_for_selector("#proof p")
        return tab

    open_page.said = opened.said
    return open_page


def test_it_holds_weights_samples_and_what_python_made_of_them(digits):
    model, x, labels = digits
    html, facts = page(*digits)
    data = data_of(html)
    assert facts["accuracy"] == pytest.approx((model.predict(x).argmax(axis=1) == labels).mean())
    assert len(data["samples"]["labels"]) == 16
    assert set(data["samples"]["labels"]) == set(range(10))
    kind, length, [[at, held]] = data["net"]["memory"][data["kernel"][0]]
    assert (kind, length, at) == ("Float32Array", model.count_params(), 0)
    np.testing.assert_array_equal(held_in(held["b"]), flat(model))
    assert "http://" not in re.sub(r"http://www.w3.org/\S+", "", html)


def test_int8_takes_a_quarter_and_the_model_stays_as_it_is(digits):
    model = digits[0]
    before = flat(model)
    html, facts = page(*digits)
    small, measured = page(*digits, int8=True)
    assert len(html) - len(small) > 2.5 * model.count_params()
    assert abs(measured["accuracy as int8"] - facts["accuracy"]) <= 0.01
    np.testing.assert_array_equal(flat(model), before)


def test_what_it_cannot_show_is_refused(tmp_path):
    with pytest.raises(UsageError, match="build it"):
        page(cg.Sequential([layers.Dense(3)]))
    wide, broken = (made(layers.Dense(3), shape=n) for n in (200, 4))
    with pytest.raises(UsageError, match="onnx"):
        page(wide)
    broken.weights[0]._data[1, 2] = np.nan
    with pytest.raises(DataError, match="NaN"):
        page(broken)
    with pytest.raises(UsageError, match="compile"):
        page(made(layers.Dense(3, activation="softmax"), shape=4), trainable=True)
    learner = made(layers.Dense(3, activation="softmax"), shape=4)
    learner.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(UsageError, match="no step yet"):
        page(learner, trainable=True, with_optimizer=True)
    averaged = made(layers.Dense(3, activation="softmax"), shape=4)
    averaged.compile(cg.optim.Adam(use_ema=True), "sparse_categorical_crossentropy")
    averaged.fit(np.ones((8, 4), "float32"), np.arange(8) % 3, verbose=0)
    with pytest.raises(UsageError, match="averages"):
        page(averaged, trainable=True, with_optimizer=True)
    with pytest.raises(UsageError, match="goes with trainable"):
        page(learner, with_optimizer=True)
    some = cg.Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(2, activation="softmax")])
    with pytest.raises(UsageError, match=r"leaves \(None, 3\) open"):
        page(some)
    assert data_of(page(some, np.ones((4, 6, 3)))[0])["shape"] == [6, 3]
    x, labels = np.ones((20, 4), "float32"), np.arange(20) % 3
    with pytest.raises(DataError, match="3 among the labels"):
        page(learner, x, labels + 1)
    with pytest.raises(DataError, match="no samples"):
        page(learner, x[:0])
    x[7, 2] = np.nan
    with pytest.raises(DataError, match="sample 7"):
        page(learner, x)
    with pytest.raises(UsageError, match="takes ids"):
        page(cg.Sequential([layers.Input((None,)), layers.Embedding(9, 4), layers.LSTM(4), layers.Dense(2)]))
    reading = made(layers.Dense(3), Reading(), shape=4)
    with pytest.raises(UsageError, match=r"layer 2, Reading: .* a value is read"):
        page(reading)
    with pytest.raises(UsageError, match="ending"):
        cg.export(wide, tmp_path / "net.pth")


def test_the_command_takes_test_images_of_the_run(digits, tmp_path, capsys):
    model = copy.deepcopy(digits[0])
    model.facts[FACT] = {"format": FORMAT, "dataset": "digits"}
    model.save(tmp_path / "model.safetensors")
    assert export(str(tmp_path), str(tmp_path / "net.html"), int8=True, trainable=None) == 0
    assert re.search(r"net.html: \d+ KB\n  accuracy: [\d.]+%\n  accuracy as int8: ", capsys.readouterr().out)
    assert data_of((tmp_path / "net.html").read_text("utf-8"))["samples"]["labels"]


# In a browser


def restart(optimizer):
    """Put it before its first step."""
    optimizer.iterations = 0
    optimizer.state.clear()


def predictions(tab, x):
    """What the page makes of these samples."""
    text = base64.b64encode(x.astype("f4").tobytes()).decode()
    found = tab.evaluate(
        """([text, size]) => {
            const x = new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer), y = [];
            for (let k = 0; k < x.length; k += size) y.push(...reader.predict(x.subarray(k, k + size))[0]);
            return y; }""",
        [text, x[0].size],
    )
    return np.array(found).reshape(len(x), -1)


def speeds(tab):
    """Predictions a second, in short spans of time: others may be at work."""
    return tab.evaluate(
        """() => Array.from({ length: 40 }, () => {
            const x = reader.samples.slice(0, 784), begin = performance.now();
            let n = 0;
            for (; performance.now() - begin < 20; n++) reader.predict(x);
            return (1000 * n) / (performance.now() - begin); })"""
    )


@pytest.mark.deep
@browsers
@pytest.mark.parametrize(("kind", "epochs", "rows"), [("mlp", 2, None), ("cnn", 1, 6000)])
def test_it_computes_what_python_computes(opened, accessible, kind, epochs, rows):
    model, x, labels = net("mnist", kind, epochs, rows)
    html, _ = page(model, x, labels)
    x = x if kind == "mlp" else x[:2000]
    tab = opened(html)
    assert "16 of 16" in tab.locator("#proof").inner_text()
    if kind == "mlp":
        assert max(speeds(tab)) >= 10_000
    assert np.abs(predictions(tab, x) - model.predict(x)).max() < 2e-6
    if kind == "mlp":
        assert len(html.encode()) <= 600_000
        small, measured = page(model, x, labels, int8=True)
        assert len(small.encode()) <= 200_000
        assert abs(measured["accuracy as int8"] - measured["accuracy"]) <= 0.001
        assert "16 of 16" in opened(small).locator("#proof").inner_text()
    accessible(tab)


@pytest.mark.deep
@browsers
def test_a_flipped_bit_of_a_weight_is_seen(opened, digits):
    html, _ = page(*digits)
    data = data_of(html)
    held = data["net"]["memory"][data["kernel"][0]][2][0][1]["b"]
    weights = held_in(held)

    def shown(text):
        return opened(html.replace(held, text)).locator("#proof .bad").inner_text()

    weights.view("u4")[250] ^= 1
    assert shown(encoded(weights)).startswith("Do not trust this page")
    weights[[250, 1000, 2250]] *= -1
    assert "samples differ" in shown(encoded(weights))
    assert opened.said == []
    bits = bytearray(base64.b64decode(held))
    bits[1000] ^= 1
    assert "damaged" in shown(base64.b64encode(bits).decode())
    assert "damaged" in shown(held[: len(held) // 2])
    old = html.replace("<head>", "<head><script>delete globalThis.DecompressionStream</script>")
    assert "too old" in opened(old).locator("#proof .bad").inner_text()
    opened.said.clear()  # in the console, too


@pytest.mark.deep
@browsers
@pytest.mark.parametrize("goes_on", [False, True])
def test_fifty_steps_on_the_page_drift_as_python_does(opened, tmp_path, goes_on):
    """From the optimiser's first step, and from where the saved run stopped."""
    model, x, labels = net("mnist", "mlp", 2, None)
    model.save(tmp_path / "model.safetensors")
    own = cg.Sequential.load(tmp_path / "model.safetensors")
    html, _ = page(own, x, labels, trainable=True, with_optimizer=goes_on)
    assert len(html.encode()) <= (1_600_000 if goes_on else 600_000)
    tab = opened(html)
    if not goes_on:
        restart(own.optimizer)
    assert (own.optimizer.iterations > 0) == goes_on
    draw = np.random.default_rng(0)
    batches = [(x[rows], labels[rows]) for rows in draw.integers(0, len(x), (50, 16))]

    def trained(rows, *orders):
        """The weights after the same steps, each sum in another order: that of rows, pixels, hidden units, classes."""
        net = copy.deepcopy(own)
        shapes = [w.shape for w in net.weights]
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

        def arrange(pixels, units, classes):
            for array in (net.flat.data, *net.optimizer.state.values()):
                w1, b1, w2, b2 = (
                    part.reshape(shape) for part, shape in zip(np.split(array, ends), shapes, strict=True)
                )
                w1[...], b1[...] = w1[pixels][:, units], b1[units]
                w2[...], b2[...] = w2[units][:, classes], b2[classes]

        arrange(*orders)
        for a, b in batches:
            net.train_on_batch(a[rows][:, orders[0]], np.eye(10, dtype="float32")[b[rows]][:, orders[2]])
        arrange(*map(np.argsort, orders))
        return flat(net)

    sizes = 16, 784, 128, 10
    python = trained(*map(np.arange, sizes))
    drift = [np.abs(trained(*map(draw.permutation, sizes)) - python) for _ in range(3)]
    payload = [[a.reshape(-1).tolist(), np.eye(10)[b].reshape(-1).tolist()] for a, b in batches]
    name = data_of(html)["kernel"][0]
    ours = tab.evaluate(
        """([batches, name]) => {
            for (const [x, y] of batches) reader.step(x, y);
            return Array.from(reader.net.memory[name]); }""",
        [payload, name],
    )
    off = np.abs(np.array(ours)[: python.size] - python)
    print(f"\nafter 50 steps: {off.max():.1e}, Python's own drift {np.max(drift):.1e}; {len(html) / 1000:.0f} KB")
    assert off.max() <= 3 * np.max(drift)
    assert np.sqrt((off**2).mean()) <= 3 * max(np.sqrt((each**2).mean()) for each in drift)


@pytest.mark.deep
@browsers
def test_it_learns_is_reset_and_is_for_everybody(opened, accessible, digits):
    html, _ = page(*digits, trainable=True)
    for width, scheme in ((1200, "light"), (360, "dark")):
        tab = opened(html, width=width, height=1600, scheme=scheme)
        box = tab.locator("canvas.pad").bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 40, steps=8)
        tab.mouse.up()
        tab.wait_for_function("reader.given() !== null")
        before = tab.evaluate("Array.from(reader.outputs()[0])")
        tab.click("button.label >> nth=6")
        assert tab.locator(".answer").inner_text() == "6"
        accessible(tab)
        tab.click("#reset")
        assert tab.evaluate("Array.from(reader.outputs()[0])") == before
        tab.click("#language")
        assert "学习" in tab.locator("#teach h2").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        accessible(tab)
    tab.click("#clear")
    tab.focus("canvas.pad")
    for key in [" ", *["ArrowDown"] * 8]:
        tab.keyboard.press(key)
    tab.wait_for_function("reader.given() !== null")


@browsers
@pytest.mark.skipif("CHALKGRAD_PICTURES" not in os.environ, reason="CHALKGRAD_PICTURES is not set")
def test_draw_the_picture(opened, save_picture):
    html, _ = page(*net("mnist", "mlp", 2, None), trainable=True)
    tab = opened(html, height=1250)
    box = tab.locator("canvas.pad").bounding_box()
    corners = [(0.3, 0.3), (0.4, 0.2), (0.55, 0.2), (0.65, 0.3), (0.6, 0.45), (0.45, 0.6), (0.3, 0.75), (0.7, 0.75)]
    for k, (x, y) in enumerate(corners):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if not k:
            tab.mouse.down()
    tab.mouse.up()
    tab.wait_for_function("reader.given() !== null")
    save_picture(tab, "page.png")


@pytest.mark.deep
@browsers
def test_numbers_are_typed_into_fields(opened, accessible):
    model = made(layers.Dense(5, activation="tanh"), layers.Dense(2), shape=3)
    tab = opened(page(model)[0])
    assert "16 of 16" in tab.locator("#proof").inner_text()
    for field, value in zip(tab.locator(".fields input").all(), ("1", "-2.5", "0.125"), strict=True):
        field.fill(value)
    found = tab.evaluate("Array.from(reader.outputs()[0])")
    np.testing.assert_allclose(found, model.predict(np.array([[1, -2.5, 0.125]], "float32"))[0], atol=1e-6)
    accessible(tab)


@pytest.mark.deep
@browsers
def test_a_sequence_is_written_line_by_line(opened, accessible):
    model = made(layers.LSTM(6), layers.Dense(2), shape=(5, 3))
    tab = opened(page(model)[0])
    assert "16 of 16" in tab.locator("#proof").inner_text()
    x = np.round(np.random.default_rng(0).normal(size=(1, 5, 3)), 3).astype("float32")
    lines = [" ".join(map(str, row)) for row in x[0]]
    tab.fill("textarea", "\n".join(lines))
    np.testing.assert_allclose(tab.evaluate("Array.from(reader.outputs()[0])"), model.predict(x)[0], atol=1e-6)
    accessible(tab)
    for text, said in (("\n".join(lines[:3]), "3 lines"), ("\n".join([*lines[:4], "1 x 2"]), "Line 5, “1 x 2”")):
        tab.fill("textarea", text)
        assert said in tab.locator(".reader .bad").inner_text()
        assert tab.evaluate("reader.outputs()") is None
    accessible(tab)


@pytest.mark.deep
@browsers
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_recurrent_net_of_digits_reads_and_learns(opened, layer):
    x, labels = (each[:600] for each in datasets.digits.load_data()[0])
    x = x.astype("float32") / 255
    model = cg.Sequential([layers.Input((8, 8)), layer(16), layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, labels, epochs=2, verbose=0)
    tab = opened(page(model, x, labels, trainable=True)[0])
    assert np.abs(predictions(tab, x) - model.predict(x)).max() < 2e-6
    own = copy.deepcopy(model)
    restart(own.optimizer)
    losses = [own.train_on_batch(x[:16], labels[:16]) for _ in range(5)]
    found = tab.evaluate(
        "([x, y]) => Array.from({ length: 5 }, () => reader.step(x, y))",
        [x[:16].reshape(-1).tolist(), labels[:16].tolist()],
    )
    np.testing.assert_allclose(found, losses, rtol=1e-4)
