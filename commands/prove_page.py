"""The page of `chalkgrad prove --html`: one file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..engine.markup import rendered
from ..proof.report import Report
from . import prove_curve
from .prove_results import EQUATION_CHECK, Proof, error_to_bound, headline


def page(proofs: Sequence[Proof], versions: Mapping[str, str], seed: int, seconds: float) -> str:
    """The whole page."""

    def curve_of(proof: Proof) -> prove_curve.Curve | None:
        if proof.primitive is None:
            return prove_curve.curve_of(proof.reports[0])
        if not proof.primitive.rules:
            return None
        return prove_curve.error_curve(prove_curve.representative(proof.primitive, seed), seed)

    failures = [report for proof in proofs for report in proof.failures]
    return rendered(
        "commands/prove.html", title=headline(proofs), proofs=proofs, failures=failures, versions=versions, seed=seed,
        seconds=seconds, equation_check=EQUATION_CHECK, ratio=_ratio, curve_of=curve_of, **prove_curve.DRAWING,
    )  # fmt: skip


def _ratio(report: Report) -> str:
    ratio = error_to_bound(report)
    return "–" if ratio is None else f"{ratio:.2g}"
