"""What Keras has and this engine has not, refused by name with the way out; other unknown names, with the nearest."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..errors import UnknownNameError, nearest

T = TypeVar("T")

WAYS: Mapping[str, Mapping[str, Any]] = {
    "Weights of each position, such as a time step, are given as they are: sample_weight of shape (batch, steps).": {
        "sample_weight_mode": None,
    },
    "Data are loaded by whom you like; an augmentation is prepared by a thread beside the training.": {
        "workers": 1, "use_multiprocessing": False, "max_queue_size": 10,
    },
    "Steps are recorded and replayed without it.": {"steps_per_execution": 1},
    "float16 is not scaled: train in float32.": {"auto_scale_loss": True, "loss_scale_factor": None},
    "Freeze layers with layer.trainable = False.": {"lora_rank": None, "lora_alpha": None},
    "Dense has precision=…": {"quantization_config": None},
    "A model lives on one device.": {"synchronized": False},
    "There is no such normalisation.": {"renorm": False, "rms_scaling": False},
    "A model has one dtype: Sequential(…, dtype=…).": {"autocast": True, "dtype": None, "dtype_policy": None},
    "Each element is dropped by itself.": {"noise_shape": None},
    "Dropout draws from the stream of the training: fit(…, seed=…).": {"seed": None},
    "Give input_shape, the shape of one sample.": {"batch_input_shape": None},
    "Batches have the size that fit, evaluate and predict are given.": {"batch_size": None},
    "Build the model, then call model.set_weights(…).": {"weights": None},
    "The steps of a recurrent layer are one call already.": {"unroll": False, "use_cudnn": "auto"},
    "Hand the state on from call to call: return_state=True, initial_state=…": {"stateful": False},
    "The averages are taken at the end of fit.": {"ema_overwrite_frequency": None},
    "Adam has this variant.": {"amsgrad": False},
    "RMSprop has this variant.": {"centered": False},
    "Files call it by its class.": {"name": None},
    "It is optim.SGD(momentum=…, nesterov=…).": {"momentum": 0, "nesterov": False},
    "It is called learning_rate.": {"lr": None},
    "Classes lie along the last axis.": {"axis": -1},
    "Give a schedule as learning_rate, such as optim.CosineDecay(…).": {"decay": 0},
}  # fmt: skip
"""The way out, and what Keras gives a meaning that this engine does not, with the value that changes nothing."""
KERAS: Mapping[str, tuple[Any, str]] = {n: (value, way) for way, names in WAYS.items() for n, value in names.items()}
"""By the argument's name."""


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
            made = function(*args, **options)
        except TypeError:
            _check_bound(called, signature, args, options)
            raise
        for name, value in later.items():
            setattr(args[0], name, value)
        return made

    return checked


def _check_bound(called: str, signature: inspect.Signature, args: Any, options: Any) -> None:
    """Raise UnknownNameError for arguments that the signature does not take."""
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        taken = [name for name in signature.parameters if name != "self"]
        raise UnknownNameError(f"{called}({', '.join(taken)}): {error}.") from None
