"""What whole texts mean, as vectors: what means the like lies near."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import numpy.typing

from ..datasets.tokens import Tokens
from ..engine.tensor import tensor
from ..engine.untaped import no_grad
from ..errors import DataError
from .bert import BERT

TOGETHER = 32
"""Texts that a model takes at once."""


def sentence_vectors(model: BERT, tokens: Tokens, texts: Sequence[str]) -> numpy.typing.NDArray[Any]:
    """The mean of the last hidden states over a text's tokens, of length 1 (Reimers & Gurevych 2019): (texts, width).

    Their products are the cosines of the angles between. Raises DataError for a text with more tokens than the model
    has positions, and for one without any.
    """
    vectors = numpy.empty((len(texts), model.width), model.dtype)
    for start in range(0, len(texts), TOGETHER):
        ids, mask = tokens.batch(texts[start : start + TOGETHER])
        for text, count in zip(texts[start:], mask.sum(1), strict=False):
            if not 0 < count <= model.positions:
                raise DataError(f"the text {text[:40]!r} has {count} tokens; the model takes 1 to {model.positions}.")
        with no_grad():
            given = (tensor(each, device=model.device) for each in (ids, mask))
            hidden = model.call(*given).numpy()
        means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        vectors[start : start + len(ids)] = means / numpy.linalg.norm(means, axis=1, keepdims=True)
    return vectors
