"""Convolution (D2), on one or two axes of space, with its bias, and the three correlations that it is made of.

What the field calls convolution is a cross-correlation: the kernel is not reversed. Without the bias it is linear in x
and in w: `correlation`. Its adjoints are `transposed_correlation` (in x) and `kernel_correlation` (in w); by each of
the three the others are differentiated. With the bias they are `convolution` and `transposed_convolution`.

Operands are (batch, *space, channels), as Keras has them; `channels_first=True` takes (batch, channels, *space). A
kernel is (*size, channels / groups, filters). On the CPU it is a matrix product over columns, gathered by one strided
copy.
"""

from __future__ import annotations

from typing import Any

import numpy

from ..engine.cuda.launch import CudaKernel
from ..engine.primitive import example, primitive
from ..errors import ShapeError
from ..replay import calls
from . import channels, columns, cores, sliding
from .normalisation import channel_sums
from .shapes import transpose
from .windows import (
    IN_GRADIENTS,
    as_given,
    bordered,
    channels_last,
    output_lengths,
    padding_of,
    per_axis,
    reach,
    spatial,
    taps,
    within,
)

NO_BORDER = ((0, 0),) * 2


def _numbers(what: str, w: Any, axes: int, stride: Any, dilation: Any, groups: Any) -> dict[str, Any]:
    """Stride, dilation and groups, for a kernel of this shape, checked."""
    if len(w.shape) != axes + 2:
        size = ("height, width", "length")[axes == 1]
        raise ShapeError(
            f"{what} takes w of shape ({size}, channels / groups, filters) for such an x, not {tuple(w.shape)}."
        )
    return {
        "stride": per_axis(what, "stride", stride, axes),
        "dilation": per_axis(what, "dilation", dilation, axes),
        "groups": per_axis(what, "groups", groups, 1)[0],
    }


def _convolution_arguments(x, w, b=None, stride=1, padding="valid", dilation=1, groups=1, channels_first=False):
    what = "convolution"
    x, w = channels_last(transpose, spatial(what, x, channels_first), channels_first), _kernel(w)
    numbers = _numbers(what, w, len(x.shape) - 2, stride, dilation, groups)
    size, lengths = tuple(w.shape[:-2]), tuple(x.shape[1:-1])
    numbers["padding"] = padding_of(what, padding, lengths, size, numbers["stride"], numbers["dilation"])
    return (x, w, b), numbers, as_given(transpose, channels_first)


def _kernel(w: Any) -> Any:
    if not hasattr(w, "shape"):
        raise ShapeError("a kernel is a tensor or an array of shape (*size, channels / groups, filters).")
    return w


def _check_groups(what: str, channels: int, w: Any, groups: int, shape: Any) -> None:
    each, filters = w.shape[-2], w.shape[-1]
    if not channels or not filters:
        raise ShapeError(
            f"{what}: x of shape {tuple(shape)} and w of shape {tuple(w.shape)} have no channels or filters."
        )
    if channels % groups or filters % groups:
        raise ShapeError(
            f"{what}(groups={groups}): groups divide both the {channels} channels of x and the {filters} filters of w."
        )
    if each * groups != channels:
        raise ShapeError(
            f"{what}: x has {channels} channels (shape {tuple(shape)}), but w of shape {tuple(w.shape)} takes "
            f"{each * groups}{f' ({each} in each of {groups} groups)' if groups > 1 else ''}."
        )


def _check_bias(what: str, b: Any, filters: int) -> None:
    if b is not None and tuple(b.shape) != (filters,):
        raise ShapeError(f"{what}: b of shape {tuple(b.shape)} should be ({filters},), a number for each filter.")


