"""What the methods of a model are given, checked; and what Keras has and this engine has not, refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..engine.errors import UsageError

PENALTY = "Weights decay with optim.AdamW(weight_decay=…); any other penalty can be part of a loss of your own."
WEIGHTED = "Put the weights into a column of y, and weigh in a loss of your own, a function (y_true, y_pred)."
STEPS = "One call of fit goes over all samples in each epoch: give it the samples of an epoch, and call it again."
LOADED = "Data are loaded by whom you like; an augmentation is prepared by a thread beside the training."
CLIPPING = "Gradients are clipped by their common norm: global_clipnorm=…"
CONSTRAINT = "Set the weights in a callback, with weight.assign(…)."
DTYPE = "A model has one dtype: Sequential(…, dtype=…)."

KERAS: Mapping[str, tuple[Any, str]] = {
    "sample_weight": (None, WEIGHTED),
    "class_weight": (None, WEIGHTED),
    "steps_per_epoch": (None, STEPS),
    "workers": (1, LOADED),
    "use_multiprocessing": (False, LOADED),
    "max_queue_size": (10, LOADED),
    "loss_weights": (None, "There is one output and one loss; multiply in a loss of your own."),
    "weighted_metrics": (None, WEIGHTED),
    "steps_per_execution": (1, "Steps are recorded and replayed without it."),
    "auto_scale_loss": (True, "float16 is not scaled: train in float32."),
    "sample_weight_mode": (None, WEIGHTED),
    "kernel_regularizer": (None, PENALTY),
    "bias_regularizer": (None, PENALTY),
    "activity_regularizer": (None, PENALTY),
    "beta_regularizer": (None, PENALTY),
    "gamma_regularizer": (None, PENALTY),
    "depthwise_regularizer": (None, PENALTY),
    "kernel_constraint": (None, CONSTRAINT),
    "bias_constraint": (None, CONSTRAINT),
    "beta_constraint": (None, CONSTRAINT),
    "gamma_constraint": (None, CONSTRAINT),
    "depthwise_constraint": (None, CONSTRAINT),
    "lora_rank": (None, "Freeze layers with layer.trainable = False."),
    "lora_alpha": (None, "Freeze layers with layer.trainable = False."),
    "quantization_config": (None, "Dense has precision=…"),
    "synchronized": (False, "A model lives on one device."),
    "renorm": (False, "There is no such normalisation."),
    "rms_scaling": (False, "There is no such normalisation."),
    "autocast": (True, DTYPE),
    "dtype": (None, DTYPE),
    "dtype_policy": (None, DTYPE),
    "noise_shape": (None, "Each element is dropped by itself."),
    "seed": (None, "Dropout draws from the stream of the training: fit(…, seed=…)."),
    "input_dim": (None, "Give input_shape=(n,)."),
    "batch_input_shape": (None, "Give input_shape, the shape of one sample."),
    "batch_size": (None, "Batches have the size that fit, evaluate and predict are given."),
    "weights": (None, "Build the model, then call model.set_weights(…)."),
    "clipnorm": (None, CLIPPING),
    "clipvalue": (None, CLIPPING),
    "ema_overwrite_frequency": (None, "The averages are taken at the end of fit."),
    "loss_scale_factor": (None, "float16 is not scaled: train in float32."),
    "gradient_accumulation_steps": (None, "Give fit a larger batch_size."),
    "amsgrad": (False, "There is no such variant of Adam."),
    "centered": (False, "There is no such variant of RMSprop."),
    "weight_decay": (None, "Weights decay with optim.AdamW(weight_decay=…)."),
    "lr": (None, "It is called learning_rate."),
    "decay": (None, "Give a schedule as learning_rate, such as optim.CosineDecay(…)."),
}
"""What Keras gives a meaning and this engine does not: the value that changes nothing, and the way out."""


def refuse(who: str, others: Mapping[str, Any]) -> None:
    """Raise UsageError for an argument of Keras's that has no counterpart here, TypeError for one of nobody's."""
    for name, value in others.items():
        if name not in KERAS:
            raise TypeError(f"{who}() got an unexpected keyword argument {name!r}")
        neutral, instead = KERAS[name]
        if value is not None and not (isinstance(value, (bool, int)) and value == neutral):
            raise UsageError(f"{who}({name}=…): there is no {name} here. {instead}")


def count(method: str, name: str, value: Any, least: int) -> int:
    """An integer of `least` or more; raises UsageError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, numpy.integer)) or value < least:
        raise UsageError(f"{method}({name}={value!r}): it is an integer of {least} or more.")
    return int(value)


def pair(validation_data: Any) -> tuple[Any, Any]:
    """(x, y); raises UsageError for anything else."""
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise UsageError("validation_data is a pair: (x, y).")
    return validation_data[0], validation_data[1]


def epochs_with(validation_freq: Any) -> int | frozenset[int]:
    """After which epochs there is a validation: every n-th, or those named, counted from 1 as in Keras."""
    if isinstance(validation_freq, Sequence) and not isinstance(validation_freq, str):
        return frozenset(count("fit", "validation_freq", epoch, 1) for epoch in validation_freq)
    return count("fit", "validation_freq", validation_freq, 1)


def is_due(epoch: int, validation_freq: int | frozenset[int]) -> bool:
    """Whether there is a validation after the epoch of that number, from 0."""
    if isinstance(validation_freq, frozenset):
        return epoch + 1 in validation_freq
    return (epoch + 1) % validation_freq == 0


def steps_of(method: str, name: str, steps: Any, samples: int, batch_size: int) -> int | None:
    """How many batches to take; None is all. Raises UsageError where there are not so many."""
    if steps is None:
        return None
    asked, there = count(method, name, steps, 1), -(-samples // batch_size)
    if asked > there:
        raise UsageError(f"{method}({name}={asked}): {samples} samples make {there} batches of {batch_size}.")
    return asked
