"""A signal ends the command as it should: quietly, not in the middle of what belongs together, and never lost."""

import signal
import subprocess
import sys
import threading

import pytest

from chalkgrad import signals
from chalkgrad.early import NUMBERS, is_command
from chalkgrad.signals import Stopped, held_back, stoppable


@pytest.fixture(autouse=True)
def default_handler():
    """Pytest may run where they are ignored."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_stops_a_block_and_only_a_second_ctrl_c_is_more(number, monkeypatch):
    left = []
    monkeypatch.setattr(signals, "leave", lambda number, frame=None: left.append(number))
    monkeypatch.setattr(signals, "_let_go_of_terminal", lambda: None)
    with pytest.raises(Stopped) as stopped, stoppable():  # noqa: PT012
        try:
            signal.raise_signal(number)
        finally:
            for again in reversed(NUMBERS):
                signal.raise_signal(again)
    assert stopped.value.code == 128 + number
    assert left == [signal.SIGINT]
    assert all(signal.getsignal(each) is signal.default_int_handler for each in NUMBERS)


def test_what_is_ignored_stays_so():
    signal.signal(NUMBERS[-1], signal.SIG_IGN)  # as nohup has it
    with stoppable(), held_back():
        signal.raise_signal(NUMBERS[-1])
        assert signal.getsignal(NUMBERS[-1]) is signal.SIG_IGN


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_during_the_imports_is_answered_quietly(number, tmp_path):
    """As the command, whose imports are slow here: numpy sends the signal."""
    (tmp_path / "numpy.py").write_text(f"import os, signal; signal.raise_signal({number:d}); os.abort()")
    code = f"import signal, sys; sys.path[:0] = {[str(tmp_path), *sys.path]!r}; sys.argv[0] = '/bin/chalkgrad'\n"
    code += f"signal.signal({number:d}, signal.default_int_handler); import chalkgrad"
    done = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


@pytest.mark.parametrize(
    ("argv", "original", "ours"),
    [
        (["-m"], ["python", "-X", "utf8", "-m", "chalkgrad", "train"], True),
        (["-m"], ["python", "-m", "chalkgrad.ops.stubs"], False),
        (["/bin/chalkgrad", "train"], [], True),
        (["C:\\chalkgrad.exe".rpartition("\\")[2]], [], True),
        (["train.py", "chalkgrad"], [], False),
        ([""], [], False),
        ([], [], False),
    ],
)
def test_only_the_command_heeds_signals_at_its_import(argv, original, ours, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert is_command() is ours


def test_ctrl_c_takes_effect_behind_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append("the block")
    assert done == ["the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_comes_through():
    with pytest.raises(ZeroDivisionError), held_back():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread():
    ran = []

    def work():
        with held_back():
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]
