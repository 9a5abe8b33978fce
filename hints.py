"""What to say where something is missing: the command that installs it into the Python that runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .errors import MissingExtraError

ROOT = Path(__file__).resolve().parent


def pip(*arguments: str) -> str:
    """A pip command of the running interpreter, as it is typed into a shell."""
    import shlex  # here, not before there is something to say: the engine imports this file
    import subprocess

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


def missing_extra(purpose: str, library: str, extra: str) -> MissingExtraError:
    """The error for a `library` that `purpose` needs and that the `extra` brings; it names the command to run."""
    return MissingExtraError(f"{purpose} needs {library}, which is not installed: {install_command(extra)}")


def requirements(extra: str) -> list[str]:
    """What an extra asks for, with what the extras ask for that it names in turn."""
    found = []
    for requirement in _declared()[extra]:
        own = re.fullmatch(r"chalkgrad\[(.*)\]", requirement)
        found += [each for name in own[1].split(",") for each in requirements(name.strip())] if own else [requirement]
    return found


def extras() -> dict[str, list[str]]:
    """The extras, each with the names of the distributions that it alone declares."""
    found = {
        extra: [re.match(r"[\w.-]+", line).group() for line in lines]  # type: ignore[union-attr]
        for extra, lines in _declared().items()
    }
    return {extra: [name for name in names if name != "chalkgrad"] for extra, names in found.items()}


def _declared() -> dict[str, list[str]]:
    """The requirements of each extra as they are declared: in a checkout by its project file."""
    if (ROOT / "pyproject.toml").is_file():
        import tomllib

        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return dict(project["optional-dependencies"])
    from importlib import metadata  # takes longer than most of the package

    found: dict[str, list[str]] = {}
    for line in metadata.requires("chalkgrad") or ():
        requirement, _, condition = (part.strip() for part in line.partition(";"))
        if extra := re.search(r"""extra == ['"]([\w-]+)['"]""", condition):
            found.setdefault(extra[1], []).append(requirement)
    return found
