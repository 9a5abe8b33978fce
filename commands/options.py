"""What the options of the `chalkgrad` command take, and the options that several commands have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from ..blackboard.texts import LANGUAGES
from ..distributed import own_device
from ..errors import UsageError, unknown_name
from .settings import DEFAULTS


class Name(click.Choice):  # type: ignore[type-arg]  # generic only since click 8.2
    """One of several names; an unknown one is answered with the nearest."""

    def __init__(self, kind: str, known: Any) -> None:
        super().__init__(list(known))
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(str(unknown_name(self.kind, value, self.choices)), param, ctx)
        return str(value)


class Whole(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.2
    """A whole number of `least` or more."""

    name = "whole number"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if number < self.least:
            self.fail(f"{value!r} is not a whole number of {self.least} or more.", param, ctx)
        return number


class Sizes(click.ParamType):  # type: ignore[type-arg]
    """Sizes of hidden layers: "128", or several as in "128,64"."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        return tuple(Whole(1).convert(part, param, ctx) for part in str(value).split(","))


def check_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """The device's full name; a name that is none is wrong usage, a GPU that is not there an error of ours."""
    try:
        return own_device(value)
    except UsageError as error:
        raise click.BadParameter(str(error), ctx, param) from error


class Shape(click.ParamType):  # type: ignore[type-arg]
    """A shape: "3x4", "5", and "1" or "()" for a number."""

    name = "shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple) or value in ("1", "()"):
            return value if isinstance(value, tuple) else ()
        return tuple(Whole(0).convert(part, param, ctx) for part in str(value).replace("×", "x").split("x"))


def check_rate(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """The number, if it is greater than 0 and finite."""
    if value is not None and not 0 < value < math.inf:  # false for NaN as well
        raise click.BadParameter(f"{value} is not a number greater than 0.", ctx, param)
    return value


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def seed_option(what: str = "What all is drawn from.") -> Decorator:
    """--seed"""
    return click.option("--seed", type=Whole(0), metavar="N", default=0, show_default=True, help=what)


def lang_option(what: str) -> Decorator:
    """--lang"""
    return click.option(
        "--lang", type=Name("language", LANGUAGES), metavar="NAME", default="en", show_default=True, help=what
    )


device_option = click.option(
    "--device", metavar="NAME", default="cpu", show_default=True, callback=check_device,
    help="cpu, gpu, gpu:N, or auto: a GPU where one works, else cpu.",
)  # fmt: skip
shape_option = click.option(
    "--shape", "shapes", type=Shape(), metavar="3x4", multiple=True,
    help="Shape of a function's argument, once for each; 1 or () for a number.",
)  # fmt: skip


def by_dataset(option: str) -> str:
    """The default that each data set has for the option, as the help shows it."""
    return "  [default: " + ", ".join(f"{values[option]} for {name}" for name, values in DEFAULTS.items()) + "]"
