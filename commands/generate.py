"""`chalkgrad generate` and `chalkgrad embed`: what a model of texts writes, and what it takes texts to mean."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..datasets.tokens import Tokens
from ..datasets.windows import Characters
from ..engine.streams import plain
from ..errors import DataError
from ..models import BERT, GPT
from ..models.sentences import sentence_vectors
from .run_folder import model_path, settings_of
from .train_text import ALPHABET

END = "<|endoftext|>"
"""GPT-2's token for the end of a text."""


def generate(run: str, prompt: str, count: int, device: str, **options: Any) -> None:
    """Print the prompt, and `count` tokens that go on after it, each as soon as it is drawn.

    options: as `GPT.generate` takes them. Raises DataError where the run is of no text, or the prompt is not in its
    alphabet.
    """
    model, tokens = writer(run, device)
    stop = tokens.tokenizer.token_to_id(END) if isinstance(tokens, Tokens) else None
    ids = tokens.encode(prompt)
    drawn = model.generate(ids, count, stop=stop, **options)
    click.echo(plain(prompt), nl=False)
    for piece in tokens.pieces(drawn, before=ids):
        click.echo(plain(piece), nl=False)
    click.echo()


def writer(run: str, device: str) -> tuple[GPT, Characters | Tokens]:
    """The GPT of a run, or of a folder of the world, and what makes numbers of its texts. Raises DataError."""
    if os.path.isfile(Path(run, "config.json")):
        model = GPT.load(run, device)
        return model, Tokens(run, model.vocabulary)
    path = model_path(run)
    alphabet = settings_of(path.parent).get(ALPHABET)
    if not isinstance(alphabet, str):
        raise DataError(
            f"{run} is no run of a text: give one of `chalkgrad train shakespeare`, or a folder of GPT-2 with "
            "config.json, model.safetensors and tokenizer.json."
        )
    model, letters = GPT.load(path, device), Characters(alphabet=alphabet)
    if len(letters) != model.vocabulary:
        raise DataError(f"{run}: its alphabet of {len(letters)} does not fit the model, which has {model.vocabulary}.")
    return model, letters


def embed(folder: str, texts: Sequence[str], device: str, as_json: bool) -> None:
    """Print the texts, those first whose meaning is nearest to the first one's, with the cosine; or their vectors."""
    model = BERT.load(folder, device)
    vectors = sentence_vectors(model, Tokens(folder, model.vocabulary), texts)
    likeness = vectors @ vectors[0]
    if as_json:
        rows = zip(texts, likeness, vectors, strict=True)
        told = [{"text": text, "likeness": float(near), "vector": vector.tolist()} for text, near, vector in rows]
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for at in (-likeness).argsort(kind="stable"):
        click.echo(f"{likeness[at]:7.4f}  {plain(texts[at])}")
