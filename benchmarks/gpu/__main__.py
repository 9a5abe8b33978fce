"""The whole proof and benchmark on a GPU, by one command, in at most eight minutes.

    python3 benchmarks/gpu --out FOLDER [--quick]              from a checkout, nothing installed
    python -m chalkgrad.benchmarks.gpu --out FOLDER [--quick]  where chalkgrad is installed

It takes NumPy, CuPy, click, rich, pytest, hypothesis and mpmath; PyTorch, JAX, matplotlib, and pytest-xdist are used
where they are there. The name `chalkgrad` is made importable by a link to the checkout in a temporary folder. MNIST is
found by CHALKGRAD_DATA; without it the shipped digits and drawn samples serve.

Each step is a process with a time limit; one that fails does not keep the others from running. In FOLDER are then
summary.md and summary.json, gpu.json (for benchmarks/results/), what the proofs found, logs/, and all of it once more
in gpu-proof.zip. Exit code 0: every step went well or could not be asked for; 1: one did not.
--quick: tiny sizes, to see that everything runs; its times say nothing. --only STEP: that step; may be repeated.

This file is run as it lies there, so it takes the standard library alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 480.0
"""Seconds for everything."""
LEAST = 5.0
"""Seconds that a step must have left to be begun."""
GRACE = 10.0
"""Seconds between asking a step that is late to end and ending it."""
TAIL = 14
"""Lines of a log in the summary."""
SECTIONS = {
    "mnist": 107.0, "first": 20.0, "epoch": 8.0, "launch": 10.0, "products": 20.0, "crossover": 45.0, "cnn": 20.0,
    "peers": 27.0, "energy": 8.0,
}  # fmt: skip
"""The sections of `chalkgrad bench --device gpu`, and their seconds."""
QUICK_TESTS = "tests/nn/test_gpu_training.py"
SANITIZED = tuple(f"tests/nn/test_gpu_{name}.py" for name in ("training", "convolution", "sequences"))
"""The tests that run under compute-sanitizer, which makes them many times as slow."""
SECONDS, PART = "SECONDS", 0.85
"""Stands among a step's arguments for that part of the seconds that it has, so that it ends by itself."""
FOUND = 86
"""The exit code by which it says that it has found something."""
OK, FAILED, LATE, SKIPPED = "ok", "failed", "out of time", "skipped"


@dataclass(frozen=True)
class Step:
    """What is run: arguments for Python. limit: its seconds. needs: modules without which it is skipped. under: the
    program that runs Python, with its arguments.
    """

    name: str
    arguments: tuple[str, ...]
    limit: float
    needs: tuple[str, ...] = ()
    at_root: bool = False
    under: tuple[str, ...] = ()


def steps_for(quick: bool, standin: bool) -> list[Step]:
    """All steps in their order. standin: CuPy is that of the tests."""
    command, here = ("-m", "chalkgrad"), "chalkgrad.benchmarks.gpu"
    small = ("--quick",) if quick else ()
    rounds = ("--rounds", "3" if quick else "7")
    click, pytest = ("click", "rich"), ("pytest", "hypothesis", "mpmath")
    return [
        Step("doctor", (*command, "doctor"), 10, click),
        Step("pytest", _pytest(quick, standin, QUICK_TESTS if quick else "tests"), 85, pytest, at_root=True),
        Step("prove", ("-m", f"{here}.proofs", "--json", "proofs.json", "--seconds", SECONDS, *small), 60,
             (*click, "hypothesis", "mpmath")),
        Step("replays", ("-m", f"{here}.replays", "--json", "replays.json", *small), 20),
        *(
            Step(f"bench {name}", (*command, "bench", "--device", "gpu", "--only", name, *rounds, *small,
                                   "--max-seconds", SECONDS, "--json", f"{name}.json"), seconds, click)
            for name, seconds in SECTIONS.items()
        ),
        Step("sanitizer", _pytest(True, standin, *SANITIZED[: 1 if quick else None]), 40, pytest, at_root=True,
             under=("compute-sanitizer", "--tool", "memcheck", "--error-exitcode", str(FOUND))),
    ]  # fmt: skip


