"""docs/performance.md, written from the results alone.

    python -m chalkgrad.benchmarks.speed.performance --results SPEED.json --growth GROWTH.json --out docs/performance.md

The pictures go into the folder `pictures` beside the page. What was measured on GPUs is read from the folders in --gpu,
which without it is the folder gpu beside SPEED.json.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...engine.files import write_file
from ...errors import ChalkgradError
from ..charts import pictures
from ..gpu import prose
from ..gpu.kept import Run, runs
from ..peers import command_line, table, write
from ..steadiness import doubtful
from .contestants import CONTESTANTS, OURS, YARDSTICK
from .growth import exponent, medians
from .results import (
    GROWTH,
    OK,
    Record,
    Results,
    a_unit,
    absent,
    by_time,
    finished,
    needed,
    quartiles,
    rates_table,
    ratio,
    ratio_text,
    read,
    seconds_text,
    share_text,
    size_text,
    steadiness,
    time_of,
    unfinished,
)

PICTURES = "pictures"


def page(results: Results, growth: Results | None, gpu: Sequence[Run] = ()) -> str:
    """The document."""
    parts = [
        "# Performance",
        _opening(results),
        _summary(results),
        absent(needed(results["workloads"].values())),
        _method(results),
        _limits(results),
    ]
    for name, record in results["workloads"].items():
        picture = f"![{record['title']}]({PICTURES}/speed-{name}.svg)" if finished(record) else ""
        parts += [f"## {record['title']}", *workload(record), picture, unfinished(record), steadiness(record)]
        parts += [against_peers(record), says(record)]
    parts += ["## What is left", left(results)]
    if growth is not None:
        parts += ["## How the cost grows", *_growth(growth)]
    parts += prose.page(gpu, PICTURES)
    parts += ["## Who took part, and how", _contestants(results), _repeat(growth is not None)]
    return "\n\n".join(part for part in parts if part)


def _opening(results: Results) -> str:
    machine = results["machine"]
    size = "quick run, with smaller sizes" if results["quick"] else "full run"
    return (
        f"chalkgrad {results['chalkgrad']} beside hand-written NumPy, its peers and the limits of the machine, "
        f"{machine['date']}: {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}, {machine['blas']}. All of this page is written from the results of a {size}."
        + (f" Load at the beginning: {machine['load_avg_1min']}." if "load_avg_1min" in machine else "")
        + (f"\n\n**{told}**" if (told := doubtful(machine)) else "")
    )


def best_of_ours(record: Record) -> str | None:
    """The fastest of ours in a workload; None where none finished."""
    return next((name for name in by_time(record) if name in OURS), None)


def _summary(results: Results) -> str:
    own = [name for name in OURS if any(name in record["contestants"] for record in results["workloads"].values())]
    head = ["time of one …", f"`{YARDSTICK}` by hand", *(f"`{name}`" for name in own), "fastest peer"]
    rows = []
    for name, record in results["workloads"].items():
        peer = next((n for n in by_time(record) if n not in (*OURS, YARDSTICK, "numpy+numba")), None)
        cells = [_timed(record, n, YARDSTICK if n != YARDSTICK else None) for n in (YARDSTICK, *own)]
        cells.append(f"{_timed(record, peer, YARDSTICK)} `{peer}`" if peer else "–")
        rows.append([f"{record['unit']} of `{name}`", *cells])
    return table(head, rows) + f"\n\n×: as many times as long as `{YARDSTICK}`."


def _timed(record: Record, name: str, reference: str | None) -> str:
    if name not in finished(record):
        return "–"
    share = ratio(record, name, reference) if reference else None
    return seconds_text(time_of(record, name).median) + (f" ({ratio_text(share.median)} ×)" if share else "")


def _method(results: Results) -> str:
    threads = results["machine"]["threads"]
    given = threads if isinstance(threads, str) else ", ".join(f"{name}={value}" for name, value in threads.items())
    return (
        f"Each contestant has a process of its own, and only one works at a time. It prepares and warms up untimed; "
        f"then come {results['rounds']} rounds, in each of which every contestant does one repetition, in an order "
        f"drawn anew, with {results['pause_seconds']:g} s between two of them. All begin with the same weights, take "
        "the same samples in the same order, and add up the mean loss and nothing else; a repetition of a training is "
        "its next epoch. The order of the samples is drawn within the time. Whoever reaches another loss than "
        f"`{YARDSTICK}`, in any repetition and by more than the tolerance, is disqualified. Threads: {given}.\n\n"
        f"Times are medians, with quartiles; a ratio is the median of the ratios within each round. `× limit` divides "
        "by what the machine's limits leave as the least; whoever is below 1 is named, as it cannot be. "
        "Memory is what the process holds after its imports, and what the work adds at its peak to that and the data."
    )


def _limits(results: Results) -> str:
    found = results["limits"]
    rows = [
        ["matrix products, float32", f"{found['float32_flops'] / 1e9:.0f} GFLOP/s"],
        ["matrix products, float64", f"{found['float64_flops'] / 1e9:.0f} GFLOP/s"],
        ["memory, read and written", f"{found['copy_bytes_per_second'] / 1e9:.1f} GB/s"],
        ["memory, a = b + s c in NumPy's two passes", f"{found['triad_bytes_per_second'] / 1e9:.1f} GB/s"],
        ["the smallest NumPy call", seconds_text(found["smallest_call_seconds"])],
    ]
    drawn = any("bytes" in record.get("work", {}) for record in results["workloads"].values())
    picture = f"\n\n![operations a second, below the machine's roof]({PICTURES}/speed-roofline.svg)" if drawn else ""
    return "The machine's limits, in the same run:\n\n" + table(["", "best"], rows) + picture


def workload(record: Record) -> tuple[str, str, str]:
    """What a workload is, the table of who finished, the fastest first, and that of their rates."""
    bound, count, unit = record["bound"], record["count"], record["unit"]
    plural = f"{count:,} {unit}s" if count > 1 else f"one {unit}"
    data = f" Data: {record['data']}." if "data" in record["task"] else ""
    bounded = "" if bound["for_all"] else " Only code that calls NumPy for each operation is bound by it."
    intro = (
        f"A repetition is {plural}; the tolerance is {record['tolerance']:g}, on {', '.join(record['figures'])}.{data} "
        f"Limit: {seconds_text(bound['seconds'] / count)} {a_unit(unit)}, {bound['what']}.{bounded}"
    )
    limit = ["× limit"] if bound["for_all"] else []
    head = ["", a_unit(unit), "quartiles", "least", f"× {YARDSTICK}", "quartiles", *limit, "memory"]
    rows = []
    for name in by_time(record):
        time, share = time_of(record, name), ratio(record, name, YARDSTICK)
        memory = record["contestants"][name]["memory"]
        extra = max(memory["peak_bytes"] - memory["prepared_bytes"], 0)
        rows.append([
            f"**{name}**" if name in OURS else name,
            seconds_text(time.median), quartiles(time, seconds_text), seconds_text(time.least),
            *([ratio_text(share.median), quartiles(share, ratio_text)] if share else ["–", "–"]),
            *([ratio_text(time.median * count / bound["seconds"])] if limit else []),
            f"{size_text(memory['imported_bytes'])} + {size_text(extra)}",
        ])  # fmt: skip
    return intro, table(head, rows) if rows else "", rates_table(record)


def against_peers(record: Record) -> str:
    """The time of each of ours as a multiple of each peer's, within the rounds, and the quartiles of that."""
    done = finished(record)
    own, peers = [n for n in OURS if n in done], [n for n in done if n not in OURS]
    rows = [[f"`{n}`, as a multiple of …", *(share_text(ratio(record, n, peer)) for peer in peers)] for n in own]
    return table(["", *peers], rows) if own and peers else ""


