"""Recurrent layers: a state that is carried from step to step of a sequence, with Keras's arguments and weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy

from ...checks import number, whole
from ...engine import random
from ...engine.namespace import namespace_on
from ...engine.tensor import Tensor, tensor
from ...errors import ShapeError, UsageError
from ...ops.arithmetic import where
from ...ops.linalg import matmul
from ...ops.recurrent import gru, lstm, projection, simple_rnn
from ...ops.shapes import flip, stack
from ..initializers import Begin, Initializer, make_initializer
from .activated import Function, activation_name, make_activation
from .base import Beginnings, Layer, Shape, Weights

States = Sequence[Tensor]


class Recurrent(Layer, abstract=True):
    """(batch, steps, features) becomes (batch, units), the state after the last step.

    units: how many numbers the state has. activation: σ of the state, "tanh" as the equation has it; with another, or
    recurrent_dropout, each step is on the tape by itself, which is slow. return_sequences: the states of all steps,
    (batch, steps, units). return_state: a list, of the output and the state after the last step. go_backwards: the
    sequence from its end. dropout, recurrent_dropout: of the features, and of the state, in training; the same for all
    steps of a sample (Gal & Ghahramani 2016). use_bias and initialisers: as for Dense; recurrent_initializer: of the
    state's kernel (units, …).

    A mask (batch, steps) leaves the state as it is where it is False. initial_state=[…] in a call: the state before the
    first step, 0 by default.
    """

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    free_names: ClassVar[tuple[str, ...]] = ("activation", "recurrent_activation", "dropout", "recurrent_dropout")

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        kind = type(self).__name__
        self.units, self.use_bias = whole(kind, "units", units), bool(use_bias)
        self._function = make_activation(activation)
        self.activation = activation_name(self._function) or self._function
        self.kernel_initializer, self.recurrent_initializer = kernel_initializer, recurrent_initializer
        self.bias_initializer = bias_initializer
        self._initializers = [
            make_initializer(i) for i in (kernel_initializer, recurrent_initializer, bias_initializer)
        ]
        self.dropout = number(kind, "dropout", dropout, "[0, 1)")
        self.recurrent_dropout = number(kind, "recurrent_dropout", recurrent_dropout, "[0, 1)")
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards = bool(go_backwards)

    def output_shape(self, input_shape: Shape) -> Any:
        if len(input_shape) != 2:
            raise ShapeError(
                f"{self.name}: {type(self).__name__} takes batches of shape (batch, steps, features), not (batch, "
                f"{', '.join(map(str, input_shape))})."
            )
        output = (input_shape[0], self.units) if self.return_sequences else (self.units,)
        return [output, *[(self.units,)] * self.states] if self.return_state else output

    def weights_for(self, input_shape: Shape) -> Beginnings:
        kernel, recurrent, bias = self._initializers
        width = self.gates * self.units
        own = {
            "kernel": ((input_shape[-1], width), kernel), "recurrent_kernel": ((self.units, width), recurrent)
        }  # fmt: skip
        return own | ({"bias": (self.bias_shape(), bias)} if self.use_bias else {})

    def bias_shape(self) -> Shape:
        """The shape of b."""
        return (self.gates * self.units,)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The mask of the output: where it is a sequence, that of the input."""
        kept = mask if self.return_sequences else None
        return [kept, *[None] * self.states] if self.return_state else kept

    def apply(
        self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None,
        mask: Tensor | None = None, initial_state: Tensor | States | None = None,
    ) -> Any:  # fmt: skip
        states = self.begin(x, initial_state)
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(f"{self.name}: a mask of shape {mask.shape} for {x.shape}: it is (batch, steps).")
        if training and self.dropout:
            x = x * self.kept(x[:, :1], self.dropout, generator)
        if self.go_backwards:
            x, mask = flip(x, 1), None if mask is None else flip(mask, 1)
        z = self.incoming(weights, x)
        if training and self.recurrent_dropout:
            dropped = self.kept(states[0], self.recurrent_dropout, generator)
            h, states = self.stepwise(weights, z, states, mask, dropped)
        elif self.as_the_equation:
            whole_mask = namespace_on(x.device).ones(x.shape[:2], dtype="bool") if mask is None else mask
            h, states = self.sequence(weights, z, states, whole_mask)
        else:
            h, states = self.stepwise(weights, z, states, mask, None)
        output = h if self.return_sequences else states[0]
        return [output, *states] if self.return_state else output

    def begin(self, x: Tensor, given: Tensor | States | None) -> States:
        """The state before the first step."""
        shape = (x.shape[0], self.units)
        if given is None:
            return [namespace_on(x.device).zeros(shape, dtype=x.dtype)] * self.states
        states = [
            each if isinstance(each, Tensor) else tensor(each, dtype=x.dtype, device=x.device)
            for each in (given if isinstance(given, (list, tuple)) else [given])
        ]
        if [s.shape for s in states] != [shape] * self.states:
            raise ShapeError(
                f"{self.name}: initial_state has shapes {[s.shape for s in states]}, and should have {self.states} of "
                f"{shape}."
            )
        return states

    def kept(self, like: Tensor, rate: float, generator: numpy.random.Generator | None) -> Tensor:
        """0 with probability `rate`, else 1 / (1 - rate)."""
        if generator is None:
            raise UsageError(f"{self.name}: dropout in training draws random numbers: give generator=.")
        return (random.uniform(generator, like=like) >= rate).astype(like.dtype) * (1 / (1 - rate))

    @property
    def as_the_equation(self) -> bool:
        """Whether the primitive of the whole sequence serves."""
        return self.activation == "tanh"

    def incoming(self, weights: Weights, x: Tensor) -> Tensor:
        """x W + b of all steps."""
        bias = weights.get("bias")
        if bias is None:
            bias = namespace_on(x.device).zeros(weights["kernel"].shape[1], dtype=x.dtype)
        return projection(x, weights["kernel"], bias[0] if bias.ndim == 2 else bias)

    def sequence(self, weights: Weights, z: Tensor, states: States, mask: Tensor) -> tuple[Tensor, States]:
        """The states h of all steps, and those after the last, by the primitive."""
        h = simple_rnn(z, weights["recurrent_kernel"], states[0], mask)
        return h, [h[:, -1]]

    def stepwise(
        self, weights: Weights, z: Tensor, states: States, mask: Tensor | None, dropped: Tensor | None
    ) -> tuple[Tensor, States]:
        """The same, step by step. dropped: what h is multiplied by before each."""
        found = []
        for t in range(z.shape[1]):
            h = states[0] if dropped is None else states[0] * dropped
            new = self.step(weights, z[:, t], h, states)
            if mask is not None:
                new = [where(mask[:, t : t + 1], n, old) for n, old in zip(new, states, strict=True)]
            states = new
            found.append(states[0])
        return stack(found, axis=1), states

    def step(self, weights: Weights, z: Tensor, h: Tensor, states: States) -> list[Tensor]:
        """The states after one step. h: that before it, with dropout."""
        return [self.sigma(z + matmul(h, weights["recurrent_kernel"]))]

    def sigma(self, x: Tensor) -> Tensor:
        """The activation of the state."""
        return x if self._function is None else self._function(x)


