"""What was computed: one step of a model, or one call of a function, watched, as an explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..engine import backend, random
from ..engine.tensor import Tensor, tensor
from ..engine.watching import Application, Watching
from ..equation.functions import on_arrays
from ..equation.symbols import gradient_of, symbol_of
from ..errors import GraphError, UsageError
from ..nn import graph
from ..nn.graph import listed
from ..nn.measuring import in_dtype, outputs_and_loss
from ..nn.model import Model
from ..nn.nested import everything_in
from ..nn.samples import Samples
from ..optim import Optimizer, make_optimizer
from .explanation import Assignment, Explanation, Quantity, Return, Revision, Step
from .naming import Named, Names, Variables, name_function, name_model
from .numerical import differentiate

NUMERICAL_STEPS = 400
"""Steps of a computation, above which no derivatives are taken by numbers."""


def step_of_model(
    model: Model,
    inputs: Sequence[Any],
    optimizer: str | Optimizer | None = None,
    title: str | None = None,
    numerical: bool = True,
    seed: int = 0,
) -> Explanation:
    """One training step of a compiled model on a batch and its targets; nothing of the model is changed.

    Raises UsageError for a model that is not compiled or not on the CPU, and for wrong inputs.
    """
    if len(inputs) != 2:
        raise UsageError(f"explain(model, x, y) takes a batch and its targets; it got {len(inputs)} of the two.")
    if model.loss is None:
        raise UsageError("explain before compile: call model.compile(optimizer=…, loss=…) first.")
    if model.device != "cpu":
        raise UsageError(f"explain reads every value: move the model from {model.device} to the CPU, or load it there.")
    x, y = _batch(model, *inputs)
    weights = model.trainable_weights
    kept = [w.grad for w in weights]
    written = [(type(each), name) for each in (model, *everything_in(model)) for name in ("apply", "call")]
    code = [getattr(kind, name) for kind, name in written if hasattr(kind, name)]
    code = [f for f in (*code, *(getattr(part, "function", None) for part in model.parts)) if _is_own(f)]
    state = [(s, s._data.copy()) for s in model.non_trainable_weights]
    try:
        with numpy.errstate(all="ignore"), Watching() as seen:
            for w in weights:
                w.grad = None
            draws = random.generator(seed, "explain")
            variables = Variables(code, seen.applications)
            with variables:
                outputs, loss = outputs_and_loss(model, x, y, training=True, generator=draws)
            applications = _leading_to(seen.applications, loss)
            prediction = None if model.loss.from_logits or isinstance(outputs, list) else outputs
            if model.fuses_loss and not isinstance(outputs, list):  # the loss has no need of ŷ, a reader has
                prediction = model.last_layers[-1].function(outputs)
                applications.insert(-1, seen.applications[-1])
            loss.backward()
        given = name_model(model, x, y, applications, prediction, variables)
        made = _assemble(seen, applications, given, loss, {id(w): w.grad for w in (*weights, *listed(x))}, {})
    finally:
        for w, gradient in zip(weights, kept, strict=True):
            w.grad = gradient
        for tensor_, values in state:  # batch normalisation has moved its means
            tensor_._data[...] = values
    chosen = make_optimizer(optimizer) if optimizer is not None else model.optimizer
    return _finished(
        made, applications, given, title or model.name, "model", chosen, [(w, given.of(w)) for w in weights], numerical,
        {},
    )  # fmt: skip


def _batch(model: Model, x: Any, y: Any) -> tuple[Any, Any]:
    """Samples and targets as the model takes them, the samples asking for gradients where they are no whole numbers."""
    assert model.loss is not None
    if len(model.inputs_at) > 1 or len(model.outputs_at) > 1:
        model.build()
        given, targets = model._samples(x, y, model.loss, "").batch
        taken = in_dtype(model, graph.mapped(Tensor, given))
    else:
        samples = Samples(x, y, model.dtype, model.device, deciding=model.deciding_layer)
        model.check_input(samples.x.shape)
        samples.prepare_targets(model.loss, model.output_shapes(samples.x.shape[1:])[0])
        model.build(samples.x.shape[1:])
        targets, taken = samples.y, in_dtype(model, Tensor(samples.x))
    asking = graph.mapped(lambda t: Tensor(t._data, requires_grad=t.dtype.kind == "f"), taken)
    return asking, graph.mapped(Tensor, targets)


def _is_own(function: Any) -> bool:
    """Whether a function is the user's own."""
    return not getattr(function, "__module__", "chalkgrad.").startswith("chalkgrad.")


