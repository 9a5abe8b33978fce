"""PyTorch's copy of the small GPT is trained as the command trains its own."""

import pytest

from chalkgrad.benchmarks import shakespeare
from chalkgrad.commands import train_text
from chalkgrad.optim import CosineDecay, WarmUp


def test_with_the_same_settings():
    for name in ("STEPS", "WARM_UP", "LEAST", "DECAY", "NORM"):
        assert getattr(shakespeare, name) == getattr(train_text, name)
    ours = WarmUp(CosineDecay(1.0, 900, shakespeare.LEAST), shakespeare.WARM_UP)
    for step in (0, 1, 99, 100, 500, 999):
        assert shakespeare.rate(step, 1000) == pytest.approx(ours(step), rel=1e-12)
