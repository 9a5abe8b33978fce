"""JSON that others wrote: refused within bounds, each with an error of ours that says why."""

import os

import pytest

from chalkgrad.engine.json_files import parse_json, read_json
from chalkgrad.errors import DataError


def test_what_is_right_is_read(tmp_path):
    (tmp_path / "a").write_text('\ufeff{"a": [1, -2.5, "é😀", null, true, {"b": 1}]}', "utf-8")
    assert read_json(tmp_path / "a") == {"a": [1, -2.5, "é😀", None, True, {"b": 1}]}
    assert parse_json('"\\ud83d\\ude00"', "it") == "😀"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is no JSON that can be used: Expecting value: line 1"),
        ("[" * 100_000, "it cannot be used: it nests deeper than 64"),
        ("[" * 65 + "]" * 65, "it cannot be used: it nests deeper than 64"),
        ('{"a":' * 400 + "1" + "}" * 400, "it cannot be used: it nests deeper than 64"),
        ("[NaN]", "NaN is no number of JSON's"),
        ("-Infinity", "-Infinity is no number of JSON's"),
        ("1e999", "1e999 is too large a number"),
        ("9" * 5000, "a number has 5000 digits"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
        ('"\\ud800"', r"half a character, '\\ud800'"),
        ('{"\\udc00": 1}', r"half a character"),
        (b'"\xff"', "it is no JSON: not UTF-8 from byte 1 on"),
        ('"a"'.encode("utf-16"), "it is no JSON: not UTF-8 from byte 0 on"),
    ],
)
def test_what_is_not_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_json(text, "it")


def test_64_levels_are_read():
    assert parse_json("[" * 64 + "]" * 64, "it")


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(10 << 30)
    for name, why in {
        "none": "No such file", "loop": "Too many levels|symbolic", "pipe": "it is a pipe", ".": "it is a folder",
        "sparse": "larger than 3,000,000 bytes", "a\0b": "is no path", "a" * 300: "too long",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=why):
            read_json(tmp_path / name)
