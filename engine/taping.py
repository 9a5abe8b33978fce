"""What a primitive leaves on the tape when it computes, and what it sends back in the reverse pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import DtypeError, EquationError, GraphError, ShapeError, UnknownNameError
from . import backend
from .kernels import chosen
from .operands import FLOAT32, FLOAT64, number_beside
from .tape import Node, clock
from .tensor import Tensor
from .together import sharing

if TYPE_CHECKING:
    from .primitive import Primitive
    from .rule import Rule

Pull = Callable[[Any, Node, Any], Any]
"""(xp, node, gy) -> what the rule of one operand gives."""


class Plan:
    """How an application of a primitive goes on the tape and is pulled back, given which operands need a gradient.

    ruled: the positions of those that have a rule; pulls: their rules, on arrays; taped_pulls: on tensors.
    note: makes the node behind a result, of the operands and parameters, with what the rules ask to see.
    send: (xp, node, gy) -> each parent with its gradient, by the pulls on arrays; None where these are to be asked.
    places: where each value that the rules ask for is taken from: the operand's position, "y" (the result), "all"
    (the operands of a variadic primitive) or, for shapes, ("shape", position) or ("shapes",).
    """

    __slots__ = ("names", "note", "places", "primitive", "pulls", "ruled", "rules", "send", "taped_pulls")

    def __init__(self, primitive: Primitive, flags: tuple[bool, ...]) -> None:
        self.primitive = primitive
        self.ruled = tuple(i for i, flag in enumerate(flags) if flag and primitive.operand(i) in primitive.rules)
        self.rules = tuple(primitive.rules[primitive.operand(i)] for i in self.ruled)
        asked = {name for rule in self.rules for name in rule.wants} - primitive.parameters.keys()
        kept = [save for save in primitive.saves if save.replace(".", "_") in asked]
        self.names = tuple(save.replace(".", "_") for save in kept)
        self.places = tuple(_place(primitive, save) for save in kept)
        count = 0 if primitive.variadic else len(primitive.operands)
        self.note: Callable[..., None] = _noting(count, self.ruled, self.places)(self) if self.ruled else _nothing
        self.pulls = tuple(_pull(self, i, rule, _seen) for i, rule in zip(self.ruled, self.rules, strict=True))
        self.taped_pulls = tuple(
            _named(rule, _pull(self, i, rule, _seen_taped)) for i, rule in zip(self.ruled, self.rules, strict=True)
        )
        send = _sending(self)
        self.send = sharing(send) if send and primitive.shares and len(self.ruled) > 1 else send

    def check_unchanged(self, node: Node) -> None:
        """Raise GraphError where something that the node saved was changed in place since."""
        if node.cell is not None and node.cell[0] > node.stamp:
            raise _changed(self.primitive, None)
        for value in node.saved or ():
            for x in value if value.__class__ is tuple else (value,):
                if x.__class__ is Tensor and x._version is not None and x._version[0] > node.stamp:
                    raise _changed(self.primitive, x)

    def each(self, xp: Any, node: Node, gy: Any, useful: set[Any] | None, taped: bool) -> Iterator[Any]:
        """Each useful parent with its gradient, in turn."""
        for place, (parent, pull) in enumerate(
            zip(node.parents, self.taped_pulls if taped else self.pulls, strict=True)
        ):
            if useful is not None and parent not in useful:
                continue
            gx = gy if pull is None else pull(xp, node, gy)
            like = parent if parent.__class__ is Node else parent._data  # type: ignore[union-attr]
            if gx.__class__ is not gy.__class__ or gx.dtype != like.dtype or gx.shape != like.shape:
                gx = self.settle(xp, gx, gy, like, place, taped)
            yield parent, gx

    def refusal(self, xp: Any, node: Node, gy: Any, taped: bool, error: Exception) -> EquationError | None:
        """The error of ours for one of an array library's, where the rule's text is its code; else None."""
        for rule, pull in zip(self.rules, self.taped_pulls if taped else self.pulls, strict=True):
            try:
                if pull is not None:
                    pull(xp, node, gy)
            except backend.REFUSED:
                if rule.body is not None:
                    return None
                return EquationError(
                    f"the rule {rule.text!r} of {self.primitive.name} cannot be computed here: {error}"
                )
        return None

    def settle(self, xp: Any, gx: Any, gy: Any, parent: Node | Tensor, place: int, taped: bool) -> Any:
        """A gradient that is not of its operand's shape and dtype: un-broadcast and cast, or refused."""
        rule = self.rules[place]
        if not taped and gx.__class__ is not gy.__class__:
            gx = xp.asarray(gx)
        if gx.shape != parent.shape:
            gx = self.primitive.unbroadcast(xp, gx, parent.shape, rule)
        if gx.dtype is not parent.dtype and gx.dtype != parent.dtype:
            if gx.dtype != gy.dtype or parent.dtype.kind != "f":
                raise DtypeError(
                    f"the rule {rule.text!r} of {self.primitive.name} gave dtype {gx.dtype} from an incoming "
                    f"{gy.dtype}: keep constants Python floats, and use zeros_like rather than zeros."
                )
            gx = gx.astype(parent.dtype)
        return gx


