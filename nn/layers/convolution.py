"""Convolutional layers (D2), with Keras's arguments, kernels and output shapes."""

from __future__ import annotations

from typing import ClassVar

from ...checks import whole
from ...engine.tensor import Tensor
from ...errors import ShapeError, UsageError
from ...ops.convolution import convolution, transposed_convolution
from ...ops.windows import check_border, output_lengths, padding_of, per_axis, reach
from ..initializers import Initializer, make_initializer
from .activated import Activated, Function
from .base import Beginnings, Shape, Weights
from .space import data_format_of, padding_named, put_together, taken_apart

Sizes = int | tuple[int, ...]


class Convolution(Activated, abstract=True):
    """σ(w * x + b) over `rank` axes of space; see Conv2D."""

    rank: ClassVar[int] = 2
    paddings: ClassVar[tuple[str, ...]] = ("valid", "same")

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        data_format: str | None,
        dilation_rate: Sizes,
        activation: str | Function | None,
        use_bias: bool,
        kernel_initializer: str | Initializer,
        bias_initializer: str | Initializer,
        input_shape: Shape | None,
        name: str | None,
    ) -> None:
        super().__init__(activation, input_shape, name)
        kind = type(self).__name__
        self.kernel_size = per_axis(kind, "kernel_size", kernel_size, self.rank)
        self.strides = per_axis(kind, "strides", strides, self.rank)
        self.dilation_rate = per_axis(kind, "dilation_rate", dilation_rate, self.rank)
        self.padding, self.data_format = padding_named(padding, self.paddings), data_format_of(data_format)
        self.use_bias, self.bias_initializer = bool(use_bias), bias_initializer
        self._initializers = make_initializer(kernel_initializer), make_initializer(bias_initializer)

    @property
    def channels_first(self) -> bool:
        """Whether a sample is (channels, *space)."""
        return self.data_format == "channels_first"

    def output_shape(self, input_shape: Shape) -> Shape:
        lengths, channels = taken_apart(self, input_shape, self.rank, self.data_format)
        return put_together(self.lengths(lengths), self.outputs(channels), self.data_format)

    def lengths(self, lengths: Shape) -> Shape:
        """The lengths of the output in space, for inputs of `lengths`."""
        return output_lengths(
            lengths, self.kernel_size, self.strides, self.border(lengths), self.dilation_rate, self.name
        )

    def border(self, lengths: Shape) -> tuple[tuple[int, int], ...]:
        """What is put around an input of these lengths, before and after it on each axis."""
        return padding_of(self.name, self.padding, lengths, self.kernel_size, self.strides, self.dilation_rate)

    def outputs(self, channels: int) -> int:
        """How many channels come out, where so many go in; raises ShapeError where they do not fit."""
        raise NotImplementedError

    def kernel_shape(self, channels: int) -> Shape:
        """The shape of the kernel, for so many channels."""
        raise NotImplementedError

    def weights_for(self, input_shape: Shape) -> Beginnings:
        channels, (kernel, bias) = taken_apart(self, input_shape, self.rank, self.data_format)[1], self._initializers
        own = {"kernel": (self.kernel_shape(channels), kernel), "bias": ((self.outputs(channels),), bias)}
        return own if self.use_bias else {"kernel": own["kernel"]}

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """w * x + b; without b where that is None."""
        raise NotImplementedError

    def linear(self, weights: Weights, x: Tensor) -> Tensor:
        """w * x + b, without σ."""
        channels = taken_apart(self, x.shape[1:], self.rank, self.data_format)[1]
        if weights["kernel"].shape != self.kernel_shape(channels):
            raise ShapeError(
                f"{self.name}: x of shape {x.shape} has {channels} channels, the kernel of shape "
                f"{weights['kernel'].shape} takes others: it was made for samples of shape {self.built_for}."
            )
        return self.convolve(x, weights["kernel"], weights.get("bias"))


