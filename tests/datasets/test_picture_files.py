"""Pictures of every mode, turned, animated, too large, cut off, or none at all."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from chalkgrad.datasets import picture_files
from chalkgrad.datasets.picture_files import read_brightness
from chalkgrad.errors import DataError

GREY = np.linspace(0, 255, 60).astype(np.uint8).reshape(6, 10)


def encoded(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(tmp_path, data: bytes):
    (tmp_path / "picture").write_bytes(data)
    return read_brightness(str(tmp_path / "picture"))


def refusal(tmp_path, data: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(tmp_path, data)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'picture'} ")
    return message.removeprefix(f"{tmp_path / 'picture'} ")


MODES = {
    "L": lambda grey: encoded(grey),
    "LA": lambda grey: encoded(grey.convert("LA")),
    "P": lambda grey: encoded(grey.convert("P")),
    "RGB": lambda grey: encoded(grey.convert("RGB")),
    "RGBA": lambda grey: encoded(grey.convert("RGBA")),
    "CMYK": lambda grey: encoded(grey.convert("CMYK"), "TIFF"),
    "I;16": lambda grey: encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)),
    "I": lambda grey: encoded(Image.fromarray(np.asarray(grey).astype(np.int32) * 257), "TIFF"),
    "F": lambda grey: encoded(Image.fromarray(np.asarray(grey) / np.float32(255)), "TIFF"),
    "F, negative": lambda grey: encoded(Image.fromarray(np.asarray(grey) * np.float32(1e36) - 1e38), "TIFF"),
    "JPEG": lambda grey: encoded(grey.resize((10, 6)), "JPEG", quality=100),
    "WebP": lambda grey: encoded(grey.convert("RGB"), "WEBP", lossless=True),
    "PPM": lambda grey: encoded(grey, "PPM"),
    "BMP": lambda grey: encoded(grey, "BMP"),
    "GIF, animated": lambda grey: encoded(grey, "GIF", save_all=True, append_images=[ImageOps.invert(grey)]),
    "film of phones": lambda grey: encoded(grey, "MPO", save_all=True, append_images=[grey], quality=100),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_brightness(tmp_path, mode):
    found = read(tmp_path, MODES[mode](Image.fromarray(GREY)))
    assert found.dtype == np.float32
    np.testing.assert_allclose((found - found.min()) / np.ptp(found), GREY / 255, atol=0.015)


@pytest.mark.parametrize(("top", "dtype"), [(255, np.int32), (65535, np.int32), (65535, np.uint16)])
def test_whole_numbers_have_a_fixed_scale(tmp_path, top, dtype):
    half = Image.fromarray((GREY / 255 * top / 2).astype(dtype))
    np.testing.assert_allclose(read(tmp_path, encoded(half, "TIFF")), GREY / 510, atol=0.005)


def test_one_bit(tmp_path):
    image = Image.fromarray(GREY > 127)
    np.testing.assert_array_equal(read(tmp_path, encoded(image)), GREY > 127)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(tmp_path, turn):
    image = Image.fromarray(GREY)
    exif = image.getexif()
    exif[0x0112] = turn
    data = encoded(image, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_allclose(read(tmp_path, data), np.asarray(expected) / 255, atol=1e-6)


@pytest.mark.parametrize(("ink", "ground"), [(0, 1.0), (255, 0.0)])
def test_what_is_transparent_is_the_ground(tmp_path, ink, ground):
    layers = np.full((4, 4, 4), ink, np.uint8)
    layers[..., 3] = [[0], [0], [255], [255]]
    found = read(tmp_path, encoded(Image.fromarray(layers)))
    assert (found[:2] == ground).all()
    assert (found[2:] == ink / 255).all()


@pytest.mark.parametrize(("value", "count"), [(np.nan, 1), (np.inf, 2), (-np.inf, 60)])
def test_nan_and_infinity_are_no_brightness(tmp_path, value, count):
    values = (GREY / 255).astype("float32")
    values.ravel()[:count] = value
    assert refusal(tmp_path, encoded(Image.fromarray(values), "TIFF")).startswith(
        f"has {count} pixels, of 60, that are NaN or infinite"
    )


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_bomb_is_known_by_its_header(tmp_path, kind):
    options = {"compression": "group4"} if kind == "TIFF" else {}
    data = encoded(Image.new("1", (4000, 4000)), kind, **options)
    assert refusal(tmp_path, data).startswith("has 4,000 × 4,000 pixels, where ")


def test_a_header_that_claims_more_than_pillow_takes(tmp_path):
    data = bytearray(encoded(Image.fromarray(GREY)))
    data[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    assert "has too many pixels" in refusal(tmp_path, bytes(data)) or "is damaged" in refusal(tmp_path, bytes(data))


def test_a_large_photograph_is_read_in_small(tmp_path):
    image = Image.fromarray(np.kron(GREY, np.ones((500, 500), np.uint8)))
    found = read(tmp_path, encoded(image, "JPEG"))
    assert max(found.shape) < 1000
    np.testing.assert_allclose(found[20:-20:60, 20:-20:60].ravel()[[0, -1]], [0, 1], atol=0.1)
    assert refusal(tmp_path, encoded(image, "JPEG", progressive=True)).startswith("has 5,000 × 3,000 pixels")


def test_a_jpeg_of_too_many_passes(tmp_path):
    data = encoded(Image.fromarray(GREY), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert "more than 100 scans" in refusal(tmp_path, data[:-2] + scan * 100 + data[-2:])


def test_a_file_of_too_many_bytes(tmp_path):
    with (tmp_path / "picture").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="has 1,099,511,627,776 bytes, where a picture has 67,108,864 at most"):
        read_brightness(str(tmp_path / "picture"))


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7", "is a PDF,"),
        (b"PK\x03\x04", "is a ZIP archive"),
        (b"\n <svg xmlns=", "is an SVG drawing"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\0\0\0\x1cftypheic", "is a HEIC photograph"),
        (b"\0\0\x08\x03", "is an IDX data file"),
        (b"a digit: 7", "is a text."),
        (b"\x07\x06\x05\xff", "is no picture."),
        (b"\x89PNG\r\n\x1a\nxxxx", "is damaged"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(tmp_path, start, words):
    assert refusal(tmp_path, start).startswith(words)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM"])
def test_a_picture_that_is_cut_off_says_where(tmp_path, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8))
    data = encoded(noise, kind)
    half = len(data) // 2
    assert refusal(tmp_path, data[:half]).startswith(f"is cut off: it ends at byte {half:,}, before the picture does")


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 30])
def test_damaged_notes_of_a_camera_are_ignored(tmp_path, exif):
    assert read(tmp_path, encoded(Image.fromarray(GREY), "JPEG", exif=exif)).shape == (6, 10)


def test_pipes_and_folders_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(DataError, match=f"it is {words}, not a file"):
            read_brightness(str(path))


def test_no_permission(tmp_path, monkeypatch):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "picture").write_bytes(b"")
    monkeypatch.setattr(picture_files.opened.__globals__["os"], "open", forbidden)
    with pytest.raises(DataError, match=r"picture: Permission denied"):
        read_brightness(str(tmp_path / "picture"))
