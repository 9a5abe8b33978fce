"""The data sets besides MNIST, from small stand-ins of their files; beside Keras's own loaders, where it is here."""

import gzip
import importlib
import io
import json
import os
import tarfile

import numpy as np
import pytest

from chalkgrad import datasets
from chalkgrad.datasets import cifar10, corpora, fashion_mnist, idx, originals, tables
from chalkgrad.errors import DataError, UsageError


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def texts(generator, count):
    made = np.empty(count, object)
    made[:] = [generator.integers(1, 40, generator.integers(1, 9)).tolist() for _ in range(count)]
    return made


@pytest.fixture
def stand_in(monkeypatch, tmp_path, original):
    """A file in the folder that CHALKGRAD_DATA names, which stands for the original until the test ends."""
    monkeypatch.setenv(originals.VARIABLE, str(tmp_path))

    def made(owner, contents):
        folder = tmp_path / owner.folder
        folder.mkdir(exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        monkeypatch.setattr(owner, "files", {name: original(data) for name, data in contents.items()})

    return made


@pytest.fixture
def of_keras(monkeypatch, tmp_path, keras):
    """Keras's loader of a data set, which finds the stand-in."""

    def loader(name):
        found = importlib.import_module(f"keras.src.datasets.{name}")
        monkeypatch.setattr(found, "get_file", lambda path=None, fname=None, **_: f"{tmp_path}/{name}/{path or fname}")
        return found

    return loader


def test_fashion_mnist_is_in_mnists_format(stand_in, tmp_path):
    contents = {}
    for name, shape in zip(fashion_mnist.ORIGINALS.files, [(6, 2, 2), (6,), (3, 2, 2), (3,)], strict=True):
        idx.write_idx(tmp_path / "plain", np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
        contents[name] = gzip.compress((tmp_path / "plain").read_bytes())
    stand_in(fashion_mnist.ORIGINALS, contents)
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    assert (x_train.shape, y_train.tolist(), x_test.shape, y_test.tolist()) == (
        (6, 2, 2),
        [*range(6)],
        (3, 2, 2),
        [0, 1, 2],
    )


def test_cifar10_is_read_record_by_record(stand_in):
    records = np.random.default_rng(0).integers(0, 10, (6, 2, 3073), np.uint8)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for part, data in zip(cifar10.PARTS, records, strict=True):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{part}.bin")
            member.size = data.nbytes
            archive.addfile(member, io.BytesIO(data.tobytes()))
    stand_in(cifar10.ORIGINALS, {"cifar-10-binary.tar.gz": buffer.getvalue()})
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, y_train.shape, x_test.shape) == ((10, 32, 32, 3), (10, 1), (2, 32, 32, 3))
    assert y_test[:, 0].tolist() == records[5, :, 0].tolist()
    assert x_train[3, 5, 7].tolist() == [records[1, 1, 1 + 1024 * c + 32 * 5 + 7] for c in range(3)]


@pytest.mark.parametrize("name", ["boston_housing", "california_housing"])
def test_a_table_is_shuffled_and_split_as_keras_does(stand_in, of_keras, name):
    table = getattr(tables, name)
    values = np.random.default_rng(0).normal(size=(11, 3))
    stand_in(table.originals, {f"{name}.npz": npz(x=values, y=values.sum(1))})
    for ours, theirs in zip(table.load_data(seed=5), of_keras(name).load_data(seed=5), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    with pytest.raises(UsageError, match=r"test_split"):
        table.load_data(test_split=1.5)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_words": 20}, {"num_words": 30, "skip_top": 4, "oov_char": None}, {"maxlen": 7, "start_char": None},
     {"index_from": 0, "start_char": None, "seed": 3}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_a_corpus_is_numbered_as_keras_does(stand_in, of_keras, name, options):
    generator = np.random.default_rng(0)
    parts = [("_train", 12), ("_test", 7)] if name == "imdb" else [("", 20)]
    arrays = {f"x{end}": texts(generator, n) for end, n in parts}
    arrays |= {f"y{end}": generator.integers(0, 2, n) for end, n in parts}
    corpus = getattr(corpora, name)
    stand_in(corpus.originals, {f"{name}.npz": npz(**arrays)})
    theirs = of_keras(name).load_data(**options)
    for (x, y), (their_x, their_y) in zip(corpus.load_data(**options), theirs, strict=True):
        assert [list(map(int, text)) for text in their_x] == list(x)
        np.testing.assert_array_equal(y, their_y)


def test_the_words_of_a_corpus(stand_in):
    stand_in(corpora.imdb.words, {"imdb_word_index.json": json.dumps({"the": 1, "film": 2}).encode()})
    assert corpora.imdb.get_word_index() == {"the": 1, "film": 2}


def test_no_text_is_short_enough(stand_in):
    data = texts(np.random.default_rng(0), 5)
    stand_in(corpora.reuters.originals, {"reuters.npz": npz(x=data, y=np.zeros(5))})
    with pytest.raises(DataError, match="no text is shorter than maxlen=1"):
        corpora.reuters.load_data(maxlen=1)


def test_pickled_data_are_read_only_where_the_digest_is_right(stand_in, tmp_path):
    stand_in(corpora.reuters.originals, {"reuters.npz": npz(x=texts(np.random.default_rng(0), 5), y=np.zeros(5))})
    file = tmp_path / "reuters" / "reuters.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(DataError, match=r"is not the reuters\.npz of Reuters: it holds .* The SHA-256 of its bytes"):
        corpora.reuters.load_data()


@pytest.mark.parametrize(
    "name", ["cifar10", "fashion_mnist", "imdb", "reuters", "boston_housing", "california_housing"]
)
def test_what_is_not_there_is_named(monkeypatch, tmp_path, name):
    monkeypatch.setenv(originals.VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=f"in it or in a folder {name} inside; without a path and CHALKGRAD_DATA"):
        getattr(datasets, name).load_data()


def test_it_is_downloaded_into_the_cache(monkeypatch, tmp_path, empty_mirror, cache, original):
    monkeypatch.delenv(originals.VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    data = npz(x=np.ones((5, 2)), y=np.ones(5))
    empty_mirror.files["boston_housing.npz"] = data
    monkeypatch.setattr(tables.boston_housing.originals, "files", {"boston_housing.npz": original(data)})
    for mirrors in ([empty_mirror.url], []):
        assert tables.boston_housing.load_data(mirrors=mirrors)[0][0].shape == (4, 2)
    assert os.listdir(cache.parent / "boston_housing") == ["boston_housing.npz"]
