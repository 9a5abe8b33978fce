"""docs/performance.md, written from the results alone.

    python -m chalkgrad.benchmarks.speed.document --results SPEED.json --growth GROWTH.json --out docs/performance.md

The pictures go into the folder `pictures` beside the page. What was measured on a GPU is read from --gpu, which
without it is gpu.json beside SPEED.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine.files import replacing
from ...errors import ChalkgradError
from ..gpu import report
from ..gpu.pictures import draw
from ..peers import table, write
from .contestants import CONTESTANTS, OURS, YARDSTICK
from .growth import exponent, medians
from .pictures import bars, curves
from .results import (
    GPU,
    GROWTH,
    Record,
    Results,
    a_unit,
    finished,
    ratio,
    ratio_text,
    read,
    seconds_text,
    size_text,
    time_of,
)
from .runner import OK

PICTURES = "pictures"


def page(results: Results, growth: Results | None, gpu: Results | None = None) -> str:
    """The document."""
    parts = ["# Performance", _opening(results), _summary(results), _method(results), _limits(results)]
    for name, record in results["workloads"].items():
        parts += [f"## {record['title']}", *workload(name, record)]
    parts += ["## What is left", left(results)]
    if growth is not None:
        parts += ["## How the cost grows", *_growth(growth)]
    parts += report.page(gpu, PICTURES)
    parts += ["## Who took part, and how", _contestants(results), _repeat(growth is not None)]
    return "\n\n".join(part for part in parts if part)


def _opening(results: Results) -> str:
    machine = results["machine"]
    size = "quick run, with smaller sizes" if results["quick"] else "full run"
    return (
        f"chalkgrad {results['chalkgrad']} beside hand-written NumPy, its peers and the limits of the machine, "
        f"{machine['date']}: {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}, {machine['blas']}. All of this page is written from the results of a {size}."
    )


def best_of_ours(record: Record) -> str | None:
    """The fastest of ours in a workload; None where none finished."""
    own = [name for name in OURS if name in finished(record)]
    return min(own, key=lambda name: time_of(record, name).median) if own else None


def _summary(results: Results) -> str:
    head = ["time of one …", f"`{YARDSTICK}` by hand", *(f"`{name}`" for name in OURS), "fastest peer"]
    rows = []
    for name, record in results["workloads"].items():
        cells = [_timed(record, YARDSTICK, None), *(_timed(record, own, YARDSTICK) for own in OURS)]
        peers = [peer for peer in finished(record) if peer not in (*OURS, YARDSTICK, "numpy+numba")]
        fastest = min(peers, key=lambda peer: time_of(record, peer).median, default=None)
        cells.append(f"{_timed(record, fastest, YARDSTICK)} `{fastest}`" if fastest else "–")
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
        "by what the machine's limits leave as the least; below 1 it would show that this limit is not the true one. "
        "Memory is what the process holds after its imports, and what the work adds at its peak to that and the data."
    )


def _limits(results: Results) -> str:
    found = results["limits"]
    rows = [
        ["matrix products, float32", f"{found['float32_flops'] / 1e9:.0f} GFLOP/s"],
        ["matrix products, float64", f"{found['float64_flops'] / 1e9:.0f} GFLOP/s"],
        ["memory, copy", f"{found['copy_bytes_per_second'] / 1e9:.1f} GB/s"],
        ["memory, a = b + s c in NumPy's two passes", f"{found['triad_bytes_per_second'] / 1e9:.1f} GB/s"],
        ["the smallest NumPy call", seconds_text(found["smallest_call_seconds"])],
    ]
    return "The machine's limits, in the same run:\n\n" + table(["", "best"], rows)


def workload(name: str, record: Record) -> list[str]:
    """The section of one workload: what it is, the table, who is missing, and what the numbers say."""
    bound, count, unit = record["bound"], record["count"], record["unit"]
    plural = f"{count:,} {unit}s" if count > 1 else f"one {unit}"
    data = f" Data: {record['data']}." if record["task"]["kind"] == "training" else ""
    bounded = "" if bound["for_all"] else " Only code that calls NumPy for each operation is bound by it."
    intro = (
        f"A repetition is {plural}; the tolerance is {record['tolerance']:g}, on {', '.join(record['figures'])}.{data} "
        f"Limit: {seconds_text(bound['seconds'] / count)} {a_unit(unit)}, {bound['what']}.{bounded}"
    )
    done = sorted(finished(record), key=lambda n: time_of(record, n).median)
    head = ["", a_unit(unit), "quartiles", "least", f"× {YARDSTICK}", "quartiles", "× limit", "memory"]
    if not bound["for_all"]:
        head.remove("× limit")
    picture = [f"![{record['title']}]({PICTURES}/speed-{name}.svg)"] if done else []
    rows = [_row(record, n) for n in done]
    found = [table(head, rows)] if rows else []
    return [intro, *found, *picture, _missing(record), against_peers(record), says(record)]


def against_peers(record: Record) -> str:
    """The time of each of ours as a multiple of each peer's, within the rounds, and the quartiles of that."""
    done = finished(record)
    own, peers = [n for n in OURS if n in done], [n for n in done if n not in OURS]
    if not own or not peers:
        return ""
    rows = []
    for name in own:
        shares = [ratio(record, name, peer) for peer in peers]
        cells = [f"{ratio_text(s.median)} ({ratio_text(s.low)} – {ratio_text(s.high)})" if s else "–" for s in shares]
        rows.append([f"`{name}`, as a multiple of …", *cells])
    return table(["", *peers], rows)


