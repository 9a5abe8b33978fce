"""What `chalkgrad train` trains on a text: a small GPT, as nanoGPT does (A. Karpathy, 2022)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import click
import numpy

from ..datasets import shakespeare
from ..datasets.originals import VARIABLE
from ..datasets.windows import Characters, Windows, split
from ..errors import DataError, UsageError
from ..models import GPT
from ..nn import History
from ..nn.callbacks import Callback
from ..nn.losses import SparseCategoricalCrossentropy
from ..optim import AdamW, CosineDecay, WarmUp
from .run_folder import CURVES, SAMPLE, RunFolder
from .words import said

TEXTS = ("shakespeare",)
ALPHABET = "alphabet"
"""What a run's settings call the characters of its text."""
STEPS = 250
"""Updates an epoch."""
WARM_UP, LEAST, DECAY, NORM = 100, 0.1, 0.1, 1.0
"""Updates until the learning rate is at its highest; the part of it that is left at the end; λ; the highest norm."""
TOGETHER = 64
"""Windows that are measured at once."""
LONG, TEMPERATURE = 300, 0.8
"""Characters of the sample, and how they are drawn."""


class Text:
    """Shakespeare, and the model that is to write the like.

    plan: what the run is asked to do. begin: the epochs that it has behind it.
    """

    figures, next = "validation", "next of a text"

    def __init__(self, plan: Mapping[str, Any], lang: str, begin: int) -> None:
        self.seed, self.lang = plan["seed"], lang
        text = _text(lang)
        self.letters = Characters(text)
        self.facts = {ALPHABET: self.letters.alphabet}
        train, validation = split(numpy.array(self.letters.encode(text), numpy.uint16))
        length = GPT.configurations["baby"]["positions"]
        self.train = Windows(train, length, plan["batch_size"], STEPS, self.seed)
        for _ in range(begin):
            self.train.on_epoch_end()
        self.validation = Windows(validation, length, TOGETHER)
        self.about = said("characters", lang, name=plan["dataset"], count=len(train), test=len(validation))

    def make(self, plan: Mapping[str, Any]) -> GPT:
        """The model, compiled. Weights decay where they are matrices."""
        sizes = {**GPT.configurations["baby"], "vocabulary": len(self.letters)}
        model = GPT(**sizes, seed=self.seed, device=plan["device"], name=plan["dataset"])
        highest, steps = plan["learning_rate"], plan["epochs"] * STEPS
        rate = WarmUp(CosineDecay(highest, max(1, steps - WARM_UP), LEAST * highest), WARM_UP)
        optimizer = AdamW(rate, beta_2=0.99, weight_decay=DECAY, global_clipnorm=NORM)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        model.compile(optimizer, loss=SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        model.begin()
        return model

    def same(self, known: GPT, made: GPT, told: Mapping[str, Any]) -> bool:
        """Whether a model is what training on this text has made of another. told: the settings of its run."""
        return known.get_config() == made.get_config() and told.get(ALPHABET) == self.letters.alphabet

    def data(self, model: GPT) -> tuple[Any, Any]:
        """What it is trained on, and what it is tested on."""
        return (self.train,), self.validation

    def network(self, model: GPT, plan: Mapping[str, Any]) -> str:
        """Its sizes."""
        return said("gpt", self.lang, depth=model.depth, width=model.width, heads=model.heads, steps=model.positions)

    def watcher(self, model: GPT, plan: Mapping[str, Any], folder: RunFolder) -> Callback:
        """There is no page of it."""
        raise UsageError("--watch is for images.")

    def views(self, model: GPT, history: History) -> dict[str, Callable[[], bytes]]:
        """The files that show what came of it: a sample, which is shown, too, and the curves."""
        from . import pictures

        def sample() -> bytes:
            ids = model.generate(self.letters.encode("\n"), LONG, temperature=TEMPERATURE, seed=self.seed)
            text = self.letters.decode([*ids])
            click.echo(text)
            return text.encode()

        return {SAMPLE: sample, CURVES: lambda: pictures.curves(history)}


def _text(lang: str) -> str:
    try:
        return shakespeare.load_text()
    except DataError:
        if os.environ.get(VARIABLE):
            raise
        click.echo(said("extract", lang), err=True)
        return shakespeare.extract()
