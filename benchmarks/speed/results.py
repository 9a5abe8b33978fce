"""A run as it is written to JSON: read back, checked, and summed up by medians, quartiles and paired ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from ... import __version__
from ...engine.json_files import read_json
from ...errors import DataError
from ..machine import host
from ..peers import NOT_INSTALLED, table
from ..steadiness import NOT_KNOWN, doubtful, system

KIND, FORMAT = "chalkgrad speed", 1
GROWTH, GPU = "chalkgrad growth", "chalkgrad gpu"
MADE_BY = {
    KIND: "chalkgrad bench --json",
    GROWTH: "chalkgrad bench --growth --json",
    GPU: "chalkgrad bench --device gpu --json",
}

OK, UNAVAILABLE, FAILED, DISQUALIFIED = "ok", "unavailable", "failed", "disqualified"
"""What may become of a contestant, or of a section of a run on a GPU."""

Results = Mapping[str, Any]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and minimum of some numbers."""

    median: float
    low: float
    high: float
    least: float

    def scaled(self, factor: float) -> Spread:
        """All of them times a factor."""
        return Spread(*(factor * value for value in (self.median, self.low, self.high, self.least)))


def spread(values: Sequence[float]) -> Spread:
    """The spread of one or more numbers."""
    low, median, high = numpy.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), float(min(values)))


def finished(record: Record) -> dict[str, Any]:
    """The contestants of a workload that did all of it, and rightly."""
    return {name: entry for name, entry in record["contestants"].items() if entry["status"] == OK and entry["seconds"]}


def by_time(record: Record) -> list[str]:
    """Those who finished, the fastest first."""
    return sorted(finished(record), key=lambda name: time_of(record, name).median)


def absent(versions: Mapping[str, Mapping[str, str]]) -> str:
    """Of contestants, with the versions of what they need: who cannot take part; "" where all can. Told once a run."""
    found: dict[str, list[str]] = {}
    for name, needed in versions.items():
        if missing := " and ".join(package for package, number in needed.items() if number == NOT_INSTALLED):
            found.setdefault(missing, []).append(name)
    told = "; ".join(f"{', '.join(names)} (without {missing})" for missing, names in found.items())
    return f"Not installed, so not asked: {told}. `pip install 'chalkgrad[bench]'` installs them." if told else ""


def needed(records: Iterable[Record]) -> dict[str, Mapping[str, str]]:
    """The versions of what each contestant of these workloads needs."""
    return {name: entry["versions"] for record in records for name, entry in record["contestants"].items()}


def unfinished(record: Record) -> str:
    """Who began and did not finish, and why, as a list."""
    return "\n".join(
        f"- {name}, {entry['status']}: {entry['reason']}"
        for name, entry in record["contestants"].items()
        if entry["status"] != OK and NOT_INSTALLED not in entry["versions"].values()
    )


def below_limit(record: Record) -> dict[str, float]:
    """Who took less time than the machine's limit leaves for all, and which part of it: what cannot be."""
    bound = record["bound"]
    shares = {n: time_of(record, n).median * record["count"] / bound["seconds"] for n in finished(record)}
    return {name: share for name, share in shares.items() if share < 1} if bound["for_all"] else {}


def steadiness(record: Record) -> str:
    """Whose times did not hold still, and whose cannot be, as a list; of the first an older report does not tell."""
    found = record.get("unsteady", {})
    lines = [NOT_KNOWN + "\n"] if found is None else []
    lines += [f"- {name}, unsteady: {'; '.join(warnings)}" for name, warnings in (found or {}).items()]
    lines += [
        f"- {name}, implausible: {ratio_text(share)} × the limit, which nothing can be below. The machine was slower "
        "when its limits were measured than when this was, or the limit is not the true one."
        for name, share in below_limit(record).items()
    ]
    return "\n".join(lines).strip()


def time_of(record: Record, name: str) -> Spread:
    """The seconds of one unit of work."""
    return spread(record["contestants"][name]["seconds"]).scaled(1 / record["count"])


def ratio(record: Record, name: str, reference: str) -> Spread | None:
    """How many times as long as the reference it takes: the ratios within each round, and their spread."""
    contestants = finished(record)
    if name not in contestants or reference not in contestants:
        return None
    times = zip(contestants[name]["seconds"], contestants[reference]["seconds"], strict=True)
    return spread([own / other for own, other in times])


