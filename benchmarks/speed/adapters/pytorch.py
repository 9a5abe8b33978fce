"""PyTorch, eager and through torch.compile: batches by index from tensors, its fused Adam."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

from ..problems import (
    ChainProblem,
    CrossEntropyProblem,
    TrainingProblem,
    TreeProblem,
    UpdateProblem,
    pairs,
    sums,
)
from ..stand import Stand, serve

EAGER, COMPILED = "eager", "compiled"


def _torch() -> Any:
    return import_module("torch")


def _made(f: Any, variant: str) -> Any:
    return _torch().compile(f, dynamic=False) if variant == COMPILED else f


def _adam(parameters: Any, rate: float) -> Any:
    return _torch().optim.Adam(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-7, fused=True)


def train(problem: TrainingProblem, stand: Stand, variant: str) -> None:
    """nn.Sequential of nn.Linear, functional cross-entropy."""
    torch = _torch()
    nn = torch.nn
    parts: list[Any] = []
    for n, m in pairwise(problem.task.sizes):
        parts += [nn.Linear(n, m), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), problem.weights, strict=True):
            parameter.copy_(torch.from_numpy(value.T))  # nn.Linear keeps W as (outputs, inputs)
    optimizer = _adam(model.parameters(), problem.task.rate)
    x, labels = torch.from_numpy(problem.x), torch.from_numpy(problem.labels)

    def loss_of(indices: Any) -> Any:
        return nn.functional.cross_entropy(model(x[indices]), labels[indices])

    step_loss = _made(loss_of, variant)

    def epoch(number: int) -> Any:
        total = torch.zeros(())
        for indices in torch.from_numpy(problem.order(number)).split(problem.task.batch):
            optimizer.zero_grad()
            loss = step_loss(indices)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(indices)
        mean = total.item() / len(x)
        return lambda: (mean,)

    serve(stand, epoch)


def chain(problem: ChainProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and its gradient."""
    torch = _torch()
    start, x = (torch.from_numpy(v).requires_grad_() for v in (problem.y, problem.x))
    c = torch.from_numpy(problem.c)

    def forward(y: Any, x: Any) -> Any:
        for _ in range(problem.task.links):
            y = y * c + x
        return y

    made = _made(forward, variant)

    def repeat(number: int) -> Any:
        y = made(start, x)
        gy, gx = torch.autograd.grad(y.sum(), (start, x))
        return lambda: sums(y.detach().numpy(), gx.numpy(), gy.numpy())

    serve(stand, repeat)


def tree(problem: TreeProblem, stand: Stand, variant: str) -> None:
    """The loop as it stands, and its gradient."""
    torch = _torch()
    leaves = [torch.from_numpy(row).requires_grad_() for row in problem.leaves]

    def forward(*leaves: Any) -> Any:
        level, multiplies = list(leaves), True
        while len(level) > 1:
            level = [a * b if multiplies else a + b for a, b in pairs(level)]
            multiplies = not multiplies
        return level[0]

    made = _made(forward, variant)

    def repeat(number: int) -> Any:
        root = made(*leaves)
        gradients = torch.autograd.grad(root.sum(), leaves)
        return lambda: sums(root.detach().numpy(), [g.numpy() for g in gradients])

    serve(stand, repeat)


def cross_entropy(problem: CrossEntropyProblem, stand: Stand, variant: str) -> None:
    """Functional cross-entropy and its gradient."""
    torch = _torch()
    logits, labels = torch.from_numpy(problem.logits).requires_grad_(), torch.from_numpy(problem.labels)
    made = _made(torch.nn.functional.cross_entropy, variant)

    def repeat(number: int) -> Any:
        loss = made(logits, labels)
        (gradient,) = torch.autograd.grad(loss, (logits,))
        return lambda: (loss.item(), sums(0.0, gradient.numpy())[1])

    serve(stand, repeat)


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


ADAPTERS = {"training": train, "chain": chain, "tree": tree, "cross-entropy": cross_entropy, "update": update}


def start(variant: str) -> None:
    """Import PyTorch, and its compiler where that is asked for."""
    torch = _torch()
    if variant == COMPILED:
        torch._dynamo.config.suppress_errors = False  # a fall back to eager would be no measurement of the compiler
