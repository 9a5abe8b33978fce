"""Roads to a convolution and to its gradients on the CPU, timed side by side: why `ops.convolution` takes which.

python -m chalkgrad.benchmarks.convolution_roads        # prints a table in Markdown
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy
from numpy.lib.stride_tricks import sliding_window_view

from ..engine import random
from ..engine.primitive import Primitive
from ..ops.convolution import correlation, kernel_correlation, transposed_correlation
from .peers import command_line, table
from .timing import in_turns

Array = numpy.typing.NDArray[Any]
Road = Callable[[], Array]
CASES = {
    "28×28×1, 16 filters": (28, 1, 16),
    "13×13×16, 32 filters": (13, 16, 32),
    "28×28×32, 32 filters": (28, 32, 32),
}
BATCH, SIZE = 128, 3
PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}


def roads(length: int, channels: int, filters: int) -> Mapping[str, Mapping[str, Road]]:
    """For value and gradients the ways to compute them, ours first; all of a group give the same."""
    rng, count = random.generator(0, "convolution roads"), length - SIZE + 1
    x = rng.standard_normal((BATCH, length, length, channels), dtype="float32")
    w = rng.standard_normal((SIZE, SIZE, channels, filters), dtype="float32")
    gy = rng.standard_normal((BATCH, count, count, filters), dtype="float32")
    taps = list(itertools.product(range(SIZE), range(SIZE)))
    rows = gy.reshape(-1, filters)

    def at(array: Array, tap: tuple[int, int]) -> Array:
        return array[:, tap[0] : tap[0] + count, tap[1] : tap[1] + count]

    def columns(array: Array) -> Array:
        view = sliding_window_view(array, (SIZE, SIZE), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
        return view.reshape(-1, SIZE * SIZE * array.shape[-1])

    def ours(primitive: Primitive, *operands: Array, **parameters: Any) -> dict[str, Road]:
        """As it is computed: compiled where Numba is installed, and by array code."""
        kernel: Any = primitive.cpu_kernel
        found: dict[str, Road] = {"part by part": lambda: kernel(*operands, **parameters, **PLAIN)}
        if kernel.compiled is not kernel:
            fast = kernel.compiled
            found = {"part by part, compiled": lambda: fast(*operands, **parameters, **PLAIN), **found}
        return found

    def value_by_taps() -> Array:
        y = numpy.zeros_like(gy)
        for tap in taps:
            y += at(x, tap) @ w[tap]
        return y

    def kernel_by_taps() -> Array:
        each = [at(x, tap).reshape(-1, channels).T @ rows for tap in taps]
        return numpy.stack(each).reshape(w.shape)

    def input_by_taps() -> Array:
        gx = numpy.zeros_like(x)
        for tap in taps:
            at(gx, tap)[...] += (rows @ w[tap].T).reshape(*gy.shape[:3], channels)
        return gx

    def input_by_scattered_columns() -> Array:
        gx, parts = numpy.zeros_like(x), (rows @ w.reshape(-1, filters).T).reshape(*gy.shape[:3], SIZE, SIZE, channels)
        for tap in taps:
            at(gx, tap)[...] += parts[:, :, :, tap[0], tap[1]]
        return gx

    def input_by_reversed_kernel() -> Array:
        around = numpy.pad(gy, ((0, 0), (SIZE - 1, SIZE - 1), (SIZE - 1, SIZE - 1), (0, 0)))
        turned = w[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, channels)
        return (columns(around) @ turned).reshape(x.shape)

    return {
        "value": {
            **ours(correlation, x, w),
            "all columns at once": lambda: (columns(x) @ w.reshape(-1, filters)).reshape(gy.shape),
            "place by place": value_by_taps,
        },
        "gradient of the kernel": {
            **ours(kernel_correlation, x, gy, size=(SIZE, SIZE)),
            "all columns at once": lambda: (columns(x).T @ rows).reshape(w.shape),
            "place by place": kernel_by_taps,
        },
        "gradient of the input": {
            **ours(transposed_correlation, gy, w, lengths=(length, length)),
            "place by place, product and sum": input_by_taps,
            "all columns, then scattered": input_by_scattered_columns,
            "columns of the padded gradient, kernel reversed": input_by_reversed_kernel,
        },
    }


def timed(group: Mapping[str, Road], rounds: int) -> dict[str, float]:
    """Median seconds of each road. Raises AssertionError where they differ in what they give."""
    first, *others = [road() for road in group.values()]
    for other in others:
        numpy.testing.assert_allclose(other, first, rtol=1e-3, atol=1e-3 * float(numpy.abs(first).max()))
    return in_turns(group, rounds)


def compared(rounds: int) -> str:
    """All cases, as Markdown; the first road of each group is the one that is taken."""
    rows = []
    for case, sizes in CASES.items():
        for what, group in roads(*sizes).items():
            times = timed(group, rounds)
            ours = next(iter(times.values()))
            rows += [(f"{case}: {what}", name, f"{1e3 * own:.2f}", f"{own / ours:.2f}") for name, own in times.items()]
    return table(["batch 128, 3×3", "road", "ms", "× ours"], rows)


def main() -> None:
    """Print the table."""
    parser = command_line("convolution_roads", __doc__)
    parser.add_argument("--rounds", type=int, default=15)
    print(compared(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
