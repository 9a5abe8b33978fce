"""An explanation: what a computation consists of, forward and backward, with the engine's own numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy
from numpy.typing import NDArray

from ..engine import transform
from ..engine.primitive import Primitive
from ..engine.rule import Rule
from ..engine.tensor import Tensor
from ..engine.watching import Application, Sent
from ..equation.element import Elided, Values
from ..equation.language import Equation
from ..equation.notation import in_symbols, with_values
from ..equation.simplify import simplified
from ..equation.styles import STYLES, Style, Symbol
from ..equation.symbols import gradient_of, number_text

Place = tuple[int, ...]
EXACT = 9
"""Digits of a number that stands in the code."""
LONGEST = 240
"""How many characters of numbers are still read."""


@dataclass(frozen=True)
class Numerical:
    """A derivative by numbers, its own estimate of its error, and whether the loss has a kink there."""

    value: float
    error: float
    kink: bool = False


@dataclass(eq=False)
class Quantity:
    """A value of the computation, as it is called on the blackboard.

    id: its plain name, `W1`. role: "input", "weight", "target", "hidden", "loss" or "constant". value: the engine's
    array. gradient: ∂J/∂value, the engine's; None where it has none. numerical: by flat place, for those elements whose
    derivative was also taken by numbers. layer: the name of the layer that it belongs to. place: the element that is
    written out where there is room for one. terms: the greatest of the gradients that its own is made of, by which
    rounding goes where they add up to nothing.
    """

    id: str
    symbol: Symbol
    role: str
    value: NDArray[Any]
    gradient: NDArray[Any] | None = None
    numerical: dict[int, Numerical] = field(default_factory=dict)
    layer: str = ""
    place: Place = ()
    terms: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.value.shape

    @property
    def trained(self) -> bool:
        """Whether an update changes it."""
        return self.role == "weight"

    def disagreements(self) -> Iterator[tuple[int, float, Numerical]]:
        """Where gradient and numerical derivative differ, outside of kinks: flat place, gradient, numerical."""
        if self.gradient is None:
            return
        flat = self.gradient.reshape(-1)
        eps = float(numpy.finfo(self.gradient.dtype).eps)
        scale = max(self.terms, float(numpy.abs(flat).max())) if flat.size else 0.0
        for place, other in self.numerical.items():
            if other.kink or not numpy.isfinite(flat[place]):
                continue
            room = 16 * other.error + 1e3 * eps * max(scale, abs(other.value)) + 1e-12
            if not abs(float(flat[place]) - other.value) <= room:
                yield place, float(flat[place]), other

    @property
    def agrees(self) -> bool | None:
        """Whether the numerical derivative agrees wherever it was taken; None where there is none."""
        return None if not self.numerical else next(self.disagreements(), None) is None


@dataclass(eq=False)
class Step:
    """One application of a primitive on the way forward.

    operands: by position, a Quantity, or a number as it stands in the code.
    """

    number: int
    application: Application
    operands: tuple[Any, ...]
    result: Quantity

    @property
    def primitive(self) -> Primitive:
        """What was applied."""
        return self.application.primitive

    @cached_property
    def equation(self) -> Equation:
        """Its equation, from the registry, without what its parameters make nothing of."""
        own = self.primitive
        return simplified(own.equation, self.parameters, {*own.operands, *own.parameters})

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters, with the defaults."""
        known = {k: v for k, v in self.primitive.parameters.items() if not isinstance(v, type)}
        return {**known, **self.application.parameters}

    @cached_property
    def names(self) -> dict[str, Symbol]:
        """What the names in the primitive's equations are called here, gradients (`gx`) included.

        A parameter that is a single number, or the same on every axis, is that number.
        """
        parameters = ((name, _single(value)) for name, value in self.parameters.items())
        names = {name: Symbol(number_text(value, EXACT)) for name, value in parameters if value is not None}
        names[self.equation.target] = self.result.symbol
        names[f"g{self.equation.target}"] = gradient_of(self.result.symbol)
        for position, operand in enumerate(self.operands):
            name = self.primitive.operand(position)
            if isinstance(operand, Quantity):
                names[name], names[f"g{name}"] = operand.symbol, gradient_of(operand.symbol)
            else:
                names[name] = Symbol(number_text(operand, EXACT))
        return names

    @cached_property
    def axes(self) -> dict[str, int]:
        """How many axes the arrays in the primitive's equations have, gradients included, and parameters tell of."""
        axes = {self.primitive.operand(i): len(o.shape) for i, o in enumerate(self.operands) if isinstance(o, Quantity)}
        axes[self.equation.target] = len(self.result.shape)
        several = ((name, value) for name, value in self.parameters.items() if _single(value) is None)
        parameters = {name: len(value) for name, value in several if isinstance(value, tuple)}
        return {**parameters, **axes, **{f"g{name}": count for name, count in axes.items()}}

    def symbols(self, style: Style | str) -> str:
        """The equation in symbols."""
        return in_symbols(self.equation, style, self.names, self.axes)

    def settings(self) -> dict[str, Any]:
        """The parameters that stand in the equation by their names: a border that is another on each side, say."""
        return {name: value for name, value in self.parameters.items() if name in self.equation.values - {*self.names}}

    def arrays(self) -> dict[str, Any]:
        """The values of the names in the equation."""
        operands = {
            self.primitive.operand(i): o.value if isinstance(o, Quantity) else o for i, o in enumerate(self.operands)
        }
        return {**self.parameters, **operands}

    def ids(self) -> dict[str, str]:
        """The ids of the arrays by their names in the equation."""
        return {self.primitive.operand(i): o.id for i, o in enumerate(self.operands) if isinstance(o, Quantity)}

    def put_in(self, style: Style | str, place: Place | None = None, digits: int = 4) -> str | None:
        """The right-hand side for one element with the values put in; None where it is about whole arrays."""
        place = self.result.place if place is None else place
        axis = self.parameters.get("axis", ())
        if self.primitive.variadic:
            return None
        values = Values(self.arrays(), self.result.shape, place, self.ids(), axis)
        return _or_none(self.equation, style, values, self.names, digits)


