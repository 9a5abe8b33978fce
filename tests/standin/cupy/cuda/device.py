"""cupy.cuda.device: the current device."""

from __future__ import annotations

import threading
from typing import Any

from . import runtime

MULTIPROCESSORS = 4

_thread = threading.local()


class Device:
    """A device by its number; as a context, the current device."""

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = runtime.getDevice() if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __enter__(self) -> Device:
        before = runtime.getDevice()
        self.use()
        _thread.__dict__.setdefault("before", []).append(before)
        return self

    def __exit__(self, *error: Any) -> None:
        runtime.setDevice(_thread.before.pop())

    def use(self) -> None:
        """Make it the current device of this thread."""
        runtime.setDevice(self.id)

    def synchronize(self) -> None:
        """Wait for it."""
        with self:
            runtime.deviceSynchronize()

    @property
    def compute_capability(self) -> str:
        """As two digits."""
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        """The free and the whole memory, in bytes."""
        with self:
            return runtime.memGetInfo()

    @property
    def attributes(self) -> dict[str, Any]:
        """What CUDA says of it, a few of them."""
        return {
            "MaxThreadsPerBlock": 1024, "MaxSharedMemoryPerBlock": 49152, "MaxSharedMemoryPerBlockOptin": 232448,
            "MultiProcessorCount": MULTIPROCESSORS, "WarpSize": 32,
            "ComputeCapabilityMajor": 9, "ComputeCapabilityMinor": 0,
            "MaxThreadsPerMultiProcessor": 2048, "L2CacheSize": 50 << 20, "CooperativeLaunch": 1,
        }  # fmt: skip

    @property
    def pci_bus_id(self) -> str:
        """An invented one."""
        return f"0000:{self.id:02X}:00.0"


def get_device_id() -> int:
    """The number of the current device."""
    return runtime.getDevice()


def get_compute_capability() -> str:
    """As two digits."""
    return "90"


def get_cublas_handle() -> int:
    """CuPy's own handle of cuBLAS; the stand-in has none, and computes its products by NumPy."""
    return 1
