"""What the other modules share: the signatures of the real CuPy, the counts of transfers, and the emulated cards."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

SIGNATURES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "signatures.json").read_text("utf-8"))


def signature(parameters: list[list[Any]]) -> inspect.Signature:
    """The signature that is listed as name, kind and whether it may be left out."""
    kinds = {kind.name: kind for kind in inspect._ParameterKind}
    return inspect.Signature(
        [
            inspect.Parameter(name, kinds[kind], default=None if optional else inspect.Parameter.empty)
            if "VAR_" not in kind
            else inspect.Parameter(name, kinds[kind])
            for name, kind, optional in parameters
        ]
    )


class Transfers:
    """How often, and how many bytes, went from the host to a device and back; exists in the stand-in only.

    implicit: those made by float, int, bool, item and iteration. waits: where a device was waited for, without the
    caller asking, since the shape of a result depends on values.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from 0 again."""
        self.to_host = self.to_host_bytes = self.to_device = self.to_device_bytes = self.implicit = self.waits = 0

    def count_to_host(self, nbytes: int) -> None:
        """One transfer from a device to the host."""
        self.to_host += 1
        self.to_host_bytes += nbytes

    def count_to_device(self, nbytes: int) -> None:
        """One transfer from the host to a device."""
        self.to_device += 1
        self.to_device_bytes += nbytes

    def count_implicit(self) -> None:
        """A value is taken without a transfer that one sees; refused while `cupy.strict`."""
        if sys.modules[__package__].strict:
            raise TypeError("a host scalar is taken without a counted transfer")
        self.implicit += 1

    def __repr__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in vars(self).items())


class Cards:
    """The emulated devices: how many there are, and how much memory each has. Tests may set both."""

    count = 2
    bytes = 4 << 30


transfers = Transfers()
cards = Cards()
