"""The gradient of a primitive with respect to one operand."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..equation.language import Equation, read_equation
from ..errors import EquationError
from .capturing import unfollowed_property
from .namespace import namespace

if TYPE_CHECKING:
    from .primitive import Primitive

Kernel = Callable[..., Any]


def meaning(name: str) -> Kernel:
    """What a function of the language means that no array library has: the primitive of that name."""
    made: Kernel = getattr(namespace, name).apply
    return made


@dataclass(frozen=True)
class Rule:
    """The gradient of a primitive with respect to one operand: its equation, and its code, with what that asks to see.

    body: the code, where it says more than the text. asked: what it asks to see, where its signature does not tell.
    place: the file and line where it is declared.
    """

    primitive: Primitive
    operand: str
    text: str
    body: Kernel | None = None
    place: tuple[str, int] = ("<rule>", 1)
    asked: tuple[str, ...] | None = None

    @unfollowed_property
    def equation(self) -> Equation:
        """The rule's equation, read."""
        result = self.primitive.equation.target
        known = {*self.primitive.operands, *self.primitive.parameters, result, f"g{result}", "position"}
        equation = read_equation(self.text, known)
        if equation.target != f"g{self.operand}":
            raise EquationError(f"{self.text!r}, a rule of {self.primitive.name}, should give g{self.operand}.")
        return equation

    @unfollowed_property
    def wants(self) -> tuple[str, ...]:
        """What the code asks to see. Raises EquationError where that is neither saved nor a parameter."""
        made = self.primitive
        seen = [save.replace(".", "_") for save in made.saves]
        if self.asked is not None:
            wants = self.asked
        elif self.body is not None:
            wants = tuple(inspect.signature(self.body).parameters)[2:]
        else:
            wants = self._named(seen)
        for name in wants:
            if name not in {*seen, *made.parameters, "position"}:
                raise EquationError(
                    f"the rule of {made.name} for {self.operand!r} wants {name!r}, which is neither saved "
                    f"({', '.join(made.saves) or 'nothing is'}) nor a parameter."
                )
        return wants

    def _named(self, seen: list[str]) -> tuple[str, ...]:
        """What the text names, of what it may see; of a value whose shape alone is saved, that."""
        made, equation = self.primitive, self.equation
        names = set(equation.values - {f"g{made.equation.target}"})
        names = {f"{name}_shape" if name not in seen and f"{name}_shape" in seen else name for name in names}
        if not equation.elementwise:  # then the result may need a shape that the text does not name, and the axis
            names |= {f"{self.operand}_shape"} & set(seen)
            names |= {"axis"} & made.parameters.keys() if "..." in self.text else set()
        return (*sorted(names - made.parameters.keys()), *(name for name in made.parameters if name in names))

    @unfollowed_property
    def kernel(self) -> Kernel:
        """The code; made from the text where that says all."""
        if self.body is not None:
            return self.body
        from ..equation.code import array_code  # when it is first needed: an import of the package is quick

        incoming, made = f"g{self.primitive.equation.target}", self.primitive
        known = {*made.parameters, *(w for w in self.wants if w.endswith("_shape")), "position"}
        shape = f"{self.operand}_shape"
        return array_code(
            self.equation, f"{made.name}_{self.operand}", arrays=[incoming, *(w for w in self.wants if w not in known)],
            others=[w for w in self.wants if w in known], signature=", ".join((incoming, *self.wants)),
            axis="axis" if "axis" in made.parameters else None, shape=shape if shape in self.wants else None,
            functions=meaning, place=self.place,
        )  # fmt: skip

    @unfollowed_property
    def factor(self) -> str | None:
        """What gy is multiplied by to give the gradient, where the text says no more: a name, or "" for gy itself."""
        incoming, node = f"g{self.primitive.equation.target}", self.equation.statements[-1].expression
        if self.body is not None or not self.equation.elementwise or len(self.equation.statements) > 1:
            return None
        text, factor = ast.unparse(node), self.wants[0] if len(self.wants) == 1 else None
        return "" if text == incoming else factor if factor and text == f"{incoming} * {factor}" else None
