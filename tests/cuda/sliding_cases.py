"""Launches over windows as ops/sliding.py makes them, with what the array code says they give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from building import Launch
from cases import Case, arrivals, drawn, names, output

from chalkgrad.engine.primitive import registry
from chalkgrad.ops import channels
from chalkgrad.ops import sliding as launches


class Keeping:
    """It stands for a `Gpu`, and keeps the launch, which is not carried out."""

    def __init__(self, multiprocessors: int) -> None:
        self.xp, self.multiprocessors, self.arrived = self, multiprocessors, arrivals(4096)
        self.empty, self.ascontiguousarray = output, np.ascontiguousarray

    def launch(
        self, source: Any, name: str, grid: Any, block: Any, *arguments: Any, contracted: bool = True, REAL: Any
    ) -> None:
        """Keep it."""
        self.file = f"ops/{source.name}"
        self.options, self.kept = names(REAL=REAL), Launch(name, grid, block, arguments)


def sliding(
    name: str, operands: Any, multiprocessors: int = 1, summed: bool = False, relu: bool = False, **parameters: Any
) -> Case:
    """The launch of a primitive. Sums may differ from the array code's in float64 by rounding; pooling by nothing.

    summed: with the sums of the last operand, the gradient of a bias. relu: of what a pool gives, or of y, a last one.
    """
    primitive, gpu = registry[name], Keeping(multiprocessors)
    assert primitive.cuda_kernels[""].suits(*operands, **parameters)
    dtype, last = operands[0].dtype, operands[-1]
    more = {"sums": output(last.shape[-1:], dtype)} if summed else {}
    own = primitive.cuda_kernels[""].function
    out = own(gpu, *operands, **parameters, **more, **({"relu": True} if relu else {}))
    if "pool" in name:
        if relu and len(operands) > 1:
            expected = primitive.kernel(np, operands[0] * (last > 0), *operands[1:], **parameters)
        else:
            expected = primitive.kernel(np, *operands, **parameters)
            expected = np.maximum(expected, 0) if relu else expected
        return Case(gpu.file, gpu.options, gpu.kept, ((out, expected, 0),))
    expected = primitive.kernel(np, *(x.astype("f8") for x in operands), **parameters)
    bound = primitive.kernel(np, *(abs(x).astype("f8") for x in operands), **parameters)
    terms = primitive.kernel(np, *(np.ones(x.shape) for x in operands), **parameters)
    expectations = [(out, expected, (terms + 4) * np.finfo(dtype).eps * bound), (gpu.arrived, 0, 0)]
    for sums in more.values():
        rows = last.reshape(-1, last.shape[-1]).astype("f8")
        expectations.append((sums, rows.sum(0), (len(rows) + 4) * np.finfo(dtype).eps * abs(rows).sum(0)))
    return Case(gpu.file, gpu.options, gpu.kept, expectations)


def windows(seed: int, apart: bool = False) -> tuple[np.random.Generator, Any, Any, dict[str, Any]]:
    """Shapes of x and of w, for which some windows fit, and how they slide."""
    rng = np.random.default_rng(seed)
    axes = int(rng.choice((1, 2, 2)))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(int(n) for n in rng.integers(low, high + 1, axes))

    size, stride, dilation, borders = each(1, 4), each(1, 4), each(1, 3), (each(0, 3), each(0, 3))
    padding = tuple(zip(*borders, strict=True))
    lengths = tuple(
        max(1, (k - 1) * d + 1 - sum(p)) + extra
        for k, d, p, extra in zip(size, dilation, padding, each(0, 8), strict=True)
    )
    groups = int(rng.integers(2, 40)) if apart else int(rng.choice((1, 1, 2, 3)))
    channels, filters = (1, groups) if apart else (int(rng.integers(1, 24)), groups * int(rng.integers(1, 20)))
    x, w = (int(rng.integers(1, 4)), *lengths, channels * groups), (*size, channels, filters)
    return rng, x, w, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def convolutions(seed: int, dtype: Any = "f4", apart: bool = False) -> list[Case]:  # fmt: skip
    """A convolution and its two adjoints."""
    rng, of_x, of_w, how = windows(seed, apart)
    return three(rng, of_x, of_w, dtype, summed=not apart and seed % 2 == 0, **how)


FEW = {"MANY": 96, "MANY_FEW": 128}  # threads of a block of `kernel_correlation`, where each is one of the system


def few_threads(file: str) -> list[Case]:
    """Launches of a file with few blocks, of which two share a sum over more terms than a tile has."""
    rng, border = np.random.default_rng(0), ((1, 0), (0, 1))
    with patch.multiple(launches, **FEW):
        how = {"stride": (2, 1), "padding": border, "dilation": (1, 2), "groups": 1, "sms": 2, "summed": True}
        one = three(rng, (1, 13, 6, 3), (2, 2, 3, 5), **how)
        many = three(rng, (1, 13, 6, 16), (2, 2, 16, 20), **how)
    each = three(rng, (1, 6, 3, 3), (2, 1, 1, 3), stride=(2, 1), padding=border, dilation=(1, 1), groups=3, part=6)
    assert [made[2].launch.grid for made in (one, many, each)] == [(1, 1, 2), (2, 1, 1), (1, 2, 2)]
    options = [f"-D{name}={count}" for name, count in FEW.items()]
    return [replace(case, options=(*case.options, *options)) for case in one + many + each if case.file == file]


def three(
    rng: np.random.Generator, of_x: Any, of_w: Any, dtype: Any = "f4", part: int = 16, summed: bool = False,
    sms: int = 20, **how: Any,
) -> list[Case]:  # fmt: skip
    """A convolution and its two adjoints. part: windows worth a block. sms, summed: see `sliding`."""
    x, w = drawn(rng, of_x, dtype), drawn(rng, of_w, dtype)
    y = drawn(rng, registry["correlation"].kernel(np, x, w, **how).shape, dtype)
    bias, shifts = drawn(rng, y.shape[-1:], dtype), drawn(rng, of_x[-1:], dtype)
    with patch.object(launches, "PART", part):
        return [
            sliding("convolution", (x, w, bias), **how),
            sliding("transposed_convolution", (y, w, shifts), lengths=of_x[1:-1], **how),
            sliding("kernel_correlation", (x, y), sms, summed, size=of_w[:-2], **how),
        ]


def poolings(seed: int, dtype: Any = "f4", change: Any = None) -> list[Case]:
    """Pooling of few different numbers, so that many are equal, and the adjoints. change: of x."""
    rng, of_x, of_w, how = windows(seed)
    size, stride = of_w[:-2], how["stride"]
    padding = tuple((min(a, k - 1), min(b, k - 1)) for (a, b), k in zip(how["padding"], size, strict=True))
    grown = (max(n, k) for n, k in zip(of_x[1:-1], size, strict=True))
    x = rng.integers(-2, 3, (of_x[0], *grown, of_x[-1])).astype(dtype)
    if change:
        change(x)
    options = {"size": size, "stride": stride, "padding": padding}
    with np.errstate(invalid="ignore"):
        y = registry["max_pool"].kernel(np, x, **options)
        g, relu = drawn(rng, y.shape, dtype), change is None and seed % 3 == 1
        return [
            sliding("max_pool", (x,), relu=relu, **options),
            sliding("max_unpool", (g, x, np.maximum(y, 0) if relu else y), relu=relu, **options),
            sliding("average_pool", (x,), **options),
            sliding("average_unpool", (g,), lengths=x.shape[1:-1], **options),
        ]


def places_of(windows: np.ndarray, relu: bool) -> tuple[np.ndarray, np.ndarray]:
    """The greatest along the last axis (above 0 with relu), and the bits of where it is."""
    y = np.maximum(windows.max(-1), 0) if relu else windows.max(-1)
    equal = (windows == y[..., None]) & ((y > 0) | (not relu))[..., None]
    return y, (equal << np.arange(windows.shape[-1])).sum(-1).astype("u1")


def in_windows(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """x (batch, *space, channels) in windows of a size, next to each other: a last axis for the places in one."""
    x, size = (x[:, None], (1, *size)) if len(size) == 1 else (x, size)
    rows, columns = (n // k for n, k in zip(x.shape[1:3], size, strict=True))
    x = x[:, : rows * size[0], : columns * size[1]].reshape(len(x), rows, size[0], columns, size[1], -1)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(len(x), rows, columns, x.shape[-1], -1)


def with_places(seed: int, dtype: Any = "f4") -> list[Case]:
    """A pool that keeps the places of the greatest, and its adjoint by these: few different numbers, many are equal."""
    rng, relu = np.random.default_rng(seed), seed % 2 == 1
    size = tuple(int(n) for n in rng.choice(((2, 2), (1, 3), (4, 2))[: 3 if seed % 3 else 1]))
    stride = tuple(k + int(rng.integers(0, 2)) for k in size)
    x = rng.integers(-2, 3, (int(rng.integers(1, 4)), *rng.integers(4, 9, 2), int(rng.integers(1, 9)))).astype(dtype)
    how: dict[str, Any] = {"size": size, "stride": stride, "padding": ((0, 0), (0, 0))}
    assert launches.keeps(x, **how, relu=relu)
    y = registry["max_pool"].kernel(np, x, **how)
    y = np.maximum(y, 0) if relu else y
    slid = np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))[:, :: stride[0], :: stride[1]]
    bits = places_of(slid.reshape(*y.shape, -1), relu)[1]
    g, gpu, back = drawn(rng, y.shape, dtype), Keeping(1), Keeping(1)
    places = output(y.shape, "u1")
    out = launches.max_pool(gpu, x, **how, relu=relu, places=places)
    v = launches.hand_out(back, g, bits, **how, lengths=x.shape[1:3])
    expected = registry["max_unpool"].kernel(np, g * (y > 0) if relu else g, x, y, **how)
    return [
        Case(gpu.file, gpu.options, gpu.kept, ((out, y, 0), (places, bits, 0))),
        Case(back.file, back.options, back.kept, ((v, expected, 0),)),
    ]


def pooled_convolution(seed: int, dtype: Any = "f4") -> Case:
    """The greatest of a convolution in one launch: the bits of the convolution's own launch, which is run for it."""
    rng, of_x, of_w, how = windows(seed)
    pool = ((4,),) if len(of_w) == 3 else ((2, 2), (1, 4), (4, 1))
    of_pool, relu = pool[seed % len(pool)], seed % 2 == 1
    of_x = of_x[0], *(n + 12 for n in of_x[1:-1]), of_x[-1]
    x, w, b = (rng.integers(-1, 2, shape).astype(dtype) for shape in (of_x, of_w, of_w[-1:]))  # many are equal, or 0
    whole = sliding("convolution", (x, w, b), **how)
    whole.run()
    z, gpu = whole.expected[0][0], Keeping(1)
    y, bits = places_of(in_windows(z, of_pool), relu)
    places = output(y.shape, "u1")
    out = launches.convolution_max_pool(gpu, x, w, b, **how, pool=of_pool, relu=relu, places=places)
    return Case(gpu.file, gpu.options, gpu.kept, ((out, y.reshape(out.shape), 0), (places, bits, 0)))


