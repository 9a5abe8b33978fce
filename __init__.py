"""chalkgrad: a neural-net engine that you can read off the blackboard, prove, and run at GPU speed."""

from . import engine, ops
from .engine.errors import ChalkgradError
from .engine.primitive import Primitive, primitive, registry
from .engine.tensor import Tensor, tensor
from .engine.transform import grad, hessian, jacobian, jvp, value_and_grad, vjp
from .ops.creation import ones_like, zeros_like

globals().update(registry)  # cg.exp, cg.matmul, …: every primitive under its own name
