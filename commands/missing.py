"""What to say where an optional library is missing."""

from __future__ import annotations

from ..errors import ChalkgradError
from ..hints import install_command

EXTRAS = {
    "plot": ("matplotlib", "pillow"),
    "proof": ("mpmath", "hypothesis"),
    "bench": ("torch", "jax", "keras", "autograd", "mygrad"),
    "jit": ("numba",),
    "docs": ("sphinx", "furo", "myst-parser"),
    "test": ("pytest", "pytest-xdist", "ipykernel", "nbclient", "nbformat", "playwright", "axe-playwright-python"),
}
"""The distributions that each extra brings, but for the GPU's, of which there is one for each CUDA."""


class MissingExtraError(ChalkgradError, ImportError):
    """Something was asked for that an optional library does, and the library is not there."""


def missing_extra(purpose: str, library: str) -> MissingExtraError:
    """The error for a `library` that `purpose` needs; it names the command to run."""
    extra = next(extra for extra, libraries in EXTRAS.items() if library in libraries)
    return MissingExtraError(f"{purpose} needs {library}, which is not installed: {install_command(extra)}")