def call_of_function(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    optimizer: str | Optimizer | None = None,
    called: Mapping[str, str] | None = None,
    title: str | None = None,
    numerical: bool = True,
) -> Explanation:
    """One call of a function whose result is a single number. called: other names for its quantities.

    Raises UsageError where the result is no single number, GraphError where it has no gradients.
    """
    name = getattr(function, "__name__", type(function).__name__)
    arguments = [_argument(x) for x in inputs]
    with numpy.errstate(all="ignore"), Watching() as seen:
        variables = Variables([function], seen.applications)
        with variables:
            result = function(*arguments)
        if not isinstance(result, Tensor) or result.size != 1:
            found = f"a tensor of shape {result.shape}" if isinstance(result, Tensor) else type(result).__name__
            raise UsageError(
                f"{name} returned {found}: explain takes a function whose result is a tensor of one number. "
                "Take its mean or its sum."
            )
        if not result.requires_grad:
            raise GraphError(
                f"{name} has no gradients: its result does not depend on any of its {len(arguments)} arguments by "
                "operations that have gradient rules. Give it floating-point arguments, and use cg's functions on "
                "tensors (not NumPy's, not .numpy() or .item())."
            )
        applications = _leading_to(seen.applications, result)
        result.backward()
    given = name_function(function, arguments, applications, variables)
    leaves = {id(x): x.grad for x in arguments if isinstance(x, Tensor)}
    made = _assemble(seen, applications, given, result, leaves, called or {})
    weights = [(x, given.of(x)) for x in arguments if isinstance(x, Tensor) and x.requires_grad]
    chosen = make_optimizer(optimizer) if optimizer is not None else None
    calls = {id(x): _alone(function, arguments, i) for i, x in enumerate(arguments) if isinstance(x, Tensor)}
    return _finished(made, applications, given, title or name, "function", chosen, weights, numerical, calls)


def _alone(function: Callable[..., Any], arguments: Sequence[Any], position: int) -> Callable[[Any], Any]:
    """The function of one argument, in float64, the others held fixed."""

    def call(value: Any) -> Any:
        exact = [x.numpy().astype("float64") if x.dtype.kind == "f" else x.numpy() for x in arguments]
        exact[position] = value
        return function(*map(Tensor, exact)).numpy()

    return call


def _argument(x: Any) -> Any:
    made = tensor(x)
    return Tensor(made._data, requires_grad=made.dtype.kind == "f", name=getattr(x, "name", None))


def _leading_to(applications: Sequence[Application], result: Tensor) -> list[Application]:
    """The applications that the result was computed by: not those of a metric, say."""
    needed, found = {id(result)}, []
    for application in reversed(applications):
        if id(application.result) in needed:
            needed |= {id(x) for x in application.operands}
            found.append(application)
    return found[::-1]


class _Made:
    """Quantities by tensor, and the steps."""

    def __init__(self) -> None:
        self.quantities: dict[int, tuple[Quantity, Tensor]] = {}
        self.forward: list[Step] = []
        self.backward: list[Return] = []


def _assemble(
    seen: Watching,
    applications: Sequence[Application],
    names: Names,
    loss: Tensor,
    leaves: Mapping[int, Tensor | None],
    called: Mapping[str, str],
) -> _Made:
    made = _Made()
    arrived = {id(s.application.result): s.gy for s in seen.sent}
    arrived |= {key: g._data for key, g in leaves.items() if g is not None}
    arrived[id(loss)] = numpy.ones_like(loss._data)

    def quantity(value: Any) -> Quantity:
        x = value if isinstance(value, Tensor) else Tensor(numpy.asarray(value))
        if id(x) not in made.quantities:
            name = names.of(x) or names.give(x, names.variables.of_constant(value), "constant")
            made.quantities[id(x)] = (_quantity(x, name, arrived.get(id(x)), called), x)
        return made.quantities[id(x)][0]

    steps: dict[int, Step] = {}
    for application in applications:
        operands = tuple(
            quantity(x)
            if isinstance(x, (Tensor, numpy.ndarray, list, tuple)) else x
            for x in application.operands
        )  # fmt: skip
        step = Step(len(made.forward) + 1, application, operands, quantity(application.result))
        made.forward.append(step)
        steps[application.number] = step
    counts: dict[int, int] = {}
    for s in seen.sent:
        counts[id(s.operand)] = counts.get(id(s.operand), 0) + 1
    totals: dict[int, Any] = {}
    turns: dict[int, int] = {}
    for s in seen.sent:
        key = id(s.operand)
        turns[key] = turns.get(key, 0) + 1
        totals[key] = s.gx if key not in totals else totals[key] + s.gx
        turn, operand = (turns[key], counts[key]), quantity(s.operand)
        operand.terms = max(operand.terms, float(numpy.nan_to_num(numpy.abs(s.gy), posinf=0).max(initial=0)))
        made.backward.append(
            Return(len(made.backward) + 1, steps[s.application.number], s, operand, *turn, totals[key] + 0)
        )
    return made


