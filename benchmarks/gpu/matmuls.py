"""The bare matrix products of a training step, which a step on a GPU is held against."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...engine import backend
from ...engine.cuda.cublas import takes
from ...engine.cuda.launch import gpu_named
from ..speed.limits import products_of
from ..speed.workloads import Training
from ..timing import in_turns
from .steps import drawn


def of_step(sizes: tuple[int, ...], batch: int) -> dict[tuple[int, int, int, bool, bool], int]:
    """Those of a step, as `products_of` has them: a W, and backward aᵀ g and, but for the first layer, g Wᵀ."""
    return products_of(Training("random", batch, sizes, batch))


def flops_of(sizes: tuple[int, ...], batch: int) -> int:
    """Multiplications and additions in the products of a step."""
    return sum(2 * n * k * m * times for (n, k, m, _, _), times in of_step(sizes, batch).items())


class Products:
    """The products of a step, one after the other: by cuBLAS on the engine's handle, else by CuPy. by: which it is."""

    def __init__(self, device: str, sizes: tuple[int, ...], batch: int) -> None:
        self.device, self.xp, blas = device, backend.load_cupy(), gpu_named(device).blas

        @cache
        def matrix(rows: int, columns: int, turned: bool) -> Any:
            sent = backend.send(drawn(*((columns, rows) if turned else (rows, columns)), 2)[0], device)
            return sent.T if turned else sent

        self.calls: list[tuple[Any, Any, Any]] = []
        for (n, k, m, left, right), times in of_step(sizes, batch).items():
            a, b = matrix(n, k, left), matrix(k, m, right)
            with backend.working(device, "the products of a step"):
                self.calls += [(a, b, self.xp.empty((n, m), "float32")) for _ in range(times)]
        self.product: Any = lambda a, b, out: self.xp.matmul(a, b, out=out)
        self.by = "CuPy"
        if blas is not None and all(takes(a, b) for a, b, _ in self.calls):
            self.by, self.product = "cuBLAS", blas.product

    def __call__(self) -> None:
        """Enqueue all of them."""
        with backend.working(self.device, "the products of a step"):
            for a, b, out in self.calls:
                self.product(a, b, out)


def bare_seconds(device: str, sizes: tuple[int, ...], batch: int, rounds: int, times: int) -> tuple[float, str]:
    """How long the products of a step take, and by what they were done."""
    products = Products(device, sizes, batch)
    return in_turns({"": products}, rounds, times, device)[""], products.by
