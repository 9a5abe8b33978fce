"""Models: layers, losses and metrics by name, the training loop, callbacks, the model file."""

from ..names import register
from . import callbacks, constraints, initializers, layers, losses, metrics, models, regularizers, utils
from .hooks import History
from .models import Model, Sequential

__all__ = [
    "History",
    "Model",
    "Sequential",
    "callbacks",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "register",
    "regularizers",
    "utils",
]
