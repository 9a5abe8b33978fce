"""`chalkgrad train`: load, train, show, and keep everything in a run's folder."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import tempfile
import time
import webbrowser
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy

from .. import datasets
from ..checks import is_number, is_whole
from ..distributed import TIMEOUT, Group, here, launched, own_device
from ..engine.cuda.launch import prepare
from ..errors import DataError, DivergenceError, MissingExtraError, UsageError
from ..nn import History, Sequential, layers, utils
from ..nn.ahead import computing
from ..nn.callbacks import Callback, Logs
from ..nn.checkpoint import Description
from ..nn.model import Model
from ..nn.schema import shown as seen
from ..nn.state import told
from ..optim import OPTIMIZERS, Optimizer, make_optimizer
from ..signals import held_back
from .history import print_history
from .run_folder import (
    COMPLETE,
    CURVES,
    DIVERGED,
    MISTAKES,
    MODEL,
    SETTINGS,
    STOPPED,
    WATCHED,
    RunFolder,
    is_run,
    settings_of,
)
from .train_text import TEXTS, Text
from .words import said

DEFAULTS = {
    "digits": {"epochs": 30, "batch_size": 32}, "mnist": {"epochs": 10, "batch_size": 128},
    "shakespeare": {"epochs": 8, "batch_size": 12},
}  # fmt: skip
"""What each data set is trained with. On digits every seed of 0 … 9 reaches 97 % of the test split in a second."""

CLASSES = 10
FILTERS = (16, 32)
"""Of the layers of a "cnn"."""
MODELS = ("mlp", "cnn")
OF_A_TEXT: dict[str, Any] = {"model": "gpt", "optimizer": "adamw", "hidden": ()}
"""What there is no choice of where a text is trained on."""
RATE = 1e-3
"""The highest learning rate there."""


def _count(value: Any) -> bool:
    return is_whole(value) and value >= 1


@dataclass(frozen=True)
class Settings:
    """What to train; epochs, batch_size and learning_rate of None are the data set's and the optimiser's own."""

    dataset: str = "digits"
    model: str = "mlp"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    optimizer: str = "adam"
    hidden: tuple[int, ...] = (128,)
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def asked(cls, values: Mapping[str, Any], given: Collection[str]) -> Settings:
        """The settings of options. given: those that were not left out; raises UsageError where one has no meaning."""
        if values["dataset"] not in TEXTS:
            return cls(**values)
        for name in (*OF_A_TEXT, "watch", "open_page"):
            if name in given:
                raise UsageError(f"--{name.removesuffix('_page')} is for images: a text is learnt by a GPT with AdamW.")
        return cls(**{**values, **OF_A_TEXT, "learning_rate": values["learning_rate"] or RATE})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """The settings that a run tells of; raises DataError where one of them is none."""
        right: dict[str, Callable[[Any], bool]] = {
            "dataset": lambda v: v in DEFAULTS, "optimizer": lambda v: v in OPTIMIZERS,
            "model": lambda v: v in ([OF_A_TEXT["model"]] if values["dataset"] in TEXTS else MODELS),
            "epochs": _count, "batch_size": _count, "seed": lambda v: v == 0 or _count(v),
            "learning_rate": lambda v: is_number(v) and 0 < v < math.inf,
            "hidden": lambda v: isinstance(v, list) and all(map(_count, v)), "device": lambda v: isinstance(v, str),
        }  # fmt: skip
        for name, holds in right.items():
            try:
                good = holds(values[name])
            except TypeError:  # a list is looked up among names
                good = False
            if not good:
                raise DataError(f"its {name} is {seen(values[name])}")
        return cls(**{**values, "hidden": tuple(values["hidden"])})

    def check_fits(self, model: Model, path: Path) -> None:
        """Raise DataError where a model has other layers than these settings make; none is made to see that."""
        dense = [layer.units for layer in model.layers if isinstance(layer, layers.Dense)]
        filters = [layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)]
        if (dense, filters) != ([*self.hidden, CLASSES], [*FILTERS] * (self.model == "cnn")):
            raise DataError(f"{path} cannot be gone on with: its model is another than its settings say.")

    def complete(self) -> dict[str, Any]:
        """The same as plain values, with the defaults filled in."""
        defaults = DEFAULTS[self.dataset]
        return {
            "dataset": self.dataset,
            "model": self.model,
            "epochs": self.epochs or defaults["epochs"],
            "batch_size": self.batch_size or defaults["batch_size"],
            "optimizer": self.optimizer,
            "learning_rate": self.make_optimizer().learning_rate,
            "hidden": list(self.hidden),
            "seed": self.seed,
            "device": own_device(self.device),
        }

    def make_optimizer(self) -> Optimizer:
        """The optimiser that was asked for."""
        optimizer = make_optimizer(self.optimizer)
        if self.learning_rate is not None:
            optimizer.learning_rate = self.learning_rate
        return optimizer


def settings_in(run: Path) -> Settings:
    """The settings of the run in a folder; raises DataError where it tells of none."""
    try:
        found = settings_of(run)
        return Settings.of({name: found.get(name) for name in Settings().complete()})
    except DataError as error:
        raise DataError(
            f"{run} does not tell how the model was trained ({str(error).removesuffix('.')}): give the folder of a "
            "run, as `chalkgrad train` writes it."
        ) from error


def settings_to_resume(run: str, given: Mapping[str, Any]) -> Settings:
    """The settings of the run in that folder. given: options beside --resume, by name.

    Raises UsageError for one of them that contradicts, DataError for a folder that holds no run or none that can be
    gone on with.
    """
    path = Path(run)
    if not is_run(path):
        raise DataError(
            f"{run} holds no run of chalkgrad: --resume takes the folder of one, as `chalkgrad train` says."
        )
    settings = settings_in(path)
    for name, value in given.items():
        own = getattr(settings, name)
        option = "DATASET" if name == "dataset" else f"--{name.replace('_', '-')}"
        if name == "epochs" and value >= own:
            settings = replace(settings, epochs=value)
        elif name == "epochs":
            raise UsageError(f"--epochs {value}: the run in {run} was to have {own}. More may be asked for, not fewer.")
        elif value != own and (name != "device" or own_device(value) != own_device(own)):
            raise UsageError(
                f"{option} {_option(value)} contradicts the run in {run}, which has {_option(own)}: leave it out, or "
                "begin a run of its own."
            )
    return settings


def _option(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


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


class Images:
    """Images of digits, and the network that tells them apart."""

    figures, next, facts = "test", "next", MappingProxyType[str, Any]({})

    def __init__(self, settings: Settings, lang: str) -> None:
        self.settings, self.lang = settings, lang
        (self.x, self.labels), (self.x_test, self.test_labels) = datasets.load(settings.dataset)
        self.about = said("images", lang, name=settings.dataset, count=len(self.x), test=len(self.x_test))

    def make(self, plan: Mapping[str, Any]) -> Sequential:
        """The network."""
        return make_model(self.x.shape[1:], self.settings, plan["device"])

    def same(self, known: Sequential, made: Sequential, told: Mapping[str, Any]) -> bool:
        """Whether a model is what training has made of another."""
        return _told(known) == _told(made)

    def data(self, model: Sequential) -> tuple[Any, Any]:
        """What it is trained on, and what it is tested on."""
        return training_data(self.x, self.labels, model), training_data(self.x_test, self.test_labels, model)

    def network(self, model: Sequential, plan: Mapping[str, Any]) -> str:
        """Its sizes."""
        dense = (math.prod(next(shape for shape in model.shapes if len(shape) == 1)), *plan["hidden"], CLASSES)
        sizes = "-".join(map(str, dense))
        if plan["model"] == "cnn":
            filters = said("convolutions", self.lang, filters=said("and", self.lang).join(map(str, FILTERS)))
            sizes = f"{'×'.join(map(str, model.shapes[0][:2]))}, {filters}, {sizes}"
        return sizes

    def watcher(self, model: Sequential, plan: Mapping[str, Any], folder: RunFolder) -> Callback:
        """What writes the page of the training."""
        from ..blackboard.watch import Watch

        data, test = self.data(model)
        rate = f"{plan['optimizer']}, α = {plan['learning_rate']:g}"
        return Watch(
            folder.path / WATCHED, *data, images=self.x_test, labels=self.test_labels, inputs=test[0], lang=self.lang,
            seed=plan["seed"], heading=f"{plan['dataset']} · {self.network(model, plan)}",
            note=f"{rate} · batch size {plan['batch_size']} · seed {plan['seed']} · {plan['device']}",
        )  # fmt: skip

    def views(self, model: Sequential, history: History) -> dict[str, Callable[[], bytes]]:
        """The files that show what came of it."""
        from . import pictures

        def mistakes() -> bytes:
            return pictures.mistakes(self.x_test, self.test_labels, model.predict(_pixels(self.x_test, model)))

        return {CURVES: lambda: pictures.curves(history), MISTAKES: mistakes}


def _told(model: Sequential) -> list[Any]:
    """What a file tells of a model that training does not change."""
    plain = Description(model).plain
    return [plain["layers"], plain["input_shape"], plain["dtype"], {**plain.get("compile", {}), "iterations": 0}]


def make_model(image: tuple[int, ...], settings: Settings, device: str) -> Sequential:
    """The network, compiled: hidden layers with ReLU, then softmax over ten classes.

    image: height and width. As "cnn" two layers of 16 and 32 convolutions with 3×3 kernels come first, each with ReLU
    and pooled by 2×2 (D2); as "mlp" each image is one row (D1).
    """
    first: list[layers.Layer] = []
    if settings.model == "cnn":
        for filters in FILTERS:
            first += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
        first.append(layers.Flatten())
    hidden = [layers.Dense(units, activation="relu") for units in settings.hidden]
    output = layers.Dense(CLASSES, activation="softmax")
    model = Sequential([*first, *hidden, output], seed=settings.seed, device=device, name=settings.dataset)
    model.compile(settings.make_optimizer(), loss="categorical_crossentropy", metrics=["accuracy"])
    model.build((*image, 1) if settings.model == "cnn" else (math.prod(image),))
    return model


def training_data(images: Any, labels: Any, model: Sequential) -> tuple[Any, Any]:
    """Images and labels as the network takes them: pixels in [0, 1], one-hot rows."""
    return _pixels(images, model), _one_hot(labels)


def _pixels(images: Any, model: Sequential) -> Any:
    return images.reshape(len(images), *model.shapes[0]).astype("float32") / 255


def _one_hot(labels: Any) -> Any:
    return utils.to_categorical(labels, CLASSES)


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