def says(record: Record) -> str:
    """What the numbers say of the fastest of ours: faster, slower, or as fast, by the quartiles of the ratio."""
    own = best_of_ours(record)
    if own is None:
        return "None of ours finished."
    found: dict[str, list[str]] = {"faster than": [], "as fast, within the quartiles, as": [], "slower than": []}
    faster, even, slower = found.values()
    for name in finished(record):
        share = ratio(record, own, name)
        if name in OURS or share is None:
            continue
        if share.low <= 1 <= share.high:
            even.append(name)
        elif share.high < 1:
            faster.append(f"{name} ({ratio_text(1 / share.median)} ×)")
        else:
            slower.append(f"{name} ({ratio_text(share.median)} ×)")
    told = "; ".join(f"{verdict} {', '.join(names)}" for verdict, names in found.items() if names)
    return f"Of ours the fastest is `{own}`." + (f" It is {told}." if told else "")


def left(results: Results) -> str:
    """What lies between the fastest of ours and the limit, a line for each workload."""
    return "\n".join(f"- `{name}`: {_left(record)}" for name, record in results["workloads"].items())


def _left(record: Record) -> str:
    own = best_of_ours(record)
    if own is None:
        return "none of ours finished."
    count, bound = record["count"], record["bound"]
    time, least = time_of(record, own).median, bound["seconds"] / count
    text = (
        f"`{own}` takes {seconds_text(time)} {a_unit(record['unit'])}, the limit ({bound['what']}) is "
        f"{seconds_text(least)}"
    )
    if time <= least:
        return f"{text}: {'the limit is not the true one' if bound['for_all'] else 'compiled code is not bound by it'}."
    text += f". What lies between is {seconds_text(time - least)}, {(time - least) / time:.0%} of the time"
    hand = time_of(record, YARDSTICK).median if YARDSTICK in finished(record) else 0.0
    if hand > least:
        text += f"; hand-written NumPy leaves {seconds_text(hand - least)}" + (" of it too" if hand < time else "")
    return f"{text}."


