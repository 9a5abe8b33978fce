"""What a proof says: a verdict, the worst difference, and code that reproduces it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ..engine.markup import number, rendered
from ..errors import ChalkgradError
from .bounds import Accuracy


class Verdict(StrEnum):
    """The outcome of a gradient check. PROVEN is a success, KINK one where kinks are accepted.

    KINK: right wherever there is a derivative; and where there is none, one of the function's own slopes.
    """

    PROVEN = "proven"
    WRONG = "wrong"
    KINK = "kink"
    PRECISION = "precision-limited"
    RANDOM = "non-deterministic"
    MUTATES = "mutates"
    SHAPE = "wrong shape or dtype"
    RAISES = "raises"
    NOT_FINITE = "not finite"
    UNDECIDED = "undecided"


class GradientError(ChalkgradError, AssertionError):
    """Raised by `assert_gradients`; `report` says all."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Difference:
    """Where the given gradient and the numerical derivative were compared.

    argument, index: the element of the inputs; index is () for a whole random direction. analytic: what the
    gradient under test gives, numeric: what the function's values give, bound: the difference that rounding
    explains. step: h (1e-20 for the complex step). one_sided: the derivatives from the left and from the right, where
    they were taken.
    """

    argument: int
    index: tuple[int, ...]
    analytic: float
    numeric: float
    bound: float
    step: float
    one_sided: tuple[float, float] | None = None

    @property
    def absolute(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.numeric)

    @property
    def relative(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|)."""
        largest = max(abs(self.analytic), abs(self.numeric))
        return self.absolute / largest if largest else 0.0

    def __str__(self) -> str:
        where = f"argument {self.argument}" + (f" at {list(self.index)}" if self.index else "")
        text = (
            f"{where}: given {self.analytic:.10g}, numeric {self.numeric:.10g}, off by {self.absolute:.2g} "
            f"(relative {self.relative:.2g}; rounding explains {self.bound:.1g}; h = {self.step:.1g})"
        )
        return (
            text
            if self.one_sided is None
            else f"{text}; from the left {self.one_sided[0]:.6g}, right {self.one_sided[1]:.6g}"
        )


@dataclass(frozen=True)
class Report:
    """The outcome of `gradcheck`. True where the verdict is PROVEN, or KINK with kinks="accept".

    name: of the function. detail: the verdict's reason in one sentence. worst: the largest difference in units of
    its bound. kinks: elements where the one-sided derivatives differ and the gradient lies between them.
    accepts_kinks: whether these count as right. checks: what was done. curve: (h, error) pairs of the worst element,
    whose V shape shows why h matters. reproduce: code that, pasted, gives this report again. exactness: of a
    primitive's equation, the worst errors in ulp, each with its bound.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    worst: Difference | None = None
    kinks: tuple[Difference, ...] = ()
    checks: tuple[str, ...] = ()
    dtype: str = "float64"
    order: int = 1
    seed: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    curve: tuple[tuple[float, float], ...] = ()
    reproduce: str = ""
    exactness: tuple[Accuracy, ...] = ()
    accepts_kinks: bool = False

    @property
    def proven(self) -> bool:
        """Whether the verdict is PROVEN, or KINK where kinks are accepted."""
        return self.verdict is Verdict.PROVEN or (self.accepts_kinks and self.verdict is Verdict.KINK)

    def __bool__(self) -> bool:
        return self.proven

    def __str__(self) -> str:
        accepted = ", accepted" if self.proven and self.verdict is Verdict.KINK else ""
        lines = [f"{self.name}: {self.verdict.upper()}{accepted}" + (f" - {self.detail}" if self.detail else "")]
        if self.worst is not None:
            lines.append(f"  worst  {self.worst}")
        lines += [f"  kink   {kink}" for kink in self.kinks[:5]]
        if len(self.kinks) > 5:
            lines.append(f"  kink   ... and {len(self.kinks) - 5} more")
        lines += [f"  exact  {one}" for one in self.exactness]
        done = ", ".join(self.checks) or "nothing"
        lines.append(
            f"  checked {done} ({self.dtype}, order {self.order}, {self.evaluations} evaluations, {self.seconds:.2f} s)"
        )
        if not self.proven and self.reproduce:
            lines += ["  to reproduce:", *(f"    {line}" for line in self.reproduce.splitlines())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return _html(self)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {**asdict(self), "verdict": str(self.verdict)}


OPEN = (Verdict.KINK, Verdict.PRECISION, Verdict.UNDECIDED)
"""Verdicts that find no error, and yet prove nothing everywhere."""

MOST_KINKS = 5


def _html(report: Report) -> str:
    """The report in a notebook: the verdict, what was checked, the worst difference, and code that gives it again."""
    rows = [_row("worst", report.worst)] if report.worst is not None else []
    rows += [_row("kink", kink) for kink in report.kinks[:MOST_KINKS]]
    titles = ["", "where", "given", "numeric", "off by", "relative", "rounding explains", "h", "from left, right"]
    if not any(row[-1] for row in rows):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    more = len(report.kinks) - MOST_KINKS
    return rendered(
        "proof/report.html", report=report, unsure=report.verdict in OPEN, titles=titles, rows=rows, more=more
    )


def _row(what: str, found: Difference) -> list[str]:
    where = f"argument {found.argument} " + (str(list(found.index)) if found.index else "(a direction)")
    sides = ", ".join(map(number, found.one_sided)) if found.one_sided else ""
    numbers = (f"{found.absolute:.2g}", f"{found.relative:.2g}", f"{found.bound:.1g}", f"{found.step:.1g}")
    return [what, where, f"{found.analytic:.10g}", f"{found.numeric:.10g}", *numbers, sides]
