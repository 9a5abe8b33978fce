"""`chalkgrad explain`: the documented equations with live numbers, of the worked example, a training or a function."""

from __future__ import annotations

import math
import os
import sys
import webbrowser
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from .. import datasets
from ..blackboard.explain import explain as explained
from ..blackboard.explanation import Explanation
from ..blackboard.heads import heads_page
from ..blackboard.heads import scenes as heads_scenes
from ..blackboard.lesson import lesson, lesson_page, sources
from ..blackboard.scenes import Scene
from ..blackboard.story import story
from ..blackboard.terminal import show
from ..blackboard.texts import check_language, text
from ..engine import random
from ..engine.files import replacing
from ..engine.streams import plain
from ..errors import UsageError, unknown_name
from ..nn import Sequential
from ..nn.callbacks import Callback, Logs
from .explain_heads import NOTHING, Chosen, heads_in, is_of_texts
from .run_folder import model_path
from .settings import Settings, settings_in
from .train_images import make_model, training_data

WORKED, DIGITS = "worked-example", "digits"
FORMATS = ("terminal", "html", "markdown", "latex", "notebook")
ENDINGS = {"html": ".html", "markdown": ".md", "latex": ".tex", "notebook": ".ipynb"}


@dataclass(frozen=True)
class Request:
    """What to explain, and how to show it. step: of a training; None for where it stands."""

    what: str = WORKED
    step: int | None = None
    form: str = "terminal"
    lang: str = "en"
    out: str | None = None
    open_page: bool = False
    step_by_step: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()
    seed: int = 0
    chosen: Chosen = NOTHING


def explain(request: Request) -> int:
    """Explain, and show or write; returns the exit code.

    Raises UsageError for what cannot be explained, DataError where a run or a file cannot be read or written.
    """
    check_language(request.lang)
    if request.form not in FORMATS:
        raise unknown_name("format", request.form, FORMATS)
    if request.open_page and request.form != "html":
        raise UsageError("--open shows the page: give --format html with it.")
    if request.step_by_step and request.form != "terminal":
        raise UsageError("--step-by-step is for the terminal: leave --format out.")
    if request.what not in (WORKED, DIGITS) and is_of_texts(request.what):
        return _heads(request)
    if request.chosen.given:
        raise UsageError("--text, --layer, --head and --token are for a model of texts.")
    explanation = None if request.what == WORKED else explanation_of(request)
    if explanation:
        scenes = story(explanation, request.lang, documents=explanation.kind == "model")
    else:
        scenes = lesson(request.step or 0, request.lang)
    if request.form == "terminal":
        return _in_terminal(scenes, request)
    title = explanation.title if explanation else text("title.worked", request.lang)
    _write(request, _written(request, scenes, explanation, title))
    return 0


def _heads(request: Request) -> int:
    """What the heads of a model of texts look at."""
    chosen = request.chosen
    if request.step is not None:
        raise UsageError("--step is for a training of images: a model of texts is explained as it stands.")
    heads = heads_in(request.what, chosen)
    asked = heads, chosen.layer, chosen.head, request.lang, chosen.token
    scenes = heads_scenes(*asked)
    if request.form == "terminal":
        return _in_terminal(scenes, request)
    _write(request, heads_page(*asked) if request.form == "html" else _written(request, scenes, None, heads.title))
    return 0


def explanation_of(request: Request) -> Explanation:
    """The explanation of a training, a run, or a function. Raises UsageError where there is nothing of that name."""
    if ".py:" in request.what or request.what.endswith(".py"):
        if request.step is not None:
            raise UsageError("--step is for a training: a function is explained where it is called.")
        return _of_function(request)
    if request.what == DIGITS and not os.path.lexists(DIGITS):
        return at_step(Settings(seed=request.seed), request.step or 0)
    if not os.path.lexists(request.what):
        raise UsageError(
            f"there is nothing named {request.what!r} to explain: it takes {WORKED}, {DIGITS}, a run's folder, "
            "a model of texts, or FILE.py:FUNCTION."
        )
    return _of_run(request)


