"""chalkgrad: a neural-net engine that you can read off the blackboard, prove, and run at GPU speed."""

from importlib import import_module as _import_module

from . import engine, ops
from .engine.errors import ChalkgradError
from .engine.primitive import Primitive, primitive, registry
from .engine.tensor import Tensor, tensor
from .engine.transform import grad, hessian, jacobian, jvp, value_and_grad, vjp
from .ops.creation import ones_like, zeros_like

__version__ = "0.1.0"

globals().update(registry)  # cg.exp, cg.matmul, …: every primitive under its own name

LATER = {
    "History": "nn.callbacks",
    "Sequential": "nn.sequential",
    "callbacks": "nn",
    "datasets": "",
    "initializers": "nn",
    "layers": "nn",
    "losses": "nn",
    "metrics": "nn",
    "models": "nn",
    "nn": "",
    "optim": "",
    "utils": "nn",
}
"""What is imported when it is first asked for, and from where: a script on tensors alone does not pay for it."""


def __getattr__(name: str) -> object:
    if name == "optimizers":  # Keras's name for it
        return _import_module(".optim", __name__)
    if name not in LATER:
        raise AttributeError(f"module 'chalkgrad' has no attribute {name!r}")
    room = LATER[name]
    value = getattr(_import_module(f".{room}", __name__), name) if room else _import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER, "optimizers"})
