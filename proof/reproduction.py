"""Arrays and calls as code that, pasted, makes the same bits again: values, dtype, layout, shared operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from ..engine.primitive import registry
from ..engine.tensor import Tensor

MOST_WRITTEN = 400
"""Arrays of more elements are written as their bytes."""

WIDTH = 110


def reproduction(function_name: str, operands: Sequence[Any], parameters: Mapping[str, Any] | None = None) -> str:
    """Code that calls the function again on the same operands, with its imports.

    function_name: of a primitive, or any expression that the reader has at hand (`my_module.f`). operands: arrays,
    tensors, numbers, or functions, which stand there by name; one array given twice is one variable in the code.
    """
    code = statements(function_name, operands, parameters)
    head = imports(code)
    return "\n".join([*head, *([""] if head else []), code])


def statements(function_name: str, operands: Sequence[Any], parameters: Mapping[str, Any] | None = None) -> str:
    """`reproduction` without the imports."""
    names: dict[int, str] = {}
    lines = []
    arguments = []
    for position, operand in enumerate(operands):
        if not isinstance(operand, numpy.ndarray | Tensor):
            arguments.append(literal(operand))
            continue
        if id(operand) not in names:
            names[id(operand)] = f"x{position}"
            lines += _assignment(f"x{position}", operand)
        arguments.append(names[id(operand)])
    lines.append(_call(function_name, arguments, parameters or {}))
    return "\n".join(lines)


def imports(code: str) -> list[str]:
    """The imports that the code needs for arrays and for chalkgrad."""
    return ["import numpy as np"] * ("np." in code) + ["import chalkgrad as cg"] * ("cg." in code)


class Code(str):
    """An expression that is printed as it stands."""


def literal(value: Any) -> str:
    """The value as an expression that evaluates to it, exactly; numpy is `np` and chalkgrad is `cg` in it."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, Tensor):
        gradient = ", requires_grad=True" if value.requires_grad else ""
        return f"cg.tensor({literal(value.numpy())}{gradient})"
    if isinstance(value, numpy.ndarray):
        return _array(value)
    if isinstance(value, numpy.generic):
        return f"np.{value.dtype.name}({_number(value)})"
    if isinstance(value, float):
        return _number(value)
    if callable(value):
        return _function(value)
    if isinstance(value, numpy.dtype):
        return f"np.dtype({value.name!r})"
    if type(value) in (list, tuple):
        inside = ", ".join(map(literal, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"[{inside}]" if type(value) is list else f"({inside})"
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    return "..." if value is ... else repr(value)


def _function(value: Any) -> str:
    name = str(getattr(value, "__name__", None) or getattr(value, "name", "f"))
    return f"cg.{name}" if registry.get(name) is value else name if name.isidentifier() else "f"


def _call(function_name: str, arguments: list[str], parameters: Mapping[str, Any]) -> str:
    primitive = registry.get(function_name)
    if primitive is not None and primitive.binder:  # its public signature is another
        given = f"({', '.join(arguments)}{',' * (len(arguments) == 1)})"
        return f"cg.registry[{function_name!r}].compute({given}, {literal(dict(parameters))})"
    named = [f"{name}={literal(value)}" for name, value in parameters.items()]
    return f"{'cg.' if primitive else ''}{function_name}({', '.join([*arguments, *named])})"


def _assignment(name: str, operand: Any) -> list[str]:
    lines = [f"{name} = {literal(operand)}"]
    if isinstance(operand, numpy.ndarray):
        lines[0] += _layout_comment(operand)
        if not operand.flags.writeable and ".broadcast_to(" not in lines[0]:
            lines.append(f"{name}.flags.writeable = False")
    return lines


def _layout_comment(array: NDArray[Any]) -> str:
    return "" if array.flags.c_contiguous else f"  # not in C order: its strides were {array.strides} bytes"


def _array(array: NDArray[Any]) -> str:
    """The array's code, in its layout: Fortran order, strides of 0, reversed or with gaps are made anew."""
    if array.flags.c_contiguous:
        return _contiguous(array)
    repeated = [n > 1 and not step for n, step in zip(array.shape, array.strides, strict=True)]
    if any(repeated):
        once = array[tuple(slice(1) if again else slice(None) for again in repeated)]
        return f"np.broadcast_to({_array(once)}, {array.shape})"
    if array.flags.f_contiguous:
        return f"np.asfortranarray({_contiguous(array)})"
    backward = tuple(slice(None, None, -1) if step < 0 else slice(None) for step in array.strides)
    if any(step < 0 for step in array.strides):
        index = ", ".join("::-1" if part.step else ":" for part in backward)
        return f"{_array(array[backward])}[{index}]"
    return f"np.repeat({_contiguous(array)}, 2, axis=-1)[..., ::2]"


def _contiguous(array: NDArray[Any]) -> str:
    dtype = array.dtype.name
    if not array.size:
        return f"np.zeros({array.shape}, dtype={dtype!r})"
    values = numpy.ascontiguousarray(array).reshape(array.shape)
    data = values.tobytes()
    if array.size > 1 and data == values.flat[0].tobytes() * array.size:
        return f"np.full({array.shape}, {_number(values.flat[0])}, dtype={dtype!r})"
    if array.size > MOST_WRITTEN:
        return f"np.frombuffer(bytes.fromhex({data.hex()!r}), {values.dtype.str!r}).reshape({array.shape}).copy()"
    return f"np.array({_nested(values, len('np.array('))}, dtype={dtype!r})"


def _nested(values: NDArray[Any], indent: int) -> str:
    """Nested lists; the rows stand under each other where one line would not hold them."""
    if not values.ndim:
        return _number(values[()])
    rows = [_nested(row, indent + 1) for row in values]
    line = f"[{', '.join(rows)}]"
    if values.ndim == 1 or len(line) <= WIDTH:
        return line
    return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"


def _number(value: Any) -> str:
    """The shortest text that reads back as the same number of the same dtype."""
    number = value.item() if isinstance(value, numpy.generic) else value
    if not isinstance(number, float):
        return repr(number)
    if numpy.isnan(number):
        return "np.nan"
    if numpy.isinf(number):
        return "np.inf" if number > 0 else "-np.inf"
    short = str(value)
    convert: Callable[[float], Any] = type(value)
    return short if convert(float(short)) == value else repr(number)
