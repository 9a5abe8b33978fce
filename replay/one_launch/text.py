"""Many steps of a small net as the text of one CUDA kernel, written from a recorded step (`splitting`, in one part).

All blocks run at once and meet twice a step. Each has a part of the first weights, some of their rows and columns, with
the optimiser's state of these, in its shared memory for the whole launch. In turn

    it multiplies the batch's columns by its part, and leaves the partial products;   they meet
    it finishes some rows of the batch, forward and back, as the list says;           they meet
    it makes the gradient of its part, and of some of the other weights, and updates them.

A net of any depth meets no more often, since all that follows the first product is done row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from ...engine.cuda.sources import TYPES
from ..cuda_text import indented
from .by_row import rows_text
from .by_weight import over_own, weights_text
from .division import Shape
from .elements import Elements, left_type
from .phases import Step

BEGIN = Path(__file__).with_name("steps.cu")
NAME = "steps_in_one_launch"


class Text:
    """The kernel of a step. shape: how the first weights are divided. memory: what lies where."""

    def __init__(self, step: Step, shape: Shape) -> None:
        self.step, self.shape, self.memory = step, shape, Elements(step, shape)

    @cached_property
    def source(self) -> str:
        """The text."""
        return "\n".join((BEGIN.read_text(encoding="utf-8"), *self._lines()))

    def _lines(self) -> Iterator[str]:
        shape, real, e = self.shape, self.step.real, self.memory
        meet = f"meet(count, ++met * {shape.blocks}u);"
        yield f'extern "C" __global__ void __launch_bounds__({shape.threads}) {NAME}('
        yield f"    {', '.join(self._parameters())}) {{"
        yield "    extern __shared__ __align__(16) unsigned char shared[];"
        yield from indented(self._places())
        yield from indented(self._samples())
        part = shape.depth * shape.columns  # of which some may lie beside the weights: there are no NaN
        yield f"    for (int i = thread(); i < {part}; i += {shape.threads}) own0[i] = 0;"
        yield from indented(over_own(e, [f"own{n}[i] = {self._in_whole(n)};" for n in e.owned]))
        yield "    fetch(0);\n    put(x_0);\n    __syncthreads();"
        yield "    for (int step = 0; step < steps; ++step) {"
        yield "        const bool last = step == steps - 1;"
        yield f"        const {real}* x = step & 1 ? x_1 : x_0;"
        sizes = f"{shape.threads}, {shape.rows}, {shape.depth}, {shape.quads}"
        at = f"partial + down * {shape.rows * shape.apart} + across * {shape.columns}"
        yield f"        partial_products<{sizes}>(x, own0, {at}, {shape.apart});"
        yield f"        fetch(step + 1);\n        {meet}"
        yield f"        for (int row = int(blockIdx.x); row < {shape.rows}; row += {shape.blocks}) {{"
        yield "            const int t = thread();"
        yield from indented(rows_text(e), 3)
        yield f"        }}\n        put(step & 1 ? x_0 : x_1);\n        {meet}"
        yield "        const int t = thread();"
        yield from indented(weights_text(e), 2)
        yield "    }"
        yield from indented(over_own(e, [f"{self._in_whole(n)} = own{n}[i];" for n in e.owned]))
        yield "}\n"

    def _in_whole(self, n: int) -> str:
        """An element of the block's part, where it lies in a flat buffer."""
        return f"f{n}[{self.step.segment.offset} + k * {self.shape.units} + c]"

    def _parameters(self) -> list[str]:
        parts, real, e = self.step.parts, self.step.real, self.memory

        def pointers(name: str, variables: list) -> list[str]:  # type: ignore[type-arg]
            return [f"const {TYPES[v.dtype.name]}* {name}{n}" for n, v in enumerate(variables)]

        names = [*pointers("x", parts.samples), "const long long* order", f"const {real}* numbers"]
        names += [*pointers("r", list(parts.drawn)), *pointers("k", e.given)]
        names += [f"{real}* f{n}" for n in range(len(parts.flats))]
        names += [f"{TYPES[v.dtype.name]}* t{n}" for n, v in enumerate(parts.kept)]
        return [*names, "unsigned char* room", "unsigned* count", "int steps"]

    def _places(self) -> Iterator[str]:
        """Where the block stands, and where its arrays begin."""
        real, e = self.step.real, self.memory

        def pointer(kind: str, name: str, at: str) -> str:
            return f"{kind}* const {name} = reinterpret_cast<{kind}*>({at});"

        yield f"const int across = int(blockIdx.x) % {self.shape.across}, down = int(blockIdx.x) / {self.shape.across};"
        yield "unsigned met = 0;"
        yield from [pointer(real, name, f"shared + {at}") for name, at in e.tile.items()]
        yield from [pointer(TYPES[v.dtype.name], f"s{v.number}", f"shared + {at}") for v, at in e.own.items()]
        yield from [pointer(left_type(v), f"g{v.number}", f"room + {at}LL") for v, at in e.left.items()]
        yield pointer(real, "partial", f"room + {e.partial}LL")

    def _samples(self) -> Iterator[str]:
        """How the samples of the next step are fetched, and later put where they are computed with.

        A thread holds some columns of one row, or of several rows.
        """
        shape, x = self.shape, self.step.source.reads[0]
        apart, step = (s // x.dtype.itemsize for s in x.strides)
        raw, number = TYPES[x.dtype.name], self.step.parts.samples.index(x)
        each, more, side = shape.held
        inside = f"row < {shape.rows} && t % {side} * {each} + n < {shape.depth}"
        begin = f"""    const int t = thread();
#pragma unroll
    for (int m = 0; m < {more}; ++m) {{
        const int row = m * {shape.threads // side} + t / {side};"""
        columns = f"""#pragma unroll
        for (int n = 0; n < {each}; ++n) {{
            const int column = down * {shape.depth} + t % {side} * {each} + n;"""
        yield f"""{raw} ahead[{each * more}] = {{}};
auto fetch = [&](int step) {{
    if (step >= steps) return;
{begin}
        if (row >= {shape.rows}) continue;
        const {raw}* from = x{number} + order[(long long)step * {shape.rows} + row] * {apart};
{columns}
            if ({inside} && column < {shape.inputs}) ahead[m * {each} + n] = from[column * {step}];
        }}
    }}
}};
auto put = [&]({self.step.real}* to) {{
{begin}
{columns}
            if (!({inside})) continue;
            {self.step.real} value = 0;
            if (column < {shape.inputs}) value = {self.memory.prepared(f"ahead[m * {each} + n]", "column")};
            to[(column - down * {shape.depth}) * {shape.rows + 1} + row] = value;
        }}
    }}
}};"""
