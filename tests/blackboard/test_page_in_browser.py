"""The page in a browser: it steps, recomputes what is changed as the engine does, and stands in nobody's way.

With CHALKGRAD_PICTURES set, the pictures of the documentation are drawn anew.
"""

import json
import math
import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.blackboard.board import board_of
from chalkgrad.blackboard.explain import explain
from chalkgrad.blackboard.lesson import lesson_page
from chalkgrad.blackboard.page import page
from chalkgrad.blackboard.worked import SAMPLE, TARGET, worked_model
from chalkgrad.commands.explain import at_step
from chalkgrad.commands.settings import Settings
from chalkgrad.proof.cases import draw, examples

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries that drive the browser


def found(tab, lesson=0):
    """What the page has computed: values, gradients, weights after the update."""
    return tab.evaluate(
        """(i) => { const l = window.lessons[i], f = l.found; return {
            values: f.values, gradients: f.gradients,
            after: Object.fromEntries(Object.entries(f.updated).map(([k, v]) => [k, v.theta])) } }""",
        lesson,
    )


def same_as_engine(computed, explained):
    for quantity in explained.quantities:
        np.testing.assert_allclose(computed["values"][quantity.id], quantity.value.reshape(-1), rtol=1e-9, atol=1e-14)
        if quantity.gradient is not None:
            ours = computed["gradients"][quantity.id]
            np.testing.assert_allclose(ours, quantity.gradient.reshape(-1), rtol=1e-9, atol=1e-14)
    for revision in explained.update:
        np.testing.assert_allclose(computed["after"][revision.quantity.id], revision.after.reshape(-1), rtol=1e-9)


def test_it_steps_forward_and_backward(opened):
    tab = opened(lesson_page())
    later = "#lesson-0 article.later"
    assert tab.locator(later).count() == 17  # the first step is open
    assert tab.locator("#lesson-0 article.now [data-matrix=z1] button").count() == 4
    assert tab.locator(f"{later} .notyet").first.inner_text() == "not computed yet"
    assert not tab.locator(f"{later} .body").first.is_visible()
    for _ in range(6):
        tab.keyboard.press("ArrowRight")
    assert tab.locator(later).count() == 11
    assert tab.locator("#lesson-0 .where").inner_text() == "7 / 18 · Backward"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(later).count() == 12
    tab.keyboard.press("End")
    assert tab.locator(later).count() == 0
    tab.keyboard.press("Home")
    assert tab.locator(later).count() == 18
    tab.locator("#lesson-0 input[type=range]").fill("5")
    assert tab.locator("#lesson-0 article.now .d").inner_text() == "D10"
    tab.get_by_role("button", name="on").first.click()
    assert tab.locator(later).count() == 12


def test_a_changed_weight_changes_everything_as_the_engine_does(opened):
    tab = opened(lesson_page())
    tab.keyboard.press("End")
    tab.get_by_label("W⁽¹⁾[0,3]", exact=True).first.fill("0.9")
    tab.keyboard.press("Tab")
    model = worked_model()
    weights = model.get_weights()
    weights[0][0, 3] = 0.9
    model.set_weights(weights)
    explained = explain(model, np.array(SAMPLE), np.array(TARGET))
    same_as_engine(found(tab), explained)
    shown = tab.locator("#lesson-0 article.forward").nth(4).locator("[data-result]").text_content()
    assert float(shown) == pytest.approx(explained.loss.value.item(), rel=1e-3)
    tab.get_by_label("learning rate").fill("0.2")
    tab.keyboard.press("Tab")
    same_as_engine(
        found(tab), explain(model, np.array(SAMPLE), np.array(TARGET), optimizer=cg.optim.GradientDescent(0.2))
    )
    tab.get_by_role("button", name="reset").first.click()
    assert tab.evaluate("window.lessons[0].found") is None


def classifier():
    model = cg.Sequential(
        [layers.Dense(4, "sigmoid", input_shape=(3,)), layers.Dense(3, "tanh"), layers.Dense(3, "softmax")],
        dtype="float64",
    )
    model.compile("adam", "categorical_crossentropy")
    return model, np.eye(3)[[0, 2]]


def convolutions():
    model = cg.Sequential(
        [
            layers.Conv2D(2, 3, padding="same", strides=2, activation="relu", input_shape=(5, 5, 1)),
            layers.MaxPooling2D(2, padding="same"), layers.BatchNormalization(), layers.Flatten(),
            layers.Dense(2, "softmax"),
        ],
        dtype="float64",
    )  # fmt: skip
    model.compile("momentum", "sparse_categorical_crossentropy")
    return model, np.array([0, 1])


