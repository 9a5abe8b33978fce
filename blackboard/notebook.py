"""An explanation as a notebook: what is told, and code that computes each step of it anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy

from .explanation import Explanation, Quantity, Return, Revision, Step
from .handouts import Markdown
from .scenes import Scene
from .story import SHOWN

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook(scenes: Iterable[Scene], title: str, lang: str = "en", made: Mapping[str, str] | None = None) -> str:
    """The scenes as a notebook, by its JSON. made: by its title, code that makes an explanation anew.

    Behind each scene of such an explanation stands a cell that computes what the scene shows, from what it was given.
    """
    cells = [_cell("markdown", f"# {title}"), _cell("code", "import numpy\nimport chalkgrad as cg")]
    for scene, drawn in Markdown(lang).parts(scenes):
        cells.append(_cell("markdown", "\n\n".join(drawn)))
        code = code_of(scene, made or {})
        if code:
            cells.append(_cell("code", code))
    numbered = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": KERNEL}, "cells": numbered}
    return json.dumps(book, ensure_ascii=False, indent=1) + "\n"


def code_of(scene: Scene, made: Mapping[str, str]) -> str:
    """Python code that computes what a scene shows, from what the scenes before it computed; "" where there is none."""
    own = scene.explanation
    if scene.code:
        return scene.code
    if own is None or own.title not in made or max(len(own.forward), len(own.backward)) > SHOWN:
        return ""
    subject = scene.subject
    if isinstance(subject, Explanation):
        return _given(subject, made[own.title])
    if isinstance(subject, Step):
        return f"{_name(subject.result)} = {_applied(subject)}\n{_name(subject.result)}"
    if isinstance(subject, Return):
        return "\n".join(_returned(subject, own.loss))
    return "\n".join(_updated(subject)) if isinstance(subject, Revision) else ""


def _given(explanation: Explanation, made: str) -> str:
    lines = [f"{made}  # what it was made of"]
    for quantity in explanation.quantities:
        if quantity.role in ("input", "weight", "target", "constant"):
            lines.append(f"{_name(quantity)} = cg.tensor(explained[{quantity.id!r}].value)")
    return "\n".join(lines)


def _applied(step: Step, position: int | None = None) -> str:
    """The step's primitive applied; position: of the operand that is called `u`."""
    names = ["u" if i == position else _operand(operand) for i, operand in enumerate(step.operands)]
    operands = f"({', '.join(names)}{',' * (len(names) == 1)})"
    parameters = ", ".join(f"{name!r}: {_literal(value)}" for name, value in step.application.parameters.items())
    return f"cg.registry[{step.primitive.name!r}].compute({operands}, {{{parameters}}})"


def _literal(value: Any) -> str:
    """A parameter, as code."""
    if isinstance(value, (numpy.dtype, type)):
        return repr(numpy.dtype(value).name)
    return f"numpy.{value!r}" if isinstance(value, numpy.ndarray) else repr(value)


def _returned(back: Return, loss: Quantity) -> Iterator[str]:
    """The rule of one operand, by the engine's vector-Jacobian product; where there are several, they add up."""
    result, gradient = back.step.result, f"g{_name(back.operand)}"
    if result is loss:
        yield f"g{_name(loss)} = numpy.ones_like({_name(loss)}.numpy())"
    yield f"_, pull = cg.vjp(lambda u: {_applied(back.step, back.sent.position)}, {_name(back.operand)})"
    yield f"{gradient} = {f'{gradient} + ' * (back.turn > 1)}pull(g{_name(result)})[0]"
    yield gradient


def _updated(revision: Revision) -> Iterator[str]:
    """The statements of the update as they are written: they are Python."""
    weight, arrays = _name(revision.quantity), revision.assignments[0].arrays
    yield "from numpy import sqrt"
    yield f"def updated({', '.join(arrays)}):"
    yield from (f"    {one.equation.text}" for one in revision.assignments)
    yield "    return theta"
    yield f"revision = next(r for r in explained.update if r.quantity.id == {revision.quantity.id!r})"
    yield "state = revision.assignments[0].arrays"
    known = {"theta": f"{weight}.numpy()"}
    if revision.quantity.gradient is not None:
        known["g"] = f"g{weight}.numpy()"
    given = (
        f"{name}={known.get(name) or (f'state[{name!r}]' if hasattr(value, 'shape') else repr(value))}"
        for name, value in arrays.items()
    )
    yield f"{weight}_after = updated({', '.join(given)})"
    yield f"{weight}_after"


def _operand(operand: Any) -> str:
    return _name(operand) if isinstance(operand, Quantity) else repr(operand)


def _name(quantity: Quantity) -> str:
    return quantity.id


def _cell(kind: str, source: str) -> dict[str, Any]:
    more: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **more}
