"""Functions of NumPy that are a few steps of the primitives: they have their gradients from those.

Here is how one is declared, and those that compute element by element; the others stand beside, by family.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy

from ..engine.namespace import makers, namespace
from ..engine.tensor import Tensor, tensor
from ..errors import ShapeError
from .activation import softplus
from .arithmetic import (
    absolute,
    astype,
    equal,
    less,
    maximum,
    minimum,
    multiply,
    not_equal,
    positive,
    power,
    sign,
    subtract,
    where,
)
from .creation import zeros_like
from .elementary import arctan2, exp, log, sin
from .logic import isinf, isnan, logical_and, logical_not
from .rounding import floor_divide, remainder, round, trunc
from .shapes import broadcast_to

composed: dict[str, Callable[..., Any]] = {}
"""By name."""


def composition(function: Any = None, *, methods: tuple[str, ...] = (), synonyms: tuple[str, ...] = ()) -> Any:
    """Declare a function composed of primitives: known to rules, to users, and to NumPy's function of that name.

    methods: the names under which it is lent to Tensor, too. synonyms: other names of it that NumPy has. Parameters
    with a default are named as NumPy names them. Also a decorator without arguments.
    """
    if function is None:
        return partial(composition, methods=methods, synonyms=synonyms)
    function = in_float64(function)
    for name in (function.__name__, *synonyms):
        composed[name] = function
        setattr(namespace, name, function)
    for name in methods:
        setattr(Tensor, name, function)
    return function


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of whose operands numbers and lists of them are float64 beside what is: no step takes them for
    float32 first, as what stands alone is.
    """
    kinds = inspect.signature(function).parameters.values()
    operands = math.inf if any(each.kind is each.VAR_POSITIONAL for each in kinds) else 0
    operands += sum(each.default is each.empty for each in kinds)

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        like = _wide((*arguments, *options.values()))
        if like is not None:
            arguments = tuple(_made(each, like, place < operands) for place, each in enumerate(arguments))
            options = {name: _made(each, like, False) for name, each in options.items()}
        return function(*arguments, **options)

    return called


def _wide(values: Any) -> Any:
    """The first of them, also in lists, that is float64."""
    for x in values:
        found = _wide(x) if isinstance(x, (list, tuple)) else x
        if found is not None and getattr(getattr(found, "dtype", None), "char", "") == "d":
            return found
    return None


def _made(x: Any, like: Any, operand: bool) -> Any:
    """A float that is an operand, or a list with one, as a tensor; all else as it is."""
    if isinstance(x, (list, tuple)):
        if any(hasattr(each, "dtype") for each in x):
            return type(x)(_made(each, like, True) for each in x)
        return constant(x, like) if _with_floats(x) else x
    return constant(x, like) if operand and type(x) is float else x


def _with_floats(x: Any) -> bool:
    return any(map(_with_floats, x)) if isinstance(x, (list, tuple)) else isinstance(x, float)


def given(x: Any, beside: Any = None) -> Any:
    """What has a shape: a tensor or an array as it is; a list or number as a tensor of the dtype of what is beside."""
    if hasattr(x, "shape"):
        return x
    return tensor(x, dtype=beside.dtype if beside is not None and beside.dtype.kind == "f" else None)


def floating(x: Any) -> Any:
    """x in floating point: as it is, or whole numbers and bools as floats, whose products do not wrap around."""
    x = given(x)
    return x if x.dtype.kind == "f" else multiply(x, 1.0)


def itself(x: Any) -> Any:
    """The same values as a tensor; bools, too, of which NumPy refuses `+x`."""
    return logical_not(logical_not(x)) if given(x).dtype.kind == "b" else positive(x)


def constant(values: Any, x: Any) -> Tensor:
    """Numbers as a tensor of the dtype and on the device of x."""
    return tensor(values, dtype=x.dtype, device=x.device if isinstance(x, Tensor) else "cpu")


def axis_of(axis: int, count: int) -> int:
    """The axis, counted from the front; raises ShapeError where there are not so many."""
    if not -count <= axis < count:
        raise ShapeError(f"axis {axis} is not there: the tensor has {count} axes.")
    return axis % count


# Angles and numbers, element by element


@composition(synonyms=("degrees",))
def rad2deg(x):
    """An angle in radians, in degrees, elementwise."""
    return multiply(x, 180 / math.pi)


@composition(synonyms=("radians",))
def deg2rad(x):
    """An angle in degrees, in radians, elementwise."""
    return multiply(x, math.pi / 180)


@composition
def sinc(x):
    """sin(πx) / (πx), elementwise, 1 at 0; below πx = 1 as its series, whose derivatives are exact, too."""
    y = multiply(x, math.pi)
    near = absolute(y) < 1
    t, far = where(near, y * y, 0.0), where(near, 1.0, y)
    series = multiply(t, 0.0)
    for k in range(9, 0, -1):
        series = (1 + series) * t / (-2 * k * (2 * k + 1))
    return where(near, 1 + series, sin(far) / far)


@composition
def logaddexp(a, b):
    """log(exp(a) + exp(b)), elementwise, never overflowing."""
    return _greater_and(a, b, softplus)


