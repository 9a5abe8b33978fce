"""A large step against the bare time of its matrix products, in the same precision and on the same shapes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ...engine import backend
from ...engine.cuda.cublas import takes
from ...engine.cuda.launch import gpu_named
from ..timing import in_turns
from .steps import drawn, steps

SIZES, BATCH = (784, 4096, 4096, 4096, 10), 8192
QUICK_SIZES, QUICK_BATCH = (24, 64, 64, 10), 64
STEPS = 4
"""Steps an epoch."""
ROUNDS, QUICK_ROUNDS = 5, 1


def shapes_of(sizes: tuple[int, ...], batch: int) -> list[tuple[str, int, int, int]]:
    """The products of a step as (which, m, k, n): a W, and backward aᵀ g and, but for the first layer, g Wᵀ."""
    found = []
    for layer, (n, m) in enumerate(pairwise(sizes)):
        found += [("a W", batch, n, m), ("aᵀ g", n, batch, m)]
        if layer:
            found.append(("g Wᵀ", batch, m, n))
    return found


def flops_of(sizes: tuple[int, ...], batch: int) -> int:
    """Multiplications and additions in the products of a step."""
    return sum(2 * m * k * n for _, m, k, n in shapes_of(sizes, batch))


class Products:
    """The products of a step, one after the other: by cuBLAS on the engine's handle, else by CuPy. by: which it is."""

    def __init__(self, device: str, sizes: tuple[int, ...], batch: int) -> None:
        self.device, self.xp, blas = device, backend.load_cupy(), gpu_named(device).blas
        self.by = "cuBLAS" if blas is not None else "CuPy"
        self.calls: list[tuple[Any, Any, Any]] = []
        x, _ = drawn(batch, max(sizes), 2)
        for layer, (n, m) in enumerate(pairwise(sizes)):
            a, g = (backend.send(x[:, :width].copy(), device) for width in (n, m))
            w = backend.send(drawn(n, m, 2)[0], device)
            factors = [(a, w), (a.T, g)] + ([(g, w.T)] if layer else [])
            with backend.working(device, "the products of a step"):
                made = [(left, right, self.xp.empty((left.shape[0], right.shape[1]), "float32"))
                        for left, right in factors]  # fmt: skip
            self.calls += made
        if blas is not None and all(takes(a, b) for a, b, _ in self.calls):
            self.product: Any = blas.product
        else:
            self.by, self.product = "CuPy", lambda a, b, out: self.xp.matmul(a, b, out=out)

    def __call__(self) -> None:
        """Enqueue all of them."""
        with backend.working(self.device, "the products of a step"):
            for a, b, out in self.calls:
                self.product(a, b, out)


def bare_seconds(device: str, sizes: tuple[int, ...], batch: int, rounds: int, times: int) -> tuple[float, str]:
    """How long the products of a step take, and by what they were done."""
    products = Products(device, sizes, batch)
    return in_turns({"": products}, rounds, times, device)[""], products.by


def measure_products(device: str, quick: bool) -> dict[str, Any]:
    """A captured step, the products alone, and the ratio."""
    sizes, batch = (QUICK_SIZES, QUICK_BATCH) if quick else (SIZES, BATCH)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    x, labels = drawn(STEPS * batch, sizes[0], sizes[-1])
    with steps(device, sizes, x, labels, batch, rate=1e-4) as training:
        step = training.seconds(rounds, 3, 10.0)
        standing = training.standing()
    bare, by = bare_seconds(device, sizes, batch, rounds, STEPS)
    flops = flops_of(sizes, batch)
    return {
        "sizes": list(sizes), "batch": batch, "dtype": "float32", "standing": standing, "by": by, "flops": flops,
        "step_seconds": step, "products_seconds": bare, "ratio": step / bare,
        "step_flops_per_second": flops / step, "products_flops_per_second": flops / bare,
    }  # fmt: skip
