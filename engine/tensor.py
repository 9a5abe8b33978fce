"""Tensor: an array, and the way back to what it was computed from."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy
from numpy.typing import NDArray

from ..errors import DtypeError, GraphError, ShapeError
from . import backend, tape
from .backend import Array
from .capturing import captures, capturing
from .incoming import as_array, as_index, held, numeric_dtype
from .lent import Lent
from .nested import holds_tensors, joined
from .numpy_functions import Ufuncs, apply_function


class Tensor(Lent):
    """An n-dimensional array; the tape notes what is computed from it.

    Made by `cg.tensor(…)` or by an operation; the constructor wraps an array of the backend as it is, without
    a copy. Operators and methods (`x * y`, `x.exp()`) are lent by the primitives, with NumPy's arguments.

    requires_grad: note what is computed from this tensor, so that `backward` gives it a gradient.
    grad: the gradient, a tensor of the same shape and dtype, once `backward` has run; None before.
    name: what error messages and explanations call it; free to choose.
    """

    __pandas_priority__ = 5000  # above a DataFrame's: `series * tensor` asks Tensor
    __slots__ = ("__weakref__", "_data", "_grad", "_node", "_requires_grad", "_version", "name")

    def __init__(self, data: Array, requires_grad: bool = False, name: str | None = None) -> None:
        self._data = data
        self._requires_grad = False
        if captures and (capture := capturing()):
            capture.note(self)
        if requires_grad:
            self.requires_grad = True
        self._grad: Tensor | None = None
        self.name = name
        self._node: tape.Node | None = None
        self._version: list[int] | None = None

    # What it is

    @property
    def requires_grad(self) -> bool:
        """Whether the tape notes what is computed from it. Setting it on integers raises DtypeError."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self._data.dtype.kind != "f":
            raise DtypeError(
                f"a tensor of dtype {self._data.dtype} cannot require a gradient: only floating point can. "
                "Give floats (1.0, not 1) or dtype='float32'."
            )
        if not value and self._node is not None:
            raise GraphError(
                f"a tensor computed by {self._node.primitive.name} requires a gradient since its operands do: "
                "detach() gives its values without."
            )
        capture = capturing()
        if capture and not capture.made(self) and value is not self._requires_grad:
            capture.refuse("requires_grad of a tensor from outside is set")
        self._requires_grad = value

    @property
    def grad(self) -> Tensor | None:
        """The gradient, a tensor of the same shape and dtype, once `backward` has run; None before."""
        if captures and (capture := capturing()):
            capture.gradient_read(self)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if captures and (capture := capturing()):
            capture.gradient_set(self, value)
        self._grad = value

    @property
    def data(self) -> Array:
        """The array itself, on its device; read-only on the CPU. Assign to it, or use `assign`, to change it."""
        view = backend.read(self._data, "values are read (numpy() or data)").view()
        if isinstance(view, numpy.ndarray):
            view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: Any) -> None:
        self.assign(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """The dtype of the elements."""
        dtype: numpy.dtype[Any] = self._data.dtype
        return dtype

    @property
    def device(self) -> str:
        """Where the elements live: "cpu" or "gpu:N"."""
        return backend.device_of(self._data)

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than computed from tensors that require a gradient."""
        return self._node is None

    def numpy(self) -> NDArray[Any]:
        """The values as a NumPy array: a read-only view on the CPU, a copy from a GPU."""
        view: NDArray[Any] = backend.fetch(self.data)
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self._requires_grad:
            raise GraphError(
                f"NumPy was about to take the values of a tensor of shape {self.shape} that requires a gradient, which "
                "would be lost: use chalkgrad's own functions, or .numpy() or .detach() for its values alone."
            )
        if self.device != "cpu":
            raise DtypeError(f"a tensor on {self.device} does not become a NumPy array by itself: use .numpy().")
        return numpy.array(self.data, dtype=dtype, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where the elements live, as DLPack numbers it."""
        kind, number = self._data.__dlpack_device__()
        return int(kind), int(number)

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """The elements for another package, by DLPack: `torch.from_dlpack(t)`, `np.from_dlpack(t)`.

        They are copied, unless copy=False asks for the memory itself, which is marked read-only (PyTorch writes into
        what is marked so, and `backward` would not hear of it). Raises GraphError where a gradient is required.
        """
        if self._requires_grad:
            raise GraphError(
                f"a tensor of shape {self.shape} that requires a gradient cannot be handed on with it: give "
                "its values, .detach()."
            )
        array = self.data if copy is False else backend.read(self._data, "values are handed on (DLPack)").copy()
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device}
        return array.__dlpack__(**{name: value for name, value in options.items() if value is not None})

    __array_ufunc__ = Ufuncs()

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return apply_function(function, arguments, options)

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number; waits for the device."""
        if self.size != 1:
            raise ShapeError(f"item() takes a tensor of one element; this one has shape {self.shape}.")
        array = backend.read(self._data, "a value is read (item, float, int, bool or a comparison in an if)")
        return backend.fetch(array).item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __len__(self) -> int:
        if not self.ndim:
            raise ShapeError("a tensor without axes (shape ()) has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[row] for row in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: compare one element, or use .numpy().all()."
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            raise DtypeError(f"only an integer tensor of shape () is an index, not {self.dtype} of shape {self.shape}.")
        return int(self.item())

    def __format__(self, specification: str) -> str:
        return format(self.item() if specification else str(self), specification)

    __hash__ = object.__hash__  # `==` compares elementwise, so identity has to be asked for

    def __repr__(self) -> str:
        values = numpy.array2string(self.numpy(), separator=", ", prefix="tensor(")
        parts = [values, f"dtype={self.dtype}"]
        if self.device != "cpu":
            parts.append(f"device={self.device!r}")
        if self._node is not None:
            parts.append(f"from={self._node.primitive.name}")
        elif self.requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: shape, dtype, device and origin, the values and the gradient."""
        from .representation import tensor_html

        return tensor_html(self)

    # Gradients

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add ∂self/∂leaf to `.grad` of every leaf that self was computed from, by the chain rule in reverse.

        gradient: the incoming gradient, of the shape of self; may be left out where self is one element (then 1).
        retain_graph: keep what was saved, so that backward can be called again. Without it the graph is
            released as the pass goes.
        Raises GraphError where nothing is on the tape, where the graph was released already or where a saved value
        has been changed in place; ShapeError where `gradient` is missing or has another shape.
        """
        if not self.requires_grad:
            raise GraphError(
                f"backward() on a tensor of shape {self.shape} that does not depend on any tensor with "
                "requires_grad=True: there is nothing to differentiate."
            )
        if self._data.__class__ is numpy.ndarray:
            self._backward(gradient, retain_graph)
        else:
            with backend.working(self.device, "backward()"):
                self._backward(gradient, retain_graph)

    def _backward(self, gradient: Any, retain: bool) -> None:
        seed = self._seed(gradient)
        leaves = (
            {self: seed}
            if self._node is None
            else tape.reverse(self._node, seed, backend.namespace_of(seed), retain=retain)
        )
        if capture := capturing():
            for leaf in leaves:
                capture.lift_gradient(leaf)
        arrays = [array if leaf._grad is None else leaf._grad._data + array for leaf, array in leaves.items()]
        for leaf, array in zip(leaves, tape.own_arrays(arrays, besides=seed), strict=True):
            leaf.grad = Tensor(array)

    def _seed(self, gradient: Any) -> Array:
        if gradient is None:
            if self.size != 1:
                raise ShapeError(
                    f"backward() on a tensor of shape {self.shape} needs gradient=, the incoming gradient of that "
                    "shape; only a single number has an obvious one. For a loss, take its mean or sum first."
                )
            if self._data.__class__ is numpy.ndarray and not captures:
                return numpy.ones(self._data.shape, self._data.dtype)
            return backend.namespace_of(self._data).ones_like(self._data)
        if gradient.__class__ is Tensor and not captures and gradient._data.__class__ is numpy.ndarray:
            given, own = gradient._data, self._data
            fits = given.dtype is own.dtype and given.shape == own.shape and not gradient._requires_grad
            if fits and given.flags.c_contiguous:  # as a copy would lie
                return given  # no rule writes into it, and no leaf gets it itself
        seed = tensor(gradient, dtype=self.dtype, device=self.device)._data
        if seed.shape != self.shape:
            raise ShapeError(f"backward() on a tensor of shape {self.shape} got a gradient of shape {seed.shape}.")
        return seed

    def detach(self) -> Tensor:
        """The same values without the way back: shares memory, requires no gradient."""
        result = Tensor(lifted(self), name=self.name)
        result._version = self.version_cell()
        return result

    # Changes in place

    def assign(self, value: Any) -> Tensor:
        """Overwrite the elements in place, x ← value; returns self. Not on the tape.

        value: a tensor, array or number that broadcasts to the shape. If the reverse pass still needs the old
        elements, `backward` will notice and raise. Raises GraphError for a tensor that was computed from others, and
        for a value that requires a gradient, unless it is self's own new one, as in w.assign(w - 0.1 * w.grad).
        """
        if isinstance(value, Tensor) and value._requires_grad and self._has_made(value):
            value = value.detach()
        self[...] = value
        return self

    def assign_add(self, value: Any) -> Tensor:
        """x ← x + value, as `assign`."""
        return self.assign(self.detach() + value)

    def assign_sub(self, value: Any) -> Tensor:
        """x ← x - value, as `assign`."""
        return self.assign(self.detach() - value)

    def _has_made(self, value: Tensor) -> bool:
        """Whether no gradient goes anywhere but to this leaf from `value`."""
        if value._node is None or not self._requires_grad:
            return value is self
        return not tape.depends_on_others(value._node, {self})

    def __setitem__(self, index: Any, value: Any) -> None:
        if self._version is not None and self._version[1]:
            raise GraphError(
                f"an argument (shape {self.shape}) of a function that is being differentiated cannot be changed in "
                "place: compute a new tensor with cg.where, or change a copy (cg.tensor(x.detach()))."
            )
        if isinstance(value, (list, tuple)) and holds_tensors(value):
            value = tensor(value)
        if isinstance(value, Tensor) and value._requires_grad:
            raise GraphError(
                f"a value that requires a gradient (shape {value.shape}) cannot be written into another tensor, where "
                "the gradient would be lost: put a new tensor together with cg.stack, cg.concatenate, cg.where or "
                "cg.scatter_add, or write value.detach()."
            )
        if self._node is not None:
            raise GraphError(
                f"a tensor computed by {self._node.primitive.name} cannot be changed in place, since its gradient "
                "would then be wrong: detach() it first, or compute a new one with cg.where."
            )
        for x in (self, value, *(index if type(index) is tuple else (index,))):
            if isinstance(x, Tensor):
                lifted(x)
        source = value
        if isinstance(value, Tensor):
            source = value._data
        elif not isinstance(value, (bool, int, float)):
            source = as_array(value, "a value to assign")
            if isinstance(value, (list, tuple)):
                source = backend.send(source, self.device)
            elif source.__class__ is numpy.ndarray and not source.ndim:
                source = source[()]  # a number, which has no device
        if source.__class__ is numpy.ndarray or not hasattr(source, "dtype"):
            held(numpy.asarray(source), self.dtype, "a value to assign")
        indices = tuple(map(as_index, index if type(index) is tuple else (index,)))
        backend.common_namespace((self._data, source), "an assignment in place")
        try:
            with backend.working(self.device, "an assignment in place"):
                backend.set_items(self._data, indices, source)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            shape = source.shape if hasattr(source, "shape") else numpy.shape(source)
            raise ShapeError(
                f"cannot assign a value of shape {shape} into a tensor of shape {self.shape}: {error}"
            ) from None
        self.changed()

    def version_cell(self) -> list[int]:
        """What counts changes in place: the clock's reading at the last one, in a cell that views share.

        Beside it how many functions of which this is an argument are being differentiated: they may not change it.
        """
        if self._version is None:
            self._version = [0, 0]
        return self._version

    def changed(self) -> None:
        """Note a change in place, so that a reverse pass which needs the old elements refuses."""
        with tape.ticking:
            tape.clock[0] = now = tape.clock[0] + 1
        self.version_cell()[0] = now
        if capture := capturing():
            capture.changed.append(self.version_cell())

    # Copies

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf with memory of its own, on the same device: values, `requires_grad`, `grad` and name.

        Raises GraphError for a tensor that was computed from others, whose way back a copy cannot have.
        """
        self._check_is_leaf("copied")
        result = tensor(self.detach(), self._requires_grad, device=self.device)
        result.grad, result.name = copy.deepcopy(self.grad, memo), self.name
        return result

    def __copy__(self) -> Tensor:
        """The same: as with NumPy's arrays, a copy has memory of its own."""
        return copy.deepcopy(self)

    def __reduce__(self) -> Any:
        self._check_is_leaf("pickled")
        values = numpy.array(self.numpy(), order="C")  # of a view the elements alone
        return _restored, (values, self._requires_grad, self.name, self.device, self.grad)

    def _check_is_leaf(self, what: str) -> None:
        if self._node is not None:
            raise GraphError(
                f"a tensor computed by {self._node.primitive.name} cannot be {what}, since its gradient would be "
                "lost: detach() it first."
            )

    # Where it lives

    def move_to(self, memory: Array) -> None:
        """Keep the elements in `memory`, which has them already, from now on."""
        capture = capturing()
        self._data = capture.moved(self, memory) if capture else memory

    def to(self, device: str) -> Tensor:
        """The tensor on another device ("cpu", "gpu", "gpu:1", "auto"); a leaf there, itself if already there.

        Raises DeviceError where that device cannot be used, GraphError for a tensor that was computed from others.
        """
        if backend.resolve_device(device) == self.device:
            return self
        if self._node is not None:
            raise GraphError(
                f"a tensor computed by {self._node.primitive.name} cannot go to {device!r} with its gradient: move "
                "what it is computed from, or detach() it first."
            )
        return Tensor(backend.to_device(self._data, device), requires_grad=self.requires_grad, name=self.name)