@composition
def logaddexp2(a, b):
    """log₂(2**a + 2**b), elementwise, never overflowing."""
    return _greater_and(a, b, lambda d: softplus(d * math.log(2)) / math.log(2))


def _greater_and(a, b, more):
    """The greater of two, and what the other adds to it by its distance, which is below 0."""
    a, b = given(a, b if hasattr(b, "dtype") else None), given(b, a if hasattr(a, "dtype") else None)
    same = logical_and(isinf(a), equal(a, b))
    distance = subtract(where(same, 0.0, a), where(same, 0.0, b))
    first = distance >= 0
    return where(first, a, b) + more(where(first, -distance, distance))


@composition
def fabs(x):
    """Absolute value in floating point, elementwise."""
    return multiply(absolute(x), 1.0)


@composition
def float_power(a, b):
    """Power in float64, elementwise."""
    return power(astype(given(a), "float64"), astype(given(b), "float64"))


@composition
def heaviside(x, half):
    """0 below 0, 1 above, and `half` at 0, elementwise; the gradient goes to `half` alone."""
    return where(equal(x, 0), half, (1 + sign(x)) / 2)


@composition
def copysign(a, b):
    """The size of a with the sign of b (also of -0.0), elementwise."""
    return where(arctan2(0.0, given(b)) > 1, -fabs(a), fabs(a))


@composition
def fmax(a, b):
    """The greater of two, elementwise; what is not a number yields to the other."""
    return maximum(where(isnan(a), b, a), where(isnan(b), a, b))


@composition
def fmin(a, b):
    """The lesser of two, elementwise; what is not a number yields to the other."""
    return minimum(where(isnan(a), b, a), where(isnan(b), a, b))


@composition
def fmod(a, b):
    """What division of a by b leaves, with the sign of a, elementwise."""
    return where(less(a, 0), -remainder(absolute(a), absolute(b)), remainder(absolute(a), absolute(b)))


@composition
def divmod(a, b) -> Any:
    """The quotient rounded down, and the remainder, elementwise."""
    return floor_divide(a, b), remainder(a, b)


@composition
def rint(x):
    """x to the nearest whole number, half to even, elementwise; no gradient passes."""
    return round(x)


@composition
def fix(x):
    """The whole number next to x on the side of 0, elementwise; no gradient passes."""
    return trunc(x)


@composition
def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """x with numbers for what is none, and for ±∞ (the greatest and the least by default), elementwise."""
    x = given(x)
    if x.dtype.kind != "f":
        return itself(x)
    most = float(numpy.finfo(x.dtype).max)
    x = where(equal(x, math.inf), most if posinf is None else posinf, where(isnan(x), nan, x))
    return where(equal(x, -math.inf), -most if neginf is None else neginf, x)


@composition
def select(condlist, choicelist, default=0):
    """The first choice whose condition holds, elementwise, else `default`."""
    chosen = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        chosen = where(condition, choice, chosen)
    return chosen


# What complex numbers have, of real ones


@composition(methods=("conj", "conjugate"), synonyms=("conj", "real", "real_if_close"))
def conjugate(x):
    """x itself, since it is real."""
    return itself(x)


@composition
def imag(x):
    """The imaginary part: zeros, since x is real."""
    return zeros_like(given(x))


@composition
def angle(x):
    """The angle of x with the positive numbers: 0, and π where x < 0, elementwise; no gradient passes."""
    return where(less(x, 0), math.pi, zeros_like(given(x)))


@composition
def logical_xor(a, b):
    """Whether one of them holds and not both (is not 0), elementwise: bool."""
    return not_equal(logical_not(a), logical_not(b))


# Made from numbers that may be tensors


@composition
def full(shape, fill_value, dtype=None):
    """A tensor of that shape with the same number throughout; a gradient goes to it."""
    if not isinstance(fill_value, Tensor):
        return makers["full"]("cpu", shape, fill_value, dtype)
    made = broadcast_to(fill_value, shape=(shape,) if isinstance(shape, int) else tuple(shape))
    return made if dtype is None else astype(made, dtype)


@composition
def linspace(start, stop, num=50, endpoint=True, axis=0):
    """`num` numbers at equal distances from start to stop, with the last or without it, along a new axis."""
    if not (isinstance(start, Tensor) or isinstance(stop, Tensor)):
        return makers["linspace"]("cpu", start, stop, num, endpoint, axis=axis)
    start, step = multiply(start, 1.0), (stop - start) / max(num - 1 if endpoint else num, 1)
    numbers = constant(numpy.arange(num).reshape(-1, *(1,) * len(step.shape)), step)
    return namespace.moveaxis(start + multiply(numbers, step), 0, axis)


@composition
def logspace(start, stop, num=50, endpoint=True, base=10.0, axis=0):
    """Powers of the base at equal distances of their exponents."""
    return power(base, linspace(start, stop, num, endpoint, axis))


@composition
def geomspace(start, stop, num=50, endpoint=True, axis=0):
    """Numbers in equal ratios from start to stop, both above 0."""
    return exp(linspace(log(start), log(stop), num, endpoint, axis))


namespace.shape = lambda x: tuple(given(x).shape)
namespace.ndim = lambda x: len(given(x).shape)
namespace.size = lambda x: int(given(x).size)
