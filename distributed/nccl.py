"""Sums over the ranks between GPUs, by NCCL: on the stream that computes, so also within a CUDA graph."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..engine import backend
from ..errors import UsageError

if TYPE_CHECKING:
    from .group import Group

SUM = 0
TYPES = {"int32": 2, "int64": 4, "float16": 6, "float32": 7, "float64": 8, "bfloat16": 9}
"""NCCL's numbers (nccl.h: ncclSum, ncclDataType_t)."""


class Nccl:
    """The ranks of a group, each on a GPU of its own. Every rank makes one, at the same time.

    MPI carries the id by which they find each other, and all else is NCCL's. Raises UsageError, on each rank, where
    two ranks have one GPU, which NCCL does not allow; DeviceError where CuPy has no NCCL.
    """

    def __init__(self, group: Group, device: str) -> None:
        library = backend.load_nccl()
        cards = group.gathered((socket.gethostname(), backend.card_of(device), device))
        for rank, (host, card, name) in enumerate(cards):
            for other in range(rank):
                if cards[other][:2] == (host, card):
                    raise UsageError(
                        f"rank {other} and rank {rank} are on one GPU ({name}, {card} of {host}), and NCCL does not "
                        "allow that: start as many ranks as there are GPUs, and make the model with "
                        "device=world().gpu, or give each rank its own CUDA_VISIBLE_DEVICES."
                    )
        self.device = device
        number = group.gathered(library.get_unique_id() if group.leads else None)[0]
        with backend.working(device, "NCCL"):
            self._ranks = library.NcclCommunicator(group.size, number, group.rank)

    def allreduce(self, array: backend.Array) -> None:
        """array ← Σ over the ranks, in place, enqueued on the current stream; the host does not wait."""
        kind = TYPES.get(array.dtype.name)
        if kind is None or backend.device_of(array) != self.device:
            raise UsageError(
                f"a sum over ranks of {array.dtype} on {backend.device_of(array)}: NCCL adds {', '.join(TYPES)} on "
                f"{self.device}, the device that the training began on."
            )
        xp = backend.load_cupy()
        whole = array if array.flags.c_contiguous else xp.ascontiguousarray(array)
        place, stream = backend.address_of(whole), xp.cuda.get_current_stream().ptr
        self._ranks.allReduce(place, place, whole.size, kind, SUM, stream)
        if whole is not array:
            xp.copyto(array, whole)
