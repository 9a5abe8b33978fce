"""How parameters follow their gradients: update equations, optimisers, learning-rate schedules, clipping."""

from . import schedules
from .clip import clip_by_global_norm
from .declaration import Update, updates
from .further import SGD, Adadelta, Adagrad, Adamax, Lion, Nadam
from .hyperparameters import OPTIMIZERS
from .optimizer import Optimizer, declare, make_optimizer
from .optimizer import make_optimizer as get
from .schedule import Constant, CosineDecay, Schedule, StepDecay, WarmUp, make_schedule
from .update import Adam, AdamW, GradientDescent, Momentum, RMSprop

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Constant",
    "CosineDecay",
    "GradientDescent",
    "Lion",
    "Momentum",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "Update",
    "WarmUp",
    "clip_by_global_norm",
    "declare",
    "get",
    "make_optimizer",
    "make_schedule",
    "schedules",
    "updates",
]