def lifted(x: Tensor) -> Array:
    """The array of a tensor that takes part in what is computed; a capture hears of it."""
    if captures and (capture := capturing()):
        return capture.lift(x)
    return x._data if x._data.__class__ is numpy.ndarray else backend.plain(x._data)


def _restored(values: Any, requires_grad: bool, name: str | None, device: str, grad: Tensor | None) -> Tensor:
    """What was pickled. Raises DeviceError where its device is not there."""
    result = Tensor(backend.to_device(values, device), requires_grad, name)
    result.grad = grad
    return result


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None, device: str = "cpu") -> Tensor:
    """Make a tensor by copying `data`: a number, nested lists, another tensor, or an array of NumPy, CuPy, pandas,
    PyTorch, JAX or whatever else speaks NumPy's protocol or DLPack.

    dtype: by default that of an array or tensor; Python floats become float32, the engine's default for models.
    Of tensors that require a gradient, also in lists, it goes on the tape as a copy, so that the gradient reaches them.
    Raises DtypeError for what holds no real numbers (objects, text, dates, complex numbers, sparse arrays), or when a
    gradient is asked of integers; DataError for ragged lists, masked arrays, missing values and numbers that the
    dtype does not hold (1e39 in float32); GraphError where requires_grad asks for a leaf, made of tensors that require
    a gradient.
    """
    stacked = isinstance(data, (list, tuple)) and holds_tensors(data)
    if stacked:
        data = joined(data)
    if isinstance(data, Tensor):
        if data._requires_grad:
            _refuse_leaf(data, requires_grad)
            kept = stacked and dtype in (None, data.dtype)
            return (data if kept else data.astype(data.dtype if dtype is None else dtype)).to(device)
        array = lifted(data)
    else:
        array = as_array(data, "the data of a tensor")
        python = isinstance(data, (bool, int, float, list, tuple)) and not isinstance(data, numpy.generic)
        nested = isinstance(data, (list, tuple)) and any(hasattr(item, "dtype") for item in data)
        if dtype is None and python and not nested and array.dtype == numpy.float64:
            dtype = numpy.float32
    with backend.working(backend.device_of(array), f"a tensor of shape {array.shape}"):
        array = backend.namespace_of(array).array(array)
    if dtype is not None:
        array = held(array, numeric_dtype(dtype), "the data of a tensor")
    return Tensor(backend.to_device(array, device), requires_grad=requires_grad)


def _refuse_leaf(x: Tensor, leaf: bool) -> None:
    """Raise GraphError where a leaf is to be made of a tensor that requires a gradient."""
    if leaf:
        raise GraphError(
            f"requires_grad=True asks for a leaf, and this would be made of a tensor that requires a gradient (shape "
            f"{x.shape}), which would not hear of it: detach() that for a new leaf, or leave requires_grad out."
        )
