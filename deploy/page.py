"""One page: a model as an HTML file that computes by itself, offline, and says on opening whether it does it well."""

from __future__ import annotations

import copy
import functools
import math
import zlib
from typing import Any

import numpy

from ..blackboard.document import assembled, web_file
from ..blackboard.texts import LANGUAGES, check_language
from ..engine.tensor import Tensor
from ..errors import DataError, ShapeError, UsageError
from ..nn import Sequential
from ..nn.measuring import measure
from ..nn.penalties import constrain
from ..optim.optimizer import AVERAGE
from ..replay.recorded import Recorded, recorded
from .javascript import javascript
from .ready import check_ready
from .texts import FAULTS, TEXTS
from .typed_arrays import Program, encoded, quantised

SAMPLES = 16
"""That the page compares on opening."""
BATCH = 16
"""What is learnt from in a step on the page."""
STEPS = 20
"""Of training for a correction."""
FIELDS = 64
"""The most numbers that are asked for one by one."""
SEQUENCE = 4096
"""The most numbers of a sequence, in all its steps."""
SMALLEST = 8
"""The least side of a picture; fewer numbers are numbers."""
FILTERS = 32
"""Units of the first layer that are shown."""


def page(
    model: Any, samples: Any = None, labels: Any = None, *, trainable: bool = False, int8: bool = False,
    with_optimizer: bool = False, lang: str = "en", title: str | None = None,
) -> tuple[str, dict[str, float]]:  # fmt: skip
    """A page that computes what the model computes, as HTML, and what was measured on the samples.

    A model of square pictures of one colour, whose last layer has softmax, gets a canvas to draw on; one of at most
    FIELDS numbers gets fields; one of sequences, (steps, features), of at most SEQUENCE numbers, gets a field with a
    line for each step; lengths that are open are those of the samples.
    samples: inputs as the model takes them; SAMPLES of them come with the page, together with what the model makes of
    them in Python, which the page compares on opening. Without, they are drawn. labels: the class of each, as integers.
    The accuracies are measured on all of them, and come back as "accuracy" and "accuracy as int8".
    trainable: the page can go on learning, by the model's own loss and optimiser, beginning with its first step;
    with_optimizer: or with the step after those taken, in the state that the optimiser has, which takes as much room as
    the weights for each of its slots.
    int8: kernels are rounded to a byte a weight, with a scale for each output channel. lang: it opens with that.
    Raises UsageError for a model that the page cannot have, and DataError where a weight or a sample is not finite, or
    a label is no class.
    """
    check_language(lang)
    check_ready(model)
    model = copy.deepcopy(model)  # which is changed
    if model.takes_integers:
        raise UsageError(
            f"a page takes pictures or numbers, and {model.name} takes ids, such as those of tokens: `chalkgrad serve "
            "RUN` answers for them, and `chalkgrad generate RUN` goes on with a text."
        )
    shape = _shape(model, samples)
    side = _side(model, shape)
    if side is None and math.prod(shape) > {1: FIELDS, 2: SEQUENCE}.get(len(shape), 0):
        raise UsageError(
            "a page is for a model that takes square pictures of one colour and ends with softmax, at most "
            f"{FIELDS} numbers, or sequences of at most {SEQUENCE:,} in all; this one takes samples of shape {shape}. "
            "`chalkgrad export RUN net.onnx` takes any."
        )
    x, y = _samples(model, shape, side, samples, labels)
    facts, encodings = _accuracy(model, x, y), {}
    if int8:
        encodings = _rounded(model)
        facts |= {f"{name} as int8": value for name, value in _accuracy(model, x, y).items()}
    chosen = _chosen(y, len(x))
    outputs = model.predict(x[chosen])
    kernel = _kernel(model)
    if with_optimizer and not trainable:
        raise UsageError("the optimiser's state is for a page that learns: with_optimizer goes with trainable.")
    if trainable and not _ends_with_softmax(model):
        raise UsageError("a page that learns is for a model that tells classes: its last layer is one with softmax.")
    try:
        lists = {"predict": _predicting(model, x[:1])}
        if trainable:
            lists["train"] = _training(model, shape, with_optimizer)
        program = javascript(lists)
    except UsageError as error:
        raise UsageError(f"{_blamed(model, x[:1])}{error}") from error
    packed = {program.at(array): {**encoding, "length": array.size} for array, encoding in encodings.values()}
    at = None if kernel is None else [*program.at(kernel._data), list(kernel.shape)]
    data = {
        "lang": lang,
        "heading": dict.fromkeys(LANGUAGES, title or f"chalkgrad · {model.name}"),
        "texts": {key: dict(zip(LANGUAGES, both, strict=True)) for key, both in (TEXTS | FAULTS).items()},
        "net": program.described(packed),
        "sum": _sum(program),
        "side": side,
        "shape": shape,
        "layers": _names(model),
        "kernel": at,
        "filters": FILTERS,
        "facts": facts,
        "confusion": _confusion(model, x, y),
        "samples": {
            "x": _compact(x[chosen].reshape(len(chosen), -1)), "y": encoded(outputs.reshape(len(chosen), -1)),
            "labels": None if y is None else [int(k) for k in y[chosen]],
        },
        "train": {"batch": BATCH, "steps": STEPS, "onehot": _is_onehot(model)} if trainable else None,
        "softmax": _ends_with_softmax(model),
    }  # fmt: skip
    own = [web_file("deploy", f"{name}.js") for name in ("net", "read")]
    scripts = [web_file("blackboard", "tools.js"), f"const program = {program.text};", *own]
    sections = {"proof": "proof", "work": "reader", "teach": "", "inside": ""}
    return assembled(data, sections, scripts, web_file("deploy", "read.css")), facts


