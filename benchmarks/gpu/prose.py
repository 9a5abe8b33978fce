"""A run on a GPU in words: the section "On a GPU" of docs/performance.md, which the terminal shows as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..peers import table
from ..speed.contestants import GPU_CONTESTANTS, OURS, YARDSTICK
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
from .crossover import crossing, speedups

PICTURES = {"mnist": "gpu-mnist.svg", "crossover": "gpu-crossover.svg"}
COMMAND = "python3 benchmarks/gpu --out FOLDER"
Section = Mapping[str, Any]


def page(results: Results | None, folder: str) -> list[str]:
    """The section; where there are no results it says so. folder: of the pictures, seen from the page."""
    if results is None:
        return [
            "## On a GPU",
            f"Nothing has been measured on a GPU yet. `{COMMAND}`, run in a checkout on a machine with one, does it, "
            "with the proof that the GPU computes what the CPU does, in at most eight minutes; it leaves `gpu.json` "
            "in the folder, for `benchmarks/results/`, from which this section is written then.",
        ]
    parts = ["## On a GPU", _opening(results)]
    for name, section in results["sections"].items():
        parts += part(name, section)
        if section["status"] == OK and name in PICTURES:
            parts.append(f"![{name}, on a GPU]({folder}/{PICTURES[name]})")
    return [*parts, _repeat()]


def part(name: str, section: Section) -> list[str]:
    """What was found in a section."""
    if section["status"] != OK:
        return [f"`{name}` was not measured: {section['reason']}"]
    writers = {"mnist": _mnist, "epoch": _epoch, "launch": _launch, "products": _products, "crossover": _crossover}
    return writers[name](section)


def _opening(results: Results) -> str:
    machine = results["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    rounding = "; ".join(f"{name}: {setting}" for name, setting in machine["float32_products"].items())
    size = " A quick run, with tiny sizes: its times say nothing." if results["quick"] else ""
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


def _products(section: Section) -> list[str]:
    sizes = "-".join(map(str, section["sizes"]))
    return [
        "### Large products",
        f"A step of {sizes}, batch {section['batch']:,}, in {section['dtype']}, takes "
        f"{seconds_text(section['step_seconds'])}; its matrix products alone, forward and backward, by {section['by']} "
        f"on the same shapes, take {seconds_text(section['products_seconds'])}. The whole step takes "
        f"**{ratio_text(section['ratio'])} ×** as long ({section['step_flops_per_second'] / 1e12:.1f} and "
        f"{section['products_flops_per_second'] / 1e12:.1f} TFLOP/s).",
    ]


def _crossover(section: Section) -> list[str]:
    cells = {(cell["batch"], cell["width"]): cell for cell in section["cells"]}
    head = ["batch, width", *(f"{width:,}" for width in section["widths"]), "the GPU wins from"]
    rows = []
    for batch in section["batches"]:
        found = crossing(*speedups(section, batch))
        start = "–" if found is None else f"{found:.0f}"
        rows.append([f"{batch:,}", *(_cell(cells[batch, width]) for width in section["widths"]), start])
    reasons = [f"- width {c['width']:,}, batch {c['batch']:,}: {c['reason']}" for c in section["cells"] if not c["cpu"]]
    return [
        "### Width × batch: CPU against GPU",
        f"A step of {section['inputs']}-width-width-{section['classes']}, captured on both: CPU / GPU, and how many "
        "times as fast the GPU is.",
        table(head, rows),
        "\n".join(reasons),
    ]


def _cell(cell: Section) -> str:
    gpu = seconds_text(cell["gpu"])
    if not cell["cpu"]:
        return f"– / {gpu}"
    return f"{seconds_text(cell['cpu'])} / {gpu} ({ratio_text(cell['cpu'] / cell['gpu'])} ×)"


def _repeat() -> str:
    return (
        f"To repeat: `{COMMAND}`, or `chalkgrad bench --device gpu --json` alone; contestants: "
        f"{', '.join(GPU_CONTESTANTS)}; workload: {GPU_WORKLOAD.title}."
    )
