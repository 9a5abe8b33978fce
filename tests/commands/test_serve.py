"""`chalkgrad serve` before it answers: what is missing, an address that cannot be had, one that others reach."""

import logging
import socket

import pytest

import chalkgrad as cg


@pytest.fixture
def model(folder):
    net = cg.Sequential([cg.layers.Dense(2, input_shape=(3,))])
    net.build()
    net.save("model.safetensors")
    return "model.safetensors"


def test_a_port_in_use_is_named(chalkgrad, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = chalkgrad("serve", model, "--port", port, code=1).stderr
    assert f"port {port} of 127.0.0.1 cannot be had" in told
    assert "--port" in told


def test_an_address_that_others_reach_is_warned_of(chalkgrad, model, monkeypatch):
    import uvicorn

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr(logging.StreamHandler, "close", lambda self: pytest.fail("a handler of another's is closed"))
    kept = logging.StreamHandler()
    assert "no password" in chalkgrad("serve", model, "--port", 0, "--host", "0.0.0.0").stderr
    told = chalkgrad("serve", model, "--port", 0)
    assert "no password" not in told.stderr
    assert told.stdout.startswith("http://127.0.0.1:")
    assert kept in [reference() for reference in logging._handlerList]


def test_no_run_is_told(chalkgrad):
    assert "does not exist" in chalkgrad("serve", "nothing", code=1).stderr


def test_without_its_library_it_names_the_extra(chalkgrad, model, absent):
    absent("uvicorn")
    assert "starlette with uvicorn" in chalkgrad("serve", model, code=1).stderr