def rates(record: Record, name: str) -> dict[str, float]:
    """Samples, floating-point operations and bytes a second, and the operations' share of the machine's peak.

    Operations are those of the matrix products, or of Adam. Empty where none are counted: so in older reports.
    """
    seconds = time_of(record, name).median * record["count"]
    found = {f"{what}_per_second": amount / seconds for what, amount in record.get("work", {}).items()}
    if "flops_per_second" in found and (peak := record.get("peak_flops_per_second")):
        found["share_of_peak"] = found["flops_per_second"] / peak
    return found


def head(kind: str, quick: bool) -> dict[str, Any]:
    """What every report begins with."""
    return {"kind": kind, "format": FORMAT, "chalkgrad": __version__, "quick": quick, "machine": host() | system()}


def read(path: str, *kinds: str) -> dict[str, Any]:
    """The results in a file, of one of these kinds. Raises DataError where it cannot be read or is no such report."""
    found: Any = read_json(path)
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind not in (kinds or (KIND,)):
        made = "` or `".join(MADE_BY[kind] for kind in kinds or (KIND,))
        raise DataError(f"{path} is no report of `{made}`.")
    made = MADE_BY[kind]
    if found.get("format") != FORMAT:
        raise DataError(f"{path} has format {found.get('format')!r}, this version reads {FORMAT}: make it anew.")
    try:
        _check(found, kind)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise DataError(f"{path} is a damaged report of `{made}`: {error!r}.") from error
    return found  # type: ignore[no-any-return]


def _check(found: dict[str, Any], kind: str) -> None:
    """Raise where something is missing that is read later."""
    machine = found["machine"]
    (
        machine["processor"],
        machine["date"],
        float(machine["cores"]),
        found["chalkgrad"],
        found["quick"],
        doubtful(machine),
    )
    if kind == GROWTH:
        for sweep in found["sweeps"].values():
            for line in sweep["lines"].values():
                list(zip(sweep["sizes"], line["seconds"], strict=True))
        return
    if kind == GPU:
        found["machine"]["gpu"], found["machine"]["packages"].items()
        for name, section in found["sections"].items():
            if section["status"] != OK:
                section["reason"]
            elif name == "mnist":
                _check_record(section)
        return
    for record in found["workloads"].values():
        _check_record(record)


def _check_record(record: Record) -> None:
    record["title"], record["unit"], record["task"], float(record["bound"]["seconds"])
    for name, entry in record["contestants"].items():
        entry["versions"].values()
        if entry["status"] == OK:
            rates(record, name)
            [float(size) for size in entry["memory"].values()]
            for other in finished(record):
                ratio(record, name, other)
        else:
            entry["reason"]
    steadiness(record)


def seconds_text(seconds: float) -> str:
    """A time with three digits and its unit."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
    unit, size = next((pair for pair in units if seconds >= pair[1]), units[-1])
    return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:.0f} {unit}"


def quartiles(found: Spread, text: Callable[[float], str]) -> str:
    """The quartiles as text."""
    return f"{text(found.low)} – {text(found.high)}"


def share_text(share: Spread | None) -> str:
    """A ratio with its quartiles."""
    return f"{ratio_text(share.median)} ({quartiles(share, ratio_text)})" if share else "–"


def rates_table(record: Record) -> str:
    """What each who finished gets done in a second; "" where that is not known."""
    rows = []
    for name in by_time(record):
        found = rates(record, name)
        if "samples_per_second" in found:
            share = f"{found['share_of_peak']:.0%}" if "share_of_peak" in found else "–"
            rows.append([
                name, f"{found['samples_per_second']:,.0f}", f"{found['flops_per_second'] / 1e9:.3g}", share,
            ])  # fmt: skip
    return table(["", "samples a second", "GFLOP/s of the products", "share of the peak"], rows) if rows else ""


def a_unit(unit: str) -> str:
    """A unit of work with its article."""
    return f"an {unit}" if unit[0] in "aeiou" else f"a {unit}"


def ratio_text(value: float) -> str:
    """A ratio, in about three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def size_text(count: float) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:,.0f} MB"
