"""What a primitive leaves on the tape when it computes, and what it sends back in the reverse pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import DtypeError, EquationError, GraphError, ShapeError, UnknownNameError
from . import backend
from .cuda.launch import chosen
from .tape import Node, clock
from .tensor import Tensor

if TYPE_CHECKING:
    from .primitive import Primitive
    from .rule import Rule

Pull = Callable[[Any, Node, Any], Any]
"""(xp, node, gy) -> what the rule of one operand gives."""


class Plan:
    """How an application of a primitive goes on the tape and is pulled back, given which operands need a gradient.

    ruled: the positions of those that have a rule; pulls: their rules, on arrays; taped_pulls: on tensors.
    note: makes the node behind a result, of the operands and parameters, with what the rules ask to see.
    places: where each value that the rules ask for is taken from: the operand's position, "y" (the result), "all"
    (the operands of a variadic primitive) or, for shapes, ("shape", position) or ("shapes",).
    """

    __slots__ = ("names", "note", "places", "primitive", "pulls", "ruled", "rules", "taped_pulls")

    def __init__(self, primitive: Primitive, flags: tuple[bool, ...]) -> None:
        self.primitive = primitive
        self.ruled = tuple(i for i, flag in enumerate(flags) if flag and primitive.operand(i) in primitive.rules)
        self.rules = tuple(primitive.rules[primitive.operand(i)] for i in self.ruled)
        asked = {name for rule in self.rules for name in rule.wants} - primitive.parameters.keys()
        kept = [save for save in primitive.saves if save.replace(".", "_") in asked]
        self.names = tuple(save.replace(".", "_") for save in kept)
        self.places = tuple(_place(primitive, save) for save in kept)
        self.note: Callable[..., None] = _noting(self.ruled, self.places)(self)
        self.pulls = tuple(_pull(self, i, rule, _seen) for i, rule in zip(self.ruled, self.rules, strict=True))
        self.taped_pulls = tuple(
            _named(rule, _pull(self, i, rule, _seen_taped)) for i, rule in zip(self.ruled, self.rules, strict=True)
        )

    def check_unchanged(self, node: Node) -> None:
        """Raise GraphError where something that the node saved was changed in place since."""
        if node.cell is not None and node.cell[0] > node.stamp:
            raise _changed(self.primitive, None)
        for value in node.saved or ():
            for x in value if value.__class__ is tuple else (value,):
                if x.__class__ is Tensor and x._version is not None and x._version[0] > node.stamp:
                    raise _changed(self.primitive, x)

    def refusal(self, place: int, error: Exception) -> EquationError | None:
        """The error of ours for one of an array library's, where the rule's text is its code; else None."""
        rule = self.rules[place]
        if rule.body is not None:
            return None
        return EquationError(f"the rule {rule.text!r} of {self.primitive.name} cannot be computed here: {error}")

    def settle(self, xp: Any, gx: Any, gy: Any, parent: Node | Tensor, place: int, taped: bool) -> Any:
        """A gradient that is not of its operand's shape and dtype: un-broadcast and cast, or refused."""
        rule = self.rules[place]
        if not taped and gx.__class__ is not gy.__class__:
            gx = xp.asarray(gx)
        if gx.shape != parent.shape:
            gx = self.primitive.unbroadcast(xp, gx, parent.shape, rule)
        if gx.dtype != parent.dtype:
            if gx.dtype != gy.dtype or parent.dtype.kind != "f":
                raise DtypeError(
                    f"the rule {rule.text!r} of {self.primitive.name} gave dtype {gx.dtype} from an incoming "
                    f"{gy.dtype}: keep constants Python floats, and use zeros_like rather than zeros."
                )
            gx = gx.astype(parent.dtype)
        return gx


TEMPLATE = """
def noting(plan):
    def note(result, operands, parameters):
        array = result._data
        dtype = array.dtype
        if dtype.kind != "f":
            return
        node = new(Node)
        node.plan, node.parents, node.saved = plan, ({parents}), ({saved})
        node.cell, node.stamp, node.parameters = {cell}, clock[0], parameters
        node.shape, node.dtype = array.shape, dtype
        result._requires_grad, result._node = True, node

    return note
"""


@cache
def _noting(ruled: tuple[int, ...], places: tuple[Any, ...]) -> Callable[[Plan], Callable[..., None]]:
    """What writes the node, for operands at these positions that get a gradient, and what is kept."""

    def kept(place: Any) -> str:
        if place == "y":
            return "array, "
        if place.__class__ is not int:
            return f"gathered({place!r}, operands, result), "
        x = f"operands[{place}]"
        return f"{x} if {x}.__class__ is Tensor else kept({x}, result), "

    source = TEMPLATE.format(
        parents="".join(f"operands[{i}]._node or operands[{i}], " for i in ruled), saved="".join(map(kept, places)),
        cell="result.version_cell()" if "y" in places else "None",
    )  # fmt: skip
    scope: dict[str, Any] = {
        "__name__": __name__, "new": object.__new__, "Node": Node, "Tensor": Tensor, "clock": clock, "kept": _kept,
        "gathered": _gathered,
    }  # fmt: skip
    exec(compile(source, "<noting>", "exec"), scope)
    made: Callable[[Plan], Callable[..., None]] = scope["noting"]
    return made


