"""Launches of every kernel with what NumPy says they give."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from building import Launch, Library, build, constant

from chalkgrad.engine.cuda.sources import text_of
from chalkgrad.ops.loss import categorical_cross_entropy
from chalkgrad.optim import updates

ROOT = Path(__file__).parents[2]
LINALG, LOSS, SHAPE, CONVOLUTION, CORRELATION, DEPTHWISE, POOLING, NORMALISATION, UPDATE, FEED, BITS16 = (
    "ops/linalg.cu",
    "ops/loss.cu",
    "ops/shapes.cu",
    "ops/convolution.cu",
    "ops/correlation.cu",
    "ops/depthwise.cu",
    "ops/pooling.cu",
    "ops/normalisation.cu",
    "optim/update.cu",
    "engine/cuda/feed.cu",
    "engine/cuda/bits16.cu",
)
FILES = (LINALG, LOSS, SHAPE, CONVOLUTION, CORRELATION, DEPTHWISE, POOLING, NORMALISATION, UPDATE, FEED, BITS16)
BAND = 16  # elements that nobody may touch, before and behind an array
MARK = 113  # what they hold; a number, since much that a kernel does to a NaN leaves a NaN


@functools.cache
def source(file: str) -> str:
    """The text of a .cu file."""
    return text_of(ROOT / file)


@functools.cache
def size(file: str, name: str) -> int:
    """A constant of a .cu file."""
    return constant(source(file), name)


def names(**types: Any) -> tuple[str, ...]:
    """The options that name the types of a source: names(REAL=…) for a NumPy dtype."""
    spelled = {"float32": "float", "float64": "double", "int64": "long long", "int32": "int", "uint8": "unsigned char"}
    return tuple(f"-D{macro}={spelled[np.dtype(dtype).name]}" for macro, dtype in types.items())


@functools.cache
def library(text: str, *options: str) -> Library:
    """The library of a source."""
    return Library(build(text, options))


@dataclass(frozen=True)
class Case:
    """A launch, and for each array that it changes the values expected and how far each may be off."""

    file: str
    options: tuple[str, ...]
    launch: Launch
    expected: Sequence[tuple[np.ndarray, Any, Any]]

    def __post_init__(self) -> None:
        """Put bands around the inputs too, so that a step outside reads MARK and not what happens to lie there."""
        values = [filled(x) if isinstance(x, np.ndarray) and x.base is None else x for x in self.launch.values]
        object.__setattr__(self, "launch", replace(self.launch, values=values))

    def run(self, text: str | None = None) -> None:
        """Run the kernel, of the file or of another text of it, and compare."""
        library(text or source(self.file), *self.options).run(self.launch)
        self.compare()

    def compare(self) -> None:
        """Raise AssertionError where an array is not as expected, or what lies around it has been touched."""
        for array, expected, tolerance in self.expected:
            wanted = np.broadcast_to(expected, array.shape)
            same = (array == wanted) | (np.isnan(array) & np.isnan(wanted))
            with np.errstate(invalid="ignore"):
                close = same | (np.abs(array.astype("f8") - wanted) <= tolerance)
            assert close.all(), f"{self.launch.kernel} gave\n{array}\ninstead of\n{wanted}"
            whole = array.base
            while whole is not None and whole.base is not None:
                whole = whole.base
            if whole is not None:
                around = [*whole[:BAND], *whole[-BAND:]]
                assert around == [MARK] * 2 * BAND, f"{self.launch.kernel} wrote outside its output: {around}"


def output(shape: Any, dtype: Any) -> np.ndarray:
    """An array to write to, between bands."""
    count = int(np.prod(shape))
    whole = np.full(count + 2 * BAND, MARK, dtype)
    if whole.dtype.kind == "f":
        whole[BAND : BAND + count] = np.nan
    return whole[BAND : BAND + count].reshape(shape)


def filled(values: Any, dtype: Any = None) -> np.ndarray:
    """The values in an array between bands, for a kernel that changes them in place."""
    values = np.asarray(values, dtype)
    array = output(values.shape, values.dtype)
    array[...] = values
    return array


def arrivals(count: int) -> np.ndarray:
    """Counters of arrivals."""
    return filled(np.zeros(count, "u4"))


def drawn(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    """Normal numbers."""
    return rng.standard_normal(shape).astype(dtype)


def product(
    m: int, n: int, k: int, dtype: Any = "f4", split: int = 1, layouts: str = "cc", bias: bool = False,
    relu: bool = False, masks: str = "", seed: int = 0, change: Callable[..., None] | None = None, summed: bool = False,
    tile: int = 32, beside: Case | None = None,
) -> Case:  # fmt: skip
    """layouts: of a and of b, "c" row by row, "f" column by column. masks: "a", "b" or both. change: of a and b.

    summed: with the sums of b's columns. beside: another product of such numbers, in the same launch.
    """
    rng = np.random.default_rng(seed)
    a, b, added = drawn(rng, (m, k), dtype), drawn(rng, (k, n), dtype), drawn(rng, n, dtype)
    if change:
        change(a, b)
    gates = {"a": drawn(rng, (m, k), dtype), "b": drawn(rng, (k, n), dtype)}
    with np.errstate(invalid="ignore"):
        left, right = (
            (x * (gates[which] > 0) if which in masks else x).astype("f8") for which, x in (("a", a), ("b", b))
        )
        z = left @ right + (added if bias else 0)
        bound = (k + 4) * np.finfo(dtype).eps * (abs(left) @ abs(right) + abs(added))
        bound = np.where(np.isfinite(z), bound, 0)
    z = np.maximum(z, 0) if relu else z
    laid = {name: np.asarray(x, order=layouts[name in ("b", "gb")].upper()) for name, x in
            (("a", a), ("b", b), ("ga", gates["a"]), ("gb", gates["b"]))}  # fmt: skip
    strides = [np.int64(s // x.itemsize) for x in (laid["a"], laid["b"]) for s in x.strides]
    memory = {name: np.ravel(x, order="K").copy() for name, x in laid.items()}
    out, sums = output((m, n), dtype), output(n, dtype)
    tiles = -(-(m + summed) // tile) * -(-n // tile)
    partial, arrived = output((split, m + summed, n), dtype), arrivals(tiles)
    values = (
        memory["a"], memory["b"], added if bias else None, *(memory["g" + x] if x in masks else None for x in "ab"),
        out, sums if summed else None, partial if split > 1 else None, arrived if split > 1 else None,
        *map(np.int32, (m, n, k)), *strides, *map(np.int32, (split, relu, tile)),
    )  # fmt: skip
    second = beside.launch.values[:19] if beside else [None] * 9 + [type(x)(0) for x in values[9:]]
    grid = tiles * split + (beside.launch.grid[0] if beside else 0)
    launch = Launch("product", (grid,), (size(LINALG, "THREADS"),), [*values, *second, np.int32(tiles * split)])
    of_b = (sums, right.sum(0), (k + 4) * np.finfo(dtype).eps * abs(right).sum(0))
    expected = [(out, z, bound), (arrived, 0, 0), *([of_b] if summed else ()), *(beside.expected if beside else ())]
    return Case(LINALG, names(REAL=dtype), launch, expected)


def column_sums(rows: int, columns: int, dtype: Any = "f4", mask: bool = False, split: int = 1) -> Case:
    """The sums over columns."""
    rng = np.random.default_rng(rows)
    x, gate, out = drawn(rng, (rows, columns), dtype), drawn(rng, (rows, columns), dtype), output(columns, dtype)
    counted = (x * (gate > 0) if mask else x).astype("f8")
    bound = np.finfo(dtype).eps * rows * abs(counted).sum(0)
    block = size(LINALG, "SUM_COLUMNS"), size(LINALG, "SUM_ROWS")
    groups = -(-columns // block[0])
    parts = (output(split * columns, dtype), arrivals(groups)) if split > 1 else (None, None)
    passed = output((rows, columns), dtype)
    values = (x, gate if mask else None, out, passed, *parts, np.int64(rows), np.int32(columns))
    launch = Launch("column_sums", (groups, split), block, values)
    again = [(parts[1], 0, 0)] if split > 1 else []
    return Case(LINALG, names(REAL=dtype), launch, ((out, counted.sum(0), bound), (passed, counted, 0), *again))


def logits_and_targets(rows: int, classes: int, dtype: Any, labelled: bool) -> tuple[np.ndarray, ...]:
    """Logits, one of which would overflow exp; targets; labels, some of which are none of the classes."""
    rng = np.random.default_rng(classes)
    logits = drawn(rng, (rows, classes), dtype) * 3
    logits[:1] += 1000
    labels = rng.integers(-2, classes + 2, rows)
    if labelled:
        return logits, (labels[:, None] == np.arange(classes)).astype(dtype), labels
    return logits, rng.uniform(0, 1, (rows, classes)).astype(dtype), labels


def cross_entropy(rows: int, classes: int, dtype: Any = "f4", labelled: bool = True, blocks: int = 2) -> Case:
    """The loss."""
    logits, targets, labels = logits_and_targets(rows, classes, dtype, labelled)
    if labelled:
        targets = np.clip(labels, 0, classes - 1)[:, None] == np.arange(classes)
    with np.errstate(invalid="ignore"):
        expected = categorical_cross_entropy.kernel(np, logits.astype("f8"), targets.astype("f8")) if rows else np.nan
    out, partial, arrived = output((), dtype), output(blocks, dtype), arrivals(1)
    given = (None, labels) if labelled else (targets, None)
    values = (logits, *given, out, partial, arrived, np.int64(rows), np.int32(classes))
    launch = Launch("softmax_cross_entropy", (blocks,), (size(LOSS, "THREADS"),), values)
    return Case(LOSS, names(REAL=dtype), launch, ((out, expected, 40 * np.finfo(dtype).eps * abs(expected)),
                                                 (arrived, 0, 0)))  # fmt: skip


def cross_entropy_gradient(rows: int, classes: int, dtype: Any = "f4", labelled: bool = True, blocks: int = 2) -> Case:
    """The gradient of the loss."""
    logits, targets, labels = logits_and_targets(rows, classes, dtype, labelled)
    gloss, out = np.full((), 1.5, dtype), output((rows, classes), dtype)
    rule = categorical_cross_entropy.rules["logits"].kernel
    if rows and labelled:  # one label for a row, also where it has no 1
        p = np.exp(logits.astype("f8") - logits.max(-1, keepdims=True))
        expected = 1.5 * (p / p.sum(-1, keepdims=True) - targets) / rows
    else:
        expected = rule(np, gloss.astype("f8"), logits.astype("f8"), targets.astype("f8")) if rows else 0
    given = (None, labels) if labelled else (targets, None)
    values = (logits, *given, gloss, out, np.int64(rows), np.int32(classes))
    launch = Launch("softmax_cross_entropy_gradient", (blocks,), (size(LOSS, "THREADS"),), values)
    bound = 40 * np.finfo(dtype).eps * classes / max(rows, 1)
    return Case(LOSS, names(REAL=dtype), launch, ((out, expected, bound),))


def gather(
    rows: int, width: int, dtype: Any = "f4", table: Any = "f4", index: Any = "i8", scale: float = 1.0, blocks: int = 2,
    shift: int = 0,
) -> Case:  # fmt: skip
    """Rows of a table of 5. shift: of the table, in elements, so that it begins at no multiple of 16 bytes."""
    rng = np.random.default_rng(width)
    x = rng.integers(0, 100, 5 * width + shift).astype(table)[shift:].reshape(5, width)
    places = rng.integers(-8, 8, rows).astype(index)
    picked = x[np.clip(np.where(places < 0, places + 5, places), 0, 4)] if rows else np.zeros((0, width))
    out = output((rows, width), dtype)
    values = (x, places, out, *map(np.int64, (rows, width, 5)), np.dtype(dtype).type(scale))
    options = names(REAL=dtype, SOURCE=table, INDEX=index)
    expected = picked.astype(dtype) * np.dtype(dtype).type(scale)
    return Case(SHAPE, options, Launch("gather", (blocks,), (64,), values), ((out, expected, 0),))


def adam(name: str, count: int, dtype: Any = "f4", pointers: bool = False, shift: int = 0, blocks: int = 2) -> Case:
    """One update by the array code's equation `name`, and the kernel's. shift: as for `gather`."""
    rng = np.random.default_rng(count)
    arrays = [filled(drawn(rng, count + shift, dtype))[shift:] for _ in range(4)]
    theta, g, first, second = arrays
    second[...] = abs(second)
    update = updates[name]
    numbers = update.numbers(
        {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004, "t": 3}
    )
    wanted = [x.copy() for x in arrays]
    update.kernel(np, wanted[0], g, np.empty_like(g), *wanted[2:], **numbers)
    given = {key: np.dtype(dtype).type(value) for key, value in {"shrink": 1.0, **numbers}.items()}
    varying = [
        value
        for key in (("learning_rate",) if name == "adam_documented" else ("learning_rate", "epsilon", "shrink"))
        for value in ((given[key].reshape(1), np.dtype(dtype).type(np.nan)) if pointers else (None, given[key]))
    ]
    one = np.dtype(dtype).type
    if name == "adam_documented":
        last = (given["epsilon"], *(one(x) for beta in (0.9, 0.999) for x in (beta, 1 - beta)))
    else:
        last = given["beta_1"], given["beta_2"]
    kernel = "adam_documented" if name == "adam_documented" else "adam"
    launch = Launch(kernel, (blocks,), (64,), (theta, g, first, second, np.int64(count), *varying, *last))
    return Case(UPDATE, names(REAL=dtype), launch, [(x, y, 0) for x, y in zip(arrays, wanted, strict=True)])


def feed(units: int, row: int = 2, blocks: int = 2) -> Case:
    """Row number `row` of a table of 4, of `units` times 16 bytes."""
    table = np.random.default_rng(units).integers(0, 256, (4, units * 16)).astype("u1")
    out, counter, arrived = output(units * 16, "u1"), filled([row], "u8"), arrivals(1)
    launch = Launch("feed", (blocks,), (64,), (table, out, np.int64(units * 16), counter, arrived))
    return Case(FEED, (), launch, ((out, table[row], 0), (counter, row + 1, 0), (arrived, 0, 0)))


def bits_of_bfloat16(x: Any) -> Any:
    """float32 in the bits of bfloat16, to the nearest, ties to even: the nearer one of two neighbours."""
    below = np.asarray(x, "f4").view("u4") >> np.uint32(16)
    with np.errstate(invalid="ignore"):
        low, high = ((n << np.uint32(16)).view("f4").astype("f8") for n in (below, below + np.uint32(1)))
        high = np.where(np.isinf(high), np.copysign(2.0**128, high), high)
        up = (np.abs(high - x) < np.abs(x - low)) | ((np.abs(high - x) == np.abs(x - low)) & (below % 2 == 1))
    return np.where(np.isnan(x), below | 0x40, np.where(up & np.isfinite(x), below + 1, below)).astype("u2")


HALVES = np.array([
    0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 65504, 65519.99, 65520, -65520, 1e6, 3.3e38, 3.39e38, -3.4028235e38,
    2**-14, 2**-14 - 2**-26, 2**-24, 2**-25, 1.5 * 2**-24, 2.5 * 2**-24, 1e-8, 1e-40, -1e-45, 1 + 2**-11,
    1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 2**-133 + 2**-134,
], "f4")  # fmt: skip
"""Numbers at which rounding to 16 bits may go wrong: ties, the ends of both ranges, what is no number."""


def bits16(to: str, count: int = 300) -> Case:
    """Numbers of all sizes in the bits of float16 or bfloat16."""
    rng = np.random.default_rng(count)
    x = np.concatenate([HALVES, drawn(rng, count, "f4") * (10.0 ** rng.uniform(-9, 6, count)).astype("f4")])
    with np.errstate(over="ignore"):
        wanted = bits_of_bfloat16(x) if to == "bfloat16" else x.astype("f2").view("u2")
    wanted[np.isnan(x)] = 0x7FC0 if to == "bfloat16" else 0x7E00
    out = output(len(x), "u2")
    launch = Launch(f"to_{to}", (3,), (64,), (x, out, np.int64(len(x))))
    return Case(BITS16, (), launch, [(out, wanted, 0)])
