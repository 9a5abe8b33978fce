"""`chalkgrad serve`: a trained model behind HTTP."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
from typing import Any

import click

from ..deploy.page import page
from ..deploy.server import Limits, Service, application
from ..engine.streams import plain
from ..errors import ChalkgradError, UsageError, first_line
from ..hints import missing_extra
from ..models import load_model
from .export import test_data
from .run_folder import model_path


def serve(run: str, host: str, port: int, limits: Limits) -> None:
    """Answer requests until a signal ends it; those that are accepted by then are answered.

    Raises UsageError where the address cannot be had, MissingExtraError where starlette and uvicorn are not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise missing_extra("`chalkgrad serve`", "starlette with uvicorn", "serve") from error
    model = load_model(model_path(run))
    service = Service(model, limits=limits)
    service.page = _page(model)
    with _listening(host, port) as listener:
        port = listener.getsockname()[1]
        if not _is_loopback(host):
            click.echo(
                f"warning: {plain(host)} is reached by other machines: there is no password, and nothing is encrypted.",
                err=True,
            )
        click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}  Ctrl-C ends it.")
        server = uvicorn.Server(
            uvicorn.Config(
                application(service),
                log_config=None,  # a new one would close the handlers that are there
                log_level="warning",
                access_log=False,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(limits.timeout) + 2,
            )
        )
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
            signal.signal(hangup, server.handle_exit)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when all is answered
            server.run(sockets=[listener])
    click.echo(f"ended; answered: {service.answered}, forward passes: {service.batcher.batches}")


CONNECTIONS = 512
"""Connections at a time; more are answered with 503."""


def _page(model: Any) -> str | None:
    try:
        return page(model, **test_data(model))[0]
    except ChalkgradError as error:  # it is served without one
        click.echo(f"no page at /: {first_line(error)}", err=True)
        return None


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0  # below 0 where the name of the host is unknown
        raise UsageError(
            f"port {port} of {host} cannot be had: {os.strerror(number) if number > 0 else error}. "
            "Choose another by --port; 0 takes a free one."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
