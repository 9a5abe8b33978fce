"""The typed arrays that a program in JavaScript works on, and what they hold when it begins."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy

from ..engine import backend
from .places import Place

TYPES = {
    "float32": "Float32Array", "float64": "Float64Array", "int64": "Float64Array", "int32": "Int32Array",
    "int16": "Int16Array", "int8": "Int8Array", "uint8": "Uint8Array", "bool": "Uint8Array",
}  # fmt: skip
"""Integers of 64 bits are exact in float64 as far as 2⁵³, which no index of ours reaches."""


@dataclass
class Memory:
    """A typed array. owner: the array that has the memory in Python, of which the bytes from low to high are used here.

    needed: the elements that have to be there at the beginning; None for none.
    """

    name: str
    owner: Any
    low: int
    high: int
    dtype: numpy.dtype[Any]
    needed: Any = None

    @property
    def contents(self) -> Any:
        """What it holds at the beginning, as the browser has it; None for zeros."""
        if self.needed is None:
            return None
        owner = self.owner.ravel(order="K")  # the elements as they lie in memory
        first = self.low // self.dtype.itemsize
        held = numpy.where(self.needed, owner[first : first + self.length], numpy.zeros((), self.dtype))
        return (held.astype("float64") if self.dtype == "int64" else held) if held.any() else None

    @property
    def length(self) -> int:
        """How many elements."""
        return (self.high - self.low) // self.dtype.itemsize


@dataclass
class Program:
    """JavaScript for several lists. text: `(M) => ({name: () => …})`. inputs, outputs: of each list, by its name.

    owned: what is in memory, by the id of the array that has it in Python.
    """

    text: str = ""
    memory: dict[str, Memory] = field(default_factory=dict)
    owned: dict[int, Memory] = field(default_factory=dict)
    inputs: dict[str, list[Place]] = field(default_factory=dict)
    outputs: dict[str, list[Place]] = field(default_factory=dict)

    def described(self, packed: Mapping[tuple[str, int], Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """What `web/net.js` needs beside the text, as JSON takes it. packed: parts of a memory in another encoding, by
        the memory's name and the first element: see `quantised`."""
        return {
            "memory": {m.name: [TYPES[m.dtype.name], m.length, _parts(m, packed or {})] for m in self.memory.values()},
            "inputs": {name: [_plain(p) for p in places] for name, places in self.inputs.items()},
            "outputs": {name: [_plain(p) for p in places] for name, places in self.outputs.items()},
        }

    def at(self, array: Any) -> tuple[str, int]:
        """In which memory, and from which element on, an array lies that the lists took from outside."""
        owner = backend.owner_of(array)
        at = backend.address_of(array) - backend.address_of(owner)
        for m in self.memory.values():
            if m.low <= at < m.high and m.owner is owner:
                return m.name, (at - m.low) // m.dtype.itemsize
        raise KeyError("the lists do not use that array")


def quantised(array: Any) -> tuple[Any, dict[str, Any]]:
    """int8 with a scale for each output channel, which is the last axis: the array as it will be, and its encoding.

    w ≈ q · s, where s = max |w| / 127 over the channel; both in float32, so that the browser has the same bits.
    """
    columns = array.reshape(-1, array.shape[-1])
    scales = (numpy.abs(columns).max(axis=0) / 127).astype("float32")
    q = numpy.rint(columns / numpy.where(scales == 0, 1, scales)).astype("int8")
    held = (q * scales).astype("float32").reshape(array.shape)
    return held, {"q": encoded(q), "s": encoded(scales)}


def encoded(array: Any) -> str:
    """The elements as text, which `chalkArray` of net.js reads, to the bit: deflated, in base64.

    The first bytes of all elements stand before all second ones, since exponents are alike.
    """
    elements = numpy.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).reshape(-1)
    planes = elements.view("uint8").reshape(-1, array.itemsize).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()


def _parts(m: Memory, packed: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[list[Any]]:
    """What a memory holds at the beginning: the first element, and the encoding of those that follow."""
    contents = m.contents
    if contents is None:
        return []
    found: list[list[Any]] = []
    at = 0
    for (name, first), encoding in sorted(packed.items()):
        if name == m.name:
            if first > at:
                found.append([at, {"b": encoded(contents[at:first])}])
            found.append([first, {k: v for k, v in encoding.items() if k != "length"}])
            at = first + encoding["length"]
    if at < m.length:
        found.append([at, {"b": encoded(contents[at:])}])
    return found


def _plain(p: Place) -> list[Any]:
    return [p.memory, p.offset, list(p.shape), list(p.strides)]
