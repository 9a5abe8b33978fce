"""What is given to a primitive, as what it can compute with: arguments sorted, lists and numbers as arrays, dtypes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import ChalkgradError, DtypeError, GraphError, ShapeError, UsageError
from . import backend
from .capturing import capturing
from .incoming import as_array
from .nested import holds_tensors, joined
from .tensor import Tensor, tensor

if TYPE_CHECKING:
    from .primitive import Primitive

FLOAT32, FLOAT64 = numpy.dtype("float32"), numpy.dtype("float64")
LARGEST = float(numpy.finfo(FLOAT32).max)


def number_beside(value: float, dtype: Any) -> Any:
    """A number as NumPy takes it beside arrays of this dtype, made an array once; itself where it has not one kept.

    A zero is not kept, since 0.0 and -0.0 are one key, nor what could overflow.
    """
    if value and -LARGEST < value < LARGEST and (dtype is FLOAT32 or dtype is FLOAT64):
        return _number(value, dtype)
    return value


@functools.lru_cache(1024)
def _number(value: float, dtype: Any) -> Any:
    array = numpy.asarray(value, dtype)
    array.flags.writeable = False
    return array


def bind(primitive: Primitive, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Sort a call's arguments into operands and parameters; raises TypeError as a Python function would.

    A binder of the primitive's own may give a third: a function of the result, or None.
    """
    if primitive.binder:
        try:
            operands, parameters, *after = primitive.binder(*args, **kwargs)
        except TypeError as error:
            own, called = f"{primitive.binder.__name__}()", f"{primitive.name}()"
            if own not in str(error):
                raise
            raise TypeError(str(error).replace(own, called)) from None  # speaks of the call that was made
        for name, value in parameters.items():
            if value.__class__ not in AS_IT_IS:
                parameters = {**parameters, name: _parameter(primitive, name, value)}
        return operands, parameters, *after
    count, complete = len(primitive.operands), len(primitive.defaults) == len(primitive.parameters)
    if len(args) == count and not kwargs and complete:
        return args, primitive.defaults
    parameters = dict(primitive.defaults)
    if complete and count <= len(args) <= count + len(parameters):
        others = dict(zip(primitive.parameters, args[count:], strict=False)) if len(args) > count else {}
        if kwargs.keys() <= parameters.keys() - others.keys():  # as in most calls
            for name, value in (others | kwargs).items():
                parameters[name] = value if value.__class__ in AS_IT_IS else _parameter(primitive, name, value)
            return args[:count], parameters
    names = (*primitive.operands, *primitive.parameters)
    if len(args) > len(names):
        raise TypeError(f"{primitive.name}() takes {len(names)} arguments ({', '.join(names)}), got {len(args)}.")
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names or name in given:
            raise TypeError(
                f"{primitive.name}() got {name!r} {'twice' if name in given else 'which it does not take'}."
            )
        given[name] = value
    parameters.update(
        (name, _parameter(primitive, name, given[name])) for name in primitive.parameters if name in given
    )
    missing = [name for name in names if name not in given and name not in parameters]
    if missing:
        raise TypeError(f"{primitive.name}() needs {', '.join(missing)}: its arguments are {', '.join(names)}.")
    return tuple(given[name] for name in primitive.operands), parameters


AS_IT_IS = frozenset((int, float, bool, str, type(None)))
"""What a parameter may be, and nothing is to be done."""


def _parameter(primitive: Primitive, name: str, value: Any) -> Any:
    """A parameter that was given, as the kernel takes it: axes by integers, and of a tensor its number."""
    if value.__class__ in AS_IT_IS:
        return value
    if name == "axis":
        several = isinstance(value, (tuple, list, range)) or getattr(value, "ndim", 0) > 0
        try:
            return tuple(map(operator.index, value)) if several else operator.index(value)
        except TypeError:
            raise UsageError(f"{primitive.name}(axis={value!r}): an axis is an integer; several are a tuple.") from None
    for x in (value,) if isinstance(value, Tensor) else value if isinstance(value, (tuple, list)) else ():
        if isinstance(x, Tensor) and x.requires_grad:
            raise GraphError(
                f"{name} of {primitive.name} is a parameter, to which no gradient goes, and the tensor given (shape "
                f"{x.shape}) requires one: give .item(), or compose {primitive.text!r} of operations on tensors."
            )
    return value.item() if isinstance(value, Tensor) and not value.ndim else value


