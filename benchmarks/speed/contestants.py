"""Who takes part: each contestant's engine, how it is used, and what has to be installed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import unknown_name
from ..peers import NOT_INSTALLED, version

YARDSTICK = "numpy"
"""The contestant that all others are held against: in loss, and in time."""
OURS = ("eager", "captured", "jit", "fit by fit", "one launch")
"""The contestants that are chalkgrad."""

PLACE = f"{__package__}.adapters"
EVERYTHING = ("training", "chain", "tree", "cross-entropy", "update")
PREDICTING = ("prediction", *EVERYTHING)
WITH_LAYERS = ("convolutional", "attention", *PREDICTING)
"""With convolutions and attention. Hand-written NumPy has neither: the first of these is what the others must reach."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work. module, variant: its adapter. packages: what it needs. kinds: what it can do.

    setting: how it is used, in words. in_quick: whether the quick run asks it; compilers that think for half a minute
    are not asked. device: where it computes, "cpu" or "gpu".
    """

    name: str
    module: str
    variant: str
    packages: tuple[str, ...]
    setting: str
    kinds: tuple[str, ...] = EVERYTHING
    in_quick: bool = True
    device: str = "cpu"

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        return tuple(package for package in self.packages if version(package) is None)

    @property
    def versions(self) -> dict[str, str]:
        """The versions of what it needs."""
        return {package: version(package) or NOT_INSTALLED for package in self.packages}


_ALL = (
    Contestant(YARDSTICK, f"{PLACE}.handwritten", "", ("numpy",),
               "by hand: every buffer made beforehand, out= everywhere, Adam in ten passes, blocks that fit the cache",
               PREDICTING),
    Contestant("numpy+numba", f"{PLACE}.handwritten_numba", "", ("numpy", "numba"),
               "the same by hand, with serial Numba loops in place of elementwise passes"),
    Contestant("eager", f"{PLACE}.ours", "eager", ("numpy",), "chalkgrad on its tape: `run_eagerly=True`", WITH_LAYERS),
    Contestant("captured", f"{PLACE}.ours", "captured", ("numpy",),
               "chalkgrad, the step captured once and replayed on NumPy: `jit_compile=False`", WITH_LAYERS),
    Contestant("jit", f"{PLACE}.ours", "jit", ("numpy", "numba"),
               "chalkgrad as README installs it, with Numba: elementwise groups compiled, epochs of a large net in one "
               "call: `jit_compile=True`", WITH_LAYERS),
    Contestant("fit by fit", f"{PLACE}.ours", "fit by fit", ("numpy", "numba"),
               "the same, with a call of `fit(epochs=1)` for each epoch", kinds=("training",)),
    Contestant("pytorch eager", f"{PLACE}.pytorch", "eager", ("torch",),
               "batches by index from tensors, `Adam(fused=True)`", WITH_LAYERS),
    Contestant("pytorch compiled", f"{PLACE}.pytorch", "compiled", ("torch",),
               "the same, forward and backward through `torch.compile`", PREDICTING, in_quick=False),
    Contestant("jax step", f"{PLACE}.jax_", "step", ("jax", "jaxlib"),
               "one jitted step in a Python loop, donated buffers, Adam in jnp", PREDICTING),
    Contestant("jax scan", f"{PLACE}.jax_", "scan", ("jax", "jaxlib"),
               "a whole epoch, or chain, or all updates, in one jitted `lax.scan`",
               kinds=("training", "chain", "update")),
    Contestant("keras on jax", f"{PLACE}.keras_", "", ("keras", "jax"),
               "`fit` of a Sequential, compiled through JAX", kinds=("training", "prediction")),
    Contestant("autograd", f"{PLACE}.autograd_", "", ("autograd",), "`value_and_grad`; hand-written Adam in NumPy",
               kinds=EVERYTHING[:-1]),
    Contestant("mygrad", f"{PLACE}.mygrad_", "", ("mygrad",),
               "tensors without memory guarding, `backward`; hand-written Adam in NumPy", kinds=EVERYTHING[:-1]),
)  # fmt: skip

CONTESTANTS: Mapping[str, Contestant] = {contestant.name: contestant for contestant in _ALL}
"""The contestants by name, in the order in which they are shown."""


def _on_gpu(name: str, module: str, variant: str, packages: tuple[str, ...], setting: str, quick: bool) -> Contestant:
    kinds = ("training",) if module == "jax_" else ("training", "convolutional")
    return Contestant(name, f"{PLACE}.{module}", variant, packages, setting, kinds, quick, "gpu")


_ALL_ON_GPU = (
    CONTESTANTS[YARDSTICK],
    _on_gpu("eager", "ours", "eager", ("numpy",), "chalkgrad on its tape: `run_eagerly=True`", True),
    _on_gpu("captured", "ours", "captured", ("numpy",), "chalkgrad, steps as CUDA graphs, an epoch enqueued", True),
    _on_gpu("one launch", "ours", "one launch", ("numpy",),
            "chalkgrad as README installs it: many steps of a small net in one cooperative launch", True),
    _on_gpu("pytorch eager", "pytorch", "eager", ("torch",), "data on the device, `Adam(fused=True)`", True),
    _on_gpu("pytorch graphs", "pytorch", "graphs", ("torch",),
            "whole steps as `torch.cuda.CUDAGraph`, indices copied in, `Adam(fused=True, capturable=True)`", True),
    _on_gpu("pytorch compiled", "pytorch", "compiled", ("torch",),
            "forward and backward through `torch.compile(mode='reduce-overhead')`, `Adam(fused=True)`", False),
    _on_gpu("jax step", "jax_", "step", ("jax", "jaxlib"),
            "one jitted step in a Python loop, donated buffers, Adam in jnp", True),
    _on_gpu("jax scan", "jax_", "scan", ("jax", "jaxlib"), "a whole epoch in one jitted `lax.scan`", True),
)  # fmt: skip

GPU_CONTESTANTS: Mapping[str, Contestant] = {contestant.name: contestant for contestant in _ALL_ON_GPU}
"""The contestants by name; hand-written NumPy, on the CPU, tells the loss that all others must reach."""


def find_contestants(
    names: Sequence[str], quick: bool, known: Mapping[str, Contestant] = CONTESTANTS
) -> list[Contestant]:
    """The contestants of these names and the yardstick, or where there are none those of the run.

    Raises UsageError for an unknown name.
    """
    for name in names:
        if name not in known:
            raise unknown_name("contestant", name, known)
    chosen = (c for c in known.values() if (c.name in names if names else c.in_quick or not quick))
    return list({known[YARDSTICK]: None, **dict.fromkeys(chosen)})
