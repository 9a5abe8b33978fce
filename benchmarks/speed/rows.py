"""A run as rows for a table program: one for each workload and contestant, the machine in each, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from .contestants import YARDSTICK
from .growth import medians
from .results import OK, Record, Results, finished, rates, ratio, time_of

COLUMNS = (
    "processor", "cores", "gpu", "date", "chalkgrad", "workload", "size", "contestant", "status", "unit",
    "median_seconds", "lower_quartile_seconds", "upper_quartile_seconds", "least_seconds", "times_numpy", "times_limit",
    "samples_per_second", "flops_per_second", "bytes_per_second", "share_of_peak",
    "imported_bytes", "prepared_bytes", "peak_bytes", "remark",
)  # fmt: skip
"""Seconds are those of one unit. times_numpy is the median of the ratios within each round."""


def rows(results: Results) -> Iterator[dict[str, Any]]:
    """The rows of a run on the CPU, on a GPU, or of growth. What is not known of a row is not in it."""
    machine = {name: results["machine"][name] for name in COLUMNS if name in results["machine"]}
    machine["chalkgrad"] = results["chalkgrad"]
    for name, record in records(results).items():
        for contestant in record["contestants"]:
            yield machine | {"workload": name, "contestant": contestant, **_row(record, contestant)}
    for cell, kind, convolutional in cells(results):
        yield machine | {
            "workload": "a CNN, width × batch" if convolutional else "width × batch",
            "contestant": f"{cell['width']} wide, batch {cell['batch']:,}, {kind}", "status": OK, "unit": "step",
            "median_seconds": cell[kind],
        }  # fmt: skip
    for name, sweep in results.get("sweeps", {}).items():
        for contestant in sweep["lines"]:
            for size, seconds in zip(*medians(sweep, contestant), strict=True):
                yield machine | {
                    "workload": f"growth, {name}", "size": size, "contestant": contestant, "status": OK,
                    "unit": sweep["unit"], "median_seconds": seconds,
                }  # fmt: skip


def records(results: Results) -> Mapping[str, Record]:
    """The workloads of a run; on a GPU, the sections in which contestants were timed."""
    if "workloads" in results:
        return results["workloads"]  # type: ignore[no-any-return]
    return {name: s for name, s in results.get("sections", {}).items() if "contestants" in s}


def cells(results: Results) -> Iterator[tuple[Record, str, bool]]:
    """Of a run on a GPU: what was timed of width × batch, on the CPU and on the GPU, and whether of a CNN."""
    for section in results.get("sections", {}).values():
        for cell in section.get("cells", ()):
            for kind in ("cpu", "gpu"):
                if cell[kind]:
                    yield cell, kind, section.get("convolutional", False)


def _row(record: Record, name: str) -> dict[str, Any]:
    entry = record["contestants"][name]
    row = {"status": entry["status"], "unit": record["unit"]}
    if name not in finished(record):
        return row | {"remark": entry.get("reason", "")}
    time, share, bound, memory = time_of(record, name), ratio(record, name, YARDSTICK), record["bound"], entry["memory"]
    return {
        **row, "median_seconds": time.median, "lower_quartile_seconds": time.low, "upper_quartile_seconds": time.high,
        "least_seconds": time.least, **({"times_numpy": share.median} if share else {}),
        **({"times_limit": time.median * record["count"] / bound["seconds"]} if bound["for_all"] else {}),
        **rates(record, name), **{key: memory[key] for key in COLUMNS if key in memory},
        "remark": "; ".join((record.get("unsteady") or {}).get(name, ())),
    }  # fmt: skip


def as_csv(*reports: Results) -> bytes:
    """The rows of these runs with their header, in UTF-8."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for report in reports:
        writer.writerows(rows(report))
    return text.getvalue().encode()