def _quantity(x: Tensor, name: Named, gradient: Any, called: Mapping[str, str]) -> Quantity:
    value = x.numpy().copy()
    array = None if gradient is None else numpy.array(backend.fetch(gradient))
    place: tuple[int, ...] = ()
    if value.ndim and value.size:
        largest = numpy.abs(array) if array is not None and numpy.isfinite(array).all() else numpy.zeros(value.shape)
        place = tuple(map(int, numpy.unravel_index(int(numpy.argmax(largest)), value.shape)))
    return Quantity(
        name.id, symbol_of(called.get(name.id, name.id), name.layered), name.role, value, array, {}, name.layer, place,
    )  # fmt: skip


def _finished(
    made: _Made,
    applications: Sequence[Application],
    names: Names,
    title: str,
    kind: str,
    optimizer: Optimizer | None,
    weights: Sequence[tuple[Tensor, Named | None]],
    numerical: bool,
    calls: Mapping[int, Callable[[Any], Any]],
) -> Explanation:
    pairs = list(made.quantities.values())
    if numerical and len(applications) <= NUMERICAL_STEPS:
        differentiate(applications, pairs, calls)
    chosen = [(made.quantities[id(w)][0], w) for w, _ in weights if id(w) in made.quantities]
    update, numbers = _update(optimizer, chosen) if optimizer else ((), "")
    return Explanation(
        title, kind, tuple(q for q, _ in pairs), tuple(made.forward), tuple(made.backward), update,
        type(optimizer).__name__ if optimizer else "", numbers,
        not_finite=_first_not_finite(made),
    )  # fmt: skip


def _first_not_finite(made: _Made) -> tuple[Quantity, tuple[int, ...]] | None:
    """The first quantity that is not finite, in the order of the computation, and where."""
    in_order = [q for step in made.forward for q in (*step.operands, step.result) if isinstance(q, Quantity)]
    for quantity in in_order:
        if quantity.value.dtype.kind == "f" and not numpy.isfinite(quantity.value).all():
            return quantity, tuple(map(int, numpy.argwhere(~numpy.isfinite(quantity.value))[0]))
    return None


def _update(optimizer: Optimizer, weights: Sequence[tuple[Quantity, Tensor]]) -> tuple[tuple[Revision, ...], str]:
    """What the optimiser's next update does to each weight, computed on copies by its own kernel."""
    update, values = optimizer.update, optimizer.hyperparameters
    numbers: dict[str, Any] = {
        **values, "learning_rate": optimizer.learning_rate, "t": optimizer.updates + 1,
    }  # fmt: skip
    kept = {slot: optimizer.state[slot] for slot in update.slots if slot in optimizer.state}
    at, revisions = 0, []
    for quantity, _ in weights:
        size = quantity.value.size
        theta = quantity.value.reshape(-1).copy()
        g = numpy.zeros_like(theta) if quantity.gradient is None else quantity.gradient.reshape(-1).copy()
        state = {
            slot: backend.fetch(kept[slot])[at : at + size].copy() if slot in kept else numpy.zeros_like(theta)
            for slot in update.slots
        }
        before = {"theta": theta.copy(), "g": g.copy(), **{slot: s.copy() for slot, s in state.items()}}
        update(numpy, theta, g.copy(), numpy.empty_like(theta), state, **numbers)
        after = {"theta": theta, **state}
        revisions.append(_revision(quantity, update, numbers, before, after))
        at += size
    shown = {name: numbers[name] for name in ("learning_rate", *values) if name in update.hyperparameters}
    text = ", ".join(f"{symbol_of(name)} = {value:g}" for name, value in shown.items())
    return tuple(revisions), text


def _revision(
    quantity: Quantity, update: Any, numbers: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Revision:
    shape = quantity.shape
    names = {"theta": quantity.symbol, "g": gradient_of(quantity.symbol)}
    arrays = {name: a.reshape(shape) for name, a in before.items()}
    ids = {"theta": quantity.id, "g": f"∇{quantity.id}", **{slot: f"{slot}({quantity.id})" for slot in update.slots}}
    ids |= {name: name for name in numbers}
    made = []
    for equation in update.statements:
        target, kept = equation.target, update.keeps(equation.target)
        values = {**numbers, **arrays}
        result = after[target].reshape(shape) if kept else equation.evaluate(on_arrays(numpy), values)[target]
        made.append(Assignment(equation, names, values, ids, target, result, kept))
        ids = {**ids, target: ids.get(target, f"{target}({quantity.id})")}
        arrays = {**arrays, target: result}
    return Revision(quantity, tuple(made), after["theta"].reshape(shape))
