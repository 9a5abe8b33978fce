"""`chalkgrad playground`: a small net that learns on a page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ..deploy.playground import playground
from ..engine.files import write_file
from ..engine.streams import plain


def write(out: str, open_page: bool, lang: str) -> None:
    """Write the page into a file, and show it in the browser where that is asked for."""
    path = Path(out)
    write_file(path, playground(lang))
    click.echo(f"{plain(out)}: {path.stat().st_size / 1000:,.0f} KB")
    if open_page:
        webbrowser.open(path.resolve().as_uri())
