"""Models, where Keras has them."""

from .layers.core import Input
from .model import Model
from .sequential import Sequential

__all__ = ["Input", "Model", "Sequential"]
