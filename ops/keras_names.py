"""Functions of `keras.ops` that have another name or other arguments there: `from chalkgrad import ops`.

All else in `ops` is a primitive, or composed of some, under its own name, which is Keras's wherever both have it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from ..engine.batching import vmap
from ..engine.namespace import makers, namespace
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError
from . import lookup
from .activation import elu, log_softmax, relu, silu, softplus
from .arithmetic import absolute, astype, equal, maximum, minimum, multiply
from .arrangement import along, moveaxis, take_along_axis
from .composed import given
from .creation import one_hot as labels_as_rows
from .elementary import sqrt, tanh
from .reduction import argsort, max, sum
from .shapes import flip, squeeze

# Tensors


def convert_to_tensor(x: Any, dtype: Any = None) -> Tensor:
    """x as a tensor; one stays itself where it has that dtype."""
    same = isinstance(x, Tensor) and dtype in (None, x.dtype)
    return x if same else tensor(x, dtype=dtype)


def convert_to_numpy(x):
    """The values as an array of NumPy."""
    return x.numpy() if isinstance(x, Tensor) else numpy.asarray(x)


def is_tensor(x) -> bool:
    """Whether x is a tensor."""
    return isinstance(x, Tensor)


def cast(x, dtype):
    """x in another dtype."""
    return astype(x, dtype)


def stop_gradient(variable):
    """The same values without a gradient."""
    return variable.detach()


def dtype(x) -> str:
    """The name of the dtype."""
    return str(given(x).dtype)


def _made(name: str) -> Any:
    def function(*arguments: Any, **options: Any) -> Tensor:
        made: Tensor = makers[name]("cpu", *arguments, **options)
        return made.astype("float32") if options.get("dtype") is None and made.dtype == "float64" else made

    function.__name__, function.__doc__ = name, f"NumPy's `{name}` as a tensor, float32 where no dtype is given."
    return function


arange, empty, eye, full, identity, linspace, ones, tri, zeros = map(
    _made, ("arange", "empty", "eye", "full", "identity", "linspace", "ones", "tri", "zeros")
)


def one_hot(x, num_classes, axis=-1, dtype="float32"):
    """Labels as rows with a 1 at the label, along a new axis; a label of -1 is a row of zeros."""
    x = given(x)
    found = equal(namespace.expand_dims(x, axis=-1), numpy.arange(num_classes))
    return moveaxis(astype(found, dtype), -1, axis)


# Activations


def rsqrt(x):
    """1 / √x, elementwise."""
    return 1.0 / sqrt(x)


def gelu(x, approximate=True):
    """x times the normal distribution's probability of less than x, by default approximated by tanh, as in Keras."""
    if not approximate:
        return namespace.gelu(x)
    return x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2


def relu6(x):
    """max(x, 0), 6 at most, elementwise."""
    return minimum(relu(x), 6.0)


def hard_sigmoid(x):
    """x / 6 + 1/2 within [0, 1], elementwise."""
    return minimum(maximum(x / 6 + 0.5, 0.0), 1.0)


def selu(x):
    """The scaled exponential linear unit, elementwise (Klambauer et al. 2017)."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def softsign(x):
    """x / (1 + |x|), elementwise."""
    return x / (1 + absolute(x))


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))), elementwise."""
    return -softplus(-x)


def swish(x):
    """x times its own sigmoid, elementwise."""
    return silu(x)


# Places, norms, losses of single examples


def top_k(x, k, sorted=True):
    """The k greatest along the last axis, in descending order, and their places."""
    places = along(flip(argsort(x, -1), -1), -1, slice(0, k))
    return take_along_axis(x, places, -1), places


def normalize(x, axis=-1, order=2, epsilon=1e-12):
    """x over its norm along `axis`."""
    norm = sum(absolute(x) ** order, axis, True) ** (1 / order)
    return x / maximum(norm, epsilon)


def _pooled(name: str) -> Any:
    def function(inputs, pool_size, strides=None, padding="valid", data_format=None):
        return getattr(namespace, name)(inputs, pool_size, strides, padding, data_format == "channels_first")

    function.__name__, function.__doc__ = name, f"`{name}` of windows of that size, by default side by side."
    return function


max_pool, average_pool = map(_pooled, ("max_pool", "average_pool"))


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """The convolution of images with a kernel, (height, width, in, out)."""
    return namespace.convolution(
        inputs, kernel, None, strides, padding, dilation_rate, 1, data_format == "channels_first"
    )


def segment_sum(data, segment_ids, num_segments=None, sorted=False):
    """The sums of the rows that have an id, one for each id."""
    count = int(max(given(segment_ids)).item()) + 1 if num_segments is None else num_segments
    return lookup.segment_sum(data, segment_ids, count)


def _beside(name, target, output):
    """Both; raises ShapeError where they have not one shape, since they would only broadcast."""
    target, output = given(target), given(output)
    if target.shape != output.shape:
        raise ShapeError(f"ops.{name}: target has shape {target.shape}, output {output.shape}; one shape for both.")
    return target, output


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-Σ t log p along `axis`, one for each example. Probabilities are scaled to sum to 1, and kept off 0 by 1e-7."""
    target, output = _beside("categorical_crossentropy", target, output)
    if from_logits:
        return -sum(multiply(target, log_softmax(output, axis)), axis)
    output = output / sum(output, axis, True)
    return -sum(multiply(target, namespace.log(namespace.clip(output, 1e-7, 1 - 1e-7))), axis)


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """The same for integer labels, of the shape of `output` without `axis`, or with 1 there."""
    target, output = given(target), given(output)
    if len(target.shape) == len(output.shape) and target.shape[axis] == 1:
        target = squeeze(target, axis=axis)
    rows = moveaxis(labels_as_rows(target, classes=output.shape[axis]), -1, axis).astype(output.dtype)
    return categorical_crossentropy(rows, output, from_logits, axis)


def binary_crossentropy(target, output, from_logits=False):
    """-t log p - (1 - t) log(1 - p), elementwise."""
    target, output = _beside("binary_crossentropy", target, output)
    if from_logits:
        return softplus(output) - multiply(target, output)
    output = namespace.clip(output, 1e-7, 1 - 1e-7)
    return -multiply(target, namespace.log(output)) - multiply(1 - target, namespace.log(1 - output))


# Control


def vectorized_map(function, elements):
    """The function on each element along the first axis, stacked: `vmap`."""
    return vmap(function)(*elements) if isinstance(elements, (list, tuple)) else vmap(function)(elements)


def cond(pred, true_fn, false_fn):
    """What one of two functions gives."""
    return true_fn() if pred else false_fn()


def fori_loop(lower, upper, body_fun, init_val):
    """The value after body_fun(i, value) for each i from lower to upper."""
    for i in range(int(lower), int(upper)):
        init_val = body_fun(i, init_val)
    return init_val


def while_loop(cond, body, loop_vars, maximum_iterations=None):
    """The variables after the body was called on them as long as the condition holds."""
    count = 0
    while cond(*loop_vars) and (maximum_iterations is None or count < maximum_iterations):
        loop_vars, count = body(*loop_vars), count + 1
    return loop_vars
