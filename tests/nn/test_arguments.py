"""What a layer is given: what each takes, what is refused by name, and what may be set later."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.engine.absent import KERAS
from chalkgrad.nn.layers import LAYERS, Layer, make_layer

GIVEN = {
    "Dense": {"units": 3},
    "Activation": {"activation": "relu"},
    "Dropout": {"rate": 0.5},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 3},
    "Rescaling": {"scale": 0.5},
    "Reshape": {"target_shape": (-1,)},
    "Conv1D": {"filters": 2, "kernel_size": 2},
    "Conv2D": {"filters": 2, "kernel_size": 2},
    "Conv2DTranspose": {"filters": 2, "kernel_size": 2},
    "DepthwiseConv2D": {"kernel_size": 2},
    "Dot": {"axes": 1},
    "Operation": {"operation": "add", "operands": [None, 1.0]},
    "Operators": {"nodes": [["MatMul", ["x", "w"], ["y"], {}]], "inputs": [["x", [4, 4, 2], "float32"]],
                  "outputs": [["y", [4, 4, 3]]], "learned": {"w": [2, 3]}, "kept": {}, "constants": {}},
    "Permute": {"dims": (2, 1)},
    "RepeatVector": {"n": 2},
    "Embedding": {"input_dim": 5, "output_dim": 2},
    "GaussianNoise": {"stddev": 0.5},
    "GroupNormalization": {"groups": 2},
    "SpatialDropout1D": {"rate": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "SimpleRNN": {"units": 3},
    "Lambda": {"function": cg.exp},
    "RandomRotation": {"factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "TimeDistributed": {"layer": layers.Flatten()},
    "Bidirectional": {"layer": layers.GRU(3)},
    "LSTM": {"units": 3},
    "GRU": {"units": 3},
}  # fmt: skip
SHAPES = {
    "RepeatVector": (2,),
    **dict.fromkeys(("Permute", "SimpleRNN", "LSTM", "GRU", "Bidirectional", "MultiHeadAttention"), (4, 2)),
}
OURS = [name for name, kind in LAYERS.items() if kind.__module__.startswith("chalkgrad.nn.")]


def made(name, **options):
    return getattr(layers, name)(**GIVEN.get(name, {}), **options)


def built(name):
    layer = made(name)
    shape = SHAPES.get(name, (4, 2) if "1D" in name else (4, 4, 2))
    count = layer.count or 3 if layer.takes_several else 0
    layer.build([shape] * count if count else shape, np.random.default_rng(0))
    return layer


@pytest.mark.parametrize("name", OURS)
def test_each_layer_may_be_made_frozen(name):
    assert [made(name, trainable=value).trainable for value in (True, False)] == [True, False]


@pytest.mark.parametrize("name", OURS)
def test_arguments_without_a_counterpart_are_refused_with_the_way_out(name):
    for argument in ("lora_rank", "quantization_config", "dtype", "synchronized"):
        with pytest.raises(cg.ChalkgradError, match=rf"{name}\({argument}=…\).*{KERAS[argument][1][:20]}"):
            made(name, **{argument: "l2"})
        made(name, **{argument: None})
        with pytest.raises(cg.ChalkgradError, match=f"no attribute '{argument}'"):
            setattr(made(name), argument, "l2")


@pytest.mark.parametrize("name", OURS)
def test_an_unknown_argument_names_the_nearest(name):
    with pytest.raises(cg.ChalkgradError, match=rf"{name}\(\) got an unexpected .* did you mean 'trainable'"):
        made(name, trainible=True)


def test_a_missing_argument_is_an_error_of_ours():
    with pytest.raises(cg.ChalkgradError, match=r"Dense\(units, activation.*missing .*'units'"):
        layers.Dense()


@pytest.mark.parametrize("name", OURS)
def test_what_fixes_the_weights_is_fixed_once_they_are_there(name):
    layer = built(name)
    for key in type(layer).config_names:
        value = getattr(layer, key)
        if key in type(layer).free_names or key == "activation":
            setattr(layer, key, value)
        else:
            with pytest.raises(cg.ChalkgradError, match=f"{key} is fixed"):
                setattr(layer, key, value)
    for key in layer.variables:
        with pytest.raises(cg.ChalkgradError, match="assign"):
            setattr(layer, key, 0)


@pytest.mark.parametrize("name", OURS)
def test_before_that_each_may_be_set_as_it_is_given(name):
    layer = made(name)
    for key in type(layer).config_names:
        setattr(layer, key, getattr(layer, key))
    assert layer.config() == made(name).config()


def test_what_is_set_before_the_weights_are_drawn_counts():
    layer = layers.Dense(3, "relu", name="first", trainable=False)
    layer.units, layer.kernel_initializer, layer.use_bias, layer.input_shape = 5, "ones", False, (2,)
    model = Sequential([layer])
    model.build()
    assert (layer.name, layer.activation, layer.trainable, model.output_shape) == ("first", "relu", False, (None, 5))
    assert model.get_weights()[0].tolist() == [[1] * 5] * 2
    assert list(layer.weights) == ["kernel"]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("Dropout", "rate", 1.0), ("Dense", "units", 0), ("Dense", "activation", "tan"), ("Conv2D", "padding", "sane"),
        ("BatchNormalization", "momentum", 2), ("Rescaling", "scale", "1"), ("Dense", "input_shape", 4),
    ],
)  # fmt: skip
def test_what_is_set_is_checked_as_what_is_given(name, key, value):
    layer = made(name)
    before = layer.config()
    with pytest.raises(cg.ChalkgradError):
        setattr(layer, key, value)
    assert layer.config() == before


CHANGES = {
    "activation": lambda m: setattr(m.layers[0], "activation", "tanh"),
    "activation of one's own": lambda m: setattr(m.layers[0], "activation", lambda x: x * 2.0),
    "last activation": lambda m: setattr(m.layers[-1], "activation", "sigmoid"),
    "rate": lambda m: setattr(m.layers[2], "rate", 0.9),
    "momentum": lambda m: setattr(m.layers[1], "momentum", 0.1),
    "epsilon": lambda m: setattr(m.layers[1], "epsilon", 0.1),
    "scale": lambda m: setattr(m.layers[3], "scale", 3.0),
    "loss": lambda m: setattr(m, "loss", "mae"),
    "optimizer": lambda m: setattr(m, "optimizer", "adam"),
    "beta_1": lambda m: setattr(m.optimizer, "momentum", 0.1),
    "nesterov": lambda m: setattr(m.optimizer, "nesterov", True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_set_between_two_trainings_counts_in_the_second(name):
    x, y = (np.random.default_rng(0).random((12, n)).astype("float32") for n in (4, 3))

    def weights(eager, change):
        ends = layers.Dropout(0.2), layers.Rescaling(0.5), layers.Dense(3, "softmax")
        model = Sequential([layers.Dense(5, "relu"), layers.BatchNormalization(), *ends])
        model.compile(cg.optim.Momentum(0.1), "mse", run_eagerly=eager)
        model.fit(x, y, batch_size=4, epochs=3, verbose=0)
        change(model)
        model.fit(x, y, batch_size=4, epochs=3, verbose=0)
        return b"".join(w.tobytes() for w in model.get_weights())

    assert weights(True, CHANGES[name]) == weights(False, CHANGES[name]) != weights(True, lambda model: None)


def test_a_layer_of_ones_own_is_free():
    class Scaled(Layer):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = self.weight_decay = factor

        def apply(self, weights, x, *, training, generator):
            self.kernel_constraint = self.factor = self.factor + 1
            return x * float(self.factor)

    class Twice(layers.Dense):
        def __init__(self, units):
            super().__init__(2 * units)
            self.seen = 0

    layer = Scaled(2, trainable=False, name="mine")
    assert layer(np.ones((1, 2), "float32")).tolist() == [[3, 3]]
    layer.factor = layer.dtype = 5
    assert (layer.name, layer.trainable) == ("mine", False)
    twice = Twice(2, trainable=False)
    twice.seen, twice.seed = 1, 2
    assert (twice.units, twice.trainable) == (4, False)
    with pytest.raises(cg.ChalkgradError, match="unit"):
        Twice(unit=2)


def test_loss_and_metrics_may_be_set_or_are_refused():
    x, y = np.ones((4, 2), "float32"), np.zeros(4, int)
    model = Sequential([layers.Dense(3, "softmax", input_shape=(2,))])
    with pytest.raises(cg.ChalkgradError, match="before compile"):
        model.metrics = ["accuracy"]
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.evaluate(x, y, verbose=0)
    model.metrics = ["accuracy", "sparse_categorical_accuracy"]
    assert len(model.evaluate(x, y, verbose=0)) == 3
    before = model.loss, model.metrics
    for name, value in {"loss": "categorical", "metrics": ["loss"], "optimizer": "adan"}.items():
        with pytest.raises(cg.ChalkgradError):
            setattr(model, name, value)
    with pytest.raises(cg.ChalkgradError, match=r"'accuracy' takes .* model\.compile"):
        model.loss = "categorical_crossentropy"
    assert (model.loss, model.metrics) == before


def test_binary_accuracy_is_of_the_outputs_that_the_loss_takes():
    from_logits, plain = cg.losses.BinaryCrossentropy(from_logits=True), cg.losses.BinaryCrossentropy()
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", from_logits, metrics=["accuracy"])
    logits = model.metrics
    model.loss = plain
    assert [metric.on_logits for metric in (*logits, *model.metrics)] == [True, False]
    model.loss = from_logits
    assert model.metrics == logits


def test_a_configuration_has_what_was_set():
    layer = layers.Dense(3, "relu", input_shape=(2,))
    layer.activation = "gelu"
    assert make_layer(layer.config()).activation == "gelu"


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("metrics", [[], ["mse"], ["accuracy", "mse"]])
def test_metrics_do_not_change_in_the_midst_of_a_training(eager, metrics):
    class Change(cg.callbacks.Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 1:
                self.model.metrics = metrics

    model = Sequential([layers.Dense(3, "softmax", input_shape=(2,))])
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
    with pytest.raises(cg.ChalkgradError, match="between two calls of fit"):
        model.fit(np.ones((3, 2)), np.eye(3), epochs=3, verbose=0, callbacks=[Change()])
    assert len(model.evaluate(np.ones((3, 2)), np.eye(3), verbose=0, return_dict=True)) == 1 + len(metrics)


STRAY = {
    "learning_rate": r"a model has no learning_rate: it is set by model\.optimizer\.learning_rate",
    "beta_1": r"model\.optimizer\.beta_1",
    "global_clipnorm": r"model\.optimizer\.global_clipnorm",
    "from_logits": r"model\.loss\.from_logits",
    "stop_trainin": "did you mean 'stop_training'",
    "metric": "did you mean 'metrics'",
}


@pytest.mark.parametrize("name", STRAY)
def test_stray_attributes_of_a_model_are_refused_with_the_way_out(name):
    model = Sequential([layers.Dense(3)])
    model.compile("adam", "mse")
    with pytest.raises(cg.ChalkgradError, match=STRAY[name]):
        setattr(model, name, 1)
    assert not hasattr(model, name)

    class Mine(Sequential):
        pass

    setattr(Mine(), name, 1)


def test_pooling_follows_its_pool_size_until_it_has_strides_of_its_own():
    pooling = layers.MaxPooling2D()
    pooling.pool_size = 3
    assert pooling.strides == (3, 3)
    pooling.strides = 2
    pooling.pool_size = 4
    assert (pooling.strides, pooling.pool_size) == ((2, 2), (4, 4))
    given = layers.MaxPooling2D(2, 2)
    given.pool_size = 3
    assert given.strides == (2, 2)


def test_weights_are_not_a_list():
    layer = built("Dense")
    with pytest.raises(cg.ChalkgradError, match=r"dense\.weights holds tensors by name: .*assign.*set_weights"):
        layer.weights = [np.ones((2, 3)), np.ones(3)]
    assert list(layer.weights) == ["kernel", "bias"]


UNKNOWN = {
    "a schedule": (lambda: cg.optim.CosineDecay(0.1, 5, alpha=0.1), "CosineDecay.*'alpha'"),
    "a loss": (lambda: cg.losses.CategoricalCrossentropy(from_logit=True), "did you mean 'from_logits'"),
    "a reduction": (lambda: cg.losses.BinaryCrossentropy(reduction="man"), "did you mean 'mean'"),
    "Keras's argument of a loss": (lambda: cg.losses.BinaryCrossentropy(axis=1), "there is no axis here"),
    "a patience": (lambda: cg.callbacks.EarlyStopping(patience=-1), r"EarlyStopping\(patience=-1\)"),
    "a callback": (lambda: cg.callbacks.EarlyStopping(patiense=3), "did you mean 'patience'"),
    "Keras's argument of a callback": (lambda: cg.callbacks.EarlyStopping(axis=1), "there is no axis here"),
    "a metric": (lambda: cg.metrics.MeanMetricWrapper(len, on_logit=True), "did you mean 'on_logits'"),
    "an augmentation": (lambda: cg.datasets.Augmentation(rotate=3), "did you mean 'rotation'"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_unknown_arguments_are_errors_of_ours(what):
    make, told = UNKNOWN[what]
    with pytest.raises(cg.ChalkgradError, match=told):
        make()
    assert cg.callbacks.EarlyStopping(verbose=0).patience == 0


@pytest.mark.parametrize("eager", [False, True])
def test_a_layer_that_writes_into_its_input_leaves_the_callers_array_alone(eager):
    class Zeroed(Layer):
        def apply(self, weights, x, *, training, generator):
            x[:, 0] = 0.0
            return x * 1.0

    x = np.random.default_rng(0).random((9, 3)).astype("float32")
    before = x.copy()
    for first in ([], [layers.Flatten(input_shape=(3,))]):
        model = Sequential([*first, Zeroed(), layers.Dense(2)])
        model.compile("sgd", "mse", run_eagerly=eager)
        model.fit(x, x[:, :2], batch_size=3, epochs=4, verbose=0)
        for _ in range(3):
            model.predict(x, batch_size=3)
            model.evaluate(x, x[:, :2], batch_size=3, verbose=0)
            model(x)
        np.testing.assert_array_equal(x, before)
