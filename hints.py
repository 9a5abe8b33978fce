"""The command that installs what is missing, into the Python that runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def pip(*arguments: str) -> str:
    """A pip command of the running interpreter, as it is typed into a shell."""
    words = [sys.executable or "python", "-m", "pip", *arguments]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def install_command(extra: str) -> str:
    """The command that adds an extra: in a checkout by it, elsewhere by naming the packages that the extra stands for.

    No index of packages has chalkgrad itself yet.
    """
    if (ROOT / "pyproject.toml").is_file():
        place = "." if Path.cwd() == ROOT else str(ROOT)
        return pip("install", "--editable", f"{place}[{extra}]")
    return pip("install", *requirements(extra))


def requirements(extra: str) -> list[str]:
    """What an extra asks for, with what the extras ask for that it names in turn."""
    found = []
    for line in metadata.requires("chalkgrad") or ():
        requirement, _, condition = (part.strip() for part in line.partition(";"))
        if re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", condition):
            own = re.fullmatch(r"chalkgrad\[(.*)\]", requirement)
            found += (
                [each for name in own[1].split(",") for each in requirements(name.strip())] if own else [requirement]
            )
    return found