OVER_WINDOWS = (
    "p = border({x}, padding, 0); {y}[n, *i, k] = "
    "sum(p[n, *(i * stride + a * dilation), c + {w}.shape[-2] * (k * groups // {w}.shape[-1])] * {w}[*a, c, k], *a, c)"
)
"""The equation of a correlation, with fields for what x, y and w are called."""
ONTO_WINDOWS = (
    "{x}[n, *r, m] = sum({y}[n, *i, k] * {w}[*a, c, k] if i * stride + a * dilation - before(padding) == r "
    "and c + {w}.shape[-2] * (k * groups // {w}.shape[-1]) == m else 0, *i, *a, c, k)"
)
"""The same of its adjoint in x."""
OVER_BATCH = (
    "p = border({x}, padding, 0); {w}[*a, c, k] = sum(p[n, *(i * stride + a * dilation), "
    "c + {x}.shape[-1] // groups * (k * groups // {y}.shape[-1])] * {y}[n, *i, k], n, *i)"
)
"""The same of its adjoint in w."""

CORRELATED = (
    example((2, 4, 3, 2), (2, 2, 2, 3), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1),
    example((1, 5, 4, 2), (3, 2, 2, 2), stride=(2, 1), padding=((1, 1), (0, 1)), dilation=(1, 2), groups=1),
    example((1, 3, 3, 4), (2, 2, 2, 2), stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=2),
    example((1, 4, 3, 3), (2, 3, 1, 3), stride=(1, 2), padding=((0, 1), (1, 1)), dilation=(1, 1), groups=3),
    example((2, 6, 2), (3, 2, 2), stride=(2,), padding=((1, 0),), dilation=(1,), groups=1),
)


@primitive(
    OVER_WINDOWS.format(x="x", y="y", w="w"),
    saves=("x", "w", "x.shape", "w.shape"),
    analytic=True,
    whole=False,
    examples=CORRELATED,
)
def correlation(xp, x, w, *, stride, padding, dilation, groups):
    """Σ over window and channels of x times w: `convolution` without its bias, every parameter given whole."""
    return _correlated(xp, x, w, None, stride, padding, dilation, groups)


@primitive(
    OVER_WINDOWS.format(x="x", y="y", w="w") + " + b[k]",
    saves=("x", "w", "x.shape", "w.shape"),
    analytic=True,
    whole=False,
    examples=tuple(example(*e.shapes, e.shapes[1][-1:], **e.parameters) for e in CORRELATED),
    bind=_convolution_arguments,
    without=correlation,
)
def convolution(xp, x, w, b, *, stride, padding, dilation, groups):
    """Σ over window and channels of x times w, plus b (D2).

    x: (batch, *space, channels), w: (*size, channels / groups, filters), b: (filters,); without b it is `correlation`.

    stride, dilation: a number, or one for each axis. padding: "valid", "same" (as many windows as the input is long,
    divided by the stride), a width, or pairs (before, after). groups: channels and filters fall into so many groups,
    each filter seeing the channels of its own. channels_first: x and the result are (batch, channels, *space).
    """
    return _correlated(xp, x, w, b, stride, padding, dilation, groups)


@correlation.onnx
@convolution.onnx
def _(graph, x, w, *b, stride, padding, dilation, groups):
    return _slid(graph, "Conv", x, w, b, stride, padding, dilation, groups)


def _slid(graph, operator, x, w, b, stride, padding, dilation, groups, **more):
    """The form in ONNX, whose operators have the channels first, and the filters, or channels, of a kernel."""
    kernel = graph.moved(w, [w.axes - 1, w.axes - 2, *range(w.axes - 2)])
    pads = [pair[side] for side in (0, 1) for pair in padding]
    y = graph.add(
        operator, [graph.channels_first(x), kernel, *b], strides=stride, pads=pads, dilations=dilation, group=groups,
        **more,
    )  # fmt: skip
    return graph.channels_last(y)


def _correlated(xp, x, w, b=None, stride=None, padding=None, dilation=None, groups=1, out=None):
    p = bordered(xp, x, padding)
    count = output_lengths(p.shape[1:-1], w.shape[:-2], stride, NO_BORDER[: len(stride)], dilation)
    if w.shape[-2] == 1 < groups == w.shape[-1]:
        return columns.shifted(xp, columns.sum_of_taps(xp, p, w, stride, dilation, count), b)
    rows = columns.gathered(xp, p, w.shape[:-2], stride, dilation, count, groups)
    y = columns.product(xp, rows, columns.matrix(xp, w, groups), out)
    y = columns.shifted(xp, xp.reshape(y, (x.shape[0], *count, w.shape[-1])), b)
    return y if out is None else out