def _place(primitive: Primitive, save: str) -> Any:
    """Where the value that a primitive `saves` under this name is taken from."""
    name, _, shape_only = save.partition(".")
    if name not in primitive.operands:
        return "y"
    if primitive.variadic:
        return ("shapes",) if shape_only else "all"
    position = primitive.operands.index(name)
    return ("shape", position) if shape_only else position


def _gathered(place: Any, operands: tuple[Any, ...], result: Tensor) -> Any:
    """What a plan's place means, where it is not one operand."""
    if place == "y":
        return result._data
    if place == "all":
        return tuple([_kept(x, result) for x in operands])
    if place[0] == "shape":
        return numpy.shape(_raw(operands[place[1]]))
    return tuple(numpy.shape(_raw(x)) for x in operands)


def _kept(value: Any, result: Tensor) -> Any:
    """What is saved of an operand: of a constant a copy, since its owner may change it; of a number an array."""
    if value.__class__ is Tensor:
        return value
    if hasattr(value, "dtype"):
        return value.copy()
    xp, dtype = backend.namespace_of(result._data), result._data.dtype
    if xp is numpy:
        return numpy.asarray(value, dtype=dtype)
    with backend.working(backend.device_of(result._data), "keeping a number"):
        return xp.asarray(value, dtype=dtype)


def share_version(result: Tensor, operands: tuple[Any, ...]) -> None:
    """A view changes when its base is changed in place, so both count changes in one cell."""
    base = result._data.base
    for x in operands:
        if x.__class__ is Tensor and (x._data is base or x._data.base is base or x._data is result._data):
            result._version = x.version_cell()


def _pull(plan: Plan, position: int, rule: Rule, see: Callable[..., Any]) -> Pull | None:
    """The rule as a function of node and gy; None where it hands gy on. Most rules ask for nothing, or one array."""
    kernel, slots = rule.kernel, []
    if see is _seen:
        kernel = chosen(plan.primitive.cuda_kernels.get(rule.operand), kernel)
    for name in rule.wants:
        known = name in plan.names and name not in plan.primitive.parameters
        slots.append((name, plan.names.index(name) if known else None))
    if rule.factor == "":
        return None
    if not slots:
        return lambda xp, node, gy: kernel(xp, gy)
    if see is _seen and len(slots) == 1 and slots[0][1] is not None:
        place = slots[0][1]
        if plan.places[place].__class__ is int or plan.places[place] == "y":
            if rule.factor:
                return lambda xp, node, gy: gy * _raw(node.saved[place])  # type: ignore[index]

            def with_one_array(xp: Any, node: Node, gy: Any) -> Any:
                x = node.saved[place]  # type: ignore[index]
                return kernel(xp, gy, x._data if x.__class__ is Tensor else x)

            return with_one_array
    return lambda xp, node, gy: kernel(xp, gy, *[see(node, name, place, position) for name, place in slots])


def _named(rule: Rule, pull: Pull | None) -> Pull | None:
    """The same, with the rule's name in the error for a function of xp that is not there."""

    def named(xp: Any, node: Node, gy: Any) -> Any:
        try:
            return pull(xp, node, gy)  # type: ignore[misc]
        except UnknownNameError as error:
            raise UnknownNameError(f"the rule {rule.text!r} of {rule.primitive.name}: {error}") from None

    return named if pull else None


def _seen(node: Node, name: str, place: int | None, position: int) -> Any:
    """The value of one name that a rule asks for, with arrays; `place` is where it lies among what was saved."""
    if place is None:
        return position if name == "position" else node.parameters[name]
    assert node.saved is not None
    value = node.saved[place]
    return tuple(map(_raw, value)) if node.plan.places[place] == "all" else _raw(value)


def _seen_taped(node: Node, name: str, place: int | None, position: int) -> Any:
    """The same with tensors."""
    if place is None or node.plan.places[place] != "y":
        return _seen(node, name, None, position) if place is None else node.saved[place]  # type: ignore[index]
    assert node.saved is not None
    result = Tensor(node.saved[place])
    result._requires_grad, result._node = True, node
    return result


def unbroadcast(primitive: Primitive, xp: Any, gx: Any, shape: tuple[int, ...], rule: Rule) -> Any:
    """Sum over the axes along which the operand was repeated."""
    extra = len(gx.shape) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, gx.shape[extra:], strict=True)):
        raise ShapeError(
            f"the rule {rule.text!r} of {primitive.name} gave shape {gx.shape} for an operand of shape {shape}."
        )
    axes = tuple(i for i, m in enumerate(gx.shape) if i < extra or (shape[i - extra] == 1 and m != 1))
    return xp.reshape(backend.summed(xp, gx, axes), shape)


def _changed(primitive: Primitive, owner: Tensor | None) -> GraphError:
    what = "its result" if owner is None else f"its operand of shape {owner.shape}"
    if owner is not None and owner.name:
        what = f"its operand {owner.name!r} (shape {owner.shape})"
    return GraphError(
        f"{primitive.name} saved {what} for the reverse pass, and it was changed in place before backward(): "
        "call backward() first, or compute a new tensor instead of assigning into this one."
    )


def _raw(value: Any) -> Any:
    return value._data if value.__class__ is Tensor else value
