"""Recurrent layers' equations, each a primitive for the whole sequence: a step of training lists a few calls of it.

z is what comes in, x W + b, for all steps at once: (batch, steps, gates · units), the gates side by side as Keras has
them. r: (units, gates · units), the kernel of the state. h0, c0: (batch, units), what the state is before the first
step. mask: (batch, steps); where it is 0 the step leaves the state as it is.

On the CPU a recorded step lists the loop over time as one call (`as_one_call`), and the gradients' loop as a second.
Where the rules are differentiated in turn, and on a GPU, the same code runs through `xp`, call by call.
"""

from __future__ import annotations

from functools import partial

import numpy

from ..engine.primitive import example, primitive
from ..engine.together import once
from ..errors import ShapeError
from . import recurrent_loops as loops
from .one_call import as_one_call
from .one_call import packed as _packed
from .one_call import unpacked as _unpacked


def _steps(xp, mask, units):
    """For each step how much of the new state counts, (batch, 1), None where all of it does; in NumPy that is seen."""
    counts = mask.shape[1]
    full = (mask != 0).all(axis=0).tolist() if xp is numpy else [False] * counts
    return [None if full[t] else xp.reshape(mask[:, t] != 0, (-1, 1)) for t in range(counts)]


def _either(xp, holds, new, old):
    """new, but old where a step does not count."""
    return new if holds is None else xp.where(holds, new, old)


def _before(xp, h, h0):
    """Of each step the state before it, (batch · steps, units)."""
    return xp.reshape(xp.concatenate([xp.expand_dims(h0, 1), h[:, :-1]], axis=1), (-1, h0.shape[1]))


def _rows(xp, g):
    return xp.reshape(g, (-1, g.shape[-1]))


def _long_sum_fast(a, b, out):
    if not loops.worth(a, b, work=a.shape[1] * b.size):
        return None
    return loops.long_sum(a, b, numpy.empty((a.shape[1], b.shape[1]), a.dtype) if out is None else out)


@partial(as_one_call, fast=_long_sum_fast)
def _long_sum(xp, a, b):
    """aᵀ b, of many rows: the gradient of a kernel."""
    return xp.matmul(xp.transpose(a), b)


def _check(name, gates, z, r, mask, *states):
    units = r.shape[0] if r.shape else 0
    fits = len(z.shape) == 3 and len(r.shape) == 2 and r.shape[1] == gates * units == z.shape[2]
    if not (fits and mask.shape == z.shape[:2] and all(s.shape == (z.shape[0], units) for s in states)):
        given = ", ".join(str(tuple(a.shape)) for a in (z, r, *states, mask))
        many = "" if gates == 1 else f"{gates} · "
        raise ShapeError(
            f"{name} takes z (batch, steps, {many}units), r (units, {many}units), "
            f"{'h0, c0' if len(states) == 2 else 'h0'} (batch, units) and mask (batch, steps), not {given}."
        )
    if not z.shape[1]:
        raise ShapeError(f"{name} of no steps: z has shape {tuple(z.shape)}.")


# What comes in


def _into_fast(x, w, b, out):
    if not loops.worth(x, w, b, work=x.size * w.shape[1]):
        return None
    rows = x.reshape(-1, x.shape[-1])
    out = numpy.empty((*x.shape[:-1], w.shape[1]), x.dtype) if out is None else out
    return loops.product(rows, w, b, out)


@partial(as_one_call, fast=_into_fast)
def _into(xp, x, w, b):
    """x w + b, of all steps."""
    return xp.matmul(x, w) + b


@primitive(
    "z[n, t, k] = sum(x[n, t, j] * w[j, k], j) + b[k]",
    saves=("x", "w"),
    analytic=True,
    whole=False,
    examples=(example((2, 2, 3), (3, 4), (4,)),),
)
def projection(xp, x, w, b):
    """x W + b of all steps of sequences: `affine` by the products of the recurrent loops.

    x: (batch, steps, features); w: (features, width); b: (width,).
    """
    return _into(xp, x, w, b)


