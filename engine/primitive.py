"""Primitives: an equation, its kernel and its gradient rules in one place, and the registry of them all.

    @primitive("y = sin(x)", saves=("x",), method=True)
    def sin(x):
        \"\"\"Sine, elementwise.\"\"\"

    sin.vjp("x", "gx = gy * cos(x)")

Where the text says all, it is the code. A body means a stabler or a faster road to the same:

    @primitive("y = 1 / (1 + exp(-x))", saves=("x",))
    def sigmoid(xp, x):
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, xp.ones_like(e), e) / (1 + e)

A parameter has a default or stands after `*`; everything else is an operand. A body takes `xp` (numpy or cupy) first.
A rule's body takes `xp`, the incoming gradient, and by name what it wants to see: what the primitive `saves` (`x`, the
output `y`, or only a shape: "x.shape", seen as `x_shape`) and parameters. With `xp` set to the engine's own `namespace`
a rule's arithmetic is on the tape in turn, so derivatives of any order need no further rule.
"""

from __future__ import annotations

import inspect
import linecache
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from ..equation.language import Equation, read_equation
from ..errors import EquationError, UsageError
from . import taping
from .capturing import unfollowed_property
from .cuda.launch import CudaKernel
from .kernels import CpuKernel, chosen
from .namespace import OWN, Namespace, makers, namespace
from .operands import bind
from .road import road_of
from .rule import Kernel, Rule, meaning
from .taping import Plan
from .tensor import Tensor

Domain = tuple[float, float] | range | Callable[[Any, tuple[int, ...]], Any]
"""Between two numbers, integers, or (generator, shape) -> an operand such as the equation takes."""
REALS = (-math.inf, math.inf)
REQUIRED = inspect.Parameter.empty
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


