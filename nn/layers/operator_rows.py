"""What computes ONNX's operators, for the layer `Operators`.

Lengths, axes and the like are computed with NumPy while the graph is gone through; what depends on samples or weights
by our primitives. An operator is a primitive that names it as its form (`relu.onnx("Relu")`), a function or an operator
of the language of equations, or a row of `OPERATORS`.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ...engine.primitive import registry
from ...engine.tensor import Tensor, tensor
from ...equation import operators
from ...equation.functions import FUNCTIONS
from ...errors import UsageError
from ...ops.activation import elu, gelu, gelu_tanh, leaky_relu, log_softmax, softmax
from ...ops.convolution import convolution, transposed_convolution
from ...ops.linalg import einsum
from ...ops.pooling import average_pool, max_pool
from ...ops.recurrent import gru, lstm, simple_rnn

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          11: "float64", 12: "uint32", 13: "uint64"}  # fmt: skip
"""By ONNX's numbers."""


IDLE = {
    "activation_alpha", "activation_beta", "allowzero", "alpha", "axes", "beta", "end", "epsilon", "fmod",
    "hidden_size", "keepdims", "kernel_shape", "momentum", "num_outputs", "round_mode", "saturate", "seed", "start",
    "stash_type", "value",
}  # fmt: skip
"""What nodes say that is told elsewhere, too, is of how to compute, or that rows ask for where it counts."""


class Given(dict[str, Any]):
    """What a node says besides its inputs, with what else a row needs: the layer's state, and how it is called.

    It notes what a row asks for, so that nothing is left out in silence.
    """

    names: Sequence[str] = ()
    state: Mapping[str, Tensor]
    training = False
    generator: Any = None
    outputs = 1

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.read: set[str] = set()

    def get(self, name: str, value: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, value)

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def check_read(self) -> None:
        """Raise UsageError where the node says what the row has not asked for, and what would change its result."""
        left = sorted(name for name in self.keys() - self.read - IDLE if self[name] not in (0, "", []))
        if left:
            raise UsageError(
                f"it says {', '.join(f'{name}={self[name]!r}' for name in left)}, which is not computed here"
            )


def fixed(what: str, x: Any) -> Any:
    """An input that has to be known before the samples are; raises UsageError where it is computed from them."""
    if isinstance(x, Tensor):
        raise UsageError(f"its {what} is computed from the samples")
    return x


def whole(what: str, x: Any) -> list[int]:
    """The same, as a list of integers."""
    return [int(n) for n in numpy.ravel(fixed(what, x))]


def _one(function: Callable[..., Any]) -> Callable[..., Any]:
    """A row of Python's operator."""
    return lambda xp, given, *xs: function(*xs)


def _called(name: str) -> Callable[..., Any]:
    """A row of a function of NumPy's."""
    return lambda xp, given, *xs: getattr(xp, name)(*xs)


