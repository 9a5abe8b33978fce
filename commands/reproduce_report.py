"""What `chalkgrad reproduce` writes of its results: a table, what it means, and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy

from .. import drawing
from ..benchmarks.peers import table, write
from ..checks import is_number, is_whole
from ..drawing import BLUE, FAINT, GREY, INK, Curve
from ..engine.files import write_file
from ..engine.json_files import read_json
from ..engine.markup import rendered
from ..engine.streams import plain
from ..errors import DataError, MissingExtraError
from . import experiments
from .experiments import CLASSES, EXPERIMENTS
from .pictures import mistaken

Runs = Sequence[Mapping[str, Any]]
Results = Mapping[str, Runs]
IMAGES = 10_000
"""That a result is judged by."""
TRIALS = "trials.json"
"""In the folder of results: what was tried beforehand."""

DOCUMENTED = {"training_loss": 0.0664, "training_accuracy": 0.990, "loss": 0.0261, "accuracy": 0.987}
"""What the document reports of its program."""
KERAS = {"training_loss": "0.031", "training_accuracy": "99.1 %", "loss": "0.078", "accuracy": "97.6–97.8 %"}
"""About what the same program gives in Keras, after its 10 epochs."""
FIGURES = ("training_loss", "training_accuracy", "loss", "accuracy")


def write_report(results: Results, judged: str, quick: bool, out: Path, path: Path) -> None:
    """Write the Markdown file at `path`, with pictures in a folder beside it, and print the table.

    judged: "test" or "validation". out: the folder of the results, which is named there.
    """
    pictures: list[str] = []
    try:
        pictures = _pictures(results, path, judged)
    except MissingExtraError as error:
        click.echo(str(error))
    told = _told(results, judged)
    text = rendered(
        "commands/reproduction.md.jinja", results=results, experiments=EXPERIMENTS, documented=DOCUMENTED,
        judged=judged, quick=quick, out=out, table=told, seeds=_seeds(results, judged), trials=_trials(out),
        pictures=pictures, caption=_caption, why=_why([run["curves"] for run in results.get("documented", ())]),
    )  # fmt: skip
    write(str(path), text)
    click.echo(f"\n{told}\n\nwritten to {plain(path)}")


def _told(results: Results, judged: str) -> str:
    head = ["", "seeds", "epochs", "training loss", "training accuracy", f"{judged} loss", f"{judged} accuracy",
            "CPU minutes a seed"]  # fmt: skip
    rows = [
        ["the document", "", "10", *(_plain(name, DOCUMENTED[name]) for name in FIGURES), ""],
        ["Keras, the documented program, about", "", "10", *(KERAS[name] for name in FIGURES), ""],
    ]
    for name, runs in results.items():
        minutes = f"{'at most ' if len(runs) > 1 else ''}{max(run['cpu_seconds'] for run in runs) / 60:.1f}"
        cells = [_spread(figure, [run[figure] for run in runs]) for figure in FIGURES]
        rows.append([EXPERIMENTS[name].title, str(len(runs)), str(runs[0]["epochs"]), *cells, minutes])
    return table(head, rows)


def _seeds(results: Results, judged: str) -> str:
    rows = [
        [EXPERIMENTS[name].title, run["seed"], f"{run['loss']:.4f}", f"{run['accuracy']:.2%}",
         f"{run['cpu_seconds'] / 60:.1f}"]
        for name, runs in results.items() for run in runs
    ]  # fmt: skip
    return table(["", "seed", f"{judged} loss", f"{judged} accuracy", "CPU minutes"], rows)


def _plain(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if "accuracy" in name else f"{value:.4f}"


def _spread(name: str, values: Sequence[float]) -> str:
    """Mean ± standard deviation over the seeds."""
    mean = _plain(name, statistics.fmean(values))
    if len(values) < 2:
        return mean
    deviation = statistics.stdev(values)
    return f"{mean} ± {100 * deviation:.2f}" if "accuracy" in name else f"{mean} ± {deviation:.4f}"


def can_be_told(run: Mapping[str, Any]) -> bool:
    """Whether a result that was read from a file has all that a report tells of it."""
    try:
        curves = [run["curves"][name] for name in ("loss", "accuracy", "val_loss")]
        numbers = [run[name] for name in (*FIGURES, "cpu_seconds", "parameters")]
        numbers += [*run["confusion"], *(number for values in (*curves, *run["worst"]) for number in values)]
        lengths = {len(values) for values in curves}
        return (
            all(map(is_number, numbers)) and len(lengths) == 1 and min(lengths) > 0
            and len(run["confusion"]) == CLASSES**2 and sum(run["confusion"]) > 0
            and all(len(row) == 4 and is_whole(row[0]) and 0 <= row[0] < IMAGES for row in run["worst"])
            and isinstance(run["machine"], str) and isinstance(run["versions"], str)
        )  # fmt: skip
    except (KeyError, TypeError):
        return False


def _trials(out: Path) -> str:
    """What was tried beforehand, if the folder has it."""
    if not (out / TRIALS).exists():
        return ""
    try:
        trials = read_json(out / TRIALS)
        rows = [[t["what"], t["epochs"], f"{t['loss']:.4f}", f"{t['accuracy']:.2%}"] for t in trials]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{out / TRIALS} holds no trials: {error}. Delete it, or make it anew.") from error
    return table(["trial", "epochs", "validation loss", "validation accuracy"], rows)


def _why(curves: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float | None] | None:
    """What the documented test loss is set beside: the lowest of any seed after any epoch.

    accuracy: in training, at the first epoch that reached the documented training loss; None where a seed never did.
    """
    if not curves:
        return None
    at = [
        next((n for n, loss in enumerate(run["loss"]) if loss <= DOCUMENTED["training_loss"]), None) for run in curves
    ]
    reached = [run["accuracy"][n] for run, n in zip(curves, at, strict=True) if n is not None]
    return {
        "lowest": min(min(run["val_loss"]) for run in curves),
        "accuracy": statistics.fmean(reached) if len(reached) == len(curves) else None,
    }


def _caption(picture: str) -> str:
    """What is on a picture, by its name."""
    name, _, what = picture.removeprefix("reproduction-").removesuffix(".png").rpartition("-")
    told = {"curves": "Loss by epoch, every seed", "confusion": "which digits were mistaken, on average over the seeds",
            "mistakes": "the worst mistakes of seed 0"}[what]  # fmt: skip
    return f"{EXPERIMENTS[name].title}: {told}" if name else told


def _pictures(results: Results, path: Path, judged: str) -> list[str]:
    """Write the pictures into `pictures/` beside the report; returns their names."""
    made = {"reproduction-curves.png": _curves(results, judged)}
    _, (images, _) = experiments.mnist(judged == "validation")
    for name, runs in results.items():
        run, title = runs[0], EXPERIMENTS[name].title
        made[f"reproduction-{name}-confusion.png"] = _confusion(runs, title)
        made[f"reproduction-{name}-mistakes.png"] = mistaken(
            f"{title}, seed {run['seed']}: the worst mistakes", images, [row[:3] for row in run["worst"]],
            [f"{label}: {probability:.1%}" for _, label, _, probability in run["worst"]],
        )  # fmt: skip
    for name, data in made.items():
        write_file(path.parent / "pictures" / name, data)
    return list(made)


def _curves(results: Results, judged: str) -> bytes:
    """The judged loss by epoch, one line a seed, one panel an experiment; the documented loss as a dashed line."""
    figure, panels = drawing.panels(4.2 * len(results), [3.4], len(results))
    for axes, (name, runs) in zip(panels, results.items(), strict=True):
        losses = [run["curves"]["val_loss"] for run in runs]
        lines = [Curve("", range(1, len(values) + 1), values, BLUE, 1, marked=False) for values in losses]
        drawing.plot(axes, lines, title=f"{EXPERIMENTS[name].title}: {judged} loss", x="epoch")
        axes.axhline(DOCUMENTED["loss"], color=GREY, linestyle="--", linewidth=1)
        drawing.note(axes, "documented", (1, DOCUMENTED["loss"]), (0, 9), xycoords=("axes fraction", "data"),
                     ha="right", color=GREY)  # fmt: skip
        axes.set_ylim(0, max(0.12, *(3 * values[-1] for values in losses)))
    return drawing.png(figure)


def _confusion(runs: Runs, title: str) -> bytes:
    """How often each digit was taken for each other one, on average over the seeds; right answers are left out."""
    counts = numpy.mean([numpy.reshape(run["confusion"], (CLASSES, CLASSES)) for run in runs], axis=0)
    right = counts.trace() / counts.sum()
    numpy.fill_diagonal(counts, 0)
    figure, (axes,) = drawing.panels(5, [4.6])
    drawing.frame(axes, f"{title}: mistakes, {right:.2%} right", "taken for", "true digit")
    axes.grid(visible=False)
    axes.imshow(counts, cmap="Blues", vmin=0)
    for row, column in numpy.argwhere(counts > 0):
        dark = counts[row, column] > 0.6 * counts.max()
        axes.text(column, row, f"{counts[row, column]:.3g}", ha="center", va="center", fontsize=8,
                  color="white" if dark else INK)  # fmt: skip
    axes.set_xticks(range(CLASSES))
    axes.set_yticks(range(CLASSES))
    axes.tick_params(length=0)
    axes.spines[:].set(color=FAINT, visible=True)
    return drawing.png(figure)