def aside(primitive: Primitive, operands: tuple[Any, ...], parameters: Mapping[str, Any]) -> Any:
    """Operands of any kind: themselves as tensors or constants, their arrays, and the result's array.

    Where they are made tensors first, or of another dtype, it goes on with these, and gives the result itself.
    """
    trace = capturing()
    if trace:
        for x in operands:
            if x.__class__ is Tensor:
                trace.lift(x)
    arrays = tuple([x._data if x.__class__ is Tensor else _constant(x, primitive) for x in operands])
    if any([isinstance(x, numpy.generic) for x in arrays]):
        arrays = _with_numbers(primitive, arrays)
    operands = tuple([x if x.__class__ is Tensor else array for x, array in zip(operands, arrays, strict=True)])
    if any([x.__class__ is Tensor for x in arrays]):  # of a list of tensors
        return primitive.compute(operands, parameters)
    if not trace:  # another thread may be recording, or have been just now, with some of them borrowed
        arrays = tuple([backend.plain(x) for x in arrays])
    arrays = _as_arrays(primitive, arrays)
    xp, device = backend.common_namespace(arrays, primitive.name), _device_among(arrays)
    if dtypes := _dtypes(primitive, arrays, parameters):
        inner, outer = dtypes
        cast = [_cast(x, array, inner) if primitive.operand(i) in primitive.equation.terms else x
                for i, (x, array) in enumerate(zip(operands, arrays, strict=True))]  # fmt: skip
        made = primitive.compute(tuple(cast), parameters)
        return made.astype(outer) if made.dtype == inner != outer else made
    try:
        if primitive.checker:
            primitive.checker(*(map(trace.plain, arrays) if trace else arrays), **parameters)
        if primitive.value_checker and device == "cpu":  # a GPU is not waited for
            looked_at = functools.partial(primitive.value_checker, **parameters)
            if trace:
                trace.check(
                    primitive.name, looked_at, arrays, getattr(primitive.value_checker, "in_each_replay", False)
                )
            else:
                looked_at(*arrays)
        if device == "cpu":
            compute = primitive.computing if primitive.cpu_kernel else primitive.kernel
            return operands, arrays, xp.asarray(compute(xp, *arrays, **parameters))
        with backend.working(device, primitive.name):
            return operands, arrays, xp.asarray(primitive.computing(xp, *arrays, **parameters))
    except ChalkgradError:
        raise
    except backend.REFUSED as error:
        raise refusal(primitive, arrays, parameters, error) from error


def refusal(
    primitive: Primitive, arrays: tuple[Any, ...], parameters: Mapping[str, Any], error: Exception
) -> Exception:
    """The error of ours for one of an array library's."""
    names = [primitive.operand(i) for i in range(len(arrays))]
    parts = [f"{name} of shape {getattr(x, 'shape', ())}" for name, x in zip(names, arrays, strict=True)]
    parts += [f"{name}={value!r}" for name, value in parameters.items()]
    kind = DtypeError if isinstance(error, OverflowError) else ShapeError  # a number that the other's dtype has not
    return kind(f"{primitive.name} ({primitive.text}) cannot take {', '.join(parts)}: {error}")