def _folded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A row of a function of two that takes any number."""

    def row(xp: Any, given: Given, *xs: Any) -> Any:
        return list(itertools.accumulate(xs, lambda a, b: function(xp, a, b)))[-1]

    return row


def _div(xp: Any, given: Given, a: Any, b: Any) -> Any:
    if numpy.dtype(a.dtype).kind == "f":
        return a / b
    return xp.sign(a) * xp.sign(b) * (abs(a) // abs(b))  # of integers toward 0


def _gemm(xp: Any, given: Given, a: Any, b: Any, c: Any = None) -> Any:
    a, b = (x.T if given.get(name) else x for x, name in ((a, "transA"), (b, "transB")))
    y = a @ b if given.get("alpha", 1.0) == 1 else (a @ b) * given["alpha"]
    return y if c is None else y + (c if given.get("beta", 1.0) == 1 else c * given["beta"])


def _reduction(name: str) -> Callable[..., Any]:
    def row(xp: Any, given: Given, x: Any, axes: Any = None) -> Any:
        axes = given.get("axes", axes)
        if axes is None or not len(axes):
            if given.get("noop_with_empty_axes"):
                return x
            axes = range(x.ndim)
        return getattr(xp, name)(x, axis=tuple(whole("axes", axes)), keepdims=bool(given.get("keepdims", 1)))

    return row


def _extreme(name: str) -> Callable[..., Any]:
    def row(xp: Any, given: Given, x: Any) -> Any:
        _refuse(given, select_last_index=0)
        found = getattr(xp, name)(x, axis=given.get("axis", 0))
        return xp.expand_dims(found, given.get("axis", 0)) if given.get("keepdims", 1) else found

    return row


def _refuse(given: Given, **only: Any) -> None:
    """Raise UsageError for an attribute that has another value than the one that is computed here."""
    for name, value in only.items():
        if (found := given.get(name, value)) != value:
            raise UsageError(f"{name}={found!r}, and {value!r} alone is computed here")


def _cumsum(xp: Any, given: Given, x: Any, axis: Any) -> Any:
    at = whole("axis", axis)[0] % x.ndim
    order = (*[slice(None)] * at, slice(None, None, -1 if given.get("reverse") else None))
    terms = x[order]
    sums = xp.cumsum(terms, axis=at)
    return (sums - terms if given.get("exclusive") else sums)[order]


def _gather(xp: Any, given: Given, x: Any, places: Any) -> Any:
    axis = given.get("axis", 0) % x.ndim
    if isinstance(x, Tensor) and axis == 0 and x.ndim == 2 and places.ndim:
        return registry["embedding"](x, places if isinstance(places, Tensor) else tensor(places, device=x.device))
    if isinstance(places, Tensor):
        return xp.take(x, places, axis=axis)
    return x[(slice(None),) * axis + (int(places) if not places.ndim else places,)]


def _slice(xp: Any, given: Given, x: Any, starts: Any, stops: Any, axes: Any = None, steps: Any = None) -> Any:
    starts, stops = whole("starts", starts), whole("ends", stops)
    axes = range(len(starts)) if axes is None else whole("axes", axes)
    steps = [1] * len(starts) if steps is None else whole("steps", steps)
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(axes, starts, stops, steps, strict=True):
        n = x.shape[axis]
        start, stop = (k + n if k < 0 else k for k in (start, stop))
        least, most = (0, n) if step > 0 else (-1, n - 1)
        start, stop = (min(max(k, least), most) for k in (start, stop))
        index[axis] = slice(start, None if stop < 0 else stop, step)
    return x[tuple(index)]


def _split(xp: Any, given: Given, x: Any, sizes: Any = None) -> Any:
    axis, found, start = given.get("axis", 0) % x.ndim, [], 0
    if sizes is None:
        each = -(-x.shape[axis] // given.outputs)
        sizes = [min(each, x.shape[axis] - at) for at in range(0, x.shape[axis], each)]
    if sum(whole("split", sizes)) != x.shape[axis]:
        raise UsageError(f"split={whole('split', sizes)}: together they are not the {x.shape[axis]} of axis {axis}")
    for size in whole("split", sizes):
        found.append(x[(slice(None),) * axis + (slice(start, start + size),)])
        start += size
    return found


def _reshape(xp: Any, given: Given, x: Any, shape: Any) -> Any:
    lengths = whole("shape", shape)
    if not given.get("allowzero"):
        lengths = [x.shape[k] if n == 0 else n for k, n in enumerate(lengths)]
    return xp.reshape(x, lengths)


def _squeeze(xp: Any, given: Given, x: Any, axes: Any = None) -> Any:
    axes = given.get("axes", axes)
    axes = [k for k, n in enumerate(x.shape) if n == 1] if axes is None else whole("axes", axes)
    return xp.squeeze(x, axis=tuple(axes)) if axes else x


def _expand(xp: Any, given: Given, x: Any, shape: Any) -> Any:
    return xp.broadcast_to(x, numpy.broadcast_shapes(tuple(x.shape), tuple(whole("shape", shape))))


def _shape(xp: Any, given: Given, x: Any) -> Any:
    return numpy.array(x.shape, "int64")[slice(given.get("start", 0), given.get("end"))]


def _pad(xp: Any, given: Given, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    pads = whole("pads", pads)
    axes = range(x.ndim) if axes is None else [axis % x.ndim for axis in whole("axes", axes)]
    width = [(0, 0)] * x.ndim
    for axis, pair in zip(axes, zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True), strict=True):
        width[axis] = pair
    if given.get("mode", "constant") != "constant":
        return xp.pad(x, width, mode=given["mode"])
    return xp.pad(x, width, constant_values=0.0 if value is None else float(fixed("value", value)))


def _window(given: Given, lengths: Sequence[int], size: Sequence[int]) -> tuple[Any, Any, Any]:
    """Strides, borders and dilations of a convolution or a pooling."""
    ones, axes = [1] * len(size), len(size)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    how, pads = given.get("auto_pad", "NOTSET"), given.get("pads", [0] * 2 * axes)
    if how == "VALID":
        pads = [0] * 2 * axes
    elif how != "NOTSET":
        windows = zip(lengths, size, strides, dilations, strict=True)
        total = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in windows]
        less = [n // 2 for n in total]
        more = [n - half for n, half in zip(total, less, strict=True)]
        pads = [*less, *more] if how == "SAME_UPPER" else [*more, *less]
    return tuple(strides), tuple(zip(pads[:axes], pads[axes:], strict=True)), tuple(dilations)


def _kernel(w: Any) -> Any:
    """(filters, channels, *size) as (*size, channels, filters)."""
    return w.transpose(*range(2, w.ndim), 1, 0)


def _conv(xp: Any, given: Given, x: Any, w: Any, b: Any = None) -> Any:
    stride, padding, dilation = _window(given, x.shape[2:], w.shape[2:])
    more = {"dilation": dilation, "groups": given.get("group", 1), "channels_first": True}
    return convolution(x, _kernel(w), b, stride=stride, padding=padding, **more)


def _conv_transpose(xp: Any, given: Given, x: Any, w: Any, b: Any = None) -> Any:
    _refuse(given, auto_pad="NOTSET")
    stride, padding, dilation = _window(given, x.shape[2:], w.shape[2:])
    _refuse(given, output_shape=None)
    return transposed_convolution(
        x, _kernel(w), b, stride=stride, padding=padding, dilation=dilation, groups=given.get("group", 1),
        output_padding=tuple(given.get("output_padding", [0] * len(stride))), channels_first=True,
    )  # fmt: skip


def _pooling(pool: Callable[..., Any]) -> Callable[..., Any]:
    def row(xp: Any, given: Given, x: Any) -> Any:
        _refuse(given, ceil_mode=0, storage_order=0, dilations=[1] * (x.ndim - 2))
        size = tuple(given["kernel_shape"])
        stride, padding, _ = _window(given, x.shape[2:], size)
        if given.get("count_include_pad"):
            x, padding = xp.pad(x, [(0, 0), (0, 0), *padding]), ((0, 0),) * len(size)
        return pool(x, size, stride, padding, channels_first=True)

    return row


def _over_space(name: str) -> Callable[..., Any]:
    return lambda xp, given, x: getattr(xp, name)(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _along_channels(x: Any, like: Any) -> Any:
    return x.reshape(-1, *[1] * (like.ndim - 2))


def _batch_normalization(xp: Any, given: Given, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> Any:
    """By the moving values; in training by those of the batch, towards which the moving ones go."""
    _refuse(given, training_mode=0)
    if given.training:
        axes = (0, *range(2, x.ndim))
        kept, count = given.get("momentum", 0.9), x.size // x.shape[1]
        moving = [given.state[name] for name in given.names[3:5]]
        mean = xp.mean(x, axis=axes)
        variance = xp.mean((x - _along_channels(mean, x)) ** 2, axis=axes)
        now = mean.detach(), variance.detach() * (count / max(1, count - 1))
        for old, new in zip(moving, now, strict=True):
            old.assign(old * kept + new * (1 - kept))
    shift, scale = _along_channels(mean, x), _along_channels(gamma / xp.sqrt(variance + given.get("epsilon", 1e-5)), x)
    return (x - shift) * scale + _along_channels(beta, x)


def _normalized(xp: Any, x: Any, axes: Sequence[int], epsilon: float) -> Any:
    centred = x - xp.mean(x, axis=tuple(axes), keepdims=True)
    return centred / xp.sqrt(xp.mean(centred**2, axis=tuple(axes), keepdims=True) + epsilon)


def _layer_normalization(xp: Any, given: Given, x: Any, gamma: Any, beta: Any = None) -> Any:
    axis, epsilon = given.get("axis", -1) % x.ndim, given.get("epsilon", 1e-5)
    if axis == x.ndim - 1 and beta is not None and gamma.ndim == beta.ndim == 1:
        return registry["layer_normalization"](x, gamma, beta, epsilon=epsilon)
    y = _normalized(xp, x, range(axis, x.ndim), epsilon) * gamma
    return y if beta is None else y + beta


def _instance_normalization(xp: Any, given: Given, x: Any, gamma: Any, beta: Any) -> Any:
    y = _normalized(xp, x, range(2, x.ndim), given.get("epsilon", 1e-5))
    return y * _along_channels(gamma, x) + _along_channels(beta, x)


def _group_normalization(xp: Any, given: Given, x: Any, gamma: Any, beta: Any) -> Any:
    groups = given["num_groups"]
    apart = x.reshape(x.shape[0], groups, -1)
    y = _normalized(xp, apart, [2], given.get("epsilon", 1e-5)).reshape(*x.shape)
    if gamma.shape[0] == groups != x.shape[1]:  # up to version 20 of the operators
        gamma, beta = (xp.repeat(each, x.shape[1] // groups) for each in (gamma, beta))
    return y * _along_channels(gamma, x) + _along_channels(beta, x)


def _clip(xp: Any, given: Given, x: Any, least: Any = None, most: Any = None) -> Any:
    least, most = given.get("min", least), given.get("max", most)
    x = x if least is None else xp.maximum(x, least)
    return x if most is None else xp.minimum(x, most)


def _cast(xp: Any, given: Given, x: Any) -> Any:
    if given["to"] not in DTYPES:
        raise UsageError(f"to={given['to']}: it is cast to none of {', '.join(DTYPES.values())}")
    return x.astype(DTYPES[given["to"]])


def _dropout(xp: Any, given: Given, x: Any, ratio: Any = None, training: Any = None) -> Any:
    from .core import Dropout

    rate = 0.5 if ratio is None else float(fixed("ratio", ratio))
    return Dropout(rate).apply({}, x, training=given.training, generator=given.generator)


def _prelu(xp: Any, given: Given, x: Any, slope: Any) -> Any:
    return xp.where(x < 0, x * slope, x)


def _trilu(xp: Any, given: Given, x: Any, k: Any = None) -> Any:
    count = 0 if k is None else whole("k", k)[0]
    return (xp.triu if given.get("upper", 1) else xp.tril)(x, count)


def _filled(xp: Any, given: Given, shape: Any) -> Any:
    dtype, _, (value,) = given.get("value", ["float32", [1], [0.0]])
    return numpy.full(whole("shape", shape), value, dtype)


def _recurrent(states: int, step: Callable[..., Any], default: Sequence[str]) -> Callable[..., Any]:
    """LSTM, GRU and RNN. step: (x, w, r, of x, of the state, states, mask) of one direction -> states of all steps."""

    def row(xp: Any, given: Given, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None, *more: Any) -> Any:
        begun, peepholes = more[:states], more[states:]
        if lengths is not None or any(each is not None for each in peepholes):
            raise UsageError("it has lengths of sequences or peepholes, which are not computed here")
        _refuse(given, clip=0.0, input_forget=0, layout=0)
        directions, units = r.shape[0], r.shape[-1]
        if [s.lower() for s in given.get("activations", [])] not in ([], [s.lower() for s in default] * directions):
            raise UsageError(f"activations={given['activations']}, and {[*default]} alone are computed here")
        x = x.transpose(1, 0, 2)
        mask = numpy.ones(x.shape[:2], bool)
        found, last = [], []
        for at in range(directions):
            backwards = given.get("direction", "forward") == "reverse" or at == 1
            own = x[:, ::-1] if backwards else x
            gates = w.shape[1]
            of_x, of_state = (None, None) if b is None else (b[at, :gates], b[at, gates:])
            zeros = numpy.zeros((x.shape[0], units), str(x.dtype))
            first = [begun[n][at] if len(begun) > n and begun[n] is not None else tensor(zeros, device=x.device)
                     for n in range(states)]  # fmt: skip
            made = step(xp, given, own, w[at].T, r[at].T, of_x, of_state, first, tensor(mask, device=x.device))
            last.append([each[:, -1] for each in made])
            found.append(made[0][:, ::-1] if backwards else made[0])
        steps = xp.stack([h.transpose(1, 0, 2) for h in found], axis=1)
        return [steps, *(xp.stack([each[n] for each in last], axis=0) for n in range(states))]

    return row


def _shifted(x: Any, w: Any, *shifts: Any) -> Any:
    z = x @ w
    for b in shifts:
        z = z if b is None else z + b
    return z


def _in_order(x: Any, order: Sequence[int]) -> Any:
    """Gates of ONNX's in our order."""
    units = x.shape[-1] // len(order)
    return x[..., numpy.concatenate([numpy.arange(units) + gate * units for gate in order])]


