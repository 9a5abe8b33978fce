"""What is drawn: the same bytes for the same values, and elements of a page that leave the page alone."""

import re
import sys
import xml.etree.ElementTree as tree

import numpy as np
import pytest

from chalkgrad import drawing
from chalkgrad.errors import MissingExtraError
from chalkgrad.hints import install_command

pytest.importorskip("matplotlib", reason="matplotlib draws")


def figure(**options):
    made, (axes,) = drawing.panels(4, [2.3], caption="a machine")
    lines = [drawing.Curve("mine", [1, 2, 3], [3.0, 2.0, 1.0]), drawing.Curve("", [1, 3], [1, 2], dashed=True)]
    drawing.plot(axes, lines, title="loss <&>", x="epoch", **options)
    return made, axes


def test_the_same_values_give_the_same_bytes():
    assert drawing.svg(figure()[0]) == drawing.svg(figure()[0])
    assert drawing.png(figure()[0]) == drawing.png(figure()[0])


def test_axes_are_as_asked_for():
    _, axes = figure(logarithmic="xy", ticks=[1, 3], shown=lambda value: f"{value:g} s")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["mine"]


def test_an_element_of_a_page():
    one, other = (drawing.inline_svg(figure()[0], told) for told in ('said "so" & <so>', "otherwise"))
    root = tree.fromstring(one)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root[0].text == 'said "so" & <so>'
    assert "<style" not in one
    assert "currentColor" in one
    assert drawing.INK not in one
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert all(ids)
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', one)) <= ids[0]


def test_a_sheet_has_each_image():
    sheet = drawing.sheet("digits", [(np.zeros((8, 8)), f"{n} taken for 0", "0: 90%") for n in range(7)])
    titles = [axes.get_title() for axes in sheet.axes]
    assert titles == [*(f"{n} taken for 0" for n in range(7)), *[""] * 5]


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="drawing needs matplotlib, which is not installed: ") as caught:
        drawing.panels(1, [1])
    assert str(caught.value).endswith(install_command("plot"))
