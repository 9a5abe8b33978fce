"""What Keras has and this engine has not, refused by name with the way out; other unknown names, with the nearest."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..errors import UnknownNameError, nearest

T = TypeVar("T")

PENALTY = "Weights decay with optim.AdamW(weight_decay=…); any other penalty can be part of a loss of your own."
WEIGHTED = "Put the weights into a column of y, and weigh in a loss of your own, a function (y_true, y_pred)."
STEPS = "One call of fit goes over all samples in each epoch: give it the samples of an epoch, and call it again."
LOADED = "Data are loaded by whom you like; an augmentation is prepared by a thread beside the training."
CLIPPING = "Gradients are clipped by their common norm: global_clipnorm=…"
CONSTRAINT = "Set the weights in a callback, with weight.assign(…)."
MOMENTUM = "It is optim.Momentum(momentum=…, nesterov=…)."
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
    "weight_decay": (0, "Weights decay with optim.AdamW(weight_decay=…)."),
    "name": (None, "Files call it by its class."),
    "momentum": (0, MOMENTUM),
    "nesterov": (False, MOMENTUM),
    "lr": (None, "It is called learning_rate."),
    "verbose": (0, "What fit prints says fit(…, verbose=…)."),
    "save_weights_only": (False, "The whole model is saved; model.load_weights takes the weights alone."),
    "save_freq": ("epoch", "The model is saved at the end of epochs."),
    "reduction": ("sum_over_batch_size", "A loss is the mean over the batch; write another as a function of your own."),
    "decay": (0, "Give a schedule as learning_rate, such as optim.CosineDecay(…)."),
}
"""What Keras gives a meaning and this engine does not: the value that changes nothing, and the way out."""


def refuse(who: str, others: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise UnknownNameError for an argument that has no counterpart here; one that changes nothing passes."""
    for name, value in others.items():
        if name not in KERAS:
            hint = nearest(name, known)
            raise UnknownNameError(f"{who}() got an unexpected keyword argument {name!r}: {hint}")
        neutral, instead = KERAS[name]
        if value is not None and not (isinstance(value, (bool, int, float, str)) and value == neutral):
            raise UnknownNameError(f"{who}({name}=…): there is no {name} here. {instead}")


def unknown_attribute(who: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for an attribute that an object has not."""
    hint = f"there is no {name} here. {KERAS[name][1]}" if name in KERAS else nearest(name, known)
    return UnknownNameError(f"{who} has no attribute {name!r}: {hint}")


def checked(thing: T) -> T:
    """A class or a function that refuses what it does not take, with the way out."""
    if isinstance(thing, type):
        thing.__init__ = checked_arguments(thing.__init__)  # type: ignore[misc]
        return thing
    function: Any = thing
    return checked_arguments(function, function.__name__)  # type: ignore[return-value]


def checked_arguments(
    function: Callable[..., Any], who: str = "", afterwards: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """A constructor, or the function `who`, that refuses what it does not take.

    afterwards: attributes that a constructor takes besides.
    """
    signature = inspect.signature(function)
    names = signature.parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in names.values())

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        called, later = who or type(args[0]).__name__, {}
        if not takes_all and not options.keys() <= names.keys():
            others = {name: options.pop(name) for name in [*options] if name not in names}
            later = {name: others.pop(name) for name in afterwards if name in others}
            refuse(called, others, {*names, *afterwards} - {"self"})
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            taken = [name for name in names if name != "self"]
            raise UnknownNameError(f"{called}({', '.join(taken)}): {error}.") from None
        made = function(*args, **options)
        for name, value in later.items():
            setattr(args[0], name, value)
        return made

    return checked