def _lstm(xp: Any, given: Given, x: Any, w: Any, r: Any, of_x: Any, of_state: Any, first: Any, mask: Any) -> Any:
    z = _in_order(_shifted(x, w, of_x, of_state), [0, 2, 3, 1])  # ours: in, forget, candidate, out
    both = lstm(z, _in_order(r, [0, 2, 3, 1]), *first, mask)
    return [both[0], both[1]]


def _gru(xp: Any, given: Given, x: Any, w: Any, r: Any, of_x: Any, of_state: Any, first: Any, mask: Any) -> Any:
    if not given.get("linear_before_reset"):
        raise UsageError("linear_before_reset=0, and 1 alone is computed here")
    shift = tensor(numpy.zeros(r.shape[-1], str(r.dtype)), device=r.device) if of_state is None else of_state
    return [gru(_shifted(x, w, of_x), r, shift, *first, mask)]


def _rnn(xp: Any, given: Given, x: Any, w: Any, r: Any, of_x: Any, of_state: Any, first: Any, mask: Any) -> Any:
    return [simple_rnn(_shifted(x, w, of_x, of_state), r, *first, mask)]


OPERATORS: dict[str, Callable[..., Any]] = {
    **{each.onnx: _called(each.array) for each in operators.OPERATORS.values() if each.onnx}, "Div": _div,
    "Reciprocal": _one(lambda x: 1 / x), "MatMul": _one(operator.matmul),
    "Mod": lambda xp, given, a, b: (xp.fmod if given.get("fmod") else xp.mod)(a, b),
    "Identity": _one(lambda x: x), "Dropout": _dropout, "Gemm": _gemm, "Cast": _cast,
    "Where": lambda xp, given, test, a, b: xp.where(test, a, b),
    "Min": _folded(lambda xp, a, b: xp.minimum(a, b)), "Max": _folded(lambda xp, a, b: xp.maximum(a, b)),
    "Sum": _folded(lambda xp, a, b: a + b), "Clip": _clip,
    "ReduceSum": _reduction("sum"), "ReduceMean": _reduction("mean"), "ReduceMax": _reduction("max"),
    "ReduceMin": _reduction("min"), "ReduceProd": _reduction("prod"), "ArgMax": _extreme("argmax"),
    "ArgMin": _extreme("argmin"), "CumSum": _cumsum,
    "Gather": _gather, "Slice": _slice, "Split": _split, "Reshape": _reshape, "Squeeze": _squeeze, "Expand": _expand,
    "Concat": lambda xp, given, *xs: xp.concatenate(xs, axis=given["axis"]),
    "Transpose": lambda xp, given, x: xp.transpose(x, given.get("perm", [*range(x.ndim)][::-1])),
    "Unsqueeze": lambda xp, given, x, axes=None: xp.expand_dims(x, tuple(whole("axes", given.get("axes", axes)))),
    "Flatten": lambda xp, given, x: xp.reshape(x, (math.prod(x.shape[: given.get("axis", 1)]), -1)),
    "Shape": _shape, "Size": lambda xp, given, x: numpy.array(math.prod(x.shape), "int64"),
    "ConstantOfShape": _filled, "Trilu": _trilu, "Pad": _pad,
    "Range": lambda xp, given, *xs: numpy.arange(*(fixed("range", x).item() for x in xs), dtype=xs[0].dtype),
    "Tile": lambda xp, given, x, times: xp.tile(x, whole("repeats", times)),
    "Softmax": lambda xp, given, x: softmax(x, axis=given.get("axis", -1)),
    "LogSoftmax": lambda xp, given, x: log_softmax(x, axis=given.get("axis", -1)),
    "Gelu": lambda xp, given, x: (gelu_tanh if given.get("approximate") == "tanh" else gelu)(x),
    "LeakyRelu": lambda xp, given, x: leaky_relu(x, negative_slope=given.get("alpha", 0.01)), "PRelu": _prelu,
    "Elu": lambda xp, given, x: elu(x, alpha=given.get("alpha", 1.0)),
    "HardSigmoid": lambda xp, given, x: xp.clip(x * given.get("alpha", 0.2) + given.get("beta", 0.5), 0, 1),
    "HardSwish": lambda xp, given, x: x * xp.clip(x / 6 + 0.5, 0, 1),
    "Einsum": lambda xp, given, *xs: einsum(given["equation"], *xs),
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _pooling(max_pool),
    "AveragePool": _pooling(average_pool), "GlobalAveragePool": _over_space("mean"),
    "GlobalMaxPool": _over_space("max"), "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization, "InstanceNormalization": _instance_normalization,
    "GroupNormalization": _group_normalization, "LSTM": _recurrent(2, _lstm, ("sigmoid", "tanh", "tanh")),
    "GRU": _recurrent(1, _gru, ("sigmoid", "tanh")), "RNN": _recurrent(1, _rnn, ("tanh",)),
}  # fmt: skip
"""(xp, what the node says, inputs) -> the output, or a list of them. xp: NumPy, or its functions of tensors."""


def row_of(name: str) -> Callable[..., Any] | None:
    """What computes an operator: its row, a primitive whose form it is, or a function of the language of equations."""
    if name in OPERATORS:
        return OPERATORS[name]
    for primitive in registry.values():
        if primitive.onnx_form == name and len(primitive.operands) == 1:
            return lambda xp, given, x: primitive(x if isinstance(x, Tensor) else tensor(x), **given)
    for called, function in FUNCTIONS.items():
        if function.onnx == name:
            own = registry.get(called)
            return lambda xp, given, x: (
                own if own and isinstance(x, Tensor) else getattr(xp, function.array or called)
            )(x)
    return None