projection.onnx(lambda graph, x, w, b: graph.add("Add", [graph.add("MatMul", [x, w]), b]))


@projection.check
def _(x, w, b):
    if len(x.shape) != 3 or len(w.shape) != 2 or x.shape[2] != w.shape[0] or b.shape != w.shape[1:]:
        given = ", ".join(str(tuple(a.shape)) for a in (x, w, b))
        raise ShapeError(f"projection takes x (batch, steps, features), w (features, width), b (width,), not {given}.")


@projection.vjp("x", "gx[n, t, j] = sum(gz[n, t, k] * w[j, k], k)")
def _(xp, gz, w):
    return _into(xp, gz, xp.transpose(w), xp.zeros_like(w[:, 0]))


@projection.vjp("w", "gw[j, k] = sum(x[n, t, j] * gz[n, t, k], n, t)")
def _(xp, gz, x):
    return _long_sum(xp, _rows(xp, x), _rows(xp, gz))


@projection.vjp("b", "gb[k] = sum(gz[n, t, k], n, t)")
def _(xp, gz):
    return xp.sum(gz, axis=(0, 1))


# Long short-term memory

GATES = (
    "a[n, t, k] = z[n, t, k] + sum(p[n, t, j] * r[j, k], j); "
    "i[n, t, u] = 1 / (1 + exp(-a[n, t, u])); f[n, t, u] = 1 / (1 + exp(-a[n, t, u + c0.shape[1]])); "
    "g[n, t, u] = tanh(a[n, t, u + 2 * c0.shape[1]]); o[n, t, u] = 1 / (1 + exp(-a[n, t, u + 3 * c0.shape[1]])); "
)
"""The gates, of the state before the step, p: in, forget, candidate, out."""


def _sigmoid(xp, a):
    """σ(a), exact also where it is small, and without overflow where it is 0."""
    return 1 / (1 + xp.exp(xp.minimum(-a, 80.0 if a.dtype.itemsize < 8 else 700.0)))


def _lstm_run_fast(z, r, h0, c0, mask, out):
    if not loops.worth(z, r, h0, c0, work=z.size * len(r)):
        return None
    return loops.run(
        "lstm",
        z,
        r,
        numpy.zeros(r.shape[1], z.dtype),
        h0,
        c0,
        mask,
        loops.room(out, z.size + 2 * mask.size * len(r), z),
    )


def _lstm_steps(xp, z, r, h0, c0, mask):
    """h and c of all steps, each (batch, steps, units), then the gates, (batch, steps, 4 · units)."""
    units = h0.shape[1]
    h, c = h0, c0
    hs, cs, gates = [], [], []
    for t, holds in enumerate(_steps(xp, mask, units)):
        a = z[:, t] + xp.matmul(h, r)
        s, g, o = _sigmoid(xp, a[:, : 2 * units]), xp.tanh(a[:, 2 * units : 3 * units]), _sigmoid(xp, a[:, 3 * units :])
        new = s[:, units:] * c + s[:, :units] * g
        c = _either(xp, holds, new, c)
        h = _either(xp, holds, o * xp.tanh(new), h)
        hs.append(h)
        cs.append(c)
        gates.append(xp.concatenate([s, g, o], axis=1))
    return [xp.stack(each, axis=1) for each in (hs, cs, gates)]


@partial(as_one_call, fast=_lstm_run_fast)
def _lstm_run(xp, z, r, h0, c0, mask):
    """h, c and gates in one array."""
    return _packed(xp, _lstm_steps(xp, z, r, h0, c0, mask))


def _lstm_parts(xp, packed, z, h0):
    state = (*z.shape[:2], h0.shape[1])
    return _unpacked(xp, packed, state, state, z.shape)