def _of_function(request: Request) -> Explanation:
    from .prove_targets import Function, Options, find_targets, running

    target = find_targets([request.what], Options(seed=request.seed, shapes=request.shapes))[0]
    if not isinstance(target, Function) or target.gradient:
        raise UsageError(f"{request.what} is no function of chalkgrad's tensors.")
    with running(target.label, target.path):
        return explained(target.function, *target.inputs, title=target.name)


def _of_run(request: Request) -> Explanation:
    path = model_path(request.what)
    settings = settings_in(path.parent)
    model = Sequential.load(path)
    settings.check_fits(model, path)
    if request.step is not None:
        return at_step(settings, request.step)
    return _step_of(model, settings, len(model.history.epoch) * steps_of(settings), path.parent.name)


def at_step(settings: Settings, step: int) -> Explanation:
    """The training of these settings, taken as far as `step` updates, and its next update explained."""
    (x, labels), _ = datasets.load(settings.dataset)
    model = make_model(x.shape[1:], settings, "cpu")
    plan = settings.complete()
    if step:
        data = training_data(x, labels, model)
        epochs = math.ceil(step / steps_of(settings))
        model.fit(
            *data, batch_size=plan["batch_size"], epochs=epochs, seed=settings.seed, verbose=0, callbacks=[_Until(step)]
        )
    return _step_of(model, settings, step, settings.dataset)


def steps_of(settings: Settings) -> int:
    """Updates an epoch."""
    (x, _), _ = datasets.load(settings.dataset)
    size: int = settings.complete()["batch_size"]
    return math.ceil(len(x) / size)


class _Until(Callback):
    """Ends the training after so many updates."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.left -= 1
        self.model.stop_training = self.model.stop_training or not self.left


def _step_of(model: Sequential, settings: Settings, step: int, name: str) -> Explanation:
    """The update after `step` others, on the batch that the training takes then."""
    (x, labels), _ = datasets.load(settings.dataset)
    size = settings.complete()["batch_size"]
    epoch, batch = divmod(step, math.ceil(len(x) / size))
    order = random.generator(settings.seed, f"shuffle {epoch}").permutation(len(x))
    rows = order[batch * size : (batch + 1) * size]
    explanation = explained(model, *training_data(x[rows], labels[rows], model), title=name)
    explanation.step_number = step
    return explanation


def _in_terminal(scenes: Iterable[Scene], request: Request) -> int:
    show(scenes, request.lang, wait=_key(request.lang) if request.step_by_step else None)
    return 0


def _key(lang: str) -> Callable[[], bool]:
    """Waits for a key; False for q, or where no more can come."""
    if not sys.stdin.isatty():
        raise UsageError("--step-by-step waits for a key: run it in a terminal.")

    def wait() -> bool:
        click.secho(f"  — {text('press_a_key', lang)}", dim=True, nl=False)
        try:
            pressed = click.getchar()
        except (EOFError, KeyboardInterrupt):
            pressed = "q"
        click.echo("\r\033[K", nl=False)
        return pressed not in ("q", "Q", "\x03", "\x04", "\x1b")

    return wait


def _write(request: Request, contents: str) -> None:
    name = Path(request.what.rpartition(":")[2] or request.what).name
    path = Path(request.out or f"{name}{ENDINGS[request.form]}")
    with replacing(path) as temporary:
        temporary.write_text(contents, encoding="utf-8")
    click.echo(plain(path))
    if request.open_page:
        webbrowser.open(path.resolve().as_uri())


def _written(request: Request, scenes: Iterable[Scene], explanation: Explanation | None, title: str) -> str:
    from ..blackboard import handouts
    from ..blackboard.notebook import notebook
    from ..blackboard.page import page

    lang, step = request.lang, request.step or 0
    if request.form == "markdown":
        return handouts.markdown(scenes, title, lang)
    if request.form == "latex":
        return handouts.latex(scenes, title, lang)
    if request.form == "notebook":
        return notebook(scenes, title, lang, {title: _source(request)} if explanation else sources(step))
    return page([explanation], lang) if explanation else lesson_page(step, lang)


def _source(request: Request) -> str:
    """Python code that makes the explanation anew."""
    called = f"Request({request.what!r}, {request.step!r}, shapes={request.shapes!r}, seed={request.seed!r})"
    imported = "from chalkgrad.commands.explain import Request, explanation_of"
    return f"{imported}\nexplained = explanation_of({called})"
