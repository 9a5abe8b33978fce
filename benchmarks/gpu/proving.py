"""What the proofs on a GPU share: their command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ...engine import backend
from ...errors import ChalkgradError
from ..peers import write


def command(prove: Callable[[str, bool], dict[str, Any]], about: str | None) -> None:
    """Run a proof and leave: exit code 0 where it holds, 1 where it does not or cannot be made."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="the file for what was found")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it runs")
    parser.add_argument("--device", default="gpu", help="gpu or gpu:N  [default: gpu]")
    options = parser.parse_args()
    try:
        found = prove(backend.resolve_device(options.device), options.quick)
        if options.json:
            write(options.json, found)
    except ChalkgradError as error:
        parser.exit(1, f"error: {error}\n")
    print("\n".join(found["text"]))
    print("right" if found["right"] else "WRONG")
    sys.exit(not found["right"])
