"""How parameters follow their gradients: update equations, optimisers, learning-rate schedules, clipping."""

from .clip import clip_by_global_norm
from .declaration import Update, updates
from .optimizer import OPTIMIZERS, Optimizer, declare, make_optimizer
from .schedule import Constant, CosineDecay, Schedule, StepDecay, WarmUp, make_schedule
from .update import Adam, AdamW, GradientDescent, Momentum, RMSprop

__all__ = [
    "OPTIMIZERS",
    "Adam",
    "AdamW",
    "Constant",
    "CosineDecay",
    "GradientDescent",
    "Momentum",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "Update",
    "WarmUp",
    "clip_by_global_norm",
    "declare",
    "make_optimizer",
    "make_schedule",
    "updates",
]
