"""A pass for a GPU: where the greatest of windows is, is kept for the reverse pass, and a convolution tells it as well.

    y = max_pool(x); v = max_unpool(g, x, y)    becomes    y, places = max_pool(x); v = max_unpool(g, places)
    x = convolution(…); y = max_pool(x)         becomes    y = convolution_max_pool(…), where nothing else reads x

Places are a byte for each window, so that the reverse pass need not read x, which may then never be in memory. Both
give the bits of what they stand for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.cuda.launch import CudaKernel
from . import calls
from .listing import Instruction, new_variable


def keep_places(instructions: list[Instruction], kept: set[int], xp: Any) -> list[Instruction]:
    """The list with places that are kept. kept: storages that are returned."""
    for pool in [i for i in instructions if i.name in calls.GREATEST and _is_launch(i)]:
        instructions = _with_convolution(_with_places(instructions, pool, xp), pool, kept)
    return instructions


def _is_launch(i: Instruction) -> bool:
    return i.kind == "make" and isinstance(i.function, CudaKernel)


def _written(instructions: Iterable[Instruction], variables: Iterable[Any]) -> bool:
    """Whether one of them changes the memory of one of the variables."""
    storages = {v.storage for v in variables}
    return any(i.kind == "write" and i.out is not None and i.out.storage in storages for i in instructions)


def _with_places(instructions: list[Instruction], pool: Instruction, xp: Any) -> list[Instruction]:
    """The list in which what hands a gradient to the greatest of this pool takes their places."""
    (x,), y, given = pool.arguments, pool.out, pool.options
    assert y is not None
    kernels, at = calls.TO_GREATEST, instructions.index(pool)
    back = [i for i in instructions if i.name in kernels and _is_launch(i) and tuple(i.arguments[1:]) == (x, y)]
    alike = all(i.options == given and kernels[i.name].suits(x, **given) for i in back)
    if not back or not alike or _written(instructions[at:], (x, y)):
        return instructions
    places = new_variable(instructions, y.shape, "uint8")
    pool.options = {**given, "places": places}
    how = {name: value for name, value in given.items() if name != "relu"}
    for i in back:
        i.function, i.arguments = kernels[i.name], (i.arguments[0], places)
        i.options = {**how, "lengths": x.shape[1:-1]}
    room = Instruction("make", "empty", xp.empty, (y.shape, "uint8"), {}, places)
    return [*instructions[:at], room, *instructions[at:]]


def _with_convolution(instructions: list[Instruction], pool: Instruction, kept: set[int]) -> list[Instruction]:
    """The list in which the convolution that this pool alone reads is a part of it."""
    (x,) = pool.arguments
    made = next((i for i in instructions if i.name in calls.WITH_GREATEST and _is_launch(i) and i.out is x), None)
    alone = all(i is pool for i in instructions if any(v.storage == x.storage for v in i.reads()))
    if made is None or not alone or x.storage in kept or _written(instructions, [x]):
        return instructions
    kernel, options = calls.WITH_GREATEST[made.name], dict(pool.options)
    window = {f"pool_{name}": options.pop(name) for name in ("size", "stride", "padding")}
    between = instructions[instructions.index(made) : instructions.index(pool)]
    if _written(between, made.reads()) or not kernel.suits(*made.arguments, **made.options, **window):
        return instructions
    pool.name, pool.function, pool.arguments = kernel.name, kernel, made.arguments
    pool.options = {**made.options, "pool": window["pool_size"], **options}
    return [i for i in instructions if i is not made]
