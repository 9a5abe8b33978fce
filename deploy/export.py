"""`cg.export`: a model as a file for where people use it; the file's ending says what is made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.files import write_file
from ..errors import UsageError
from .page import page


def export(model: Any, path: str | os.PathLike[str], **options: Any) -> dict[str, float]:
    """Write the model into a file; its ending says as what. Returns what was measured.

    .html: a page that computes by itself; the options are those of `chalkgrad.deploy.page.page`.
    Raises UsageError for another ending, or for a model that such a file cannot have.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise UsageError(f"{os.fspath(path)}: a model is exported as {' or '.join(WRITERS)}, by the file's ending.")
    return WRITERS[ending](model, Path(path), **options)


def _page(model: Any, path: Path, **options: Any) -> dict[str, float]:
    text, facts = page(model, **options)
    write_file(path, text)
    return facts


WRITERS: dict[str, Callable[..., dict[str, float]]] = {".html": _page}
"""By the file's ending."""
