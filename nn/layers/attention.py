"""Attention with several heads (Vaswani et al. 2017, section 3.2.2), with Keras's arguments and weights."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ...checks import number, whole
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError
from ...ops.activation import softmax
from ...ops.arithmetic import where
from ...ops.attention import attention, masked_attention
from ...ops.linalg import affine, matmul
from ...ops.logic import logical_and
from ...ops.shapes import concatenate
from ..initializers import Begin, Initializer, make_initializer
from .base import Beginnings, Layer, Shape, Weights
from .core import dropped

Past = list[tuple[Any, Any]]


class MultiHeadAttention(Layer):
    """softmax(q kᵀ / √key_dim) v for each of `num_heads` heads, put together by one more affine map.

    A call takes query (batch, queries, width), value and key (batch, keys, width), which are the query and the value by
    default. attention_mask: (batch, keys), (batch, queries, keys) or (batch, heads, queries, keys), 0 where a query
    does not look; use_causal_mask: no query looks at what comes after it. A mask of steps leaves out the keys that it
    says do not count.

    key_dim, value_dim: numbers of a head's keys and values (by default the same). dropout: of the attention's weights,
    in training; with it, or a mask for each query, the weights of all queries and keys are made. use_bias and
    initialisers: as for Dense; the kernels are (width, heads, key_dim) and (heads, value_dim, width).
    """

    supports_masking = True

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        output_initializer: str | Initializer | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        kind = "MultiHeadAttention"
        self.num_heads, self.key_dim = whole(kind, "num_heads", num_heads), whole(kind, "key_dim", key_dim)
        self.value_dim = None if value_dim is None else whole(kind, "value_dim", value_dim)
        self.dropout, self.use_bias = number(kind, "dropout", dropout, "[0, 1)"), bool(use_bias)
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer
        self.output_initializer = output_initializer

    def weights_for(self, input_shape: Shape) -> Beginnings:
        width, heads = input_shape[-1], self.num_heads
        sizes = {"query": self.key_dim, "key": self.key_dim, "value": self.value_dim or self.key_dim}
        kernel, bias = make_initializer(self.kernel_initializer), make_initializer(self.bias_initializer)
        last = make_initializer(self.output_initializer or self.kernel_initializer)
        found: dict[str, tuple[Shape, Begin]] = {}
        for name, size in sizes.items():
            found |= {f"{name}_kernel": ((width, heads, size), kernel), f"{name}_bias": ((heads, size), bias)}
        found |= {"output_kernel": ((heads, sizes["value"], width), last), "output_bias": ((width,), bias)}
        return {name: each for name, each in found.items() if self.use_bias or not name.endswith("bias")}

    def output_shape(self, input_shape: Any) -> Any:
        if len(input_shape) != 2:
            raise ShapeError(
                f"{self.name}: MultiHeadAttention takes batches of shape (batch, steps, width), not "
                f"(batch, {', '.join(map(str, input_shape))})."
            )
        return input_shape

    def apply(
        self,
        weights: Weights,
        x: Tensor,
        value: Tensor | None = None,
        key: Tensor | None = None,
        *,
        training: bool,
        generator: numpy.random.Generator | None,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        mask: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """past: keys and values of the steps before, which these come behind; a list that takes theirs, too."""
        value, key, attention_mask = (
            each if each is None or isinstance(each, Tensor) else tensor(each, device=x.device)
            for each in (value, key, attention_mask)
        )
        value = x if value is None else value
        key = value if key is None else key
        q, k, v = (self._heads(weights, name, each) for name, each in (("query", x), ("key", key), ("value", value)))
        first = past[0][0].shape[2] if past else 0  # the first query's place among the keys
        if past is not None:
            if past:
                k, v = (concatenate([before, new], axis=2) for before, new in zip(past[0], (k, v), strict=True))
            past[:] = [(k, v)]
        counts = attention_mask if mask is None or value is not x else _both(attention_mask, mask)
        if counts is not None:
            self._check_mask(counts.shape, (len(q), self.num_heads, q.shape[2], k.shape[2]))
        rate = self.dropout if training else 0.0
        aligned = not use_causal_mask or k.shape[2] == first + q.shape[2]
        if rate or not aligned or (counts is not None and counts.ndim > 2):
            y = self._whole(q, k, v, counts, first if use_causal_mask else None, rate, generator)
        elif counts is None:
            y = attention(q, k, v, causal=use_causal_mask)
        else:
            counts = (counts.reshape(len(counts), 1, -1) != 0).astype(q.dtype)
            y = masked_attention(q, k, v, counts, causal=use_causal_mask)
        rows = y.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
        kernel = weights["output_kernel"].reshape(-1, x.shape[-1])
        return affine(rows, kernel, weights["output_bias"]) if self.use_bias else matmul(rows, kernel)

    def _heads(self, weights: Weights, name: str, x: Tensor) -> Tensor:
        """x's queries, keys or values: (batch, heads, steps, size)."""
        kernel = weights[f"{name}_kernel"]
        if x.ndim != 3 or x.shape[-1] != kernel.shape[0]:
            raise ShapeError(
                f"{self.name}: the {name} has shape {x.shape}; it is (batch, steps, {kernel.shape[0]}), as wide as the "
                "query."
            )
        flat = kernel.reshape(kernel.shape[0], -1)
        rows = affine(x, flat, weights[f"{name}_bias"].reshape(-1)) if self.use_bias else matmul(x, flat)
        return rows.reshape(*x.shape[:2], *kernel.shape[1:]).transpose(0, 2, 1, 3)

    def _check_mask(self, shape: Shape, sizes: Shape) -> None:
        batch, heads, queries, keys = sizes
        for fits in ((batch, keys), (batch, queries, keys), (batch, heads, queries, keys)):
            if len(shape) == len(fits) and all(n in (1, m) for n, m in zip(shape, fits, strict=True)):
                return
        raise ShapeError(
            f"{self.name}: a mask of shape {shape} for {heads} heads with {queries} queries and {keys} keys each: it "
            f"is ({batch}, {keys}), ({batch}, {queries}, {keys}) or ({batch}, {heads}, {queries}, {keys})."
        )

    def _whole(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        first: int | None,
        rate: float,
        generator: numpy.random.Generator | None,
    ) -> Tensor:
        """With the weights of all queries and keys, as dropout and masks of queries want them. first: of a causal
        attention, the first query's place among the keys.
        """
        scores = matmul(q * (1 / math.sqrt(self.key_dim)), k.transpose(0, 1, 3, 2))
        seen = None if mask is None else _of_each_query(mask) != 0
        if first is not None:
            lower = Tensor(numpy.tri(q.shape[2], k.shape[2], first, dtype=bool))
            lower = lower if q.device == "cpu" else lower.to(q.device)
            seen = lower if seen is None else logical_and(seen, lower)
        least = -6e4 if scores.dtype.itemsize < 4 else -1e30
        p = softmax(scores if seen is None else where(seen, scores, least))
        return matmul(dropped(self.name, p, rate, generator) if rate else p, v)


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    """The mask of keys where both count; of the first one each query, if it has these."""
    if one is None or one.ndim == 2:
        return other if one is None else logical_and(one != 0, other != 0)
    return logical_and(_of_each_query(one) != 0, _of_each_query(other) != 0)


def _of_each_query(mask: Tensor) -> Tensor:
    """A mask with the axes (batch, heads, queries, keys)."""
    lengths = {2: (1, 1, mask.shape[1]), 3: (1, *mask.shape[1:])}.get(mask.ndim, mask.shape[1:])
    return mask.reshape(len(mask), *lengths)
