"""What is drawn on the page is read as the command reads it: strokes of recorded digits, replayed as a hand's."""

import base64
import functools
import re

import numpy as np
import pytest

from chalkgrad import datasets
from chalkgrad.commands.predict import predict
from chalkgrad.commands.settings import Settings
from chalkgrad.commands.train_images import make_model, training_data
from chalkgrad.datasets.images import read_image
from chalkgrad.deploy.page import page

pytestmark = [pytest.mark.filterwarnings("default")]  # of the libraries that drive the browser
PLACES = [(250, 15, 15), (180, 90, 5), (120, 10, 140), (84, 180, 20), (360, -40, -40)]
"""The side of a digit's frame on a canvas of 280 × 280, and its left upper corner; the last ones touch the edges."""


def thinned(ink):
    """The middle lines of strokes, one pixel wide (Zhang & Suen 1984)."""
    ink = np.pad(ink, 1).astype(int)
    before = None
    while before is None or (before != ink).any():
        before = ink.copy()
        for k in (0, 1):
            # the neighbours, from above on clockwise, the first once more at the end
            around = [
                np.roll(ink, by, (0, 1))
                for by in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            up, _, right, _, down, _, left, _ = around
            turns = sum((a == 0) & (b == 1) for a, b in zip(around, [*around[1:], up], strict=True))
            free = (up * right * down, right * down * left) if k == 0 else (up * right * left, up * down * left)
            count = sum(around)
            ink = ink * ~((count >= 2) & (count <= 6) & (turns == 1) & (free[0] == 0) & (free[1] == 0))
    return ink[1:-1, 1:-1]


def strokes(image):
    """How a pen may have gone: lists of places (x, y) between 0 and 1."""
    left = {(int(r), int(c)) for r, c in np.argwhere(thinned(image > 0.4))}
    found = []

    def near(p):
        around = [
            (p[0] + r, p[1] + c) for r, c in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))
        ]
        return [q for q in around if q in left]

    while left:
        p = min(left, key=lambda q: (len(near(q)), q))  # an end, where there is one
        stroke = []
        while p is not None:
            left.discard(p)
            stroke.append(((p[1] + 0.5) / 28, (p[0] + 0.5) / 28))
            p = next(iter(near(p)), None)
        found.append(stroke)
    return found


class Hand:
    """Draws on the page's canvas, with the mouse, a pen, or a finger."""

    def __init__(self, tab):
        self.tab, self.box = tab, tab.locator("canvas.pad").bounding_box()
        self.session = tab.context.new_cdp_session(tab)

    def event(self, tool, kind, x, y):
        """kind: 0 down, 1 move, 2 up; x, y: on a canvas of 280 × 280."""
        x, y = (self.box[k] + v / 280 * self.box[side] for k, v, side in (("x", x, "width"), ("y", y, "height")))
        if tool == "touch":
            points = [] if kind == 2 else [{"x": x, "y": y}]
            name = ("touchStart", "touchMove", "touchEnd")[kind]
            self.session.send("Input.dispatchTouchEvent", {"type": name, "touchPoints": points})
        else:
            name = ("mousePressed", "mouseMoved", "mouseReleased")[kind]
            held = {"button": "left", "buttons": int(kind < 2), "clickCount": 1, "pointerType": tool}
            self.session.send("Input.dispatchMouseEvent", {"type": name, "x": x, "y": y, **held})

    def draw(self, lines, side=280, left=0, top=0, tool="mouse"):
        for line in lines:
            on = [(left + x * side, top + y * side) for x, y in line]
            self.event(tool, 0, *on[0])
            for place in on[1:]:
                self.event(tool, 1, *place)
            self.event(tool, 2, *on[-1])
        self.tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@functools.cache
def mnist():
    (x, labels), (x_test, test_labels) = datasets.load("mnist")
    model = make_model(x.shape[1:], Settings(dataset="mnist", model="mlp"), "cpu")
    model.fit(*training_data(x, labels, model), epochs=2, batch_size=32, verbose=0)
    return model, training_data(x_test, test_labels, model)[0].reshape(-1, 28, 28), test_labels


