"""What the three transformers have in common: the block of attention and two dense layers, and a model of blocks."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy

from ..checks import whole
from ..engine.recomputing import checkpoint
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError
from ..names import is_ours
from ..nn.initializers import RandomNormal, make_initializer
from ..nn.layers import Dense, Dropout, Layer, LayerNormalization, MultiHeadAttention
from ..nn.model import Model
from . import world

SPREAD = 0.02
"""The standard deviation of the first weights (Radford et al. 2018)."""


class Block(Layer, abstract=True):
    """x + attention(norm(x)), then x + dense(σ(dense(norm(x)))); normalised after the sum where `norm_first` is False
    (Vaswani et al. 2017; before it: Radford et al. 2019).

    width, heads, hidden: numbers a step has, heads of the attention, numbers between the dense layers. depth: blocks of
    the model, by which the first weights of what is added are scaled down. causal: no step looks at what comes after.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, activation: str, epsilon: float, dropout: float = 0.0,
        causal: bool = False, norm_first: bool = True, use_bias: bool = True, depth: int = 1, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name=name)
        if width % heads:
            raise ShapeError(f"a width of {width} does not divide into {heads} heads: {width % heads} are left over.")
        first, last = RandomNormal(stddev=SPREAD), RandomNormal(stddev=SPREAD / math.sqrt(2 * depth))
        self.width, self.heads, self.hidden, self.activation, self.epsilon = width, heads, hidden, activation, epsilon
        self.dropout, self.causal, self.norm_first, self.use_bias = dropout, causal, norm_first, use_bias
        self.depth = depth
        self.attention = MultiHeadAttention(
            heads, width // heads, dropout=dropout, use_bias=use_bias, kernel_initializer=first,
            output_initializer=last if causal else first,
        )  # fmt: skip
        self.norm_1, self.norm_2 = (LayerNormalization(epsilon=epsilon, center=use_bias) for _ in range(2))
        self.inner = Dense(hidden, activation, use_bias, kernel_initializer=first)
        self.outer = Dense(width, None, use_bias, kernel_initializer=last if causal else first)
        self.drop = Dropout(dropout)

    def call(self, x: Any, attention_mask: Any = None, past: Any = None) -> Any:  # type: ignore[override]
        """attention_mask: (batch, steps), 0 for what no step looks at. past: see MultiHeadAttention."""

        def attended(x: Any) -> Any:
            given = {"attention_mask": attention_mask, "use_causal_mask": self.causal, "past": past}
            return self.drop(self.attention(x, **given))

        if self.norm_first:
            x = x + attended(self.norm_1(x))
            return x + self.drop(self.outer(self.inner(self.norm_2(x))))
        x = self.norm_1(x + attended(x))
        return self.norm_2(x + self.drop(self.outer(self.inner(x))))


class Shift(Layer, abstract=True):
    """x + b, b being of the length of x's last axis."""

    def weights_for(self, input_shape: Any) -> Any:
        return {"bias": (input_shape[-1:], make_initializer("zeros"))}

    def apply(self, weights: Any, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Any:
        return x + weights["bias"]


class Transformer(Model):
    """A model of blocks, which can be loaded from and saved as the folders in which the world keeps such models.

    recompute: of each block keep what it is given alone, and compute the rest again in the reverse pass: less memory
    for a third more time (Chen et al. 2016). The gradients are the same to the bit.
    """

    layout: ClassVar[world.Layout]
    depth: int
    dropout: float
    sample: ClassVar[tuple[int | None, ...]] = (None,)
    """The shape of one sample."""

    def __init__(self, recompute: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.recompute = recompute

    def through(self, block: Block, x: Any, **given: Any) -> Any:
        """What a block makes of x."""
        return (checkpoint(block) if self.recompute else block)(x, **given)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if is_ours(cls):
            cls.__init__ = _counted(cls.__init__)  # type: ignore[method-assign]

    @property
    def longest(self) -> int | None:
        """How many steps a sequence has at most."""
        return getattr(self, "positions", None)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu", **options: Any) -> Self:
        """The model in a folder with `config.json` and `model.safetensors` (or its parts), as Hugging Face's
        transformers writes it, or in a file that `save` wrote; see `world.read` for what is refused.
        """
        if not os.path.isdir(path):
            return super().load(path, device, **options)
        made: Self = world.read(cls, path, device, **options)
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model into a file of chalkgrad's (`….safetensors`), or else as a folder that transformers reads."""
        if str(path).endswith((".safetensors", ".keras")):
            super().save(path)
        else:
            self.begin()
            world.write(self, path)

    def begin(self, generator: numpy.random.Generator | None = None) -> None:
        """Draw the weights, if there are none yet: from the seed, or from a generator."""
        if not self.built:
            self.draw(self.sample, generator)


def _counted(constructor: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose arguments that are annotated as whole numbers are checked to be some, of 1 or more."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def checked(*args: Any, **options: Any) -> None:
        given = signature.bind(*args, **options).arguments
        for name, value in given.items():
            if signature.parameters[name].annotation == "int":
                given[name] = whole(type(args[0]).__name__, name, value)
        constructor(**given.pop("options", {}), **given)

    return checked


def steps_of(ids: Tensor) -> int:
    """How many steps ids of shape (batch, steps) have; raises ShapeError for another shape."""
    if ids.ndim != 2:
        raise ShapeError(f"the model takes ids of shape (batch, steps), not {ids.shape}: one text is ids[None].")
    return int(ids.shape[1])


def numbers(start: int, count: int, most: int, like: Tensor) -> Tensor:
    """start … start + count - 1, on a tensor's device: the rows of a table of `most` positions for these steps."""
    if start + count > most:
        raise ShapeError(f"a sequence of {start + count} steps is longer than the {most} positions of the model.")
    return tensor(numpy.arange(start, start + count), device=like.device)
