"""What the site takes from the code: the documented equations, the registry, and the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import groupby, pairwise
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from chalkgrad import registry
from chalkgrad.blackboard.citations import Code, code_of
from chalkgrad.blackboard.documented import DOCUMENTED, Documented
from chalkgrad.blackboard.texts import text
from chalkgrad.engine.absent import KERAS
from chalkgrad.engine.piece import BASES
from chalkgrad.engine.primitive import Primitive
from chalkgrad.equation.notation import in_symbols
from chalkgrad.equation.styles import Symbol
from chalkgrad.equation.symbols import gradient_of, symbol_of
from chalkgrad.nn import metrics, models  # noqa: F401 - they fill the tables
from chalkgrad.optim import OPTIMIZERS, updates

UPDATED = {"g": Symbol("∇J")}
"""What an update equation calls the gradient."""


class Generated(SphinxDirective):
    """A directive that writes sections, in the language of the site."""

    @property
    def lang(self) -> str:
        """The language of the site."""
        return "zh" if self.config.language.startswith("zh") else "en"

    def section(self, name: str, title: str, contents: Iterable[nodes.Node]) -> nodes.section:
        """A section under an anchor."""
        return nodes.section("", nodes.title("", title), *contents, ids=[name], names=[name])

    def formula(self, label: str, mathml: str) -> nodes.raw:
        """A formula in MathML, with what it is called before it."""
        said = re.sub(
            r'(data-word="(\w+)">)[^<]*', lambda match: f"{match[1]}{text(match[2], self.lang)}\u00a0", mathml
        )
        shown = f'<span class="label">{label}</span>' if label else ""
        return nodes.raw(
            "", f'<div class="formula" tabindex="0">{shown}<math display="block">{said}</math></div>', format="html"
        )

    def link_to(self, code: Code) -> nodes.reference:
        """A link to a place in the highlighted source."""
        page = f"_modules/chalkgrad/{code.file.removesuffix('.py')}.html"
        uri = f"../{page}" if self.lang == "zh" else page  # the highlighted source is in the English part
        return nodes.reference("", f"{code.name} ({code.file}:{code.line})", refuri=f"{uri}#{code.name}", internal=True)

    def named(self, name: str, docstring: str, kernel: Any) -> nodes.paragraph:
        """A line that says what something is, and leads to its code."""
        file = kernel.__module__.removeprefix("chalkgrad.").replace(".", "/") + ".py"
        summary = docstring.partition("\n\n")[0].replace("\n", " ").strip()
        anchor, link = (
            nodes.target(ids=[name]),
            self.link_to(Code(kernel.__name__, file, kernel.__code__.co_firstlineno)),
        )
        return nodes.paragraph("", "", anchor, nodes.strong("", name), nodes.Text(f": {summary} "), link)


class DocumentedEquations(Generated):
    """D1 … D17: as the document has it, exact, what it leaves out, and the code that is it."""

    def run(self) -> list[nodes.Node]:
        return [self.section(entry.number.lower(), self._title(entry), self._told(entry)) for entry in DOCUMENTED]

    def _title(self, entry: Documented) -> str:
        return f"{entry.number} · {entry.title(self.lang)}"

    def _told(self, entry: Documented) -> Iterator[nodes.Node]:
        yield self.formula(text("documented", self.lang), entry.documented("mathml"))
        yield self.formula(text("exact", self.lang), entry.exact("mathml"))
        if entry.missing(self.lang):
            yield nodes.paragraph("", entry.missing(self.lang))
        line = nodes.paragraph("", text("source", self.lang) + ": ")
        for i, code in enumerate(code_of(entry.number)):
            line += [nodes.Text(" · " if i else ""), self.link_to(code)]
        yield line


class Registry(Generated):
    """Every primitive with its equation and the equations of its gradient, by family."""

    def run(self) -> list[nodes.Node]:
        return [self._family(name, list(members)) for name, members in groupby(_primitives(), key=_family)]

    def _family(self, name: str, members: list[Primitive]) -> nodes.section:
        told = (import_module(f"chalkgrad.ops.{name}").__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        contents: list[nodes.Node] = [nodes.paragraph("", told)]
        for primitive in members:
            contents += self._primitive(primitive)
        return self.section(f"family-{name}", name, contents)

    def _primitive(self, primitive: Primitive) -> Iterator[nodes.Node]:
        yield self.named(primitive.name, primitive.__doc__ or "", primitive.kernel)
        names = {f"g{n}": gradient_of(symbol_of(n)) for n in (*primitive.operands, primitive.equation.target)}
        yield self.formula("", in_symbols(primitive.equation, "mathml", names))
        for rule in primitive.rules.values():
            yield self.formula("", in_symbols(rule.equation, "mathml", names))


class Functions(Generated):
    """The registered primitives, by family, as `autofunction` shows them."""

    def run(self) -> list[nodes.Node]:
        names = [f"{one.__module__}.{one.name}{_called(one)}" for one in _primitives()]
        return self.parse_text_to_nodes("\n".join(f".. autofunction:: {name}\n" for name in names))


def _called(one: Primitive) -> str:
    """How it is called: as its kernel, which takes `xp` besides."""
    parameters = list(inspect.signature(one.kernel).parameters.values())[1:]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain))


class Updates(Generated):
    """The update equations of the optimisers."""

    def run(self) -> list[nodes.Node]:
        made: list[nodes.Node] = []
        for update in updates.values():
            made.append(self.named(update.name, update.__doc__ or "", update.declared))
            for one in update.statements:
                sign = "<-" if update.keeps(one.target) else "="
                made.append(self.formula("", in_symbols(one, "mathml", UPDATED, sign=sign)))
        return made


def _primitives() -> list[Primitive]:
    return sorted((p for p in registry.values() if p.__module__.startswith("chalkgrad.ops.")), key=_family)


def _family(primitive: Primitive) -> str:
    return primitive.__module__.rpartition(".")[2]


def as_restructured_text(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring, plain text with `code` in backticks and blocks set in by spaces, into what Sphinx takes."""
    written: list[str] = []
    for before, line in pairwise(["", *lines]):
        inside = bool(written) and written[-1].startswith("    ")
        if line.startswith("    ") and (inside or not before):
            written += [line] if any(w.startswith("    ") for w in written[-2:]) else ["", "::", "", line]
            continue
        parts = re.split(r"(`[^`]+`)", line.strip())
        written += [""] * bool(inside and line)
        written.append("".join(f"`{part}`" if i % 2 else _plain(part) for i, part in enumerate(parts)))
    lines[:] = written


