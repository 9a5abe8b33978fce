"""Who takes part on a GPU: the same adapters as on the CPU, with the model and the data on the device."""

from __future__ import annotations

from collections.abc import Mapping

from ..speed.contestants import CONTESTANTS, PLACE, YARDSTICK, Contestant
from ..speed.workloads import Training, Workload

KINDS = ("training",)


def _on_gpu(name: str, module: str, variant: str, packages: tuple[str, ...], setting: str, quick: bool) -> Contestant:
    return Contestant(name, f"{PLACE}.{module}", variant, packages, setting, KINDS, quick, "gpu")


_ALL = (
    CONTESTANTS[YARDSTICK],
    _on_gpu("eager", "ours", "eager", ("numpy",), "chalkgrad on its tape: `run_eagerly=True`", True),
    _on_gpu("captured", "ours", "captured", ("numpy",), "chalkgrad, steps as CUDA graphs, an epoch enqueued", True),
    _on_gpu("pytorch eager", "pytorch", "eager", ("torch",), "data on the device, `Adam(fused=True)`", True),
    _on_gpu("pytorch graphs", "pytorch", "graphs", ("torch",),
            "whole steps as `torch.cuda.CUDAGraph`, indices copied in, `Adam(fused=True, capturable=True)`", True),
    _on_gpu("pytorch compiled", "pytorch", "compiled", ("torch",),
            "forward and backward through `torch.compile(mode='reduce-overhead')`, `Adam(fused=True)`", False),
    _on_gpu("jax step", "jax_", "step", ("jax", "jaxlib"),
            "one jitted step in a Python loop, donated buffers, Adam in jnp", True),
    _on_gpu("jax scan", "jax_", "scan", ("jax", "jaxlib"), "a whole epoch in one jitted `lax.scan`", True),
)  # fmt: skip

GPU_CONTESTANTS: Mapping[str, Contestant] = {contestant.name: contestant for contestant in _ALL}
"""The contestants by name; hand-written NumPy, on the CPU, tells the loss that all others must reach."""

WORKLOAD = Workload(
    "mnist", "MNIST, 784-128-10, batch 128",
    Training("mnist", 60_000, (784, 128, 10), 128), Training("mnist", 448, (784, 128, 10), 128),
    "step", 0.01, warmups=5, least=0.1,
)  # fmt: skip
"""Its last batch is short, so that two programs take turns."""
