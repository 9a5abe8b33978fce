"""chalkgrad: a neural-net engine that you can read off the blackboard, prove, and run at GPU speed."""

from . import early as _early

if _early.is_command():
    _early.heed()

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

from . import engine, ops
from .engine.backend import count_transfers, memory, synchronize
from .engine.batching import vmap
from .engine.primitive import Primitive, primitive, registry
from .engine.recomputing import checkpoint
from .engine.tensor import Tensor, tensor
from .engine.transform import grad, hessian, jacobian, jvp, value_and_grad, vjp
from .engine.untaped import no_grad
from .errors import ChalkgradError
from .ops.creation import ones_like, zeros_like
from .replay.capture import capture

__version__ = "0.2.0.dev0"

globals().update(registry)  # cg.exp, cg.matmul, …: every primitive under its own name
globals().update(ops.composed.composed)  # and what is composed of a few
globals().update({name: made for made in registry.values() for name in made.synonyms})  # cg.abs, as NumPy has it

LATER = {
    "History": "nn.callbacks",
    "Input": "nn.layers",
    "Model": "nn.models",
    "Sequential": "nn.models",
    "callbacks": "nn.callbacks",
    "constraints": "nn.constraints",
    "datasets": "datasets",
    "explain": "blackboard.explain",
    "export": "deploy.export",
    "import_onnx": "deploy.onnx_import",
    "initializers": "nn.initializers",
    "layers": "nn.layers",
    "losses": "nn.losses",
    "metrics": "nn.metrics",
    "models": "models",
    "nn": "nn",
    "np": "ops.np",
    "optim": "optim",
    "optimizers": "optim",
    "proof": "proof",
    "regularizers": "nn.regularizers",
    "utils": "nn.utils",
    "wrappers": "nn.wrappers",
}
"""What is imported when it is first asked for, and from where: a script on tensors alone does not pay for it."""


FUNCTIONS = {"explain", "export", "import_onnx"}
"""Those of them that are functions: what is wanted is in the module, under the same name."""


class _Later(_ModuleType):
    """A module under Keras's name, so that `from chalkgrad.layers import Dense` works."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # who looks at all modules that there are asks for its __file__
            raise AttributeError(name)
        return getattr(__getattr__(self.__name__.rpartition(".")[2]), name)


for _name, _place in LATER.items():
    if _name != _place and _name[0].islower() and _name not in FUNCTIONS:
        _sys.modules[f"{__name__}.{_name}"] = _Later(f"{__name__}.{_name}")


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module 'chalkgrad' has no attribute {name!r}")
    module = _import_module(f".{LATER[name]}", __name__)
    globals()[name] = getattr(module, name) if name[0].isupper() or name in FUNCTIONS else module
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
