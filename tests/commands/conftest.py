"""A runner of the command, in an empty folder."""

import pytest
from click.testing import CliRunner

from chalkgrad.cli import cli


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The current folder of the test, with nothing set that the machine may have set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHALKGRAD_DATA", raising=False)
    return tmp_path


@pytest.fixture
def chalkgrad():
    """Run the command with these arguments; the result has exit_code, stdout and stderr."""

    def run(*arguments, code=0):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="chalkgrad")
        assert result.exit_code == code, (result.output, result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def absent(monkeypatch):
    """Make the import of these modules fail, as where they are not installed."""
    import builtins

    genuine = builtins.__import__

    def hide(*names):
        def fail(name, globals=None, locals=None, fromlist=(), level=0):
            if level == 0 and name.partition(".")[0] in names:
                raise ModuleNotFoundError(f"No module named {name!r}")
            return genuine(name, globals, locals, fromlist, level)

        monkeypatch.setattr(builtins, "__import__", fail)

    return hide
