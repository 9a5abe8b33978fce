"""What the rules of one application have in common, computed once for all of them.

Each operand has a rule of its own, so several may ask for one costly thing: attention's gradients, or those of a loop
over time. A recorded step lists alike calls once by itself; on the tape `once` does it, while `sharing` is at work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy

Function = Callable[..., Any]

found: dict[int, dict[Any, Any]] = {}
"""By thread, while it runs the rules of one application: what was computed for one of them, and of which arrays."""


def once(function: Function) -> Function:
    """The same function of xp and arrays; of the same arrays of NumPy it is computed once for an application's rules.

    The primitive says `shares = True`. The arrays are told by identity, and held as long: rules change none of them.
    """

    @functools.wraps(function)
    def shared(xp: Any, *given: Any) -> Any:
        known = found.get(get_ident()) if xp is numpy else None
        if known is None:
            return function(xp, *given)
        key = function, *map(id, given)
        if key not in known:
            known[key] = function(xp, *given), given
        return known[key][0]

    return shared


def sharing(send: Function) -> Function:
    """The rules of an application, sent in one call, with room for what they have in common."""

    def sent(xp: Any, node: Any, gy: Any) -> Any:
        thread = get_ident()
        found[thread] = {}
        try:
            return send(xp, node, gy)
        finally:
            del found[thread]

    return sent
