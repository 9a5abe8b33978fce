"""`chalkgrad explain` of a model of texts: what its heads of attention look at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..blackboard.heads import Heads, heads_of
from ..datasets.tokens import Tokens
from ..datasets.windows import Characters
from ..engine.json_files import read_json
from ..errors import ChalkgradError, DataError
from ..models import BERT, GPT
from .generate import writer
from .run_folder import model_path, settings_of
from .train_text import ALPHABET

CONFIG = "config.json"
TEXT = "The chalk writes on the board because it is soft."


@dataclass(frozen=True)
class Chosen:
    """The text, and what of it is looked at; layer, head and token are counted from 1."""

    words: str | None = None
    layer: int = 1
    head: int = 1
    token: int | None = None

    @property
    def given(self) -> bool:
        """Whether anything was chosen."""
        return self != NOTHING


NOTHING = Chosen()


def is_of_texts(path: str) -> bool:
    """Whether there is a model of texts: a folder of the world, or a run that has an alphabet."""
    if os.path.isfile(Path(path, CONFIG)):
        return True
    try:
        return ALPHABET in settings_of(model_path(path).parent)
    except ChalkgradError:  # there is no such run, which is told by whoever explains it
        return False


def heads_in(path: str, chosen: Chosen) -> Heads:
    """The heads of that model on the text; raises what loading it, reading the text and `heads_of` raise."""
    words, name = TEXT if chosen.words is None else chosen.words, Path(path).resolve().name
    described = Path(path, CONFIG)
    described_as = read_json(described) if described.is_file() else {}
    if isinstance(described_as, dict) and described_as.get("model_type") == BERT.layout.kind:
        model: BERT | GPT = BERT.load(path)
        letters: Characters | Tokens = Tokens(path, model.vocabulary)
    else:
        model, letters = writer(path, "cpu")
    if isinstance(letters, Tokens) and not letters.tokenizer.encode(words, add_special_tokens=False).ids:
        raise DataError(f"the text {words!r} has no tokens but those that the tokenizer puts around it.")
    ids = letters.encode(words)
    shown = [*words] if isinstance(letters, Characters) else [str(letters.tokenizer.id_to_token(each)) for each in ids]
    return heads_of(model, ids, shown, name)
