"""The download of MNIST, from servers on this machine: mirrors, second attempts, and a clean cache."""

import gzip
import io
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalkgrad.datasets import download, mnist, originals
from chalkgrad.errors import DataError

FIRST = "train-images-idx3-ubyte"


def names(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def refusal(*mirrors: str) -> str:
    with pytest.raises(DataError) as caught:
        mnist.load_data(mirrors=mirrors)
    return str(caught.value)


def test_what_was_fetched_once_comes_from_the_cache(mirror, cache):
    first = mnist.load_data(mirrors=[mirror.url])
    assert names(cache) == sorted(mirror.files)
    assert len(mirror.requests) == 4
    second = mnist.load_data(mirrors=[])
    assert str(first) == str(second)


def test_only_what_is_missing_is_fetched(mirror, cache):
    mnist.load_data(mirrors=[mirror.url])
    (cache / f"{FIRST}.gz").unlink()
    mirror.requests.clear()
    mnist.load_data(mirrors=mirror.url.rstrip("/"))  # a single mirror, without its slash
    assert mirror.requests == [f"{FIRST}.gz"]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-5], lambda data: gzip.compress(b"x"), lambda data: b""],
    ids=["cut", "other", "empty"],
)
def test_a_damaged_file_in_the_cache_is_fetched_again(mirror, cache, damage):
    mnist.load_data(mirrors=[mirror.url])
    whole = (cache / f"{FIRST}.gz").read_bytes()
    (cache / f"{FIRST}.gz").write_bytes(damage(whole))
    mnist.load_data(mirrors=[mirror.url])
    assert (cache / f"{FIRST}.gz").read_bytes() == whole


def test_a_mirror_that_lacks_the_files_is_asked_once(mirror, empty_mirror, cache):
    assert mnist.load_data(mirrors=[empty_mirror.url, mirror.url])[0][0].shape == (6, 2, 2)
    assert empty_mirror.requests == [f"{FIRST}.gz"]  # no second attempt after a 404, no second file


@pytest.mark.parametrize("fault", ["503", "429", "drop", "half"])
def test_a_failure_that_passes_is_tried_again(mirror, cache, fault):
    mirror.script = [fault, fault]
    mnist.load_data(mirrors=[mirror.url])
    assert mirror.requests[:4] == [f"{FIRST}.gz"] * 3 + ["train-labels-idx1-ubyte.gz"]
    assert names(cache) == sorted(mirror.files)


def test_attempts_end(mirror, cache):
    mirror.script = ["503"] * 100
    assert "503" in refusal(mirror.url)
    assert len(mirror.requests) == download.ATTEMPTS
    assert names(cache) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>log in to the network</html>", "neither an IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7])), "is not the"),
        (gzip.compress(bytes(100))[:-3], "cut short"),
    ],
    ids=["html", "another array", "gzip"],
)
def test_bad_bytes_never_reach_the_cache(mirror, empty_mirror, cache, data, words):
    empty_mirror.files[f"{FIRST}.gz"] = data
    message = refusal(empty_mirror.url)
    assert words in message
    assert f"{empty_mirror.url}{FIRST}.gz" in message
    assert names(cache) == []
    mnist.load_data(mirrors=[empty_mirror.url, mirror.url])  # the next mirror makes up for it
    assert names(cache) == sorted(mirror.files)


def test_files_that_come_unpacked_are_kept_under_the_plain_name(tiny, mirror, cache):
    mirror.files = {f"{name}.gz": data for name, data in tiny.items()}
    mnist.load_data(mirrors=[mirror.url])
    assert names(cache) == sorted(tiny)
    mnist.load_data(mirrors=[])


def test_without_a_network_the_error_names_every_mirror_and_the_way_out(tiny, empty_mirror, cache):
    closed = empty_mirror.url
    empty_mirror.server.server_close()
    message = refusal(closed, f"{closed}other/")
    for part in (f"{closed}{FIRST}.gz: ", f"{closed}other/{FIRST}.gz: ", "CHALKGRAD_DATA", *mnist.ORIGINALS.files):
        assert part in message
    assert names(cache) == []


def test_no_mirrors_at_all(tiny, cache):
    assert "no mirror was given" in refusal()


def test_a_cache_that_cannot_be_written_to_is_named_with_the_way_out(mirror, cache):
    cache.parent.parent.write_text("a file in place of the folder")  # which stops root as well
    message = refusal(mirror.url)
    assert f"cannot write {cache / FIRST}.gz: Not a directory" in message
    assert "CHALKGRAD_DATA" in message


@pytest.mark.parametrize(("terminal", "progress"), [(True, True), (True, False), (False, True)])
def test_the_bar_is_drawn_on_a_terminal_only(mirror, cache, monkeypatch, terminal, progress):
    stderr = io.StringIO()
    stderr.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    mirror.script = ["half"]  # the bar of a failed attempt goes away too
    mnist.load_data(mirrors=[mirror.url], progress=progress)
    assert (FIRST in stderr.getvalue()) == (terminal and progress)


def test_the_environment_is_left_alone(mirror, cache):
    before = dict(os.environ)
    mnist.load_data(mirrors=[mirror.url])
    assert dict(os.environ) == before


@pytest.mark.parametrize("fault", ["endless", "zipped"])
def test_an_answer_without_end_stops_at_the_expected_size(mirror, empty_mirror, cache, fault):
    empty_mirror.files[f"{FIRST}.gz"] = b""
    empty_mirror.script = [fault]
    message = refusal(empty_mirror.url)
    assert f"{empty_mirror.url}{FIRST}.gz is not what it should be: more than " in message
    assert len(empty_mirror.requests) == 1  # no second attempt
    assert names(cache) == []


def test_two_processes_may_fetch_at_once(mirror, cache):
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: str(mnist.load_data(mirrors=[mirror.url])), range(4)))
    assert len(set(loaded)) == 1
    assert names(cache) == sorted(mirror.files)


def test_a_killed_download_leaves_nothing_that_passes_for_a_file(mirror, cache):
    cache.mkdir(parents=True)
    (cache / f".{FIRST}.gz.abc").write_bytes(mirror.files[f"{FIRST}.gz"][:20])
    mnist.load_data(mirrors=[mirror.url])
    assert mirror.requests == sorted(mirror.files, key=[f"{name}.gz" for name in mnist.ORIGINALS.files].index)


def test_a_whole_cache_need_not_be_written_to(mirror, cache, monkeypatch):
    mnist.load_data(mirrors=[mirror.url])
    monkeypatch.delattr(originals, "write_file")
    assert mnist.load_data(mirrors=[])[0][0].shape == (6, 2, 2)
