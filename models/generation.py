"""Tokens that go on after others, drawn one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import numpy.typing

from ..checks import number, whole, wholes
from ..engine import random
from ..engine.tensor import tensor
from ..engine.untaped import no_grad
from ..errors import DataError

if TYPE_CHECKING:
    from .gpt import GPT

Logits = numpy.typing.NDArray[numpy.floating[Any]]


def generate(
    model: GPT,
    ids: Sequence[int],
    count: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: int | None = None,
    cache: bool = True,
) -> Iterator[int]:
    """`count` tokens that go on after `ids`, each as soon as it is drawn from the model's probabilities.

    temperature: what logits are divided by; 0 takes the most probable token each time. top_k: draw from so many of the
    most probable ones alone; top_p: from the fewest whose probabilities sum to this (Holtzman et al. 2020). seed: of
    what is drawn. stop: a token after which it ends. cache: keep the keys and values of the steps before, rather than
    compute them for each token; the tokens are the same. Where the model's positions are full, the later half goes on.

    Raises DataError for no ids, for ids that are no whole numbers or without a row in the table, and where what the
    model gives is not finite.
    """
    what = "generate"
    count, temperature = whole(what, "count", count, 0), number(what, "temperature", temperature, "[0, ∞)")
    top_k = None if top_k is None else whole(what, "top_k", top_k)
    top_p = None if top_p is None else number(what, "top_p", top_p, "(0, 1]")
    found = wholes(ids.tolist() if hasattr(ids, "tolist") else ids)
    if found is None:
        raise DataError(
            f"generate: the prompt is one sequence of whole numbers, the tokens of a text, not {ids!r:.80}."
        )
    if not (text := [*found]):
        raise DataError("generate: the prompt is empty: give one token at least to go on from.")
    wrong = [(at, each) for at, each in enumerate(text) if not 0 <= each < model.vocabulary]
    if wrong:
        at, token = wrong[0]
        raise DataError(f"generate: the token {token} in place {at} is none of the model's 0 … {model.vocabulary - 1}.")
    model.begin()
    drawing = random.generator(seed, "generate")
    return _tokens(model, text, count, temperature, top_k, top_p, drawing, stop, cache)


def _tokens(
    model: GPT, text: list[int], count: int, temperature: float, top_k: int | None, top_p: float | None,
    drawing: numpy.random.Generator, stop: int | None, cache: bool,
) -> Iterator[int]:  # fmt: skip
    most, first, known = model.positions, 0, 0
    past: list[list[Any]] = [[] for _ in model.h]
    for _ in range(count):
        if len(text) - first > most:
            first, known = len(text) - max(1, most // 2), 0
            past = [[] for _ in model.h]
        new = text[first + known :] if cache else text[first:]
        with no_grad():
            given = tensor(numpy.array([new]), device=model.device)
            logits = model.call(given, past=past if cache else None)[0, -1].numpy()
        known = len(text) - first
        text.append(drawn(logits, temperature, top_k, top_p, drawing))
        yield text[-1]
        if text[-1] == stop:
            return


def drawn(
    logits: Logits, temperature: float, top_k: int | None, top_p: float | None, drawing: numpy.random.Generator
) -> int:
    """A token by its logits, of shape (vocabulary,); see `generate`."""
    if not numpy.isfinite(logits).all():
        raise DataError("generate: the model's logits are not finite (NaN or infinity): look at its weights.")
    if not temperature:
        return int(logits.argmax())
    order = numpy.argsort(-logits, kind="stable")[:top_k]
    below = logits[order].astype(numpy.float64) - logits[order[0]]
    with numpy.errstate(over="ignore"):  # as temperature goes to 0, all but the most probable go to -∞
        p = numpy.exp(below / temperature)
    p /= p.sum()
    if top_p is not None:
        kept = 1 + int(numpy.searchsorted(numpy.cumsum(p), top_p))
        order, p = order[:kept], p[:kept] / p[:kept].sum()
    at = int(numpy.searchsorted(numpy.cumsum(p), drawing.random()))
    return int(order[min(at, len(order) - 1)])
