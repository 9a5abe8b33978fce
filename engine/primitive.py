"""Primitives: an equation, its kernel and its gradient rules in one place, and the registry of them all.

    @primitive("y = sin(x)", saves=("x",), method=True)
    def sin(xp, x):
        \"\"\"Sine, elementwise.\"\"\"
        return xp.sin(x)

    @sin.vjp("x", "gx = gy * cos(x)")
    def _(xp, gy, x):
        return gy * xp.cos(x)

A kernel takes `xp` (numpy or cupy), then its operands, then its parameters. A parameter has a default or
stands after `*`; everything else is an operand. A rule takes `xp`, the incoming gradient, and by name what it
wants to see: what the primitive `saves` (`x`, the output `y`, or only a shape: "x.shape", seen as `x_shape`)
and parameters. With `xp` set to the engine's own `namespace` a rule's arithmetic is recorded in turn, so
derivatives of any order need no further rule.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import math
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from ..equation.code import array_code, single_call
from ..equation.language import Equation, read_equation
from ..errors import EquationError, GraphError, UsageError
from . import recording
from .cuda.launch import CudaKernel, chosen
from .namespace import OWN, Namespace, namespace
from .recording import Plan
from .road import road_of
from .tensor import Tensor

Kernel = Callable[..., Any]
Domain = tuple[float, float] | range
REALS = (-math.inf, math.inf)
FEW = 40
"""Lines after the first of a declaration, among which its `def` is."""


@dataclass(frozen=True)
class Example:
    """Operand shapes and parameters that the primitive can be called with: what proofs draw inputs for."""

    shapes: tuple[tuple[int, ...], ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)


def example(*shapes: tuple[int, ...], **parameters: Any) -> Example:
    """An `Example`: one shape for each operand, then the parameters."""
    return Example(shapes, parameters)


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

    @cached_property
    def equation(self) -> Equation:
        """The rule's equation, read."""
        result = self.primitive.equation.target
        known = {*self.primitive.operands, *self.primitive.parameters, result, f"g{result}", "position"}
        equation = read_equation(self.text, known)
        if equation.target != f"g{self.operand}":
            raise EquationError(f"{self.text!r}, a rule of {self.primitive.name}, should give g{self.operand}.")
        return equation

    @cached_property
    def wants(self) -> tuple[str, ...]:
        """What the code asks to see. Raises EquationError where that is neither saved nor a parameter."""
        made = self.primitive
        seen = [save.replace(".", "_") for save in made.saves]
        if self.asked is not None:
            wants = self.asked
        elif self.body is not None:
            wants = tuple(inspect.signature(self.body).parameters)[2:]
        else:
            named = self.equation.values - {f"g{made.equation.target}"}
            shapes = {name for name in seen if name not in made.saves and name.removesuffix("_shape") in named}
            named -= {name for name in named if f"{name}_shape" in shapes and name not in seen}
            if not self.equation.elementwise:
                named |= {f"{self.operand}_shape", *(("axis",) if "..." in self.text else ())} & {
                    *seen,
                    *made.parameters,
                }
            wants = (
                *sorted(named - made.parameters.keys()),
                *shapes - named,
                *(p for p in made.parameters if p in named),
            )
        for name in wants:
            if name not in {*seen, *made.parameters, "position"}:
                raise EquationError(
                    f"the rule of {made.name} for {self.operand!r} wants {name!r}, which is neither saved "
                    f"({', '.join(made.saves) or 'nothing is'}) nor a parameter."
                )
        return wants

    @cached_property
    def kernel(self) -> Kernel:
        """The code; made from the text where that says all."""
        if self.body is not None:
            return self.body
        incoming, made = f"g{self.primitive.equation.target}", self.primitive
        known = {*made.parameters, *(w for w in self.wants if w.endswith("_shape")), "position"}
        shape = f"{self.operand}_shape"
        return array_code(
            self.equation, f"{made.name}_{self.operand}", arrays=[incoming, *(w for w in self.wants if w not in known)],
            others=[w for w in self.wants if w in known], signature=", ".join((incoming, *self.wants)),
            axis="axis" if "axis" in made.parameters else None, shape=shape if shape in self.wants else None,
            functions=_function, place=self.place,
        )  # fmt: skip

    @cached_property
    def factor(self) -> str | None:
        """What gy is multiplied by to give the gradient, where the text says no more: a name, or "" for gy itself."""
        incoming, node = f"g{self.primitive.equation.target}", self.equation.statements[-1].expression
        if self.body is not None or not self.equation.elementwise or len(self.equation.statements) > 1:
            return None
        text, factor = ast.unparse(node), self.wants[0] if len(self.wants) == 1 else None
        return "" if text == incoming else factor if factor and text == f"{incoming} * {factor}" else None


