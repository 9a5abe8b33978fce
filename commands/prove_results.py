"""What came of `chalkgrad prove`: of each primitive or function its reports, in a row, a headline, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..benchmarks import peers
from ..benchmarks.machine import card
from ..engine.primitive import Primitive
from ..proof.bounds import Accuracy
from ..proof.report import Report, Verdict
from .prove_targets import Options, Target

EQUATION_CHECK = "the equation at 50 digits"


@dataclass
class Proof:
    """What came of one primitive or function."""

    target: Target
    reports: list[Report] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The primitive's name, or the function's as it was asked for."""
        return name_of(self.target)

    @property
    def primitive(self) -> Primitive | None:
        """The primitive; None for a function."""
        return self.target if isinstance(self.target, Primitive) else None

    @property
    def cases(self) -> list[Report]:
        """The reports of gradients: all but that of the equation, and that time is up."""
        return [report for report in self.reports if report.evaluations]

    @property
    def failures(self) -> list[Report]:
        """The reports that are not PROVEN."""
        return [report for report in self.reports if not report.proven]

    @property
    def worst(self) -> float | None:
        """The largest error in units of its bound; None where nothing was compared."""
        return max((ratio for report in self.reports if (ratio := error_to_bound(report)) is not None), default=None)

    @property
    def exactness(self) -> Accuracy | None:
        """What comes nearest to its bound in ulp, or is beyond; None where none is declared."""
        found = [one for report in self.reports for one in report.exactness]
        return max(found, key=lambda one: one.off / one.bound.ulp, default=None)

    @property
    def verdict(self) -> str:
        """`proven`, or how many of which other verdict."""
        from ..proof.registry import summary

        counts = summary(self.failures)
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or str(Verdict.PROVEN)

    @property
    def row(self) -> tuple[str, ...]:
        """Name, proven of all, dtypes, orders, worst error relative to its bound, ulp of those allowed, verdict."""
        dtypes = dict.fromkeys(report.dtype for report in self.cases)
        orders = dict.fromkeys(str(report.order) for report in self.cases)
        proven = f"{len(self.reports) - len(self.failures)}/{len(self.reports)}"
        worst = "–" if self.worst is None else f"{self.worst:.2g}"
        ulp = "–" if self.exactness is None else f"{self.exactness.off:.2g}/{self.exactness.bound.ulp:g}"
        return self.name, proven, " ".join(dtypes) or "–", " ".join(orders) or "–", worst, ulp, self.verdict


def name_of(target: Target) -> str:
    """The primitive's name, or the function's as it was asked for."""
    return target.name if isinstance(target, Primitive) else target.label


def error_to_bound(report: Report) -> float | None:
    """The worst difference in units of what rounding explains; None where nothing was compared."""
    return None if report.worst is None else report.worst.absolute / report.worst.bound


def headline(proofs: Sequence[Proof]) -> str:
    """How many proofs of what, and whether all hold."""
    reports = [report for proof in proofs for report in proof.reports]
    failures = sum(not report.proven for report in reports)
    primitives = sum(isinstance(proof.target, Primitive) for proof in proofs)
    kinds = ((primitives, "primitive"), (len(proofs) - primitives, "function"))
    subjects = " and ".join(_count(number, kind) for number, kind in kinds if number)
    held = "all proven" if not failures else f"{failures:,} NOT proven"
    return f"{_count(len(reports), 'proof')} of {subjects}, {'proven' if len(reports) == 1 and not failures else held}"


def _count(number: int, kind: str) -> str:
    return f"{number:,} {kind}{'' if number == 1 else 's'}"


def versions() -> dict[str, str]:
    """The versions that a proof was made with."""
    return {"chalkgrad": __version__, **peers.versions(("numpy", "mpmath"))}


def as_json(proofs: Sequence[Proof], options: Options, seconds: float) -> str:
    """Everything as one JSON object; a number that is not finite is null."""
    from ..proof.registry import summary

    reports = [report for proof in proofs for report in proof.reports]
    contents = {
        "versions": versions(),
        "seed": options.seed,
        "device": options.device,
        **({} if options.device == "cpu" else {"card": card(options.device)}),
        "seconds": round(seconds, 3),
        "proven": all(report.proven for report in reports),
        "verdicts": {str(verdict): count for verdict, count in summary(reports).items()},
        "reports": [{"of": proof.name, **report.to_dict()} for proof in proofs for report in proof.reports],
    }
    return json.dumps(_finite(contents), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
