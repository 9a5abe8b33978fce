"""A tiny MNIST in place of the real one, a cache of its own, and a server of files on this machine."""

import contextlib
import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from chalkgrad.datasets import download, idx, mnist, originals


@pytest.fixture(scope="session")
def original():
    """What is known of a file of these bytes."""
    return lambda data: originals.Original(len(data), hashlib.sha256(data).hexdigest())


class Mirror:
    """A server on localhost. `files` maps names to bytes; `script` says how to fail, one entry a request."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.script: list[str] = []
        self.requests: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                mirror.requests.append(name)
                fault = mirror.script.pop(0) if mirror.script else ""
                data = mirror.files.get(name)
                if fault == "drop":
                    self.close_connection = True
                elif fault.isdigit() or data is None:
                    self.send_response(int(fault or 404))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif fault in ("endless", "zipped"):
                    self.send_response(200)
                    if fault == "zipped":
                        self.send_header("Content-Encoding", "gzip")
                    self.end_headers()
                    piece = gzip.compress(bytes(1 << 20)) if fault == "zipped" else bytes(1 << 16)
                    with contextlib.suppress(OSError):
                        while True:  # until nobody listens any more
                            self.wfile.write(piece)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[: len(data) // 2] if fault == "half" else data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mnist/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def tiny(monkeypatch, tmp_path, original):
    """The uncompressed bytes of four tiny files, by name, which stand in for MNIST until the test ends."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": random.integers(0, 256, (6, 2, 2), np.uint8),
        "train-labels-idx1-ubyte": random.integers(0, 10, 6, np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (3, 2, 2), np.uint8),
        "t10k-labels-idx1-ubyte": random.integers(0, 10, 3, np.uint8),
    }
    contents = {}
    for name, array in arrays.items():
        idx.write_idx(tmp_path / "written", array)
        contents[name] = (tmp_path / "written").read_bytes()
    monkeypatch.setattr(mnist.ORIGINALS, "files", {name: original(data) for name, data in contents.items()})
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.delenv(originals.VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return contents


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of the cache, not there yet."""
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "chalkgrad" / "mnist"


@pytest.fixture
def mirror(tiny):
    mirror = Mirror()
    mirror.files = {f"{name}.gz": gzip.compress(data) for name, data in tiny.items()}
    yield mirror
    mirror.close()


@pytest.fixture
def empty_mirror():
    mirror = Mirror()
    yield mirror
    mirror.close()
