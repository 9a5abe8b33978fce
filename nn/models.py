"""Models, where Keras has them."""

from .sequential import Sequential

__all__ = ["Sequential"]
