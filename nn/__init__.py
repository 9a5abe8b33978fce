"""Models: layers, losses and metrics by name, the training loop, callbacks, the model file."""

from ..names import register
from . import callbacks, initializers, layers, losses, metrics, models, utils
from .hooks import History
from .sequential import Sequential

__all__ = [
    "History",
    "Sequential",
    "callbacks",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "register",
    "utils",
]
