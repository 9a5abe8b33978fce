"""Names: of models, layers, metrics and files, shown as they are read; no text may command the terminal."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy
from numpy.random import Generator

from ....blackboard.explain import explain
from ....engine.streams import console
from ....nn import Sequential, layers
from ....nn.progress import BarProgress
from ..disturbing import TEXTS, disturbed_text, one_of
from . import Target

COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What commands a terminal, but line ends and tabs."""


def _named(rng: Generator, seed: list[str]) -> list[str]:
    return [disturbed_text(rng, name, TEXTS) if rng.random() < 0.7 else str(one_of(rng, TEXTS)) for name in seed]


def _shown(value: list[str], folder: Path) -> str:
    """All that is printed of a model with these names: training, summary, evaluation, history, files, explanation."""
    model_name, layer_name, metric_name, file_name = value

    def metric(xp: Any, y_true: Any, y_pred: Any) -> Any:
        return abs(y_true - y_pred).mean()

    metric.__name__ = metric_name
    model = Sequential([layers.Dense(2, "relu", name=layer_name), layers.Dense(1)], name=model_name, seed=0)
    model.compile("sgd", "mse", [metric])
    x, y = numpy.ones((4, 2), "float32"), numpy.ones((4, 1), "float32")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        model.fit(x, y, verbose=2)
        model.summary()
        model.evaluate(x, y)
        explain(model, x, y, numerical=False).show()
        console(file=None).print(f"{model.history!r}", model.name)
        progress = BarProgress()
        model.fit(x, y, epochs=2, initial_epoch=1, verbose=0, callbacks=[progress])
    path = folder / file_name.strip("/") if file_name.strip("/") else folder / "model"
    model.save(path)
    Sequential.load(path, compile=False)
    return out.getvalue()


def _is_sent(value: list[str], result: str) -> str | None:
    found = sorted({*COMMANDS.findall(result)})
    return f"sent to the terminal: {found}" if found else None


showing = Target("names", lambda: [["model", "hidden", "error", "a.safetensors"]], _named, _shown, _is_sent)
