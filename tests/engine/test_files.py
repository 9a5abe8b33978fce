"""Writing files: whole or not at all, through links, into devices, and never over what is no file."""

import ast
import errno
import os
import stat
import threading
from pathlib import Path

import pytest

import chalkgrad as cg
from chalkgrad.engine.files import is_leftover, replacing, sweep, write_file
from chalkgrad.errors import DataError


def modes(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "deep" / "file"
    before = os.umask(0o027)
    try:
        write_file(path, "α")
        assert (path.read_bytes(), modes(path)) == ("α".encode(), 0o640)
        path.chmod(0o600)
        write_file(path, b"2")
        assert (path.read_bytes(), modes(path)) == (b"2", 0o600)
    finally:
        os.umask(before)


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").write_text("old")
    for name, target in (("link", "real"), ("new", "folder/file"), ("link to link", "link")):
        (tmp_path / name).symlink_to(target)
        write_file(tmp_path / name, name)
        assert os.readlink(tmp_path / name) == target
        assert (tmp_path / target).read_text() == name
    assert not (tmp_path / "real").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "link to link", "new", "real"]


def test_devices_and_pipes_are_written_to(tmp_path):
    null = os.stat(os.devnull)
    write_file(os.devnull, "x")
    assert os.path.samestat(os.stat(os.devnull), null)
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"through")
    reader.join()
    assert read == [b"through"]
    assert os.listdir(tmp_path) == ["pipe"]
    with pytest.raises(DataError, match="cannot write /dev/full: No space left"):
        write_file("/dev/full", "x")


def test_what_is_standard_output_is_written_to(tmp_path, capfd):
    write_file("/dev/stdout", "whole")
    assert capfd.readouterr().out == "whole"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "Is a directory. Choose"), ("new/", "Is a directory. Choose"), ("file/below", "Not a directory. Choose"),
        ("x" * 256, "name too long. Choose"), ("a\0b", "is no path"),
        ("\ud800", "is no path"), ("circle", "symbolic links. Choose"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_before_the_work(name, why, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(DataError, match=why), replacing(f"{tmp_path}/{name}"):
        pytest.fail("it worked")
    assert sorted(os.listdir(tmp_path)) == ["circle", "file"]


@pytest.mark.parametrize("name", ["new\nline", "-x", "é" * 127, "\udcff", " ", "*"])
def test_odd_names(name, tmp_path):
    for contents in ("1", "2"):
        write_file(tmp_path / name, contents)
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_must_not_be_written_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("kept")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(DataError, match="Permission denied"):
        write_file(path, "new")
    assert path.read_text() == "kept"


@pytest.mark.parametrize("owner", [(Path, "write_bytes"), (os, "replace"), (os, "fsync")])
def test_a_full_disk_leaves_what_was_there(owner, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(*owner, full)
    with pytest.raises(DataError, match=r"No space left.*unchanged"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_belongs_to_the_old_file_goes_after_the_new_one_is_on_the_disk(tmp_path):
    (tmp_path / "view").write_text("of the old one")
    done = []

    def before():
        (view,) = [path for path in tmp_path.iterdir() if path.name.startswith(".file.")]
        done.append(view.read_text())

    with replacing(tmp_path / "file", before=before) as temporary:
        temporary.write_text("new")
        assert not done
    assert done == ["new"]


def test_leftovers_are_swept_and_nothing_else(tmp_path):
    kept = {"file", ".file", ".file.short", ".other.0123456789abcdef", ".file.0123456789abcdef.txt"}
    for name in (*kept, ".file.0123456789abcdef", ".file.ab_cd3fg"):
        (tmp_path / name).touch()
    sweep(tmp_path, ["file"])
    assert set(os.listdir(tmp_path)) == kept
    assert not is_leftover(".fxle.0123456789abcdef", ["f.le"])


WRITE = {"write_text", "write_bytes", "mkstemp"}


def writes(node):
    """Whether a call writes a file by itself."""
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    modes = [a.value for a in [*node.args[:2], *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
    return called in WRITE or (
        called == "open" and any(isinstance(m, str) and m and set(m) <= set("wax+bt") for m in modes)
    )


NO_COMMANDS = {"tests", "benchmarks", "docs", "examples", "build"}


def test_what_writes_files_does_so_through_here():
    root = Path(cg.__file__).parent
    for path in root.rglob("*.py"):
        room = path.relative_to(root).parts[0]
        if room in NO_COMMANDS or room.startswith(".") or path.name == "files.py":
            continue
        text = path.read_text("utf-8")
        if not any(name in text for name in (*WRITE, "open(")):
            continue
        assert "replacing(" in text or not any(map(writes, ast.walk(ast.parse(text)))), path
    assert any(map(writes, ast.walk(ast.parse("open(name, 'wb')"))))
