"""A trained model behind HTTP: `POST /predict`, `GET /health`, and what it is at `/`.

Requests that wait are answered by one forward pass. What can be asked for at a time is bounded on every side: the bytes
of a body and of all bodies that are held, the samples of a request and of all that wait, and the time that a request
may take. Of what is too much the client is told at once.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy

from ..errors import ChalkgradError, DataError, first_line

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True)
class Limits:
    """What is taken at a time.

    batch: samples of a forward pass, and of a request. wait: seconds that a sample waits for others. queue: samples
    that may wait. timeout: seconds in which a request is read and answered. size: bytes of a body. held: bytes of all
    bodies that are read at a time.
    """

    batch: int = 64
    wait: float = 0.002
    queue: int = 1024
    timeout: float = 10.0
    size: int = 4_000_000
    held: int = 64_000_000


class Refused(Exception):
    """A request that is not answered with predictions: the status says why, and the message in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Waiting:
    """The samples of a request, and where their outputs go."""

    x: Array
    answer: asyncio.Future[Array]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Samples of one kind fit into one array."""
        return self.x.shape[1:], self.x.dtype


@dataclass
class Batcher:
    """Puts the samples of waiting requests together: one forward pass at a time, for at most `limits.batch` of them."""

    predict: Callable[[Array], Array]
    limits: Limits
    waiting: deque[Waiting] = field(default_factory=deque)
    samples: int = 0
    batches: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, x: Array) -> Array:
        """The outputs for the samples x. Raises Refused where too many wait, or it takes too long."""
        if self.samples + len(x) > self.limits.queue:
            raise Refused(503, f"{self.samples} samples wait already, of {self.limits.queue} at most: ask again later.")
        own = Waiting(x, asyncio.get_running_loop().create_future())
        self.waiting.append(own)
        self.samples += len(x)
        self.arrived.set()
        return await own.answer

    async def run(self) -> None:
        """Answer what waits, until cancelled."""
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            if self.samples < self.limits.batch:
                await asyncio.sleep(self.limits.wait)
            while batch := self._next():
                await self._answer(batch)

    def _next(self) -> list[Waiting]:
        """The oldest, and those of its kind for which there is room; what nobody waits for any more is dropped."""
        batch: list[Waiting] = []
        left: deque[Waiting] = deque()
        count = 0
        for each in self.waiting:
            if each.answer.done():
                self.samples -= len(each.x)
            elif not batch or (each.kind == batch[0].kind and count + len(each.x) <= self.limits.batch):
                batch.append(each)
                count += len(each.x)
            else:
                left.append(each)
        self.waiting, self.samples = left, self.samples - count
        return batch

    async def _answer(self, batch: list[Waiting]) -> None:
        self.batches += 1
        try:
            outputs = await asyncio.to_thread(self.predict, numpy.concatenate([each.x for each in batch]))
        except Exception as error:
            if len(batch) > 1:  # one of them is at fault: the others are not to pay for it
                for each in batch:
                    await self._answer([each])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        at = 0
        for each in batch:
            if not each.answer.done():
                each.answer.set_result(outputs[at : at + len(each.x)])
            at += len(each.x)


@dataclass
class Service:
    """A model of one input and one output, with the limits in which it is asked.

    Raises DataError for a model of several inputs or outputs, and for one whose weights are not finite.
    """

    model: Any
    page: str | None = None
    limits: Limits = field(default_factory=Limits)
    answered: int = 0
    held: int = 0

    def __post_init__(self) -> None:
        if len(self.model.input_shapes) != 1 or len(self.model.output_shapes()) != 1:
            raise DataError("only a model of one input and one output is served.")
        for weight in self.model.weights:
            if not numpy.isfinite(numpy.asarray(weight.data)).all():
                raise DataError(f"{weight.name}: NaN or infinity in the weights, of which no answer can come.")
        self.batcher = Batcher(self.model.predict, self.limits)

    def about(self) -> dict[str, Any]:
        """The model's shapes, and what it does now."""
        return {
            "status": "ok",
            "model": self.model.name,
            "input_shape": self.model.input_shapes[0],
            "output_shape": self.model.output_shapes()[0],
            "answered": self.answered,
            "batches": self.batcher.batches,
            "waiting": self.batcher.samples,
        }

    async def respond(self, request: Request) -> dict[str, Any]:
        """The predictions that a request asks for; raises Refused where there are none."""
        held = 0
        try:
            async with asyncio.timeout(self.limits.timeout):
                body = bytearray()
                async for chunk in request.stream():
                    body += chunk
                    self.held += len(chunk)
                    held += len(chunk)
                    if len(body) > self.limits.size:
                        raise Refused(413, f"the body has more than {self.limits.size:,} bytes.")
                    if self.held > self.limits.held:
                        raise Refused(503, "too many large requests at a time: ask again later.")
                x = self.samples(bytes(body))
                del body
                outputs = await self.batcher(x)
        except TimeoutError:
            raise Refused(504, f"it took more than {self.limits.timeout:g} s.") from None
        except ChalkgradError as error:
            raise Refused(400, first_line(error)) from error
        finally:
            self.held -= held
        if not numpy.isfinite(outputs).all():
            raise Refused(422, "the model's outputs for these instances are not finite: the numbers are too great.")
        return {"predictions": outputs.tolist()}

    def samples(self, body: bytes) -> Array:
        """The instances of a body, as the model takes them. Raises Refused or ShapeError for what it cannot take."""
        try:
            asked = json.loads(body, parse_constant=_not_finite)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is no JSON: {first_line(error)}") from error
        if not isinstance(asked, dict) or not isinstance(asked.get("instances"), list) or not asked["instances"]:
            raise Refused(400, 'the body is {"instances": [...]}, with one entry or more, each a sample.')
        if len(asked["instances"]) > self.limits.batch:
            raise Refused(413, f"{len(asked['instances'])} instances; {self.limits.batch} at most at a time.")
        try:
            x = numpy.array(asked["instances"])
        except (ValueError, OverflowError) as error:
            raise Refused(400, "the instances are no array: their rows differ in length.") from error
        truths = b"true" in body or b"false" in body  # which NumPy takes for 1 and 0 beside numbers
        if x.dtype.kind not in "iuf" or (truths and bool in map(type, numpy.array(asked["instances"], object).flat)):
            raise Refused(400, "the instances are nested lists of numbers, and of nothing else.")
        self.model.check_input(x.shape)
        if not self.model.takes_integers:
            with numpy.errstate(over="ignore"):
                x = x.astype(self.model.dtype)
            if not numpy.isfinite(x).all():
                raise Refused(400, f"a number among the instances is beyond {self.model.dtype}.")
        return x


