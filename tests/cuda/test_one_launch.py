"""Many steps in one launch: the kernel, written from a recorded step, executed on the CPU, and held to the list."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from building import Launch, Library, build
from programs import number_orderings, run_program
from tools import compiled, needs_gxx, needs_nvcc

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.replay.one_launch.division import shape_of
from chalkgrad.replay.one_launch.phases import Step
from chalkgrad.replay.one_launch.text import NAME, Text
from chalkgrad.replay.parts import Unfit
from chalkgrad.replay.splitting import split
from chalkgrad.replay.steps_ahead import Ahead

pytestmark = needs_gxx
STEPS = 5


class Kept(cg.callbacks.Callback):
    """Keeps the program of the model's step."""

    def on_epoch_end(self, epoch, logs):
        (recording,) = self.model.recorded_steps[0].recordings.values()
        self.program = recording.program


@dataclass
class Case:
    """A launch; `expected`: what each array that it changes is by the list."""

    text: Text
    launch: Launch
    expected: list

    def compare(self):
        for array, wanted in self.expected:
            scale, small = max(np.abs(wanted).max(), 1e-3), 2e-5 if self.text.step.real == "float" else 1e-12
            np.testing.assert_allclose(array, wanted, rtol=0, atol=scale * small)

    @property
    def options(self):
        return [f"-DREAL={self.text.step.real}"]

    @functools.cached_property
    def source(self):
        return self.text.source


def listed(
    hidden=(9,),
    batch=10,
    inputs=21,
    loss="sparse_categorical_crossentropy",
    optimizer="adam",
    dtype="float32",
    u8=False,
    **net,
):
    """The list of a step, its inputs, and what they are: samples, and the places of some batches."""
    rng, activation = np.random.default_rng(2), net.pop("activation", "relu")
    x = (
        rng.integers(0, 256, (10 * batch, inputs)).astype("uint8")
        if u8
        else rng.random((10 * batch, inputs)).astype(dtype)
    )
    y = rng.integers(0, 5, len(x)) if "sparse" in loss else np.eye(5, dtype=dtype)[rng.integers(0, 5, len(x))]
    stack = [layers.Rescaling(1 / 255)] * u8
    for width in hidden:
        stack += [layers.Dense(width, activation, **net), layers.Dropout(0.25)]
    model = cg.Sequential([*stack, layers.Dense(5, "softmax")], seed=1, dtype=dtype)
    model.compile(
        optimizer() if callable(optimizer) else optimizer,
        loss,
        ["mean_squared_error"] if "sparse" not in loss else ["accuracy"],
        jit_compile=False,
    )
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0, callbacks=[kept := Kept()])
    order = rng.integers(0, len(x), (STEPS, batch))
    return kept.program, [x, y], order


def step_of(program):
    return Step(split(program._listed, program.inputs, whole=True))


def case(blocks=4, threads=64, **net):
    """What some steps of a net give in one launch, and by the list."""
    program, samples, order = listed(**net)
    step = step_of(program)
    parts = step.parts
    text = Text(step, shape_of(step, blocks, lambda shape: True, threads))
    flats, kept = ([v.array.copy() for v in own] for own in (parts.flats, parts.kept))
    ahead = Ahead(parts, STEPS)
    numbers, drawn = ahead.numbers.copy(), [array.copy() for array in ahead.drawn]
    ahead.undo()
    for places in order:
        program(*samples, places)
    expected = [(mine, v.array.copy()) for mine, v in zip(flats + kept, (*parts.flats, *parts.kept), strict=True)]
    room, count = np.zeros(text.memory.room, "uint8"), np.zeros(1, "uint32")
    values = [
        *samples,
        order,
        numbers,
        *drawn,
        *[v.array for v in text.memory.given],
        *flats,
        *kept,
        room,
        count,
        np.int32(STEPS),
    ]
    launch = Launch(NAME, (text.shape.blocks,), (threads,), values, text.memory.shared, at_once=True)
    return Case(text, launch, expected)


