"""How weights begin: distributions by name or as a class, drawn on the CPU from an explicit generator."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy
import numpy.typing

from ..engine import random
from ..engine.piece import Piece
from ..engine.tensor import Tensor, tensor
from ..errors import UsageError, unknown_name

Shape = tuple[int, ...]
Begin = Callable[[numpy.random.Generator, Shape], "numpy.typing.NDArray[Any]"]
"""What a layer calls: the generator of the model's weights, and the shape of this one."""
UNSET: Any = None
CUT = 0.87962566103423978
"""The deviation of the normal distribution cut off at two deviations."""


def fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of one unit: a kernel is (…, inputs, outputs), with the receptive field in front."""
    field = math.prod(shape[:-2])
    return (shape[-2] * field, shape[-1] * field) if len(shape) > 1 else (math.prod(shape), math.prod(shape))


class Initializer(Piece, key="initializer"):
    """Base class: `draw(generator, shape)` gives the first values of a weight, as an array.

    One of one's own has that, or in Keras's way `__call__(shape, dtype=None)`; so may a function. seed: what it draws
    from, each time the same; by default the model's generator. By hand: initializer(shape).
    """

    seed = UNSET

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        """The values."""
        raise NotImplementedError(f"{type(self).__name__} has neither draw(generator, shape) nor __call__(shape).")

    def begin(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        """The same, from the seed where there is one."""
        return self.draw(generator if self.seed is None else random.generator(self.seed, "initializer"), shape)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """The values as a tensor."""
        return tensor(numpy.asarray(self.begin(random.generator(0, "initializer"), tuple(shape)), dtype or "float32"))


class Zeros(Initializer):
    """0."""

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return numpy.zeros(shape)


class Ones(Initializer):
    """1."""

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return numpy.ones(shape)


class Constant(Initializer):
    """One number everywhere, or an array."""

    value: Any = 0.0

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return numpy.full(shape, self.value, "float64")


class Identity(Initializer, aliases=("eye",)):
    """gain · the identity matrix."""

    gain: float = 1.0

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        if len(shape) != 2:
            raise UsageError(f"Identity makes matrices, not an array of shape {shape}.")
        return self.gain * numpy.eye(*shape)


class RandomUniform(Initializer, aliases=("uniform",)):
    """Uniform between two numbers."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return generator.uniform(self.minval, self.maxval, shape)


class RandomNormal(Initializer, aliases=("normal",)):
    """Normal."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return self.mean + self.stddev * generator.standard_normal(shape)


class TruncatedNormal(Initializer):
    """Normal, without what is more than two deviations away: such numbers are drawn again."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        return self.mean + self.stddev * _cut(generator, shape)


class Orthogonal(Initializer):
    """gain · a random orthogonal matrix, of all axes but the last as one (Saxe et al. 2014)."""

    gain: float = 1.0
    seed: int | None = None

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = numpy.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * numpy.sign(numpy.diagonal(r))  # as many turned one way as the other
        return self.gain * numpy.reshape(q if rows >= columns else q.T, shape)


class _Scaling(Initializer, abstract=True):
    """Mean 0, and a variance by the number of inputs or outputs."""

    scale = 1.0
    mode = "fan_in"
    distribution = "truncated_normal"

    def draw(self, generator: numpy.random.Generator, shape: Shape) -> Any:
        inputs, outputs = fans(shape)
        n = {"fan_in": inputs, "fan_out": outputs, "fan_avg": (inputs + outputs) / 2}[self.mode]
        if self.distribution == "uniform":
            limit = math.sqrt(3 * self.scale / n)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return math.sqrt(self.scale / n) * generator.standard_normal(shape)
        return _cut(generator, shape) * (math.sqrt(self.scale / n) / CUT)


MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


class VarianceScaling(_Scaling):
    """Mean 0, and the variance scale / n, n being the inputs ("fan_in"), outputs ("fan_out") or their mean ("fan_avg").

    distribution: "truncated_normal", cut off at two deviations, and widened so that what is left has the deviation
    asked for; "untruncated_normal"; "uniform".
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None

    limits: ClassVar[Mapping[str, str]] = {"scale": "(0, ∞)"}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("mode", MODES), ("distribution", DISTRIBUTIONS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)


class _Scaled(_Scaling, abstract=True):
    """A scaling by its name."""

    seed: int | None = None


class GlorotUniform(_Scaled, aliases=("xavier_uniform",)):
    """Uniform in ±√(6 / (inputs + outputs)) (Glorot & Bengio 2010)."""

    mode, distribution = "fan_avg", "uniform"


class GlorotNormal(_Scaled, aliases=("xavier_normal",)):
    """Normal, of the variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""

    mode = "fan_avg"


class HeUniform(_Scaled):
    """Uniform in ±√(6 / inputs) (He et al. 2015)."""

    scale, distribution = 2.0, "uniform"


class HeNormal(_Scaled):
    """Normal, of the variance 2 / inputs (He et al. 2015)."""

    scale = 2.0


class LecunUniform(_Scaled):
    """Uniform in ±√(3 / inputs) (LeCun et al. 1998)."""

    distribution = "uniform"


class LecunNormal(_Scaled):
    """Normal, of the variance 1 / inputs (LeCun et al. 1998)."""


def _cut(generator: numpy.random.Generator, shape: Shape) -> Any:
    values = generator.standard_normal(shape)
    while (outside := numpy.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values


INITIALIZERS = Initializer.kinds
"""Their classes by name."""


def make_initializer(value: Any) -> Begin:
    """An initialiser of its name, its class, itself or its configuration, or a function, as what a layer calls.

    A function is (generator, shape) -> array, or in Keras's way (shape, dtype=None) -> tensor or array.
    """
    made: Any = Initializer.of(value)
    if isinstance(made, Initializer) and type(made).__call__ is Initializer.__call__:
        return made.begin
    try:
        first = next(iter(inspect.signature(made).parameters), "")
    except ValueError:  # written in C, and says nothing of its arguments
        first = ""
    if first != "shape":
        return made  # type: ignore[no-any-return]

    def begin(generator: numpy.random.Generator, shape: Shape) -> Any:
        values = made(shape)
        return values.numpy() if isinstance(values, Tensor) else numpy.asarray(values)

    return begin


def get(value: Any) -> Any:
    """The initialiser itself."""
    return Initializer.of(value)
