"""Gradient checkers compared: which wrong gradients each catches, and which right ones it calls wrong.

    python -m chalkgrad.benchmarks.gradient_checkers --out gradient-checkers.md --json gradient-checkers.json

Every checker runs in a process of its own, with a limit on memory and, for each function, on time.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from ..errors import unknown_name
from .gradient_cases import CASES, RIGHT, Case, Kind
from .gradient_contestants import CHECKERS, GOOD, OURS, Answer, Checker, Outcome, ask, judge
from .memory import limit_memory
from .peers import command_line, table, version, versions, write
from .processes import IMPORTS, LateError, Process, StoppedError

MEMORY = 8 << 30
"""Bytes of address space that a checker may use beyond what its package has taken at the start."""


@dataclass(frozen=True)
class Pair:
    """What one checker said of one case."""

    checker: str
    case: str
    kind: Kind
    size: int
    outcome: Outcome
    seconds: float
    note: str = ""


# Running them, each in a process of its own


class Worker:
    """A process that answers for one checker; it is started anew after it had to be ended."""

    def __init__(self, checker: Checker, limit: float, seed: int) -> None:
        self.checker, self.limit, self.seed = checker, limit, seed
        self.process: Process | None = None

    def ask(self, case: Case) -> tuple[Answer, float]:
        """The answer and its seconds; no answer where the limit is reached, an alarm where the process crashes."""
        if self.process is None:
            self.process = Process(serve, CHECKERS.index(self.checker), self.seed, limit=IMPORTS)
            self.process.answer()
        started = time.perf_counter()
        try:
            answer: tuple[Answer, float] = self.process.ask(CASES.index(case), self.limit)
        except StoppedError as error:
            self.stop()
            late = isinstance(error, LateError)
            told = Answer(None, f"timeout after {self.limit:g} s") if late else Answer(True, "the process crashed")
            return told, time.perf_counter() - started
        return answer

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.close()
            self.process = None


def serve(pipe: Any, place: int, seed: int) -> None:
    """In the worker: answer for the cases whose numbers arrive through the pipe, until it is closed."""
    checker = CHECKERS[place]
    logging.disable(logging.CRITICAL)  # JAX logs what a callback raises; it is in the answer
    ask(checker, RIGHT[0])  # imports and compiles, so that no case pays for it
    limit_memory(MEMORY)
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(ask(checker, CASES[pipe.recv()], seed))


def compare(checkers: Sequence[Checker], cases: Sequence[Case], limit: float = 20.0, seed: int = 0) -> Iterator[Pair]:
    """Ask every checker for every case, one after another."""
    for checker in checkers:
        worker = Worker(checker, limit, seed)
        try:
            for case in cases:
                answer, seconds = worker.ask(case)
                outcome = judge(case.kind, answer)
                yield Pair(checker.name, case.name, case.kind, case.size, outcome, round(seconds, 5), answer.note)
        finally:
            worker.stop()


# The report


def counts(pairs: Sequence[Pair], checker: str) -> dict[str, Any]:
    """How often each outcome, and the time, of one checker."""
    own = [pair for pair in pairs if pair.checker == checker]
    found = {str(outcome): sum(pair.outcome is outcome for pair in own) for outcome in Outcome}
    seconds = [pair.seconds for pair in own]
    return found | {"median seconds": statistics.median(seconds), "total seconds": round(sum(seconds), 2)}


def markdown(pairs: Sequence[Pair], limit: float) -> str:
    """The comparison as a page."""
    present = [checker for checker in CHECKERS if any(pair.checker == checker.name for pair in pairs)]
    wrong = len({pair.case for pair in pairs if pair.kind is Kind.WRONG})
    good = len({pair.case for pair in pairs if pair.kind is not Kind.WRONG})
    parts = [
        "# Gradient checkers compared",
        f"{wrong} wrong gradients, and {good} that are right or, on a kink, acceptable, of functions with 0 to 200000 "
        "inputs. All are written once, in NumPy, and handed to each checker through its own framework's way of "
        "defining a gradient. Each checker runs with its default tolerances; those whose documentation asks for "
        "float64 (PyTorch) or whose tolerances are made for it (autograd) are given float64 where the case is float32.",
        _totals(present, pairs, wrong, good),
        f"An exception counts as an alarm, whatever it says: it is what the user sees. *No answer*: {limit:g} s or "
        f"{MEMORY >> 30} GiB were not enough, or the checker says itself that it cannot tell. JAX's arrays cannot be "
        "changed in place, so that it stops such functions before it compares any number. PyTorch's engine converts a "
        "gradient of another dtype, or of shape (1, n) for (n,), without a word. No checker's manual promises anything "
        "on a kink; there the difference is whether a user learns that it is one.",
        "How each is called:",
        "\n".join(f"- {checker.name} {_version(checker)}: {checker.setting}" for checker in present),
    ]
    titles = {Kind.WRONG: "Wrong gradients", Kind.RIGHT: "Right gradients", Kind.KINK: "Kinks, with acceptable slopes"}
    for kind, title in titles.items():
        if any(pair.kind is kind for pair in pairs):
            parts += [f"## {title}", _rows(present, [pair for pair in pairs if pair.kind is kind])]
    parts += ["✓ as it should be · **missed** · **false alarm** · *no answer*", _notes(pairs), REPEAT]
    return "\n\n".join(part for part in parts if part)


REPEAT = "To repeat: `python -m chalkgrad.benchmarks.gradient_checkers --out PAGE.md --json RESULTS.json`."


def _version(checker: Checker) -> str:
    if checker.name == OURS:
        return f"{import_module('..', __package__).__version__} (NumPy {version('numpy')})"
    return version(checker.package) or ""


def _totals(present: Sequence[Checker], pairs: Sequence[Pair], wrong: int, good: int) -> str:
    head = ["", f"caught of {wrong}", "missed", f"passed of {good}", "false alarms", "no answer", "median", "total"]
    rows = []
    for checker in CHECKERS:
        if checker not in present:
            missing = "not asked" if version(checker.package) else "not installed"
            rows.append([checker.name, missing, *[""] * (len(head) - 2)])
            continue
        n = counts(pairs, checker.name)
        marks = [n[str(o)] for o in (Outcome.CAUGHT, Outcome.MISSED, Outcome.RIGHT, Outcome.FALSE_ALARM)]
        times = [f"{n['median seconds'] * 1e3:.1f} ms", f"{n['total seconds']:.1f} s"]
        rows.append([checker.name, *marks, n[str(Outcome.NO_ANSWER)], *times])
    return table(head, rows)


def _rows(present: Sequence[Checker], pairs: Sequence[Pair]) -> str:
    found = {(pair.case, pair.checker): pair for pair in pairs}
    sizes = {pair.case: pair.size for pair in pairs}
    head = ["", "inputs", *(checker.name for checker in present)]
    rows = [[case, size, *(_mark(found.get((case, checker.name))) for checker in present)]
            for case, size in sizes.items()]  # fmt: skip
    return table([head[0], *head[1:]], [[str(cell).replace("|", "\\|") for cell in row] for row in rows])


def _mark(pair: Pair | None) -> str:
    if pair is None:
        return ""
    if pair.outcome in GOOD:
        return "✓"
    return f"*{pair.outcome}*" if pair.outcome is Outcome.NO_ANSWER else f"**{pair.outcome}**"


def _notes(pairs: Sequence[Pair]) -> str:
    """What was said where there was no answer or where the checker stopped before it compared any number."""
    plain = ("GradcheckError", "AssertionError")
    told = [pair for pair in pairs if pair.note and not pair.note.startswith(plain)]
    told = [pair for pair in told if pair.checker != OURS or pair.outcome not in GOOD]
    lines = [f"- {pair.checker}, {pair.case}: {pair.outcome}, `{pair.note.replace('`', '')}`" for pair in told]
    return "## Refusals and failures\n\n" + "\n".join(lines) if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 1 where chalkgrad's own checker errs."""
    parser = command_line("gradient_checkers", __doc__)
    parser.add_argument("--out", required=True, help="the page to write (Markdown)")
    parser.add_argument("--json", required=True, help="the file to write every result to")
    parser.add_argument("--only", metavar="NAME", action="append", help="one case; may be given several times")
    parser.add_argument("--quick", action="store_true", help="leave out the large cases; 5 s for each")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    options = parser.parse_args(arguments)
    names = [case.name for case in CASES]
    for name in options.only or ():
        if name not in names:
            parser.error(str(unknown_name("case", name, names)))
    cases = [case for case in CASES if case.name in (options.only or names)]
    if options.quick:
        cases = [case for case in cases if case.size <= 1000]
    limit = 5.0 if options.quick else 20.0
    checkers = [checker for checker in CHECKERS if version(checker.package)]
    pairs = list(compare(checkers, cases, limit, options.seed))
    packages = ("numpy", *dict.fromkeys(checker.package for checker in CHECKERS if checker.package != "numpy"))
    totals = {checker.name: counts(pairs, checker.name) for checker in checkers}
    known = {"versions": versions(packages), "limit_seconds": limit, "seed": options.seed, "totals": totals}
    write(options.out, markdown(pairs, limit))
    write(options.json, known | {"pairs": [asdict(pair) for pair in pairs]})
    print(_totals(checkers, pairs, *_sizes(pairs)))
    return int(any(pair.checker == OURS and pair.outcome not in GOOD for pair in pairs))


def _sizes(pairs: Sequence[Pair]) -> tuple[int, int]:
    wrong = len({pair.case for pair in pairs if pair.kind is Kind.WRONG})
    return wrong, len({pair.case for pair in pairs}) - wrong


if __name__ == "__main__":
    sys.exit(main())
