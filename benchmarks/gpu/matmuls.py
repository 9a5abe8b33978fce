"""The bare matrix products of a training step, which a step on a GPU is held against."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from ...engine import backend
from ...engine.cuda.cublas import takes
from ...engine.cuda.launch import gpu_named
from ..speed.limits import products_of, work_of
from ..speed.workloads import Convolutional, Training
from ..timing import in_turns
from .peaks import PRECISIONS
from .steps import drawn


def of_step(sizes: tuple[int, ...], batch: int) -> dict[tuple[int, int, int, bool, bool], int]:
    """Those of a step, as `products_of` has them: a W, and backward aᵀ g and, but for the first layer, g Wᵀ."""
    return products_of(Training("random", batch, sizes, batch))


def flops_of(sizes: tuple[int, ...], batch: int, filters: tuple[int, ...] = ()) -> int:
    """Multiplications and additions in the products of a step, convolutions being products of columns."""
    task = ("random", batch, sizes, batch)
    return work_of(Convolutional(*task, filters=filters) if filters else Training(*task))["flops"]


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


SIDE, QUICK_SIDE = 8192, 64


def square_rates(device: str, quick: bool) -> dict[str, Any]:
    """Operations a second of one large square product of float32 by cuBLAS, by how its factors are rounded."""
    blas, side = gpu_named(device).blas, QUICK_SIDE if quick else SIDE
    if blas is None:
        return {}
    a, b = (backend.send(drawn(side, side, 2)[0], device) for _ in range(2))
    with backend.working(device, "a large product"):
        out = backend.load_cupy().empty((side, side), "float32")

        def product(precision: str) -> Any:
            with backend.working(device, "a large product"):
                blas.product(a, b, out, precision)

        works = {precision: partial(product, precision) for precision in PRECISIONS}
        seconds = in_turns(works, 1 if quick else 3, 1 if quick else 5, device)
    return {p: {"side": side, "flops_per_second": 2 * side**3 / took} for p, took in seconds.items()}


def bare_seconds(device: str, sizes: tuple[int, ...], batch: int, rounds: int, times: int) -> tuple[float, str]:
    """How long the products of a step take, and by what they were done."""
    products = Products(device, sizes, batch)
    return in_turns({"": products}, rounds, times, device)[""], products.by
