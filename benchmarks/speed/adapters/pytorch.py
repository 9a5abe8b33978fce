"""PyTorch, eager and through torch.compile: batches by index from tensors, its fused Adam.

A training is done on a GPU as well, with the data there; further as CUDA graphs of whole steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy

from ..problems import CrossEntropyProblem, TrainingProblem, UpdateProblem, Values
from ..stand import Stand, UnavailableError, serve
from .differentiated import Run, differentiated

EAGER, COMPILED, GRAPHS = "eager", "compiled", "graphs"
WARMUPS = 3
"""Steps before one is captured, as PyTorch's notes on CUDA graphs ask for."""


def _torch() -> Any:
    return import_module("torch")


def _made(f: Any, variant: str, **options: Any) -> Any:
    return _torch().compile(f, dynamic=False, **options) if variant == COMPILED else f


def _adam(parameters: Any, rate: float, **options: Any) -> Any:
    return _torch().optim.Adam(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-7, fused=True, **options)


def network(problem: TrainingProblem) -> tuple[Any, Values]:
    """nn.Sequential of nn.Linear, with convolutions first, and the samples as it wants them."""
    torch = _torch()
    nn = torch.nn
    parts: list[Any] = []
    weights = [value.T for value in problem.weights]  # nn.Linear keeps W as (outputs, inputs)
    for number, (_, n, m) in enumerate(problem.task.products):
        if number < len(problem.filters):  # nn.Conv2d keeps W as (filters, channels, height, width)
            parts += [nn.Conv2d(n // 9, m, 3), nn.ReLU(), nn.MaxPool2d(2)]
            weights[2 * number] = problem.weights[2 * number].transpose(3, 2, 0, 1)
        else:
            parts += [nn.Linear(n, m), nn.ReLU()]
    samples = problem.x
    if filters := problem.filters:  # images with their channels first, which the rows of the first dense layer follow
        samples, place_of = samples.transpose(0, 3, 1, 2), 2 * len(filters)
        parts.insert(3 * len(filters), nn.Flatten())
        side = math.isqrt(len(problem.weights[place_of]) // filters[-1])
        dense = problem.weights[place_of].reshape(side, side, filters[-1], -1)
        weights[place_of] = dense.transpose(3, 2, 0, 1).reshape(dense.shape[-1], -1)
    model = nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(numpy.ascontiguousarray(value)))
    return model, numpy.ascontiguousarray(samples)


def predict(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """Under inference_mode."""
    torch = _torch()
    model, _ = network(problem)
    made = _made(lambda x: torch.softmax(model(x), 1), variant)
    with torch.inference_mode():
        serve(stand, problem.singly(lambda x: made(torch.from_numpy(x)).numpy()))


def train(problem: TrainingProblem, stand: Stand, variant: str, device: str = "cpu") -> None:
    """Functional cross-entropy; on a GPU torch.compile uses CUDA graphs as well."""
    torch = _torch()
    nn, on_gpu = torch.nn, device != "cpu"
    place = torch.device("cuda" if on_gpu else "cpu")
    model, samples = network(problem)
    model.to(place)
    optimizer = _adam(model.parameters(), problem.task.rate, capturable=variant == GRAPHS and on_gpu)
    x, labels = torch.from_numpy(samples).to(place), torch.from_numpy(problem.labels).to(place)
    total = torch.zeros((), device=place)

    def loss_of(indices: Any) -> Any:
        return nn.functional.cross_entropy(model(x[indices]), labels[indices])

    step_loss = _made(loss_of, variant, **({"mode": "reduce-overhead"} if on_gpu else {}))

    def step(indices: Any) -> None:
        if variant == COMPILED and on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        loss = step_loss(indices)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * len(indices))

    sizes = {problem.task.batch, len(x) % problem.task.batch} - {0}
    take = _graphed(step, sizes, model, optimizer) if variant == GRAPHS else step

    def epoch(number: int) -> Any:
        total.zero_()
        for indices in torch.from_numpy(problem.order(number)).to(place).split(problem.task.batch):
            take(indices)
        mean = total.item() / len(x)
        if on_gpu:
            torch.cuda.synchronize()
        return lambda: (mean,)

    serve(stand, epoch)


def _graphed(step: Callable[[Any], None], sizes: set[int], model: Any, optimizer: Any) -> Callable[[Any], None]:
    """The step as one CUDA graph for each batch size, with indices in a place of their own; what capturing it changed
    is put back.
    """
    torch = _torch()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    graphs: dict[int, Any] = {}
    for size in sorted(sizes):
        indices = torch.zeros(size, dtype=torch.int64, device="cuda")
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUPS):
                step(indices)
        torch.cuda.current_stream().wait_stream(side)
        optimizer.zero_grad()
        with torch.cuda.graph(graph):
            step(indices)
        graphs[size] = indices, graph
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)
            for number in optimizer.state[parameter].values():
                number.zero_()

    def take(indices: Any) -> None:
        place, graph = graphs[len(indices)]
        place.copy_(indices)
        graph.replay()

    return take


def gradient(f: Callable[..., Any], xs: Sequence[Values], variant: str) -> Run:
    """By `torch.autograd.grad`; compiled, of what the compiler makes of the function."""
    torch = _torch()
    made, variables = _made(f, variant), [torch.from_numpy(x).requires_grad_() for x in xs]

    def run() -> tuple[Any, Any]:
        y = made(*variables)
        return y, torch.autograd.grad(y.sum(), variables)

    return run


def loss(problem: CrossEntropyProblem) -> Callable[[Any], Any]:
    """Functional cross-entropy."""
    torch = _torch()
    labels = torch.from_numpy(problem.labels)
    return lambda logits: torch.nn.functional.cross_entropy(logits, labels)


def update(problem: UpdateProblem, stand: Stand, variant: str) -> None:
    """The optimiser's step; compiled, of its unfused form, which the compiler fuses itself."""
    torch = _torch()
    theta = torch.from_numpy(problem.theta.copy()).requires_grad_()
    theta.grad = torch.from_numpy(problem.g)
    if variant == COMPILED:
        optimizer = torch.optim.Adam([theta], lr=torch.tensor(problem.task.rate), eps=1e-7, capturable=False)
        step = torch.compile(optimizer.step)
    else:
        optimizer = _adam([theta], problem.task.rate)
        step = optimizer.step

    def repeat(number: int) -> Any:
        for _ in range(problem.task.updates):
            step()
        return lambda: problem.figures(theta.detach().numpy())

    serve(stand, repeat)


def attention(q: Any, k: Any, v: Any) -> Any:
    """Its own."""
    return _torch().nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


WORK = differentiated(
    gradient, loss, constant=lambda x: _torch().from_numpy(x), plain=lambda y: y.detach().numpy(), attention=attention
)  # fmt: skip
ADAPTERS = {"training": train, "convolutional": train, "prediction": predict, "update": update, **WORK}


def start(variant: str, device: str = "cpu") -> None:
    """Import PyTorch, and its compiler where that is asked for; float32 is not rounded to TF32."""
    torch = _torch()
    if device != "cpu":
        if not torch.cuda.is_available():
            raise UnavailableError("PyTorch sees no CUDA device")
        torch.set_float32_matmul_precision("highest")
    if variant == COMPILED:
        torch._dynamo.config.suppress_errors = False  # a fall back to eager would be no measurement of the compiler
