"""The work whose text is the same for all engines that differentiate a function: chain, tree, loss and attention.

An engine gives what takes a gradient in it, and its loss; the loops stand in `problems`, with plain operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from ..problems import (
    AttentionProblem,
    ChainProblem,
    CrossEntropyProblem,
    TreeProblem,
    Values,
    end_of_chain,
    root_of,
    sums,
)
from ..stand import Stand, serve

Run = Callable[[], tuple[Any, Sequence[Any]]]
"""What is timed: a value, and the gradient of its sum for each argument."""


def differentiated(
    gradient: Callable[[Callable[..., Any], Sequence[Values], str], Run],
    loss: Callable[[CrossEntropyProblem], Callable[[Any], Any]],
    *,
    constant: Callable[[Values], Any] = numpy.asarray,
    plain: Callable[[Any], Values] = numpy.asarray,
    links: Callable[[str], Callable[..., Any]] = lambda variant: end_of_chain,
    stacked: bool = False,
    attention: Callable[[Any, Any, Any], Any] | None = None,
) -> Mapping[str, Callable[..., None]]:
    """The adapters of an engine.

    gradient: of a function of its arrays and their first values, for a variant. loss: of logits, with the labels of a
    problem. constant, plain: to an array of the engine, and back. links: the chain for a variant, where it is not the
    loop as it stands. stacked: whether the leaves of a tree are best given as one array.
    attention: the causal one of q, k and v, where the engine has it.
    """

    def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
        end, c, count = links(variant), constant(problem.c), problem.task.links
        run = gradient(lambda y, x: end(y, x, c, count), (problem.y, problem.x), variant)

        def repeat(number: int) -> Any:
            y, (gy, gx) = run()
            return lambda: sums(*map(plain, (y, gx, gy)))

        serve(stand, repeat)

    def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
        count = range(len(problem.leaves))
        if stacked:
            run = gradient(lambda leaves: root_of([leaves[i] for i in count]), (problem.leaves,), variant)
        else:
            run = gradient(lambda *leaves: root_of(leaves), list(problem.leaves), variant)

        def repeat(number: int) -> Any:
            root, gradients = run()
            return lambda: sums(plain(root), [plain(g) for g in gradients])

        serve(stand, repeat)

    def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
        run = gradient(loss(problem), (problem.logits,), variant)

        def repeat(number: int) -> Any:
            value, (g,) = run()
            return lambda: (float(plain(value)), sums(0.0, plain(g))[1])

        serve(stand, repeat)

    def attend(problem: AttentionProblem, stand: Stand, variant: str) -> None:
        assert attention is not None
        run = gradient(attention, (problem.q, problem.k, problem.v), variant)

        def repeat(number: int) -> Any:
            y, gradients = run()
            return lambda: sums(0.0, *map(plain, (y, *gradients)))[1:]

        serve(stand, repeat)

    return {
        "chain": chain,
        "tree": tree,
        "cross-entropy": cross_entropy,
        **({"attention": attend} if attention else {}),
    }
