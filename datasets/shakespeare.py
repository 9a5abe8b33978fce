"""Forty thousand lines of Shakespeare in one text, on which small language models are tried.

Source: A. Karpathy, "char-rnn", 2015, of the plays as Project Gutenberg has them.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from pathlib import Path

from .originals import Original, Originals

MIRRORS = ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",)
EXTRACT = Path(__file__).with_suffix(".txt.gz")
ORIGINALS = Originals(
    "tinyshakespeare",
    "tinyshakespeare",
    {"input.txt": Original(1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")},
)


def load_text(
    path: str | os.PathLike[str] | None = None, *, mirrors: Iterable[str] = MIRRORS, progress: bool = True
) -> str:
    """The text: 1,115,394 characters, 65 different ones. Where its file is looked for, and what is raised, says
    `Originals.load`.
    """
    (data,) = ORIGINALS.load(path, mirrors, progress)
    return data.decode()


def extract() -> str:
    """The beginning of the text, 59,804 characters, which comes with the package."""
    return gzip.decompress(EXTRACT.read_bytes()).decode()