def _check_correlated(x, w, b=None, *, stride, padding, dilation, groups):
    _check_groups("convolution", x.shape[-1], w, groups, x.shape)
    _check_bias("convolution", b, w.shape[-1])
    output_lengths(x.shape[1:-1], w.shape[:-2], stride, padding, dilation, "convolution")


def _to_input(xp, gy, w, x_shape, stride, padding, dilation, groups):
    return transposed_correlation.apply(
        xp, gy, w, stride=stride, padding=padding, dilation=dilation, groups=groups, lengths=x_shape[1:-1]
    )


def _to_kernel(xp, gy, x, w_shape, stride, padding, dilation, groups):
    return kernel_correlation.apply(
        xp, x, gy, size=w_shape[:-2], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


for _made in (correlation, convolution):
    _made.check(_check_correlated)
    _made.vjp("x", ONTO_WINDOWS.format(x="gx", y="gy", w="w"))(_to_input)
    _made.vjp("w", OVER_BATCH.format(x="x", y="gy", w="gw"))(_to_kernel)
    _own = _made.cuda(suits=sliding.convolves)(sliding.convolution)
    calls.WITH_GREATEST[_own.name] = CudaKernel(
        f"{_own.name}_max_pool", sliding.convolution_max_pool, sliding.pools_after
    )
    cores.by_samples(_made, cores.of_convolution, fast=cores.convolution, code=_correlated)


def _transposed_arguments(
    x, w, b=None, stride=1, padding="valid", dilation=1, groups=1, output_padding=None, channels_first=False,
    lengths=None,
):  # fmt: skip
    what = "transposed_convolution"
    x, w = channels_last(transpose, spatial(what, x, channels_first), channels_first), _kernel(w)
    axes, size, given = len(x.shape) - 2, tuple(w.shape[:-2]), tuple(x.shape[1:-1])
    numbers = _numbers(what, w, axes, stride, dilation, groups)
    stride, dilation = numbers["stride"], numbers["dilation"]
    more = (None,) * axes if output_padding is None else per_axis(what, "output_padding", output_padding, axes, 0)
    same = isinstance(padding, str) and padding == "same"
    if lengths is not None:
        lengths = per_axis(what, "lengths", lengths, axes)
    elif same:
        lengths = tuple(n * s + (o or 0) for n, s, o in zip(given, stride, more, strict=True))
    padding = padding_of(what, padding, lengths if same else given, size, stride, dilation)
    if lengths is None:
        least = [0 if o is not None or any(pair) else max(s - reach(k, d), 0)
                 for o, pair, s, k, d in zip(more, padding, stride, size, dilation, strict=True)]  # fmt: skip
        lengths = tuple(
            (n - 1) * s + reach(k, d) - sum(pair) + (o or 0) + extra
            for n, s, k, d, pair, o, extra in zip(given, stride, size, dilation, padding, more, least, strict=True)
        )
    return (x, w, b), {**numbers, "padding": padding, "lengths": lengths}, as_given(transpose, channels_first)


def _windows(e):
    """What `correlation` makes of an example: (batch, *windows, filters)."""
    (batch, *lengths, _), (*size, _, filters) = e.shapes
    places = (e.parameters[name] for name in ("stride", "padding", "dilation"))
    return (batch, *output_lengths(lengths, tuple(size), *places), filters)


TRANSPOSED = tuple(example(_windows(e), e.shapes[1], **e.parameters, lengths=e.shapes[0][1:-1]) for e in CORRELATED)


@primitive(
    ONTO_WINDOWS.format(x="y", y="x", w="w"),
    saves=("x", "w", "w.shape"),
    analytic=True,
    whole=False,
    examples=TRANSPOSED,
)
def transposed_correlation(xp, x, w, *, stride, padding, dilation, groups, lengths):
    """The adjoint of `correlation` in its input: each element of x adds a kernel, scaled, to the result.

    It is `transposed_convolution` without its bias, every parameter given whole.
    """
    return _spread(xp, x, w, None, stride, padding, dilation, groups, lengths)


@primitive(
    ONTO_WINDOWS.format(x="y", y="x", w="w") + " + b[m]",
    saves=("x", "w", "w.shape"),
    analytic=True,
    whole=False,
    examples=tuple(example(*e.shapes, (e.shapes[1][-2] * e.parameters["groups"],), **e.parameters) for e in TRANSPOSED),
    bind=_transposed_arguments,
    without=transposed_correlation,
)
def transposed_convolution(xp, x, w, b, *, stride, padding, dilation, groups, lengths):
    """Each element of x adds a kernel, scaled, to the result: the adjoint of a convolution in its input, plus b.

    x: (batch, *space, filters), w: (*size, channels / groups, filters), as for the convolution that it is the adjoint
    of, and as Keras's Conv2DTranspose has it; b: (channels,), or none. padding: what that convolution has around the
    result; output_padding: how much longer than the least the result is; lengths: how long it is, instead of that. The
    rest is as `convolution` takes it.
    """
    return _spread(xp, x, w, b, stride, padding, dilation, groups, lengths)


@transposed_correlation.onnx
@transposed_convolution.onnx
def _(graph, x, w, *b, stride, padding, dilation, groups, lengths):
    least = [
        (n - 1) * s + reach(k, d) - sum(pair)
        for n, s, k, d, pair in zip(x.shape[1:-1], stride, w.shape, dilation, padding, strict=False)
    ]
    more = [n - m for n, m in zip(lengths, least, strict=True)]
    return _slid(graph, "ConvTranspose", x, w, b, stride, padding, dilation, groups, output_padding=more)


def _spread(xp, x, w, b, stride, padding, dilation, groups, lengths):
    filters, channels, count = w.shape[-1] // groups, w.shape[-2], x.shape[1:-1]
    whole = [n + before + after for n, (before, after) in zip(lengths, padding, strict=True)]
    y = xp.zeros((x.shape[0], *whole, channels * groups), numpy.result_type(x.dtype, w.dtype))
    places = list(taps(w.shape[:-2], stride, dilation, count))
    if channels == 1 == filters and groups > 1:
        for tap, place in places:
            there = y[place]
            xp.add(there, x * w[tap], out=there)
    else:
        rows = columns.in_groups(xp, xp.reshape(x, (-1, w.shape[-1])), groups)
        kernel = xp.transpose(columns.matrix(xp, w, groups), (1, 0) if groups == 1 else (0, 2, 1))
        each = xp.reshape(xp.matmul(rows, kernel), (groups, -1, len(places), channels))
        each = xp.ascontiguousarray(xp.transpose(each, (2, 1, 0, 3)))  # a copy costs less than adding in short runs
        each = xp.reshape(each, (len(places), x.shape[0], *count, channels * groups))
        for n, (_, place) in enumerate(places):
            there = y[place]
            xp.add(there, each[n], out=there)
    y = columns.shifted(xp, y, b)
    return y[within(padding, lengths)] if any(map(any, padding)) else y


def _check_transposed(x, w, b=None, *, stride, padding, dilation, groups, lengths):
    what, filters = "transposed_convolution", w.shape[-1]
    if x.shape[-1] != filters:
        raise ShapeError(
            f"{what}: x has {x.shape[-1]} channels (shape {tuple(x.shape)}), but w of shape {tuple(w.shape)} takes "
            f"{filters}: its last axis."
        )
    if filters % groups:
        raise ShapeError(f"{what}(groups={groups}): groups divide the {filters} channels of x.")
    _check_bias(what, b, w.shape[-2] * groups)
    if min(lengths) < 1 or output_lengths(lengths, w.shape[:-2], stride, padding, dilation, what) != x.shape[1:-1]:
        raise ShapeError(
            f"{what}: no convolution with a kernel of {tuple(w.shape[:-2])}, stride {stride} and padding {padding} "
            f"leads from {lengths} to the {tuple(x.shape[1:-1])} of x: output_padding is less than the stride, and "
            "padding less than the kernel."
        )


def _to_transposed_input(xp, gy, w, stride, padding, dilation, groups):
    return correlation.apply(xp, gy, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _to_transposed_kernel(xp, gy, x, w_shape, stride, padding, dilation, groups):
    return kernel_correlation.apply(
        xp, gy, x, size=w_shape[:-2], stride=stride, padding=padding, dilation=dilation, groups=groups
    )


for _made in (transposed_correlation, transposed_convolution):
    _made.check(_check_transposed)
    _made.vjp("x", OVER_WINDOWS.format(x="gy", y="gx", w="w"))(_to_transposed_input)
    _made.vjp("w", OVER_BATCH.format(x="gy", y="x", w="gw"))(_to_transposed_kernel)
    _made.cuda(suits=sliding.transposes)(sliding.transposed_convolution)
    cores.by_samples(_made, cores.of_transposed, fast=cores.transposed_convolution)


def _to_bias(xp, gy):
    return channel_sums(xp, gy, gy.shape[-1])


for _made, _text in ((convolution, "gb[k] = sum(gy[n, *i, k], n, *i)"),
                     (transposed_convolution, "gb[m] = sum(gy[n, *r, m], n, *r)")):  # fmt: skip
    _made.vjp("b", _text)(_to_bias)
    _made.cuda("b", suits=channels.suits)(channels.sums)


@primitive(
    OVER_BATCH.format(x="x", y="y", w="w"),
    saves=("x", "y", "x.shape"),
    analytic=True,
    whole=False,
    examples=tuple(example(e.shapes[0], _windows(e), **e.parameters, size=e.shapes[1][:-2]) for e in CORRELATED),
)
def kernel_correlation(xp, x, y, *, size, stride, padding, dilation, groups):
    """The adjoint of `correlation` in its kernel: how the windows of x correlate with y, summed over batch and space.

    x: (batch, *space, channels), y: (batch, *windows, filters); the result is (*size, channels / groups, filters).
    """
    p, count = bordered(xp, x, padding), y.shape[1:-1]
    channels, filters = x.shape[-1] // groups, y.shape[-1]
    if channels == 1 < groups == filters:
        sums = [channel_sums(xp, p[place] * y, filters) for _, place in taps(size, stride, dilation, count)]
        return xp.reshape(xp.stack(sums), (*size, 1, filters))
    gathered = columns.gathered(xp, p, size, stride, dilation, count, groups)
    rows = columns.in_groups(xp, xp.reshape(y, (-1, filters)), groups)
    total = xp.matmul(xp.transpose(gathered, (1, 0) if groups == 1 else (0, 2, 1)), rows)
    if groups > 1:
        total = xp.transpose(total, (1, 0, 2))
    return xp.reshape(total, (*size, channels, filters))


@kernel_correlation.check
def _(x, y, *, size, stride, padding, dilation, groups):
    if x.shape[-1] % groups or y.shape[-1] % groups:
        raise ShapeError(
            f"kernel_correlation(groups={groups}): groups divide the {x.shape[-1]} channels of x and the "
            f"{y.shape[-1]} of y."
        )
    count = output_lengths(x.shape[1:-1], size, stride, padding, dilation, "kernel_correlation")
    if (x.shape[0], *count) != tuple(y.shape[:-1]):
        raise ShapeError(
            f"kernel_correlation: x of shape {tuple(x.shape)} has {count} windows of {size}, y is {tuple(y.shape)}."
        )


@kernel_correlation.vjp("x", ONTO_WINDOWS.format(x="gx", y="y", w="gw"))
def _(xp, gw, y, x_shape, stride, padding, dilation, groups):
    return _to_input(xp, y, gw, x_shape, stride, padding, dilation, groups)


@kernel_correlation.vjp("y", OVER_WINDOWS.format(x="x", y="gy", w="gw"))
def _(xp, gw, x, stride, padding, dilation, groups):
    return _to_transposed_input(xp, x, gw, stride, padding, dilation, groups)


kernel_correlation.cuda(suits=sliding.correlates)(sliding.kernel_correlation)
calls.BESIDE["convolution_b"] = {"kernel_correlation": ("sums", (1,), lambda y: False)}
cores.by_samples(kernel_correlation, cores.of_kernel, 2, cores.kernel_correlation, adds=True)
kernel_correlation.onnx(None, IN_GRADIENTS)
