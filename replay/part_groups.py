"""Which operations of a step's parts are carried out together."""

from __future__ import annotations

from collections.abc import Sequence

from .parts import Operation, Parts, Place


def grouped(parts: Parts) -> list[list[Operation]]:
    """The operations in their order, those that are one loop together."""
    groups: list[list[Operation]] = []
    for operation in _in_place(parts):
        if groups and _joins(groups[-1], operation):
            groups[-1].append(operation)
        else:
            groups.append([operation])
    return groups


def _in_place(parts: Parts) -> list[Operation]:
    """The operations without copies into the flat buffers of what can be computed there at once."""
    partial = [place.buffer for place in parts.partial]
    reads = [p.buffer for o in parts.operations for p in o.places]
    made = {o.out.buffer: n for n, o in enumerate(parts.operations) if o.kind in ("product", "reduce", "argmax")}
    left = list(parts.operations)
    for n, copy in enumerate(parts.operations):
        source = copy.places[0] if copy.text == "{}" and copy.places else None
        if source is None or source.buffer not in made or source.buffer in partial:
            continue
        begin = made[source.buffer]
        origin = parts.operations[begin]
        alike = source.buffer.dtype == copy.out.buffer.dtype and source == origin.out
        alike = alike and (source.dims, source.axis) == (copy.out.dims, copy.out.axis)
        alone = reads.count(source.buffer) == 1 and not _touch(parts.operations[begin + 1 : n], copy.out)
        if copy.out.segment and alike and alone:
            origin.out = copy.out
            left.remove(copy)
    return left


def _touch(operations: Sequence[Operation], place: Place) -> bool:
    """Whether one of them reads or writes there."""
    places = [p for o in operations for p in (*o.places, o.out) if p.buffer is place.buffer]
    return any(p.segment and place.segment and p.segment.overlaps(place.segment) for p in places)


def _joins(group: Sequence[Operation], operation: Operation) -> bool:
    """Whether an operation may stand in the loop of these: one shape, and what it shares with them lies alike."""
    out, first = operation.out, group[0]
    if not first.kind == operation.kind == "element" or (first.out.dims, first.out.axis) != (out.dims, out.axis):
        return False
    written = {o.out.buffer: o.out for o in group}
    if any(p.buffer in written and _lay(p) != _lay(written[p.buffer]) for p in (*operation.places, out)):
        return False
    if operation.picks and operation.reads[0].buffer in written:
        return False
    return all(_lay(p) == _lay(out) for o in group for p in o.places if p.buffer is out.buffer)


def _lay(place: Place) -> tuple[object, ...]:
    return place.dims, place.axis, place.segment
