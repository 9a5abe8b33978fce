"""What a primitive leaves on the tape when it computes, and what it sends back in the reverse pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy

from . import backend
from .errors import DtypeError, GraphError, ShapeError
from .tape import Node
from .tensor import Tensor

if TYPE_CHECKING:
    from .primitive import Primitive, Rule


class Namespace:
    """The primitives under their names, to be handed to a rule as `xp`: with it the rule is recorded."""


namespace: Any = Namespace()


def record(
    primitive: Primitive,
    result: Tensor,
    operands: tuple[Any, ...],
    flags: tuple[bool, ...],
    parameters: Mapping[str, Any],
) -> None:
    """Make the node behind `result`, with what the rules of the operands flagged as needing a gradient ask to see."""
    plan = primitive.plans.get(flags)
    if plan is None:
        plan = primitive.plans[flags] = _plan(primitive, flags)
    ruled, saves = plan
    if not ruled:
        return
    parents: list[Any] = [None] * len(operands)
    for i in ruled:
        parents[i] = operands[i]._node or operands[i]
    saved: list[Any] = []
    versions: list[Any] = []
    for place in saves:
        if place is None:
            saved.append(None)
        elif place.__class__ is int:  # an operand by itself
            x = operands[place]
            if x.__class__ is Tensor:
                versions.append((x, x._version, x._version[0]))
            else:
                x = _kept(x, result)
            saved.append(x)
        else:
            saved.append(_gathered(place, operands, result, versions))
    array = result._data
    result._requires_grad = True
    result._node = Node(primitive, tuple(parents), tuple(saved), tuple(versions), parameters, array.shape, array.dtype)


def _plan(primitive: Primitive, flags: tuple[bool, ...]) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """For operands flagged so: which of them get a gradient, and for each of `saves` where it is taken from.

    That is None where no rule asks for it, the operand's position, or "y" (the result), "all" (the operands of a
    variadic primitive) and, for shapes, ("shape", position) or ("shapes",).
    """
    ruled = tuple(i for i, flag in enumerate(flags) if flag and primitive.operand(i) in primitive.rules)
    asked = {name for i in ruled for name in primitive.rules[primitive.operand(i)].wants}
    places: list[Any] = []
    for save in primitive.saves:
        name, _, shape_only = save.partition(".")
        if save.replace(".", "_") not in asked:
            places.append(None)
        elif name not in primitive.operands:
            places.append("y")
        elif primitive.variadic:
            places.append(("shapes",) if shape_only else "all")
        else:
            position = primitive.operands.index(name)
            places.append(("shape", position) if shape_only else position)
    return ruled, tuple(places)


def _gathered(place: Any, operands: tuple[Any, ...], result: Tensor, versions: list[Any]) -> Any:
    """What a plan's place means, where it is not one operand; notes the version of what may be changed in place."""
    if place == "y":
        versions.append((None, result._version, result._version[0]))
        return result._data
    if place == "all":
        kept = tuple([_kept(x, result) for x in operands])
        versions.extend((x, x._version, x._version[0]) for x in kept if x.__class__ is Tensor)
        return kept
    if place[0] == "shape":
        return numpy.shape(_raw(operands[place[1]]))
    return tuple(numpy.shape(_raw(x)) for x in operands)


def share_version(result: Tensor, operands: tuple[Any, ...]) -> None:
    """A view changes when its base is changed in place, so both count changes in one cell."""
    base = result._data.base
    for x in operands:
        if x.__class__ is Tensor and (x._data is base or x._data.base is base or x._data is result._data):
            result._version = x._version


def pull(primitive: Primitive, node: Node, position: int, gy: Any, recorded: bool) -> Any:
    """The gradient that `gy`, arriving at `node`, sends to its operand at `position`.

    Un-broadcasts, and holds the rule to the operand's shape and dtype. `recorded`: gy is a Tensor and so is the result.
    """
    rule = primitive.rules[primitive.operand(position)]
    for owner, cell, version in node.versions:
        if cell[0] != version:
            raise _changed(primitive, owner)
    xp = namespace if recorded else backend.namespace_of(gy)
    gx = rule.kernel(xp, gy, *[_seen(primitive, name, slot, node, position, recorded) for name, slot in rule.slots])
    if not recorded and gx.__class__ is not gy.__class__:
        gx = xp.asarray(gx)
    parent: Any = node.parents[position]
    if gx.shape != parent.shape:
        gx = primitive.unbroadcast(xp, gx, parent.shape, rule)
    if gx.dtype != parent.dtype:
        if gx.dtype != gy.dtype or parent.dtype.kind != "f":
            raise DtypeError(
                f"the rule {rule.text!r} of {primitive.name} gave dtype {gx.dtype} from an incoming {gy.dtype}: "
                "keep constants Python floats, and use zeros_like rather than zeros."
            )
        gx = gx.astype(parent.dtype)
    return gx


def _seen(primitive: Primitive, name: str, slot: int | None, node: Node, position: int, recorded: bool) -> Any:
    """The value of one name that a rule asks for; `slot` is its place among what was saved."""
    if slot is None:
        return position if name == "position" else node.parameters[name]
    assert node.saved is not None
    value = node.saved[slot]
    if recorded:
        return _tensor_of(node, value) if name == primitive.equation.target else value
    if value.__class__ is Tensor:
        return value._data
    return tuple(map(_raw, value)) if primitive.variadic and "." not in primitive.saves[slot] else value


def unbroadcast(primitive: Primitive, xp: Any, gx: Any, shape: tuple[int, ...], rule: Rule) -> Any:
    """Sum over the axes along which the operand was repeated."""
    extra = len(gx.shape) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, gx.shape[extra:], strict=True)):
        raise ShapeError(
            f"the rule {rule.text!r} of {primitive.name} gave shape {gx.shape} for an operand of shape {shape}."
        )
    axes = tuple(i for i, m in enumerate(gx.shape) if i < extra or (shape[i - extra] == 1 and m != 1))
    return xp.reshape(xp.sum(gx, axis=axes, keepdims=True), shape)


def _changed(primitive: Primitive, owner: Tensor | None) -> GraphError:
    what = "its result" if owner is None else f"its operand of shape {owner.shape}"
    if owner is not None and owner.name:
        what = f"its operand {owner.name!r} (shape {owner.shape})"
    return GraphError(
        f"{primitive.name} saved {what} for the reverse pass, and it was changed in place before backward(): "
        "call backward() first, or compute a new tensor instead of assigning into this one."
    )


def _tensor_of(node: Node, value: Any) -> Tensor:
    result = Tensor(value)
    result._requires_grad, result._node = True, node
    return result


def _raw(value: Any) -> Any:
    return value._data if value.__class__ is Tensor else value


def _kept(value: Any, result: Tensor) -> Any:
    """What is saved of an operand: of a constant a copy, since its owner may change it; of a number an array."""
    if value.__class__ is Tensor:
        return value
    xp = backend.namespace_of(result._data)
    return value.copy() if hasattr(value, "dtype") else xp.asarray(value, dtype=result._data.dtype)
