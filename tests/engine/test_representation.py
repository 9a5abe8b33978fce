"""What notebooks show tells the truth, names what is wrong, and is sound HTML whatever things are called."""

import ast
import math
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.drawing import BLUE
from chalkgrad.nn.notebook import MOST
from chalkgrad.proof.report import Difference, Report, Verdict

HOSTILE = "<b>&\"'|x"


def parsed(shown):
    """The HTML, read as XML, which is stricter; it refers to nothing but parts of its own drawings and runs nothing."""
    assert not re.search(r"url\([^#]|href=.[^#]|src=|<script|<style|\bon\w+=", shown)
    assert not re.search(r"http|\bid=", re.sub(r"<svg.*?</svg>", "", shown, flags=re.DOTALL))
    root = ElementTree.fromstring(shown)
    for table in root.iter("table"):
        assert "".join(table.find("caption").itertext()).strip()
        assert all(th.get("scope") in ("row", "col") for th in table.iter("th"))
    assert all(
        svg.get("role") == "img" and svg.get("aria-label") and svg.find("{*}title").text
        for svg in root.findall(".//{*}svg")
    )
    return root


def html(thing):
    return parsed(thing._repr_html_())


def words(root):
    return " ".join("".join(root.itertext()).split())


def tables(root):
    """The cells of each table's body, without those that name the rows."""
    return [
        [["".join(td.itertext()) for td in row.iter("td")] for row in table.find("tbody").iter("tr")]
        for table in root.iter("table")
    ]


def some(*shape, **options):
    return cg.tensor(np.random.default_rng(0).normal(size=shape), **options)


@pytest.mark.parametrize("shape", [(), (3,), (10,), (8, 8), (3, 4, 5), (1, 2, 3, 2)])
def test_numbers_of_small_tensors_are_the_engines_to_the_printed_digits(shape):
    x = some(*shape)
    (shown,) = tables(html(x))
    plane = x.numpy()[(0,) * (x.ndim - 2)]
    assert shown == [[f"{value:.4g}" for value in row] for row in np.atleast_2d(plane)]


def test_all_values_are_there_on_demand_to_the_last_digit():
    x = some(5, 20)
    full = ast.literal_eval(html(x).find(".//details/pre").text)
    np.testing.assert_array_equal(full, x.numpy())
    assert html(some(1001)).find(".//details") is None


def test_a_large_tensor_is_not_written_out(monkeypatch):
    monkeypatch.setattr(np, "array2string", None)
    html(cg.tensor(np.zeros((1001, 2))))


def test_what_it_is_and_where_it_came_from():
    x = some(2, 3, requires_grad=True)
    told = words(html(x * x))
    assert all(part in told for part in ("shape (2, 3)", "float64", x.device, "from multiply", "requires_grad"))


def test_a_gradient_is_shown_beside_the_values_once_there_is_one():
    x = some(2, 3, requires_grad=True)
    assert len(tables(html(x))) == 1
    assert "grad: not computed yet" in words(html(x))
    y = x * x
    y.sum().backward()
    assert "not computed yet" not in words(html(x))
    assert tables(html(x))[1] == [[f"{g:.4g}" for g in row] for row in x.grad.numpy()]
    assert "grad: kept of leaves only, and multiply computed this one" in words(html(y))
    assert "grad" not in words(html(y.detach()))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 40, 50)])
def test_the_first_place_that_is_not_finite_is_named_in_any_plane(shape):
    values = np.ones(shape)
    values[1, 2, 3] = values[1, 2, 4] = np.nan
    values[0, 1, 2] = -np.inf
    told = words(html(cg.tensor(values)))
    assert "2 NaN, the first at [1, 2, 3]" in told
    assert "1 infinite, the first at [0, 1, 2]" in told
    assert f"min 1 · mean 1 · max 1 · of the {values.size - 3:,} finite of {values.size:,}" in told


def test_a_heat_map_shows_means_of_blocks():
    values = np.zeros((64, 96))
    values[:2, :3] = np.arange(1, 7).reshape(2, 3)  # the first block, mean 3.5
    values[62:, 93:] = -1.75
    values[0, 95] = np.nan
    root = html(cg.tensor(values))
    paths = {(p.get("d"), p.get("fill"), p.get("fill-opacity")) for p in root.iter("path")}
    assert paths == {
        ("M0 0h1v1h-1z", "rgb(245,124,0)", "0.90"),
        ("M31 0h1v1h-1z", "rgb(220,0,0)", "0.96"),
        ("M31 31h1v1h-1z", "rgb(0,102,214)", "0.45"),
    }
    assert "values: 64 × 96, means of 32 × 32 blocks" in words(root)
    assert "-3.5 3.5" in words(root)


def test_values_at_the_ends_of_the_range_overflow_nothing():
    assert "mean 1.7e+308" in words(html(cg.tensor(np.full((40, 40), 1.7e308))))
    assert "mean 4.941e-324" in words(html(cg.tensor(np.full((9, 9), 5e-324))))