@dataclass(eq=False)
class Term:
    """One product of the chain rule: ∂out/∂x · ∂J/∂out for one element `place` of the result."""

    place: Place
    local: float
    incoming: float
    product: float


@dataclass(eq=False)
class Return:
    """One rule on the way back: what is sent to an operand.

    operand: whose gradient it adds to; turn, turns: that it is the second of three such terms, say. total: the sum so
    far.
    """

    number: int
    step: Step
    sent: Sent
    operand: Quantity
    turn: int
    turns: int
    total: NDArray[Any]

    @property
    def rule(self) -> Rule:
        """The rule, from the registry."""
        return self.step.primitive.rules[self.step.primitive.operand(self.sent.position)]

    @property
    def contribution(self) -> NDArray[Any]:
        """What the rule gave, in the operand's shape."""
        return numpy.asarray(self.sent.gx)

    @property
    def incoming(self) -> NDArray[Any]:
        """∂J/∂ of the step's result."""
        return numpy.asarray(self.sent.gy)

    @cached_property
    def equation(self) -> Equation:
        """The rule's equation, without what the parameters make nothing of."""
        own, result = self.step.primitive, self.step.equation.target
        known = {*own.operands, *own.parameters, result, f"g{result}", "position"}
        return simplified(self.rule.equation, self.step.parameters, known)

    @property
    def names(self) -> dict[str, Symbol]:
        """What the names in the rule's equation are called here."""
        name = self.step.primitive.operand(self.sent.position)  # one operand may stand in two places
        return {**self.step.names, name: self.operand.symbol, f"g{name}": gradient_of(self.operand.symbol)}

    def symbols(self, style: Style | str) -> str:
        """The rule's equation in symbols."""
        axes = {**self.step.axes, self.equation.target: len(self.operand.shape)}
        return in_symbols(self.equation, style, self.names, axes)

    def put_in(self, style: Style | str, place: Place | None = None, digits: int = 4) -> str | None:
        """The rule's right-hand side for one element with the values put in; None where it is about whole arrays."""
        place = self.operand.place if place is None else place
        equation, step = self.equation, self.step
        if step.primitive.variadic:
            return None
        result = step.equation.target
        arrays = {**step.arrays(), result: step.result.value, f"g{result}": self.incoming}
        ids = {**step.ids(), result: step.result.id, f"g{result}": f"∇{step.result.id}"}
        names = self.names
        if not equation.elementwise:
            values = Values(arrays, self.operand.shape, place, ids, step.parameters.get("axis", ()))
            return _or_none(equation, style, values, names, digits)
        places = _repeated(self.operand.shape, self.incoming.shape, place)
        if not places:  # the body says something else than its text
            return None
        chosen = STYLES[style] if isinstance(style, str) else style
        shown: list[str] = []
        for at in places if len(places) <= 6 else [*places[:3], places[-1]]:
            term = _or_none(equation, style, Values(arrays, self.incoming.shape, at, ids), names, digits)
            if term is None:
                return None
            shown.append(term)
        if len(places) > 6:
            shown.insert(-1, chosen.operator("…").strip())
        joined = [part for i, term in enumerate(shown) for part in ([chosen.operator("+")] * bool(i) + [term])]
        return shown[0] if len(shown) == 1 else chosen.join(joined)

    def terms(self, place: Place | None = None, most: int | None = None) -> list[Term]:
        """The chain rule for one element of the operand: the local derivatives, and what comes in.

        The local derivatives are the engine's own: the primitive's derivative in the direction of that element. most:
        of how many elements of the result to tell, by default of all on which it has an effect.
        """
        place = self.operand.place if place is None else place
        direction = numpy.zeros_like(self.operand.value)
        direction[place] = 1
        application = self.step.application
        operands = [o.detach() if isinstance(o, Tensor) else o for o in application.operands]

        def alone(x: Tensor) -> Tensor:
            operands[self.sent.position] = x
            return application.primitive.compute(tuple(operands), application.parameters)

        with numpy.errstate(all="ignore"):  # what is not finite is told
            _, local = transform.jvp(alone, [Tensor(self.operand.value)], [Tensor(direction)])
        slopes = local.numpy()
        return [
            Term(at, float(slopes[at]), float(self.incoming[at]), float(slopes[at]) * float(self.incoming[at]))
            for at in (tuple(map(int, found)) for found in numpy.argwhere(slopes)[:most])
        ]