@pytest.mark.parametrize("build", [classifier, convolutions])
def test_other_nets_are_computed_as_the_engine_does(opened, build):
    model, y = build()
    model.build()
    x = np.random.default_rng(0).normal(size=(2, *model.shapes[0]))
    explained = explain(model, x, y)
    tab = opened(page([explained]))
    tab.evaluate("window.lessons[0].recompute()")
    same_as_engine(found(tab), explained)


def test_it_speaks_chinese(opened):
    tab = opened(lesson_page(lang="zh"))
    tab.keyboard.press("End")
    told = tab.locator("main").inner_text()
    for number in range(1, 18):
        assert f"D{number}" in told
    for word in ("前向传播", "反向传播", "学习率", "文档写法", "数值导数"):
        assert word in told
    assert "as documented" not in told
    tab.click("#language")
    assert "as documented" in tab.locator("main").inner_text()


def of_images():
    model, y = convolutions()
    model.build()
    return page([explain(model, np.random.default_rng(0).normal(size=(2, 5, 5, 1)), y)])


DEEP = pytest.mark.deep


@pytest.mark.parametrize(
    ("write", "scheme", "width"),
    [
        (lesson_page, "light", 1280),
        pytest.param(of_images, "dark", 390, marks=DEEP),
        pytest.param(lesson_page, "dark", 390, marks=DEEP),
        pytest.param(of_images, "light", 1280, marks=DEEP),
    ],
)
def test_nothing_stands_in_anybodys_way(opened, accessible, write, scheme, width):
    tab = opened(write(), scheme=scheme, width=width)
    tab.keyboard.press("End")
    accessible(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def long(x):
    for _ in range(5_000):
        x = x * 1.0001 + 0.0001
    return x.sum()


def test_ten_thousand_steps_are_painted_within_a_second_and_opened_on_demand(opened):
    explained = explain(long, np.ones(3))
    written = page([explained])
    assert len(written) < 5e6
    tab = opened(written)
    painted = "performance.getEntriesByName('first-contentful-paint')"
    tab.wait_for_function(f"{painted}.length")
    loaded = 3 if os.environ.get("CI") else 1
    assert tab.evaluate(f"{painted}[0].startTime") < 1000 * loaded
    assert tab.locator("details.steps tr").count() == 0
    tab.get_by_role("button", name="4901–5000").press("Enter")
    last = tab.locator("details.steps[open] tbody tr").last
    last.wait_for()
    value = ", ".join(f"{x:.4g}" for x in explained.forward[4999].result.value)
    assert last.locator("td").all_inner_texts()[:4] == ["5000", "x₂₅₀₁ = v₄₉₉₉ + 1e−4", "3", value]


def test_nodes_and_steps_point_at_one_another(opened):
    tab = opened(lesson_page())
    tab.keyboard.press("End")
    assert tab.locator("#lesson-0 .node.here").get_attribute("data-id") == tab.locator(
        "#lesson-0 article.now"
    ).get_attribute("data-id")
    tab.locator('#lesson-0 .node[data-id="W2"]').focus()
    assert tab.locator("#lesson-0 article.lit").count() == 2  # its gradient and its update
    tab.locator("#lesson-0 article.forward").first.hover()
    assert tab.locator('#lesson-0 .node.now[data-id="z1"]').count() == 1


def lesson_at(lang="en"):
    return lambda: lesson_page(lang=lang)


def of_a_cnn():
    return page([at_step(Settings(model="cnn"), 200)])


@pytest.mark.skipif("CHALKGRAD_PICTURES" not in os.environ, reason="CHALKGRAD_PICTURES is not set")
@pytest.mark.parametrize(("name", "write", "size", "scheme", "step"), [
    ("light", lesson_at(), (1280, 1100), "light", None), ("dark", lesson_at(), (1280, 900), "dark", 9),
    ("phone", lesson_at("zh"), (390, 844), "light", 9), ("cnn", of_a_cnn, (1280, 1100), "light", None),
])  # fmt: skip
def test_pictures(opened, save_picture, name, write, size, scheme, step):
    tab = opened(write(), *size, scheme=scheme)
    if step:
        tab.evaluate(f"window.lessons[0].step({step})")
    save_picture(tab, f"blackboard-{name}.png")


def test_a_node_goes_to_its_step_and_shows_value_and_gradient(opened):
    tab = opened(lesson_page())
    node = tab.locator('#lesson-0 .node[data-id="J"]')
    assert node.locator(".value").inner_text() == ""
    node.click()
    assert tab.locator("#lesson-0 article.now .d").inner_text() == "D10"
    assert node.locator(".value").inner_text() == "0.09272"
    assert node.get_attribute("aria-current") == "step"
    tab.keyboard.press("End")
    tab.locator('#lesson-0 .node[data-id="W2"]').click()
    assert tab.locator("#lesson-0 article.now .d").inner_text() == "D11"
    assert tab.locator('#lesson-0 .node[data-id="z2"] .gradient').inner_text() == "∂ 0.11 0.41"
    assert tab.locator('#lesson-0 .node[data-id="W1"] .gradient').inner_text() == ""


def test_it_plays(opened):
    tab = opened(lesson_page())
    tab.clock.install()
    tab.keyboard.press("p")
    where = tab.locator("#lesson-0 .where")
    for step in (2, 3):
        tab.clock.run_for(2500)
        assert where.inner_text() == f"{step} / 18 · Forward"
    tab.get_by_role("button", name="pause").click()
    tab.clock.run_for(10_000)
    assert where.inner_text() == "3 / 18 · Forward"
    tab.get_by_role("button", name="play").first.click()
    tab.clock.run_for(60_000)
    assert where.inner_text() == "18 / 18 · Update"
    assert tab.get_by_role("button", name="pause").count() == 0


def test_the_two_adams_follow_every_change(opened):
    tab = opened(lesson_page())
    rows = "[...document.querySelectorAll('#adam tbody tr')]"
    cells = f"{rows}.map((row) => [...row.children].map((cell) => cell.textContent))"
    before = tab.evaluate(cells)
    tab.evaluate("window.lessons[0].recompute()")  # by the page's own means
    assert tab.evaluate(cells) == before
    tab.get_by_label("W⁽¹⁾[0,3]", exact=True).first.fill("0.9")
    tab.keyboard.press("Tab")
    tab.get_by_label("Adam, α").fill("0.01")
    tab.keyboard.press("Tab")
    model = worked_model(cg.optim.Adam(0.01))
    weights = model.get_weights()
    weights[0][0, 3] = 0.9
    model.set_weights(weights)
    losses = model.fit(np.array(SAMPLE), np.array(TARGET), epochs=10, verbose=0).history["loss"]
    shown = [float(row[-1].replace("−", "-")) for row in tab.evaluate(cells)]
    np.testing.assert_allclose(shown, losses, rtol=1e-3)


def test_on_a_phone_nothing_is_hidden(opened):
    tab = opened(lesson_page(), width=390, height=844)
    for _ in range(5):
        tab.get_by_role("button", name="on").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    bar, graph, step = (tab.locator(f"#lesson-0 {name}").bounding_box() for name in (".bar", ".graph", "article.now"))
    assert bar["height"] < 60
    assert graph["y"] >= bar["y"] + bar["height"] - 1
    assert step["y"] >= graph["y"] + graph["height"] - 1
    node = tab.locator("#lesson-0 .node.here").bounding_box()
    assert graph["y"] <= node["y"]
    assert node["y"] + node["height"] <= graph["y"] + graph["height"]


NOT_WRITTEN = {"argmax", "concatenate", "einsum", "erf", "gelu", "getitem", "normal_probability", "pad", "scatter_add",
               "stack"}  # fmt: skip
WITHOUT = "decompositions", "recurrent"
NOT_WRITTEN |= {name for name, made in cg.registry.items() if made.__module__.rpartition(".")[2] in WITHOUT}
"""Primitives whose equations move whole arrays, follow a sequence, or have a function that JavaScript has not."""


def applied(primitive, example):
    """A function of the primitive's operands with one number as its result, and the operands."""
    operands = draw(primitive, example)
    shape = primitive.compute(tuple(map(cg.Tensor, operands)), example.parameters).shape
    weights = np.random.default_rng(0).uniform(0.5, 2, shape)

    def function(*xs):
        return (primitive(*xs, **example.parameters) * weights).sum()

    return function, operands


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("most", [1, pytest.param(None, marks=DEEP)], ids=["an example", "all examples"])
def test_every_equation_that_can_be_written_for_it_gives_the_engines_value(opened, most):
    explained = []
    for name, primitive in cg.registry.items():
        if name not in NOT_WRITTEN and primitive.rules:
            given = [example for example in examples(primitive) if all(map(math.prod, example.shapes))]
            for example in given[:most]:
                function, operands = applied(primitive, example)
                explained.append(explain(function, *operands, title=name, numerical=False))
    boards = [board_of(each) for each in explained]
    for each, board in zip(explained, boards, strict=True):
        vector = each.title == "matmul" and any(q.value.ndim == 1 for q in each.forward[0].operands)
        assert board["changeable"] is not vector, each.title  # its equation has two axes
    pairs = [(own, board) for own, board in zip(explained, boards, strict=True) if board["changeable"]]
    tab = opened(page(explained[:1]))
    computed = tab.evaluate(
        """(boards) => boards.map((board) => {
        for (const q of board.quantities) q.values = unpacked(q.values);
        const { values, gradients } = blackboard.recompute(board, {});
        return { values, gradients, after: {} };
    })""",
        json.loads(json.dumps([board for _, board in pairs])),
    )
    for (own, _), found in zip(pairs, computed, strict=True):
        same_as_engine(found, own)
