"""A run on a GPU in words: the section "On a GPU" of docs/performance.md, which the terminal shows as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ... import __version__
from ..peers import table
from ..speed.contestants import GPU_CONTESTANTS, OURS, YARDSTICK
from ..speed.machines import side_by_side
from ..speed.results import (
    OK,
    Results,
    absent,
    by_time,
    finished,
    needed,
    quartiles,
    rates_table,
    ratio,
    ratio_text,
    seconds_text,
    share_text,
    size_text,
    steadiness,
    time_of,
    unfinished,
)
from ..speed.workloads import GPU_WORKLOAD
from .crossover import SWEEPS, crossing, flops_of_cell, speedups
from .kept import PROBES, PROOFS, Run
from .peaks import peaks

PICTURES = {"mnist": "gpu-mnist.svg", "crossover": "gpu-crossover.svg", "cnn": "gpu-cnn.svg"}
COMMAND = "python3 benchmarks/gpu --out FOLDER"
Section = Mapping[str, Any]


def page(runs: Sequence[Run], folder: str) -> list[str]:
    """The section: the first run in full, all beside it; where there is none it says so.

    folder: of the pictures, seen from the page.
    """
    if not runs:
        return [
            "## On a GPU",
            f"Nothing has been measured on a GPU yet. `{COMMAND}`, run in a checkout on a machine with one, does it, "
            "with the proof that the GPU computes what the CPU does, in at most eight minutes; its folder goes into "
            "`benchmarks/results/gpu/`, from which this section is written then.",
        ]
    results, found = runs[0].results, runs[0].found
    parts = ["## On a GPU", _opening(results), *_held(found)]
    for name, section in results["sections"].items():
        parts += part(name, section, results)
        if section["status"] == OK and name in PICTURES:
            parts.append(f"![{name}, on a GPU]({folder}/{PICTURES[name]})")
    parts += _probes(found.get(PROBES))
    if runs[1:]:
        parts += ["### Several machines", *side_by_side([run.results for run in runs])]
    return [*parts, _repeat()]


def part(name: str, section: Section, results: Results) -> list[str]:
    """What was found in a section of these results."""
    if section["status"] != OK:
        return [f"`{name}` was not measured: {section['reason']}"]
    if name in SWEEPS:
        return _crossover(section, *peaks(results))
    if name == "products":
        return _products(section, *peaks(results))
    works = {"mnist": _mnist, "peers": _peers, "epoch": _epoch, "launch": _launch, "energy": _energy, "first": _first}
    return works[name](section)


def _held(found: Mapping[str, Any]) -> list[str]:
    """What the proofs beside the run found."""
    lines = [line for name in PROOFS if name in found for line in found[name]["text"]]
    return ["### What the run proved", "\n".join(f"- {line}" for line in lines)] if lines else []


def _probes(probes: Mapping[str, Any] | None) -> list[str]:
    """Figures that were written down by hand."""
    if probes is None:
        return []
    suite, first = probes["suite"], probes["first_fit_seconds"]
    took = ", ".join(f"{seconds:g} s ({state})" for state, seconds in first.items())
    parts = ["### What else was seen on that machine", probes["told"]]
    for found in probes["tables"]:
        rows = [[name, *map(seconds_text, seconds)] for name, seconds in found["seconds"].items()]
        parts += [f"{found['title']}:", table(["", *found["head"]], rows)]
    return [
        *parts,
        f"The first `fit` of a process took {took}. The suite there: {suite['passed']:,} tests passed, "
        f"{suite['failed']} failed. Wrong was then:",
        "\n".join(f"- {failure}" for failure in probes["failures"]),
    ]


def _opening(results: Results) -> str:
    machine = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    rounding = "; ".join(f"{name}: {setting}" for name, setting in machine["float32_products"].items())
    size = " A quick run, with tiny sizes: its times say nothing." if results["quick"] else ""
    if results["chalkgrad"] != __version__:
        size += " What has changed in chalkgrad since then has not been run there: these are the figures of that state."
    return (
        f"{machine['gpu']} ({machine['gpu_memory_bytes'] / 2**30:.0f} GiB, compute capability "
        f"{machine['compute_capability']}), driver {machine['driver']}, CUDA {machine['cuda_runtime']}, CuPy "
        f"{machine['cupy']}, {packages}; {machine['processor']}, {machine['cores']} cores; {machine['date']}, "
        f"chalkgrad {results['chalkgrad']}. Matrix products are those of float32, not rounded to TF32, in all of "
        f"them ({rounding}). Every time ends when the device is done.{size}"
    )


def _mnist(section: Section) -> list[str]:
    own = next((name for name in by_time(section) if name in OURS), None)
    rows = []
    for name in by_time(section):
        time, share = time_of(section, name), ratio(section, name, own) if own else None
        label = f"**{name}**" if name in OURS else f"{name} (CPU)" if name == YARDSTICK else name
        epoch = seconds_text(time.median * section["count"])
        rows.append([label, seconds_text(time.median), quartiles(time, seconds_text), share_text(share), epoch])
    settings = [f"- {name}: {entry['setting']}" for name, entry in finished(section).items()]
    return [
        f"### {section['title']}, on the device",
        f"A repetition is an epoch of {section['count']:,} steps, with samples and labels ({section['data']}) on the "
        f"device. Same weights and same order for all; whose mean loss differs from hand-written NumPy's by more than "
        f"{section['tolerance']:g} in any epoch is disqualified. {section['warmups']} epochs warm up.",
        table(["", "a step", "quartiles", f"as a multiple of `{own}`", "an epoch"], rows) if rows else "",
        rates_table(section),
        absent(needed([section])),
        unfinished(section),
        steadiness(section),
        "\n".join(settings),
    ]


def _peers(section: Section) -> list[str]:
    rows, records = [], section["workloads"]
    for batch, record in records.items():
        own = next((name for name in by_time(record) if name in OURS), None)
        for name in by_time(record):
            time, share = time_of(record, name), ratio(record, name, own) if own else None
            label = f"**{name}**" if name in OURS else name
            shown = seconds_text(time.median), quartiles(time, seconds_text), share_text(share)
            rows.append([f"{int(batch):,}", label, *shown])
    return [
        "### A small CNN beside PyTorch",
        "Two layers of 16 and 32 convolutions, 3×3, pooled, on 28×28, float32 without TF32; samples on the device. "
        "Same weights and same order for all.",
        table(["batch", "", "a step", "quartiles", "as a multiple of ours"], rows) if rows else "",
        *map(unfinished, records.values()),
    ]


def _first(section: Section) -> list[str]:
    rows = []
    for name, seen in ((name, section[name]) for name in ("cold", "warm")):
        second = seen["second_fit"] - seen["first_fit"]
        label = {"cold": "nothing compiled before", "warm": "again"}[name]
        rows.append([label, *map(seconds_text, (seen["imported"], seen["first_fit"], second))])
    return [
        "### First use",
        f"A fresh process that trains 784-128-10 for two epochs of {section['samples']:,} samples.",
        table(["", "until chalkgrad is imported", "until its first `fit` is done", "a second `fit`"], rows),
    ]


def _epoch(section: Section) -> list[str]:
    moved = section["transfers"]
    return [
        "### What an epoch moves and holds",
        f"{section['steps']:,} steps, {_standing(section['standing'])}: {moved['to_device']} transfers to the device "
        f"({moved['bytes_to_device']:,} bytes) and {moved['to_host']} back ({moved['bytes_to_host']:,} bytes: the loss "
        f"at the end). The training takes {size_text(section['peak_bytes'])} of the device at its peak, of which "
        f"{size_text(section['data_bytes'])} are the data; with what the libraries take, "
        f"{size_text(section['card_bytes'])} of the card.",
    ]


def _standing(standing: str) -> str:
    return {"graph": "replayed as CUDA graphs"}.get(standing, f"not replayed as CUDA graphs ({standing})")


def _launch(section: Section) -> list[str]:
    rows = []
    for variant, lines in section["lines"].items():
        for line in lines:
            host, done = line["enqueued_seconds"], line["done_seconds"]
            label = f"{variant}, {line['steps']} steps"
            rows.append([label, seconds_text(host), seconds_text(done), f"{host / done:.0%}"])
    sizes = "-".join(map(str, section["sizes"]))
    return [
        "### Launch time and device time",
        f"Steps of {sizes}, batch {section['batch']}: the host's time until they are enqueued, and the time until they "
        "are done, for each step. Where both are the same, the host is what one waits for.",
        table(["", "enqueued", "done", "share"], rows),
    ]


def _products(section: Section, peak: Mapping[str, float], source: str) -> list[str]:
    rates = [section["step_flops_per_second"], section["products_flops_per_second"]]
    shares = [f"{rate / 1e12:.1f}" + (f" ({rate / peak['float32']:.0%})" if peak else "") for rate in rates]
    sizes = "-".join(map(str, section["sizes"]))
    return [
        "### Large products",
        f"A step of {sizes}, batch {section['batch']:,}, in {section['dtype']}, takes "
        f"{seconds_text(section['step_seconds'])}; its matrix products alone, forward and backward, by {section['by']} "
        f"on the same shapes, take {seconds_text(section['products_seconds'])}. The whole step takes "
        f"**{ratio_text(section['ratio'])} ×** as long: {' and '.join(shares)} TFLOP/s"
        + (f" of the card's {peak['float32'] / 1e12:.3g} ({source})." if peak else "."),
        _rounded(section, peak, source),
    ]


def _rounded(section: Section, peak: Mapping[str, float], source: str) -> str:
    """The same step with rounded factors, and large products, where they were measured."""
    rows = []
    for precision, rate in section.get("square", {}).items():
        step = section["rounded"].get(precision, section)
        rates = [step["step_flops_per_second"], rate["flops_per_second"]]
        shares = [f"{rate / peak[precision]:.0%}" if precision in peak else "–" for rate in rates]
        told = [f"{rate / 1e12:.1f} ({share})" for rate, share in zip(rates, shares, strict=True)]
        rows.append([precision, seconds_text(step["step_seconds"]), *told])
    head = ["factors rounded to", "a step", "TFLOP/s of its products", f"of one large product (shares: {source})"]
    return table(head, rows) if rows else ""


def _energy(section: Section) -> list[str]:
    heading = "### Energy"
    if "absent" in section:
        return [heading, f"Not measured: {section['absent']}."]
    rows = [
        [name, f"{found['joules'] * 1e3:.3g} mJ", f"{found['watts']:.0f} W", seconds_text(found["seconds"])]
        for name, found in section["nets"].items()
    ]
    told = f"Of the whole card, by its own counter (NVML); {section['idle_watts']:.0f} W just before."
    return [heading, told, table(["captured steps", "a step", "while it trains", "time of a step"], rows)]


def _crossover(section: Section, peak: Mapping[str, float], source: str) -> list[str]:
    cells = {(cell["batch"], cell["width"]): cell for cell in section["cells"]}
    head = ["batch, width", *(f"{width:,}" for width in section["widths"]), "the GPU wins from"]
    rows = []
    for batch in section["batches"]:
        found = crossing(*speedups(section, batch))
        start = "–" if found is None else f"{found:.0f}"
        found_cells = (_cell(cells[batch, width], section, peak) for width in section["widths"])
        rows.append([f"{batch:,}", *found_cells, start])
    reasons = [
        f"- width {c['width']:,}, batch {c['batch']:,}: {c['reason']}" for c in section["cells"] if "reason" in c
    ]
    net, title = f"{section['inputs']}-width-width-{section['classes']}", "width × batch"
    if section.get("convolutional"):
        net = "a CNN (3×3 convolutions, as many as the width and twice as many, each pooled, and a dense layer)"
        title = "a CNN, width × batch"
    return [
        f"### {title[0].upper()}{title[1:]}: CPU against GPU",
        f"A step of {net}, captured on both: CPU / GPU, and how many "
        "times as fast the GPU is"
        + (
            f"; then the share of the card's float32 peak, {peak['float32'] / 1e12:.3g} TFLOP/s ({source}), that "
            "the GPU's matrix products make."
            if peak
            else "."
        ),
        table(head, rows),
        "\n".join(reasons),
    ]


def _cell(cell: Section, section: Section, peak: Mapping[str, float]) -> str:
    gpu = seconds_text(cell["gpu"]) if cell["gpu"] else "–"
    share = f"; {flops_of_cell(section, cell) / cell['gpu'] / peak['float32']:.1%}" if peak and cell["gpu"] else ""
    if not cell["cpu"] or not cell["gpu"]:
        return f"– / {gpu}{share}"
    return f"{seconds_text(cell['cpu'])} / {gpu} ({ratio_text(cell['cpu'] / cell['gpu'])} ×){share}"


def _repeat() -> str:
    return (
        f"To repeat: `{COMMAND}`, or `chalkgrad bench --device gpu --json` alone; contestants: "
        f"{', '.join(GPU_CONTESTANTS)}; workload: {GPU_WORKLOAD.title}."
    )
