"""Scaled dot-product attention (Vaswani et al. 2017, eq. 1), some heads and queries at a time.

Of the weights p (queries × keys) none are kept: the way back makes them again (as Dao et al. 2022 do). A recorded step
on the CPU lists one call forward and one back.
"""

from __future__ import annotations

import functools
import math

import numpy

from ..engine.primitive import example, primitive
from ..engine.together import once
from ..errors import DataError, ShapeError
from ..replay import team
from .activation import softmax
from .one_call import as_one_call, packed, unpacked
from .shapes import swap_last

MOST = 1 << 17
"""Weights that are made at a time: they stay in the cache."""
SHARED = 1 << 15
"""Weights above which two cores share the heads: these go in an even number of parts."""
ROWS = 64
"""The least queries that are taken together, where a head is too large for that."""


def _parts(xp, q, k, causal):
    """What is taken at a time, on the CPU: some heads, and of these some queries. With few queries at a time a causal
    attention makes few weights that nobody looks at.
    """
    heads, queries, keys = q.shape[0], q.shape[1], k.shape[1]
    weights, few = heads * queries * keys, not causal or queries <= ROWS
    if xp is not numpy or (weights <= min(SHARED, MOST) and few):
        return [slice(0, heads)], [slice(0, queries)]
    step = queries
    if weights > MOST or not few:
        step = min(max(ROWS, MOST // keys), max(ROWS, queries // 4) if causal else queries)
    rows = [slice(at, min(at + step, queries)) for at in range(0, queries, step)]
    count = -(-heads // max(1, MOST // (min(step, queries) * keys)))
    count = min(heads, count + count % 2) if weights > SHARED else count
    return [slice(n * heads // count, (n + 1) * heads // count) for n in range(count)], rows


def _into(xp, out):
    """Where NumPy writes its result; elsewhere it makes a new array."""
    return {"out": out} if xp is numpy and out is not None else {}


def _scores(xp, q, k, mask, ahead):
    """q kᵀ / √width, -∞ where a query does not look: at masked keys, or more than `ahead` behind its own place."""
    scores = xp.matmul(q * (1 / math.sqrt(q.shape[-1])), swap_last(xp, k))
    if ahead is not None and ahead < k.shape[-2] - 1:
        if xp is numpy:  # in place, and of the keys that all queries look at none
            later = scores[..., ahead + 1 :]
            numpy.minimum(later, _limits(*later.shape[-2:], scores.dtype), out=later)
            return scores if mask is None else _counted(xp, scores, mask)
        last = xp.expand_dims(xp.arange(q.shape[-2]), 1) + ahead
        scores = xp.where(xp.expand_dims(xp.arange(k.shape[-2]), 0) <= last, scores, -math.inf)
    return scores if mask is None else _counted(xp, scores, mask)


def _counted(xp, scores, mask):
    return xp.where(xp.expand_dims(mask, -2) > 0, scores, -math.inf)


@functools.lru_cache(16)
def _limits(queries, keys, dtype):
    """∞ where a query looks at a key, -∞ where it does not, the first query looking at none of these."""
    limits = numpy.where(numpy.tri(queries, keys, -1), math.inf, -math.inf).astype(dtype)
    limits.flags.writeable = False
    return limits


def _exponentials(xp, scores, mask):
    """exp(scores - each query's greatest), times what its key counts; and of each query their sum."""
    shifted = xp.subtract(scores, xp.max(scores, axis=-1, keepdims=True), **_into(xp, scores))
    e = xp.exp(shifted, **_into(xp, shifted))
    if mask is not None:
        e = xp.multiply(e, xp.expand_dims(mask, -2), **_into(xp, e))
    return e, xp.sum(e, axis=-1, keepdims=True)


def _forward(xp, q, k, v, mask, ahead, out=None):
    """y of a part."""
    e, total = _exponentials(xp, _scores(xp, q, k, mask, ahead), mask)
    y = xp.matmul(e, v, **_into(xp, out))
    return xp.divide(y, total, **_into(xp, out))


def _back(xp, gy, q, k, v, mask, ahead):
    """The gradients of q, k and v from a part."""
    e, total = _exponentials(xp, _scores(xp, q, k, mask, ahead), mask)
    gy = gy / total  # rather than e, which is larger
    gv = xp.matmul(swap_last(xp, e), gy)
    slopes = xp.matmul(gy, swap_last(xp, v))
    mean = xp.expand_dims(xp.einsum("hij,hij->hi", e, slopes), -1) / total  # of one key alone exactly its slope
    slopes = xp.subtract(slopes, mean, **_into(xp, slopes))
    slopes = xp.multiply(slopes, e, **_into(xp, slopes))
    scale = 1 / math.sqrt(q.shape[-1])
    return xp.matmul(slopes, k) * scale, xp.matmul(swap_last(xp, slopes), q) * scale, gv


def _ahead(q, k, causal, rows):
    """How far beyond its own row a query of a part looks; which keys any of them looks at."""
    if not causal:
        return None, slice(None)
    ahead = k.shape[-2] - q.shape[-2] + rows.start
    return ahead, slice(0, ahead + rows.stop - rows.start)


def _run(xp, q, k, v, mask, *, causal, out=None):
    """y. q, k, v: (heads, rows, width); mask: (heads, keys), or None."""
    groups, parts = _parts(xp, q, k, causal)
    if len(groups) == len(parts) == 1:
        ahead, _ = _ahead(q, k, causal, parts[0])
        return _forward(xp, q, k, v, mask, ahead, out)
    y = numpy.empty((*q.shape[:2], v.shape[2]), q.dtype) if out is None else out

    def group(n):
        heads = groups[n]
        for rows in parts:
            ahead, keys = _ahead(q, k, causal, rows)
            seen = None if mask is None else mask[heads, keys]
            _forward(xp, q[heads, rows], k[heads, keys], v[heads, keys], seen, ahead, y[heads, rows])

    team.each(group, len(groups))
    return y


def _pull(xp, gy, q, k, v, mask, *, causal, out=None):
    """The gradients of q, k and v in one array."""
    groups, parts = _parts(xp, q, k, causal)
    if len(groups) == len(parts) == 1:
        ahead, _ = _ahead(q, k, causal, parts[0])
        return packed(xp, _back(xp, gy, q, k, v, mask, ahead))
    flat = numpy.empty(q.size + k.size + v.size, q.dtype) if out is None else out
    gq, gk, gv = unpacked(xp, flat, q.shape, k.shape, v.shape)

    def group(n):
        heads = groups[n]
        for rows in reversed(parts):  # the last queries first: they look at all keys
            ahead, keys = _ahead(q, k, causal, rows)
            seen = None if mask is None else mask[heads, keys]
            given = gy[heads, rows], q[heads, rows], k[heads, keys], v[heads, keys]
            gq[heads, rows], of_k, of_v = _back(xp, *given, seen, ahead)
            if rows.stop == q.shape[1]:
                gk[heads], gv[heads] = of_k, of_v
            else:
                gk[heads, keys] += of_k
                gv[heads, keys] += of_v

    team.each(group, len(groups))
    return flat


def _heads(xp, x):
    """All heads of all samples one after another: (heads, rows, width)."""
    return xp.reshape(x, (-1, *x.shape[-2:]))


def _mask_of_heads(xp, mask, q, k):
    return xp.reshape(xp.broadcast_to(mask, (*q.shape[:-2], k.shape[-2])), (-1, k.shape[-2]))


RUN, PULL = (
    {causal: as_one_call(made, functools.partial(made, numpy), causal=causal) for causal in (False, True)}
    for made in (_run, _pull)
)


def _value(xp, q, k, v, mask, causal):
    y = RUN[causal](xp, *(_heads(xp, x) for x in (q, k, v)), mask)
    return xp.reshape(y, (*q.shape[:-1], v.shape[-1]))


@once
def _gradients(xp, gy, q, k, v, mask, causal):
    """Those of q, k and v."""
    flat = [_heads(xp, x) for x in (q, k, v)]
    mask = None if mask is None else _mask_of_heads(xp, mask, q, k)
    pulled = PULL[causal](xp, _heads(xp, gy), *flat, mask)
    return unpacked(xp, pulled, q.shape, k.shape, v.shape)


_SCORES = "s[..., i, j] = sum(q[..., i, c] * k[..., j, c], c) / sqrt(q.shape[-1]); "
_WEIGHTS = (
    "e[..., i, j] = {counts}exp(s[..., i, j]) if causal * (j - i - k.shape[-2] + q.shape[-2]) <= 0 else 0; "
    "t[..., i] = sum(e[..., i, j], j); p[..., i, j] = e[..., i, j] / t[..., i]; "
)
_SLOPES = (
    "d[..., i, j] = sum(gy[..., i, f] * v[..., j, f], f); "
    "u[..., i] = sum(p[..., i, j] * d[..., i, j], j); "
    "z[..., i, j] = p[..., i, j] * (d[..., i, j] - u[..., i]) / sqrt(q.shape[-1]); "
)
FREE, MASKED = (_SCORES + _WEIGHTS.format(counts=counts) for counts in ("", "mask[..., j] * "))
"""The weights p: of every key, and where each counts as much as the mask says."""
VALUE = "y[..., i, f] = sum(p[..., i, j] * v[..., j, f], j)"
OF_Q = _SLOPES + "gq[..., i, c] = sum(z[..., i, j] * k[..., j, c], j)"
OF_K = _SLOPES + "gk[..., j, c] = sum(z[..., i, j] * q[..., i, c], i)"
OF_V = "gv[..., j, f] = sum(p[..., i, j] * gy[..., i, f], i)"


@primitive(
    FREE + VALUE,
    saves=("q", "k", "v"),
    domain={"q": (-1, 1), "k": (-1, 1)},
    examples=(
        example((3, 2), (4, 2), (4, 3)),
        example((2, 2, 2), (2, 3, 2), (2, 3, 1), causal=True),
    ),
)
def attention(xp, q, k, v, *, causal=False):
    """softmax(q kᵀ / √width) v: of the values v the mean that each query asks for (Vaswani et al. 2017, eq. 1).

    q: (…, queries, width); k: (…, keys, width); v: (…, keys, features). Returns (…, queries, features). causal: a query
    looks at the keys up to its own place alone, the last query's being that of the last key.
    """
    return _value(xp, q, k, v, None, causal)


@primitive(
    MASKED + VALUE,
    saves=("q", "k", "v", "mask"),
    domain={"q": (-1, 1), "k": (-1, 1), "mask": (0.1, 1)},
    examples=(example((2, 1, 3, 2), (2, 1, 3, 2), (2, 1, 3, 2), (2, 1, 3), causal=True),),
)
def masked_attention(xp, q, k, v, mask, *, causal=False):
    """`attention` in which each key counts as much as the mask says: 0 for not at all, 1 for wholly.

    mask: (…, keys), of which the axes before the last are q's, or 1. A query that may look at no key is a DataError on
    the CPU, where values are looked at without waiting, and NaN on a GPU. The mask has no gradient.
    """
    return _value(xp, q, k, v, _mask_of_heads(xp, mask, q, k), causal)


LEAST = 1e-30
"""What a mask says at least of a key that counts, where its logarithm is taken."""


def _written(xp, q, k, v, mask=None, *, causal):
    """By other primitives, the weights of all queries and keys at once, as ONNX has it."""
    scores = xp.matmul(q * (1 / math.sqrt(q.shape[-1])), swap_last(xp, k))
    if causal:
        ahead = numpy.tri(q.shape[-2], k.shape[-2], k.shape[-2] - q.shape[-2])
        scores = scores + numpy.where(ahead, 0, -math.inf).astype(scores.dtype)
    if mask is not None:
        weights = xp.where(mask > 0, xp.log(xp.maximum(mask.astype(scores.dtype), LEAST)), -math.inf)
        scores = scores + xp.expand_dims(weights, -2)
    return xp.matmul(softmax.apply(xp, scores), v)


attention.onnx(_written)
masked_attention.onnx(_written)


def _check(q, k, v, causal, mask=None):
    shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
    fits = min(len(x.shape) for x in (q, k, v)) > 1 and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not fits or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"attention takes q (…, queries, width), k (…, keys, width) and v (…, keys, features), not {shapes}."
        )
    if not (k.shape[-2] and q.shape[-1]):
        raise ShapeError(f"attention to no keys, or by no numbers: q, k and v have shapes {shapes}.")
    if causal and q.shape[-2] > k.shape[-2]:
        raise ShapeError(
            f"causal attention of {q.shape[-2]} queries to {k.shape[-2]} keys: the first queries would have no key. "
            "The last query stands at the last key's place."
        )
    if mask is not None:
        lead = (1,) * (len(q.shape) - 1 - len(mask.shape)) + tuple(mask.shape[:-1])
        near = len(lead) == len(q.shape) - 2 and all(n in (1, m) for n, m in zip(lead, q.shape, strict=False))
        if not mask.shape or mask.shape[-1] != k.shape[-2] or not near:
            raise ShapeError(f"attention: a mask of shape {tuple(mask.shape)} for {shapes}: it is (…, keys).")


@attention.check
def _(q, k, v, causal):
    _check(q, k, v, causal)


@masked_attention.check
def _(q, k, v, mask, causal):
    _check(q, k, v, causal, mask)


@masked_attention.check_values
def _(q, k, v, mask, causal):
    first = k.shape[-2] - q.shape[-2] + 1 if causal else k.shape[-2]
    if not (seen := (mask[..., :first] > 0).any(-1)).all():
        at = ", ".join(map(str, numpy.argwhere(~seen)[0])) or "0"
        raise DataError(
            f"attention: the mask leaves the first query of row {at} no key to look at: let at least one of its first "
            f"{first} be 1."
        )


attention.shares = masked_attention.shares = True
masked_attention.value_checker.in_each_replay = True  # type: ignore[union-attr]


@attention.vjp("q", FREE + OF_Q)
def _(xp, gy, q, k, v, causal):
    return _gradients(xp, gy, q, k, v, None, causal)[0]


@attention.vjp("k", FREE + OF_K)
def _(xp, gy, q, k, v, causal):
    return _gradients(xp, gy, q, k, v, None, causal)[1]


@attention.vjp("v", FREE + OF_V)
def _(xp, gy, q, k, v, causal):
    return _gradients(xp, gy, q, k, v, None, causal)[2]


@masked_attention.vjp("q", MASKED + OF_Q)
def _(xp, gy, q, k, v, mask, causal):
    return _gradients(xp, gy, q, k, v, mask, causal)[0]


@masked_attention.vjp("k", MASKED + OF_K)
def _(xp, gy, q, k, v, mask, causal):
    return _gradients(xp, gy, q, k, v, mask, causal)[1]


@masked_attention.vjp("v", MASKED + OF_V)
def _(xp, gy, q, k, v, mask, causal):
    return _gradients(xp, gy, q, k, v, mask, causal)[2]