@primitive(
    "p[n, t, u] = h[n, t - 1, u] if t > 0 else h0[n, u]; q[n, t, u] = c[n, t - 1, u] if t > 0 else c0[n, u]; " + GATES
    + "c[n, t, u] = f[n, t, u] * q[n, t, u] + i[n, t, u] * g[n, t, u] if mask[n, t] > 0 else q[n, t, u]; "
    "h[n, t, u] = o[n, t, u] * tanh(c[n, t, u]) if mask[n, t] > 0 else p[n, t, u]; "
    "y[l, n, t, u] = h[n, t, u] if l == 0 else c[n, t, u]",
    saves=("z", "r", "h0", "c0", "mask"),
    domain={"z": (-2, 2), "r": (-1, 1), "h0": (-1, 1), "mask": range(2)},
    whole=False,
    examples=(example((1, 2, 8), (2, 8), (1, 2), (1, 2), (1, 2)),),
)  # fmt: skip
def lstm(xp, z, r, h0, c0, mask):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    z: (batch, steps, 4 · units), the gates in, forget, candidate, out side by side; r: (units, 4 · units); h0, c0:
    (batch, units); mask: (batch, steps). Returns h and c of all steps, (2, batch, steps, units).
    """
    packed = _lstm_run(xp, z, r, h0, c0, mask)
    shape = (2, *z.shape[:2], h0.shape[1])
    return _unpacked(xp, packed, shape)[0]


@lstm.onnx
def _(graph, z, r, h0, c0, mask):
    def written(xp, *given):
        return xp.stack(_lstm_steps(xp, *given)[:2])

    if found := graph.recurrent("LSTM", (0, 3, 1, 2), z, r, None, (h0, c0), mask):
        h, _, c = found
        return graph.in_parts([((0,), h), ((1, slice(None), -1), c)], written, z)
    return graph.composed(written)


@lstm.check
def _(z, r, h0, c0, mask):
    _check("lstm", 4, z, r, mask, h0, c0)


def _lstm_pull_fast(gy, packed, z, r, c0, mask, out):
    if not loops.worth(gy, packed, z, r, c0, work=z.size * len(r)):
        return None
    return loops.pull("lstm", gy, packed, r, c0, c0, mask, loops.room(out, z.size + 2 * c0.size, z))


@partial(as_one_call, fast=_lstm_pull_fast)
def _lstm_pull(xp, gy, packed, z, r, c0, mask):
    """The gradients of z, h0 and c0 in one array."""
    units = c0.shape[1]
    _, c, gates = _lstm_parts(xp, packed, z, c0)
    back, found = xp.transpose(r), []
    gh, gc = xp.zeros_like(c0), xp.zeros_like(c0)
    holds = _steps(xp, mask, units)
    for t in reversed(range(len(holds))):
        s, before = gates[:, t], c[:, t - 1] if t else c0
        i, f = s[:, :units], s[:, units : 2 * units]
        g, o = s[:, 2 * units : 3 * units], s[:, 3 * units :]
        gh, gc = gh + gy[0][:, t], gc + gy[1][:, t]
        th = xp.tanh(c[:, t])
        e = gc + gh * o * (1 - th * th)
        inner = xp.concatenate([e * g, e * before, e * i, gh * th], axis=1)
        slopes = xp.concatenate([i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)], axis=1)
        ga = inner * slopes
        ga = ga if holds[t] is None else ga * holds[t]
        found.append(ga)
        gh = _either(xp, holds[t], xp.matmul(ga, back), gh)
        gc = _either(xp, holds[t], e * f, gc)
    return _packed(xp, [xp.stack(found[::-1], axis=1), gh, gc])


@once
def _lstm_back(xp, gy, z, r, h0, c0, mask):
    """The gradients of z, h0 and c0, and h. A recorded step runs forward once, and back once, for all rules."""
    packed = _lstm_run(xp, z, r, h0, c0, mask)
    pulled = _lstm_pull(xp, gy, packed, z, r, c0, mask)
    return (*_unpacked(xp, pulled, z.shape, h0.shape, c0.shape), _lstm_parts(xp, packed, z, h0)[0])


LSTM_BACK = (
    "p[n, t, u] = h[n, t - 1, u] if t > 0 else h0[n, u]; q[n, t, u] = c[n, t - 1, u] if t > 0 else c0[n, u]; " + GATES
    + "c[n, t, u] = f[n, t, u] * q[n, t, u] + i[n, t, u] * g[n, t, u] if mask[n, t] > 0 else q[n, t, u]; "
    "h[n, t, u] = o[n, t, u] * tanh(c[n, t, u]) if mask[n, t] > 0 else p[n, t, u]; "
    "dh[n, t, u] = gy[0, n, t, u] + (dp[n, t + 1, u] if t + 1 < mask.shape[1] else 0); "
    "dc[n, t, u] = gy[1, n, t, u] + (dq[n, t + 1, u] if t + 1 < mask.shape[1] else 0); "
    "e[n, t, u] = dc[n, t, u] + dh[n, t, u] * o[n, t, u] * (1 - tanh(c[n, t, u])**2); "
    "di[n, t, u] = e[n, t, u] * g[n, t, u] * i[n, t, u] * (1 - i[n, t, u]); "
    "df[n, t, u] = e[n, t, u] * q[n, t, u] * f[n, t, u] * (1 - f[n, t, u]); "
    "dg[n, t, u] = e[n, t, u] * i[n, t, u] * (1 - g[n, t, u]**2); "
    "do[n, t, u] = dh[n, t, u] * tanh(c[n, t, u]) * o[n, t, u] * (1 - o[n, t, u]); "
    "da[n, t, k] = 0 if mask[n, t] == 0 else di[n, t, k] if k < c0.shape[1] else df[n, t, k - c0.shape[1]] "
    "if k < 2 * c0.shape[1] else dg[n, t, k - 2 * c0.shape[1]] if k < 3 * c0.shape[1] "
    "else do[n, t, k - 3 * c0.shape[1]]; "
    "dp[n, t, u] = sum(da[n, t, k] * r[u, k], k) if mask[n, t] > 0 else dh[n, t, u]; "
    "dq[n, t, u] = e[n, t, u] * f[n, t, u] if mask[n, t] > 0 else dc[n, t, u]; "
)  # fmt: skip
"""Back through time: of each step the gradients of its gates, of the state before it (dp, dq) and after it (dh, dc)."""


@lstm.vjp("z", LSTM_BACK + "gz[n, t, k] = da[n, t, k]")
def _(xp, gy, z, r, h0, c0, mask):
    return _lstm_back(xp, gy, z, r, h0, c0, mask)[0]


@lstm.vjp("r", LSTM_BACK + "gr[j, k] = sum(p[n, t, j] * da[n, t, k], n, t)")
def _(xp, gy, z, r, h0, c0, mask):
    gz, _, _, h = _lstm_back(xp, gy, z, r, h0, c0, mask)
    return _long_sum(xp, _before(xp, h, h0), _rows(xp, gz))


@lstm.vjp("h0", LSTM_BACK + "gh0[n, u] = dp[n, 0, u]")
def _(xp, gy, z, r, h0, c0, mask):
    return _lstm_back(xp, gy, z, r, h0, c0, mask)[1]


@lstm.vjp("c0", LSTM_BACK + "gc0[n, u] = dq[n, 0, u]")
def _(xp, gy, z, r, h0, c0, mask):
    return _lstm_back(xp, gy, z, r, h0, c0, mask)[2]


# Gated recurrent unit

RESET = (
    "p[n, t, u] = h[n, t - 1, u] if t > 0 else h0[n, u]; "
    "x[n, t, k] = z[n, t, k]; s[n, t, k] = sum(p[n, t, j] * r[j, k], j) + b[k]; "
    "v[n, t, u] = 1 / (1 + exp(-x[n, t, u] - s[n, t, u])); "
    "w[n, t, u] = 1 / (1 + exp(-x[n, t, u + h0.shape[1]] - s[n, t, u + h0.shape[1]])); "
    "c[n, t, u] = tanh(x[n, t, u + 2 * h0.shape[1]] + w[n, t, u] * s[n, t, u + 2 * h0.shape[1]]); "
    "h[n, t, u] = v[n, t, u] * p[n, t, u] + (1 - v[n, t, u]) * c[n, t, u] if mask[n, t] > 0 else p[n, t, u]; "
)
"""The gates of update v and reset w, the candidate c, and the state."""


def _gru_run_fast(z, r, b, h0, mask, out):
    if not loops.worth(z, r, b, h0, work=z.size * len(r)):
        return None
    return loops.run("gru", z, r, b, h0, h0, mask, loops.room(out, 5 * mask.size * len(r), z))


def _gru_steps(xp, z, r, b, h0, mask):
    """h of all steps, then of each the gates, the candidate, and the candidate's part of h r + b."""
    units, h = h0.shape[1], h0
    hs, gates = [], []
    for t, holds in enumerate(_steps(xp, mask, units)):
        s, x = xp.matmul(h, r) + b, z[:, t]
        both, inner = _sigmoid(xp, x[:, : 2 * units] + s[:, : 2 * units]), s[:, 2 * units :]
        v, c = both[:, :units], xp.tanh(x[:, 2 * units :] + both[:, units:] * inner)
        h = _either(xp, holds, v * h + (1 - v) * c, h)
        hs.append(h)
        gates.append(xp.concatenate([both, c, inner], axis=1))
    return [xp.stack(each, axis=1) for each in (hs, gates)]


