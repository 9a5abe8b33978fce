"""Functions of PyTorch and JAX as NumPy functions with a vjp, so that `gradcheck` can check them.

    f, vjp = from_torch(MyFunction)
    gradcheck(f, x, w, vjp=vjp)

Both packages are imported when an adapter is asked for, never before.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy
from numpy.typing import NDArray

from ..errors import UsageError
from ..hints import pip

Values = NDArray[Any]
Function = Callable[..., Values]
Rule = Callable[..., tuple[Values | None, ...]]


def from_torch(function: Any) -> tuple[Function, Rule]:
    """A subclass of torch.autograd.Function, or any function of tensors to one tensor, as NumPy (f, vjp).

    float32 and float64 arrays keep their dtype; others raise UsageError. Tensors share the arrays' memory, so that
    a function that changes its input in place is seen to. vjp(gy, *xs) gives None where the value does not depend
    on the argument. Raises UsageError where PyTorch is missing.
    """
    torch = _load("torch", pip("install", "torch"))
    is_class = isinstance(function, type) and issubclass(function, torch.autograd.Function)
    call = function.apply if is_class else function
    name = _name(function)

    def as_tensor(x: Any, position: int) -> Any:
        x = _floats(x, name, position)
        shares = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return torch.from_numpy(x if shares else x.copy())

    def value(tensors: list[Any]) -> Any:
        y = call(*tensors)
        if not isinstance(y, torch.Tensor):
            raise _not_one(name, "torch tensor", y)
        if y.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"{name} returned {y.dtype}; only float32 and float64 are checked.")
        return y

    def f(*xs: Any) -> Values:
        y = value([as_tensor(x, i) for i, x in enumerate(xs)])
        return _own(y.detach().numpy())

    def vjp(gy: Any, *xs: Any) -> tuple[Values | None, ...]:
        tensors = [as_tensor(x, i).requires_grad_() for i, x in enumerate(xs)]
        y = value(tensors)
        if not y.requires_grad:
            return (None,) * len(tensors)
        gradients = torch.autograd.grad(y, tensors, as_tensor(gy, -1), allow_unused=True)
        return tuple(None if g is None else _own(g.detach().numpy()) for g in gradients)

    return _made(from_torch, function, f, vjp)


def from_jax(function: Callable[..., Any]) -> tuple[Function, Rule]:
    """A function of JAX arrays to one array, custom_vjp included, as NumPy (f, vjp), by jax.vjp.

    float32 and float64 arrays keep their dtype; others raise UsageError, and so does float64 where JAX is set to
    compute in float32 (its default). Raises UsageError where JAX is missing.
    """
    jax = _load("jax", pip("install", "jax"))
    name = _name(function)

    def as_array(x: Any, position: int) -> Any:
        x = _floats(x, name, position)
        array = jax.numpy.array(x)  # a copy: what JAX is given must not change later
        if array.dtype != x.dtype:
            raise UsageError(
                f"JAX turned {_place(position)} of {name} from {x.dtype} to {array.dtype}: call "
                "jax.config.update('jax_enable_x64', True) first, or check at float32 inputs."
            )
        return array

    def value(*arrays: Any) -> Any:
        y = function(*arrays)
        if not isinstance(y, jax.Array):
            raise _not_one(name, "JAX array", y)
        return y

    def f(*xs: Any) -> Values:
        return _own(value(*(as_array(x, i) for i, x in enumerate(xs))))

    def vjp(gy: Any, *xs: Any) -> tuple[Values | None, ...]:
        _, pull = jax.vjp(value, *(as_array(x, i) for i, x in enumerate(xs)))
        return tuple(_own(g) for g in pull(as_array(gy, -1)))

    return _made(from_jax, function, f, vjp)


def _load(module: str, command: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"checking a function of {module} needs {module}: {command}") from error


def _floats(x: Any, name: str, position: int) -> Values:
    array: Values = numpy.asarray(x)
    if array.dtype not in (numpy.float32, numpy.float64):
        raise UsageError(
            f"{_place(position)} of {name} has dtype {array.dtype}: only float32 and float64 are checked; "
            "close over integers instead of passing them."
        )
    return array


def _place(position: int) -> str:
    return "the incoming gradient" if position < 0 else f"argument {position}"


def _not_one(name: str, wanted: str, y: Any) -> UsageError:
    return UsageError(f"{name} returned a {type(y).__name__}, not one {wanted}: check one result at a time.")


def _own(y: Any) -> Values:
    copy: Values = numpy.array(y)  # the result may be a view of an input
    return copy


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _made(adapter: Callable[..., Any], function: Any, f: Function, vjp: Rule) -> tuple[Function, Rule]:
    """The pair, which knows what made it, so that it can be written as code; f under the function's name."""
    f.__name__ = _name(function)
    for position, made in enumerate((f, vjp)):
        vars(made)["made_by"] = adapter, function, position
    return f, vjp
