"""Functions of functions: grad, value_and_grad, vjp, jvp, jacobian and hessian.

They nest, to any order: a gradient asked for inside a function that is being differentiated is on the tape itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from ..checks import is_whole
from ..errors import ShapeError, UsageError
from . import backend, tape
from .namespace import namespace, namespace_on
from .tape import own_arrays
from .tensor import Tensor, tensor
from .untaped import Taping, untaped

Function = Callable[..., Tensor]


def vjp(f: Function, *xs: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """The value y = f(*xs), and the function that takes gy to the vector-Jacobian products gyᵀ ∂y/∂x, one an x.

    xs: tensors, arrays or floats. gy: of the shape of y. Raises DtypeError where an x is an integer,
    ShapeError where gy has another shape.
    """
    inputs, y, outer = _run(f, xs)
    keys = [x._node or x for x in inputs]

    def pull(gy: Any) -> tuple[Tensor, ...]:
        seed = gy if isinstance(gy, Tensor) else tensor(gy, dtype=y.dtype, device=y.device)
        if seed.shape != y.shape:
            raise ShapeError(f"the pullback of a function with value of shape {y.shape} got shape {seed.shape}.")
        taped = outer or seed.requires_grad
        found: dict[Any, Any] = {}
        root = y._node or y
        with backend.working(y.device, "a reverse pass"):
            if y.requires_grad:
                gradient = seed if taped else seed._data
                found = {root: gradient} if isinstance(root, Tensor) else tape.reverse(
                    root, gradient, namespace_on(y.device) if taped else backend.namespace_of(gradient),
                    wanted=set(keys), retain=True, taped=taped,
                )  # fmt: skip
            if taped:
                return tuple(found.get(key, _filled_like(x, 0.0)) for key, x in zip(keys, inputs, strict=True))
            owned = own_arrays([found.get(key) for key in keys], besides=seed._data)
        return tuple(
            _filled_like(x, 0.0) if array is None else Tensor(array) for x, array in zip(inputs, owned, strict=True)
        )

    return (y if outer else y.detach()), pull


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that returns f(*xs), a single number, and its gradient ∇f in the arguments `argnums`.

    The gradient is a tensor, or a tuple of them where argnums is a sequence. Raises ShapeError where f returns
    more than one number.
    """
    single = not isinstance(argnums, Sequence)

    def differentiated(*xs: Any, **options: Any) -> tuple[Tensor, Any]:
        chosen = _positions(argnums, len(xs))

        def of_chosen(*values: Tensor) -> Tensor:
            arguments = list(xs)
            for n, value in zip(chosen, values, strict=True):
                arguments[n] = value
            return f(*arguments, **options)

        y, pull = vjp(of_chosen, *(xs[n] for n in chosen))
        if y.size != 1:
            raise ShapeError(
                f"grad takes a function whose value is one number; this one has shape {y.shape}: "
                "sum or average it, or use vjp, jacobian."
            )
        gradients = pull(_filled_like(y, 1.0))
        return y, gradients[0] if single else gradients

    return differentiated


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient ∇f of a function whose value is one number; see `value_and_grad`."""
    differentiated = value_and_grad(f, argnums)
    return lambda *xs, **options: differentiated(*xs, **options)[1]


def jvp(f: Function, xs: Sequence[Any], vs: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """The value y = f(*xs) and the Jacobian-vector product ∂y/∂x · v, summed over the arguments.

    The pullback is linear in gy, so its own pullback is the Jacobian itself (Christianson 1992): the rules that
    go backward also go forward, and no second set is needed. Raises ShapeError where a v has not the shape of its x.
    """
    if len(xs) != len(vs):
        raise UsageError(f"jvp got {len(xs)} arguments and {len(vs)} directions: one direction for each.")
    y, pull = vjp(f, *xs)
    directions = []
    for x, v in zip(xs, vs, strict=True):
        x, v = _as_input(x), _as_input(v)
        if v.shape != x.shape:
            raise ShapeError(f"jvp got an argument of shape {x.shape} with a direction of shape {v.shape}.")
        directions.append(v)

    def inner_products(gy: Tensor) -> Tensor:
        total: Any = 0.0
        for gradient, v in zip(pull(gy), directions, strict=True):
            total = total + namespace.sum(namespace.multiply(gradient, v))
        return total  # type: ignore[no-any-return]

    _, forward = vjp(inner_products, _filled_like(y, 0.0))
    product = forward(tensor(1.0, dtype=y.dtype, device=y.device))[0]
    followed = y.requires_grad or any(v.requires_grad for v in directions)
    return y, product if followed else product.detach()


def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns ∂y/∂x, of shape y.shape + x.shape: one reverse pass for each element of y.

    It is a tuple of them where argnums is a sequence. Keyword arguments are handed on to f.
    """
    if isinstance(argnums, Sequence):
        blocks = [jacobian(f, n) for n in argnums]
        return lambda *xs, **options: tuple(block(*xs, **options) for block in blocks)

    def differentiated(*xs: Any, **options: Any) -> Tensor:
        (n,) = _positions(argnums, len(xs))
        x = _as_input(xs[n])
        y, pull = vjp(lambda value: f(*xs[:n], value, *xs[n + 1 :], **options), x)
        rows = []
        for i in range(y.size):
            basis = _filled_like(y, 0.0)
            basis._data.reshape(-1)[i] = 1.0
            rows.append(pull(basis)[0])
        if not rows:
            return tensor(backend.namespace_of(x._data).zeros(y.shape + x.shape, x.dtype))
        return namespace.reshape(namespace.stack(rows), y.shape + x.shape)  # type: ignore[no-any-return]

    return differentiated


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns ∂²f/∂x², of shape x.shape + x.shape, of a function whose value is one number.

    Where argnums is a sequence it is a tuple of tuples: ∂²f/∂x∂y, of shape x.shape + y.shape, in row x, column y.
    Keyword arguments are handed on to f.
    """
    if isinstance(argnums, Sequence):
        rows = [jacobian(grad(f, n), argnums) for n in argnums]
        return lambda *xs, **options: tuple(row(*xs, **options) for row in rows)
    return jacobian(grad(f, argnums), argnums)


def _positions(argnums: int | Sequence[int], given: int) -> list[int]:
    """The arguments that argnums names, counted from 0; raises UsageError for one that is not there or is twice."""
    numbers = argnums if isinstance(argnums, Sequence) else (argnums,)
    if not all(is_whole(n) and -given <= n < given for n in numbers):
        raise UsageError(f"argnums={argnums!r} names an argument that is not there: {given} were given.")
    chosen = [int(n) % given for n in numbers]
    if len(set(chosen)) != len(chosen):
        raise UsageError(f"argnums={argnums!r} names an argument twice.")
    return chosen


def _run(f: Function, xs: Sequence[Any]) -> tuple[list[Tensor], Tensor, bool]:
    """Inputs of our own, f's value there, and whether anybody outside is differentiating it, too."""
    inputs, constant = [], untaped()
    for x in map(_as_input, xs):
        if (
            x.requires_grad and not constant
        ):  # a copy of the way to x: only what f does with it counts, and x still hears of it
            inputs.append(namespace.reshape(x, x.shape))
        else:
            inputs.append(Tensor(x._data, requires_grad=True, name=x.name))
            inputs[-1]._version = x.version_cell()
    cells = [x.version_cell() for x in inputs]
    for cell in cells:
        cell[1] += 1  # also what shares the memory of an argument is not to be written into
    try:
        with Taping(False) if constant else nullcontext():
            y = f(*inputs)
    finally:
        for cell in cells:
            cell[1] -= 1
    if not isinstance(y, Tensor):
        raise UsageError(f"the function to differentiate returned {type(y).__name__}, not a tensor: {y!r}.")
    mine = {x._node or x for x in inputs}
    return inputs, y, y._node is not None and tape.depends_on_others(y._node, mine)


def _as_input(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else tensor(x)


def _filled_like(x: Tensor, value: float) -> Tensor:
    return Tensor(backend.namespace_of(x._data).full(x.shape, value, x.dtype))