def _side(model: Any, shape: tuple[int, ...]) -> int | None:
    """The side of the square pictures of one colour that a model tells classes of; None where it takes others."""
    side = math.isqrt(math.prod(shape))
    square = side >= SMALLEST and shape in ((side * side,), (side, side), (side, side, 1))
    return side if square and _ends_with_softmax(model) else None


def _ends_with_softmax(model: Any) -> bool:
    return getattr(model.layers[-1], "activation", None) == "softmax" and len(model.output_shapes()[0]) == 1


def _shape(model: Any, samples: Any) -> tuple[int, ...]:
    """Of what the page takes; lengths that the model leaves open are those of the samples."""
    if len(model.inputs_at) != 1 or len(model.outputs_at) != 1:
        raise UsageError(
            "a page is for a model of one input and one output: `chalkgrad export RUN net.onnx` takes any."
        )
    shape, given = tuple(model.shapes[0]), numpy.shape(samples)[1:]
    if None not in shape:
        return shape
    if len(given) != len(shape) or any(n not in (None, m) for n, m in zip(shape, given, strict=True)):
        raise UsageError(
            f"a page takes samples of one shape, and the model leaves {shape} open: give samples= of the shape meant, "
            "as `cg.export(model, 'net.html', samples=x)` does."
        )
    return tuple(given)


def _samples(model: Any, shape: tuple[int, ...], side: int | None, samples: Any, labels: Any) -> tuple[Any, Any]:
    """Samples in the model's dtype, and their classes as integers."""
    if samples is None:
        draw = numpy.random.default_rng(0)
        size = (SAMPLES, *shape)
        samples = draw.integers(0, 256, size) / numpy.float32(255) if side else draw.normal(size=size)
        labels = None
    x = numpy.asarray(samples, "float32")
    if x.shape[1:] != shape:
        if math.prod(x.shape[1:]) != math.prod(shape):
            raise ShapeError(f"the samples, of shape {x.shape}, are not of the model's, {shape}.")
        x = x.reshape(len(x), *shape)
    odd = ~numpy.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if odd.any() or not len(x):
        raise DataError(f"sample {odd.argmax()} has NaN or infinity." if len(x) else "there are no samples.")
    y = None if labels is None else numpy.asarray(labels)
    if y is not None and y.ndim > 1:
        y = y.argmax(axis=-1)
    if y is not None and len(y) != len(x):
        raise ShapeError(f"there are {len(x)} samples and {len(y)} labels.")
    if y is not None and _ends_with_softmax(model):
        classes = model.output_shapes()[0][0]
        wrong = [k for k in numpy.unique(y).tolist() if k not in range(classes)]
        if wrong:
            raise DataError(f"{wrong[0]!r} among the labels is no class of the model: they are 0 … {classes - 1}.")
        y = y.astype("int64")
    return x, y


def _chosen(labels: Any, count: int) -> list[int]:
    """Which samples come with the page: the first of each class, then the first others."""
    firsts = [] if labels is None else [int(k) for k in numpy.unique(labels, return_index=True)[1]]
    return (firsts[:SAMPLES] + [k for k in range(count) if k not in firsts])[: min(SAMPLES, count)]


def _accuracy(model: Any, x: Any, labels: Any) -> dict[str, float]:
    if labels is None or not _ends_with_softmax(model):
        return {}
    return {"accuracy": float((model.predict(x).argmax(axis=-1) == labels).mean())}


def _confusion(model: Any, x: Any, labels: Any) -> Any:
    """Of each class, how many samples are taken for each; None where no labels are known."""
    if labels is None or not _ends_with_softmax(model) or len(x) <= SAMPLES:
        return None
    counts = numpy.zeros([model.output_shapes()[0][0]] * 2, int)
    numpy.add.at(counts, (labels, model.predict(x).argmax(axis=-1)), 1)
    return counts.tolist()