def _row(record: Record, name: str) -> list[str]:
    time, share, memory = time_of(record, name), ratio(record, name, YARDSTICK), record["contestants"][name]["memory"]
    label = f"**{name}**" if name in OURS else name
    extra = max(memory["peak_bytes"] - memory["prepared_bytes"], 0)
    row = [
        label,
        seconds_text(time.median),
        f"{seconds_text(time.low)} – {seconds_text(time.high)}",
        seconds_text(time.least),
        ratio_text(share.median) if share else "–",
        f"{ratio_text(share.low)} – {ratio_text(share.high)}" if share else "–",
    ]
    if record["bound"]["for_all"]:
        row.append(ratio_text(time.median * record["count"] / record["bound"]["seconds"]))
    return [*row, f"{size_text(memory['imported_bytes'])} + {size_text(extra)}"]


def _missing(record: Record) -> str:
    entries = record["contestants"].items()
    return "\n".join(
        f"- {name}, {entry['status']}: {entry['reason']}" for name, entry in entries if entry["status"] != OK
    )


def says(record: Record) -> str:
    """What the numbers say of the fastest of ours: faster, slower, or as fast, by the quartiles of the ratio."""
    own = best_of_ours(record)
    if own is None:
        return "None of ours finished."
    found: dict[str, list[str]] = {"faster": [], "slower": [], "as fast": []}
    for name in finished(record):
        share = ratio(record, own, name)
        if name in OURS or share is None:
            continue
        verdict = "faster" if share.high < 1 else "slower" if share.low > 1 else "as fast"
        factor = 1 / share.median if verdict == "faster" else share.median
        found[verdict].append(name if verdict == "as fast" else f"{name} ({ratio_text(factor)} ×)")
    told = [f"faster than {', '.join(found['faster'])}"] if found["faster"] else []
    told += [f"as fast, within the quartiles, as {', '.join(found['as fast'])}"] if found["as fast"] else []
    told += [f"slower than {', '.join(found['slower'])}"] if found["slower"] else []
    return f"Of ours the fastest is `{own}`. It is {'; '.join(told)}." if told else f"Of ours the fastest is `{own}`."