class SimpleRNN(Recurrent):
    __doc__ = f"""h = σ(x W + b + h R) from step to step (Elman 1990). {Recurrent.__doc__}"""


class Gated(Recurrent, abstract=True):
    """A recurrent layer with gates. recurrent_activation: their σ, "sigmoid" as the equation has it."""

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        **common: Any,
    ) -> None:
        super().__init__(units, activation, **common)
        self._gate = make_activation(recurrent_activation)
        self.recurrent_activation = activation_name(self._gate) or self._gate

    @property
    def as_the_equation(self) -> bool:
        return super().as_the_equation and self.recurrent_activation == "sigmoid"

    def gate(self, x: Tensor) -> Tensor:
        """The activation of the gates."""
        return x if self._gate is None else self._gate(x)


def _remembering(begin: Begin, units: int, generator: numpy.random.Generator, shape: Shape) -> Any:
    """A bias of an LSTM that begins with open forget gates."""
    values = numpy.array(begin(generator, shape))
    values[units : 2 * units] = 1
    return values


class LSTM(Gated):
    __doc__ = f"""Long short-term memory (Hochreiter & Schmidhuber 1997), the equation of `cg.lstm`. {Recurrent.__doc__}
    The gates stand in the kernels (…, 4 · units) in the order in, forget, candidate, out. unit_forget_bias: the forget
    gate's b begins with 1. The state is h and c.
    """

    gates, states = 4, 2

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        unit_forget_bias: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(
            units, activation, recurrent_activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer, **common,
        )  # fmt: skip
        self.unit_forget_bias = bool(unit_forget_bias)
        if self.unit_forget_bias:
            self._initializers[2] = partial(_remembering, self._initializers[2], self.units)

    def sequence(self, weights: Weights, z: Tensor, states: States, mask: Tensor) -> tuple[Tensor, States]:
        y = lstm(z, weights["recurrent_kernel"], *states, mask)
        if not self.return_state:
            return (y[0] if self.return_sequences else z), [y[0, :, -1]]
        return y[0], [y[0, :, -1], y[1, :, -1]]

    def step(self, weights: Weights, z: Tensor, h: Tensor, states: States) -> list[Tensor]:
        a, n = z + matmul(h, weights["recurrent_kernel"]), self.units
        c = self.gate(a[:, n : 2 * n]) * states[1] + self.gate(a[:, :n]) * self.sigma(a[:, 2 * n : 3 * n])
        return [self.gate(a[:, 3 * n :]) * self.sigma(c), c]


