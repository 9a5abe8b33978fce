"""The registry proven as a GPU computes it: `chalkgrad prove --device gpu`, by several processes at once.

    python -m chalkgrad.benchmarks.gpu.proofs --json FILE [--seconds S] [--quick]

What is not reached in time is left out, and told. The exit code is 1 where something is not proven that was reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...engine.primitive import registry
from ..peers import command_line, write

MOST_AT_ONCE = 8
QUICK = 24
"""With --quick each of so many primitives is proven."""


def prove(device: str, seconds: float, quick: bool, folder: Path) -> dict[str, Any]:
    """What became of each primitive; the reports of what is not proven."""
    names = list(registry)[:: QUICK if quick else 1]
    count = 1 if quick else max(1, min(MOST_AT_ONCE, (os.cpu_count() or 1) // 2))
    begin, parts = time.monotonic(), []
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(count):
            command = ["prove", *names[number::count], "--device", device, "--max-seconds", str(seconds)]
            kept, said = folder / f"{number}.json", stack.enter_context(Path(folder, f"{number}.txt").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", __package__.partition(".")[0], *command, "--json", str(kept)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
            stack.callback(_end, process)
            running.append((process, kept))
        for number, (process, kept) in enumerate(running):
            process.wait()
            if not kept.exists():
                printed = Path(folder, f"{number}.txt").read_text(encoding="utf-8", errors="replace")
                return {"right": False, "text": [*printed.splitlines()[-14:], "a process ended without its reports"]}
            parts.append(json.loads(kept.read_text(encoding="utf-8")))
    return summed(names, parts) | {"processes": count, "seconds": time.monotonic() - begin}


def _end(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()


def summed(names: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The reports of all processes, summed up. right: nothing is wrong that was reached."""
    reports = [report for part in parts for report in part["reports"]]
    left_out = {report["of"] for report in reports if report["verdict"] == "undecided" and not report["evaluations"]}
    wrong = [r for r in reports if r["verdict"] != "proven" and not (r["of"] in left_out and not r["evaluations"])]
    found = [one for report in reports for one in report["exactness"]]
    worst = max(found, key=lambda one: one["off"] / one["bound"]["ulp"], default=None)
    done = [name for name in names if name not in left_out]
    text = [f"{len(done)} of {len(names)} primitives, {len(reports) - len(left_out):,} proofs, {len(wrong)} not proven"]
    if worst is not None:
        told = f"{worst['primitive']}, {worst['of']}, {worst['dtype']}"
        text.append(f"nearest to its bound: {told}: {worst['off']:.2f} of {worst['bound']['ulp']:g} ulp")
    text += [f"NOT proven: {report['name']}: {report['verdict']} {report['detail']}"[:300] for report in wrong]
    if left_out:
        text.append(f"left out, since time was up: {', '.join(sorted(left_out))}")
    return {
        "right": not wrong, "text": text, "card": parts[0].get("card"), "primitives": len(done),
        "proofs": len(reports) - len(left_out), "left_out": sorted(left_out), "worst": worst, "wrong": wrong,
    }  # fmt: skip


def main() -> int:
    """The command; returns its exit code."""
    parser = command_line("gpu.proofs", __doc__)
    parser.add_argument("--json", help="the file for what was found")
    parser.add_argument("--seconds", type=float, default=60.0, help="for everything  [default: 60]")
    parser.add_argument("--quick", action="store_true", help="a few primitives: only to see that it runs")
    parser.add_argument("--device", default="gpu", help="gpu or gpu:N  [default: gpu]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chalkgrad-proofs-") as folder:
        found = prove(options.device, options.seconds, options.quick, Path(folder))
    if options.json:
        write(options.json, found)
    print("\n".join([*found["text"], "right" if found["right"] else "WRONG"]))
    return int(not found["right"])


if __name__ == "__main__":
    sys.exit(main())
