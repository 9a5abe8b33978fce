"""Derivatives of an explained computation by numbers: its steps are taken again with a value changed a little."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..engine.tensor import Tensor
from ..engine.watching import Application
from ..proof.numerics import Differences, extrapolated
from .explanation import Numerical, Quantity

MANY = 64
"""Up to so many elements of a quantity all derivatives are taken; of more, those of the `FEW` largest gradients."""
FEW = 6
TOGETHER = 600
"""Elements of all quantities together, above which each has no more than FEW."""
MOST = 1_000_000
"""The same, above which each has no more than one: every derivative takes the steps again some thirty times."""


class Again:
    """The steps once more, by the primitives' own kernels in float64, from one changed value on."""

    def __init__(self, applications: Sequence[Application]) -> None:
        self.applications = applications
        self.values: dict[int, Any] = {}
        for application in applications:
            for x in (*application.operands, application.result):
                if isinstance(x, Tensor):
                    self.values[id(x)] = _exact(x.numpy())
        for application in applications:  # float32 results are taken anew in float64
            self.values[id(application.result)] = self._apply(application, self.values)

    def _apply(self, application: Application, values: dict[int, Any]) -> Any:
        operands = [
            values[id(x)] if isinstance(x, Tensor) else numpy.asarray(x) if isinstance(x, (list, tuple)) else x
            for x in application.operands
        ]
        parameters = dict(application.parameters)
        if parameters.get("dtype") is not None and numpy.dtype(parameters["dtype"]).kind == "f":
            parameters["dtype"] = "float64"
        return numpy.asarray(application.primitive.kernel(numpy, *map(_exact, operands), **parameters))

    def of(self, tensor: Tensor) -> Callable[[Any], Any]:
        """The last result as a function of the tensor's value: what depends on it is computed again."""
        changed, following = {id(tensor)}, []
        for application in self.applications:
            if any(id(x) in changed for x in application.operands):
                changed.add(id(application.result))
                following.append(application)

        def loss(value: Any) -> Any:
            values = self.values | {id(tensor): value}
            for application in following:
                values[id(application.result)] = self._apply(application, values)
            return values[id(self.applications[-1].result)]

        return loss


def differentiate(
    applications: Sequence[Application],
    tensors: Sequence[tuple[Quantity, Tensor]],
    calls: Mapping[int, Callable[[Any], Any]],
) -> None:
    """Fill in `numerical` of each quantity that has a gradient.

    calls: by the id of a function's argument the function itself, of that argument alone: it is called anew.
    """
    if not applications:
        return
    with numpy.errstate(all="ignore"):
        again = Again(applications)
        wanted = [(q, t) for q, t in tensors if q.gradient is not None and numpy.isfinite(q.value).all()]
        together = sum(q.value.size for q, _ in wanted)
        count = 1 if together > MOST else FEW
        for quantity, tensor in wanted:
            loss = calls.get(id(tensor)) or again.of(tensor)
            gradient = numpy.nan_to_num(numpy.abs(quantity.gradient)).reshape(-1)  # type: ignore[arg-type]
            places = range(gradient.size)
            if together > TOGETHER or gradient.size > MANY:
                places = sorted(map(int, numpy.argsort(-gradient, kind="stable")[:count]))  # type: ignore[assignment]
            for place in places:
                quantity.numerical[place] = _derivative(loss, again.values[id(tensor)], place)


def _derivative(loss: Callable[[Any], Any], here: Any, place: int) -> Numerical:
    def value(h: float) -> Any:
        moved = here.copy()
        moved.reshape(-1)[place] += h
        return numpy.asarray(loss(moved), dtype="float64").reshape(1)

    differences = Differences(value, numpy.ones(1))
    found = extrapolated(differences)
    kink = differences.kink
    return Numerical(found.value, found.error, kink > 1e-6 * max(1.0, abs(found.value)))


def _exact(x: Any) -> Any:
    return x.astype("float64", copy=False) if isinstance(x, numpy.ndarray) and x.dtype.kind == "f" else x
