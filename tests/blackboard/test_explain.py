"""An explanation shows the engine's own numbers, every one of them, and says where they do not hold."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.blackboard.citations import code_of
from chalkgrad.blackboard.documented import DOCUMENTED
from chalkgrad.blackboard.explain import explain
from chalkgrad.blackboard.lesson import lesson
from chalkgrad.blackboard.scenes import Matrix
from chalkgrad.blackboard.story import story
from chalkgrad.blackboard.worked import SAMPLE, TARGET, adam_steps, convolution_example, worked_example, worked_model
from chalkgrad.equation.symbols import number_text
from chalkgrad.errors import GraphError, UsageError


def classifier(seed=0, last="softmax", loss="categorical_crossentropy"):
    model = cg.Sequential([layers.Dense(5, "tanh", input_shape=(4,)), layers.Dense(3, last)], seed=seed)
    model.compile("adam", loss)
    model.build()
    return model


def batch(rows=2):
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, 4)).astype("float32"), np.eye(3, dtype="float32")[rng.integers(0, 3, rows)]


def test_the_worked_example_is_the_documented_one():
    explained = worked_example()
    assert [q.id for q in explained.quantities] == ["a", "W1", "b1", "z1", "h", "W2", "b2", "z2", "ŷ", "t", "J"]
    assert {b.operand.id: explained.numbers(b) for b in explained.backward if explained.numbers(b)} == {
        "a": ["D16"], "W1": ["D14"], "b1": ["D15"], "h": ["D13"], "W2": ["D11"], "b2": ["D12"],
    }  # fmt: skip
    assert [explained.numbers(s) for s in explained.forward] == [["D8"], ["D8"], ["D9"], ["D9"], ["D10"]]
    assert explained.numbers(explained.update[0].assignments[0]) == ["D3", "D17"]
    assert explained.agrees
    assert all(len(q.numerical) == q.value.size for q in explained.quantities if q.gradient is not None)


def test_its_numbers_are_the_engines():
    model, (x, y) = worked_model(), map(np.array, (SAMPLE, TARGET))
    a = cg.tensor(x, requires_grad=True)
    loss = cg.mean_squared_error(model(a), y)
    loss.backward()
    explained = worked_example()
    assert explained["J"].value == loss.item()
    for name, weight in zip(("W1", "b1", "W2", "b2"), model.weights, strict=True):
        np.testing.assert_array_equal(explained[name].gradient, weight.grad.numpy())
    np.testing.assert_array_equal(explained["a"].gradient, a.grad.numpy())


def test_the_update_is_the_optimisers():
    for optimizer in ("sgd", "momentum", "adam", "rmsprop", "adamw", cg.optim.Adam(bias_correction=False)):
        model = worked_model()
        model.compile(optimizer, "mse")
        x, y = map(np.array, (SAMPLE, TARGET))
        model.fit(x, y, epochs=3, verbose=0, shuffle=False)
        before = model.get_weights()
        explained = explain(model, x, y)
        for kept, weight in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(kept, weight), "nothing is changed"
        model.fit(x, y, epochs=1, verbose=0, shuffle=False)
        for revision, weight in zip(explained.update, model.get_weights(), strict=True):
            np.testing.assert_array_equal(revision.after, weight)


def test_after_so_many_steps_it_is_as_far_as_the_training():
    model, (x, y) = worked_model(), map(np.array, (SAMPLE, TARGET))
    model.fit(x, y, epochs=7, verbose=0, shuffle=False)
    np.testing.assert_array_equal(worked_example(7)["W1"].value, model.get_weights()[0])


def test_a_value_used_twice_shows_both_terms():
    explained = explain(lambda x: (x * x).sum() + x.sum(), [2.0, 3.0])
    backs = [b for b in explained.backward if b.operand.id == "x"]
    assert [(b.turn, b.turns) for b in backs] == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(sum(b.contribution for b in backs), explained["x"].gradient)
    np.testing.assert_array_equal(backs[-1].total, explained["x"].gradient)


def test_the_terms_of_the_chain_rule_add_up():
    model = classifier()
    for back in explain(model, *batch()).backward:
        total = sum(term.product for term in back.terms())
        assert total == pytest.approx(float(back.contribution[back.operand.place]), rel=1e-4, abs=1e-6)


def test_numbers_by_differences_agree_for_all_kinds_of_layers():
    model = cg.Sequential([
        layers.Conv2D(3, 3, padding="same", activation="relu", input_shape=(6, 6, 1)), layers.MaxPooling2D(),
        layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, "softmax"),
    ])  # fmt: skip
    model.compile("adam", "categorical_crossentropy")
    rng = np.random.default_rng(0)
    model.build()
    state = [w.numpy().copy() for w in model.non_trainable_weights]
    explained = explain(model, rng.random((2, 6, 6, 1)), np.eye(3)[[0, 2]])
    assert explained.agrees
    assert explained.numbers(explained.forward[0]) == ["D2"]
    for kept, weight in zip(state, model.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(kept, weight.numpy()), "moving means stay"


def test_a_wrong_gradient_does_not_agree():
    explained = explain(lambda x: (x.detach() * x).sum(), [2.0])
    assert not explained.agrees
    assert [*story(explained)][-1].blocks[0].text.endswith("x.")


def test_a_gradient_that_is_nothing_but_rounding_is_not_blamed():
    """A bias that batch normalisation takes away again has none; in single precision a little is left."""
    model = cg.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dense(3, "softmax")])
    model.compile("adam", "categorical_crossentropy")
    explained = explain(model, np.random.default_rng(0).normal(size=(4, 5)), np.eye(3)[[0, 2, 1, 0]])
    assert np.abs(explained["b1"].gradient).max() < 1e-6
    assert explained.agrees


def test_a_kink_is_told_and_not_blamed():
    explained = explain(lambda x: cg.relu(x).sum(), [0.0, 1.0])
    assert explained["x"].numerical[0].kink
    assert not explained["x"].numerical[1].kink
    assert explained.agrees


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_documented_number_is_in_the_lesson(lang):
    scenes = list(lesson(lang=lang))
    assert {n for s in scenes for n in s.numbers} >= {d.number for d in DOCUMENTED}


def test_every_matrix_shown_is_an_array_of_the_explanation():
    explained = worked_example()
    known = [q.value for q in explained.quantities] + [b.total for b in explained.backward]
    known += [q.gradient for q in explained.quantities if q.gradient is not None] + [r.after for r in explained.update]
    for scene in story(explained):
        for block in scene.blocks:
            if isinstance(block, Matrix):
                assert any(np.array_equal(block.value, array) for array in known)


def test_every_documented_number_leads_to_code():
    for entry in DOCUMENTED:
        assert code_of(entry.number), entry.number


def test_adam_as_documented_takes_steps_that_are_too_large_at_first():
    for a, b in zip(adam_steps(False), adam_steps(True), strict=True):
        too_large = (1 - 0.9**a.t) / np.sqrt(1 - 0.999**a.t)
        assert a.change / b.change == pytest.approx(too_large, rel=0.15), "the gradients differ a little by then"
    assert adam_steps(False, 1)[0].change / adam_steps(True, 1)[0].change == pytest.approx(
        0.1 / np.sqrt(0.001), rel=1e-4
    )


def test_the_convolution_is_explained_simply():
    step = convolution_example().forward[0]
    assert step.symbols("unicode") == "z[n, i₁, i₂, k] = Σ[a₁, a₂, c] x[n, i₁ + a₁, i₂ + a₂, c]·W[a₁, a₂, c, k] + b[k]"
    assert step.put_in("unicode") == "1·1 + 1·(−0.5) + 1·0.5 + 0·(−1) + 0.1"


class Blend(layers.Layer):
    def make_weights(self, input_shape, generator):
        return {"mix": np.ones(input_shape)}

    def apply(self, weights, x, *, training, generator):
        halved = x * 0.5
        return halved + weights["mix"]


def wave(z):
    turned = cg.sin(z)
    return turned * z


def test_so_are_the_layers_and_activations_of_the_readers_own():
    model = cg.Sequential([Blend(input_shape=(3,)), layers.Dense(2, wave), layers.Dense(1)])
    model.compile("sgd", "mse")
    explained = explain(model, np.ones((2, 3)), np.ones((2, 1)))
    assert {"halved", "turned", "mix1", "W2", "z2", "W3"} <= {q.id for q in explained.quantities}


def test_parameters_are_the_numbers_that_they_are():
    pool, convolution = layers.MaxPooling2D(2), layers.Conv2D(1, 2, padding="same", input_shape=(4, 4, 1))
    model = cg.Sequential([convolution, pool, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    explained = explain(model, np.ones((1, 4, 4, 1)), [[1.0]])
    assert "i₁·2 + a₁, i₂·2 + a₂" in explained.forward[1].symbols("unicode")
    assert explained.forward[0].settings() == {"padding": ((0, 1), (0, 1))}
    assert "padding = ((0, 1), (0, 1))" in [getattr(b, "text", "") for s in story(explained) for b in s.blocks]
    assert [s.result.layer for s in explained.forward[:-1]] == [layer.name for layer in model.layers]


def test_what_is_not_finite_is_shown_where_it_first_arises():
    explained = explain(lambda x: (cg.log(x) * 2).sum(), [1.0, 0.0])
    quantity, place = explained.not_finite
    assert (quantity.id, place) == ("v1", (1,))
    told = next(iter(story(explained))).blocks[-1].text
    assert "v₁ is not finite: at [1] it is −∞" in told


def test_constants_and_numbers_have_names():
    explained = explain(lambda x: (x * np.array([2.0, 3.0]) + 1).sum(), [1.0, 1.0])
    assert explained.forward[0].symbols("unicode") == "v₁ = x·c"
    assert explained.forward[1].symbols("unicode") == "v₂ = v₁ + 1"


def test_what_lies_between_is_called_as_the_code_calls_it():
    shift = np.array([0.5, 1.0])

    def loss(x):
        y = x * shift
        y = cg.tanh(y) + cg.Tensor(np.ones(2), name="offset")
        return (y * y).sum()

    explained = explain(loss, [1.0, 2.0])
    assert [s.symbols("unicode") for s in explained.forward] == [
        "y = x·shift", "v₂ = tanh(y)", "y₂ = v₂ + offset", "v₄ = y₂·y₂", "J = Σⱼ v₄[j]",
    ]  # fmt: skip


def test_ten_thousand_steps_are_told_quickly():
    def long(x):
        for _ in range(5_000):
            x = x * 1.0001 + 0.0001
        return x.sum()

    explained = explain(long, np.ones(3))
    assert len(explained.forward) == 10_001
    assert len(list(story(explained))) < 500


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: explain(lambda x: x.detach().sum(), [1.0]), GraphError, "no gradients"),
        (lambda: explain(lambda x: x * 2, [1.0, 2.0]), UsageError, "tensor of one number"),
        (lambda: explain(lambda x: 3.0, [1.0]), UsageError, "returned float"),
        (lambda: explain(7), UsageError, "takes a model or a function"),
        (lambda: explain(classifier(), batch()[0]), UsageError, "a batch and its targets"),
        (lambda: explain(cg.Sequential([layers.Dense(1)]), [[1.0]], [[1.0]]), UsageError, "before compile"),
        (lambda: worked_example(-1), UsageError, "0 or more"),
        (lambda: list(lesson(lang="de")), UsageError, "unknown language"),
    ],
)
def test_what_cannot_be_explained_says_why(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_numbers_are_printed_as_they_are():
    explained = worked_example()
    for step in explained.forward:
        shown = number_text(step.result.value[step.result.place], 17).replace("−", "-")
        assert float(shown) == step.result.value[step.result.place]


def test_a_fused_loss_shows_what_the_network_predicts():
    model = cg.Sequential([cg.layers.Dense(3, "softmax", input_shape=(2,))], dtype="float64")
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    x, y = np.array([[1.0, -2.0], [0.5, 3.0]]), np.eye(3)[[0, 2]]
    explanation = explain(model, x, y)
    assert [step.primitive.name for step in explanation.forward] == ["affine", "softmax", "categorical_cross_entropy"]
    shown = explanation.forward[1].result
    assert (str(shown.symbol), shown.gradient) == ("ŷ", None)
    np.testing.assert_array_equal(shown.value, model.predict(x))
