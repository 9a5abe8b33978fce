"""Models: layers, losses and metrics by name, the training loop, callbacks, the model file."""

from . import callbacks, initializers, layers, losses, metrics, models, utils
from .callbacks import History
from .sequential import Sequential

__all__ = ["History", "Sequential", "callbacks", "initializers", "layers", "losses", "metrics", "models", "utils"]
