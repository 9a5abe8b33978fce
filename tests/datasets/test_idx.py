"""The IDX reader and writer: what is written comes back, and what is damaged is refused by name."""

import gzip
import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chalkgrad.datasets import idx
from chalkgrad.engine.files import opened
from chalkgrad.errors import DataError, UsageError

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
WHOLE = bytes([0, 0, 0x08, 2]) + struct.pack(">2I", 2, 3) + bytes(range(6))


@pytest.fixture
def damaged(tmp_path):
    """Write bytes to a file and return the message with which the reader refuses it."""

    def refuse(data: bytes) -> str:
        path = tmp_path / "some-file"
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            idx.read_idx(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return refuse


@settings(deadline=None)  # a write waits for the disk
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    st.sampled_from(["array.idx", "array.idx.gz"]),
)
def test_what_is_written_comes_back(tmp_path_factory, array, name):
    path = tmp_path_factory.getbasetemp() / name
    idx.write_idx(path, array)
    back = idx.read_idx(path)
    np.testing.assert_array_equal(back, array, strict=True)
    assert back.dtype.isnative
    assert back.flags.writeable


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_bytes_of_the_published_format(tmp_path, compress):
    (tmp_path / "file").write_bytes(compress(WHOLE))
    np.testing.assert_array_equal(idx.read_idx(tmp_path / "file"), np.arange(6, dtype=np.uint8).reshape(2, 3))


def test_items_are_big_endian():
    assert idx.parse_idx(b"\0\0\x0b\x01\0\0\0\x01\x01\x02") == [0x0102]


def test_big_endian_and_strided_arrays_are_written_by_value(tmp_path):
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    idx.write_idx(tmp_path / "file", array)
    np.testing.assert_array_equal(idx.read_idx(tmp_path / "file"), array)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, second = tmp_path / "first.gz", tmp_path / "second.gz"
    for path in (first, second):
        idx.write_idx(path, np.arange(100, dtype=np.int16))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == b"\0\0\0\0"  # no time in the gzip header


@pytest.mark.parametrize("dtype", ["int64", "uint16", "bool", "float16", "complex64", "object"])
def test_a_dtype_that_the_format_lacks_is_not_written(tmp_path, dtype):
    with pytest.raises(DataError, match=rf"file: IDX has no dtype {dtype}.*float64"):
        idx.write_idx(tmp_path / "file", np.zeros(3, dtype))
    assert not (tmp_path / "file").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*nowhere: No such file"):
        idx.read_idx(tmp_path / "nowhere")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        idx.read_idx(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\x08",
        b"<html>not found</html>",
        b"\x01" + WHOLE[1:],
        b"\0\0\x0a" + WHOLE[3:],  # no such type code
        gzip.compress(b"some text"),
    ],
    ids=["empty", "three bytes", "html", "first byte", "type code", "gzip of text"],
)
def test_a_bad_magic_number_is_refused_with_the_right_ones(damaged, data):
    assert "neither an IDX file nor a gzip of one" in (message := damaged(data))
    assert "08, 09, 0b, 0c, 0d, 0e" in message


@pytest.mark.parametrize("keep", [2, 5, 15, -9, -1])
def test_a_gzip_that_was_cut_short_is_refused(damaged, keep):
    assert "cut short" in damaged(gzip.compress(WHOLE)[:keep])


def test_a_gzip_with_a_flipped_bit_is_refused(damaged):
    data = bytearray(gzip.compress(WHOLE))
    data[-6] ^= 1  # in the checksum
    assert "damaged" in damaged(bytes(data))


def test_a_gzip_with_a_broken_stream_is_refused(damaged):
    data = gzip.compress(bytes(1000))
    assert "damaged" in damaged(data[:10] + b"\xff" * 10 + data[20:])


def test_a_gzip_with_bytes_behind_it_is_refused(damaged):
    assert "damaged" in damaged(gzip.compress(WHOLE) + b"more")


def test_a_file_that_was_cut_short_says_what_is_there(damaged):
    message = damaged(WHOLE[:-1])
    assert "takes 18 bytes, but there are 17: it was cut short" in message
    assert "(2, 3)" in message


def test_bytes_behind_the_array_are_refused(damaged):
    assert "takes 18 bytes, but there are 20: 2 bytes follow the array" in damaged(WHOLE + b"xx")


def test_a_header_that_was_cut_short_is_refused(damaged):
    assert "header of 2 dimensions takes 12 bytes, but the file ends after 9" in damaged(WHOLE[:9])


def test_an_absurd_header_allocates_nothing(damaged):
    header = bytes([0, 0, 0x0E, 4]) + struct.pack(">4I", *[2**32 - 1] * 4)
    assert "cut short" in damaged(header + bytes(8))


@pytest.mark.parametrize("shape", [(1,) * 200, (0, *[2**32 - 1] * 3)])
def test_a_shape_beyond_numpy_is_refused(damaged, shape):
    items = bytes(0 if 0 in shape else 1)
    assert "NumPy cannot hold" in damaged(
        bytes([0, 0, 0x08, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + items
    )


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000, "/dev/zero", "/dev/stdin/x", b"\xff", "~nobody/x", ""])
def test_odd_paths_are_refused(path):
    with pytest.raises(DataError, match=r"cannot read|is no path"):
        idx.read_idx(path)


def test_what_is_no_path_is_refused():
    with pytest.raises(UsageError, match="a path is text"):
        idx.read_idx(5)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is a pipe, not a file"):
        idx.read_idx(tmp_path / "pipe")


def test_what_a_file_grows_by_while_it_is_read_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(WHOLE)
    with opened(tmp_path / "file") as (file, size), (tmp_path / "file").open("ab") as other:
        other.write(bytes(1000))
        other.flush()
        assert idx.unpack(file, size, "file") == WHOLE


BOMBS = {
    "zeros": lambda: gzip.compress(bytes(10**8), 9),
    "of an honest header": lambda: gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 10**8) + bytes(10**8), 9),
    "behind the array": lambda: gzip.compress(WHOLE + bytes(10**8), 9),
    "in a member behind it": lambda: gzip.compress(WHOLE) + gzip.compress(bytes(10**8), 9),
    "of streams": lambda: gzip.compress(b"") * 30_000,
    "sparse": lambda: WHOLE,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_cost_neither_time_nor_memory(tmp_path, kind):
    with (tmp_path / "bomb").open("wb") as file:
        file.write(BOMBS[kind]())
        if kind == "sparse":
            file.truncate(1 << 40)
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(DataError, match="bomb"):
        idx.read_idx(tmp_path / "bomb")
    assert time.process_time() - begin < 1
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_members_and_padding_of_gzip_are_read_as_gunzip_does(tmp_path):
    (tmp_path / "file").write_bytes(gzip.compress(WHOLE[:5]) + bytes(7) + gzip.compress(WHOLE[5:]) + bytes(600))
    assert idx.read_idx(tmp_path / "file").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_digits_that_compress_well_are_no_bomb(tmp_path):
    idx.write_idx(tmp_path / "file.gz", np.zeros((60_000, 28, 28), np.uint8))  # 1 : 1000
    assert idx.read_idx(tmp_path / "file.gz").shape == (60_000, 28, 28)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    idx.write_idx(path, np.arange(3, dtype=np.uint8))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"cannot write .*file: No space left"):
        idx.write_idx(path, np.arange(9, dtype=np.uint8))
    assert idx.read_idx(path).tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
