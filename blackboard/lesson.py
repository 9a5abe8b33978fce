"""The default lesson: every documented equation D1-D17 in one telling, around the worked example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy

from ..equation.symbols import number_text
from ..optim import Adam
from .documented import documented
from .explanation import Explanation
from .scenes import Block, Grid, Paragraph, Scene
from .story import documented_blocks, documented_scene, story
from .texts import text
from .worked import ADAM_WEIGHT, AdamStep, adam_steps, convolution_example, worked_example, worked_model

ADAM = """from chalkgrad.blackboard.worked import adam_steps
for documented, corrected in zip(*(adam_steps(corrected, descended={step}) for corrected in (False, True))):
    print(documented, corrected, documented.change / corrected.change, sep="\\n", end="\\n\\n")"""


def sources(step: int = 0) -> dict[str, str]:
    """By the titles of the lesson's explanations, code that makes each anew."""
    imported = "from chalkgrad.blackboard.worked import convolution_example, worked_example\nexplained = "
    return {
        "worked example": f"{imported}worked_example({step})",
        "convolution": f"{imported}convolution_example()",
    }


def lesson(step: int = 0, lang: str = "en", digits: int = 4) -> Iterator[Scene]:
    """The scenes: the layer and the net (D1, D7), the worked example (D8-D17, D3), Adam (D4-D6), a convolution (D2)."""
    yield documented_scene("D1", lang)
    yield documented_scene("D7", lang)
    yield from story(worked_example(step), lang, digits, documents=True)
    yield adam_scene(adam_steps(False, descended=step), adam_steps(True, descended=step), lang, digits, step)
    yield documented_scene("D2", lang)
    yield from convolution_scenes(convolution_example(), lang, digits)


def lesson_page(step: int = 0, lang: str = "en") -> str:
    """The same as a page: the worked example after `step` updates, the two Adams, and a small convolution."""
    from .board import board_of  # what it takes to draw a page: the terminal does without
    from .page import page

    def computed(optimizer: Adam) -> list[dict[str, Any]]:
        return [_only_computed(revision) for revision in board_of(worked_example(optimizer=optimizer))["update"]]

    return page([worked_example(step), convolution_example()], lang, ("D1", "D7"), _both_adams(step, computed))


def _both_adams(step: int, computed: Callable[[Adam], list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows of both Adams, and their updates, by which the page makes the rows anew when a number is changed."""
    rows = zip(*(adam_steps(corrected, descended=step) for corrected in (False, True)), strict=True)
    shape = worked_model().trainable_weights[2].shape
    return {
        "weight": "W2",
        "place": int(numpy.ravel_multi_index(ADAM_WEIGHT, shape)),
        "rate": Adam().learning_rate,
        "rows": [_row(a, b) for a, b in rows],
        "updates": [computed(Adam(bias_correction=corrected)) for corrected in (False, True)],
    }


def _only_computed(revision: Mapping[str, Any]) -> dict[str, Any]:
    """An update without what is written of it."""
    computed = [{"target": one["target"], "program": one["program"]} for one in revision["assignments"]]
    return {**revision, "assignments": computed}


def adam_scene(
    written: Sequence[AdamStep], corrected: Sequence[AdamStep], lang: str = "en", digits: int = 4, step: int = 0
) -> Scene:
    """Adam as documented beside bias-corrected Adam: their first steps for one weight, and why they differ.

    step: how many updates by gradient descent came before.
    """
    blocks: list[Block] = [block for n in ("D4", "D5", "D6") for block in documented_blocks(documented(n), lang)]
    exact = text("adam.corrected", lang)
    columns = [
        text("adam.t", lang), "m", "v", "Δ, D6", f"Δ, {exact}", text("adam.ratio", lang),
        "J, D6", f"J, {exact}",
    ]  # fmt: skip
    table = [_row(a, b) for a, b in zip(written, corrected, strict=True)]
    rows = [[str(row[0]), *(number_text(x, 3) for x in row[1:])] for row in table]
    blocks += [Grid(columns, rows), Paragraph(text("adam.reason", lang))]
    return Scene("documented", text("title.adam", lang), ("D4", "D5", "D6"), blocks, code=ADAM.format(step=step))


def convolution_scenes(explanation: Explanation, lang: str = "en", digits: int = 4) -> Iterator[Scene]:
    """The small convolution: what is given, forward and backward."""
    for scene in story(explanation, lang, digits):
        if scene.phase in ("values", "forward", "backward"):
            yield scene


def _row(a: AdamStep, b: AdamStep) -> list[float]:
    return [a.t, a.m, a.v, a.change, b.change, a.change / b.change, a.loss, b.loss]
