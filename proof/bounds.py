"""What each primitive is held to: how far its values and gradients may be off its equation, in ulp.

Read by the suite, by `chalkgrad prove`, which prints the bound beside what it finds, and by the page of accuracies.
One ulp is the distance to the next floating-point number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Bound:
    """So many ulp at most. of: what an ulp is counted at. terms: where terms cancel, their size as an equation; an
    ulp is counted at the terms where they are larger than the exact result. why: the reason of a named bound.
    """

    ulp: float
    of: str
    terms: str = ""
    why: str = ""


ELEMENTS = Bound(4.0, "each element")
SUMS = Bound(8.0, "the largest element")
"""Where terms are summed: they may cancel, and no sum in floating point is exact to the ulp of what is left."""

_ROOT = "it crosses zero where two terms near 1 cancel"
NAMED = {
    ("silu", "x"): Bound(8.0, "each element", "t = gy / (1 + exp(-x))", f"{_ROOT} (at x = -1.2785)"),
    ("gelu", "x"): Bound(8.0, "each element", "t = gy * (1 + erf(x / sqrt(2))) / 2", f"{_ROOT} (at x = -0.7518)"),
    ("gelu_tanh", "value"): Bound(4.0, "each element", "t = x / 2", "1 and a tanh near -1 cancel below 0"),
    ("gelu_tanh", "x"): Bound(8.0, "each element", "t = gy / 2", f"{_ROOT} (at x = -0.7525), and below"),
    ("softmax", "x"): Bound(
        8.0, "the largest element", "t = gy * y",
        "gy less its weighted mean: where gy is nearly constant the terms cancel, as a sum's may",
    ),
    ("pinv", "a"): Bound(
        8.0, "the largest element",
        "b[..., i, k] = sum(abs(gy[..., j, i] * y[..., j, k]), j); "
        "w[..., i, j] = sum(b[..., i, k] * abs(y[..., j, k]), k); "
        "t[..., i, j] = w[..., i, j] + sum(sum(abs(a[..., i, m] * y[..., m, k]), m) * w[..., k, j], k)",
        "what is outside of the matrix's range is the difference of two terms, W - A P W",
    ),
}  # fmt: skip
"""Gradients where terms cancel, by primitive and operand: those, each within 4 ulp of its terms, or a sum's."""

DRAWN = 256.0
"""How many ulp a value or gradient may be off, of any primitive and on inputs of any seed, before the equation is
called another than the code's; and as many ulp of the largest value, where terms cancel."""


ON_A_GPU = 2.0
"""How many times as far off a GPU may be: NVIDIA documents up to 4 ulp for functions of its own (tan, pow in float32),
where NumPy stays near 1, and a sum is taken in another order."""


def bound(primitive: str, of: str, elementwise: bool, device: str = "cpu") -> Bound:
    """What a primitive's value (`of` = "value") or gradient in the operand `of` is held to."""
    held = NAMED.get((primitive, of), ELEMENTS if elementwise else SUMS)
    return held if device == "cpu" else replace(held, ulp=held.ulp * ON_A_GPU)


@dataclass(frozen=True)
class Accuracy:
    """The worst error of a primitive's value (`of` = "value") or of its gradient in the operand `of`.

    ulp: in units in the last place of the exact result: elementwise of each element, else of its largest one. error:
    the same as a number. at: the operands there. off: the worst error in the ulp that `bound` counts, which is `ulp`
    but for a bound with terms.
    """

    primitive: str
    of: str
    dtype: str
    ulp: float
    error: float
    at: tuple[float, ...]
    elementwise: bool
    off: float
    bound: Bound

    @property
    def holds(self) -> bool:
        """Whether the error is within the bound."""
        return self.off <= self.bound.ulp

    @property
    def what(self) -> str:
        """What was measured, in words."""
        return "value" if self.of == "value" else f"gradient in {self.of}"

    def __str__(self) -> str:
        of = f"{self.bound.of}{' or its terms' if self.bound.terms else ''}"
        return f"{self.what} is {self.off:.2f} ulp off, bound {self.bound.ulp:g} of {of} ({self.dtype})"