@pytest.fixture
def sheet(opened, tmp_path, capsys):
    """A page open, `read` what is drawn on it, and `checked` what was read: as the command does, from the same ink."""
    model, x, labels = mnist()
    model.save(tmp_path / "model.safetensors")
    tab = opened(page(model, x, labels)[0])
    tab.wait_for_selector("#proof p")
    files, ours, off = [], [], []

    class Sheet:
        hand = Hand(tab)

        def read(self):
            given = np.array(tab.evaluate("Array.from(reader.given())"), "float32").reshape(28, 28)
            drawn = tab.evaluate("document.querySelector('canvas.pad').toDataURL()").partition(",")[2]
            files.append(tmp_path / f"drawn{len(files)}.png")
            files[-1].write_bytes(base64.b64decode(drawn))
            ours.append(int(tab.locator(".answer").inner_text()))
            off.append(np.abs(given - read_image(files[-1], 28)).max())
            tab.click("#clear")

        def checked(self):
            capsys.readouterr()
            assert predict(str(tmp_path), list(map(str, files))) == 0
            theirs = [int(digit) for digit in re.findall(r"\.png +(\d) ", capsys.readouterr().out)]
            assert ours == theirs
            assert max(off) < 0.02
            return np.array(ours), max(off)

    sheet = Sheet()
    sheet.tab = tab
    return sheet


def test_thinned_strokes_are_lines():
    ink = np.zeros((28, 28), bool)
    ink[4:24, 12:16] = True
    (line,) = strokes(ink.astype("float32"))
    x, y = np.array(line).T
    assert np.ptp(x) < 0.1
    assert np.ptp(y) > 0.5


@pytest.mark.deep
@pytest.mark.parametrize("tool", ["mouse", "pen", "touch"])
def test_strokes_are_read_as_the_command_reads_them(sheet, tool):
    _, x, labels = mnist()
    sheet.tab.evaluate(
        "document.querySelector('.pad').addEventListener('pointerdown', (e) => { window.tool = e.pointerType; })"
    )
    count = 12 if tool == "mouse" else 3
    for k in range(count):
        for place in PLACES if tool == "mouse" else PLACES[:2]:
            sheet.hand.draw(strokes(x[k]), *place, tool=tool)
            sheet.read()
    read, off = sheet.checked()
    assert sheet.tab.evaluate("window.tool") == tool
    right = (read.reshape(count, -1) == labels[:count, None]).mean(axis=0)
    print(f"\n{tool}: {read.size} drawings, inks within {off:.1e}; right by size {right}")
    assert right[0] > 0.8  # these are digits


@pytest.mark.deep
def test_recorded_ink_is_read_as_the_command_reads_it(sheet):
    """Painted pixel by pixel: ink of all widths."""
    for k, (side, left, top) in enumerate(PLACES * 12):
        sheet.tab.evaluate(
            """([x, side, left, top]) => {
                const c = document.querySelector("canvas.pad").getContext("2d"), p = side / 28;
                x.forEach((v, k) => { if (v < 0.3) return; c.beginPath();
                    c.arc(left + (k % 28 + .5) * p, top + (Math.floor(k / 28) + .5) * p, p * .75, 0, 7); c.fill(); });
                reader.read(); }""",
            [mnist()[1][k].reshape(-1).tolist(), side, left, top],
        )
        sheet.read()
    sheet.checked()


@pytest.mark.deep
def test_a_drawing_that_fills_the_canvas_and_leaves_it(sheet):
    across = [(x, 0.02 + 0.064 * y) for y in range(16) for x in ((0.02, 0.98) if y % 2 else (0.98, 0.02))]
    sheet.hand.draw([across])  # all of it is black
    sheet.read()
    sheet.hand.draw([[(0.1, 0.5), (0.5, -0.2), (1.2, 0.5), (0.5, 0.9)]])
    sheet.read()
    sheet.hand.draw([[(0.5 + 0.45 * np.cos(t), 0.5 + 0.45 * np.sin(t)) for t in np.arange(0, 60, 0.2)]])
    sheet.read()
    sheet.checked()