@dataclass(eq=False)
class Assignment:
    """One statement of an update, with the values before and after. kept: its target is overwritten, not just named."""

    equation: Equation
    names: Mapping[str, Symbol]
    arrays: Mapping[str, Any]
    ids: Mapping[str, str]
    target: str
    after: NDArray[Any]
    kept: bool = True

    def symbols(self, style: Style | str) -> str:
        """The statement in symbols."""
        return in_symbols(self.equation, style, self.names, sign="<-" if self.kept else "=")

    def put_in(self, style: Style | str, place: Place, digits: int = 4) -> str | None:
        """The right-hand side for one element with the values put in."""
        values = Values(self.arrays, self.after.shape, place, self.ids)
        return _or_none(self.equation, style, values, self.names, digits)


@dataclass(eq=False)
class Revision:
    """What an update does to one weight: statements in order; after: its new value."""

    quantity: Quantity
    assignments: tuple[Assignment, ...]
    after: NDArray[Any]


@dataclass(eq=False, repr=False)
class Explanation:
    """A computation explained: quantities, the way forward, the way back, and the update.

    title: what was explained. kind: "model" or "function". not_finite: the first step whose result is not finite
    although its operands are, with the place; None where all is finite.
    """

    title: str
    kind: str
    quantities: tuple[Quantity, ...]
    forward: tuple[Step, ...]
    backward: tuple[Return, ...]
    update: tuple[Revision, ...] = ()
    update_name: str = ""
    update_numbers: str = ""
    step_number: int = 0
    not_finite: tuple[Quantity, Place] | None = None

    def __getitem__(self, name: str) -> Quantity:
        """The quantity of that id, as `W1`."""
        found = next((q for q in self.quantities if q.id == name), None)
        if found is None:
            raise KeyError(f"no quantity {name!r}: there are {', '.join(q.id for q in self.quantities)}")
        return found

    @property
    def loss(self) -> Quantity:
        """What is differentiated."""
        return self.forward[-1].result if self.forward else self.quantities[-1]

    def __repr__(self) -> str:
        return f"<explanation of {self.title}: {len(self.forward)} steps forward, {len(self.backward)} back>"

    @property
    def agrees(self) -> bool:
        """Whether every gradient agrees with its numerical derivative, wherever that was taken."""
        return all(q.agrees is not False for q in self.quantities)


def _single(value: Any) -> float | None:
    """The number that a parameter is, on every axis where it has several."""
    numbers = value if isinstance(value, tuple) and value else (value,)
    same = all(isinstance(n, (int, float)) and not isinstance(n, bool) and n == numbers[0] for n in numbers)
    return numbers[0] if same else None


def _or_none(
    equation: Equation, style: Style | str, values: Values, names: Mapping[str, Symbol], digits: int
) -> str | None:
    """With the values put in; None where there is no element to write out, or it would be a page of numbers."""
    try:
        if len(with_values(equation, "unicode", values, names, digits)) > LONGEST:
            return None
        return with_values(equation, style, values, names, digits)
    except Elided:
        return None


def _repeated(shape: tuple[int, ...], large: tuple[int, ...], place: Place) -> list[Place]:
    """The places of a `large` array that one element of an operand of `shape` was repeated to; none of another."""
    try:
        places = numpy.broadcast_to(numpy.arange(int(numpy.prod(shape))).reshape(shape), large)
    except ValueError:
        return []
    wanted = int(numpy.ravel_multi_index(place, shape)) if shape else 0
    return [tuple(map(int, at)) for at in numpy.argwhere(places == wanted)] if large else [()]
