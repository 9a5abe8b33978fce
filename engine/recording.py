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
    parents: list[Any] = []
    for i, (x, flag) in enumerate(zip(operands, flags, strict=True)):
        parents.append((x._node or x) if flag and primitive.operand(i) in primitive.rules else None)
    if not any(parent is not None for parent in parents):
        return
    wanted = primitive.plans[flags] if flags in primitive.plans else _plan(primitive, flags)
    saved: list[Any] = []
    versions: list[Any] = []
    for save in primitive.saves:
        if save not in wanted:
            saved.append(None)
            continue
        name, _, shape_only = save.partition(".")
        if shape_only:
            shapes = tuple(numpy.shape(_raw(x)) for x in _named(primitive, name, operands))
            saved.append(shapes if primitive.variadic else shapes[0])
            continue
        if name in primitive.operands:
            values = tuple([_kept(x, result) for x in _named(primitive, name, operands)])
            saved.append(values if primitive.variadic else values[0])
            versions += [(x, x._version, x._version[0]) for x in values if x.__class__ is Tensor]
        else:
            saved.append(result._data)
            versions.append((None, result._version, result._version[0]))
    result._requires_grad = True
    result._node = Node(
        primitive, tuple(parents), tuple(saved), tuple(versions), parameters, result._data.shape, result._data.dtype
    )


def _named(primitive: Primitive, name: str, operands: tuple[Any, ...]) -> tuple[Any, ...]:
    return operands if primitive.variadic else (operands[primitive.operands.index(name)],)


def _plan(primitive: Primitive, flags: tuple[bool, ...]) -> tuple[str, ...]:
    """Which of `saves` the rules of the operands flagged as requiring a gradient ask to see."""
    rules = [primitive.rules.get(primitive.operand(i)) for i, flag in enumerate(flags) if flag]
    asked = {name for rule in rules if rule for name in rule.wants}
    plan = tuple(save for save in primitive.saves if save.replace(".", "_") in asked)
    primitive.plans[flags] = plan
    return plan


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
    gx = rule.kernel(xp, gy, *[_seen(primitive, name, node, position, recorded) for name in rule.wants])
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


def _seen(primitive: Primitive, name: str, node: Node, position: int, recorded: bool) -> Any:
    """The value of one name that a rule asks for."""
    if name in primitive.parameters:
        return node.parameters[name]
    if name == "position":
        return position
    assert node.saved is not None
    i = [save.replace(".", "_") for save in primitive.saves].index(name)
    value = node.saved[i]
    if recorded:
        return _tensor_of(node, value) if name == primitive.equation.target else value
    return tuple(map(_raw, value)) if primitive.variadic and "." not in primitive.saves[i] else _raw(value)


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
