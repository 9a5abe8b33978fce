"""What the `chalkgrad` command does before all else: it heeds signals, so that Ctrl-C shows no traceback of an import.

Nothing is imported here but what Python has loaded already.
"""

from __future__ import annotations

import os
import sys

signal = __import__("_signal")  # the module `signal` itself takes milliseconds to import, in which one may come

NUMBERS: list[int] = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def is_command() -> bool:
    """Whether this process is the `chalkgrad` command: the script of that name, or `python -m chalkgrad`."""
    first = getattr(sys, "argv", None) or [""]
    if first[0] == "-m":  # so it is called while Python looks for the module
        return "chalkgrad" in sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1]
    return os.path.basename(first[0]).partition(".")[0] in ("chalkgrad", "chalkgrad-script")


def heed() -> None:
    """From now on a signal ends the process at once and quietly; for the time in which there is nothing to lose."""
    for number in NUMBERS:
        if signal.getsignal(number) not in (None, signal.SIG_IGN):
            signal.signal(number, leave)


def leave(number: int, frame: object = None) -> None:
    """End the process at once. Files are renamed into their places, so none is torn."""
    os._exit(128 + number)
