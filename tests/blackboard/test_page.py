"""The page: whole in itself, with every documented equation in both languages, and the engine's numbers in it."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.blackboard.board import board_of
from chalkgrad.blackboard.explain import explain
from chalkgrad.blackboard.lesson import lesson_page
from chalkgrad.blackboard.page import page
from chalkgrad.blackboard.plain import packed
from chalkgrad.blackboard.texts import LANGUAGES, TEXTS
from chalkgrad.blackboard.tiles import SIDE, tiles_of
from chalkgrad.blackboard.worked import worked_example
from chalkgrad.errors import UsageError


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_it_asks_nothing_of_the_network():
    html = lesson_page()

    class Links(HTMLParser):
        found = ()

        def handle_starttag(self, tag, attributes):
            self.found += tuple(v for k, v in attributes if k in ("src", "href"))

    links = Links()
    links.feed(html)
    assert set(links.found) == {"data:,", "#content"}
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", html)


def test_it_needs_no_mpmath():
    code = (
        "import sys; sys.modules['mpmath'] = None; from chalkgrad.blackboard.lesson import lesson_page; lesson_page()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_documented_number_is_on_it_in_both_languages():
    data = data_of(lesson_page())
    shown = {*data["overview"], "D4", "D5", "D6", *(d for board in data["boards"] for d in board["documents"])}
    assert shown >= {f"D{n}" for n in range(1, 18)}
    for entry in data["documented"].values():
        assert entry["title"]["zh"] != entry["title"]["en"]
        assert bool(entry["missing"]["zh"]) == bool(entry["missing"]["en"])


def test_its_numbers_are_the_engines():
    explained = worked_example()
    board = board_of(explained)
    for quantity in board["quantities"]:
        own = explained[quantity["id"]]
        assert quantity["values"] == own.value.reshape(-1).tolist()
        assert quantity["gradient"] == (None if own.gradient is None else own.gradient.reshape(-1).tolist())
    for revision, own in zip(board["update"], explained.update, strict=True):
        assert revision["assignments"][-1]["after"] == own.after.reshape(-1).tolist()


def test_texts_are_there_in_both_languages():
    for key, texts in TEXTS.items():
        assert len(texts) == len(LANGUAGES), key
        fields = [set(re.findall(r"\{(\w+)\}", t)) for t in texts]
        assert fields[0] == fields[1], key


def test_names_cannot_break_out_of_it():
    html = page([explain(lambda x: x.sum(), [1.0], title="</script><b>\u2028")])
    assert "</script><b>" not in html
    assert data_of(html)["boards"][0]["title"] == "</script><b>\u2028"


def test_ten_thousand_steps_make_a_small_page():
    def long(x):
        for _ in range(5_000):
            x = x * 1.0001 + 0.0001
        return x.sum()

    html = page([explain(long, np.ones(3))])
    assert len(html.encode()) < 5_000_000
    board = data_of(html)["boards"][0]
    assert board["counts"] == [10_001, 10_001]
    assert not board["changeable"]


def test_what_is_not_finite_is_in_it():
    board = data_of(page([explain(lambda x: cg.log(x).sum(), [0.0, 1.0])]))["boards"][0]
    assert board["notFinite"] == ["v₁", [0], "−∞"]
    assert "−∞" in next(q for q in board["quantities"] if q["id"] == "v1")["values"]


def test_what_it_cannot_compute_is_for_viewing():
    assert not board_of(explain(lambda x: x[1:].sum(), [1.0, 2.0]))["changeable"]


def test_an_unknown_language():
    with pytest.raises(UsageError, match="unknown language 'fr'"):
        lesson_page(lang="fr")


def test_what_does_not_fit_is_there_in_part():
    x = np.random.default_rng(0).normal(size=(8, 200, 300)).astype("float32")
    html = page([explain(lambda x, y: (x * y).sum(), x, np.float32(2.0), numerical=False)])
    assert len(html) < 1e6
    shown = next(q for q in data_of(html)["boards"][0]["quantities"] if q["id"] == "x")
    assert shown["values"]["size"] == x.size
    assert shown["values"]["at"] == {str(shown["place"]): x.reshape(-1)[shown["place"]].item()}
    assert shown["values"]["range"] == [float(f"{v:.4g}") for v in (x.min(), x.mean(), x.max())]
    whole, (tall, wide) = x.reshape(1600, 300), (-(-1600 // SIDE), -(-300 // SIDE))
    part = whole[::tall, ::wide]
    np.testing.assert_allclose(drawn(shown["values"], *part.shape), part, atol=np.abs(x).max() / 250)


def test_a_large_array_is_there_in_full():
    x = np.random.default_rng(0).normal(size=(100, 300)).astype("float32")
    html = page([explain(lambda x: (x * x).sum(), x, numerical=False)])
    shown = next(q for q in data_of(html)["boards"][0]["quantities"] if q["id"] == "x")
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(shown["values"]["f4"]), "<f4"), x.reshape(-1))


def drawn(picture, *shape):
    """The elements that a packed array shows."""
    levels = np.frombuffer(base64.b64decode(picture["tiles"]), "u1")
    return ((levels - 128.0) / 127 * picture["scale"]).reshape(shape)


def test_images_and_filters_are_shown_as_what_they_are():
    model = cg.Sequential(
        [cg.layers.Conv2D(5, 3, input_shape=(12, 10, 2)), cg.layers.Flatten(), cg.layers.Dense(2, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build()
    x = np.random.default_rng(0).normal(size=(4, 12, 10, 2)).astype("float32")
    explained = explain(model, x, np.array([0, 1, 0, 1]), numerical=False)
    tiles = tiles_of(explained, explained.quantities)
    images, kernels = tiles["x"], tiles["W1"]
    assert (images.kind, kernels.kind) == ("maps", "filters")
    np.testing.assert_array_equal(x.reshape(-1)[images.places()], x.transpose(0, 3, 1, 2).reshape(8, 12, 10))
    w = explained["W1"].value
    np.testing.assert_array_equal(w.reshape(-1)[kernels.places()], w.transpose(2, 3, 0, 1).reshape(10, 3, 3))
    shown = drawn(packed(x, 0, images), 8, 12, 10)
    np.testing.assert_allclose(shown, x.transpose(0, 3, 1, 2).reshape(8, 12, 10), atol=np.abs(x).max() / 250)


def test_rows_of_pixels_are_shown_as_digits():
    x = np.random.default_rng(0).uniform(size=(9, 64)).astype("float32")
    model = cg.Sequential([cg.layers.Dense(6, "relu", input_shape=(64,)), cg.layers.Dense(3)])
    model.compile("sgd", "mse")
    explained = explain(model, x, np.ones((9, 3), "float32"), numerical=False)
    tiles = tiles_of(explained, explained.quantities)
    assert [tiles[name].kind for name in ("a", "W1", "W2")] == ["images", "units", "matrix"]
    np.testing.assert_array_equal(x.reshape(-1)[tiles["a"].places()], x.reshape(9, 8, 8))
    w = explained["W1"].value
    np.testing.assert_array_equal(w.reshape(-1)[tiles["W1"].places()], w.T.reshape(6, 8, 8))