def _plain(part: str) -> str:
    """Text in which nothing is a mark."""
    return re.sub(r"([\\*|_])", r"\\\1", part)


def across_languages(app: Sphinx, name: str, source: list[str]) -> None:
    """The two languages are two sites, one in a folder of the other: links between them lead to finished pages."""
    other = r"zh/" if not app.config.language.startswith("zh") else r"\.\./"
    link = rf"\[([^\]]+)\]\(({other}[\w-]+)\.(?:md|rst)\)"
    source[0] = re.sub(link, r'<a href="\2.html">\1</a>', source[0])


class Absent(Generated):
    """What Keras has and this engine has not, with the way out, as a table."""

    def run(self) -> list[nodes.Node]:
        """The table, a row an argument; those with the same way out share one."""
        shared: dict[str, list[str]] = {}
        for name, (_, instead) in KERAS.items():
            shared.setdefault(instead, []).append(name)
        group = nodes.tgroup("", nodes.colspec(colwidth=1), nodes.colspec(colwidth=2), cols=2)
        rows = []
        for instead, names in shared.items():
            literals = [part for name in names for part in (nodes.Text(", "), nodes.literal("", name))][1:]
            cells = nodes.paragraph("", "", *literals), nodes.paragraph("", instead)
            rows.append(nodes.row("", *(nodes.entry("", cell) for cell in cells)))
        group += nodes.tbody("", *rows)
        return [nodes.table("", group)]


class Pieces(Generated):
    """The losses, metrics, optimisers, schedules, … by kind, with the first line of what each says of itself."""

    def run(self) -> list[nodes.Node]:
        """A section a kind, and in it an entry a class, with its other names."""
        kinds = {f"{key}{'es' if key.endswith('s') else 's'}": [*base.kinds.values()] for key, base in BASES.items()}
        kinds["optimizers"] = [*dict.fromkeys(OPTIMIZERS.values())]
        sections: list[nodes.Node] = []
        for name, classes in kinds.items():
            entries = nodes.bullet_list()
            for kind in classes:
                summary = (kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ").strip()
                told = nodes.paragraph("", "", nodes.literal("", kind.__name__), nodes.Text(f": {summary}"))
                entries += nodes.list_item("", told)
            sections.append(self.section(f"pieces-{name}", name, [entries]))
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("documented-equations", DocumentedEquations)
    app.add_directive("registry", Registry)
    app.add_directive("updates", Updates)
    app.add_directive("functions", Functions)
    app.add_directive("absent", Absent)
    app.add_directive("pieces", Pieces)
    app.connect("source-read", across_languages)
    app.connect("autodoc-process-docstring", as_restructured_text)
    return {"version": "1", "parallel_read_safe": True}
