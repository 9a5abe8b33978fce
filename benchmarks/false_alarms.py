"""How often the checker calls a right rule wrong: the whole registry, proven for many seeds.

    python -m chalkgrad.benchmarks.false_alarms --seeds 0 1000 --out benchmarks/results/false-alarms.json

Each seed draws other inputs, cotangents and directions, for every primitive × example × dtype × order; the equations
are held to the code at each seed's inputs, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from ..engine.files import replacing
from ..proof.registry import prove


def run(first: int, last: int, orders: list[int], out: Path) -> None:
    """Prove the registry for the seeds first … last - 1; `out` is kept up to date, a seed at a time."""
    started, proofs, alarms = time.perf_counter(), 0, []
    for seed in range(first, last):
        for report in prove(seed=seed, samples=1, orders=orders, layouts=False):
            proofs += 1
            if not report.proven:
                alarms.append({**report.to_dict(), "curve": []})
        result = {
            "seeds": [first, seed + 1],
            "orders": orders,
            "proofs": proofs,
            "false_alarms": len(alarms),
            "seconds": round(time.perf_counter() - started, 1),
            "alarms": alarms,
        }
        with replacing(out) as temporary:
            temporary.write_text(json.dumps(result, indent=1, default=str) + "\n", "utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 3), metavar=("FIRST", "LAST"))
    parser.add_argument("--orders", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    first, last = options.seeds
    run(first, last, options.orders, options.out)


if __name__ == "__main__":
    main()
