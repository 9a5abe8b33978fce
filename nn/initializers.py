"""How weights begin: distributions by name, drawn on the CPU from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing

from ..names import Names

Initializer = Callable[[numpy.random.Generator, tuple[int, ...]], "numpy.typing.NDArray[Any]"]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit: a kernel is (…, inputs, outputs), with the receptive field in front."""
    field = math.prod(shape[:-2])
    return (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (math.prod(shape), math.prod(shape))


@dataclass(frozen=True)
class Scaled:
    """Mean 0, and the variance scale / n, where n is the number of inputs (fan_in), or the mean of inputs and outputs.

    normal: from the normal distribution, cut off at two deviations, and widened so that what is left has the deviation
    asked for; else uniform.
    """

    scale: float
    fan_in: bool
    normal: bool

    def __call__(self, generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
        inputs, outputs = fans(shape)
        n = inputs if self.fan_in else (inputs + outputs) / 2
        if not self.normal:
            limit = math.sqrt(3 * self.scale / n)
            return generator.uniform(-limit, limit, shape)
        values = generator.standard_normal(shape)
        while (outside := numpy.abs(values) > 2).any():
            values[outside] = generator.standard_normal(int(outside.sum()))
        return values * (math.sqrt(self.scale / n) / 0.87962566103423978)


def _zeros(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
    return numpy.zeros(shape)


def _ones(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
    return numpy.ones(shape)


def _random_uniform(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
    return generator.uniform(-0.05, 0.05, shape)


def _random_normal(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
    return 0.05 * generator.standard_normal(shape)


def _orthogonal(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = numpy.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * numpy.sign(numpy.diagonal(r))  # as many turned one way as the other
    return numpy.reshape(q if rows >= columns else q.T, shape)


INITIALIZERS: Names[Initializer] = Names(
    "initializer",
    [
        ("zeros", _zeros),
        ("ones", _ones),
        ("random_uniform", _random_uniform),
        ("random_normal", _random_normal),
        ("orthogonal", _orthogonal),
        ("glorot_uniform", Scaled(1, fan_in=False, normal=False)),
        ("glorot_normal", Scaled(1, fan_in=False, normal=True)),
        ("he_uniform", Scaled(2, fan_in=True, normal=False)),
        ("he_normal", Scaled(2, fan_in=True, normal=True)),
        ("lecun_uniform", Scaled(1, fan_in=True, normal=False)),
        ("lecun_normal", Scaled(1, fan_in=True, normal=True)),
    ],
)
"""Glorot & Bengio 2010 (±√(6 / (inputs + outputs))), He et al. 2015, LeCun et al. 1998, by Keras's names."""


def make_initializer(value: str | Initializer) -> Initializer:
    """An initialiser of its name, or a function (generator, shape) -> array as it is."""
    return value if callable(value) else INITIALIZERS.named(value)
