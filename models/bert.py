"""BERT: blocks that look at the whole text, for its meaning and for words left out (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import unknown_name
from ..nn.initializers import RandomNormal
from ..nn.layers import Dense, Dropout, Embedding, LayerNormalization
from ..ops.creation import zeros_like
from ..ops.linalg import matmul
from ..ops.shapes import transpose
from . import world
from .transformer import SPREAD, Block, Shift, Transformer, numbers, steps_of

HEADS = "pooled", "tokens"


class BERT(Transformer):
    """What each token means in its text: ids (batch, steps) become (batch, steps, width), the last hidden state.

    A call takes attention_mask= (batch, steps), 0 for what is padding, and segments= (batch, steps), which of two texts
    a token is of. vocabulary, positions, segments_there_are: how many tokens, steps and segments there are. width,
    depth, heads, hidden: numbers a step has, blocks, heads of each, numbers between a block's dense layers. head:
    "pooled" gives (batch, width), a dense layer with tanh on the first token; "tokens" logits (batch, steps,
    vocabulary) of what each token is, by a last layer that is the table of tokens (tied).
    """

    layout: ClassVar = world.BERT
    takes_ids = True
    configurations: ClassVar = {
        "bert-base": {}, "bert-large": {"width": 1024, "depth": 24, "heads": 16, "hidden": 4096},
        "minilm-l6": {"width": 384, "depth": 6, "heads": 12, "hidden": 1536},
    }  # fmt: skip

    def __init__(
        self, vocabulary: int = 30522, positions: int = 512, width: int = 768, depth: int = 12, heads: int = 12,
        hidden: int = 3072, segments_there_are: int = 2, dropout: float = 0.1, activation: str = "gelu",
        epsilon: float = 1e-12, head: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        if head is not None and head not in HEADS:
            raise unknown_name("head", head, HEADS)
        self.vocabulary, self.positions, self.width, self.depth, self.heads = vocabulary, positions, width, depth, heads
        self.hidden, self.segments_there_are, self.dropout = hidden, segments_there_are, dropout
        self.activation, self.epsilon, self.head = activation, epsilon, head
        first = RandomNormal(stddev=SPREAD)
        self.words, self.places = Embedding(vocabulary, width, first), Embedding(positions, width, first)
        self.segments = Embedding(segments_there_are, width, first)
        self.norm, self.drop = LayerNormalization(epsilon=epsilon), Dropout(dropout)
        self.layer = [Block(width, heads, hidden, activation, epsilon, dropout, norm_first=False) for _ in range(depth)]
        if head == "pooled":
            self.pooler = Dense(width, "tanh", kernel_initializer=first)
        if head == "tokens":
            self.transform = Dense(width, activation, kernel_initializer=first)
            self.transform_norm = LayerNormalization(epsilon=epsilon)
            self.shift = Shift()

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of a batch of outputs."""
        if self.head == "pooled":
            return (input_shape[0], self.width)
        return (*input_shape, self.vocabulary if self.head == "tokens" else self.width)

    def call(self, ids: Any, attention_mask: Any = None, segments: Any = None) -> Any:
        """See the class."""
        places = numbers(0, steps_of(ids), self.positions, ids)
        segments = zeros_like(places) if segments is None else segments
        x = self.drop(self.norm(self.words(ids) + self.places(places) + self.segments(segments)))
        for block in self.layer:
            x = self.through(block, x, attention_mask=attention_mask)
        if self.head == "pooled":
            return self.pooler(x[:, 0])
        if self.head == "tokens":
            return self.shift(
                matmul(self.transform_norm(self.transform(x)), transpose(self.words.weights["embeddings"]))
            )
        return x