class _OfInstances(unfollowed_property[Any]):
    """A cached property that is not seen on the class, whose own signature `inspect` would take it for."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            raise AttributeError
        return super().__get__(instance, owner)


class Primitive:
    """A function of tensors that knows its own gradient; made by the decorator `primitive`.

    Calling it with tensors (or arrays and numbers, which are constants) computes, and notes on the tape what the rules
    will need where an operand requires a gradient.
    """

    def __init__(self, declared: Kernel, text: str, **options: Any) -> None:
        code, defaults = declared.__code__, declared.__defaults__ or ()
        names, varying = code.co_varnames, bool(code.co_flags & inspect.CO_VARARGS)
        has_body, first = names[:1] == ("xp",), code.co_argcount - len(defaults)
        by_name = names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.name: str = declared.__name__
        self.__doc__, self.__module__ = declared.__doc__, declared.__module__
        self.__name__ = self.__qualname__ = declared.__name__
        self.synonyms: tuple[str, ...] = options["synonyms"]
        self.declared, self.body = declared, declared if has_body else None
        self.text = text
        self.variadic = varying
        self.operands = names[has_body:first] + names[code.co_argcount + len(by_name) :][:varying]
        self.defaults = dict(zip(names[first : code.co_argcount], defaults, strict=True))
        self.defaults |= declared.__kwdefaults__ or {}
        self.parameters = {
            name: self.defaults.get(name, REQUIRED) for name in (*names[first : code.co_argcount], *by_name)
        }
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
        self.plans: dict[tuple[bool, ...], Plan] = {}  # what goes on the tape, by which operands need a gradient
        self.cuda_kernels: dict[str, CudaKernel] = {}  # by operand, of its rule; under "" its own
        self.cpu_kernel: CpuKernel | None = None
        self.shares = False  # whether its rules have something costly in common: see `together.once`
        self.onnx_form: Any = None  # what it is in an ONNX file, where its equation does not say it
        self.onnx_reason = ""  # why it is nothing there
        self.version = object()  # another one, where what the road knows of it has changed
        self.direct = not (self.parameters or self.variadic or self.binder)

    def __repr__(self) -> str:
        return f"<primitive {self.name}: {self.text}>"

    def __reduce__(self) -> str:
        """Copied and pickled as a function is: by its name, itself."""
        return self.name

    @_OfInstances
    def __signature__(self) -> inspect.Signature:
        """What a call takes."""
        return inspect.signature(self.binder) if self.binder else _public(self.declared)

    @unfollowed_property
    def road(self) -> Callable[..., Tensor]:
        """The function of operands and parameters that computes and tapes; from now on what is lent is that."""
        made = road_of(self)
        for name in self.lent if self.direct else ():
            if not self.exchanges(name):
                setattr(Tensor, name, made)
        return made

    def exchanges(self, name: str) -> bool:
        """Whether it is lent under this name with its operands exchanged, as `__radd__` is."""
        return name.startswith("__r") and f"__{name[3:]}" in self.operators

    @unfollowed_property
    def equation(self) -> Equation:
        """The equation, read."""
        return read_equation(self.text, {*self.operands, *self.parameters})

    @unfollowed_property
    def kernel(self) -> Kernel:
        """The code, a function of xp, operands and parameters; made from the text where that says all."""
        if self.body is not None:
            return self.body
        from ..equation.code import array_code  # when it is first needed: an import of the package is quick

        given = inspect.signature(self.declared).parameters.values()
        bare = inspect.Signature([p.replace(default=p.empty, annotation=p.empty) for p in given])
        code = self.declared.__code__
        made = array_code(
            self.equation, self.name, arrays=self.operands, others=tuple(self.parameters), signature=str(bare)[1:-1],
            axis="axis" if "axis" in self.parameters else None, keepdims="keepdims" in self.parameters,
            functions=meaning, place=(code.co_filename, code.co_firstlineno),
        )  # fmt: skip
        made.__defaults__, made.__kwdefaults__ = self.declared.__defaults__, self.declared.__kwdefaults__
        made.__module__, made.__doc__ = self.__module__, self.__doc__
        return made

    @unfollowed_property
    def computing(self) -> Kernel:
        """The code, or the kernel of our own that stands for it on a device."""
        return chosen(self.cuda_kernels.get(""), self.kernel, self.cpu_kernel)

    @unfollowed_property
    def ufunc(self) -> Any:
        """The ufunc of NumPy that is all of it; None where it is more, or another function."""
        from ..equation.code import single_call

        return getattr(numpy, single_call(self.equation, self.operands) or "", None) if self.body is None else None

    @unfollowed_property
    def whole(self) -> bool:
        """Whether integers stay integers, as NumPy has it; else they are made floating point before it computes."""
        return self.equation.whole if self.declared_whole is None else self.declared_whole

    @unfollowed_property
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
        """Take the rule for its operand; what is on the tape before keeps the one it had."""
        self.rules[rule.operand] = rule
        self.plans.clear()
        self.version = object()
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
            self.version = object()
            self.__dict__.pop("computing", None)
            return made

        return declare

    def cpu(self, *, suits: Callable[..., bool], fast: Callable[[], Any]) -> Callable[[Callable[..., Any]], CpuKernel]:
        """Declare what computes the same on the cores of a CPU; see `CpuKernel`."""

        def declare(function: Callable[..., Any]) -> CpuKernel:
            self.cpu_kernel, self.version = CpuKernel(self.name, function, suits, fast), object()
            self.__dict__.pop("computing", None)
            return self.cpu_kernel

        return declare

    def onnx(self, form: Any, reason: str = "") -> Any:
        """Declare what it is in an ONNX file: an operator's name, an equation of elements, or a function.

        A function whose first parameter is `xp` computes it by other primitives, whose forms stand for it; another
        takes the graph that is written, the operands' values and the parameters, and returns a value. None: it has no
        form, for the reason.
        """
        self.onnx_form, self.onnx_reason = form, reason
        return form

    def check(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a check of operands and parameters, called before the kernel; it raises an error of ours."""
        self.checker, self.checks, self.version = function, (function, *self.checks), object()
        return function

    def check_values(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a check of the operands' values, with the parameters, also called in each replay; not on a GPU."""
        self.value_checker, self.checks, self.version = function, (*self.checks, function), object()
        return function

    # Computing

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute, and note it on the tape. Operands: tensors, arrays or numbers; parameters as the kernel has them."""
        if self.direct and not kwargs and len(args) == len(self.operands):
            return self.road(*args)
        operands, parameters, *after = bind(self, args, kwargs)
        if self.without and operands[-1] is None:
            y = self.without.compute(operands[:-1], parameters)
        else:
            y = self.compute(operands, parameters)
        return after[0](y) if after and after[0] else y

    def compute(self, operands: tuple[Any, ...], parameters: Mapping[str, Any]) -> Tensor:
        """Compute, and note it on the tape, with operands and parameters apart, as the kernel has them."""
        if parameters.keys() != self.parameters.keys():
            parameters = {**self.defaults, **parameters}
        return self.road(*operands, parameters=parameters) if parameters else self.road(*operands)

    def plan(self, flags: tuple[bool, ...]) -> Plan:
        """What goes on the tape where these operands need a gradient."""
        return self.plans.setdefault(flags, Plan(self, flags))

    def apply(self, xp: Any, *operands: Any, **parameters: Any) -> Any:
        """Compute as a part of another kernel or rule: bare on arrays, on the tape where `xp` is the namespace."""
        if isinstance(xp, Namespace):
            return self.compute(operands, parameters)
        return self.computing(xp, *operands, **parameters)

    def operand(self, position: int) -> str:
        """The name of the operand at `position` (a variadic primitive has one name for all)."""
        return self.operands[0] if self.variadic else self.operands[position]

    unbroadcast = taping.unbroadcast  # what the tape asks of it


def _public(declared: Kernel) -> inspect.Signature:
    """The signature of a call by position or by name, where the kernel wants names."""
    parameters = [p for p in inspect.signature(declared).parameters.values() if p.name != "xp"]
    optional = [p.default is not p.empty for p in parameters]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or optional != sorted(optional):
        return inspect.Signature(parameters)
    return inspect.Signature([p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters])


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
    """Make a primitive of a function, which gives its name, operands, parameters and docstring, and register it.

    Without `xp` as the first parameter the function is empty, and the text is the code; with it, it is the body.

    text: the equation. domain: where it is smooth, for all operands or by name; a range means integers, a function
    draws operands.
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
        if not hasattr(kernel, "__code__"):
            raise UsageError(
                f"primitive({text!r}) stands as a decorator above a function, which gives its name, operands and "
                f'docstring: `def name(x): """…"""`; it was called with {type(kernel).__name__}.'
            )
        made = Primitive(
            kernel, text, saves=saves, kink=kink, analytic=analytic, whole=whole, examples=examples, bind=bind,
            domain={}, method=kernel.__name__ if method else None, operators=operators, synonyms=synonyms,
            without=without,
        )  # fmt: skip
        common = REALS if isinstance(domain, Mapping) else domain
        made.domain = dict.fromkeys(made.operands, common) | (dict(domain) if isinstance(domain, Mapping) else {})
        if not made.__module__.startswith(OWN):  # the engine's own are read by a test, so that its import is quick
            made.check_text()
        if made.name in vars(namespace) or made.name in makers:
            _replace(vars(namespace).get(made.name), made)
        registry[made.name] = made
        for name in (made.name, *synonyms):
            setattr(namespace, name, made)
        for name in made.lent:
            setattr(Tensor, name, _lend(made, name))
        return made

    return declare


def _replace(before: Any, made: Primitive) -> None:
    """Take back what was lent by a primitive that is declared again in its place, as by a cell of a notebook.

    Raises EquationError for another of its name.
    """
    if not (isinstance(before, Primitive) and before.is_place_of(made)):
        first = f"{before!r}, at {_written(before.place)}" if isinstance(before, Primitive) else f"cg.{made.name}"
        raise EquationError(
            f"a primitive named {made.name!r} is declared already: {first}; "
            f"{made!r}, at {_written(made.place)}, needs another name."
        )
    for name in before.lent:
        delattr(Tensor, name)


def _written(place: tuple[str, int]) -> str:
    return f"{place[0]}:{place[1]}"


def _lend(made: Primitive, name: str) -> Callable[..., Tensor]:
    """The method of Tensor through which it is lent."""
    if made.exchanges(name):
        return lambda self, other: made(other, self)
    call = made.__call__  # without the search for it in each call

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return call(self, *args, **kwargs)

    method.__doc__, method.__name__ = made.__doc__, made.name
    own, *others = made.__signature__.parameters.values() if name == made.method else (None,)
    if own and own.kind is own.POSITIONAL_OR_KEYWORD:
        method.__signature__ = inspect.Signature([own.replace(name="self"), *others])  # type: ignore[attr-defined]
    return method
