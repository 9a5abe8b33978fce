"""Ids looked up in a table that is learned."""

from __future__ import annotations

from typing import Any

import numpy

from ...checks import whole
from ...engine import backend
from ...engine.tensor import Tensor
from ...errors import DataError
from ...ops.lookup import embedding
from ..initializers import Initializer, make_initializer
from .base import Beginnings, Layer, Shape, Weights


class Embedding(Layer):
    """The row of a table for each id: (batch, …) of whole numbers becomes (batch, …, output_dim).

    input_dim: how many ids there are, 0 … input_dim - 1; another is a DataError that names its row. embeddings_
    initializer: how the table (input_dim, output_dim) begins. mask_zero: the id 0 stands for nothing; layers behind
    this one that know of masks leave its places out. input_length: as input_shape=(input_length,).
    """

    takes_integers, supports_masking = True, True
    config_names = ("input_dim", "output_dim", "embeddings_initializer", "mask_zero")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: str | Initializer = "random_uniform",
        mask_zero: bool = False,
        input_length: int | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        length = None if input_length is None else (whole("Embedding", "input_length", input_length),)
        super().__init__(length if input_shape is None else input_shape, name)
        self.input_dim = whole("Embedding", "input_dim", input_dim)
        self.output_dim = whole("Embedding", "output_dim", output_dim)
        self.embeddings_initializer, self.mask_zero = embeddings_initializer, bool(mask_zero)
        self._initializer = make_initializer(embeddings_initializer)

    @property
    def makes_mask(self) -> bool:  # type: ignore[override]
        """As mask_zero says."""
        return self.mask_zero

    def compute_mask(self, x: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """With mask_zero, whether the id is another than 0."""
        return x != 0 if self.mask_zero else mask

    def check_samples(self, values: Any, what: str) -> None:
        if not (backend.fetch(values.min()) < 0 or backend.fetch(values.max()) >= self.input_dim):
            return
        wrong = ((values < 0) | (values >= self.input_dim)).reshape(len(values), -1)
        row = int(backend.fetch(wrong.any(axis=1).argmax()))
        found = backend.fetch(values.reshape(len(values), -1)[row, int(backend.fetch(wrong[row].argmax()))])
        raise DataError(
            f"{what} has the id {found} in row {row}, the first such: {self.name} takes 0 … {self.input_dim - 1}."
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def weights_for(self, input_shape: Shape) -> Beginnings:
        return {"embeddings": ((self.input_dim, self.output_dim), self._initializer)}

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        return embedding(weights["embeddings"], x)