class GRU(Gated):
    __doc__ = f"""Gated recurrent unit (Cho et al. 2014), the equation of `cg.gru`. {Recurrent.__doc__}
    The gates stand in the kernels (…, 3 · units) in the order update, reset, candidate. reset_after: the reset gate
    acts after the state's product, with a b of its own there: b is (2, 3 · units); else each step is on the tape.
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: str | Function | None = "tanh",
        recurrent_activation: str | Function | None = "sigmoid",
        reset_after: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(units, activation, recurrent_activation, **common)
        self.reset_after = bool(reset_after)

    def bias_shape(self) -> Shape:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    @property
    def as_the_equation(self) -> bool:
        return super().as_the_equation and self.reset_after

    def _inner_bias(self, weights: Weights, like: Tensor) -> Tensor:
        bias = weights.get("bias")
        if bias is not None and bias.ndim == 2:
            return bias[1]
        made: Tensor = namespace_on(like.device).zeros(3 * self.units, dtype=like.dtype)
        return made

    def sequence(self, weights: Weights, z: Tensor, states: States, mask: Tensor) -> tuple[Tensor, States]:
        h = gru(z, weights["recurrent_kernel"], self._inner_bias(weights, z), states[0], mask)
        return h, [h[:, -1]]

    def step(self, weights: Weights, z: Tensor, h: Tensor, states: States) -> list[Tensor]:
        r, n = weights["recurrent_kernel"], self.units
        if self.reset_after:
            s = matmul(h, r) + self._inner_bias(weights, z)
            reset = self.gate(z[:, n : 2 * n] + s[:, n : 2 * n])
            update, inner = self.gate(z[:, :n] + s[:, :n]), reset * s[:, 2 * n :]
        else:
            both = self.gate(z[:, : 2 * n] + matmul(h, r[:, : 2 * n]))
            update, inner = both[:, :n], matmul(both[:, n:] * h, r[:, 2 * n :])
        c = self.sigma(z[:, 2 * n :] + inner)
        return [update * states[0] + (1 - update) * c]