class Conv2D(Convolution):
    """σ(w * x + b): each filter's kernel slides over height and width (D2).

    filters: how many outputs each place has. kernel_size, strides, dilation_rate: an integer, or one each for height
    and width. padding: "valid", or "same" for as many outputs as inputs (divided by the strides). data_format:
    "channels_last", a batch being (batch, height, width, channels), or "channels_first". groups: channels and filters
    fall into so many groups that do not see each other. activation, use_bias and the initialisers: as for Dense. The
    kernel is (height, width, channels / groups, filters).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        groups: int = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, kernel_initializer,
            bias_initializer, input_shape, name,
        )  # fmt: skip
        kind = type(self).__name__
        self.filters, self.groups = whole(kind, "filters", filters), whole(kind, "groups", groups)
        self.kernel_initializer = kernel_initializer
        if self.filters % self.groups:
            raise UsageError(f"{kind}(filters={filters}, groups={groups}): groups divide the filters.")

    def outputs(self, channels: int) -> int:
        if channels % self.groups:
            raise ShapeError(
                f"{self.name}: {type(self).__name__}(groups={self.groups}) takes samples whose number of channels "
                f"{self.groups} divides, not {channels}."
            )
        return self.filters

    def kernel_shape(self, channels: int) -> Shape:
        return (*self.kernel_size, channels // self.groups, self.filters)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        space = x.shape[2:] if self.channels_first else x.shape[1:-1]
        return convolution(
            x, kernel, bias, stride=self.strides, padding=self.border(space), dilation=self.dilation_rate,
            groups=self.groups, channels_first=self.channels_first,
        )  # fmt: skip


class Conv1D(Conv2D):
    """σ(w * x + b) along one axis: batches of shape (batch, length, channels), a kernel (length, channels, filters).

    padding: also "causal": no output sees what comes after it. The rest as for Conv2D.
    """

    rank = 1
    paddings = ("valid", "same", "causal")

    def border(self, lengths: Shape) -> tuple[tuple[int, int], ...]:
        if self.padding == "causal":
            before = reach(*self.kernel_size, *self.dilation_rate) - 1
            check_border(before, *lengths)
            return ((before, 0),)
        return super().border(lengths)


class DepthwiseConv2D(Convolution):
    """σ(w * x + b), each channel by itself: `depth_multiplier` kernels for each, side by side in the output.

    The kernel is (height, width, channels, depth_multiplier). The other arguments are those of Conv2D.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        depthwise_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, depthwise_initializer,
            bias_initializer, input_shape, name,
        )  # fmt: skip
        self.depth_multiplier = whole("DepthwiseConv2D", "depth_multiplier", depth_multiplier)
        self.depthwise_initializer = depthwise_initializer

    def outputs(self, channels: int) -> int:
        return channels * self.depth_multiplier

    def kernel_shape(self, channels: int) -> Shape:
        return (*self.kernel_size, channels, self.depth_multiplier)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        space = x.shape[2:] if self.channels_first else x.shape[1:-1]
        *size, channels, each = kernel.shape
        return convolution(
            x, kernel.reshape(*size, 1, channels * each), bias, stride=self.strides, padding=self.border(space),
            dilation=self.dilation_rate, groups=channels, channels_first=self.channels_first,
        )  # fmt: skip


class Conv2DTranspose(Convolution):
    """σ(wᵀ * x + b): the adjoint of a Conv2D with this kernel, which takes its outputs back to the size of its inputs.

    The kernel is (height, width, filters, channels). output_padding: how much longer the output is than the least that
    the convolution would lead back from; by default Keras's choice: input × strides, where padding is "same", and
    enough for each stride, where it is "valid". The other arguments are those of Conv2D.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        output_padding: Sizes | None = None,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: str | Function | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, kernel_initializer,
            bias_initializer, input_shape, name,
        )  # fmt: skip
        self.filters, self.kernel_initializer = whole("Conv2DTranspose", "filters", filters), kernel_initializer
        more: tuple[int, ...] | None = None
        if output_padding is not None:
            more = per_axis("Conv2DTranspose", "output_padding", output_padding, self.rank, 0)
            if any(m >= s for m, s in zip(more, self.strides, strict=True)):
                raise UsageError(
                    f"Conv2DTranspose(output_padding={output_padding!r}, strides={strides!r}): the output padding is "
                    "less than the stride, on each axis."
                )
        self.output_padding = more

    def outputs(self, channels: int) -> int:
        return self.filters

    def kernel_shape(self, channels: int) -> Shape:
        return (*self.kernel_size, self.filters, channels)

    def lengths(self, lengths: Shape) -> Shape:
        given = self.output_padding or (None,) * self.rank
        found = []
        for n, k, s, d, more in zip(lengths, self.kernel_size, self.strides, self.dilation_rate, given, strict=True):
            size, least = reach(k, d), (n - 1) * s
            if self.padding == "valid":
                found.append(least + size + (max(s - size, 0) if more is None else more))
            else:
                found.append(n * s if more is None else least + size % 2 + more)
        border = self.border(tuple(found))
        if output_lengths(found, self.kernel_size, self.strides, border, self.dilation_rate, self.name) != lengths:
            raise ShapeError(
                f"{self.name}: no convolution with a kernel of {self.kernel_size}, strides {self.strides} and padding "
                f"{self.padding!r} leads from {tuple(found)} to {lengths}: choose another output_padding, or none."
            )
        return tuple(found)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        lengths = self.lengths(x.shape[2:] if self.channels_first else x.shape[1:-1])
        return transposed_convolution(
            x, kernel, bias, stride=self.strides, padding=self.border(lengths), dilation=self.dilation_rate,
            lengths=lengths, channels_first=self.channels_first,
        )  # fmt: skip
