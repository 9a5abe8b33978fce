"""The tape: nodes, and the reverse pass over them.

The reverse pass is iterative and counts uses (Griewank & Walther 2008, Evaluating Derivatives, section 3.2): a
node's rule runs once, when the gradients of all that use it have arrived. So a value used twice is right, and a
chain of a million nodes needs no recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy import add, asarray, ndarray

from ..errors import ChalkgradError, GraphError
from . import backend, forked

if TYPE_CHECKING:
    from .primitive import Primitive
    from .taping import Plan
    from .tensor import Tensor

Gradient: TypeAlias = Any
"""An array of the tensor's device or, where the reverse pass itself is on the tape, a Tensor."""

clock = [0]
"""Counts the changes in place of any tensor: a node whose stamp is the present count need not look further."""
ticking = forked.lock()
"""Held by who sets the clock, so that no count is given twice, and none goes back."""


class Node:
    """One application of a primitive. Who makes one fills it in, which is faster than a constructor.

    plan: the primitive, and which of its operands get a gradient by which rules.
    parents: for each of those operands its Node, or the leaf Tensor itself.
    saved: what the rules will see; dropped, and None, once they have run.
    cell: the version cell of the result, where the result is saved.
    stamp: the clock when it was made; a saved tensor whose version is later was changed in place since.
    """

    __slots__ = ("cell", "dtype", "parameters", "parents", "plan", "saved", "shape", "stamp")

    plan: Plan
    parents: tuple[Node | Tensor, ...]
    saved: tuple[Any, ...] | None
    cell: list[int] | None
    stamp: int
    parameters: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: Any

    @property
    def primitive(self) -> Primitive:
        """What was applied."""
        return self.plan.primitive

    def release(self) -> None:
        """Drop what the node saved and the way to its parents."""
        self.saved, self.parents, self.cell = None, (), None


def reverse(
    root: Node,
    gradient: Gradient,
    xp: Any,
    *,
    wanted: set[Any] | None = None,
    retain: bool = False,
    taped: bool = False,
) -> dict[Any, Gradient]:
    """Send `gradient` from `root` back through the graph; returns the gradient of each leaf it reaches.

    xp: what the rules compute with: the library of the arrays, or the namespace of primitives.
    wanted: the leaves, or the nodes, whose gradients are asked for. The pass stops there, and a path that leads
        to none of them costs nothing. None means every leaf.
    retain: keep what the nodes saved, so that the graph can be walked again.
    taped: note the pass itself, too (gradients are Tensors), for a derivative of the derivative.
    Raises GraphError where the graph was walked and released before, or a saved value was changed in place.
    """
    stops = wanted or set()
    if root in stops:
        return {root: gradient}
    nodes, uses = _count_uses(root, stops)
    useful = _leading_to(stops, nodes) if wanted is not None else None
    del nodes
    arrived: dict[Any, Gradient] = {}  # of what is used more than once, as far as it has come
    found: dict[Any, Gradient] = {}
    own: dict[Any, Gradient] = {}  # of these sums that are arrays of this pass, and may be added to in place
    ready = [(root, gradient)]
    pop, push = ready.pop, ready.append
    try:
        while ready:
            node, gy = pop()
            plan = node.plan
            if node.stamp != clock[0]:
                plan.check_unchanged(node)
            send = None if taped else plan.send
            if send is None or (useful is not None and not useful.issuperset(node.parents)):
                pairs: Iterable[tuple[Any, Gradient]] = plan.each(xp, node, gy, useful, taped)
            else:
                pairs = send(xp, node, gy)
            for pair in pairs:
                parent, gx = pair
                if parent.__class__ is not Node or (stops and parent in stops):
                    total = own.get(parent)
                    if total is not None:
                        add(total, gx, total)
                    elif parent in found:
                        found[parent] = total = found[parent] + gx
                        if gx.__class__ is ndarray:
                            own[parent] = found[parent] = asarray(total)  # where it has no axes a sum is a number
                    else:
                        found[parent] = gx
                elif parent in uses:
                    arrived[parent] = arrived[parent] + gx if parent in arrived else gx
                    uses[parent] -= 1
                    if not uses[parent]:
                        push((parent, arrived.pop(parent)))
                else:
                    push(pair)
            if not retain:
                node.saved, node.parents, node.cell = None, (), None
    except ChalkgradError:
        raise
    except backend.REFUSED as error:
        refused = plan.refusal(xp, node, gy, taped, error)
        if refused is None:
            raise
        raise refused from error
    return found


def _count_uses(root: Node, stops: set[Any]) -> tuple[set[Node], dict[Any, int]]:
    """The nodes from `root` as far as the `stops`, and of those that are used more than once, how many times."""
    seen, stack = {root}, [root]
    uses: dict[Any, int] = {}
    while stack:
        node = stack.pop()
        if node.saved is None:
            raise GraphError(
                f"the graph behind {node.primitive.name} was walked before and what it saved is released: "
                "call backward(retain_graph=True) the first time, or compute the value again."
            )
        for parent in node.parents:
            if parent.__class__ is Node:
                if parent not in seen:
                    if parent not in stops:
                        seen.add(parent)
                        stack.append(parent)
                else:
                    uses[parent] = uses.get(parent, 1) + 1
    return seen, uses


def _leading_to(wanted: set[Any], nodes: Iterable[Node]) -> set[Any]:
    """Those of the nodes that lie above a wanted leaf, and the leaves: found from the leaves' side."""
    users: dict[Any, list[Node]] = {}
    for node in nodes:
        for parent in node.parents:
            users.setdefault(parent, []).append(node)
    useful: set[Any] = set()
    stack = [leaf for leaf in wanted if leaf in users]
    while stack:
        node = stack.pop()
        if node not in useful:
            useful.add(node)
            stack.extend(users.get(node, ()))
    return useful


def depends_on_others(root: Node, mine: set[Any]) -> bool:
    """Whether a leaf that is not one of `mine`, or what lies behind one of mine, has a part in `root`."""
    seen, stack = {root}, [root]
    while stack:
        for parent in stack.pop().parents:
            if parent in mine:
                if parent.__class__ is Node:
                    return True
            elif parent.__class__ is Node:
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
            else:
                return True
    return False


def own_arrays(arrays: list[Any], besides: Any = None) -> list[Any]:
    """The arrays, each with memory of its own, so that changing one in place is not seen through another.

    A rule may hand on the incoming gradient itself or a view of it; those are copied. None stays None.
    """
    seen = {id(besides)}
    owned = []
    for array in arrays:
        if array is not None:
            if array.__class__ is not ndarray:
                array = backend.namespace_of(array).asarray(array)
            if array.base is not None or id(array) in seen:
                array = array.copy()
            seen.add(id(array))
        owned.append(array)
    return owned
