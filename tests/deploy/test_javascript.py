"""Array calls as JavaScript: in Node they give what they give in Python."""

import functools
import json
import shutil
import subprocess
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.deploy.javascript import Writer, javascript
from chalkgrad.deploy.typed_arrays import Program, quantised
from chalkgrad.engine.primitive import registry
from chalkgrad.engine.tensor import Tensor
from chalkgrad.errors import UsageError
from chalkgrad.nn.measuring import measure
from chalkgrad.nn.training import Measured
from chalkgrad.proof.cases import draw, examples
from chalkgrad.replay.recorded import recorded

NODE = shutil.which("node")


def in_node(calls):
    """What the programs give: for each, its text and description, the list's name and the inputs."""
    text = (resources.files("chalkgrad.deploy") / "web" / "net.js").read_text("utf-8")
    for program, name, inputs in calls:
        given = ", ".join(f"Float64Array.from({np.asarray(x, float).reshape(-1).tolist()})" for x in inputs)
        net = f"(await chalkNet({program.text}, {json.dumps(program.described())}))"
        text += f"\nconsole.log(JSON.stringify({net}.run({name!r}, {given}).map((a) => Array.from(a, String))));"
    said = subprocess.run([NODE, "--input-type=module", "-"], input=text, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return [
        [np.array([number.replace("Infinity", "inf") for number in a], float) for a in json.loads(line)]
        for line in said.stdout.splitlines()
    ]


class SelfAttention(layers.Layer):
    """A sequence that attends to itself."""

    def __init__(self):
        super().__init__()
        self.heads = layers.MultiHeadAttention(2, 3)

    def call(self, x):
        return x + self.heads(x, x)


MODELS = {
    "dense": ((12,), [layers.Dense(9, activation="relu"), layers.Dense(5, activation="softmax")]),
    "convolution": ((8, 8, 2), [
        layers.Conv2D(4, 3, padding="same", activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
        layers.Conv2D(3, 3, strides=2), layers.AveragePooling2D(1), layers.Flatten(), layers.Dense(3),
    ]),
    "others": ((6,), [
        layers.Dense(8, activation="gelu"), layers.LayerNormalization(), layers.Dense(4, activation="elu"),
        layers.Dense(3, activation="sigmoid"),
    ]),
    "recurrent": ((5, 3), [
        layers.Masking(), layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.GRU(3, return_sequences=True), layers.SimpleRNN(2),
    ]),
    "attention": ((5, 4), [layers.LayerNormalization(), SelfAttention(), layers.Dense(2)]),
}  # fmt: skip


@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_models_give_what_they_give_in_python():
    calls, wanted = [], []
    for shape, stack in MODELS.values():
        model = cg.Sequential([layers.Input(shape), *stack])
        x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
        wanted.append(model.predict(x))
        calls.append((javascript({"predict": recorded(Measured(model).applied, Tensor(x))}), "predict", [x]))
    for (found,), expected in zip(in_node(calls), wanted, strict=True):
        np.testing.assert_allclose(found, np.asarray(expected).reshape(-1), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_gradients_through_time_are_those_of_python():
    model = cg.Sequential([layers.Input((4, 3)), layers.LSTM(3, return_sequences=True), layers.GRU(2)])
    model.compile("sgd", "mse")
    model.build()
    x, y = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32"), Tensor(np.zeros((2, 2), "float32"))

    def slopes(x):
        measure(model, x, y, training=True, generator=None)[0].backward()
        found = [w.grad.detach() for w in model.weights]
        for w in model.weights:
            w.grad = None
        return found

    (found,) = in_node([(javascript({"slopes": recorded(slopes, Tensor(x))}), "slopes", [x])])
    for mine, theirs in zip(slopes(Tensor(x)), found, strict=True):
        np.testing.assert_allclose(theirs, mine.numpy().reshape(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_single_operations_give_the_bits_of_numpy():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")

    def f(t):
        return cg.sqrt(abs(t * 1.1 + t / 3.3 - t * t)), cg.maximum(t, 0.1).T.reshape((4, 3))

    ours = [y.numpy() for y in f(Tensor(x))]
    (found,) = in_node([(javascript({"f": recorded(f, Tensor(x))}), "f", [x])])
    for mine, theirs in zip(ours, found, strict=True):
        np.testing.assert_array_equal(mine.reshape(-1), theirs.astype("float32"))


def test_memory_serves_again_and_alike_calls_are_one_function():
    def f(x):
        for _ in range(20):
            x = cg.tanh(x) * x
        return x

    program = javascript({"f": recorded(f, Tensor(np.ones((2, 5), "float32")))})
    assert len(program.memory) <= 5
    assert program.text.count("Math.tanh") == 1


def test_what_has_no_form_is_named():
    def f(x):
        return cg.det(x)

    with pytest.raises(UsageError, match="det"):
        javascript({"f": recorded(f, Tensor(np.eye(3, dtype="float32")))})


@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_what_is_written_through_an_index_stands_where_numpy_has_it():
    def f(x):
        y = x * 2
        y[[1, 3]] = 7.0
        y[:, [2, 0]] = x[:, :2]
        y[0, 1:] = 5.0
        return y

    x = Tensor(np.arange(12, dtype="float32").reshape(4, 3))
    ((found,),) = in_node([(javascript({"f": recorded(f, x)}), "f", [x.numpy()])])
    np.testing.assert_array_equal(found, f(x).numpy().reshape(-1))


def slopes_of(primitive, parameters, operands):
    """The gradients of the sum of squares of what it gives; nothing where it has none."""
    xs = [x.detach() for x in operands]
    for position, x in enumerate(xs):
        x.requires_grad = x.dtype.kind == "f" and primitive.operand(position) in primitive.rules
    y = primitive.compute(xs, parameters)
    if y.requires_grad:
        (y * y).sum().backward()
    return [x.grad.detach() for x in xs if x.grad is not None]


def check_primitives(function):
    """What the function of each primitive, its parameters and operands gives in Node and in Python."""
    calls, wanted, without = [], [], {}
    for primitive in registry.values():
        for example in examples(primitive):
            drawn = draw(primitive, example)
            xs = [Tensor(x.astype("float32") if x.dtype.kind == "f" else x) for x in drawn]
            of = functools.partial(function, primitive, example.parameters)
            with np.errstate(all="ignore"):
                values = [y.numpy() for y in of(xs)]
                try:
                    program = javascript({"f": recorded(lambda *xs, of=of: of(xs), *xs)})
                except UsageError as error:
                    without[primitive.name] = str(error)
                    continue
            calls.append((program, "f", [x.numpy() for x in xs]))
            wanted.append((primitive.name, example, values))
    assert all("linalg." in fault for fault in without.values()), without  # what needs LAPACK has no form
    for found, (name, example, values) in zip(in_node(calls), wanted, strict=True):
        for mine, theirs in zip(values, found, strict=True):
            most = np.abs(mine[np.isfinite(mine)]).max(initial=1)
            np.testing.assert_allclose(theirs, mine.reshape(-1), 1e-4, 1e-5 * most, err_msg=f"{name} {example}")


@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_every_primitive_gives_what_it_gives_in_python():
    check_primitives(lambda primitive, parameters, xs: [primitive.compute(xs, parameters)])


@pytest.mark.deep
@pytest.mark.skipif(not NODE, reason="Node runs JavaScript without a browser: apt-get install nodejs")
def test_every_gradient_is_what_it_is_in_python():
    check_primitives(slopes_of)


def test_int8_keeps_the_largest_of_each_channel():
    w = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    held, encoding = quantised(w)
    scale = np.abs(w).max(axis=0)
    np.testing.assert_allclose(np.abs(held).max(axis=0), scale, rtol=1e-6)
    assert (np.abs(held - w) <= scale / 127 * 0.5001).all()
    assert len(encoding["q"]) < w.nbytes / 2


def test_windows_own_no_memory_behind_their_array():
    strided = np.lib.stride_tricks.as_strided
    x, y = sorted((np.ones(100, "float32") for _ in range(2)), key=lambda a: a.ctypes.data)
    apart = (y.ctypes.data - x.ctypes.data) // 4
    wide, hidden = strided(x, (apart + 100,), (0,)), strided(y, (90, 11), (4, 4))
    assert x.ctypes.data + wide.nbytes > hidden.ctypes.data  # by its shape it would reach there
    traced = [SimpleNamespace(array=array) for array in (x, wide, y, hidden)]
    writer = Writer(Program(), "list", SimpleNamespace(trace=SimpleNamespace(traced=traced)))
    assert writer.owner(wide) is x
    assert writer.owner(hidden) is y
