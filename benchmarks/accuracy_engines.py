"""The engines whose accuracy is compared: each gives values and gradients of its own functions, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy
from numpy.typing import NDArray

from ..proof.adapters import from_jax, from_torch

Values = NDArray[Any]
Functions = Mapping[str, Callable[..., Any]]
Adapted = tuple[Callable[..., Any], Callable[..., tuple[Any, ...]]]
ELEMENTARY = ("exp", "log", "log1p", "expm1", "sqrt", "sin", "cos", "tanh")
ACTIVATIONS = ("sigmoid", "softplus", "silu", "gelu", "elu")


@dataclass(frozen=True)
class Engine:
    """One engine. load: imports it and returns its functions. adapt: one of them as NumPy f(x) and vjp(gy, x)."""

    name: str
    package: str
    load: Callable[[], Functions]
    adapt: Callable[[Callable[[Any], Any]], Adapted]

    @cached_property
    def functions(self) -> Functions:
        """Its functions by name; those of rows take one row, cross-entropy a row and a label."""
        return self.load()

    def pull(self, function: Callable[[Any], Any], x: Values, gy: Values | None) -> tuple[Values, Values]:
        """Its value at x, and its gradient pulled back from gy, by default from ones."""
        f, vjp = self.adapt(function)
        y = numpy.asarray(f(x))
        return y, numpy.asarray(vjp(numpy.ones_like(y) if gy is None else gy, x)[0])

    def elementwise(self, name: str, x: Values) -> tuple[Values, Values]:
        """Values and derivatives at every element of x."""
        return self.pull(self.functions[name], x, None)

    def rows(self, name: str, x: Values, label: int) -> tuple[list[Values], list[list[Values]]]:
        """For every row of x the values, and for every value the gradient."""
        function = self.functions[name]
        if name == "cross-entropy":
            with_label = function

            def function(row: Any) -> Any:
                return with_label(row, label)

        values, jacobians = [], []
        for row in x:
            y, first = self.pull(function, row, None)
            if y.ndim:
                units = numpy.eye(y.size, dtype=x.dtype)
                jacobians.append([self.pull(function, row, unit)[1] for unit in units])
            else:
                jacobians.append([first])
            values.append(y.reshape(-1))
        return values, jacobians


def _load_ours() -> Functions:
    cg = import_module("..", __package__)
    names = (*ELEMENTARY, *ACTIVATIONS, "erf", "logsumexp", "softmax", "log_softmax")
    functions = {name: getattr(cg, name) for name in names}

    def cross_entropy(row: Any, label: int) -> Any:
        return cg.sparse_categorical_cross_entropy(row.reshape(1, -1), numpy.array([label]))

    return functions | {"cross-entropy": cross_entropy}


def _adapt_ours(function: Callable[[Any], Any]) -> Adapted:
    cg = import_module("..", __package__)
    return lambda x: function(cg.Tensor(x)).numpy(), lambda gy, x: (cg.vjp(function, cg.Tensor(x))[1](gy)[0].numpy(),)


def _load_torch() -> Functions:
    torch: Any = import_module("torch")
    functional: Any = import_module("torch.nn.functional")
    functions = {name: getattr(torch, name) for name in (*ELEMENTARY, "erf")}
    functions |= {name: getattr(functional, name) for name in ACTIVATIONS}
    return functions | {
        "logsumexp": lambda row: torch.logsumexp(row, -1),
        "softmax": lambda row: torch.softmax(row, -1),
        "log_softmax": lambda row: torch.log_softmax(row, -1),
        "cross-entropy": lambda row, label: functional.cross_entropy(row, torch.tensor(label)),
    }


def _load_jax() -> Functions:
    jax: Any = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    functions = {name: getattr(jax.numpy, name) for name in ELEMENTARY}
    functions |= {name: getattr(jax.nn, name) for name in (*ACTIVATIONS, "softmax", "log_softmax")}
    return functions | {
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "erf": jax.scipy.special.erf,
        "logsumexp": jax.nn.logsumexp,
        "cross-entropy": lambda row, label: -jax.nn.log_softmax(row)[label],
    }


def _load_autograd() -> Functions:
    np: Any = import_module("autograd.numpy")
    functions: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in ELEMENTARY}
    try:
        special: Any = import_module("autograd.scipy.special")
    except ImportError:  # it has these only where SciPy is installed
        return functions
    return functions | {"sigmoid": special.expit, "erf": special.erf, "logsumexp": special.logsumexp}


def _adapt_autograd(function: Callable[[Any], Any]) -> Adapted:
    return function, lambda gy, x: (import_module("autograd").make_vjp(function)(x)[0](gy),)


ENGINES = (
    Engine("chalkgrad", "numpy", _load_ours, _adapt_ours),
    Engine("PyTorch", "torch", _load_torch, from_torch),
    Engine("JAX", "jax", _load_jax, from_jax),
    Engine("autograd", "autograd", _load_autograd, _adapt_autograd),
)
