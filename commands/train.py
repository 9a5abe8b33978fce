"""`chalkgrad train`: load, train, show, and keep everything in a run's folder."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tempfile
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy

from ..distributed import TIMEOUT, Group, here, launched
from ..engine.cuda.launch import prepare
from ..errors import DataError, DivergenceError, MissingExtraError
from ..nn import History
from ..nn.ahead import computing
from ..nn.callbacks import Callback, Logs
from ..nn.model import Model
from ..nn.state import told
from ..signals import held_back
from .history import print_history
from .run_folder import COMPLETE, DIVERGED, MODEL, SETTINGS, STOPPED, WATCHED, RunFolder, settings_of
from .settings import Settings
from .train_images import Images
from .train_text import TEXTS, Text
from .words import said


class SaveEachEpoch(Callback):
    """Keep the last whole epoch in the run's folder, so that an end at any moment leaves a model that works.

    saved: the history until there, empty before the first. seconds: keep how far an epoch has come, too, when so many
    have gone since the last time. begins: what makes it ready to write, on a rank that does so once others have died.
    """

    writes = True
    each_batch = False

    def __init__(self, folder: RunFolder, seconds: float, saved: History, begins: Callable[[], None] | None) -> None:
        self.folder, self.seconds, self._begins = folder, seconds, begins
        self.saved = saved
        self.diverged = False
        self.since = time.monotonic()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self._begins:
            self._begins()
            self.saved = self.model.history.before(len(self.model.history.epoch))

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """All callbacks have heard of the batch before."""
        if time.monotonic() - self.since >= self.seconds:
            with held_back(), contextlib.suppress(DivergenceError):  # which is told at the epoch's end
                self._save()

    def _save(self) -> None:
        self.folder.save(self.model)
        self.since = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not all(math.isfinite(value) for value in logs.values()):
            self.diverged = self.model.stop_training = True
            return
        with held_back():
            self._save()
            self.saved = self.model.history.before(epoch + 1)

    @property
    def test(self) -> dict[str, float]:
        """The test figures of the epoch that was saved last."""
        return _test_figures({name: values[-1] for name, values in self.saved.history.items() if values})

    def finish(self, state: str) -> None:
        """Write what shows the run, if there is something to show."""
        if self.saved.epoch:
            # what ended it otherwise is told, not that there was no room for this as well: the model is whole
            with held_back(), contextlib.suppress(*([] if state == COMPLETE else [DataError])):
                self.folder.finish(self.saved, state, self.test)


class OpenPage(Callback):
    """Open the page in a browser as soon as it is there."""

    writes = True
    each_batch = False

    def __init__(self, page: Path) -> None:
        self.page, self.opened = page, False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not self.opened and self.page.exists():
            self.opened = True
            webbrowser.open(self.page.as_uri())


@dataclass(frozen=True)
class Shown:
    """How a training is shown. verbose: as `fit` takes it; 0 prints the result alone. lang: of messages and page.

    watch: write a page into the folder that shows the training while it goes on. in_browser: open it in a browser.
    """

    verbose: int | str = "auto"
    lang: str = "en"
    watch: bool = False
    in_browser: bool = False


@dataclass(frozen=True)
class Kept:
    """Where a run is kept. out: its folder, by default a new one in runs/. overwrite: also where it holds another run.

    resume: go on with the run that is there. seconds: see SaveEachEpoch. timeout: of ranks, see Group.
    """

    out: str | None = None
    overwrite: bool = False
    resume: bool = False
    seconds: float = 60.0
    timeout: float = TIMEOUT


def train(settings: Settings, kept: Kept, shown: Shown) -> int:
    """Train as `settings` say; returns the exit code: 0, or 128 + the number of the signal that has ended it.

    Raises ChalkgradError before training where the folder, the data or the device cannot be used, and
    DivergenceError where the loss became NaN or infinite; what was saved until then stays.
    """
    plan, path = settings.complete(), None if kept.out is None else Path(kept.out)
    prepare(plan["device"], "float32")
    group = here(launched() > 1)
    with contextlib.ExitStack() as endings:
        muted, aside = endings.enter_context(contextlib.ExitStack()), bool(group and not group.leads)
        if group:
            group.timeout = kept.timeout
            endings.enter_context(group.ending_all())
        if aside:
            muted.enter_context(contextlib.redirect_stdout(io.StringIO()))
            path = _aside(Path(endings.enter_context(tempfile.TemporaryDirectory())), path, kept)
            shown = Shown(shown.verbose if group and group.survives else 0, shown.lang)
        if group:
            group.gathered(None)  # who copies has copied
        folder = endings.enter_context(RunFolder(path, plan, overwrite=kept.overwrite, resume=kept.resume))
        run = Path(group.gathered(str(folder.path.absolute()))[0] if group else "")

        def take_over() -> None:
            muted.close()
            folder.take_over(run)

        return _train(settings, plan, folder, shown, kept.seconds, group, take_over if aside else None)


def _aside(place: Path, run: Path | None, kept: Kept) -> Path:
    """The folder of a rank that writes none of the run: a copy, where it goes on, of what the others go on with."""
    made = place / "run"
    made.mkdir()
    for name in (MODEL, SETTINGS) if kept.resume else ():
        if run and (run / name).exists():
            shutil.copy(run / name, made / name)
    return made


def _train(
    settings: Settings, plan: Mapping[str, Any], folder: RunFolder, shown: Shown, seconds: float, group: Group | None,
    take_over: Callable[[], None] | None,
) -> int:  # fmt: skip
    lang, known = shown.lang, folder.model(plan["device"])
    begin = len(known.history.epoch) if known else 0
    if begin >= plan["epochs"] and folder.state() == COMPLETE:
        click.echo(said("complete", lang, path=folder.path, epoch=begin, more=begin + 1))
        return 0
    of_text = settings.dataset in TEXTS
    if known and not of_text:
        settings.check_fits(known, folder.path)
    task: Text | Images = Text(plan, lang, begin) if of_text else Images(settings, lang)
    made: Any = task.make(plan)
    if known and not task.same(known, made, settings_of(folder.path)):
        raise DataError(f"{folder.path} cannot be gone on with: its model is another than its settings say.")
    folder.settings = {**folder.settings, **task.facts}
    if group:
        folder.settings |= {"ranks": group.size, "device": plan["device"].partition(":")[0]}
    model = known or made
    data: Any
    data, test = task.data(model)
    if shown.verbose:
        _announce(task.about, task.network(model, plan), model, plan, folder, lang)
    if known is not None:
        click.echo(said("resumed", lang, path=folder.path, epoch=begin))
        here = computing(model, len(data[0]), of_text)
        if (others := model.facts.get("versions", here)) != here:
            click.echo(said("versions", lang, others=told(others), ours=told(here)))
            model.facts["versions"] = here
    keeper = SaveEachEpoch(folder, seconds, model.history, take_over)
    followers: list[Callback] = [keeper]
    if shown.watch:
        followers.append(task.watcher(model, plan, folder))
        page = (folder.path / WATCHED).resolve()
        click.echo(said("watch", lang, page=page.as_uri()))
        if shown.in_browser:
            followers.append(OpenPage(page))
    state = STOPPED
    try:
        with numpy.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a loss gone wrong is told below
            model.fit(
                *data, batch_size=plan["batch_size"], epochs=plan["epochs"], validation_data=test,
                initial_epoch=begin, seed=settings.seed, verbose=shown.verbose, callbacks=followers,
                distributed=group or False,
            )  # fmt: skip
        state = DIVERGED if keeper.diverged else COMPLETE
    except KeyboardInterrupt as stopped:
        _interrupted(folder, keeper, lang)
        return getattr(stopped, "code", 130)
    except DivergenceError as error:
        state = DIVERGED
        raise _divergence(folder, keeper, plan["learning_rate"], lang, error.where) from error
    finally:
        keeper.finish(state)
    if group and not group.leads:
        return 0
    if keeper.diverged:
        raise _divergence(folder, keeper, plan["learning_rate"], lang)
    if shown.verbose:
        print_history(keeper.saved, lang)
    click.secho(said(task.figures, lang, **keeper.test), bold=True)
    for name, written in task.views(model, keeper.saved).items():
        try:
            folder.write(name, written())
        except MissingExtraError as error:
            click.echo(str(error))
            break
    click.echo(said("kept", lang, path=folder.path))
    if shown.verbose:
        click.echo(said(task.next, lang, path=folder.path))
    return 0


def _test_figures(logs: Logs) -> dict[str, float]:
    return {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}


def _announce(about: str, network: str, model: Model, plan: Mapping[str, Any], folder: RunFolder, lang: str) -> None:
    click.echo(about)
    click.echo(said("network", lang, network=network, parameters=model.count_params(), device=plan["device"]))
    click.echo(said("optimizer", lang, optimizer=plan["optimizer"], rate=plan["learning_rate"],
                    batch=plan["batch_size"], seed=plan["seed"]))  # fmt: skip
    if folder.replaces:
        click.echo(said("replaces", lang, path=folder.path))


def _interrupted(folder: RunFolder, keeper: SaveEachEpoch, lang: str) -> None:
    done = len(keeper.saved.epoch)
    if done:
        text = said("interrupted", lang, path=folder.path, epoch=done, accuracy=keeper.test["accuracy"])
        text += " " + said("goes on", lang, path=folder.path)
    elif folder.saved:
        text = said("interrupted early", lang, kept=said("goes on", lang, path=folder.path))
    else:
        text = said("interrupted early", lang, kept=_nothing_saved(folder, lang))
    click.echo(text, err=True)


def _divergence(
    folder: RunFolder, keeper: SaveEachEpoch, rate: float, lang: str, why: str = ""
) -> DivergenceError:  # fmt: skip
    done = len(keeper.saved.epoch)
    kept = said("holds", lang, path=folder.path, epoch=done) if done else _nothing_saved(folder, lang)
    return DivergenceError(said("diverged", lang, epoch=done + 1, why=why and f" ({why})", kept=kept, rate=rate))


def _nothing_saved(folder: RunFolder, lang: str) -> str:
    return said("unchanged", lang, path=folder.path) if folder.replaces else said("nothing", lang)
