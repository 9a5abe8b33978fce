"""ViT: an image as a sequence of patches, and the class of its first token (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import ShapeError
from ..nn.initializers import RandomNormal
from ..nn.layers import Conv2D, Dense, Dropout, Embedding, LayerNormalization
from ..ops.shapes import broadcast_to, concatenate
from . import world
from .transformer import SPREAD, Block, Transformer, numbers


class ViT(Transformer):
    """Logits of an image's classes: images (batch, channels, height, width), as files have them, to (batch, classes).

    image, patch: sides in pixels, of which the second divides the first. width, depth, heads, hidden: numbers a patch
    has, blocks, heads of each, numbers between a block's dense layers.
    """

    layout: ClassVar = world.VIT
    configurations: ClassVar = {
        "vit-base": {}, "vit-tiny": {"width": 192, "heads": 3, "hidden": 768},
        "vit-large": {"width": 1024, "depth": 24, "heads": 16, "hidden": 4096},
    }  # fmt: skip

    def __init__(
        self, classes: int = 1000, image: int = 224, patch: int = 16, channels: int = 3, width: int = 768,
        depth: int = 12, heads: int = 12, hidden: int = 3072, dropout: float = 0.0, activation: str = "gelu",
        epsilon: float = 1e-12, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        if image % patch:
            raise ShapeError(
                f"patches of {patch} pixels do not divide a side of {image}: {image % patch} are left over."
            )
        self.classes, self.image, self.patch, self.channels, self.width = classes, image, patch, channels, width
        self.depth, self.heads, self.hidden = depth, heads, hidden
        self.dropout, self.activation, self.epsilon = dropout, activation, epsilon
        first = RandomNormal(stddev=SPREAD)
        self.patches = Conv2D(width, patch, strides=patch, kernel_initializer=first)
        self.token, self.places = Embedding(1, width, first), Embedding(1 + (image // patch) ** 2, width, first)
        self.drop = Dropout(dropout)
        self.layer = [Block(width, heads, hidden, activation, epsilon, dropout) for _ in range(depth)]
        self.norm, self.head = LayerNormalization(epsilon=epsilon), Dense(classes, kernel_initializer=first)

    @property
    def sample(self) -> tuple[int | None, ...]:  # type: ignore[override]
        """The shape of one image."""
        return (self.channels, self.image, self.image)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of a batch of outputs."""
        return (input_shape[0], self.classes)

    def call(self, images: Any) -> Any:
        """See the class."""
        if tuple(images.shape[1:]) != self.sample:
            raise ShapeError(
                f"the model takes images of shape (batch, {', '.join(map(str, self.sample))}), not {images.shape}."
            )
        x = self.patches(images.transpose(0, 2, 3, 1))
        x = x.reshape(len(x), -1, self.width)
        places = numbers(0, 1 + x.shape[1], 1 + x.shape[1], x)
        token = broadcast_to(self.token(places[:1]), shape=(len(x), 1, self.width))
        x = self.drop(concatenate([token, x], axis=1) + self.places(places))
        for block in self.layer:
            x = self.through(block, x)
        return self.head(self.norm(x)[:, 0])
