"""The playground: a page on which a small net learns points of two classes, with its neurons and equations beside it.

There is nothing of a net in the page's own script. What the layers compute, and the gradients, are recorded lists of
the engine, written as JavaScript (deploy/javascript.py), one for each depth and activation function; the updates are
the optimisers' equations (equation/javascript.py). A layer has room for WIDTH neurons, and a mask of those it has: one
that is masked gives 0, so that the numbers are those of the narrower net.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from ..blackboard.document import assembled, said_in_both, web_file
from ..blackboard.documented import DOCUMENTED
from ..blackboard.page import documented_forms
from ..blackboard.texts import LANGUAGES, check_language
from ..engine.tensor import Tensor
from ..equation.javascript import functions, script
from ..ops.activation import relu, sigmoid, softplus
from ..ops.elementary import tanh
from ..optim import SGD, Adam, RMSprop
from ..replay.recorded import recorded
from .javascript import javascript
from .texts import FAULTS, PLAYGROUND
from .typed_arrays import encoded

DEPTH, WIDTH, POINTS, GRID, SEEDS = 3, 8, 200, 40, 10
"""Most hidden layers, neurons of one, and points; places of the plane by side; drawings of first weights."""
SIZE = 3 * WIDTH + (DEPTH - 1) * (WIDTH + 1) * WIDTH + WIDTH + 1
"""Of all weights of the largest net, in the order of the layers, each kernel before its bias."""
ACTIVATIONS: dict[str, Any] = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}
OPTIMIZERS = {
    "adam_documented": Adam(bias_correction=False),
    "adam": Adam(),
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "rmsprop": RMSprop(),
}
EQUATIONS = ("D1", "D2", "D3", "D4", "D5", "D6")


def forward(depth: int, activation: str) -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    """The net of so many hidden layers: a function of the flat weights θ (SIZE,), the points x (N, 2) and the mask
    (DEPTH, WIDTH) that gives the logit of each point (N,), and what each hidden layer gives, (N, WIDTH)."""

    def run(theta: Tensor, x: Tensor, mask: Tensor) -> list[Tensor]:
        at, width, layers = 0, 2, []

        def weights(columns: int) -> tuple[Tensor, Tensor]:
            nonlocal at
            middle, at = at + width * columns, at + (width + 1) * columns
            return theta[middle - width * columns : middle].reshape((width, columns)), theta[middle:at]

        for k in range(depth):
            w, b = weights(WIDTH)
            x, width = ACTIVATIONS[activation](x @ w + b) * mask[k], WIDTH
            layers.append(x)
        w, b = weights(1)
        return [(x @ w + b)[:, 0], *layers]

    return run


def gradient(depth: int, activation: str) -> Callable[..., list[Tensor]]:
    """Of the same net the loss, the cross-entropy Σₙ shareₙ (softplus(zₙ) − yₙ zₙ), and its gradient by θ.

    y: 0 or 1 for each point; share: how much it counts.
    """

    def run(theta: Tensor, x: Tensor, y: Tensor, share: Tensor, mask: Tensor) -> list[Tensor]:
        weights = theta.detach()
        weights.requires_grad = True
        z = forward(depth, activation)(weights, x, mask)[0]
        loss = ((softplus(z) - y * z) * share).sum()
        loss.backward()
        assert weights.grad is not None
        return [loss.detach(), weights.grad]

    return run


def update(name: str) -> dict[str, Any]:
    """An optimiser's update as JavaScript: `(s, F) => …` writes the state and θ in s, and reads learning_rate and t."""
    optimizer = OPTIMIZERS[name]
    arrays = {each: numpy.zeros(SIZE, "float32") for each in ("theta", "g", *optimizer.slots)}
    values = {**optimizer.hyperparameters, "learning_rate": 0.01, "t": 1, **arrays}
    written = script(optimizer.update.equation, values, (SIZE,), varying=("learning_rate", "t"))
    return {"slots": optimizer.slots, "script": written}


def data_sets() -> dict[str, tuple[Any, Any]]:
    """POINTS points of two classes, by name: the coordinates, within about ±1, and 0 or 1."""
    draw, half = numpy.random.default_rng(0), POINTS // 2
    y = numpy.repeat([0.0, 1.0], half)
    u, sign = numpy.tile((numpy.arange(half) + 0.5) / half, 2), 2 * y - 1
    angle = numpy.pi * u
    moons = numpy.stack([numpy.cos(angle) * sign - sign * 0.5, numpy.sin(angle) * sign - sign * 0.25], 1) / 1.6
    radius = numpy.where(y == 1, 0.35 * numpy.sqrt(u), 0.7 + 0.2 * u)
    circles = _polar(radius, draw.uniform(0, 2 * numpy.pi, POINTS))
    spirals = _polar(0.1 + 0.85 * u, 2.5 * numpy.pi * u + numpy.pi * y)
    noise = {"moons": 0.06, "circles": 0.04, "spirals": 0.015}
    sets = {"moons": moons, "circles": circles, "spirals": spirals}
    return {name: (x + draw.normal(0, noise[name], x.shape), y) for name, x in sets.items()}


def _polar(radius: Any, angle: Any) -> Any:
    return numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], 1)


def playground(lang: str = "en") -> str:
    """The page as HTML, in both languages; lang: which it opens with. Raises UsageError for an unknown language."""
    check_language(lang)

    def zeros(*shape: int) -> Tensor:
        return Tensor(numpy.zeros(shape, "float32"))

    lists = {}
    for depth in range(DEPTH + 1):
        for name in ACTIVATIONS if depth else ("tanh",):
            x, mask = zeros(POINTS, 2), zeros(DEPTH, WIDTH)
            lists[f"forward_{depth}_{name}"] = recorded(
                forward(depth, name), zeros(SIZE), zeros(GRID * GRID + POINTS, 2), mask
            )
            lists[f"gradient_{depth}_{name}"] = recorded(
                gradient(depth, name), zeros(SIZE), x, zeros(POINTS), zeros(POINTS), mask
            )
    program = javascript(lists)
    updates = {name: update(name) for name in OPTIMIZERS}
    heading = {language: PLAYGROUND["heading"][k] for k, language in enumerate(LANGUAGES)}
    said = said_in_both(heading, lang)
    said["texts"] |= {key: dict(zip(LANGUAGES, both, strict=True)) for key, both in (PLAYGROUND | FAULTS).items()}
    start = numpy.random.default_rng(0).uniform(-1, 1, (SEEDS, SIZE))
    data = {
        **said,
        "documented": {d.number: documented_forms(d) for d in DOCUMENTED if d.number in EQUATIONS},
        "net": program.described(),
        "sizes": {"depth": DEPTH, "width": WIDTH, "points": POINTS, "grid": GRID, "weights": SIZE},
        "slots": {name: made["slots"] for name, made in updates.items()},
        "adam": OPTIMIZERS["adam"].hyperparameters,
        "activations": list(ACTIVATIONS),
        "start": encoded(start.astype("float32")),
        "data": {
            name: {"x": encoded(x.astype("float32").ravel()), "y": encoded(y.astype("float32"))}
            for name, (x, y) in data_sets().items()
        },
    }
    written = ", ".join(f"{name}: {made['script']}" for name, made in updates.items())
    scripts = [
        web_file("blackboard", "tools.js"),
        f"const program = {program.text};",
        web_file("deploy", "net.js"),
        f"const F = {functions()}, updates = {{ {written} }};",
        web_file("deploy", "playground.js"),
    ]
    sections = {"work": "work", "equations": ""}
    return assembled(data, sections, scripts, web_file("deploy", "playground.css"))
