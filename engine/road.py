"""The road through a primitive: the arrays of its operands, the result's array, the node behind it, and who looks on.

There is one, written for the number of operands, so that a tiny operation costs little. Tensors on the CPU (and beside
them Python numbers) go straight on. All else makes a turn first by way of `operands.aside`: lists and arrays, other
devices, a dtype to compute in, a capture.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import ChalkgradError
from .backend import REFUSED
from .capturing import captures
from .operands import FLOAT32, FLOAT64, aside, number_beside, refusal
from .taping import share_version
from .tensor import Tensor
from .untaped import entered, untaped

if TYPE_CHECKING:
    from .primitive import Primitive

watchers: dict[int, tuple[Callable[..., None], ...]] = {}
"""By thread, who looks on: is called with each application of a primitive, its operands and parameters, and the result.
Empty almost always, which is the quick question.
"""
NONE: dict[str, Any] = {}

TEMPLATE = """
def made_for(primitive):
    version, ufunc, cares, checks, notes, own = None, None, False, (), {{}}, None

    def road({given}):
        nonlocal version, ufunc, cares, checks, notes, own
        if version is not primitive.version:
            now, ufunc, cares, checks = primitive.version, primitive.ufunc, primitive.cares, primitive.checks
            version, notes, own = now, {{}}, primitive.cpu_kernel and primitive.computing
        plain = {plain}
        {gathering}
        if plain:
            try:
                if checks:
                    for check in checks:
                        check({arrays}{named})
                y = ufunc({arrays}) if ufunc else (own or primitive.kernel)(numpy, {arrays}{named})
            except ChalkgradError:
                raise
            except REFUSED as error:
                raise refusal(primitive, {tuple}, {parameters}, error) from error
            if y.__class__ is not ndarray:
                y = numpy.asarray(y)
            result = new(Tensor)
            result._data, result._requires_grad, result._grad, result.name = y, False, None, None
            result._node = result._version = None
        else:
            turned = aside(primitive, {operands}, {parameters})
            if turned.__class__ is Tensor:
                return turned
            {operands}, {tuple}, y = turned
            {flagging}
            result = Tensor(y)
        if not ufunc and (y.base is not None or {given_back}):
            share_version(result, {operands})
        if ({needed}) and not (entered and untaped()):
            try:
                note = notes[{which}]
            except KeyError:
                note = notes[{which}] = primitive.plan({flags}).note
            note(y, result, {noted}, {parameters})
        if watchers:
            for tell in watchers.get(get_ident(), ()):
                tell(primitive, {operands}, {parameters}, result)
        return result

    return road
"""

GATHER = """
        if x{i}.__class__ is Tensor:
            a{i}, f{i} = x{i}._data, x{i}._requires_grad
            if a{i}.__class__ is not ndarray or (cares and a{i}.dtype is not FLOAT32 and a{i}.dtype is not FLOAT64):
                plain = False
        else:
            a{i}, f{i} = x{i}, False
            {beside}"""
BESIDE = """if plain and x{j}.__class__ is Tensor and (x{i}.__class__ is float or x{i}.__class__ is int):
                if ufunc and x{i}.__class__ is float:
                    a{i} = number_beside(x{i}, x{j}._data.dtype)
            else:
                plain = False"""
NAMELESS = {"named": "", "parameters": "NONE"}


def road_of(primitive: Primitive) -> Callable[..., Tensor]:
    """A function of the operands and, by name, of all `parameters`."""
    count = 0 if primitive.variadic else len(primitive.operands)
    made = _factory(count, bool(primitive.parameters), "[" not in primitive.text)(primitive)
    made.__doc__, made.__name__ = primitive.__doc__, primitive.name
    made.__qualname__, made.__signature__ = primitive.name, primitive.__signature__  # type: ignore[attr-defined]
    return made


@cache
def _factory(count: int, parameters: bool, numbers: bool) -> Callable[..., Callable[..., Tensor]]:
    """What makes the road for so many operands, 0 for any number of them. numbers: whether some may be numbers."""
    places = range(count)

    def each(form: str, between: str = ", ") -> str:
        return between.join(form.format(i=i) for i in places)

    def beside(i: int) -> str:
        others = " or ".join(f"x{j}.__class__ is Tensor" for j in places if j != i)
        if not numbers or not others:
            return "plain = False"
        if count == 2:
            return BESIDE.format(i=i, j=1 - i)
        return f"plain = plain and (x{i}.__class__ is float or x{i}.__class__ is int) and ({others})"

    def which(i: int = 0, value: int = 0) -> str:
        """The flags as the bits of a number."""
        return f"({which(i + 1, value | 1 << i)} if f{i} else {which(i + 1, value)})" if i < count else str(value)

    flag = "x.__class__ is Tensor and x._requires_grad"
    if count:
        flags = f"({each('f{i}')},)"
        pieces = {
            "given": each("x{i}"), "plain": "not captures", "noted": each("x{i}"),
            "operands": f"({each('x{i}')},)", "arrays": each("a{i}"), "tuple": f"({each('a{i}')},)",
            "given_back": each("y is a{i}", " or "), "needed": each("f{i}", " or "),
            "flags": flags, "flagging": f"{each('f{i}')}, = [{flag} for x in ({each('x{i}')},)]",
            "which": which() if count <= 3 else flags,
            "gathering": "".join(GATHER.format(i=i, beside=beside(i)) for i in places).strip(),
        }  # fmt: skip
    else:
        pieces = {
            "given": "*xs", "plain": "False", "gathering": "", "arrays": "*arrays", "operands": "xs", "tuple": "arrays",
            "given_back": "any([y is x for x in arrays])", "needed": "True in flags", "flags": "flags",
            "which": "flags", "noted": "xs", "flagging": f"flags = tuple([{flag} for x in xs])",
        }  # fmt: skip
    pieces |= {"named": ", **parameters", "parameters": "parameters"} if parameters else NAMELESS
    pieces["given"] += (", parameters=NONE" if count else ", parameters") if parameters else ""
    scope: dict[str, Any] = {
        "__name__": __name__, "numpy": numpy, "ndarray": numpy.ndarray, "captures": captures, "watchers": watchers,
        "get_ident": get_ident, "entered": entered, "untaped": untaped,
        "Tensor": Tensor, "FLOAT32": FLOAT32, "FLOAT64": FLOAT64, "REFUSED": REFUSED, "ChalkgradError": ChalkgradError,
        "aside": aside, "refusal": refusal, "share_version": share_version, "NONE": NONE,
        "new": object.__new__, "number_beside": number_beside,
    }  # fmt: skip
    exec(compile(TEMPLATE.format(**pieces), "<road>", "exec"), scope)
    made: Callable[..., Callable[..., Tensor]] = scope["made_for"]
    return made