@partial(as_one_call, fast=_gru_run_fast)
def _gru_run(xp, z, r, b, h0, mask):
    """Both in one array."""
    return _packed(xp, _gru_steps(xp, z, r, b, h0, mask))


def _gru_parts(xp, packed, z, h0):
    return _unpacked(xp, packed, (*z.shape[:2], h0.shape[1]), (*z.shape[:2], 4 * h0.shape[1]))


@primitive(
    RESET + "y[n, t, u] = h[n, t, u]",
    saves=("z", "r", "b", "h0", "mask"),
    domain={"z": (-2, 2), "r": (-1, 1), "h0": (-1, 1), "mask": range(2)},
    whole=False,
    examples=(example((1, 2, 6), (2, 6), (6,), (1, 2), (1, 2)),),
)
def gru(xp, z, r, b, h0, mask):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate after the product, as cuDNN and Keras have it.

    z: (batch, steps, 3 · units), update, reset and candidate side by side; r: (units, 3 · units); b: (3 · units,), what
    the state's product is shifted by; h0: (batch, units); mask: (batch, steps). Returns h: (batch, steps, units).
    """
    return _gru_parts(xp, _gru_run(xp, z, r, b, h0, mask), z, h0)[0]


@gru.onnx
def _(graph, z, r, b, h0, mask):
    found = graph.recurrent("GRU", (0, 1, 2), z, r, b, (h0,), mask, linear_before_reset=1)
    return found[0] if found else graph.composed(lambda xp, *given: _gru_steps(xp, *given)[0])


@gru.check
def _(z, r, b, h0, mask):
    _check("gru", 3, z, r, mask, h0)
    if b.shape != r.shape[1:]:
        raise ShapeError(f"gru takes b of shape {tuple(r.shape[1:])}, not {tuple(b.shape)}.")


def _gru_pull_fast(gy, packed, z, r, h0, mask, out):
    if not loops.worth(gy, packed, z, r, h0, work=z.size * len(r)):
        return None
    return loops.pull("gru", gy, packed, r, h0, h0, mask, loops.room(out, 2 * z.size + h0.size, z))


@partial(as_one_call, fast=_gru_pull_fast)
def _gru_pull(xp, gy, packed, z, r, h0, mask):
    """The gradients of z, of h r + b for each step, and of h0, in one array."""
    units = h0.shape[1]
    h, gates = _gru_parts(xp, packed, z, h0)
    back, found, inner, gh = xp.transpose(r), [], [], xp.zeros_like(h0)
    holds = _steps(xp, mask, units)
    for t in reversed(range(len(holds))):
        s, before = gates[:, t], h[:, t - 1] if t else h0
        v, w, c, product = (s[:, n * units : (n + 1) * units] for n in range(4))
        gh = gh + gy[:, t]
        gc = gh * (1 - v) * (1 - c * c)
        both = [gh * (before - c) * v * (1 - v), gc * product * w * (1 - w)]
        gz, gs = xp.concatenate([*both, gc], axis=1), xp.concatenate([*both, gc * w], axis=1)
        if holds[t] is not None:
            gz, gs = gz * holds[t], gs * holds[t]
        found.append(gz)
        inner.append(gs)
        gh = _either(xp, holds[t], gh * v + xp.matmul(gs, back), gh)
    return _packed(xp, [xp.stack(found[::-1], axis=1), xp.stack(inner[::-1], axis=1), gh])


@once
def _gru_back(xp, gy, z, r, b, h0, mask):
    """The gradients of z, of h r + b, and of h0, and h."""
    packed = _gru_run(xp, z, r, b, h0, mask)
    pulled = _gru_pull(xp, gy, packed, z, r, h0, mask)
    return (*_unpacked(xp, pulled, z.shape, z.shape, h0.shape), _gru_parts(xp, packed, z, h0)[0])


GRU_BACK = RESET + (
    "dh[n, t, u] = gy[n, t, u] + (dp[n, t + 1, u] if t + 1 < mask.shape[1] else 0); "
    "dc[n, t, u] = dh[n, t, u] * (1 - v[n, t, u]) * (1 - c[n, t, u]**2); "
    "dw[n, t, u] = dc[n, t, u] * s[n, t, u + 2 * h0.shape[1]] * w[n, t, u] * (1 - w[n, t, u]); "
    "dv[n, t, u] = dh[n, t, u] * (p[n, t, u] - c[n, t, u]) * v[n, t, u] * (1 - v[n, t, u]); "
    "da[n, t, k] = 0 if mask[n, t] == 0 else dv[n, t, k] if k < h0.shape[1] else dw[n, t, k - h0.shape[1]] "
    "if k < 2 * h0.shape[1] else dc[n, t, k - 2 * h0.shape[1]]; "
    "ds[n, t, k] = da[n, t, k] * (w[n, t, k - 2 * h0.shape[1]] if k >= 2 * h0.shape[1] else 1); "
    "dp[n, t, u] = dh[n, t, u] * v[n, t, u] + sum(ds[n, t, k] * r[u, k], k) if mask[n, t] > 0 else dh[n, t, u]; "
)


@gru.vjp("z", GRU_BACK + "gz[n, t, k] = da[n, t, k]")
def _(xp, gy, z, r, b, h0, mask):
    return _gru_back(xp, gy, z, r, b, h0, mask)[0]


@gru.vjp("r", GRU_BACK + "gr[j, k] = sum(p[n, t, j] * ds[n, t, k], n, t)")
def _(xp, gy, z, r, b, h0, mask):
    _, gs, _, h = _gru_back(xp, gy, z, r, b, h0, mask)
    return _long_sum(xp, _before(xp, h, h0), _rows(xp, gs))


@gru.vjp("b", GRU_BACK + "gb[k] = sum(ds[n, t, k], n, t)")
def _(xp, gy, z, r, b, h0, mask):
    return xp.sum(_rows(xp, _gru_back(xp, gy, z, r, b, h0, mask)[1]), axis=0)


@gru.vjp("h0", GRU_BACK + "gh0[n, u] = dp[n, 0, u]")
def _(xp, gy, z, r, b, h0, mask):
    return _gru_back(xp, gy, z, r, b, h0, mask)[2]


# The simple one

SIMPLE = (
    "p[n, t, u] = h[n, t - 1, u] if t > 0 else h0[n, u]; "
    "h[n, t, u] = tanh(z[n, t, u] + sum(p[n, t, j] * r[j, u], j)) if mask[n, t] > 0 else p[n, t, u]; "
)


@as_one_call
def _simple_run(xp, z, r, h0, mask):
    """h of all steps."""
    h, hs = h0, []
    for t, holds in enumerate(_steps(xp, mask, h0.shape[1])):
        h = _either(xp, holds, xp.tanh(z[:, t] + xp.matmul(h, r)), h)
        hs.append(h)
    return xp.stack(hs, axis=1)


@primitive(
    SIMPLE + "y[n, t, u] = h[n, t, u]",
    saves=("y", "r", "h0", "mask"),
    domain={"z": (-2, 2), "r": (-1, 1), "h0": (-1, 1), "mask": range(2)},
    whole=False,
    examples=(example((2, 3, 2), (2, 2), (2, 2), (2, 3)),),
)
def simple_rnn(xp, z, r, h0, mask):
    """h = tanh(z + h r) from step to step (Elman 1990).

    z: (batch, steps, units); r: (units, units); h0: (batch, units); mask: (batch, steps). Returns h of all steps.
    """
    return _simple_run(xp, z, r, h0, mask)


@simple_rnn.onnx
def _(graph, z, r, h0, mask):
    found = graph.recurrent("RNN", (0,), z, r, None, (h0,), mask)
    return found[0] if found else graph.composed(simple_rnn.kernel)


@simple_rnn.check
def _(z, r, h0, mask):
    _check("simple_rnn", 1, z, r, mask, h0)


@as_one_call
def _simple_pull(xp, gy, y, r, h0, mask):
    """The gradients of z and h0 in one array."""
    back, found, gh = xp.transpose(r), [], xp.zeros_like(h0)
    holds = _steps(xp, mask, h0.shape[1])
    for t in reversed(range(len(holds))):
        gh = gh + gy[:, t]
        ga = gh * (1 - y[:, t] * y[:, t])
        ga = ga if holds[t] is None else ga * holds[t]
        found.append(ga)
        gh = _either(xp, holds[t], xp.matmul(ga, back), gh)
    return _packed(xp, [xp.stack(found[::-1], axis=1), gh])


@once
def _simple_back(xp, gy, y, r, h0, mask):
    return _unpacked(xp, _simple_pull(xp, gy, y, r, h0, mask), y.shape, h0.shape)


SIMPLE_BACK = (
    "p[n, t, u] = y[n, t - 1, u] if t > 0 else h0[n, u]; "
    "dh[n, t, u] = gy[n, t, u] + (dp[n, t + 1, u] if t + 1 < mask.shape[1] else 0); "
    "da[n, t, u] = dh[n, t, u] * (1 - y[n, t, u]**2) if mask[n, t] > 0 else 0; "
    "dp[n, t, u] = sum(da[n, t, j] * r[u, j], j) if mask[n, t] > 0 else dh[n, t, u]; "
)


@simple_rnn.vjp("z", SIMPLE_BACK + "gz[n, t, u] = da[n, t, u]")
def _(xp, gy, y, r, h0, mask):
    return _simple_back(xp, gy, y, r, h0, mask)[0]


@simple_rnn.vjp("r", SIMPLE_BACK + "gr[j, u] = sum(p[n, t, j] * da[n, t, u], n, t)")
def _(xp, gy, y, r, h0, mask):
    gz = _simple_back(xp, gy, y, r, h0, mask)[0]
    return _long_sum(xp, _before(xp, y, h0), _rows(xp, gz))


@simple_rnn.vjp("h0", SIMPLE_BACK + "gh0[n, u] = dp[n, 0, u]")
def _(xp, gy, y, r, h0, mask):
    return _simple_back(xp, gy, y, r, h0, mask)[1]


for _made in lstm, gru, simple_rnn:
    _made.shares = True
