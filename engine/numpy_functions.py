"""NumPy's functions on tensors: `np.exp(x)`, `np.mean(x)`, `array * x`.

Where a primitive of ours has the function's name, or lists it among its synonyms, it computes, and is noted on the
tape. Any other function would lose the gradient: where one is required it is refused, unless what it gives holds no
floats (a shape, a mask, an order), so that no gradient could pass. On tensors that require none NumPy computes with
their arrays; a ufunc that is ours, as behind `array * x`, gives a tensor there, too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import GraphError, UsageError
from .lent import Lent
from .namespace import OWN, namespace

if TYPE_CHECKING:
    from .tensor import Tensor


class Ufuncs:
    """What NumPy calls where a ufunc meets a tensor. On a GPU it is None, by which CuPy's arrays leave it to Tensor."""

    def __get__(self, x: Tensor | None, owner: type) -> Any:
        if x is None:
            return _ufunc_met
        return MethodType(_ufunc_met, x) if x.device == "cpu" else None


def _ufunc_met(self: Tensor, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
    if not options and method == "__call__" and (own := counterpart(ufunc)):
        return own(*operands)
    return apply_ufunc(ufunc, method, operands, options)


def apply_ufunc(ufunc: numpy.ufunc, method: str, operands: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """A ufunc that is none of ours, or with options, or a method of one, called with a tensor among its arguments."""
    own, name = counterpart(ufunc), f"numpy.{ufunc.__name__}"
    if method == "__call__":
        return _on_arrays(name, ufunc, operands, options, own)
    if method == "at" and isinstance(operands[0], Lent):
        raise _writing(f"{name}.at")
    return _on_arrays(f"{name}.{method}", getattr(ufunc, method), operands, options, own)


def apply_function(
    function: Callable[..., Any], arguments: Any, options: Mapping[str, Any], computes: bool = False
) -> Any:
    """A function of NumPy called with a tensor among its arguments, or in lists among them.

    computes: ours computes also where no gradient is required.
    """
    own = counterpart(function)
    if own and (computes or any(x.requires_grad for x in _tensors((arguments, options)))):
        most, known = _shared(function, own)
        if len(arguments) <= most and known.issuperset(options):
            return own(*arguments, **options)
        bound = _as_own(function, own, arguments, options)
        if bound:
            return own(*bound.args, **bound.kwargs)
    return _on_arrays(f"{function.__module__}.{function.__name__}", function, arguments, options, own)


def counterpart(function: Any) -> Any:
    """Our own function for a public one of NumPy, by its name; None where there is none."""
    name = getattr(function, "__name__", "")
    for theirs, ours in ((numpy, namespace), (numpy.linalg, namespace.linalg), (numpy.fft, namespace.fft)):
        if getattr(theirs, name, None) is function:
            own = vars(ours).get(name)
            return own if own and own.__module__.startswith(OWN) else None
    return None


def _as_own(function: Any, own: Any, arguments: Any, options: Mapping[str, Any]) -> inspect.BoundArguments | None:
    """The arguments of NumPy's function as those of our own; None where ours does not take them."""
    theirs = _signature(function)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in theirs.bind(*arguments, **options).arguments.items():
        parameter = theirs.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif parameter.default is parameter.empty or parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(value)
        elif value is not parameter.default:
            named[name.removeprefix("a_")] = value  # a_min, a_max: NumPy's older names
    try:
        return _signature(own).bind(*positional, **named)
    except TypeError:
        return None


@cache
def _shared(function: Any, own: Any) -> tuple[float, frozenset[str]]:
    """How many arguments by position, and which by name, mean the same to NumPy's function and to our own."""
    theirs, ours = _signature(function).parameters.values(), _signature(own).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in theirs):
        return getattr(function, "nin", math.inf), frozenset()
    required = sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in theirs)
    return required, frozenset(p.name for p in ours if p.default is not p.empty)


@cache
def _signature(function: Any) -> inspect.Signature:
    """What a function takes; one written in C may not tell, and then takes whatever it is given."""
    try:
        return inspect.signature(function)
    except ValueError:
        return inspect.signature(lambda *arguments, **options: None)


def _on_arrays(name: str, function: Any, arguments: Any, options: Mapping[str, Any], own: Any) -> Any:
    """NumPy's function on the tensors' arrays; refused where a gradient would be lost, or a tensor written into."""
    needed = next((x for x in _tensors((arguments, options)) if x.requires_grad), None)
    if next(_tensors(options.get("out")), None) is not None:
        raise _writing(name)
    if needed is not None and name.endswith(".at"):
        raise _refusal(name, needed, own)
    plain = _with_arrays((tuple(arguments), dict(options)), needed is not None)
    try:
        result = function(*plain[0], **plain[1])
    except Exception as error:
        if needed is not None:
            raise _refusal(name, needed, own) from error
        if isinstance(error, ValueError) and "read-only" in str(error):
            raise _writing(name) from None
        raise
    if needed is not None and _may_pass(result):
        raise _refusal(name, needed, own)
    return result


def _writing(name: str) -> UsageError:
    return UsageError(f"{name} does not write into a tensor: use x.assign(…) or x[index] = …, or compute a new one.")


def _refusal(name: str, needed: Tensor, own: Any) -> GraphError:
    way = f"chalkgrad.{own.__name__}{_signature(own)} has one" if own else "compose it of chalkgrad's functions"
    what = f"the tensor {needed.name!r}" if needed.name else "a tensor"
    return GraphError(
        f"{name} knows of no gradient, and {what} of shape {needed.shape} among its arguments requires one: "
        f"{way}, or .detach() gives the values alone."
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a nest of lists, tuples and dicts."""
    if isinstance(value, Lent):
        yield value  # type: ignore[misc]
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _with_arrays(value: Any, fixed: bool) -> Any:
    """The same nest with arrays for tensors. fixed: other arrays in it cannot be written into."""
    if isinstance(value, Lent):
        return numpy.asarray(value.detach())  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {key: _with_arrays(item, fixed) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_with_arrays(item, fixed) for item in value)
    if fixed and isinstance(value, numpy.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def _may_pass(result: Any) -> bool:
    """Whether a gradient could pass through what a function gave: only where there are floats in it."""
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, (list, tuple)):
        return any(map(_may_pass, result))
    if isinstance(result, (numpy.ndarray, numpy.generic)):
        return result.dtype.kind in "fcOV"
    return not isinstance(result, (int, str, bytes, numpy.dtype, type, type(None)))
