"""One piece of work for each setting and seed, shared out among the ranks that `mpirun` has started."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.files import write_file
from ..engine.json_files import read_json
from ..errors import ChalkgradError, DataError, UsageError
from ..hints import missing_extra
from .group import launched

Work = Callable[[Any], Any]
Shared = Callable[[Work, Sequence[Any]], Iterator[tuple[int, Any]]]
"""(function, tasks) -> (number of the task, what came of it), as they come."""


@contextlib.contextmanager
def shared_out() -> Iterator[Shared | None]:
    """What shares tasks out: on the first rank, or where there is one process alone. On the other ranks it is None,
    once they have done what the first one handed them.

    Two ranks are one that works; the first one hands out. Raises MissingExtraError without mpi4py under mpirun.
    """
    if launched() == 1:
        yield _one_by_one
        return
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except (ImportError, RuntimeError) as error:
        raise missing_extra("a sweep over several processes", "mpi4py with an MPI library", "mpi") from error
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        yield None if executor is None else functools.partial(_by_ranks, executor)


def _one_by_one(function: Work, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    yield from ((number, function(task)) for number, task in enumerate(tasks))


def _by_ranks(executor: Any, function: Work, tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    from mpi4py.futures import as_completed

    given = {executor.submit(function, task): number for number, task in enumerate(tasks)}
    for done in as_completed(given):
        yield given[done], done.result()


@dataclass(frozen=True)
class Member:
    """One of a sweep: its settings, and the seed."""

    settings: tuple[tuple[str, Any], ...]
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        parts = [*self.settings, ("seed", self.seed)]
        text = ",".join(f"{name}={_told(value)}" for name, value in parts)
        return "".join(c if c.isalnum() or c in "=,._-" else "_" for c in text)


def _told(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def members_of(grid: Mapping[str, Sequence[Any]], seeds: int | Sequence[int]) -> list[Member]:
    """Each choice of settings with each seed. Raises UsageError for a setting without a value, or with one twice."""
    for name, values in {**grid, "seed": range(seeds) if isinstance(seeds, int) else seeds}.items():
        told = [_told(value) for value in values]
        if not told:
            raise UsageError(f"sweep: {name} has no value to try.")
        if twice := sorted({each for each in told if told.count(each) > 1}):
            raise UsageError(f"sweep: {name} has the value {twice[0]} twice.")
    given = range(seeds) if isinstance(seeds, int) else seeds
    chosen = itertools.product(*([(name, value) for value in values] for name, values in sorted(grid.items())))
    made = [Member(settings, seed) for settings in chosen for seed in given]
    if len({member.name for member in made}) < len(made):
        raise UsageError("sweep: two of its members would have the same name: let their values differ in letters.")
    return made


@dataclass(frozen=True)
class Task:
    """What a rank does: function(seed=…, **settings), which gives figures by name; an error is told, not raised."""

    function: Callable[..., Mapping[str, Any]]

    def __call__(self, member: Member) -> dict[str, Any]:
        """What comes of a member."""
        try:
            return {"figures": dict(self.function(**dict(member.settings), seed=member.seed))}
        except Exception as error:  # of whatever kind: the others go on
            return {"error": f"{type(error).__name__}: {error}"}


def sweep(
    function: Callable[..., Mapping[str, Any]], grid: Mapping[str, Sequence[Any]], seeds: int | Sequence[int] = 1,
    out: str | Path | None = None, fixed: Mapping[str, Any] | None = None, told: Callable[[str], Any] = print,
) -> list[dict[str, Any]] | None:  # fmt: skip
    """function(seed=…, **settings) for each choice of the grid's settings and each seed; it gives figures by name.

    Under `mpirun` the ranks share them out, and all but the first get None. out: a folder that keeps each member's
    figures as JSON as soon as they are there, and all in `sweep.json`: called again, what is there is not done again.
    fixed: what is the same for all and decides the figures; with another the folder is refused. told: hears a line a
    member. Returns for each member its settings, its seed, and figures, or the error that it ended with: the others
    go on. Raises UsageError for a grid without values, or with one twice; DataError for a folder that is of another
    sweep, or cannot be written.
    """
    members, folder = members_of(grid, seeds), None if out is None else Path(out)
    with shared_out() as shared:
        if shared is None:
            return None
        common = dict(fixed or {})
        if folder:
            _check_folder(folder, common)
        kept = {member.name: _kept(folder, member) for member in members} if folder else {}
        left = [member for member in members if not kept.get(member.name)]
        if folder:
            _write(folder / FACTS, common)
        results = {name: {"figures": figures} for name, figures in kept.items() if figures}
        for number, result in shared(Task(function), left):
            member = left[number]
            results[member.name] = result
            if folder and "figures" in result:
                _write(_place(folder, member), {"fixed": common, **_plain(member), **result})
            told(f"{member.name}: {result.get('error') or _figures(result['figures'])}")
        found = [{**_plain(member), **results[member.name]} for member in members]
        if folder:
            _write(folder / "sweep.json", {"fixed": common, "members": found})
        return found


FACTS = "fixed.json"
"""What all members of a folder have in common."""


def _plain(member: Member) -> dict[str, Any]:
    return {"settings": {name: value for name, value in member.settings}, "seed": member.seed}


def _figures(figures: Mapping[str, Any]) -> str:
    told = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in figures.items()}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def _place(folder: Path, member: Member) -> Path:
    return folder / f"{member.name}.json"


def _write(path: Path, content: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {path.parent}: {error.strerror or error}.") from error
    write_file(path, json.dumps(content, indent=1) + "\n")


def _check_folder(folder: Path, common: Mapping[str, Any]) -> None:
    """Raise DataError where the folder is of a sweep whose members have other things in common."""
    facts = folder / FACTS
    if facts.exists() and (there := read_json(facts)) != json.loads(json.dumps(common)):
        raise DataError(f"{folder} holds another sweep, with {json.dumps(there)}: choose another folder.")


def _kept(folder: Path, member: Member) -> Mapping[str, Any] | None:
    """The figures of a member that are in the folder already."""
    path = _place(folder, member)
    if not path.exists():
        return None
    try:
        found = read_json(path)
        figures: Mapping[str, Any] = found["figures"]
        if found["seed"] != member.seed or not figures:
            raise KeyError("seed")
    except (ChalkgradError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it, and that member is done again.") from error
    return figures
