"""How the `chalkgrad` command ends: errors of ours in one line, wrong usage, signals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from ..engine.streams import plain
from ..errors import ChalkgradError, UsageError, unknown_name
from ..signals import stoppable


class Failure(click.ClickException):
    """An error of ours as the command tells it: one line, no traceback."""

    def show(self, file: Any = None) -> None:
        """Print it to stderr."""
        _say_last(f"{click.style('error:', fg='red')} {plain(self.message)}")


def _say_last(text: str) -> None:
    """Say on stderr how it ended, where that can be said."""
    with contextlib.suppress(ChalkgradError, OSError):
        click.echo(text, err=True)


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """What click says of wrong usage quotes what was typed: as it is shown."""
    try:
        yield
    except click.ClickException as error:
        vars(error).update(message=plain(error.message))
        raise


class Commands(click.Group):
    """A group whose commands end with exit code 1 for errors of ours, and quietly by a signal."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _shown():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with stoppable(), _shown():
                return super().invoke(ctx)
        except ChalkgradError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt as stopped:
            _say_last("\ninterrupted.")
            ctx.exit(getattr(stopped, "code", 130))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but an unknown command is answered with the nearest."""
        if args[0].isidentifier() and args[0] not in self.commands:
            ctx.fail(str(unknown_name("command", args[0], self.commands)))
        return super().resolve_command(ctx, args)


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """A UsageError within is wrong usage of the command under way: exit code 2, with a hint at its --help."""
    try:
        yield
    except UsageError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
