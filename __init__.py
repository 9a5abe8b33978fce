"""chalkgrad: a neural-net engine that you can read off the blackboard, prove, and run at GPU speed."""

from . import datasets, engine, nn, ops, optim
from . import optim as optimizers
from .engine.errors import ChalkgradError
from .engine.primitive import Primitive, primitive, registry
from .engine.tensor import Tensor, tensor
from .engine.transform import grad, hessian, jacobian, jvp, value_and_grad, vjp
from .nn import History, Sequential, callbacks, initializers, layers, losses, metrics, models, utils
from .ops.creation import ones_like, zeros_like

__version__ = "0.1.0"

globals().update(registry)  # cg.exp, cg.matmul, …: every primitive under its own name
