"""`chalkgrad export`: a trained model as a file for where people use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import datasets
from ..deploy.export import export as write
from ..deploy.onnx_import import import_onnx as read
from ..engine.streams import plain
from ..errors import ChalkgradError
from ..models import load_model
from .run_folder import FACT, model_path


def export(run: str, target: str, **options: Any) -> int:
    """Write the model of a run, or of a model file, as the target's ending says; returns the exit code.

    Test images of the run's data set come with it, where they are at hand.
    """
    if options.pop("uint8", None):
        options["scale"] = 1 / 255
    path = model_path(run)
    model = load_model(path)
    if target.endswith(".html"):
        options |= test_data(model)
    facts = write(model, target, **{name: value for name, value in options.items() if value is not None})
    size = Path(target).stat().st_size
    click.echo(f"{plain(target)}: {size / 1000:,.0f} KB")
    for name, value in facts.items():
        click.echo(f"  {name}: {value:.2%}" if "accuracy" in name else f"  {name}: {value:.2g}")
    return 0


def import_onnx(source: str, target: str) -> int:
    """Make a model file of an ONNX file; returns the exit code."""
    model = read(source)
    model.save(target)
    learned = sum(w.size for w in model.trainable_weights)
    click.echo(f"{plain(target)}: {learned:,} weights that are learned, {len(model.layers[-1].nodes):,} operators")
    return 0


def test_data(model: Any) -> dict[str, Any]:
    """Test images and labels of the data set that the model was trained on; nothing where they cannot be had."""
    name = model.facts.get(FACT, {}).get("dataset")
    try:
        x, labels = datasets.load(name)[1]
    except (ChalkgradError, TypeError):
        click.echo(
            "no test images are at hand: the page compares itself on random ones, and tells no accuracy.", err=True
        )
        return {}
    return {"samples": x.astype("float32") / 255, "labels": labels}
