"""Where a training ceases to be finite: the operation at fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..engine import backend
from ..engine.tensor import Tensor
from ..engine.watching import Application, Watching
from .graph import listed
from .measuring import losses_of
from .state import changing, is_finite

if TYPE_CHECKING:
    from .trained import Trained


def first_changed(model: Trained, names: Sequence[str]) -> str:
    """Which of these, of `changing`, is not finite after a step, and of which weight."""
    now = changing(model)
    name = next((name for name in names if not is_finite(now[name])), "")
    kind, _, own = name.partition("/")
    told = {"optimizer": f"the optimizer's {own!r}", "layers": f"the state {own!r}"}.get(kind, f"the {kind}")
    if name and now[name].shape == model.flat.data.shape:
        parts = zip(model.flat.tensors, model.flat.split(now[name]), strict=True)
        told += next(f" of {w.name!r}" for w, part in parts if not is_finite(part))
    return told if name else ""


def first_fault(model: Trained, x: Any, y: Any, generator: numpy.random.Generator) -> str:
    """In a step from the model as it is: the first operation whose result is not finite, and its layer; "" for none.

    Forward, it is looked for from the loss back, so that an infinity that is masked on purpose is not blamed.
    """
    for layer in model.parts:
        for name, w in layer.variables.items():
            if not is_finite(w._data):
                return f"the weight {name!r} of the layer {layer.name!r} is not finite to begin with"
    if not all(is_finite(each._data) for each in listed(x)):
        return "the batch of samples is not finite to begin with"
    ends: list[tuple[int, str]] = []
    assert model.loss is not None
    try:
        with numpy.errstate(all="ignore"), Watching() as seen:
            masks: list[Any] = []
            outputs = model.run(
                listed(x), [layer.weights for layer in model.parts], training=True, generator=generator,
                logits=model.fused, masks=masks,
                told=lambda layer: ends.append((len(seen.applications), f"the layer {layer.name!r}")),
            )  # fmt: skip
            loss = losses_of(model, outputs if len(outputs) > 1 else outputs[0], y, False, masks)[0]
            ends.append((len(seen.applications), f"the loss {model.loss.name!r}"))
            if not is_finite(loss._data):
                found = _origin(seen.applications, loss)
                where = _place(ends, found.number) if found else ends[-1][1]
                if not found:
                    return f"the forward pass gave {_kind(loss._data)} in {where}"
                return f"the forward pass: {found.primitive.name} in {where} gave {_kind(found.result._data)}"
            if loss.requires_grad:
                loss.backward()
    finally:
        model.forget_gradients()
    for sent in seen.sent:
        if not is_finite(sent.gx):
            operation = sent.application
            return (
                f"the reverse pass: the gradient of {operation.primitive.name} in {_place(ends, operation.number)} "
                f"is {_kind(sent.gx)}"
            )
    return ""


def _origin(applications: Sequence[Application], loss: Tensor) -> Application | None:
    """The application behind the loss that first gave what is not finite; NaN is followed before infinity."""
    made = {id(application.result): application for application in applications}
    found, at = None, made.get(id(loss))
    while at:
        found = at
        at = min(_not_finite(at, made), key=lambda each: _kind(each.result._data) != "NaN", default=None)
    return found


def _not_finite(application: Application, made: dict[int, Application]) -> Iterator[Application]:
    for operand in application.operands:
        if id(operand) in made and not is_finite(operand._data):
            yield made[id(operand)]


def _place(ends: Sequence[tuple[int, str]], number: int) -> str:
    return next((name for end, name in ends if number < end), ends[-1][1])


def _kind(array: Any) -> str:
    """What is not finite in it."""
    return "NaN" if backend.fetch(backend.namespace_of(array).isnan(array).any()) else "an infinite value"
