"""What an update is: an equation by which parameters follow their gradient, and its kernel.

In the equation `theta` are the parameters, `g` is the gradient, `t` counts the updates from 1. Targets that are read
before they are written are state, kept from one update to the next and 0 at first; other targets are names for what
lies between. All other names are hyper-parameters.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import CodeType
from typing import Any

import numpy

from ..engine import backend
from ..engine.backend import Array, Cupy, Namespace
from ..engine.capturing import capturing
from ..engine.cuda.launch import gpu_of
from ..equation.functions import CONSTANTS, FUNCTIONS
from ..equation.language import Equation, Statement, read_equation
from ..equation.syntax import parsed
from ..errors import ChalkgradError, EquationError, first_line
from ..names import Names

FOLDED = ("epsilon", "shrink")
"""Numbers of a kernel, besides the learning rate, that `folds` gives anew for each update."""


class Update:
    """An update equation and its kernel.

    function: the kernel, `(xp, theta, g, scratch, *state, *, numbers…)`. It changes theta and the state in place and
    allocates nothing; `scratch` is a buffer of theta's shape that it may overwrite. One that takes hyper-parameters
    alone has no code: what its equation says is computed. folds: a function of hyper-parameters (and `t`) to numbers
    that the kernel takes instead of them. The defaults of the hyper-parameters are those of `folds`, or the kernel's.

    declared: the function. varying: those of the kernel's numbers that change from one update to the next.
    """

    def __init__(
        self,
        name: str,
        text: str,
        function: Callable[..., None],
        folds: Callable[..., Mapping[str, float]] | None = None,
    ) -> None:
        self.name, self.text, self.declared = name, text, function
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        parameters = list(inspect.signature(function).parameters.values())
        numbers = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.launch: Callable[..., None] | None = None
        self.kernel: Callable[..., None] = function
        self.slots = tuple(p.name for p in parameters[4:] if p not in numbers)
        self.folds, self._numbers = folds, tuple(p.name for p in numbers)
        folded = [name for name in self._numbers if folds and name in FOLDED]
        if len(numbers) == len(parameters):
            self.kernel = computed = Computed(text, self._numbers)
            self.slots, self.folds, self._numbers = computed.slots, computed.fold, computed.numbers
            folded = [*computed.folded]
        elif folds:
            numbers = list(inspect.signature(folds).parameters.values())
        self.varying = ("learning_rate", *folded)
        self.defaults = {p.name: p.default for p in numbers if p.name != "t"}
        if "learning_rate" not in self.defaults or "theta =" not in text:
            raise EquationError(f"{name}, {text!r}: an update changes theta, and learning_rate is one of its numbers.")
        self.hyperparameters = (*self.defaults, *(["t"] if any("t" in _names(part) for part in parsed(text)) else []))

    def __reduce__(self) -> Any:
        """Copied and pickled as a function is: by its name, itself."""
        return _known, (self.name,)

    @cached_property
    def equation(self) -> Equation:
        """The equation, read."""
        return read_equation(self.text, {"theta", "g", *self.slots, *self.hyperparameters})

    @property
    def statements(self) -> list[Equation]:
        """The equation's statements one by one, each with those before it known."""
        known = {"theta", "g", *self.slots, *self.hyperparameters}
        read = []
        for text in self.text.split(";"):
            read.append(read_equation(text.strip(), known))
            known.add(read[-1].target)
        return read

    def keeps(self, target: str) -> bool:
        """Whether a target is overwritten, rather than a name for what lies between."""
        return target == "theta" or target in self.slots

    def numbers(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the kernel takes, of the hyper-parameters' values."""
        folded = self.folds(**{name: values[name] for name in self.hyperparameters}) if self.folds else {}
        return {name: folded[name] if name in folded else values[name] for name in self._numbers}

    def cuda(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a launch on a CUDA device that does the same: (gpu, theta, g, *state, **numbers)."""
        self.launch = function
        return function

    def change(self, xp: Namespace, theta: Array, g: Array, scratch: Array, *state: Array, **numbers: Any) -> None:
        """Update theta and the state in place, by the launch where they lie on a GPU; numbers: the kernel's."""
        if self.launch and isinstance(xp, Cupy) and theta.dtype.name in ("float32", "float64"):
            self.launch(gpu_of(theta), theta, g, *state, **numbers)
        else:
            self.kernel(xp, theta, g, scratch, *state, **numbers)

    def __call__(
        self, xp: Namespace, theta: Array, g: Array, scratch: Array, state: Mapping[str, Array], **values: Any
    ) -> None:
        """Update theta and the state in place."""
        self.change(xp, theta, g, scratch, *(state[slot] for slot in self.slots), **self.numbers(values))


updates: Names[Update] = Names("update")
"""Those that are declared, by name."""


def _known(name: str) -> Update:
    return updates[name]


class Computed:
    """A kernel made from an equation's text alone.

    What depends on numbers alone, and changes from update to update as `1 - beta**t` does, is computed by Python, in
    `fold`, and given to the kernel as a number: so a step has the same bits whether it is captured or not.
    """

    def __init__(self, text: str, hyperparameters: Sequence[str]) -> None:
        known, read, slots = {"theta", "g", "t", *hyperparameters}, set[str](), list[str]()
        for part in parsed(text):
            if isinstance(part, ast.Assign):
                read |= _names(part.value)
                slots += [name for name in _names(part.targets[0]) & read - known if name not in slots]
        folding, self._steps = _Folding({*hyperparameters, "t"}), list[tuple[str, CodeType]]()
        equation = read_equation(text, {*known, *slots})
        if not equation.elementwise:
            raise EquationError(f"{text!r}: an update is elementwise, without indices and functions of whole arrays.")
        for statement in equation.statements:
            if not folding.names_a_number(statement):
                self._steps.append((statement.target, _compiled(folding.visit(statement.expression))))
        self.text, self.slots = text, tuple(slots)
        self.__name__, self.folded = "computed", folding.taken
        self._numbers = [(name, _compiled(expression)) for name, expression in folding.found.items()]
        self.numbers = (*hyperparameters, *self.folded)
        called = [name for name in FUNCTIONS if f"{name}(" in text]
        self._functions = {name: FUNCTIONS[name].array or name for name in called} | {"where": "where"}
        for name, array in self._functions.items():
            if not hasattr(numpy, array):
                raise EquationError(f"{text!r}: no array code can be made of {name}(…), so the update needs a body.")

    def fold(self, **values: float) -> dict[str, float]:
        """The numbers that change from update to update."""
        meaning, found = self._meaning(numpy), dict(values)
        for name, code in self._numbers:
            try:
                found[name] = float(eval(code, meaning, found))
            except (ArithmeticError, TypeError, ValueError) as error:
                told = ", ".join(f"{key} = {value}" for key, value in values.items())
                raise EquationError(f"the update {self.text!r} has no numbers for {told}: {error}") from error
        return {name: found[name] for name in self.folded}

    def __call__(self, xp: Namespace, theta: Array, g: Array, scratch: Array, *state: Array, **numbers: Any) -> None:
        if trace := capturing():  # so that operators are listed, too
            theta, g, *state = (trace.outside(trace.plain(array)) for array in (theta, g, *state))  # type: ignore[assignment]
        kept = {"theta": theta, **dict(zip(self.slots, state, strict=True))}
        values, meaning = {**kept, "g": g, **numbers}, self._meaning(xp)
        try:
            for target, code in self._steps:
                values[target] = eval(code, meaning, values)
            for name, array in kept.items():
                backend.set_items(array, ..., values[name])
        except ChalkgradError:
            raise
        except backend.REFUSED as error:
            raise EquationError(f"the update {self.text!r} cannot be computed here: {first_line(error)}") from error

    def _meaning(self, xp: Any) -> dict[str, Any]:
        functions = {name: getattr(xp, array) for name, array in self._functions.items()}
        return {"__builtins__": {}, "pi": math.pi, "inf": math.inf, **functions}


class _Folding(ast.NodeTransformer):
    """Takes out of expressions what depends on numbers alone and changes from update to update.

    found: the expressions of numbers, under the names that stand for them. taken: the names among these that are new.
    """

    def __init__(self, numbers: set[str]) -> None:
        self.numbers, self.changing = numbers, {"t", "learning_rate"}
        self.found, self.taken = dict[str, ast.expr](), list[str]()

    def names_a_number(self, statement: Statement) -> bool:
        """Whether a statement gives a name to a number; it is one of those that change, from there on."""
        if not _names(statement.expression) <= self.numbers:
            return False
        self.found[statement.target] = statement.expression
        self.numbers.add(statement.target)
        self.changing.add(statement.target)
        return True

    def visit(self, node: ast.AST) -> Any:
        names = _names(node)
        rate = isinstance(node, ast.Name) and node.id == "learning_rate"  # which the kernel is given anyhow
        if not isinstance(node, ast.expr) or rate or not names & self.changing or not names <= self.numbers:
            made: Any = self.generic_visit(node)
            chosen = [made.test, made.body, made.orelse] if isinstance(made, ast.IfExp) else []
            return ast.Call(ast.Name("where", ast.Load()), chosen, []) if chosen else made
        name = f"number_{len(self.taken)}"
        self.found[name] = node
        self.taken.append(name)
        return ast.Name(name, ast.Load())


def _names(node: ast.AST) -> set[str]:
    """The values that an expression reads."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {*FUNCTIONS, *CONSTANTS}


def _compiled(expression: ast.expr) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Expression(expression)), "<an update's equation>", "eval")
