"""The tape: nodes, and the reverse pass over them.

The reverse pass is iterative and counts dependants (Griewank & Walther 2008, Evaluating Derivatives,
section 3.2): a node's rule runs once, when the gradients of all that use it have arrived. So a value used
twice is right, and a chain of a million nodes needs no recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import GraphError

if TYPE_CHECKING:
    from .primitive import Primitive
    from .tensor import Tensor

Gradient: TypeAlias = Any
"""An array of the tensor's device or, where the reverse pass itself is recorded, a Tensor."""


class Node:
    """One recorded application of a primitive.

    parents: for each operand its Node, or the leaf Tensor itself, or None where no gradient flows.
    saved: what the rules will see; dropped, and None, once the rules have run.
    versions: for each saved tensor its version cell and the version that was saved.
    """

    __slots__ = ("dtype", "parameters", "parents", "primitive", "saved", "shape", "versions")

    def __init__(
        self,
        primitive: Primitive,
        parents: tuple[Node | Tensor | None, ...],
        saved: tuple[Any, ...],
        versions: tuple[Any, ...],
        parameters: Mapping[str, Any],
        shape: tuple[int, ...],
        dtype: Any,
    ) -> None:
        self.primitive = primitive
        self.parents = parents
        self.saved: tuple[Any, ...] | None = saved
        self.versions = versions
        self.parameters = parameters
        self.shape = shape
        self.dtype = dtype

    def release(self) -> None:
        """Drop what the node saved and the way to its parents."""
        self.saved, self.parents, self.versions = None, (), ()


def reverse(
    root: Node, gradient: Gradient, *, wanted: set[Any] | None = None, retain: bool = False, recorded: bool = False
) -> dict[Any, Gradient]:
    """Send `gradient` from `root` back through the graph; returns the gradient of each leaf it reaches.

    wanted: the leaves, or the nodes, whose gradients are asked for. The pass stops there, and a path that leads
        to none of them costs nothing. None means every leaf.
    retain: keep what the nodes saved, so that the graph can be walked again.
    recorded: record the pass itself (gradients are Tensors), for a derivative of the derivative.
    Raises GraphError where the graph was walked and released before, or a saved value was changed in place.
    """
    stops = wanted or set()
    if root in stops:
        return {root: gradient}
    pending = _count_dependants(root, stops)
    useful = _leading_to(stops, root, pending) if wanted is not None else None
    arrived: dict[Any, Gradient] = {root: gradient}
    found: dict[Any, Gradient] = {}
    ready = [root]
    while ready:
        node = ready.pop()
        gradient = arrived.pop(node)
        primitive, parents = node.primitive, node.parents
        for position, parent in enumerate(parents):
            if parent is None or (useful is not None and parent not in useful):
                continue
            incoming = primitive.pull(node, position, gradient, recorded)
            if parent.__class__ is not Node or parent in stops:
                found[parent] = found[parent] + incoming if parent in found else incoming
                continue
            arrived[parent] = arrived[parent] + incoming if parent in arrived else incoming
            pending[parent] -= 1
            if not pending[parent]:
                del pending[parent]
                ready.append(parent)
        if not retain:
            node.release()
    return found


def _count_dependants(root: Node, stops: set[Any]) -> dict[Node, int]:
    """How many times each node below `root` is used, as far as the `stops`."""
    pending: dict[Node, int] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.saved is None:
            raise GraphError(
                f"the graph behind {node.primitive.name} was walked before and what it saved is released: "
                "call backward(retain_graph=True) the first time, or compute the value again."
            )
        for parent in node.parents:
            if parent.__class__ is Node and parent not in stops:
                if parent in pending:
                    pending[parent] += 1
                else:
                    pending[parent] = 1
                    stack.append(parent)
    return pending


def _leading_to(wanted: set[Any], root: Node, nodes: Iterable[Node]) -> set[Any]:
    """What lies between `root` and a wanted leaf: found from the leaves' side."""
    users: dict[Any, list[Node]] = {}
    for node in (root, *nodes):
        for parent in node.parents:
            if parent is not None:
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
            elif parent is not None:
                return True
    return False
