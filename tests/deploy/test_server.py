"""A served model: right answers under load, what is refused and how, and an end by which nobody loses an answer."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.deploy.server import Limits, Service, application
from chalkgrad.errors import DataError


def small_model():
    return cg.Sequential([cg.layers.Dense(5, "relu", input_shape=(3,)), cg.layers.Dense(2, "softmax")], seed=1)


def asked(service, *requests):
    """The responses to requests that are sent at a time, each a body, or (method, path)."""

    async def send():
        app = application(service)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as to:
            return await asyncio.gather(
                *(
                    to.request(*each) if isinstance(each, tuple) else to.post("/predict", content=each)
                    for each in requests
                )
            )

    with ThreadPoolExecutor(1) as apart:  # the thread of the tests may have a loop already, a browser's
        return apart.submit(asyncio.run, send()).result()


def instances(x):
    return json.dumps({"instances": np.asarray(x).tolist()}).encode()


def test_requests_at_a_time_share_forward_passes_and_get_each_its_own():
    model = small_model()
    service = Service(model, limits=Limits(batch=8))
    x = np.random.default_rng(0).normal(size=(20, 2, 3))
    answers = asked(service, *map(instances, x))
    for each, answer in zip(x, answers, strict=True):
        np.testing.assert_allclose(answer.json()["predictions"], model.predict(each), rtol=1e-5)
    assert service.batcher.batches == 5
    assert (service.answered, service.batcher.samples, service.held) == (20, 0, 0)


REFUSED = {
    b"{": (400, "no JSON"),
    b"\xff": (400, "no JSON"),
    b"[" * 100_000: (400, "no JSON"),
    b"[1, 2, 3]": (400, '{"instances": [...]}'),
    b'{"instances": []}': (400, "one entry or more"),
    b'{"instances": [[1, 2, NaN]]}': (400, "NaN is no number of JSON"),
    b'{"instances": [[1, 2, 1e39]]}': (400, "beyond float32"),
    b'{"instances": [[1, 2, 1e999]]}': (400, "beyond float32"),
    b'{"instances": [[1, 2], [3]]}': (400, "differ in length"),
    b'{"instances": [[1, 2, "3"]]}': (400, "numbers"),
    b'{"instances": [[1, 2, null]]}': (400, "numbers"),
    b'{"instances": [[true, true, true]]}': (400, "numbers"),
    b'{"instances": [[1, true, 3]]}': (400, "numbers"),
    b'{"instances": [[1, 2, 3, 4]]}': (400, "(batch, 3)"),
    b'{"instances": 7}': (400, '{"instances": [...]}'),
    instances(np.zeros((9, 3))): (413, "8 at most"),
    b" " * 101_000: (413, "more than 100,999"),
    ("GET", "/predict"): (405, "POST /predict"),
    ("GET", "/nothing"): (404, "GET /health"),
}


def test_what_is_refused_is_told_why():
    service = Service(small_model(), limits=Limits(batch=8, size=100_999))
    for request, (status, told) in REFUSED.items():
        (answer,) = asked(service, request)
        assert answer.status_code == status, (request[:50], answer.text)
        assert told in answer.json()["error"], answer.text
    assert (service.answered, service.held) == (0, 0)


def test_what_is_too_much_at_a_time_is_told_to_ask_again():
    model = small_model()
    answers = asked(Service(model, limits=Limits(queue=4)), *[instances(np.zeros((2, 3)))] * 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503]
    assert [answer.headers["Retry-After"] for answer in answers if answer.status_code == 503] == ["1"] * 3
    (answer,) = asked(Service(model, limits=Limits(held=10)), instances(np.zeros((2, 3))))
    assert answer.status_code == 503


def test_a_request_that_takes_too_long_ends_and_leaves_nothing_behind():
    service = Service(small_model(), limits=Limits(timeout=0.02, wait=0.1))
    (answer,) = asked(service, instances(np.zeros((2, 3))))
    assert answer.status_code == 504
    assert service.held == 0


def test_one_at_fault_does_not_harm_the_others_of_its_batch():
    model = cg.Sequential([cg.layers.Input((2,), dtype="int32"), cg.layers.Embedding(10, 4), cg.layers.Flatten()])
    model.build()
    good, bad, also = asked(Service(model), instances([[1, 2]]), instances([[1, 11]]), instances([[3, 4]]))
    assert [good.status_code, bad.status_code, also.status_code] == [200, 400, 200]
    assert "id 11" in bad.json()["error"]


def test_health_and_the_first_page():
    service = Service(small_model())
    health, first = asked(service, ("GET", "/health"), ("GET", "/"))
    assert health.json()["status"] == "ok"
    assert (health.json()["input_shape"], health.json()["output_shape"]) == ([3], [2])
    assert "POST /predict" in first.json()["paths"]
    (page,) = asked(Service(small_model(), page="<title>net</title>"), ("GET", "/"))
    assert page.text == "<title>net</title>"
    assert page.headers["content-type"].startswith("text/html")


def test_weights_that_are_not_finite_are_not_served():
    model = small_model()
    model.set_weights([w * np.nan for w in model.get_weights()])
    with pytest.raises(DataError, match="NaN or infinity in the weights"):
        Service(model)


class Server:
    """`chalkgrad serve` in a process of its own."""

    def __init__(self, model, *options):
        command = [sys.executable, "-m", "chalkgrad", "serve", str(model), "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[0]

    def memory(self):
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / 1000

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return out, err, self.process.returncode


def load(url, model, clients, requests):
    """What the clients got: counts of right and wrong answers, and of connections that ended without one."""
    got = {"right": 0, "wrong": 0, "closed": 0}
    lock = threading.Lock()

    def client(seed):
        x = np.random.default_rng(seed).normal(size=(64, 3)).astype(np.float32)
        expected = model.predict(x)
        with httpx.Client(base_url=url, timeout=30) as http:
            for step in range(requests):
                at = step % 64
                try:
                    answer = http.post("/predict", content=instances(x[at : at + 1]))
                except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError):
                    outcome = "closed"
                else:
                    right = answer.status_code == 200 and np.allclose(
                        answer.json()["predictions"], expected[at : at + 1], rtol=1e-5
                    )
                    outcome = "right" if right else "wrong"
                with lock:
                    got[outcome] += 1
                if outcome == "closed":
                    return

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for each in threads:
        each.start()
    return got, threads


@pytest.mark.deep
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="memory is read from /proc")
def test_ten_thousand_requests_of_sixteen_clients(tmp_path):
    model = small_model()
    model.build()
    model.save(tmp_path / "model.safetensors")
    server = Server(tmp_path / "model.safetensors")
    got, threads = load(server.url, model, 16, 5)
    for each in threads:
        each.join()
    assert httpx.get(server.url).text.startswith("<!doctype html>")
    before, start = server.memory(), time.perf_counter()
    got, threads = load(server.url, model, 16, 625)
    for each in threads:
        each.join()
    seconds, after = time.perf_counter() - start, server.memory()
    out, err, code = server.end()
    print(f"{10_000 / seconds:.0f} requests a second; {before:.0f} MB before, {after:.0f} MB after; {out.strip()}")
    assert got == {"right": 10_000, "wrong": 0, "closed": 0}
    assert after - before < 20
    assert "Traceback" not in err
    assert code == 0


@pytest.mark.deep
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_under_load_loses_no_answer(tmp_path, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this signal is ignored here, as under nohup")
    model = small_model()
    model.build()
    model.save(tmp_path / "model.safetensors")
    server = Server(tmp_path / "model.safetensors", "--wait", "20")
    got, threads = load(server.url, model, 16, 100_000)
    time.sleep(2)
    out, err, code = server.end(number)
    for each in threads:
        each.join()
    answered = int(re.search(r"answered: (\d+)", out)[1])
    assert got == {"right": answered, "wrong": 0, "closed": 16}
    assert answered > 100
    assert "Traceback" not in err
    assert code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
