"""A graph of ONNX's operators as a layer: what `deploy.onnx_import` makes of a file, to be computed and trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ...engine.tensor import Tensor, tensor
from ...engine.untaped import no_grad
from ...errors import ChalkgradError, ShapeError, UsageError
from ..graph import Shape
from ..initializers import Begin, make_initializer
from .base import Beginnings, Layer, Weights
from .operator_rows import Given, row_of

TRIED = 2
"""Samples in the batch on which a graph is tried, where it does not say what shapes it gives."""
FROM_NUMPY = ValueError, IndexError, TypeError, OverflowError, MemoryError
"""What NumPy raises of lengths and axes, which a damaged file may have."""


class Operators(Layer):
    """A graph of ONNX's operators (https://onnx.ai/onnx/operators), as a file has it. Its weights are learned.

    nodes: [operator, inputs, outputs, attributes] each, in an order in which they can be computed. inputs: [name, shape
    of a sample, dtype] each; outputs: [name, shape of a sample]; a length that is open has a name. learned, kept:
    shapes of weights and of what is not learned, by name. constants: [dtype, shape, numbers] by name. longest: how many
    steps a sequence has at most, where that is known. Raises UsageError for operators that there is no counterpart of,
    all of them by name.
    """

    def __init__(
        self, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any],
        learned: Mapping[str, Sequence[int]], kept: Mapping[str, Sequence[int]], constants: Mapping[str, Any],
        longest: int | None = None, input_shape: Shape | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(input_shape, name)
        rows = {each[0]: row_of(each[0]) for each in nodes}
        if unknown := sorted(each for each, row in rows.items() if row is None):
            times = [sum(node[0] == each for node in nodes) for each in unknown]
            told = ", ".join(f"{each} ({n} times)" for each, n in zip(unknown, times, strict=True))
            raise UsageError(f"the graph has operators without a counterpart here: {told}.")
        self.nodes, self.inputs, self.outputs = [*nodes], [*inputs], [*outputs]
        self.learned, self.kept, self.constants = dict(learned), dict(kept), dict(constants)
        self.longest = longest
        vars(self)["_rows"] = rows
        vars(self)["_arrays"] = {
            key: numpy.array(values, dtype).reshape(shape) for key, (dtype, shape, values) in constants.items()
        }

    @property
    def takes_several(self) -> bool:  # type: ignore[override]
        """Whether the graph has several inputs."""
        return len(self.inputs) > 1

    @property
    def takes_integers(self) -> bool:  # type: ignore[override]
        """Whether the first input is of integers."""
        return not str(self.inputs[0][2]).startswith("float")

    @property
    def open_lengths(self) -> int:
        """How many lengths beside the batch are open; inputs share those of one name."""
        return len({n for _, shape, _ in self.inputs for n in shape if isinstance(n, str)})

    def weights_for(self, input_shape: Shape) -> Beginnings:
        return _zeros(self.learned)

    def state_for(self, input_shape: Shape) -> Beginnings:
        return _zeros(self.kept)

    def output_shape(self, input_shape: Any) -> Any:
        shapes = input_shape if self.takes_several else [input_shape]
        open_ = {
            length: n
            for shape, (_, declared, _) in zip(shapes, self.inputs, strict=True)
            for n, length in zip(shape, declared, strict=True)
            if isinstance(length, str)
        }
        told = [[open_.get(n, n) for n in shape] for _, shape in self.outputs]
        if any(isinstance(n, str) for shape in told for n in shape):  # it has to be tried
            zeros = {k: Tensor(numpy.zeros(n, "float32")) for k, n in {**self.learned, **self.kept}.items()}
            xs = [tensor(numpy.zeros((TRIED, *s), x[2])) for s, x in zip(shapes, self.inputs, strict=True)]
            with no_grad():
                told = [y.shape[1:] for y in self.computed({**zeros, **self.variables}, xs, False, None)]
        made = [tuple(shape) for shape in told]
        return made if len(made) > 1 else made[0]

    def apply(self, weights: Weights, x: Any, *, training: bool, generator: numpy.random.Generator | None) -> Any:
        made = self.computed({**self.state, **weights}, x if self.takes_several else [x], training, generator)
        return made if len(made) > 1 else made[0]

    def computed(self, weights: Weights, xs: Sequence[Any], training: bool, generator: Any) -> list[Any]:
        """The outputs. Raises UsageError, or ShapeError, that names the node which cannot be computed."""
        from ...ops import np

        values: dict[str, Any] = {"": None, **self._arrays, **weights}
        for (name, shape, _), x in zip(self.inputs, xs, strict=True):
            if len(x.shape) != 1 + len(shape):
                told = ", ".join(map(str, shape))
                raise ShapeError(f"{self.name}: the input {name!r} is (batch, {told}), not {tuple(x.shape)}.")
            values[name] = x
        for kind, inputs, outputs, attributes in self.nodes:
            given = Given(attributes)
            given.names, given.state, given.training = inputs, self.state, training
            given.generator, given.outputs = generator, len(outputs)
            where = f"{self.name}: the node {kind} that gives {outputs[0]!r} cannot be computed"
            if missing := [name for name in inputs if name not in values]:
                raise UsageError(f"{where}: nothing here gives its {', '.join(map(repr, missing))}.")
            operands = [values[name] for name in inputs]
            xp = np if any(isinstance(each, Tensor) for each in operands) else numpy
            try:
                made = self._rows[kind](xp, given, *operands)
                given.check_read()
            except ChalkgradError as error:
                raise (ShapeError if isinstance(error, ShapeError) else UsageError)(f"{where}: {error}") from error
            except FROM_NUMPY as error:
                raise UsageError(f"{where}: {error}") from error
            values.update(zip(outputs, made if isinstance(made, list) else [made], strict=False))
        if missing := [name for name, _ in self.outputs if name not in values]:
            raise UsageError(
                f"{self.name}: nothing here gives the output {missing[0]!r}: of what its node gives the first alone is "
                "computed."
            )
        return [values[name] if isinstance(values[name], Tensor) else tensor(values[name]) for name, _ in self.outputs]


def _zeros(shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[Shape, Begin]]:
    return {key: (tuple(shape), make_initializer("zeros")) for key, shape in shapes.items()}
