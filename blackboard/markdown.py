"""An explanation as Markdown with LaTeX, for handouts and notebooks; and as a LaTeX document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy

from ..equation.styles import STYLES
from ..equation.symbols import number_text
from .story import SMALL, Block, Formula, Grid, Matrix, Paragraph, Scene, as_rows, summary
from .texts import text

LEVELS = {"documented": 3, "values": 2, "forward": 3, "backward": 3, "update": 3, "verdict": 2}


def markdown(scenes: Iterable[Scene], title: str, lang: str = "en") -> str:
    """The scenes as Markdown, mathematics between dollar signs."""
    lines, phase = [f"# {title}", ""], ""
    for scene in scenes:
        if scene.phase != phase and scene.phase in ("documented", "forward", "backward"):
            lines += [f"## {text('title.documented' if scene.phase == 'documented' else scene.phase, lang)}", ""]
        phase = scene.phase
        numbers = "".join(f"**{n}** " for n in scene.numbers if not scene.title.startswith(f"{n} "))
        lines += [f"{'#' * LEVELS[scene.phase]} {numbers}{_escaped(scene.title)}", ""]
        for block in scene.blocks:
            lines += [_markdown(block, lang), ""]
    return "\n".join(lines)


def latex(scenes: Iterable[Scene], title: str, lang: str = "en") -> str:
    """The scenes as a LaTeX document; Chinese needs XeLaTeX or LuaLaTeX with ctex."""
    package = r"\usepackage[UTF8]{ctex}" if lang == "zh" else r"\usepackage[utf8]{inputenc}"
    lines = [r"\documentclass{article}", package, r"\usepackage{amsmath,amssymb}", r"\begin{document}",
             rf"\section*{{{_tex(title)}}}"]  # fmt: skip
    for scene in scenes:
        numbers = " ".join(n for n in scene.numbers if not scene.title.startswith(f"{n} "))
        lines.append(rf"\subsection*{{{_tex(f'{numbers} {scene.title}'.strip())}}}")
        lines += [_latex(block, lang) for block in scene.blocks]
    return "\n".join([*lines, r"\end{document}", ""])


def _markdown(block: Block, lang: str) -> str:
    if isinstance(block, Paragraph):
        return f"*{_escaped(block.text)}*" if block.kind == "quiet" else _escaped(block.text)
    if isinstance(block, Formula):
        return f"{block.label}:\n\n$${block.write('latex')}$$"
    if isinstance(block, Grid):
        head = [f"| {' | '.join(block.columns)} |", f"|{'---|' * len(block.columns)}"]
        return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in block.rows)])
    return f"$${_matrix(block, lang)}$$"


def _latex(block: Block, lang: str) -> str:
    if isinstance(block, Paragraph):
        return _tex(block.text) + "\n"
    if isinstance(block, Formula):
        return rf"\noindent {_tex(block.label)}: \[ {block.write('latex')} \]"
    if isinstance(block, Grid):
        rows = [" & ".join(map(_tex, row)) + r" \\" for row in (block.columns, *block.rows)]
        return "\n".join([rf"\begin{{tabular}}{{l{'r' * (len(block.columns) - 1)}}}", *rows, r"\end{tabular}", ""])
    return rf"\[ {_matrix(block, lang)} \]"


def _matrix(block: Matrix, lang: str) -> str:
    style = STYLES["latex"]
    name = style.symbol(block.symbol)
    if block.value is None:
        return rf"{name} = \text{{{text('not_computed', lang)}}}"
    value = numpy.asarray(block.value)
    if value.ndim == 0:
        return f"{name} = {_number(value[()])}"
    if value.size > SMALL or not value.size:
        shape = r" \times ".join(map(str, value.shape))
        return rf"{name} \in \mathbb{{R}}^{{{shape}}} \quad \text{{{summary(value, lang)}}}"
    rows = [" & ".join(map(_number, row)) for row in as_rows(value)]
    return rf"{name} = \begin{{bmatrix}} " + r" \\ ".join(rows) + r" \end{bmatrix}"


def _number(x: Any) -> str:
    return STYLES["latex"].number(number_text(x))


def _escaped(plain: str) -> str:
    for sign in "\\*_#[]<>|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain


TEX = {
    "\\": r"\textbackslash ", "_": r"\_", "#": r"\#", "%": r"\%", "&": r"\&", "×": r"$\times$",
    "∇": r"$\nabla$", "·": r"$\cdot$", "−": "$-$", "∂": r"$\partial$", "√": r"$\surd$",
}  # fmt: skip


def _tex(plain: str) -> str:
    return "".join(TEX.get(sign, sign) for sign in plain)