def _rounded(model: Any) -> dict[int, tuple[Any, dict[str, Any]]]:
    """Round the kernels of the model to int8; returns the arrays and what they are written as."""
    found = {}
    for number, w in enumerate(model.weights):
        if len(w.shape) > 1:
            held, encoding = quantised(w.numpy())
            w._data[...] = held
            found[number] = w._data, encoding
    return found


# What is recorded


def _predicting(model: Any, x: Any) -> Recorded:
    """One sample: the output, and what each layer gives, where they stand in a row."""
    in_a_row = isinstance(model, Sequential)

    def predict(x: Tensor) -> list[Tensor]:
        if not in_a_row:
            return [model.forward(x, taped=False)]
        found, values = [], x
        for call in model.calls:
            own = {name: w.detach() for name, w in model.parts[call.part].weights.items()}
            values = call.layer.apply(own, values, training=False, generator=None)
            found.append(values)
        return [values, *found]

    return recorded(predict, Tensor(x))


def _blamed(model: Any, x: Any) -> str:
    """The first layer whose calls have no form, where the layers stand in a row, to begin a sentence with."""
    values = Tensor(x)
    for number, call in enumerate(model.calls if isinstance(model, Sequential) else (), 1):
        own = {name: w.detach() for name, w in model.parts[call.part].weights.items()}
        apply = functools.partial(call.layer.apply, own, training=False, generator=None)
        try:
            javascript({"layer": recorded(apply, values)})
        except UsageError:
            return f"layer {number}, {type(call.layer).__name__}: "
        values = apply(values)
    return ""


def _names(model: Any) -> list[str]:
    return [type(call.layer).__name__ for call in model.calls] if isinstance(model, Sequential) else []


def _training(model: Any, shape: tuple[int, ...], goes_on: bool = False) -> Recorded:
    """A step on a batch: it returns the loss. The weights are what they were, and so is the optimiser where it goes on;
    else it is at its first step.
    """
    if model.loss is None or model.optimizer is None:
        raise UsageError("a page that learns needs the model's loss and optimiser: compile it first.")
    optimizer, classes = copy.copy(model.optimizer), model.output_shapes()[0][-1]
    optimizer.iterations, optimizer.gradient_accumulation_steps = optimizer.updates, None  # a page learns at once
    if not goes_on:
        optimizer.iterations = 0
        optimizer.state.clear()
    elif not optimizer.iterations:
        raise UsageError("the optimiser has taken no step yet: there is no state to go on with.")
    elif optimizer.averaged:
        raise UsageError(
            "the weights are averages (use_ema), and the state is not theirs: with_optimizer cannot go on from them."
        )
    count, kept = optimizer.iterations, {slot: array.copy() for slot, array in optimizer.state.items()}
    generator = numpy.random.default_rng(0)
    before = [w.numpy().copy() for w in model.weights]

    def train(x: Tensor, y: Tensor) -> Tensor:
        loss, _ = measure(model, x, y, training=True, generator=generator)
        loss.backward()
        optimizer.step(model.flat)
        constrain(model)
        for w in model.weights:
            w.grad = None
        return loss.detach()

    x = numpy.zeros((BATCH, *shape), "float32")
    y = numpy.arange(BATCH) % classes
    found = recorded(train, Tensor(x), Tensor(numpy.eye(classes, dtype="float32")[y] if _is_onehot(model) else y))
    for w, value in zip(model.weights, before, strict=True):
        w._data[...] = value
    for slot, array in optimizer.state.items():
        array[...] = kept.get(slot, model.flat.data if slot == AVERAGE else 0)
    optimizer.iterations = count
    return found


def _is_onehot(model: Any) -> bool:
    """Whether the loss takes targets of the outputs' shape rather than integers."""
    return model.loss is not None and model.loss.targets != "labels"


def _kernel(model: Any) -> Any:
    """The first layer's kernel, as a tensor; None where it has none."""
    return next((part.weights["kernel"] for part in model.parts[:2] if "kernel" in part.weights), None)


# What is written


def _sum(program: Program) -> int:
    """The check sum of everything that the page begins with."""
    total = 0
    for m in program.memory.values():
        contents = m.contents
        if contents is None:
            contents = numpy.zeros(m.length, "float64" if m.dtype == "int64" else m.dtype)
        total = zlib.crc32(contents.tobytes(), total)
    return total


def _compact(x: Any) -> dict[str, Any]:
    """The values as bytes over a number where that gives the same, as pictures are, else as float32."""
    for scale in (255, 16):
        levels = numpy.rint(x * scale)
        if ((levels >= 0) & (levels <= 255) & (levels / numpy.float32(scale) == x)).all():
            return {"scale": scale, "b": encoded(levels.astype("uint8"))}
    return {"b": encoded(x)}
