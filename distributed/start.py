"""The start of a training over several ranks: that all have been given the same, one beginning, and their threads."""

from __future__ import annotations

import os
import socket
import sys
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..engine.streams import say
from ..errors import UsageError
from ..replay import blas
from .group import Group, digest
from .nccl import Nccl


def begin(
    group: Group, batch_size: int, device: str, samples: Iterable[Any], told: Mapping[str, Any], arrays: Iterable[Any]
) -> None:
    """Compare what the ranks were given, and give all the arrays of the lowest one, in place.

    samples: what is trained on. told: what else must be the same, by name. Raises UsageError, on each rank, where it is
    not, where a batch has fewer rows than there are ranks, where ranks on GPUs share one.
    """
    if batch_size < group.size:
        raise UsageError(
            f"fit(batch_size={batch_size}) over {group.size} ranks: the batch is shared out among them, so it has "
            f"{group.size} samples or more, or there are fewer ranks."
        )
    if device != "cpu" and group.survives:
        raise UsageError("on GPUs a training does not survive a rank: start mpirun without --with-ft ulfm.")
    kinds = group.gathered(device.partition(":")[0])
    if len({*kinds}) > 1:
        raise UsageError(f"some ranks are on CPUs and some on GPUs: {', '.join(kinds)}, by rank.")
    data = " ".join(f"{array.dtype}{array.shape} {digest(array)}" for array in samples)
    group.check_same(
        {**{name: str(value) for name, value in told.items()}, "the program": _program(), "the data": data}
    )
    if device != "cpu" and (group.cards is None or group.cards.device != device):
        group.cards = Nccl(group, device)
    for array in arrays:
        group.broadcast(array)
    share_cores(group)


def share_cores(group: Group) -> None:
    """Let the products of each rank run on its share of the cores that it may use with others, unless the user has said
    on how many threads; the lowest rank says so, once.
    """
    if group.cores or blas.library() is None:
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]
    place = socket.gethostname(), cores
    sharing = group.gathered(place).count(place)  # a launcher may have bound each rank to cores of its own
    given = " and ".join(blas.given_threads())
    if not given:
        blas.set_threads(min(max(1, len(cores) // sharing), blas.threads()))
    group.cores = blas.threads()
    if group.leads:
        told = f", as {given} says" if given else ""
        say(f"{group.size} ranks{told}, {group.cores} of {len(cores)} cores for the products of each.")


def _program() -> str:
    """The digest of the file that was started; none in a notebook, say."""
    path = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    return f"{path.name} {zlib.crc32(path.read_bytes()):08x}" if path.is_file() else "none"
