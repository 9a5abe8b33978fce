"""How parameters follow their gradients: update equations, optimisers, learning-rate schedules, clipping."""

from .clip import clip_by_global_norm
from .optimizer import (
    OPTIMIZERS,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Optimizer,
    RMSprop,
    make_optimizer,
)
from .schedule import Constant, CosineDecay, Schedule, StepDecay, WarmUp, make_schedule
from .update import Update, updates

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
    "make_optimizer",
    "make_schedule",
    "updates",
]
