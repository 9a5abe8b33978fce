"""The heads of attention on a text: which tokens each token looks at, with the numbers (Vaswani et al. 2017, eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from ..engine.primitive import Primitive
from ..engine.tensor import Tensor, tensor
from ..engine.untaped import no_grad
from ..engine.watching import Application, Watching
from ..equation.notation import in_symbols
from ..equation.symbols import number_text
from ..errors import DataError, UsageError
from ..ops.attention import attention, masked_attention
from .document import document, said_in_both
from .plain import whole
from .scenes import Block, Formula, Grid, Paragraph, Scene
from .texts import LANGUAGES, check_language, text

Values = numpy.typing.NDArray[Any]
SHADES = "·░▒▓█"
"""Weights from 0 to the greatest of their row, in a terminal."""
MOST_PAIRS = 1_500_000
"""Weights on a page: some 16 MB."""
FEATURES = 3
"""Numbers of a value that are shown."""
ALONE = {"...": 0}
"""One head's arrays have no axes before the last two."""
VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}


@dataclass(frozen=True)
class Head:
    """One head on one text. scores: q kᵀ / √width (queries, keys), without the mask; weights: what a query looks at;
    values, outputs: (keys, features), (queries, features). The engine has computed all of it.
    """

    primitive: Primitive
    scores: Values
    weights: Values
    values: Values
    outputs: Values


@dataclass(frozen=True)
class Heads:
    """All heads of a model on one text. tokens: as they are shown; layers: the heads of each."""

    title: str
    tokens: Sequence[str]
    layers: Sequence[Sequence[Head]]

    def head(self, layer: int, head: int) -> Head:
        """One of them, both counted from 1. Raises UsageError where there is none of that number."""
        for name, value, most in (("layer", layer, len(self.layers)), ("head", head, len(self.layers[0]))):
            if not 1 <= value <= most:
                raise UsageError(f"--{name} {value}: {self.title} has the {name}s 1 to {most}.")
        return self.layers[layer - 1][head - 1]

    def row(self, token: int | None) -> int:
        """The row of a token that is counted from 1, the last by default. Raises UsageError where there is none."""
        token = len(self.tokens) if token is None else token
        if not 1 <= token <= len(self.tokens):
            raise UsageError(f"--token {token}: the text has the tokens 1 to {len(self.tokens)}.")
        return token - 1


def heads_of(model: Any, ids: Sequence[int], tokens: Sequence[str], title: str) -> Heads:
    """What the heads of a model look at in the tokens `ids`. Raises DataError for no tokens or too many, UsageError for
    a model without attention.
    """
    most = getattr(model, "longest", None) or max(1, len(ids))
    if not 0 < len(ids) <= most:
        raise DataError(f"the text has {len(ids)} tokens; {title} takes 1 to {most}.")
    with no_grad(), Watching() as seen:
        model.call(tensor(numpy.array([ids]), device=model.device))
    found = [each for each in seen.applications if each.primitive in (attention, masked_attention)]
    if not found:
        raise UsageError(f"{title} has no attention: give a GPT or a BERT.")
    return Heads(title, [VISIBLE.get(token, token) for token in tokens], [[*_heads(each)] for each in found])


def _heads(seen: Application) -> Iterator[Head]:
    """The heads of one layer: with the unit matrix for values, the primitive's own value is its weights."""
    q, k, v, *mask = (x if isinstance(x, Tensor) else tensor(x) for x in seen.operands)
    with no_grad():
        unit = numpy.broadcast_to(numpy.eye(k.shape[-2], dtype=k.dtype), (*k.shape[:-1], k.shape[-2]))
        weights = seen.primitive(q, k, tensor(unit, device=k.device), *mask, **seen.parameters)
        scores = (q @ k.swapaxes(-1, -2)) / float(numpy.sqrt(q.shape[-1]))
    arrays = [x.numpy()[0] for x in (scores, weights, v, seen.result)]
    for parts in zip(*arrays, strict=True):
        yield Head(seen.primitive, *parts)


def scenes(heads: Heads, layer: int, head: int, lang: str = "en", token: int | None = None) -> Iterator[Scene]:
    """What one head looks at, in words, signs and numbers. token: the query that is told in numbers, from 1."""
    one, at = heads.head(layer, head), heads.row(token)
    blocks: list[Block] = [
        Formula(text("equation", lang), lambda style: in_symbols(one.primitive.equation, style, axes=ALONE)),
        Paragraph(text("heads.shades", lang), "quiet"),
        Grid(["", "", ""], [_shaded(n, heads.tokens, one.weights[n]) for n in range(len(heads.tokens))]),
    ]
    yield Scene("values", text("heads.title", lang, layer=layer, head=head, name=heads.title), (), blocks)
    columns = ["", text("heads.key", lang), "s = q·k/√c", "p", *(f"v[{f}]" for f in range(FEATURES))]
    rows = [
        [str(j + 1), key, *map(number_text, (one.scores[at, j], p, *one.values[j, :FEATURES]))]
        for j, (key, p) in enumerate(zip(heads.tokens, one.weights[at], strict=True))
        if p
    ]
    sums = ["", "Σ p·v", "", number_text(one.weights[at].sum()), *map(number_text, one.outputs[at, :FEATURES])]
    title = text("heads.row", lang, place=at + 1, token=heads.tokens[at])
    yield Scene("values", title, (), [Grid(columns, [*rows, sums])])


def _shaded(n: int, tokens: Sequence[str], weights: Values) -> list[str]:
    levels = numpy.ceil(weights / weights.max() * (len(SHADES) - 1) - 1e-3).astype(int)
    return [str(n + 1), tokens[n], "".join(SHADES[level] for level in levels)]


def heads_page(heads: Heads, layer: int, head: int, lang: str = "en", token: int | None = None) -> str:
    """One HTML file: choose a layer, a head and a token; it opens with these, in this language.

    Raises UsageError where it would be too large for a browser.
    """
    check_language(lang)
    heads.head(layer, head)
    if (pairs := sum(map(len, heads.layers)) * len(heads.tokens) ** 2) > MOST_PAIRS:
        raise UsageError(
            f"{len(heads.tokens)} tokens have {pairs:,} weights in all heads of {heads.title}, a page {MOST_PAIRS:,}: "
            "give a shorter --text, or leave out --format html."
        )
    equation = in_symbols(heads.layers[0][0].primitive.equation, "mathml", axes=ALONE)
    told = {
        "tokens": [*heads.tokens], "equation": equation, "layer": layer - 1, "head": head - 1,
        "row": heads.row(token),
        "layers": [[_plain(one) for one in layer] for layer in heads.layers],
    }  # fmt: skip
    data = {**said_in_both(dict.fromkeys(LANGUAGES, heads.title), lang), "heads": told, "documented": {}}
    return document(data, {"heads": ""}, ("tools", "heads"))


def _plain(head: Head) -> dict[str, Any]:
    """The arrays as the page takes them."""
    named = {"scores": head.scores, "weights": head.weights, "values": head.values, "outputs": head.outputs}
    return {
        name: whole(numpy.ascontiguousarray(each if name in ("scores", "weights") else each[:, :FEATURES]))
        for name, each in named.items()
    }
