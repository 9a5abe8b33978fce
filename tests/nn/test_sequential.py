"""Sequential: building, names, summary, compiling, weights."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential
from chalkgrad.engine import backend
from chalkgrad.errors import DtypeError, ShapeError, UsageError
from chalkgrad.nn.layers import Activation, Dense, Dropout, Flatten

# Building


def test_layers_learn_their_shapes_from_the_first_batch():
    model = Sequential([Flatten(), Dense(5, "relu"), Dropout(0.1), Dense(2)])
    assert not model.built
    assert model(np.ones((3, 4, 4), "float32")).shape == (3, 2)
    assert model.shapes == [(4, 4), (16,), (5,), (5,), (2,)]
    assert model.output_shape == (None, 2)
    assert model.count_params() == 16 * 5 + 5 + 5 * 2 + 2


def test_building_twice_keeps_the_weights(same):
    model = Sequential([Dense(3, input_shape=(4,))])
    model.build()
    before = model.get_weights()
    model.build((4,))
    same(model.get_weights(), before)


def test_add_is_as_good_as_the_list(same):
    listed, added = Sequential([Dense(3, input_shape=(4,)), Dense(2)]), Sequential()
    added.add(Dense(3, input_shape=(4,)))
    added.add(Dense(2))
    listed.build()
    added.build()
    same(listed.get_weights(), added.get_weights())


def test_names_are_unique():
    model = Sequential([Dense(3), Dense(3), Flatten(), Dense(3), Dense(3, name="mine"), Dense(3, name="mine")])
    names = [layer.name for layer in model.layers]
    assert names == ["dense", "dense_1", "flatten", "dense_2", "mine", "mine_1"]


def test_a_name_that_another_layer_would_get_is_not_given_twice():
    model = Sequential([Dense(3, name="dense_1"), Dense(3), Dense(3), Dense(3)])
    assert len({layer.name for layer in model.layers}) == 4


def test_weights_are_named_after_their_layer():
    model = Sequential([Dense(3, input_shape=(4,)), Dense(3)])
    model.build()
    assert [w.name for w in model.weights] == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]


def test_what_is_no_layer():
    with pytest.raises(UsageError, match="layers, not of str"):
        Sequential(["relu"])


def test_a_layer_twice():
    layer = Dense(3)
    with pytest.raises(UsageError, match="'dense' is in the model already"):
        Sequential([layer, layer])


def test_adding_to_a_built_model_keeps_its_weights(same):
    model = Sequential([Dense(3, input_shape=(4,))])
    before = model.get_weights()
    model.add(Dense(2))
    assert model.output_shape == (None, 2)
    same(model.get_weights()[:2], before)
    x = np.ones((20, 4), "float32")
    assert model.predict(x).shape == model.predict(x).shape == (20, 2)
    assert model.pop().name == "dense_1"
    same(model.get_weights(), before)
    same(model.predict(x), model(x))


def test_no_layers():
    with pytest.raises(UsageError, match="no layers"):
        Sequential().build()


@pytest.mark.parametrize("what", ["evaluate", "predict", "save", "load_weights"])
def test_nothing_to_use_before_build(what, tmp_path):
    model = Sequential([Dense(3)])
    model.compile("adam", "mse")
    arguments = {"evaluate": (np.ones((2, 4)), np.ones((2, 3))), "predict": (np.ones((2, 4)),)}
    with pytest.raises(UsageError, match=f"{what} before build"):
        getattr(model, what)(*arguments.get(what, (tmp_path / "model",)))
    assert not model.built


@pytest.mark.parametrize("what", ["build", "summary", "count_params"])
def test_no_input_shape(what):
    with pytest.raises(UsageError, match="give input_shape= to the first layer"):
        getattr(Sequential([Dense(3)]), what)()


def test_flat_needs_weights():
    with pytest.raises(UsageError, match="no weights"):
        _ = Sequential([Flatten(input_shape=(2, 2))]).flat


def test_samples_of_another_shape_than_promised():
    model = Sequential([Dense(3, input_shape=(4,))])
    with pytest.raises(ShapeError, match=r"\(5,\).*\(4,\)"):
        model.build((5,))


@pytest.mark.parametrize("built", [False, True])
def test_batches_of_another_shape_are_refused_by_both_shapes(built):
    model = Sequential([Dense(3, input_shape=(4,))])
    if built:
        model.build()
    for use in (model, model.predict):
        with pytest.raises(ShapeError, match=r"4.*5|5.*4"):
            use(np.ones((2, 5), "float32"))


def test_samples_that_are_single_numbers():
    model = Sequential([Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ShapeError, match="Reshape them to"):
        model.fit(np.ones(5), np.ones((5, 1)), verbose=0)


def test_a_layer_in_two_models_learns_or_is_refused():
    layer = Dense(1)
    first = Sequential([layer])
    first.build((2,))
    try:
        Sequential([layer]).build((2,))
    except UsageError:
        return
    before = first.get_weights()
    first.compile("adam", "mse")
    first.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert not np.array_equal(first.get_weights()[0], before[0])


def test_float64_through_and_through():
    model = Sequential([Dense(3, "tanh", input_shape=(4,)), Dense(2)], dtype="float64")
    model.compile("adam", "mse")
    model.fit(np.ones((5, 4), "float32"), np.ones((5, 2), "float32"), verbose=0)
    assert {w.dtype.name for w in model.weights} == {"float64"}
    assert model.predict(np.ones((1, 4), "float32")).dtype == "float64"
    assert model.optimizer.state["s"].dtype == "float64"


def test_float32_is_the_default():
    model = Sequential([Dense(2, input_shape=(4,))])
    assert model.predict(np.ones((3, 4), "float64")).dtype == "float32"


def test_a_call_computes_in_the_models_dtype():
    assert Sequential([Dense(2, input_shape=(4,))])(np.ones((3, 4), "float64")).dtype == "float32"


def test_a_call_is_recorded_and_predict_is_not():
    model = Sequential([Dense(2, "relu", input_shape=(4,))], dtype="float64")
    x = np.random.default_rng(0).standard_normal((3, 4))
    y = model(x)
    np.testing.assert_array_equal(y, model.predict(x))
    (y * y).sum().backward()
    assert all(w.grad is not None for w in model.weights)


def test_the_whole_model_against_numpy():
    rng = np.random.default_rng(1)
    model = Sequential([Dense(5, "relu", input_shape=(4,)), Dense(3), Activation("softmax")], dtype="float64")
    model.build()
    model.set_weights([rng.standard_normal(w.shape) for w in model.weights])
    w1, b1, w2, b2 = model.get_weights()
    x = rng.standard_normal((600, 4))
    e = np.exp(np.maximum(x @ w1 + b1, 0) @ w2 + b2)
    for batch_size in (None, 1000, 7):
        np.testing.assert_allclose(model.predict(x, batch_size=batch_size), e / e.sum(axis=1, keepdims=True))


# The summary


def test_the_summary_counts_as_keras_does():
    model = Sequential([Dense(128, "relu", input_shape=(784,)), Dense(10, "softmax")], name="documented")
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for part in ("documented", "dense (Dense)", "(None, 128)", "100,480", "(None, 10)", "1,290", "101,770", "float32"):
        assert part in text
    assert model.count_params() == 101_770


def test_the_summary_is_printed(capsys):
    Sequential([Flatten(input_shape=(2, 3))]).summary()
    assert "(None, 6)" in capsys.readouterr().out


# Compiling


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimizer": "adan", "loss": "mse"}, "unknown optimizer 'adan': did you mean 'adam'"),
        ({"loss": "msee"}, "unknown loss 'msee': did you mean 'mse'"),
        ({"loss": "mse", "metrics": ["acuracy"]}, "unknown metric 'acuracy': did you mean 'accuracy'"),
        ({"loss": "mse", "metrics": ["accuracy"]}, "accuracy has no meaning under the loss 'mean_squared_error'"),
        ({"loss": "mse", "metrics": "accuracy"}, r"metrics is a list: metrics=\['accuracy'\]"),
        ({}, "compile needs a loss"),
    ],
)
def test_compile_refuses(options, named):
    with pytest.raises(UsageError, match=named):
        Sequential([Dense(3, input_shape=(4,))]).compile(**options)


@pytest.mark.parametrize("last", [[Dense(3, "softmax")], [Dense(3), Activation("softmax")]])
def test_softmax_twice(last):
    model = Sequential(last)
    with pytest.raises(UsageError, match="softmax would be taken twice"):
        model.compile("adam", cg.losses.CategoricalCrossentropy(from_logits=True))


def test_softmax_twice_is_noticed_where_the_layer_is_added_later():
    model = Sequential()
    model.compile("adam", cg.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.add(Dense(3, "softmax"))
    with pytest.raises(UsageError, match="softmax would be taken twice"):
        model.fit(np.ones((2, 4)), np.zeros(2, int), verbose=0)


def test_sigmoid_twice():
    with pytest.raises(UsageError, match="sigmoid would be taken twice"):
        Sequential([Dense(1, "sigmoid")]).compile("adam", cg.losses.BinaryCrossentropy(from_logits=True))


@pytest.mark.parametrize("what", ["fit", "evaluate"])
def test_nothing_to_train_before_compile(what):
    with pytest.raises(UsageError, match=f"{what} before compile"):
        getattr(Sequential([Dense(3, input_shape=(4,))]), what)(np.ones((2, 4)), np.ones((2, 3)))


# Weights


def test_weights_go_out_and_in(same):
    model = Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    model.build()
    values = [np.random.default_rng(0).standard_normal(w.shape).astype("float32") for w in model.weights]
    model.set_weights(values)
    same(model.get_weights(), values)
    model.get_weights()[0][...] = 0
    same(model.get_weights(), values)


@pytest.mark.parametrize("shapes", [[(4, 3)], [(4, 3), (4,)], [(3, 4), (3,)], []])
def test_weights_of_other_shapes_change_nothing(shapes, same):
    model = Sequential([Dense(3, input_shape=(4,))])
    model.build()
    before = model.get_weights()
    with pytest.raises(ShapeError, match=r"\(4, 3\), \(3,\)"):
        model.set_weights([np.zeros(shape) for shape in shapes])
    same(model.get_weights(), before)


def views_of_one_buffer(model):
    addresses = [backend.address_of(w._data) for w in model.weights]
    ends = [address + w.numpy().nbytes for address, w in zip(addresses, model.weights, strict=True)]
    inside = all(backend.overlap(w._data, model.flat.data) for w in model.weights)
    return inside and addresses[1:] == ends[:-1] and model.flat.data.size == model.count_params()


def test_weights_are_views_of_one_buffer_throughout(tmp_path, classifier, points):
    x, _, y = points
    model = classifier()
    model.build()
    assert views_of_one_buffer(model)
    model.fit(x, y, verbose=0)
    assert views_of_one_buffer(model)
    model.set_weights(model.get_weights())
    assert views_of_one_buffer(model)
    model.save(tmp_path / "model")
    again = Sequential.load(tmp_path / "model")
    assert views_of_one_buffer(again)
    again.fit(x, y, verbose=0)
    assert views_of_one_buffer(again)


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("dtype", "float64"), ("device", "gpu")])
def test_what_the_weights_were_made_with_is_fixed(name, value):
    model = Sequential([Dense(2, input_shape=(3,))])
    model.build()
    with pytest.raises(UsageError, match=rf"model\.{name} = .*Make a new Sequential"):
        setattr(model, name, value)
    assert getattr(model, name) != value


@pytest.mark.parametrize("dtype", ["int32", "complex64", "float31", "O"])
def test_a_model_computes_in_a_floating_dtype(dtype):
    with pytest.raises(DtypeError, match="a model computes in float16, float32 or float64"):
        Sequential([], dtype=dtype)


def test_many_layers_of_one_name_are_told_apart_in_linear_time():
    model = Sequential([cg.layers.Rescaling(1.0) for _ in range(3000)])
    assert [layer.name for layer in model.layers[::1000]] == ["rescaling", "rescaling_1000", "rescaling_2000"]
