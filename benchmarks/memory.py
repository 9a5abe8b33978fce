"""What memory this process has, and how its peak and its room are set: Linux tells all of it, others what they can."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

FIELDS = {"held_bytes": "VmRSS", "peak_bytes": "VmHWM", "space_bytes": "VmSize"}
"""What /proc calls them."""


def memory() -> dict[str, int]:
    """Bytes that are held, the most that were, and the address space taken; 0 where that cannot be told."""
    try:
        sizes = dict(re.findall(r"(\w+):\s*(\d+) kB", Path("/proc/self/status").read_text()))
    except OSError:
        return dict.fromkeys(FIELDS, 0) | dict.fromkeys(("held_bytes", "peak_bytes"), _elsewhere())
    return {name: 1024 * int(sizes.get(field, 0)) for name, field in FIELDS.items()}


def _elsewhere() -> int:
    try:
        import resource  # Unix alone has it
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Let the peak begin anew; not possible everywhere."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def limit_memory(room: int) -> None:
    """Refuse what asks for more address space than `room` bytes above what is taken; on Linux alone."""
    if sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (memory()["space_bytes"] + room, hard))