def _not_finite(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON; instances are finite.")


def application(service: Service) -> Starlette:
    """The service as an ASGI application: `POST /predict`, `GET /health`, `GET /`."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import HTMLResponse, JSONResponse
    from starlette.routing import Route

    async def predict(request: Request) -> Response:
        try:
            answer = await service.respond(request)
        except Refused as refused:
            again = {"Retry-After": "1"} if refused.status == 503 else {}
            return JSONResponse({"error": str(refused)}, refused.status, again)
        service.answered += 1
        return JSONResponse(answer)

    async def health(request: Request) -> Response:
        return JSONResponse(service.about())

    async def root(request: Request) -> Response:
        if service.page is not None:
            return HTMLResponse(service.page)
        return JSONResponse(service.about() | {"paths": PATHS})

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = f"{request.method} {request.url.path}: {error.detail}. There is {', '.join(PATHS)}."
        return JSONResponse({"error": told}, error.status_code, error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "the model failed on these instances."}, 500)

    @asynccontextmanager
    async def batching(app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(service.batcher.run())
        yield
        worker.cancel()

    return Starlette(
        routes=[
            Route("/predict", predict, methods=["POST"]),
            Route("/health", health),
            Route("/", root),
        ],
        exception_handlers={HTTPException: refused, 500: failed},
        lifespan=batching,
    )


PATHS = ["POST /predict", "GET /health", "GET /"]
