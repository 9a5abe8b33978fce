"""The primitives under their names: what a rule gets for `xp` where its own arithmetic is to be differentiated."""

from __future__ import annotations

from typing import Any

OWN = f"{__package__.partition('.')[0]}.ops."
"""Where the engine's own primitives are: they stand for NumPy's functions; a user's of such a name may mean another."""


class Namespace:
    """The primitives under their names, to be handed to a rule as `xp`: with it the rule is recorded."""


namespace: Any = Namespace()