def _as_arrays(primitive: Primitive, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """Lists as arrays, of the floating dtype of the others; numbers too, where the equation is about whole arrays.

    A number in an elementwise equation stays one: NumPy then gives it the dtype of the array beside it.
    """
    lists = any([x.__class__ in (list, tuple) for x in operands])
    if not lists and primitive.equation.elementwise and any([hasattr(x, "dtype") for x in operands]):
        return operands
    dtypes = [x.dtype for x in operands if hasattr(x, "dtype") and x.dtype.kind == "f"]
    dtype = numpy.result_type(*dtypes) if dtypes else None
    lonely = not any(hasattr(x, "dtype") for x in operands)
    device = _device_among(operands)
    arrays = []
    for x in operands:
        listed = isinstance(x, (list, tuple))
        if listed or (not hasattr(x, "dtype") and (lonely or not primitive.equation.elementwise)):
            array = tensor(x)._data if dtype is None else as_array(x, f"an operand of {primitive.name}")
            x = backend.send(array if dtype is None or array.dtype.kind != "f" else array.astype(dtype), device)
        arrays.append(x)
    return tuple(arrays)


def _with_numbers(primitive: Primitive, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """With NumPy's numbers, which have no device, as arrays beside the others; on a GPU as Python's, where that gives
    the same dtype: nothing is sent then.
    """
    device = _device_among(tuple([x._data if x.__class__ is Tensor else x for x in operands]))
    dtypes = [(x.dtype, isinstance(x, numpy.generic)) for x in operands if hasattr(x, "dtype")]
    others = [dtype for dtype, is_number in dtypes if not is_number]
    same = others and numpy.result_type(*others) == numpy.result_type(*[dtype for dtype, _ in dtypes])
    if device != "cpu" and primitive.equation.elementwise and same:
        return tuple([x.item() if isinstance(x, numpy.generic) else x for x in operands])
    return tuple([backend.send(numpy.asarray(x), device) if isinstance(x, numpy.generic) else x for x in operands])


def _dtypes(primitive: Primitive, arrays: tuple[Any, ...], parameters: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The dtype to compute in, and that of the result, where they are not the operands' own; else None.

    Where the equation leaves the integers they become floating point: bool and up to 16 bits float32, larger ones
    float64, beside floats what NumPy makes of both. What sums float16 does so in float32.
    """
    terms = primitive.equation.terms
    found = [x.dtype for i, x in enumerate(arrays) if hasattr(x, "dtype") and primitive.operand(i) in terms]
    floats = [dtype for dtype in found if dtype.kind == "f"]
    fraction = any(type(v) is float and name in terms and not v.is_integer() for name, v in parameters.items())
    leaves = len(floats) < len(found) and (fraction or not primitive.whole)
    if not leaves and not floats:
        return None
    alone = ["float32" if dtype.itemsize <= 2 else "float64" for dtype in found]
    outer = numpy.result_type(*(found if floats else alone))
    inner = numpy.dtype(numpy.float32) if outer == numpy.float16 and primitive.adds else outer
    return (inner, outer) if leaves or inner != outer else None


def _device_among(operands: tuple[Any, ...]) -> str:
    """The device of the first operand that has one."""
    placed = (x for x in operands if hasattr(x, "dtype") and not isinstance(x, numpy.generic))
    return next(map(backend.device_of, placed), "cpu")


def _constant(value: Any, primitive: Primitive) -> Any:
    """An operand that is no Tensor: a number stays one (Python's takes the other's dtype), an array is a constant.

    A list in which there are tensors becomes a Tensor.
    """
    if isinstance(value, (bool, int, float)) and not isinstance(value, numpy.generic):
        return value
    if isinstance(value, (list, tuple)) and holds_tensors(value):
        return joined(value)
    array = as_array(value, f"an operand of {primitive.name}")
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, numpy.generic):
        return array[()]
    if isinstance(value, numpy.matrix) and {"__mul__", "__pow__"} & set(primitive.operators):
        raise DtypeError(
            f"an operand of {primitive.name} is a numpy.matrix, whose * and ** are products of matrices: give "
            "numpy.asarray(x), or use @."
        )
    return array


def _cast(operand: Any, array: Any, dtype: Any) -> Any:
    """The operand in another dtype, with its way back; a number, which takes the others' dtype, as it is."""
    if not hasattr(array, "dtype") or array.dtype == dtype:
        return operand
    if isinstance(array, numpy.generic):
        return array.astype(dtype)
    return (operand if operand.__class__ is Tensor else Tensor(array)).astype(dtype)
