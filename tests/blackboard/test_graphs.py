"""Models that are graphs, explained: a value that is used twice, a model in a model, several inputs and outputs."""

import numpy as np

import chalkgrad as cg
from chalkgrad import Input, Model, Sequential, layers

X, Y = (np.random.default_rng(0).random((3, n)) for n in (4, 2))


def steps(model, *batch):
    model.compile("sgd", "mse")
    made = cg.explain(model, *batch)
    return made, [(s.application.primitive.name, *(o.id for o in s.operands), s.result.id) for s in made.forward]


def test_a_value_that_is_used_twice_has_its_gradient_from_both():
    x = Input((4,))
    h = layers.Dense(4, activation="tanh")(x)
    model = Model(x, layers.Dense(2)(layers.Add()([h, x])), dtype="float64")
    made, forward = steps(model, X, Y)
    assert forward[2:4] == [("add", "h", "a", "v3"), ("affine", "v3", "W2", "b2", "ŷ")]
    arrived = [r.operand.id for r in made.backward]
    assert arrived.count("a") == 2
    assert all(q.gradient is None or np.isfinite(q.gradient).all() for q in made.quantities)


def test_a_model_in_a_model_has_its_layers_letters():
    inner = Sequential([layers.Dense(3)], name="inner")
    _, forward = steps(Sequential([Input((4,)), inner, layers.Dense(2)]), X, Y)
    assert [step[1:] for step in forward[:2]] == [("a", "W1", "b1", "z1"), ("z1", "W2", "b2", "ŷ")]


def test_several_inputs_and_outputs():
    a, b = Input((2,), name="left"), Input((2,), name="right")
    h = layers.Concatenate()([a, b])
    model = Model([a, b], [layers.Dense(2)(h), layers.Dense(1)(h)])
    _, forward = steps(model, [X[:, :2], X[:, 2:]], [Y, Y[:, :1]])
    assert forward[0] == ("concatenate", "left", "right", "v1")
    assert [step[-1] for step in forward[-3:]] == ["v4", "v5", "J"]
