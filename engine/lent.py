"""What the primitives lend to Tensor: operators (`x * y`) and methods (`x.exp()`).

The class is empty here: each primitive adds its own when it is declared. `lent.pyi` beside this file lists
what they add, with types, for editors and mypy; it is generated (`python -m chalkgrad.ops.stubs`), and a
test keeps it true.
"""

from __future__ import annotations


class Lent:
    """Base class of Tensor that holds the operators and methods lent by the primitives."""

    __slots__ = ()
