"""GPT-2: blocks that look at the past alone, and logits of the next token (Radford et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ..nn.initializers import RandomNormal
from ..nn.layers import Dropout, Embedding, LayerNormalization
from ..ops.linalg import matmul
from ..ops.shapes import transpose
from . import world
from .generation import generate
from .transformer import SPREAD, Block, Transformer, numbers, steps_of


class GPT(Transformer):
    """Logits of the next token after each: ids (batch, steps) become (batch, steps, vocabulary).

    vocabulary: how many tokens there are. positions: the longest sequence. width, depth, heads: numbers a step has,
    blocks, heads of each; the blocks' dense layers are 4 · width wide. The head is the table of tokens (tied). dropout:
    of embeddings, attention and what blocks add. use_bias: whether dense layers and normalisations shift.
    """

    layout: ClassVar = world.GPT
    takes_ids = True
    configurations: ClassVar[dict[str, dict[str, Any]]] = {
        "gpt2": {}, "gpt2-medium": {"width": 1024, "depth": 24, "heads": 16},
        "gpt2-large": {"width": 1280, "depth": 36, "heads": 20}, "gpt2-xl": {"width": 1600, "depth": 48, "heads": 25},
        "baby": {"vocabulary": 65, "positions": 64, "width": 128, "depth": 4, "heads": 4, "dropout": 0.0,
                 "activation": "gelu", "use_bias": False},
    }  # fmt: skip

    def __init__(
        self, vocabulary: int = 50257, positions: int = 1024, width: int = 768, depth: int = 12, heads: int = 12,
        dropout: float = 0.1, activation: str = "gelu_tanh", epsilon: float = 1e-5, use_bias: bool = True,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self.vocabulary, self.positions, self.width, self.depth, self.heads = vocabulary, positions, width, depth, heads
        self.dropout, self.activation, self.epsilon, self.use_bias = dropout, activation, epsilon, use_bias
        first = RandomNormal(stddev=SPREAD)
        self.wte, self.wpe = Embedding(vocabulary, width, first), Embedding(positions, width, first)
        self.drop = Dropout(dropout)
        self.h = [
            Block(width, heads, 4 * width, activation, epsilon, dropout, True, True, use_bias, depth)
            for _ in range(depth)
        ]
        self.norm = LayerNormalization(epsilon=epsilon, center=use_bias)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of a batch of outputs."""
        return (*input_shape, self.vocabulary)

    def call(self, ids: Any, past: Any = None) -> Any:
        """past: of each block the keys and values of the steps before, lists that take those of these steps, too."""
        start = past[0][0][0].shape[2] if past and past[0] else 0
        x = self.drop(self.wte(ids) + self.wpe(numbers(start, steps_of(ids), self.positions, ids)))
        for number, block in enumerate(self.h):
            x = self.through(block, x, past=None if past is None else past[number])
        return matmul(self.norm(x), transpose(self.wte.weights["embeddings"]))

    def generate(self, ids: Sequence[int], count: int, **options: Any) -> Iterator[int]:
        """Tokens that go on after `ids`, one by one; see `generation.generate`."""
        return generate(self, ids, count, **options)