def _growth(growth: Results) -> list[str]:
    parts = [
        "The exponent p is that of the power law, time ∝ size^p, that fits best on logarithmic axes: 1 is "
        "proportional, 0 does not grow." + (" A quick run, with fewer sizes." if growth["quick"] else ""),
        f"![growth]({PICTURES}/speed-growth.svg)",
    ]
    for found in growth["sweeps"].values():
        title, *rest = sweep(found)
        parts += [f"### {title[0].upper()}{title[1:]}", *rest]
    if "chain" in growth["sweeps"]:
        parts.append(_freed(growth["sweeps"]["chain"]))
    return parts


def sweep(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """The title of a sweep, its table, and why something was not measured."""
    rows = []
    for name in found["lines"]:
        sizes, values = medians(found, name)
        by_size = dict(zip(sizes, values, strict=True))
        power = exponent(sizes, values)
        cells = [seconds_text(by_size[n]) if n in by_size else "–" for n in found["sizes"]]
        rows.append([name, *cells, "–" if power is None else f"{power:.2f}"])
    head = [f"{a_unit(found['unit'])}, by {found['variable']}", *(f"{size:,}" for size in found["sizes"]), "p"]
    return found["title"], table(head, rows), _reasons(found)


def _reasons(sweep: Mapping[str, Any]) -> str:
    found = [
        f"- {name} at {size:,}: {reason}"
        for name, line in sweep["lines"].items()
        for size, reason in zip(sweep["sizes"], line["reasons"], strict=True)
        if reason
    ]
    return "\n".join(found)


def _freed(sweep: dict[str, Any]) -> str:
    """What the longest chain of each contestant took in memory, and what it still held when it was over."""
    lines = []
    for name, line in sweep["lines"].items():
        measured = [(n, m) for n, m in zip(sweep["sizes"], line["memory"], strict=True) if m]
        if measured:
            size, memory = measured[-1]
            used, kept = memory["used_bytes"], max(memory["left_bytes"], 0)
            lines.append(
                f"- {name}, {size:,} operations: {size_text(used)} at the peak "
                f"({used / size:,.0f} bytes an operation), {size_text(kept)} still held after it."
            )
    return "Memory of the longest chain, beyond what the process held before:\n\n" + "\n".join(lines) if lines else ""


def _contestants(results: Results) -> str:
    found: dict[str, dict[str, Any]] = {}
    for record in results["workloads"].values():
        for name, entry in record["contestants"].items():
            if name not in found or entry["status"] == OK:
                found[name] = entry
    lines = []
    for name in sorted(found, key=list(CONTESTANTS).index):
        versions = ", ".join(f"{package} {number}" for package, number in found[name]["versions"].items())
        lines.append(f"- {name} ({versions}): {found[name]['setting']}")
    return "\n".join(lines)


def _repeat(growth: bool) -> str:
    further = " and `chalkgrad bench --growth --json GROWTH.json`" if growth else ""
    with_growth = " --growth GROWTH.json" if growth else ""
    return (
        f"To repeat: `chalkgrad bench --json SPEED.json`{further}, then `python -m {__package__}.performance "
        f"--results SPEED.json{with_growth} --out PAGE.md`."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = command_line("speed.performance", __doc__)
    parser.add_argument("--results", required=True, help="what `chalkgrad bench --json` wrote")
    parser.add_argument("--growth", help="what `chalkgrad bench --growth --json` wrote")
    parser.add_argument("--gpu", help="the folder of runs on GPUs, each in a folder of its own")
    parser.add_argument("--out", required=True, help="the page to write (Markdown)")
    options = parser.parse_args(arguments)
    try:
        results = read(options.results)
        growth = read(options.growth, GROWTH) if options.growth else None
        gpu = runs(Path(options.gpu or Path(options.results).with_name("gpu")))
        for name, picture in pictures(results, growth, gpu[0].results if gpu else None).items():
            write_file(Path(options.out).parent / PICTURES / name, picture)
        write(options.out, page(results, growth, gpu))
    except ChalkgradError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
