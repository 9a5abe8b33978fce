"""The playground: its numbers are the engine's, it learns, steps back, and opens for everybody."""

import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.deploy.playground import SIZE, data_sets, forward, gradient, playground
from chalkgrad.engine.tensor import Tensor

browsers = pytest.mark.filterwarnings("default")  # of the libraries that drive the browser
SYMBOLS = str.maketrans({"·": "*", "−": "-", "²": "**2", "√": "sqrt"})
CHOICE = "{depth: 2, widths: [5, 3, 8], activation: 'tanh', optimizer: '%s', dataset: 'moons'}"


@pytest.fixture
def opened(opened):
    """Open the playground, and wait until it is there."""

    def open_page(*args, **options):
        tab = opened(*args, **options)
        tab.wait_for_function("globalThis.playground")
        return tab

    return open_page


def weights_of(theta):
    """The weights of a net of 5 and 3 neurons, in its layers' order, from the flat ones of a page."""
    found, at, used = [], 0, 2
    for rows, columns, active in ((2, 8, 5), (8, 8, 3), (8, 1, 1)):
        w = theta[at : at + rows * columns].reshape(rows, columns)
        at += rows * columns
        found += [w[:used, :active], theta[at : at + active]]
        at, used = at + columns, active
    return found


def narrow(optimizer="sgd"):
    dense = cg.layers.Dense
    model = cg.Sequential([dense(5, "tanh", input_shape=(2,)), dense(3, "tanh"), dense(1, "sigmoid")])
    model.compile(optimizer, "binary_crossentropy")
    model.build()
    return model


def test_a_masked_net_is_the_narrow_one():
    theta, mask = np.random.default_rng(0).normal(size=SIZE).astype("f4"), np.zeros((3, 8), "f4")
    mask[0, :5] = mask[1, :3] = 1
    x, y = (each.astype("f4") for each in data_sets()["moons"])
    model = narrow()
    model.set_weights(weights_of(theta))
    z, *_ = forward(2, "tanh")(*map(Tensor, (theta, x, mask)))
    np.testing.assert_allclose(1 / (1 + np.exp(-z.numpy())), model.predict(x)[:, 0], atol=1e-6)
    loss, g = gradient(2, "tanh")(*map(Tensor, (theta, x, y, np.full(200, 1 / 200, "f4"), mask)))
    assert loss.item() == pytest.approx(model.evaluate(x, y[:, None], verbose=0), rel=1e-5)
    assert np.count_nonzero(g.numpy()) == model.count_params()


def test_the_page_is_one_file_that_asks_nothing():
    page = playground("zh")
    assert len(page.encode()) < 120_000
    assert "https://" not in page
    assert "http://" not in re.sub(r"http://www.w3.org/\S+", "", page)
    with pytest.raises(cg.errors.UsageError, match="language"):
        playground("xx")


@pytest.mark.deep
@browsers
@pytest.mark.parametrize(("name", "optimizer"), [
    ("adam_documented", cg.optim.Adam(0.01, bias_correction=False)), ("adam", cg.optim.Adam(0.01)),
    ("sgd", cg.optim.SGD(0.01)), ("momentum", cg.optim.SGD(0.01, momentum=0.9)), ("rmsprop", cg.optim.RMSprop(0.01)),
])  # fmt: skip
def test_its_numbers_are_the_engines(opened, name, optimizer):
    tab = opened(playground())

    def theta():
        return np.array(tab.evaluate("[...playground.state().theta]"), "f4")

    tab.evaluate(f"playground.change({CHOICE % name})")
    model, first = narrow(optimizer), theta()
    model.set_weights(weights_of(first))
    points = tab.evaluate("playground.points()")
    x, y = np.array(points["x"], "f4").reshape(-1, 2), np.array(points["y"], "f4")[:, None]
    for _ in range(20):
        model.train_on_batch(x, y)
    tab.evaluate("playground.step(20)")
    for mine, own in zip(weights_of(theta()), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, own, atol=1e-5)
    tab.evaluate("for (let k = 0; k < 20; k++) playground.back()")
    np.testing.assert_array_equal(theta(), first)


@pytest.mark.deep
@browsers
@pytest.mark.parametrize(("optimizer", "shown"), [("adam", "1456"), ("adam_documented", "1456"), ("sgd", "13")])
def test_the_equations_with_numbers_are_true(opened, optimizer, shown):
    tab = opened(playground())
    tab.evaluate(f"playground.change({CHOICE % optimizer})")
    tab.evaluate("playground.step(7)")
    for neuron in (0, 6, 8):  # of the first layer, the second, and the output
        tab.locator(".layer button").nth(neuron).press("Enter")
        lines = tab.locator(".live").all_inner_texts()
        for number in shown:
            left, _, right = lines[int(number) - 1].rpartition(": ")[2].translate(SYMBOLS).rpartition(" = ")
            left = re.sub(r"sqrt([\d.]\S*)", r"sqrt(\1)", left)
            assert eval(left, {"tanh": np.tanh, "sqrt": np.sqrt}) == pytest.approx(float(right), rel=2e-3, abs=2e-3)


@pytest.mark.deep
@browsers
def test_it_separates_two_spirals_for_five_drawings(opened):
    tab = opened(playground())
    for seed in range(5):
        found = tab.evaluate(
            """(seed) => { playground.chosen.seed = seed; playground.restart();
            let best = 0; for (let k = 0; k < 15; k++) { playground.step(100); best = playground.accuracy(); }
            return best; }""",
            seed,
        )
        assert found >= 0.95, seed


@pytest.mark.deep
@browsers
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_opens_for_everybody(opened, accessible, width, scheme):
    tab = opened(playground(), width, scheme=scheme)
    tab.click("#step")
    accessible(tab)
    tab.click("#language")
    accessible(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.evaluate("playground.change({dataset: 'own', depth: 0})")
    tab.click("#step")  # without any point
    tab.locator(".plane").click(position={"x": 30, "y": 40})
    tab.locator(".plane").press("Space")
    assert tab.evaluate("playground.points().y.length") == 2
    tab.click("#play")
    tab.wait_for_function("playground.state().t > 20")
    accessible(tab)


def test_the_command_writes_it(monkeypatch, tmp_path):
    from click.testing import CliRunner

    from chalkgrad.cli import cli

    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    result = CliRunner().invoke(cli, ["playground", "--open", "--out", str(tmp_path / "net.html")])
    assert result.exit_code == 0, result.output
    assert shown == [(tmp_path / "net.html").as_uri()]
    assert (tmp_path / "net.html").read_text("utf-8").startswith("<!doctype html>")
