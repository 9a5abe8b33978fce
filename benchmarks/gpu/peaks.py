"""What cards can do at best, so that a rate can be told as a share of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRECISIONS = ("float32", "tf32", "bfloat16")
PEAKS: Mapping[str, tuple[float, float, float]] = {
    "NVIDIA H200": (67.0, 494.5, 989.5),
    "NVIDIA H100 80GB HBM3": (67.0, 494.5, 989.5),
    "NVIDIA H100 PCIe": (51.0, 378.0, 756.0),
    "NVIDIA A100": (19.5, 156.0, 312.0),
    "NVIDIA L40S": (91.6, 183.0, 366.0),
}
"""By how the driver's name of a card begins: 10¹² operations a second in PRECISIONS, without sparsity, as NVIDIA's data
sheets have them. Of another card the rate of a large product by cuBLAS is taken, where it was measured.
"""


def peaks(results: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Operations a second by precision, and where they are from; empty where nothing is known."""
    name = results["machine"]["gpu"]
    for card, figures in PEAKS.items():
        if name.startswith(card):
            return {p: figure * 1e12 for p, figure in zip(PRECISIONS, figures, strict=True)}, "NVIDIA's data sheet"
    products = results["sections"].get("products", {})
    measured = {p: found["flops_per_second"] for p, found in products.get("square", {}).items()}
    return measured, "the best large product by cuBLAS" if measured else ""
