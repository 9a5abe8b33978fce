"""How weights begin: distributions by name, drawn on the CPU from an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy
import numpy.typing

from ..engine.errors import unknown_name

Initializer: TypeAlias = "Callable[[numpy.random.Generator, tuple[int, ...]], numpy.typing.NDArray[Any]]"


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit: a kernel is (…, inputs, outputs), with the receptive field in front."""
    field = math.prod(shape[:-2])
    return (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (math.prod(shape), math.prod(shape))


def _uniform(limit: Callable[[int, int], float]) -> Initializer:
    return lambda generator, shape: generator.uniform(-limit(*fans(shape)), limit(*fans(shape)), shape)


def _normal(deviation: Callable[[int, int], float]) -> Initializer:
    """Normal, cut off at two deviations, and widened so that what is left has the deviation asked for."""

    def draw(generator: numpy.random.Generator, shape: tuple[int, ...]) -> numpy.typing.NDArray[Any]:
        values = generator.standard_normal(shape)
        while (outside := numpy.abs(values) > 2).any():
            values[outside] = generator.standard_normal(int(outside.sum()))
        return values * (deviation(*fans(shape)) / 0.87962566103423978)

    return draw


INITIALIZERS: dict[str, Initializer] = {
    "zeros": lambda generator, shape: numpy.zeros(shape),
    "ones": lambda generator, shape: numpy.ones(shape),
    "random_uniform": lambda generator, shape: generator.uniform(-0.05, 0.05, shape),
    "random_normal": lambda generator, shape: 0.05 * generator.standard_normal(shape),
    "glorot_uniform": _uniform(lambda inputs, outputs: math.sqrt(6 / (inputs + outputs))),
    "glorot_normal": _normal(lambda inputs, outputs: math.sqrt(2 / (inputs + outputs))),
    "he_uniform": _uniform(lambda inputs, outputs: math.sqrt(6 / inputs)),
    "he_normal": _normal(lambda inputs, outputs: math.sqrt(2 / inputs)),
    "lecun_uniform": _uniform(lambda inputs, outputs: math.sqrt(3 / inputs)),
    "lecun_normal": _normal(lambda inputs, outputs: math.sqrt(1 / inputs)),
}
"""Glorot & Bengio 2010 (±√(6 / (inputs + outputs))), He et al. 2015, LeCun et al. 1998, by Keras's names."""


def make_initializer(value: str | Initializer) -> Initializer:
    """An initialiser of its name, or a function (generator, shape) -> array as it is."""
    if callable(value):
        return value
    if value not in INITIALIZERS:
        raise unknown_name("initializer", value, INITIALIZERS)
    return INITIALIZERS[value]