def of_channels(rows: int, count: int, dtype: Any = "f4", mean: float = 1e4, sms: int = 2) -> list[Case]:
    """The sums of so many channels, their moments about a mean that is large beside the spread, and what the gradient
    of a normalisation sums."""
    rng, eps = np.random.default_rng(rows), np.finfo(dtype).eps
    x, g = (rng.standard_normal((rows, count)) + mean).astype(dtype), drawn(rng, (rows, count), dtype)
    exact, slopes = x.astype(np.longdouble), g.astype(np.longdouble)
    middle = exact.mean(0).astype(dtype)
    distance, parts = exact - middle, [Keeping(sms) for _ in range(3)]
    with patch.object(channels, "LEAST", 1):
        made = channels.sums(parts[0], g), channels.moments(parts[1], x), channels.slopes(parts[2], g, x, middle)
    wide = abs(exact - exact.mean(0)).max(0)
    bounds = (
        (rows + 4) * eps * abs(slopes).sum(0),
        np.stack([eps * (abs(middle) + 8 * wide), 40 * eps * wide * wide]),
        np.stack([(rows + 4) * eps * abs(slopes).sum(0), (rows + 4) * eps * abs(slopes * distance).sum(0)]),
    )
    along = (slopes * distance).sum(0)
    expected = slopes.sum(0), np.stack([exact.mean(0), exact.var(0)]), np.stack([slopes.sum(0), along])
    return [
        Case(gpu.file, gpu.options, gpu.kept, ((out, right, bound), (gpu.arrived, 0, 0)))
        for gpu, out, right, bound in zip(parts, made, expected, bounds, strict=True)
    ]