NETS = {
    "one hidden": {},
    "none": {"hidden": ()},
    "three, tanh, wide": {"hidden": (40, 7, 33), "activation": "tanh"},
    "bytes": {"u8": True, "batch": 7},
    "few inputs": {"inputs": 2, "hidden": (64,), "activation": "gelu"},
    "double": {"dtype": "float64", "batch": 33},
    "no bias": {"use_bias": False, "activation": "sigmoid"},
    "mean of squares": {"loss": "mse", "batch": 16},
    "one-hot": {"loss": "categorical_crossentropy", "optimizer": "rmsprop"},
    "momentum": {"optimizer": "momentum"},
    "descent": {"optimizer": "sgd", "batch": 70},
    "as documented": {"optimizer": lambda: cg.optimizers.Adam(bias_correction=False)},
    "decay": {"optimizer": "adamw"},
}


def run(made, text=None):
    Library(build(text or made.source, made.options)).run(made.launch)
    made.compare()


@pytest.mark.parametrize("net", ["three, tanh, wide", "bytes"])
def test_steps(net):
    run(case(**NETS[net]))


@pytest.mark.deep
@pytest.mark.parametrize(("blocks", "threads"), [(1, 32), (4, 64), (7, 128), (30, 32)])
@pytest.mark.parametrize("net", NETS)
def test_steps_of_any_net(net, blocks, threads):
    run(case(blocks, threads, **NETS[net]))


def test_what_is_caught_is_there():
    made = case(**NETS["bytes"])
    assert made.text.shape.blocks == 4
    assert made.source.count("meet(count, ++met") == 2
    with pytest.raises(AssertionError):
        run(made, made.source.replace("meet(count, ++met * 4u);", "__syncthreads();", 1))


@pytest.mark.parametrize(
    ("net", "why"),
    [
        ({"kernel_regularizer": "l2"}, "all weights at once"),
        ({"optimizer": cg.optimizers.Adam(global_clipnorm=1.0)}, "all weights at once"),
        ({"kernel_constraint": "max_norm"}, "no rule|no place"),
    ],
)
def test_what_is_not_done_so(net, why):
    with pytest.raises(Unfit, match=why):
        step_of(listed(**net)[0])


def test_what_does_not_fit():
    with pytest.raises(Unfit, match="do not fit the shared memory"):
        shape_of(step_of(listed()[0]), 4, lambda shape: False)


SANITIZED = {"bytes": 2, "three, tanh, wide": 3}


def reported(net, sanitize, change=lambda text: text, leave_out=None):
    made = case(SANITIZED[net], 32, **{**NETS[net], "batch": 5})
    text = number_orderings(change(made.source))[0]
    return run_program(build(text, made.options, sanitize=sanitize), text, [made.launch], leave_out)


@pytest.mark.deep
@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
@pytest.mark.parametrize("net", SANITIZED)
def test_no_step_outside_and_no_race(net, sanitize):
    assert reported(net, sanitize) == ""


@pytest.mark.deep
@pytest.mark.parametrize("number", [0, 1])
def test_a_meeting_left_out_is_a_race(number):
    meetings = ["meet(count, ++met * "] * 2

    def without(text):
        head, *rest = text.split(meetings[0])
        rest[number] = rest[number].partition(";")[2]
        return head + "".join(
            (meetings[0] if n != number else "__syncthreads();") + part for n, part in enumerate(rest)
        )

    assert "data race" in reported("bytes", "thread", without)


@pytest.mark.deep
@needs_nvcc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("u8", [False, True])
def test_the_documented_net_compiles_and_spills_nothing(u8, architecture, tmp_path):
    program, _, _ = listed(hidden=(128,), batch=128, inputs=784, u8=u8)
    step = step_of(program)
    text = Text(step, shape_of(step, 132, lambda shape: True))
    assert (text.shape.blocks, text.shape.depth, text.shape.columns) == (128, 49, 16)
    assert text.memory.shared < 163_840
    (tmp_path / "steps.cu").write_text(text.source)
    made = compiled(tmp_path / "steps.cu", tmp_path, architecture, [])
    assert isinstance(made, bytes), made
