"""Layers that distort images at random in training, by `datasets.Augmentation`; what lies outside of an image is 0."""

from __future__ import annotations

import numpy

from ...checks import number
from ...datasets.augmentation import FLIPS, Augmentation
from ...engine import random
from ...engine.tensor import Tensor
from ...errors import UsageError, unknown_name
from .base import Layer, Shape, Weights
from .space import taken_apart


class Distortion(Layer, abstract=True):
    """Images (height, width, channels), each distorted in its own way in training; as they are otherwise.

    It stands before all layers that learn, since no gradient goes through it, and on the CPU; on a GPU give
    fit(augmentation=…) the same distortion.
    """

    def distortion(self, height: int, width: int) -> Augmentation:
        """The distortion of images of that size."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        taken_apart(self, input_shape, 2, "channels_last")
        return input_shape

    def apply(self, weights: Weights, x: Tensor, *, training: bool, generator: numpy.random.Generator | None) -> Tensor:
        if not training:
            return x
        if generator is None:
            raise UsageError(f"{self.name}: a distortion in training draws random numbers: give generator=.")
        if x.requires_grad or x.device != "cpu":
            where = "behind a layer that learns" if x.requires_grad else f"on {x.device}"
            raise UsageError(
                f"{self.name} cannot stand {where}: put it first, on the CPU, or give fit(augmentation=…) a "
                "datasets.Augmentation."
            )
        return random.changed(generator, x, self.distortion(*x.shape[1:3]))


class RandomFlip(Distortion):
    """Every other image turned over. mode: "horizontal", "vertical" or "horizontal_and_vertical"."""

    def __init__(
        self, mode: str = "horizontal_and_vertical", input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        if mode not in FLIPS:
            raise unknown_name("mode", mode, FLIPS)
        self.mode = mode

    def distortion(self, height: int, width: int) -> Augmentation:
        return Augmentation(flip=self.mode)


class RandomRotation(Distortion):
    """Images turned by up to `factor` of a whole turn, either way."""

    def __init__(self, factor: float, input_shape: Shape | None = None, name: str | None = None) -> None:
        super().__init__(input_shape, name)
        self.factor = number("RandomRotation", "factor", factor, "[0, 1]")

    def distortion(self, height: int, width: int) -> Augmentation:
        return Augmentation(rotation=360 * self.factor)


class RandomTranslation(Distortion):
    """Images moved by up to these fractions of their height and width, either way."""

    def __init__(
        self, height_factor: float, width_factor: float, input_shape: Shape | None = None, name: str | None = None
    ) -> None:
        super().__init__(input_shape, name)
        self.height_factor = number("RandomTranslation", "height_factor", height_factor, "[0, 1]")
        self.width_factor = number("RandomTranslation", "width_factor", width_factor, "[0, 1]")

    def distortion(self, height: int, width: int) -> Augmentation:
        return Augmentation(shift=(height * self.height_factor, width * self.width_factor))


class RandomZoom(Distortion):
    """Images stretched and shrunk by up to these fractions of their height and width, each by itself."""

    def __init__(
        self,
        height_factor: float,
        width_factor: float | None = None,
        input_shape: Shape | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape, name)
        across = height_factor if width_factor is None else width_factor
        self.height_factor = number("RandomZoom", "height_factor", height_factor, "[0, 1)")
        self.width_factor = number("RandomZoom", "width_factor", across, "[0, 1)")

    def distortion(self, height: int, width: int) -> Augmentation:
        return Augmentation(scale=(self.height_factor, self.width_factor))
