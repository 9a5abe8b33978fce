"""What a recorded step does: with the samples alone, in the first product, row by row, and to the weights."""

from __future__ import annotations

from ...engine.cuda.sources import TYPES
from ..listing import Variable
from ..parts import ROWS, Operation, Parts, Place, Segment, Unfit


class Step:
    """What a step does, by its operations: before the first product, row by row, and to the weights.

    first: the product that the samples go through. back: that of its gradient. rows: what is done row by row. sums:
    over rows, to one number. scalars: with these. seeds: sums over rows for gradients. updates: element by element.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.real = TYPES[parts.flats[0].dtype.name]
        self.made = {o.out.buffer: o for o in parts.operations if o.out.buffer not in (*parts.flats, *parts.kept)}
        self.samples = self._sample_chain()
        products = [o for o in parts.operations if o.kind == "product"]
        firsts = [o for o in products if o.reads[0].buffer in self.samples and not o.reads[0].swapped]
        backs = [o for o in products if o.reads[0].buffer in self.samples and o.reads[0].swapped]
        if len(firsts) != 1 or len(backs) != 1 or firsts[0].reads[1].segment is None or firsts[0].reads[1].swapped:
            raise Unfit("the samples do not go through one layer of weights first")
        self.first, self.back = firsts[0], backs[0]
        self.segment: Segment = self.first.reads[1].segment
        through = made_of({self.first.reads[0].buffer}, self.made)
        self.source = next(o for o in parts.operations if o.rows and o.out.buffer in through)
        self.rows: list[Operation] = []
        self.sums: list[Operation] = []
        self.scalars: list[Operation] = []
        self.seeds: dict[Variable, Operation] = {self.back.out.buffer: self.back}
        self.updates: list[Operation] = []
        for o in parts.operations:
            if o is not self.first and o is not self.back:
                self._take(o)
        kept = {p.buffer for o in (*self.sums, *self.seeds.values()) for p in o.places if o is not self.back}
        read = kept | {p.buffer for o in self.rows for p in o.places}
        again = [o for o in parts.operations if o.out.buffer in made_of(read & self.samples, self.made)]
        self.rows = sorted((*self.rows, *again), key=parts.operations.index)
        row_made = {o.out.buffer for o in self.rows} | {self.first.out.buffer}
        left = kept | {self.back.reads[1].buffer}
        self.left = sorted(left, key=lambda v: v.number)
        if not left <= row_made:
            raise Unfit("a sum over rows is not of what is computed row by row")

    def _sample_chain(self) -> set[Variable]:
        """What is computed from samples of one row alone, column by column, before anything else."""
        found: set[Variable] = set()
        for o in self.parts.operations:
            rowish = [p for p in o.places if p.dims[:1] == (ROWS,)]
            known = {p.buffer for p in o.places} <= {*found, *self.parts.given}
            samples = len(o.out.dims) == 2 and o.out.dims[0] == ROWS
            if o.kind == "element" and samples and (o.rows or (rowish and known)):
                found.add(o.out.buffer)
        return found

    def _take(self, o: Operation) -> None:
        out, rowish = o.out, [p for p in o.places if is_by_row(p)]
        fixed = [p for p in o.places if p not in rowish]
        if out.buffer in self.samples:
            return
        if is_by_row(out) and o.kind != "meet":
            parts = self.parts
            if any(p.buffer not in (parts.flats[0], *parts.given, *parts.numbers) for p in fixed):
                raise Unfit("what is done row by row waits for a sum over rows")
            if fixed and any(u.out.buffer is parts.flats[0] for u in self.updates):
                raise Unfit("weights are read again after the update")
            if o.kind == "product" and (o.reads[0].swapped or o.reads[1].segment is None):
                raise Unfit("a product of other than rows and weights")
            self.rows.append(o)
        elif o.kind == "product" or (o.kind == "reduce" and rowish and out.dims):
            if o.kind == "product" and not (o.reads[0].swapped and len(rowish) == 2):
                raise Unfit("a product of other than rows")
            self.seeds[out.buffer] = o
        elif o.kind == "reduce" and rowish:
            self.sums.append(o)
        elif o.kind == "element" and not out.dims and not rowish:
            if any(p.segment or p.buffer in self.seeds for p in fixed):
                raise Unfit("a number depends on all weights")
            self.scalars.append(o)
        elif o.kind == "element" and not rowish and not o.picks:
            if any(p.buffer in (o.out.buffer for o in (*self.sums, *self.scalars)) for p in fixed):
                raise Unfit("the update waits for a sum over rows")
            self.updates.append(o)
        else:
            norm = o.kind == "reduce" and not out.dims
            raise Unfit("it looks at all weights at once, as a norm does" if norm else f"{o.kind} has no place in it")

    def updates_of(self, s: Segment) -> tuple[list[Operation], list[Variable]]:
        """What is done to the elements of one of the weights, in order, and the sums over rows that it takes."""
        found, needed = list[Operation](), set[Variable]()
        for o in reversed(self.updates):
            place = o.out.segment or self.parts.runs.get(o.out.dims[0])
            if (place is None or place.overlaps(s)) and (o.out.segment or o.out.buffer in needed):
                found.append(o)
                needed |= {p.buffer for p in o.places if p.segment is None}
        return found[::-1], [v for v in self.seeds if v in needed]


def made_of(read: set[Variable], made: dict[Variable, Operation]) -> set[Variable]:
    """These, and what they are made of."""
    found, left = set[Variable](), list(read)
    while left:
        v = left.pop()
        if v not in found:
            found.add(v)
            left += [p.buffer for p in made[v].places] if v in made else []
    return found


def is_by_row(p: Place) -> bool:
    """Whether something has an element, or several, for each row of the batch."""
    return bool(p.dims) and any(d == ROWS or d.startswith(f"{ROWS} *") for d in p.dims)
