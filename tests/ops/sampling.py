"""Every primitive with each of its cases' shapes and parameters, for parametrized tests."""

from chalkgrad.engine.primitive import registry
from chalkgrad.proof.cases import draw, examples

__all__ = ["CASES", "NAMES", "draw", "examples"]

CASES = [(p, e) for p in registry.values() for e in examples(p)]
NAMES = [f"{p.name}-{'-'.join(map(str, e.shapes))}-{dict(e.parameters)}" for p, e in CASES]