def left(results: Results) -> str:
    """What lies between the fastest of ours and the limit, a line for each workload."""
    lines = []
    for name, record in results["workloads"].items():
        own = best_of_ours(record)
        if own is None:
            lines.append(f"- `{name}`: none of ours finished.")
            continue
        count, bound = record["count"], record["bound"]
        time, least = time_of(record, own).median, bound["seconds"] / count
        line = (
            f"- `{name}`: `{own}` takes {seconds_text(time)} {a_unit(record['unit'])}, the limit ({bound['what']}) is "
        )
        line += seconds_text(least)
        if time <= least:
            line += ": " + (
                "the limit is not the true one." if bound["for_all"] else "compiled code is not bound by it."
            )
        else:
            line += f". What lies between is {seconds_text(time - least)}, {(time - least) / time:.0%} of the time"
            hand = time_of(record, YARDSTICK).median if YARDSTICK in finished(record) else None
            if hand is not None and least < hand < time:
                line += f"; hand-written NumPy leaves {seconds_text(hand - least)} of it too"
            elif hand is not None and hand >= time:
                line += f"; hand-written NumPy leaves {seconds_text(hand - least)}"
            line += "."
        lines.append(line)
    return "\n".join(lines)


def _growth(growth: Results) -> list[str]:
    parts = [
        "The exponent p is that of the power law, time ∝ size^p, that fits best on logarithmic axes: 1 is "
        "proportional, 0 does not grow." + (" A quick run, with fewer sizes." if growth["quick"] else ""),
        f"![growth]({PICTURES}/speed-growth.svg)",
    ]
    for sweep in growth["sweeps"].values():
        rows = []
        for name in sweep["lines"]:
            sizes, values = medians(sweep, name)
            by_size = dict(zip(sizes, values, strict=True))
            power = exponent(sizes, values)
            cells = [seconds_text(by_size[n]) if n in by_size else "–" for n in sweep["sizes"]]
            rows.append([name, *cells, "–" if power is None else f"{power:.2f}"])
        head = [f"{a_unit(sweep['unit'])}, by {sweep['variable']}", *(f"{size:,}" for size in sweep["sizes"]), "p"]
        title = sweep["title"]
        parts += [f"### {title[0].upper()}{title[1:]}", table(head, rows), _reasons(sweep)]
    if "chain" in growth["sweeps"]:
        parts.append(_freed(growth["sweeps"]["chain"]))
    return parts


def _reasons(sweep: dict[str, Any]) -> str:
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
        f"To repeat: `chalkgrad bench --json SPEED.json`{further}, then `python -m {__package__}.document "
        f"--results SPEED.json{with_growth} --out PAGE.md`."
    )


def _draw(folder: Path, results: Results, growth: Results | None, gpu: Results | None) -> None:
    pictures = {f"speed-{n}.svg": bars(results, [n]) for n, r in results["workloads"].items() if finished(r)}
    if growth is not None:
        pictures["speed-growth.svg"] = curves(growth)
    pictures |= draw(gpu) if gpu else {}
    for name, picture in pictures.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(picture)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.document", description=__doc__)
    parser.add_argument("--results", required=True, help="what `chalkgrad bench --json` wrote")
    parser.add_argument("--growth", help="what `chalkgrad bench --growth --json` wrote")
    parser.add_argument("--gpu", help="what `chalkgrad bench --device gpu --json` wrote")
    parser.add_argument("--out", required=True, help="the page to write (Markdown)")
    options = parser.parse_args(arguments)
    try:
        results = read(options.results)
        growth = read(options.growth, GROWTH) if options.growth else None
        beside = Path(options.results).with_name("gpu.json")
        measured = options.gpu or (str(beside) if beside.is_file() else None)
        gpu = read(measured, GPU) if measured else None
        _draw(Path(options.out).parent / PICTURES, results, growth, gpu)
        write(options.out, page(results, growth, gpu))
    except ChalkgradError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
