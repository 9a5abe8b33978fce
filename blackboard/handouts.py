"""An explanation as a handout: Markdown with LaTeX in it, and a LaTeX document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..equation.latex import latex_text as _plain
from ..equation.styles import STYLES
from ..equation.symbols import number_text
from .scenes import Grid, Paragraph, Scene, Telling

LEVELS = {"documented": 3, "values": 2, "forward": 3, "backward": 3, "update": 3, "verdict": 2}
PREAMBLE = r"""\documentclass{article}
\usepackage{iftex,amsmath,amssymb,graphicx}
\usepackage[margin=2cm]{geometry}
\ifPDFTeX\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}\fi
"""
CHINESE = r"""% Chinese: xelatex or lualatex with ctex; without ctex, xelatex with a font that has the signs
\IfFileExists{ctex.sty}{\usepackage[UTF8]{ctex}}{%
  \usepackage{fontspec}\XeTeXlinebreaklocale "zh" \XeTeXlinebreakskip=0pt plus 1pt
  \IfFontExistsTF{Noto Serif CJK SC}{\setmainfont{Noto Serif CJK SC}}{\setmainfont{FandolSong}}}
"""
FITTED = r"""% An equation on a line of its own, made smaller where it is wider than the page
\newsavebox{\equationbox}
\newcommand{\fitted}[1]{\sbox{\equationbox}{$\displaystyle #1$}\par\medskip\noindent
  \ifdim\wd\equationbox>\linewidth\resizebox{\linewidth}{!}{\usebox{\equationbox}}\else\usebox{\equationbox}\fi
  \par\medskip}
\setlength{\parindent}{0pt}
"""


def markdown(scenes: Iterable[Scene], title: str, lang: str = "en") -> str:
    """The scenes as Markdown, mathematics between dollar signs."""
    parts = [part for _, drawn in Markdown(lang).parts(scenes) for part in drawn]
    return "\n\n".join([f"# {title}", *parts, ""])


def latex(scenes: Iterable[Scene], title: str, lang: str = "en") -> str:
    """The scenes as a LaTeX document, for pdflatex and xelatex; Chinese is for xelatex, with ctex where it is there."""
    parts = [part for _, drawn in Latex(lang).parts(scenes) for part in drawn]
    preamble = PREAMBLE + CHINESE * (lang == "zh") + FITTED
    begin = [r"\begin{document}", rf"\section*{{{latex_text(title)}}}"]
    return preamble + "\n".join([*begin, *parts, r"\end{document}", ""])


class _Handout(Telling[str]):
    """What Markdown and LaTeX have in common: mathematics."""

    style = "latex"

    def mathematics(self, written: str) -> str:
        """An equation on lines of its own."""
        raise NotImplementedError

    def told(self, name: str, words: str) -> str:
        """An array of which something is said in words."""
        return self.mathematics(rf"{name}:\ \text{{{latex_text(words)}}}")

    def number(self, name: str, value: Any) -> str:
        """name = number"""
        return self.mathematics(f"{name} = {_number(value)}")

    def matrix(self, name: str, rows: Any, shape: str) -> str:
        """Between brackets."""
        lines = r" \\ ".join(" & ".join(map(_number, row)) for row in rows)
        columns = "r" * len(rows[0])
        return self.mathematics(rf"{name} = \left[\begin{{array}}{{{columns}}} {lines} \end{{array}}\right]")


class Markdown(_Handout):
    """Writes Markdown."""

    def mathematics(self, written: str) -> str:
        """Between two dollar signs."""
        return f"$${written}$$"

    def chapter(self, title: str) -> str:
        """A heading of the second level."""
        return f"## {title}"

    def heading(self, scene: Scene) -> str:
        """A heading with the D numbers in bold."""
        numbers = "".join(f"**{number}** " for number in scene.badges)
        return f"{'#' * LEVELS[scene.phase]} {numbers}{_escaped(scene.title)}"

    def paragraph(self, block: Paragraph) -> str:
        """Quiet ones in italics."""
        return f"*{_escaped(block.text)}*" if block.kind == "quiet" else _escaped(block.text)

    def formula(self, label: str, written: str) -> str:
        """The label on a line before it."""
        return f"{_escaped(label.rstrip())}\n\n{self.mathematics(written)}"

    def grid(self, block: Grid) -> str:
        """A table."""
        lines = [block.columns, ["---"] * len(block.columns), *([*map(_escaped, row)] for row in block.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Latex(_Handout):
    """Writes LaTeX."""

    def mathematics(self, written: str) -> str:
        """As wide as the page at most."""
        return rf"\fitted{{{written}}}"

    def chapter(self, title: str) -> str:
        """A section."""
        return rf"\section*{{{latex_text(title)}}}"

    def heading(self, scene: Scene) -> str:
        """A subsection, the D numbers before its title."""
        return rf"\subsection*{{{latex_text('  '.join([*scene.badges, scene.title]))}}}"

    def paragraph(self, block: Paragraph) -> str:
        """A paragraph."""
        return f"{latex_text(block.text)}\n"

    def formula(self, label: str, written: str) -> str:
        """The label on a line before it."""
        return f"{latex_text(label.rstrip())}\n{self.mathematics(written)}"

    def grid(self, block: Grid) -> str:
        """A table."""
        rows = [" & ".join(map(latex_text, row)) + r" \\" for row in (block.columns, *block.rows)]
        columns = "l" + "r" * (len(block.columns) - 1)
        return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *rows, r"\end{tabular}", ""])


def latex_text(plain: str) -> str:
    """Text for LaTeX. ŷ is set as mathematics: fonts for Chinese do not have it."""
    return _plain(plain).replace("ŷ", r"$\hat{y}$")


def _number(x: Any) -> str:
    return STYLES["latex"].number(number_text(x))


def _escaped(plain: str) -> str:
    for sign in "\\*_#[]<>|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain
