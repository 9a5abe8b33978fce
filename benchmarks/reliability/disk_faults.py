"""What comes of writing where a disk, a folder or a name is not as it should be: a table, and 0 files lost.

    python -m chalkgrad.benchmarks.reliability.disk_faults --out benchmarks/results/reliability-disk-faults.json

Each fault is tried with what writes files: a training, a model's save, proofs, an explanation. The commands run as
processes of their own; where root runs this, they are without root's power to write anywhere. A disk that is full or
read-only is a small one in memory, which takes root to mount; without, a limit on a file's size stands for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..machine import host
from ..peers import command_line, versions, write
from .crashes import ENVIRONMENT, wrong_in

OLD = b"what was there before\n"
SMALL = 60_000
"""Bytes that are left on a disk that fills up while a training goes on."""
HOLDS = "size=400k"
OURS = re.compile(r"(error: [^\n]+\n)?")
"""What may be said on stderr."""
WRITERS = {
    "train": ("-m", "chalkgrad", "train", "--epochs", "3", "--verbose", "0", "--out", "{}"),
    "model.save": ("-c", "import sys; import chalkgrad as cg; "
                         "model = cg.Sequential([cg.layers.Dense(300, input_shape=(300,))]); "
                         "model.save(sys.argv[1])", "{}"),
    "prove --json": ("-m", "chalkgrad", "prove", "sin", "--dtype", "float64", "--order", "1", "--json", "{}"),
    "explain --out": ("-m", "chalkgrad", "explain", "--format", "markdown", "--out", "{}"),
}  # fmt: skip
"""What writes files, as Python's arguments; {} is the place."""
FILES = ("model.save", "prove --json", "explain --out")
"""Those that write one file."""
COMMANDS = ("train", "prove --json", "explain --out")
"""Those that print."""


@dataclass
class Case:
    """A place made wrong. kept: files that must stay as they are. right: whether all is as it should be afterwards."""

    folder: Path
    place: str
    kept: Sequence[Path] = ()
    options: dict[str, Any] | None = None
    after: Callable[[], None] | None = None
    right: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Fault:
    """What is wrong. make: a folder in which it is so. works: writing is possible, and what is there then is right."""

    name: str
    make: Callable[[Path], Any]
    writers: Sequence[str] = tuple(WRITERS)
    works: bool = False


def run(writer: str, case: Case) -> tuple[int, str]:
    """Let one write there; returns exit code and what was said on stderr."""
    command = [sys.executable, *(case.place if part == "{}" else part for part in WRITERS[writer])]
    if os.geteuid() == 0:  # as one who is not allowed everything
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, **(case.options or {})}
    done = subprocess.run(
        command, cwd=case.folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, **options,
    )  # fmt: skip
    return done.returncode, done.stderr.decode("utf-8", "replace")


# Places


def _is_there(folder: Path) -> Case:
    (folder / "file").write_bytes(OLD)
    return Case(folder, "file", [folder / "file"])


def _read_only(folder: Path) -> Case:
    (folder / "closed").mkdir()
    (folder / "closed" / "file").write_bytes(OLD)
    (folder / "closed").chmod(0o555)
    return Case(folder, "closed/new", [folder / "closed" / "file"], after=lambda: (folder / "closed").chmod(0o755))


def _read_only_file(folder: Path) -> Case:
    case = _is_there(folder)
    (folder / "file").chmod(0o444)
    return case


def _foreign(folder: Path) -> Case:
    (folder / "foreign").mkdir(mode=0o755)
    (folder / "foreign" / "file").write_bytes(OLD)
    for path in (folder / "foreign" / "file", folder / "foreign"):
        os.chown(path, 65534, 65534)
    return Case(folder, "foreign/file", [folder / "foreign" / "file"])


@contextlib.contextmanager
def _disk(folder: Path, *remount: str, left: int | None = 0) -> Iterator[Case]:
    """A small disk with a file on it; left: filled up, but for so many bytes."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", HOLDS, "none", disk], check=True)
    try:
        (disk / "file").write_bytes(OLD)
        if left is not None:
            free = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - left))
        for options in remount:
            subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)
        yield Case(folder, "disk/new", [disk / "file"])
    finally:
        subprocess.run(["umount", disk], check=True)


def _limited(folder: Path) -> Case:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    return Case(folder, "new", options={"preexec_fn": limit})


def _folder(folder: Path) -> Case:
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_bytes(OLD)
    return Case(folder, "folder", [folder / "folder" / "file"])


def _link(target: str) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        (folder / "link").symlink_to(target)
        return Case(folder, "link", right=lambda: os.readlink(folder / "link") == target)

    return make


def _pipe(folder: Path) -> Case:
    os.mkfifo(folder / "pipe")
    threading.Thread(target=(folder / "pipe").read_bytes, daemon=True).start()
    return Case(folder, "pipe", right=(folder / "pipe").is_fifo)


def _named(name: str) -> Callable[[Path], Case]:
    there = os.path.exists(name) and os.stat(name)
    return lambda folder: Case(folder, name, right=lambda: not there or os.path.samestat(os.stat(name), there))


@contextlib.contextmanager
def _stdout(folder: Path, kind: str) -> Iterator[Case]:
    case = _is_there(folder)
    case.place = "new"
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "wb") as full:
        options: dict[str, dict[str, Any]] = {
            "full": {"stdout": full}, "pipe": {"stdout": writing}, "closed": {"preexec_fn": lambda: os.close(1)}
        }  # fmt: skip
        case.options = options[kind]
        yield case
    os.close(writing)


FAULTS = (
    Fault("the disk is full", lambda folder: _disk(folder)),
    Fault("the disk fills up during the training", lambda folder: _disk(folder, left=SMALL), ("train", "model.save")),
    Fault("the disk is read-only", lambda folder: _disk(folder, "ro", left=None)),
    Fault("a file may not become larger (a limit, a quota)", _limited),
    Fault("a folder that must not be written to", _read_only),
    Fault("a folder and a file of another user", _foreign),
    Fault("a file that must not be written to", _read_only_file, FILES),
    Fault("a folder in the way", _folder),
    Fault("a file where a folder is needed", _is_there, ("train",)),
    Fault("a link to a file", _link("target"), FILES, works=True),
    Fault("a link in a circle", _link("link")),
    Fault("the null device", _named(os.devnull), FILES, works=True),
    Fault("a device that is always full", _named("/dev/full")),
    Fault("a pipe", _pipe, FILES, works=True),
    Fault("a name with a line break", _named("new\nline"), works=True),
    Fault("a name that begins with a dash", _named("./-new"), works=True),
    Fault("a name that is no UTF-8", _named(os.fsdecode(b"new\xff")), works=True),
    Fault("a name of 255 bytes", _named("é" * 127 + "x"), works=True),
    Fault("a name of 256 bytes", _named("é" * 128)),
    Fault("standard output is full", lambda folder: _stdout(folder, "full"), COMMANDS),
    Fault("standard output is a pipe that nobody reads", lambda folder: _stdout(folder, "pipe"), COMMANDS),
    Fault("standard output is closed", lambda folder: _stdout(folder, "closed"), tuple(WRITERS), works=True),
)  # fmt: skip
NEED_ROOT = ("the disk is full", "the disk fills up during the training", "the disk is read-only",
             "a folder and a file of another user")  # fmt: skip


# The table


def tried(fault: Fault) -> dict[str, Any]:
    """A row of the table: what each writer gives, how many files were lost, and what is not as it should be."""
    gives, lost, wrong = dict[str, list[str]](), 0, []
    for writer in fault.writers:
        with TemporaryDirectory() as place, contextlib.ExitStack() as stack:
            made = fault.make(Path(place).resolve())
            case = made if isinstance(made, Case) else stack.enter_context(made)
            before = {path: path.read_bytes() for path in case.kept}
            code, said = run(writer, case)
            if case.after:
                stack.callback(case.after)
            lost += sum(not path.is_file() or path.read_bytes() != data for path, data in before.items())
            lost += sum(sort == "torn" for sort, _ in wrong_in(Path(case.folder, case.place).parent))
            told = _told(said.replace(place, "…"), writer, case.place)
            gives.setdefault(f"exit code {code}" + (f": {told}" if told else ""), []).append(writer)
            written = not fault.works or os.path.exists(case.folder / case.place)
            fine = (case.right is None or case.right()) and written and OURS.fullmatch(told + "\n" * bool(told))
            if code != (0 if fault.works else 1) or not fine:
                wrong.append(f"{writer}: {code}: {said[-1000:]}")
    shown = "; ".join(f"{', '.join(writers)}: {given}" if len(gives) > 1 else given for given, writers in gives.items())
    return {"fault": fault.name, "tried": ", ".join(fault.writers), "gives": shown, "lost": lost, "wrong": wrong}


def _told(said: str, writer: str, place: str) -> str:
    """The one line; of a program of one's own the error that ends its traceback."""
    told = said.strip()
    if writer == "model.save" and (ends := re.search(r"\nchalkgrad\.errors\.\w+: (.*)\Z", told)):
        told = f"error: {ends[1]}"
    return told.replace("é" * 127, "é…")


def possible(fault: Fault) -> bool:
    """Whether it can be made here."""
    return os.geteuid() == 0 or fault.name not in NEED_ROOT


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where something is not as it should be."""
    parser = command_line("reliability.disk_faults", __doc__)
    parser.add_argument("--only", nargs="+", default=(), metavar="FAULT")
    parser.add_argument("--out", metavar="FILE", help="keep the result (JSON)")
    options = parser.parse_args(arguments)
    rows = []
    for fault in FAULTS:
        if possible(fault) and (not options.only or fault.name in options.only):
            rows.append(tried(fault))
            print(*(f"{name}: {value}" for name, value in rows[-1].items()), "", sep="\n", flush=True)
    if options.out:
        left_out = [fault.name for fault in FAULTS if not possible(fault)]
        write(options.out, {"rows": rows, "left out": left_out, "machine": host(),
                            "versions": versions(("chalkgrad", "numpy"))})  # fmt: skip
    return int(any(row["lost"] or row["wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