NOTING = """
def noting(plan):
    def note(array, result, {operands}, parameters):
        dtype = array.dtype
        if dtype is not FLOAT32 and dtype is not FLOAT64 and dtype.kind != "f":
            return
        result._node = node = Node()
        result._requires_grad = True
        node.plan, node.parents, node.saved = plan, ({parents}), ({saved})
        node.cell, node.stamp, node.parameters = {cell}, clock[0], parameters
        node.shape, node.dtype = array.shape, dtype

    return note
"""


class Alone(Plan):
    """A plan that no primitive has: `each` says what goes back. name: what errors call it."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        self.primitive: Any = SimpleNamespace(name=name)
        self.pulls = self.taped_pulls = self.rules = ()
        self.send = None

    def keeps(self) -> tuple[Any, ...]:
        """The tensors and the arrays that it holds itself, besides what nodes save."""
        return ()

    def result(self, array: Any, parents: tuple[Any, ...], saved: tuple[Tensor, ...] = ()) -> Tensor:
        """The array as a tensor behind a node of this plan. parents: nodes or leaves, each once."""
        made = Tensor(array)
        made._requires_grad, made._node = True, Node()
        made._node.plan, made._node.parents, made._node.saved = self, parents, saved
        made._node.cell, made._node.stamp, made._node.parameters = None, clock[0], {}
        made._node.shape, made._node.dtype = made.shape, made.dtype
        return made


def _nothing(*given: Any) -> None:
    """The note of an application none of whose operands gets a gradient."""


@cache
def _noting(count: int, ruled: tuple[int, ...], places: tuple[Any, ...]) -> Callable[[Plan], Callable[..., None]]:
    """What writes the node of so many operands, 0 for any number of them, in one tuple.

    ruled: at which positions they get a gradient. places: what is kept.
    """

    def operand(i: int) -> str:
        return f"x{i}" if count else f"operands[{i}]"

    together = f"({''.join(f'x{i}, ' for i in range(count))})" if count else "operands"

    def kept(place: Any) -> str:
        if place == "y":
            return "array, "
        if place.__class__ is not int:
            return f"gathered({place!r}, {together}, result), "
        x = operand(place)
        return f"{x} if {x}.__class__ is Tensor else kept({x}, result), "

    source = NOTING.format(
        operands=", ".join(f"x{i}" for i in range(count)) or "operands",
        parents="".join(f"{operand(i)}._node or {operand(i)}, " for i in ruled), saved="".join(map(kept, places)),
        cell="result.version_cell()" if "y" in places else "None",
    )  # fmt: skip
    scope: dict[str, Any] = {
        "__name__": __name__, "Node": Node, "Tensor": Tensor, "clock": clock, "kept": _kept, "gathered": _gathered,
        "FLOAT32": FLOAT32, "FLOAT64": FLOAT64,
    }  # fmt: skip
    exec(compile(source, "<noting>", "exec"), scope)
    made: Callable[[Plan], Callable[..., None]] = scope["noting"]
    return made


SENDING = """
def sending(plan, {kernels}):
    settle, primitive, ({rules}) = plan.settle, plan.primitive, plan.rules

    def send(xp, node, gy):
        kind, shape = gy.__class__, node.shape
        {parents} = node.parents
        {saved} = node.saved
        {gradients}
        return {sent}

    return send