def _pytest(quick: bool, standin: bool, *tests: str) -> tuple[str, ...]:
    arguments = ["-m", "pytest", "-q", "-m", "gpu", "--device", "standin" if standin else "gpu", "-rfE", "--tb=short",
                 "-p", "no:cacheprovider"]  # fmt: skip
    if importlib.util.find_spec("xdist") and not quick:
        arguments += ["-n", str(max(1, min(8, (os.cpu_count() or 1) // 2)))]
    return (*arguments, *tests)


def program(name: str) -> str | None:
    """Where a program of CUDA's lies: in the path, or where CUDA is installed; None where it is not."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(f"{home}/bin" for home in homes if home))


@contextlib.contextmanager
def environment() -> Iterator[dict[str, str]]:
    """The environment of the steps: `chalkgrad` is this checkout."""
    with tempfile.TemporaryDirectory(prefix="chalkgrad-gpu-") as folder:
        Path(folder, "chalkgrad").symlink_to(ROOT, target_is_directory=True)
        paths = [folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        paths = [str(Path(path).resolve()) if path != folder else path for path in paths]
        made = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        if data := os.environ.get("CHALKGRAD_DATA"):
            made["CHALKGRAD_DATA"] = str(Path(data).resolve())
        yield made


def asked(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> str:
    """What Python answers to these arguments, on stdout."""
    try:
        ran = subprocess.run([sys.executable, *arguments], env=environ, cwd=folder, capture_output=True, text=True,
                             timeout=60, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return ""
    return ran.stdout


def why_not(step: Step) -> str | None:
    """Why a step cannot be asked for here; None where it can."""
    missing = [name for name in step.needs if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    if step.at_root and not Path(ROOT, "tests").is_dir():
        return "no tests here: run it from a checkout"
    if step.under and program(step.under[0]) is None:
        return f"{step.under[0]} is not here: it comes with the CUDA toolkit"
    return None


def run(step: Step, environ: Mapping[str, str], folder: Path, limit: float) -> dict[str, Any]:
    """Run a step with its log; what came of it."""
    log = Path(folder, "logs", step.name.replace(" ", "-") + ".log")
    begin = time.monotonic()
    arguments = [f"{limit * PART:.1f}" if argument == SECONDS else argument for argument in step.arguments]
    under = [program(step.under[0]) or step.under[0], *step.under[1:]] if step.under else []
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*under, sys.executable, *arguments], env=environ, cwd=ROOT if step.at_root else folder,
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            _signal(process, signal.SIGINT)  # pytest then tells what it has found
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            _signal(process, signal.SIGKILL)
            process.wait()
    status = LATE if code is None else OK if code == 0 else FAILED
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = [line.rstrip()[:300] for line in lines if line.strip()][-TAIL:]
    found = {"status": status, "code": code, "seconds": time.monotonic() - begin, "limit": limit, "tail": tail}
    reached = re.findall(r"\[ *(\d+)%\]", "\n".join(lines))
    if code is None:
        found["left_out"] = f"what was left after {reached[-1]} % of the tests" if reached else "its end"
    return found


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """To the step's own group of processes, of which it is the first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def gather(folder: Path) -> dict[str, Any] | None:
    """The sections that were measured, as one report in gpu.json; None where there are none."""
    parts = []
    for name in SECTIONS:
        path = Path(folder, f"{name}.json")
        if path.is_file():
            parts.append(json.loads(path.read_text(encoding="utf-8")))
            path.unlink()
    if not parts:
        return None
    whole = {**parts[0], "sections": {name: s for part in parts for name, s in part["sections"].items()}}
    Path(folder, "gpu.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return whole


def summary(found: Mapping[str, Any]) -> str:
    """The run as Markdown."""
    machine = found["machine"]
    rows = [
        f"| {name} | {step['status']} | {step.get('seconds', 0):.1f} s | "
        f"{step.get('reason') or ('left out: ' + step['left_out'] if 'left_out' in step else '')} |"
        for name, step in found["steps"].items()
    ]
    parts = [
        "# The proof on a GPU" + (", quick: tiny sizes, whose times say nothing" if found["quick"] else ""),
        f"{found['date']}, {found['seconds']:.0f} s. "
        + ", ".join(f"{name} {value}" for name, value in {"Python": found["python"], **machine}.items()) + ".",
        "\n".join(["| step | | took | |", "| --- | --- | --- | --- |", *rows]),
    ]  # fmt: skip
    for name, step in found["steps"].items():
        if step.get("tail"):
            parts += [f"## {name}: {step['status']}", "```\n" + "\n".join(step["tail"]) + "\n```"]
    return "\n\n".join(parts) + "\n"


def _pack(folder: Path) -> None:
    target = Path(folder, "gpu-proof.zip")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != target]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="the folder for everything")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for everything  [default: 480]")
    parser.add_argument("--only", action="append", default=[], metavar="STEP", help="this step; may be repeated")
    options = parser.parse_args(arguments)
    folder = Path(options.out).resolve()
    Path(folder, "logs").mkdir(parents=True, exist_ok=True)
    for name in ("gpu.json", "replays.json", "proofs.json", *(f"{section}.json" for section in SECTIONS)):
        Path(folder, name).unlink(missing_ok=True)  # of an earlier run
    begin, saved, done = time.monotonic(), 0.0, {}
    with environment() as environ:
        standin = "True" in asked(("-c", "import cupy; print(hasattr(cupy, 'standin_cublas'))"), environ, folder)
        steps = steps_for(options.quick, standin)
        unknown = set(options.only) - {step.name for step in steps}
        if unknown:
            parser.error(f"no such step: {', '.join(sorted(unknown))}; there are: {', '.join(s.name for s in steps)}")
        for step in steps:
            if options.only and step.name not in options.only:
                continue
            left = options.limit - (time.monotonic() - begin)
            reason = why_not(step) if left > LEAST else "no time left"
            if reason is None:
                done[step.name] = run(step, environ, folder, min(step.limit + saved, left))
                saved = max(0.0, saved + step.limit - done[step.name]["seconds"])
            else:
                done[step.name] = {"status": LATE if left <= LEAST else SKIPPED, "reason": reason}
            print(f"{step.name}: {done[step.name]['status']}" + (f": {reason}" if reason else ""), flush=True)
    report = gather(folder)
    kept = ("gpu", "driver", "cuda_runtime", "cupy", "processor", "cores", "system")
    machine = {name: report["machine"][name] for name in kept} if report else {}
    found = {
        "quick": options.quick, "standin": standin, "date": time.strftime("%Y-%m-%d"),
        "seconds": time.monotonic() - begin, "python": platform.python_version(), "machine": machine, "steps": done,
    }  # fmt: skip
    text = re.sub(re.escape(str(folder)), "FOLDER", json.dumps(found, indent=1, ensure_ascii=False))
    text = re.sub(re.escape(str(ROOT)), "CHECKOUT", text)
    Path(folder, "summary.json").write_text(text + "\n", encoding="utf-8")
    Path(folder, "summary.md").write_text(summary(json.loads(text)), encoding="utf-8")
    _pack(folder)
    print(f"{found['seconds']:.0f} s; see summary.md")
    return int(any(step["status"] in (FAILED, LATE) for step in done.values()))


if __name__ == "__main__":
    sys.exit(main())