class Primitive:
    """A function of tensors that knows its own gradient; made by the decorator `primitive`.

    Calling it with tensors (or arrays and numbers, which are constants) computes, and records what the rules
    will need where an operand requires a gradient.
    """

    def __init__(self, declared: Kernel, text: str, **options: Any) -> None:
        signature = list(inspect.signature(declared).parameters.values())
        bodiless = not signature or signature[0].name != "xp"
        signature = signature if bodiless else signature[1:]
        operands = [p for p in signature if p.kind is not p.KEYWORD_ONLY and p.default is p.empty]
        self.name: str = declared.__name__
        self.__doc__, self.__module__ = declared.__doc__, declared.__module__
        self.__name__ = self.__qualname__ = declared.__name__
        self.synonyms: tuple[str, ...] = options["synonyms"]
        self.__signature__ = inspect.signature(options["bind"]) if options["bind"] else _public(signature)
        self.declared, self.body = declared, None if bodiless else declared
        self.text = text
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in operands)
        self.operands = tuple(p.name for p in operands)
        self.parameters = {p.name: p.default for p in signature if p not in operands}
        self.domain: Mapping[str, Domain] = options["domain"]
        self.saves: tuple[str, ...] = options["saves"]
        self.kink: str | None = options["kink"]
        self.analytic: bool = options["analytic"]
        self.examples: tuple[Example, ...] = options["examples"]
        self.binder: Callable[..., tuple[Any, ...]] | None = options["bind"]
        self.method: str | None = options["method"]
        self.operators: tuple[str, ...] = options["operators"]
        self.declared_whole: bool | None = options["whole"]
        self.without: Primitive | None = options["without"]
        self.rules: dict[str, Rule] = {}
        self.checker: Callable[..., None] | None = None
        self.value_checker: Callable[..., None] | None = None
        self.checks: tuple[Callable[..., None], ...] = ()  # both, as far as there are any
        self.plans: dict[tuple[bool, ...], Plan] = {}  # how it is recorded, by which operands need a gradient
        self.cuda_kernels: dict[str, CudaKernel] = {}  # by operand, of its rule; under "" its own
        self.direct = not (self.parameters or self.variadic or self.binder)
        self.road = road_of(self)
        self._defaults = {k: v for k, v in self.parameters.items() if v is not inspect.Parameter.empty}

    def __repr__(self) -> str:
        return f"<primitive {self.name}: {self.text}>"

    def __reduce__(self) -> str:
        """Copied and pickled as a function is: by its name, itself."""
        return self.name

    @cached_property
    def equation(self) -> Equation:
        """The equation, read."""
        return read_equation(self.text, {*self.operands, *self.parameters})

    @cached_property
    def kernel(self) -> Kernel:
        """The code, a function of xp, operands and parameters; made from the text where that says all."""
        if self.body is not None:
            return self.body
        given = inspect.signature(self.declared).parameters.values()
        bare = inspect.Signature([p.replace(default=p.empty, annotation=p.empty) for p in given])
        code = self.declared.__code__
        made = array_code(
            self.equation, self.name, arrays=self.operands, others=tuple(self.parameters), signature=str(bare)[1:-1],
            axis="axis" if "axis" in self.parameters else None, keepdims="keepdims" in self.parameters,
            functions=_function, place=(code.co_filename, code.co_firstlineno),
        )  # fmt: skip
        made.__defaults__, made.__kwdefaults__ = self.declared.__defaults__, self.declared.__kwdefaults__
        made.__module__, made.__doc__ = self.__module__, self.__doc__
        return made

    @cached_property
    def computing(self) -> Kernel:
        """The code, or on a GPU the launch that stands for it."""
        return chosen(self.cuda_kernels.get(""), self.kernel)

    @cached_property
    def ufunc(self) -> Any:
        """The ufunc of NumPy that is all of it; None where it is more, or another function."""
        return getattr(numpy, single_call(self.equation, self.operands) or "", None) if self.body is None else None

    @cached_property
    def whole(self) -> bool:
        """Whether integers stay integers, as NumPy has it; else they are made floating point before it computes."""
        return self.equation.whole if self.declared_whole is None else self.declared_whole

    @cached_property
    def adds(self) -> bool:
        """Whether it, or a rule of it, sums: then float16 is computed in float32, and the result rounded to float16."""
        return self.equation.adds or any(rule.equation.adds for rule in self.rules.values())

    @property
    def cares(self) -> bool:
        """Whether it may compute in another dtype than its operands have."""
        return not self.whole or self.adds or bool(self.parameters)

    @property
    def differentiable(self) -> bool:
        """Whether any operand has a gradient rule."""
        return bool(self.rules)

    # Declaring

    def vjp(self, operand: str, text: str) -> Callable[[Kernel], Rule]:
        """Declare the gradient rule of `operand`; `text` is its equation, `gx = …`, and where that says all its code.

        As a decorator it takes a body: a stabler or a faster road to the same.
        """
        if operand not in self.operands:
            raise EquationError(f"{self.name} has no operand {operand!r}; it has {', '.join(self.operands)}.")
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno
        rule = Rule(self, operand, text, place=place)
        if not self.__module__.startswith(OWN):
            rule.equation  # noqa: B018 (reading it is the check)
        self.set_rule(rule)

        def declare(body: Kernel) -> Rule:
            rule = Rule(self, operand, text, body, place)
            rule.wants  # noqa: B018 (asking is the check)
            self.set_rule(rule)
            return rule

        return declare

    def set_rule(self, rule: Rule) -> None:
        """Take the rule for its operand; what was recorded before keeps the one it had."""
        self.rules[rule.operand] = rule
        self.plans.clear()
        self.__dict__.pop("adds", None)

    def check_text(self) -> None:
        """Read the equation and the kink; raises EquationError. So is a kernel made that has no body."""
        known = {*self.operands, *self.parameters, *(s.target for s in self.equation.statements)}
        if self.kink:
            read_equation(f"kink = {self.kink}", known)
        self.kernel  # noqa: B018 (making it is the check)

    @property
    def lent(self) -> tuple[str, ...]:
        """The names of its operators and methods of Tensor."""
        return (*self.operators, *([self.method] if self.method else []))

    @property
    def place(self) -> tuple[str, int]:
        """The file and line where it is declared."""
        code = getattr(self.declared, "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code else ("<unknown>", 0)

    def is_place_of(self, other: Primitive) -> bool:
        """Whether the other is declared in its place: there, in a notebook, or in a file that has changed since."""
        (file, line), (elsewhere, _) = self.place, other.place
        if self.place == other.place:
            return True
        if not Path(file).is_file():
            return self.__module__ == other.__module__ and not Path(elsewhere).is_file()
        linecache.checkcache(file)
        lines = linecache.getlines(file)[line - 1 : line + FEW]
        return file == elsewhere and not any(f"def {self.name}(" in text for text in lines)

    def cuda(self, operand: str = "", *, suits: Callable[..., bool]) -> Callable[[Callable[..., Any]], CudaKernel]:
        """Declare a launch on a CUDA device that computes the same, or the same as the rule of `operand`.

        The function takes the `Gpu` instead of `xp`, and `out`. suits: whether such arrays and parameters are such as
        it takes; for others the array code serves on a GPU as it does on the CPU.
        """

        def declare(function: Callable[..., Any]) -> CudaKernel:
            name = f"{self.name}_{operand}" if operand else self.name
            made = self.cuda_kernels[operand] = CudaKernel(name, function, suits)
            self.plans.clear()
            self.__dict__.pop("computing", None)
            return made

        return declare

    def check(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a check of operands and parameters, called before the kernel; it raises an error of ours."""
        self.checker, self.checks = function, (function, *self.checks)
        return function

    def check_values(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a check of the operands' values, with the parameters, also called in each replay; not on a GPU."""
        self.value_checker, self.checks = function, (*self.checks, function)
        return function

    # Computing

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute, and record. Operands are tensors, arrays or numbers; parameters as in the kernel's signature."""
        if self.direct and not kwargs and len(args) == len(self.operands):
            return self.road(*args)
        operands, parameters, *after = self.bind(args, kwargs)
        if self.without and operands[-1] is None:
            y = self.without.compute(operands[:-1], parameters)
        else:
            y = self.compute(operands, parameters)
        return after[0](y) if after and after[0] else y

    def compute(self, operands: tuple[Any, ...], parameters: Mapping[str, Any]) -> Tensor:
        """Compute, and record, with operands and parameters apart, as the kernel has them."""
        if parameters.keys() != self.parameters.keys():
            parameters = {**self._defaults, **parameters}
        return self.road(*operands, parameters=parameters)

    def plan(self, flags: tuple[bool, ...]) -> Plan:
        """How it is recorded where these operands need a gradient."""
        return self.plans.setdefault(flags, Plan(self, flags))

    def apply(self, xp: Any, *operands: Any, **parameters: Any) -> Any:
        """Compute as a part of another kernel or rule: bare on arrays, recorded where `xp` is the namespace."""
        return (
            self.compute(operands, parameters)
            if isinstance(xp, Namespace)
            else self.computing(xp, *operands, **parameters)
        )

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Sort a call's arguments into operands and parameters; raises TypeError as a Python function would.

        A binder of the primitive's own may give a third: a function of the result, or None.
        """
        if self.binder:
            try:
                operands, parameters, *after = self.binder(*args, **kwargs)
            except TypeError as error:
                own, called = f"{self.binder.__name__}()", f"{self.name}()"
                if own not in str(error):
                    raise
                raise TypeError(str(error).replace(own, called)) from None  # speaks of the call that was made
            return operands, {name: self._parameter(name, value) for name, value in parameters.items()}, *after
        count = len(self.operands)
        if len(args) == count and not kwargs and len(self._defaults) == len(self.parameters):
            return args, self._defaults
        parameters = dict(self._defaults)
        names = (*self.operands, *self.parameters)
        if len(args) > len(names):
            raise TypeError(f"{self.name}() takes {len(names)} arguments ({', '.join(names)}), got {len(args)}.")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names or name in given:
                raise TypeError(f"{self.name}() got {name!r} {'twice' if name in given else 'which it does not take'}.")
            given[name] = value
        parameters.update((name, self._parameter(name, given[name])) for name in self.parameters if name in given)
        missing = [name for name in names if name not in given and name not in parameters]
        if missing:
            raise TypeError(f"{self.name}() needs {', '.join(missing)}: its arguments are {', '.join(names)}.")
        return tuple(given[name] for name in self.operands), parameters

    def _parameter(self, name: str, value: Any) -> Any:
        """A parameter that was given, as the kernel takes it: axes by integers, and of a tensor its number."""
        if value is None or value.__class__ in (int, float, bool, str):
            return value
        if name == "axis":
            several = isinstance(value, (tuple, list, range)) or getattr(value, "ndim", 0) > 0
            try:
                return tuple(map(operator.index, value)) if several else operator.index(value)
            except TypeError:
                raise UsageError(f"{self.name}(axis={value!r}): an axis is an integer; several are a tuple.") from None
        for x in (value,) if isinstance(value, Tensor) else value if isinstance(value, (tuple, list)) else ():
            if isinstance(x, Tensor) and x.requires_grad:
                raise GraphError(
                    f"{name} of {self.name} is a parameter, to which no gradient goes, and the tensor given (shape "
                    f"{x.shape}) requires one: give .item(), or compose {self.text!r} of operations on tensors."
                )
        return value.item() if isinstance(value, Tensor) and not value.ndim else value

    def operand(self, position: int) -> str:
        """The name of the operand at `position` (a variadic primitive has one name for all)."""
        return self.operands[0] if self.variadic else self.operands[position]

    unbroadcast = recording.unbroadcast  # what the tape asks of it


def _public(parameters: list[inspect.Parameter]) -> inspect.Signature:
    """The signature of a call by position or by name, where the kernel wants names."""
    optional = [p.default is not p.empty for p in parameters]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or optional != sorted(optional):
        return inspect.Signature(parameters)
    return inspect.Signature([p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters])


def _function(name: str) -> Kernel:
    """What a function of the language means that no array library has: the primitive of that name."""
    return registry[name].apply


registry: dict[str, Primitive] = {}


def primitive(
    text: str,
    *,
    domain: Domain | Mapping[str, Domain] = REALS,
    saves: tuple[str, ...] = (),
    method: bool = False,
    synonyms: tuple[str, ...] = (),
    operators: tuple[str, ...] = (),
    kink: str | None = None,
    analytic: bool = False,
    whole: bool | None = None,
    examples: tuple[Example, ...] = (),
    bind: Callable[..., tuple[tuple[Any, ...], dict[str, Any]]] | None = None,
    without: Primitive | None = None,
) -> Callable[[Kernel], Primitive]:
    """Make a primitive of a kernel, and register it under the kernel's name.

    text: the equation. domain: where it is smooth, for all operands or by name; a range means integers.
    saves: what rules may see. method: lend it to Tensor under its name. synonyms: other names of it that NumPy has, by
    which NumPy's functions and users find it, too. operators: lend it as these
    (`__radd__`: with the operands exchanged). kink: an expression that is zero where the equation has no
    derivative. analytic: the kernel also computes with complex numbers, so that the complex step applies.
    whole: whether integers stay integers; by default they do where the equation has no quotient, mean, exp or
    other step that leaves them, and else it is given floats.
    examples: shapes and parameters to prove it on; without any it is taken to be elementwise. bind: the public
    signature, where it differs from the kernel's; returns operands and parameters. without: the primitive that is
    meant where the last operand is None: it takes the others.
    """

    def declare(kernel: Kernel) -> Primitive:
        made = Primitive(
            kernel, text, saves=saves, kink=kink, analytic=analytic, whole=whole, examples=examples, bind=bind,
            domain={}, method=kernel.__name__ if method else None, operators=operators, synonyms=synonyms,
            without=without,
        )  # fmt: skip
        common = REALS if isinstance(domain, Mapping) else domain
        made.domain = dict.fromkeys(made.operands, common) | (dict(domain) if isinstance(domain, Mapping) else {})
        if made.name in vars(namespace):
            _replace(vars(namespace)[made.name], made)
        if not made.__module__.startswith(OWN):  # the engine's own are read by a test, so that its import is quick
            made.check_text()
        registry[made.name] = made
        for name in (made.name, *synonyms):
            setattr(namespace, name, made)
        for name in made.lent:
            exchanged = name.startswith("__r") and f"__{name[3:]}" in operators
            setattr(Tensor, name, _lend(made, exchanged))
        return made

    return declare


def _replace(before: Any, made: Primitive) -> None:
    """Take back what was lent by a primitive that is declared again in its place, as by a cell of a notebook.

    Raises EquationError for another of its name.
    """
    if not (isinstance(before, Primitive) and before.is_place_of(made)):
        known = (
            f"{before!r}, at {_written(before.place)}" if isinstance(before, Primitive) else f"chalkgrad.{made.name}"
        )
        raise EquationError(
            f"a primitive named {made.name!r} is declared already: {known}; "
            f"{made!r}, at {_written(made.place)}, needs another name."
        )
    for name in before.lent:
        delattr(Tensor, name)


def _written(place: tuple[str, int]) -> str:
    return f"{place[0]}:{place[1]}"


def _lend(made: Primitive, exchanged: bool) -> Callable[..., Tensor]:
    """The method of Tensor through which it is lent."""
    if made.direct and not exchanged:
        return made.road
    if exchanged:
        return lambda self, other: made(other, self)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return made(self, *args, **kwargs)

    method.__doc__, method.__name__ = made.__doc__, made.name
    own, *others = made.__signature__.parameters.values()
    if own.kind is own.POSITIONAL_OR_KEYWORD:
        method.__signature__ = inspect.Signature([own.replace(name="self"), *others])  # type: ignore[attr-defined]
    return method
