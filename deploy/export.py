"""`cg.export`: a model as a file for where people use it; the file's ending says what is made."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.files import write_file
from ..errors import UsageError
from .onnx_export import write_onnx
from .page import page


def export(model: Any, path: str | os.PathLike[str], **options: Any) -> dict[str, float]:
    """Write the model into a file; its ending says as what. Returns what was measured.

    .html: a page that computes by itself; the options are those of `chalkgrad.deploy.page.page`.
    .onnx: a file that other runtimes take; the options are those of `chalkgrad.deploy.onnx_export.write_onnx`.
    Raises UsageError for another ending, or for a model that such a file cannot have.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise UsageError(f"{os.fspath(path)}: a model is exported as {' or '.join(WRITERS)}, by the file's ending.")
    writer = WRITERS[ending]
    taken = list(inspect.signature(writer).parameters)
    for name in options:
        if name not in taken:
            raise UsageError(f"{name} is no option of a {ending} file.")
    return writer(model, Path(path), **options)


@functools.wraps(page)
def _page(model: Any, path: Path, **options: Any) -> dict[str, float]:
    text, facts = page(model, **options)
    write_file(path, text)
    return facts


WRITERS: dict[str, Callable[..., dict[str, float]]] = {".html": _page, ".onnx": write_onnx}
"""By the file's ending."""