def test_integers_truth_values_and_nothing():
    assert tables(html(cg.tensor([[12345678, -1]]))) == [[["12345678", "-1"]]]
    assert tables(html(cg.tensor([True, False]))) == [[["True", "False"]]]
    assert "empty" in words(html(cg.tensor(np.zeros((0, 3)), requires_grad=True)))
    assert "one cell an element" in words(html(cg.tensor(np.arange(200).reshape(10, 20))))


def test_in_a_capture_it_does_as_repr_does():
    def reason(show):
        captured = cg.capture(lambda t: (show(t), t * 2.0)[1])
        for _ in range(3):
            captured(cg.tensor([1.0, 2.0]))
        return re.sub(r":\d+\)", ")", captured.explain())

    assert "values are read" in reason(lambda t: t._repr_html_())
    assert reason(lambda t: t._repr_html_()) == reason(lambda t: repr(t))


# Models, histories, reports


def test_a_model_before_build_says_so_and_stays_unbuilt():
    model = cg.Sequential([cg.layers.Dense(3, activation="relu", name=HOSTILE)], name=HOSTILE)
    assert "not built yet" in words(html(model))
    assert "not compiled yet" in words(html(model))
    assert not model.built
    misfit = cg.Sequential([cg.layers.Dense(3, input_shape=(4,)), cg.layers.Conv2D(2, 3)])
    assert "Conv2D takes batches of shape" in words(html(misfit))
    html(cg.Sequential())


def test_a_model_has_the_layers_of_its_summary_and_the_settings_of_compile():
    dense = cg.layers.Dense
    model = cg.Sequential([dense(30, activation="sigmoid", input_shape=(784,)), dense(10, activation="softmax")])
    model.compile(cg.optim.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    model.build()
    layers, settings = tables(html(model))
    assert layers[0] == ["Dense", "sigmoid: y = 1 / (1 + exp(-x))", "(None, 30)", "23,550"]
    lines = []
    model.summary(lines.append)
    assert all(row[-1] in lines[0] and row[-2] in lines[0] for row in layers)
    assert "23,860 parameters" in words(html(model))
    assert ["categorical_crossentropy, fused with softmax"] in settings
    assert ["Constant(learning_rate=0.01): 0.01 after 0 updates"] in settings


def history(**columns):
    made = cg.nn.History()
    for epoch, values in enumerate(zip(*columns.values(), strict=True)):
        made.on_epoch_end(epoch, dict(zip(columns, values, strict=True)))
    return made


def test_a_history_shows_first_every_nth_and_last_epoch():
    loss = [1 / (epoch + 1) for epoch in range(30)]
    root = html(history(loss=loss, val_loss=loss, accuracy=loss))
    (rows,) = tables(root)
    assert [row[0] for row in rows] == [f"{loss[epoch]:.4g}" for epoch in (0, 4, 9, 14, 19, 24, 29)]
    assert [svg.get("aria-label").split(" by")[0] for svg in root.findall(".//{*}svg")] == [
        "loss, logarithmic",
        "accuracy",
    ]
    assert history(loss=loss)._repr_markdown_().splitlines()[-1] == "| 30 | 0.03333 |"


def test_a_history_names_the_epoch_since_which_it_is_not_finite_and_leaves_a_gap():
    root = html(history(**{HOSTILE: [3.0, 2.0, math.nan, 1.0, math.inf]}))
    assert "2 not finite, the first in epoch 3" in words(root)
    marks = [use for use in root.findall(".//{*}use") if BLUE in use.get("style")]
    assert len(marks) == 3 + 1  # and one in the legend
    assert "no epochs yet" in words(html(history()))
    html(history(loss=[math.nan]))


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    count = 10 * MOST + 5
    shown = history(loss=list(np.linspace(1, 2, count)))._repr_html_()
    assert "training: from 1 to 2." in shown
    assert "the curves take one epoch in 11" in words(parsed(shown))
    assert len(shown) < 40_000


def test_without_matplotlib_a_history_is_its_table(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    root = html(history(loss=[2.0, 1.0]))
    assert tables(root) == [[["2"], ["1"]]]
    assert "drawing needs matplotlib" in words(root)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_report_tells_verdict_difference_and_code(verdict):
    worst = Difference(1, (2, 0), 2.5, 2.25, 1e-9, 1e-3, (2.0, 3.0))
    report = Report(HOSTILE, verdict, "a < b", worst, (worst,) * 7, ("adjoint",), reproduce="f(x) # a < b & c")
    root = html(report)
    assert verdict.upper() in words(root)
    assert f"gradient of {HOSTILE}" in words(root)
    assert tables(root)[0][0][:4] == ["argument 1 [2, 0]", "2.5", "2.25", "0.25"]
    assert "and 2 more kinks" in words(root)
    assert root.find(".//details/pre").text == report.reproduce
    assert (root.find(".//details").get("open") is None) == report.proven


def test_names_are_escaped():
    x = some(2)
    x.name = HOSTILE
    assert f"Tensor {HOSTILE}" in words(html(x))
