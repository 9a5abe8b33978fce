"""`chalkgrad doctor`: what is there, what is missing, and the one command that mends it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy

from .. import __version__, datasets
from ..benchmarks.machine import blas
from ..benchmarks.peers import version
from ..datasets import mnist
from ..datasets.originals import VARIABLE
from ..engine.streams import plain
from ..errors import DataError, first_line
from ..hints import extras, install_command, pip
from ..replay.blas import VARIABLES, given_threads
from ..replay.epoch import cores
from .doctor_gpu import MISSING, OK, WRONG, Finding, compile_ahead, gpu_findings

COLOURS = {OK: "green", MISSING: "yellow", WRONG: "red"}


def doctor(as_json: bool, compiles: bool = False) -> None:
    """Print the findings, as text or as one JSON object; whatever is broken on the machine, it is a finding.

    compiles: compile a GPU's kernels first; raises DeviceError where there is none.
    """
    if compiles:
        with contextlib.redirect_stdout(sys.stderr):  # a JSON object stands alone
            compile_ahead()
    sections = {name: _careful(name, find) for name, find in SECTIONS.items()}
    if as_json:
        contents = {name: {found.name: _plain(found) for found in findings} for name, findings in sections.items()}
        click.echo(json.dumps(contents, indent=2, ensure_ascii=False))
        return
    for name, findings in sections.items():
        click.secho(name, bold=True)
        width = max(len(found.name) for found in findings)
        for found in findings:
            mark = click.style(f"{found.state:<7}", fg=COLOURS[found.state])
            click.echo(f"  {mark}  {found.name:<{width}}  {plain(found.value)}")
            if found.command:
                click.echo(f"  {'':<7}  {'':<{width}}  → " + click.style(plain(found.command), bold=True))
    states = [found.state for findings in sections.values() for found in findings]
    if WRONG in states:
        click.echo(f"{states.count(WRONG)} wrong: see above.")
    else:
        click.echo("Nothing is wrong" + (": what is missing is optional." if MISSING in states else "."))


def _careful(name: str, find: Callable[[], list[Finding]]) -> list[Finding]:
    """The findings, or the failure to find any: the doctor is called where something is broken."""
    try:
        return find()
    except Exception as error:  # whatever it is
        return [Finding(name, f"could not be looked into: {type(error).__name__}: {first_line(error)}", WRONG)]


def _versions() -> list[Finding]:
    names = ("click", "jinja2", "pooch", "rich", "safetensors")
    others = [Finding(name, version(name) or "not installed", OK if version(name) else WRONG) for name in names]
    for found in others:
        if found.state == WRONG:
            found.command = pip("install", found.name)
    system = f"{platform.python_implementation()} on {platform.system()} {platform.machine()}"
    return [
        Finding("chalkgrad", __version__),
        Finding("python", f"{platform.python_version()} ({system})"),
        Finding("numpy", numpy.__version__),
        *others,
    ]


def _processor() -> list[Finding]:
    given = [f"{name}={value}" for name, value in given_threads().items()]
    threads = ", ".join(given) or f"no {VARIABLES[0]} or {VARIABLES[1]} set: one for each usable CPU"
    return [
        Finding("CPUs", f"{cores()} usable of {os.cpu_count() or 1}"),
        Finding("BLAS", blas()),
        Finding("BLAS threads", threads),
    ]


def _data() -> list[Finding]:
    (images, _), (test_images, _) = datasets.digits.load_data()
    digits = Finding("digits", f"{len(images) + len(test_images):,} images, in the package")
    given = os.environ.get(VARIABLE)
    where = f"{VARIABLE}={given}" if given else "the cache"
    try:
        mnist.load_data(mirrors=(), progress=False)  # no mirror: what is on this machine
    except DataError as error:
        if given:
            return [digits, Finding("mnist", first_line(error), WRONG, f"unset {VARIABLE}")]
        return [digits, Finding("mnist", "not on this machine; downloaded once", MISSING, "chalkgrad train mnist")]
    return [digits, Finding("mnist", f"70,000 images, in {where}, whole and original")]


def _extras() -> list[Finding]:
    findings = []
    for extra, names in extras().items():
        if extra.startswith("gpu"):  # which of them fits is told with the GPU
            continue
        versions = {name: version(name) for name in names}
        missing = [name for name, found in versions.items() if found is None]
        value = ", ".join(f"{name} {found or 'missing'}" for name, found in versions.items())
        findings.append(Finding(extra, value, MISSING, install_command(extra)) if missing else Finding(extra, value))
    return findings


def _ranks() -> list[Finding]:
    if version("mpi4py") is None:
        return [Finding("mpi4py", "not installed: it trains on several processes", MISSING, install_command("mpi"))]
    package, library = Finding("mpi4py", str(version("mpi4py"))), _mpi(sys.executable, "-c", LIBRARY)
    if library is None:
        return [package, Finding("MPI", "mpi4py finds no MPI library", MISSING, install_command("mpi"))]
    survives = "; a training outlives a rank by --with-ft ulfm" if library[0] == OPEN_MPI else ""
    found = [package, Finding("MPI", f"{' '.join(library)}{survives}")]
    beside = Path(sys.executable).parent / "mpirun"
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    told = launcher and _mpi(launcher, "--version")
    if not launcher or not told:
        return [*found, Finding("mpirun", f"there is none of {library[0]}", MISSING, install_command("mpi"))]
    if told[0] != library[0]:
        value = f"{launcher} is of {told[0]}, and mpi4py's library of {library[0]}: ranks would not find each other"
        return [*found, Finding("mpirun", value, WRONG, install_command("mpi"))]
    return [*found, Finding("mpirun", f"{launcher}; {cores()} ranks have a core each")]


LIBRARY = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())"
"""Says which MPI there is, and does not begin it."""
OPEN_MPI, MPICH = "Open MPI", "MPICH"


def _mpi(*command: str) -> tuple[str, str] | None:
    """Which MPI a command says that it is of, and its version; None where it fails."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if ended.returncode:
        return None
    words = ended.stdout.lower()
    is_open = any(name in words for name in ("open mpi", "openrte", "prte"))
    is_mpich = any(name in words for name in ("mpich", "hydra"))
    number = re.search(r"\d+\.\d+(\.\d+)?", ended.stdout)
    kind = OPEN_MPI if is_open else MPICH if is_mpich else first_line(ValueError(ended.stdout)) or "an unknown MPI"
    return kind, number[0] if number else ""


def _plain(found: Finding) -> dict[str, Any]:
    return {key: value for key, value in asdict(found).items() if key != "name" and value is not None}


SECTIONS: dict[str, Callable[[], list[Finding]]] = {
    "versions": _versions,
    "processor": _processor,
    "gpu": gpu_findings,
    "data": _data,
    "several processes": _ranks,
    "extras": _extras,
}
