"""The graph of an ONNX file while it is written: what was applied in several passes, each primitive in its form.

A primitive's form stands beside its equation (`relu.onnx("Relu")`): an operator's name, an equation of elements, a
function of the graph and the operands' values, or a function of `xp`, whose steps are written in their own forms.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy

from ..engine.namespace import namespace
from ..engine.primitive import Primitive
from ..engine.tensor import Tensor
from ..engine.watching import Application, Watching
from ..equation.language import read_equation
from ..errors import EquationError, UsageError
from .onnx_equations import Equations
from .onnx_lengths import Varying, alike, broadcast, merged, name_of, terms
from .onnx_nodes import Value

OUTSIDE = "it takes an array that was computed from the batch outside of all primitives"
"""Why an array cannot stand in a file."""


class Graph(Equations):
    """The graph while it is written, with what stands for which tensor.

    bounded: whether the last pass had as many steps as a sequence has at most.
    """

    def __init__(self, *what: Any, bounded: bool = False) -> None:
        super().__init__(*what)
        self.bounded = bounded
        self.known: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self.current: tuple[Application, ...] = ()  # what is being written, in each pass
        self.inside: list[Primitive] = []  # whose code is being written

    def take(self, name: str, dtype: Any, *xs: Tensor) -> None:
        """An input, as it was in each pass."""
        value = Value(name, numpy.dtype(dtype), merged(*(x.shape for x in xs)))
        self.stands_for(xs[0], value)
        for axis, n in enumerate(value.shape):
            if isinstance(called := name_of(n, self.sizes), str):
                self.places.setdefault(called, (value, axis))

    def stands_for(self, x: Tensor, value: Value) -> None:
        """A value stands for a tensor of the first pass, as long as that lives."""
        self.known[id(x)] = weakref.ref(x), value

    def apply(self, *passes: Application) -> None:
        """Write what was applied, in all passes."""
        first, *_ = self.current = passes
        primitive, result = first.primitive, first.result
        operands: list[Value] = []
        try:
            shape = merged(*(each.result.shape for each in passes))
            form = primitive.onnx_form
            if callable(form) and form.__code__.co_varnames[:1] == ("xp",):
                made = self.composed(form)
            else:
                operands = [self.operand(*each, of=first) for each in zip(*(a.operands for a in passes), strict=True)]
                if result.dtype.kind == "f":  # as NumPy has it, what stands beside wider numbers is made as wide
                    kinds = ("f" if len(operands) > 1 else "") + ("" if primitive.whole else "biu")
                    operands = [self.cast(x, result.dtype) if x.dtype.kind in kinds else x for x in operands]
                self.shape, self.dtype = shape, result.dtype
                parameters = merged(*(dict(each.parameters) for each in passes))
                try:
                    made = self.formed(primitive, operands, parameters)
                except NotImplementedError:
                    if form or primitive.onnx_reason or primitive in self.inside:
                        raise
                    self.inside.append(primitive)
                    made = self.composed(primitive.kernel)  # its code says it by other primitives
                    self.inside.pop()
            made = self.cast(made, result.dtype)
        except (NotImplementedError, EquationError) as error:
            raise UsageError(
                f"{primitive.name} has no form in ONNX: {error}. Use layers without it, or declare one beside the "
                f"primitive: {primitive.name}.onnx(…)."
            ) from error
        made = replace(made, shape=shape)
        self.stands_for(result, made)
        self.sources.setdefault(made.name, (primitive, operands))
        constant = operands and all(x.name in self.arrays for x in operands)
        if constant and all(alike(result._data, each.result._data) for each in passes):
            self.arrays[made.name] = result._data

    def composed(self, form: Callable[..., Any], *passes: Application) -> Value:
        """What was applied, by default what is being written, in steps of other primitives."""
        steps, made, kept = [], [], (self.shape, self.dtype)
        for each in passes or self.current:
            with Watching() as seen:
                given = [x if isinstance(x, Tensor) else Tensor(numpy.asarray(x)) for x in each.operands]
                try:
                    made.append(form(namespace, *given, **each.parameters))
                except Exception as error:  # of whatever kind: the code may be a user's, written for arrays alone
                    raise NotImplementedError(
                        f"its code does not compute with other primitives alone ({type(error).__name__}: {error})"
                    ) from error
            steps.append(seen.applications)
        self.apply_all(*steps)
        self.shape, self.dtype = kept
        return self.operand(*made)

    def apply_all(self, *passes: Sequence[Application]) -> None:
        """Write what was applied in the first pass, and in the same order in the others."""
        if any([a.primitive for a in passes[0]] != [a.primitive for a in other] for other in passes):
            raise NotImplementedError("for another batch or length other primitives are applied: there is no one graph")
        for each in zip(*passes, strict=True):
            self.apply(*each)

    def formed(self, primitive: Primitive, operands: Sequence[Value], parameters: Mapping[str, Any]) -> Value:
        """The primitive in its form."""
        form = primitive.onnx_form
        if primitive.onnx_reason:
            raise NotImplementedError(primitive.onnx_reason)
        if callable(form):
            made: Value = form(self, *operands, **parameters)
            return made
        if form and "=" not in form:
            odd = [name for name, value in parameters.items() if not isinstance(value, int | float)]
            if odd:
                raise NotImplementedError(f"{odd[0]} is {parameters[odd[0]]!r}, and {form} takes a number")
            return self.add(form, operands, **parameters)
        equation = primitive.equation
        if not form and self.shape != broadcast(x.shape for x in operands):
            raise NotImplementedError("its equation does not say its shape")
        if form:
            equation = read_equation(form, {*primitive.operands, *primitive.parameters})
        return self.equation(equation, {**parameters, **dict(zip(primitive.operands, operands, strict=False))})

    def operand(self, *xs: Any, of: Application | None = None) -> Value:
        """What stands for an operand; a constant is taken into the file, a weight by its name.

        An array as long as the batch, or as the steps are, goes in where it is the same for each, repeated to that
        length. Where the last pass had as many steps as there are at most, its arrays hold those of fewer.
        """
        known, value = self.known.get(id(xs[0]), (None, None))
        if value and known and known() is xs[0]:
            return value
        if isinstance(xs[0], int | float) and of:  # a number takes the dtype of what stands beside it
            beside = [v.dtype for v in of.operands if hasattr(v, "dtype")]
            xs = tuple(numpy.asarray(v, numpy.result_type(*beside, v)) for v in xs)
        arrays = [numpy.asarray(v._data if isinstance(v, Tensor) else v) for v in xs]
        shape, first = merged(*(a.shape for a in arrays)), arrays[0]
        slices: dict[int, slice] = {}
        for axis, n in enumerate(shape):
            if not isinstance(n, Varying):
                continue
            ones = [a[(slice(None),) * axis + (slice(0, 1),)] for a in arrays]
            if all(alike(a, numpy.broadcast_to(one, a.shape)) for a, one in zip(arrays, ones, strict=True)):
                arrays = ones
                continue
            _, of_batch, _, both = terms(n, self.sizes)
            if of_batch or both or not self.bounded:
                raise NotImplementedError(OUTSIDE)
            slices[axis] = slice(0, n)
        held = arrays[-1]
        if not all(alike(a, held[tuple(map(slice, a.shape))]) for a in arrays):
            raise NotImplementedError(OUTSIDE)
        if not any(isinstance(n, Varying) for n in shape):
            return self.constant(first, self.weights.get(memory_of(first)))
        made = self.broadcast(self.sliced(self.constant(held), slices), shape)
        self.arrays[made.name] = first
        return made

    def live(self, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
        """The nodes and constants that these outputs need."""
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        return nodes[::-1], [each for each in self.initialisers if each.name in needed]

    def in_parts(self, parts: Sequence[tuple[Any, Value]], form: Callable[..., Any], like: Value) -> Value:
        """What is being written, of which parts are at hand by their index; the whole is composed once it is needed."""
        current = self.current
        made = Value(self.label("whole"), like.dtype, self.shape)
        self.parts[made.name] = {str(index): part for index, part in parts}
        self.pending[made.name] = lambda: self.composed(form, *current)
        return made


def memory_of(array: Any) -> tuple[Any, ...]:
    """What tells an array's memory from another's."""
    return array.__array_interface__["data"][0], array.shape, array.strides, array.dtype