"""
GRADIENT = """
        g{n} = {value}
        like = p{n} if p{n}.__class__ is Node else p{n}._data
        if g{n}.__class__ is not kind or g{n}.dtype is not like.dtype:
            g{n} = settle(xp, g{n}, gy, like, {n}, False)
        elif {shape} != like.shape:
            g{n} = primitive.unbroadcast(xp, g{n}, like.shape, r{n})"""


def _sending(plan: Plan) -> Callable[[Any, Node, Any], tuple[Any, ...]] | None:
    """The pulls of a plan as one function, which also settles what they give."""
    if not plan.ruled:
        return None
    values, kernels = [], {}
    for n, (position, rule) in enumerate(zip(plan.ruled, plan.rules, strict=True)):
        seen = [_text(plan, name, position) for name in rule.wants]
        if rule.factor == "":
            values.append("gy")
        elif rule.factor:
            values.append(f"gy * {seen[0]}")
        else:
            kernels[f"k{n}"] = chosen(plan.primitive.cuda_kernels.get(rule.operand), rule.kernel)
            values.append(f"k{n}({', '.join(['xp', 'gy', *seen])})")
    made: Callable[[Any, Node, Any], tuple[Any, ...]] = _sent(tuple(values), len(plan.places), tuple(kernels))(
        plan, *kernels.values()
    )
    return made


def _text(plan: Plan, name: str, position: int) -> str:
    """The value of one name that a rule asks for, as `_seen` gives it."""
    if name in plan.primitive.parameters or name not in plan.names:
        return str(position) if name == "position" else f"node.parameters[{name!r}]"
    n = plan.names.index(name)
    place = plan.places[n]
    if place.__class__ is int:
        return f"(s{n}._data if s{n}.__class__ is Tensor else s{n})"
    return f"tuple([x._data if x.__class__ is Tensor else x for x in s{n}])" if place == "all" else f"s{n}"


@cache
def _sent(values: tuple[str, ...], saved: int, kernels: tuple[str, ...]) -> Callable[..., Any]:
    """What makes the function that gives these values of so many that are saved."""
    each, shapes = range(len(values)), [f"g{n}.shape" if k.startswith("k") else "shape" for n, k in enumerate(values)]
    source = SENDING.format(
        kernels=", ".join(kernels), rules="".join(f"r{n}, " for n in each), parents="".join(f"p{n}, " for n in each),
        saved="".join(f"s{n}, " for n in range(saved)) or "()", sent="".join(f"(p{n}, g{n}), " for n in each),
        gradients="".join(GRADIENT.format(n=n, value=values[n], shape=shapes[n]) for n in each).strip(),
    )  # fmt: skip
    scope: dict[str, Any] = {"__name__": __name__, "Node": Node, "Tensor": Tensor}
    exec(compile(source, "<sending>", "exec"), scope)
    made: Callable[..., Any] = scope["sending"]
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
    if value.__class__ is float and (
        result._data.__class__ is numpy.ndarray or backend.device_of(result._data) == "cpu"
    ):
        array = number_beside(value, result._data.dtype)
        if array is not value:
            return array
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
    """The rule as a function of node and gy; None where it hands gy on."""
    if rule.factor == "":
        return None
    kernel, slots = rule.kernel, []
    if see is _seen:
        kernel = chosen(plan.primitive.cuda_kernels.get(rule.operand), kernel)
    for name in rule.wants:
        known = name in plan.names and name not in plan.primitive.parameters
        slots.append((name, plan.names.index(name) if known else None))
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


_sums: dict[tuple[Any, ...], Callable[[Any], Any]] = {}
"""How arrays of NumPy are summed, by both shapes and the dtype: for tiny ones a cache that is called takes too long."""
KEPT_SUMS = 1024
FEW, MANY_ROWS = 8192, 4096
"""Elements up to which a sum is a product with ones, and rows from which on a sum over rows is."""


def unbroadcast(primitive: Primitive, xp: Any, gx: Any, shape: tuple[int, ...], rule: Rule) -> Any:
    """Sum over the axes along which the operand was repeated.

    NumPy is slow at it where there is little to add, or where the leading axes have many rows: then it is a product
    with ones, which BLAS adds in blocks; a little of it on one thread, so that bits do not depend on cores.
    """
    if gx.__class__ is numpy.ndarray and (at_once := _sums.get((gx.shape, shape, gx.dtype.char))):
        return at_once(gx)
    how = _summed_how(gx.shape, shape, gx.dtype)
    if how is None:
        raise ShapeError(
            f"the rule {rule.text!r} of {primitive.name} gave shape {gx.shape} for an operand of shape {shape}."
        )
    at_once, listed, axes = how
    if gx.__class__ is numpy.ndarray:
        if len(_sums) >= KEPT_SUMS:
            _sums.clear()
        _sums[gx.shape, shape, gx.dtype.char] = at_once
        return at_once(gx)
    return listed(gx, xp) if backend.plain(gx).__class__ is numpy.ndarray else _summed(axes, shape, gx, xp)


@lru_cache(1024)
def _summed_how(whole: tuple[int, ...], shape: tuple[int, ...], dtype: Any) -> tuple[Any, ...] | None:
    """How an array of that whole shape is summed to the other; None where that cannot have been repeated to the whole.

    A function of an array of NumPy, one of such an array that is recorded and xp, and the axes.
    """
    extra = len(whole) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, whole[extra:], strict=True)):
        return None
    axes = tuple(i for i, m in enumerate(whole) if i < extra or (shape[i - extra] == 1 and m != 1))
    count, by_rows = len(axes), axes == tuple(range(len(axes)))
    split = count if by_rows else len(whole) - count
    matrix = rows, columns = math.prod(whole[:split]), math.prod(whole[split:])
    little = 0 < rows * columns <= FEW and (by_rows or axes == tuple(range(split, len(whole))))
    if dtype.char not in "fd" or not (little or (by_rows and columns > 1 and rows >= MANY_ROWS)):
        summed = partial(_summed, axes, shape)
        return (summed if dtype.char == "e" else _reduced(axes, shape)), summed, axes
    ones, left = (numpy.ones(rows, dtype), columns) if by_rows else (numpy.ones(columns, dtype), rows)

    def product(gx: Any, xp: Any = None) -> Any:
        gx = gx if gx.shape == matrix else gx.reshape(matrix)
        total = (xp.dot(ones, gx) if xp else ones.dot(gx)) if by_rows else gx.dot(ones)
        return total if total.shape == shape else total.reshape(shape)

    kept = (1, left) if by_rows else (left, 1)
    if matrix != whole or shape not in ((left,), kept):
        return product, product, axes
    if shape == kept:  # so it comes out
        ones = ones.reshape((1, rows) if by_rows else (columns, 1))
    return ones.dot if by_rows else lambda gx: gx.dot(ones), product, axes


def _reduced(axes: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """What `_summed` does, on arrays of NumPy, with fewer calls of Python."""

    def summed(gx: Any) -> Any:
        total = numpy.add.reduce(gx, axes, keepdims=True)
        return total if total.shape == shape else total.reshape(shape)

    return summed


def _summed(axes: tuple[int, ...], shape: tuple[int, ...], gx: Any, xp: Any = numpy) -> Any:
    """The sum over axes, in that shape."""
    if gx.dtype.char == "e":  # float16 is summed in float32
        return _summed(axes, shape, gx.astype("float32"), xp).astype(gx.dtype)
    return xp.reshape(xp.sum(gx, axis=axes, keepdims=True), shape)


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
