"""Thousands of replays: no memory is lost, and the numbers and times at the end are what they were.

    python -m chalkgrad.benchmarks.gpu.replays --json FILE [--quick]

Two trainings from the same weights must end with the same bits, and steps over the tape too. What the arrays of the
device take, and what the host holds, must not grow.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy

from ...engine import backend
from ...errors import ChalkgradError
from ..memory import memory
from ..peers import command_line, write
from .steps import Steps, drawn, steps

SIZES, QUICK_SIZES, BATCH = (784, 128, 10), (24, 16, 10), 128
REPLAYS, QUICK_REPLAYS = 10_000, 64
AT_ONCE, QUICK_AT_ONCE = 500, 16
"""Steps an epoch."""
TAPE, QUICK_TAPE = 1_000, 16
"""Steps over the tape, to compare with as many replays."""
KEPT_ROOM, HOST_ROOM = 1 << 20, 16 << 20
"""Bytes by which CuPy's pool and the host's memory may grow after the first fifth: what allocators do of themselves."""
SLOWER = 1.5
"""How many times as long the last fifth may take as the first after the warm-up."""


def weights_of(training: Steps) -> Any:
    """All weights, one after the other."""
    return numpy.concatenate([w.ravel() for w in training.model.get_weights()])


def run(
    device: str, sizes: Sequence[int], x: Any, labels: Any, replays: int, captured: bool = True
) -> tuple[Any, list[dict[str, Any]], str]:
    """The weights after so many steps, and after each epoch what is held, and the seconds of a step."""
    rows = []
    with steps(device, sizes, x, labels, BATCH, captured=captured, shuffle=True) as training:
        while training.epochs * training.count < replays:
            start = time.perf_counter()
            loss = training.epoch().read()["loss"]
            seconds = (time.perf_counter() - start) / training.count
            gc.collect()  # tracing leaves cycles: garbage, and not a loss, but when Python collects it is chance
            now = backend.memory(device)
            rows.append({
                "steps": training.epochs * training.count, "loss": loss, "seconds": seconds, "used_bytes": now.used,
                "kept_bytes": now.kept, "free_bytes": now.free, "host_bytes": memory()["held_bytes"],
            })  # fmt: skip
        return weights_of(training), rows, training.standing() if captured else "tape"


def prove(device: str, quick: bool) -> dict[str, Any]:
    """Memory, time and bits before and after."""
    replays, at_once, tape = (QUICK_REPLAYS, QUICK_AT_ONCE, QUICK_TAPE) if quick else (REPLAYS, AT_ONCE, TAPE)
    sizes = QUICK_SIZES if quick else SIZES
    x, labels = drawn(at_once * BATCH, sizes[0], sizes[-1])
    first, rows, standing = run(device, sizes, x, labels, replays)
    second, again, _ = run(device, sizes, x, labels, replays)
    few, _, _ = run(device, sizes, x, labels, tape)
    on_tape, _, _ = run(device, sizes, x, labels, tape, captured=False)
    fifth = max(1, len(rows) // 5)
    before, after = rows[fifth - 1], rows[-1]
    grown = {name: after[name] - before[name] for name in ("used_bytes", "kept_bytes", "host_bytes")}
    times = [sum(row["seconds"] for row in part) / len(part) for part in (rows[fifth : 2 * fifth], rows[-fifth:])]
    checks = {
        "the step is a CUDA graph": standing == "graph",
        "the arrays on the device take what they took": grown["used_bytes"] == 0,
        "CuPy keeps what it kept": grown["kept_bytes"] <= KEPT_ROOM,
        "the host holds what it held": grown["host_bytes"] <= HOST_ROOM,
        "two trainings end with the same bits": first.tobytes() == second.tobytes(),
        "their losses are the same": [row["loss"] for row in rows] == [row["loss"] for row in again],
        f"{tape:,} replays end with the bits of as many steps over the tape": few.tobytes() == on_tape.tobytes(),
        "the weights are finite": bool(numpy.isfinite(first).all()),
    }
    checks |= {} if quick else {"the last replays are as fast as the first": times[1] <= SLOWER * times[0]}
    text = [f"{replays:,} replays, {standing}: used {before['used_bytes']:,} bytes, {grown['used_bytes']:+,} after; "
            f"kept {grown['kept_bytes']:+,}, host {grown['host_bytes']:+,}; "
            f"{times[0] * 1e6:.0f} µs a step, then {times[1] * 1e6:.0f} µs"]  # fmt: skip
    text += [f"{'holds' if holds else 'DOES NOT HOLD'}: {name}" for name, holds in checks.items()]
    return {"replays": replays, "right": all(checks.values()), "text": text, "checks": checks, "rows": rows}


def main() -> int:
    """The command; returns its exit code: 0 where all holds, 1 where it does not or cannot be tried."""
    parser = command_line("gpu.replays", __doc__)
    parser.add_argument("--json", help="the file for what was found")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it runs")
    parser.add_argument("--device", default="gpu", help="gpu or gpu:N  [default: gpu]")
    options = parser.parse_args()
    try:
        found = prove(backend.resolve_device(options.device), options.quick)
        if options.json:
            write(options.json, found)
    except ChalkgradError as error:
        parser.exit(1, f"error: {error}\n")
    print("\n".join([*found["text"], "right" if found["right"] else "WRONG"]))
    return int(not found["right"])


if __name__ == "__main__":
    sys.exit(main())
