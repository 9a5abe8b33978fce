"""What is of the user's own: known by its name, saved and loaded as ours is; and what is said where it is not."""

import json
import warnings

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers, names, optim
from chalkgrad.errors import DataError, UsageError
from chalkgrad.optim.schedule import SCHEDULES


class Stretched(layers.Layer):
    """x times a weight for each element."""

    def __init__(self, start=1.0, **options):
        super().__init__(**options)
        self.start = start

    def make_weights(self, input_shape, generator):
        return {"scale": np.full(input_shape, self.start)}

    def apply(self, weights, x, *, training, generator):
        return x * weights["scale"]


class Linear(optim.Schedule):
    learning_rate: float
    steps: int

    def __call__(self, step):
        return self.learning_rate * max(0.0, 1 - step / self.steps)


class Halved(optim.Adam):
    def __init__(self, rate, beta_1=0.9):
        super().__init__(rate / 2, beta_1)
        self.rate = rate


class Fixed(optim.Adam):
    def __init__(self, **options):
        super().__init__(learning_rate=0.5, **options)


def mish(x):
    return x * cg.tanh(cg.softplus(x))


def quartic(y_true, y_pred):
    return cg.mean((y_pred - y_true) ** 4)


def furthest(xp, y_true, y_pred):
    return xp.max(xp.abs(y_pred - y_true))


def thirds(generator, shape):
    return np.full(shape, 1 / 3)


FUNCTIONS = {f.__name__: f for f in (mish, quartic, furthest, thirds)}
X = np.random.default_rng(0).standard_normal((24, 3)).astype("float32")


OWN = [(optim.OPTIMIZERS, "halved", Halved), (optim.OPTIMIZERS, "fixed", Fixed), (SCHEDULES, "Linear", Linear)]
for catalogue, name, _ in OWN:
    del catalogue[name]  # other tests take what is declared for ours


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    for catalogue, name, kind in OWN:
        monkeypatch.setitem(catalogue, name, kind)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def known(monkeypatch):
    """The functions are registered, in this test alone."""
    monkeypatch.setattr(names, "registered", dict(names.registered))
    for module in ("checkpoint", "description"):
        monkeypatch.setattr(f"chalkgrad.nn.{module}.registered", names.registered)
    for function in FUNCTIONS.values():
        cg.nn.register(function)


def model_of_ones_own(**options):
    model = Sequential([Stretched(2.0), layers.Dense(3, mish, kernel_initializer=thirds)], **options)
    model.compile(optim.Momentum(Linear(0.1, 100)), quartic, [furthest, "mse"])
    model.fit(X, X[:, ::-1], batch_size=8, epochs=2, verbose=0)
    return model


def agree(model, again, same):
    same(again.get_weights(), model.get_weights())
    assert again.evaluate(X, X, verbose=0) == model.evaluate(X, X, verbose=0)
    for one in (model, again):
        one.fit(X, X[:, ::-1], batch_size=8, epochs=3, initial_epoch=2, verbose=0)
    same(again.get_weights(), model.get_weights())


def test_it_is_saved_and_loaded(path, known, same):
    model = model_of_ones_own()
    model.save(path)
    again = Sequential.load(path)
    assert type(again.layers[0]) is Stretched
    assert again.layers[0].start == 2.0
    assert again.layers[1].function is mish
    assert again.optimizer.schedule == Linear(0.1, 100)
    assert [metric.function for metric in again.metrics[:1]] == [furthest]
    agree(model, again, same)


@pytest.mark.cpu_only("explained are tensors on the CPU")
def test_it_is_explained():
    model = Sequential([Stretched(2.0), layers.Dense(2)])
    model.compile("adam", "mse")
    model.build((3,))
    explained = cg.explain(model, X[:4], X[:4, :2])
    assert any("scale" in step.symbols("unicode") for step in explained.forward)


def test_it_is_captured_to_the_last_bit():
    seen = []
    for eager in (False, True):
        model = Sequential([Stretched(2.0), layers.Dense(3, mish)])
        model.compile(optim.Momentum(Linear(0.01, 100)), "mse", [furthest], run_eagerly=eager)
        model.fit(X, X, batch_size=8, epochs=5, verbose=0)
        seen.append([w.tobytes() for w in model.get_weights()])
    assert seen[0] == seen[1]


def test_functions_that_are_not_registered_are_given_to_load(path, same):
    model = model_of_ones_own()
    with pytest.warns(UserWarning, match=r"custom_objects=\{'mish': mish|'thirds': thirds"):
        model.save(path)
    with pytest.raises(DataError, match=r"'(mish|thirds)' is not known here.*@nn\.register.*custom_objects="):
        Sequential.load(path)
    agree(model, Sequential.load(path, custom_objects=FUNCTIONS), same)


def test_without_loss_and_metrics_they_need_not_be_known(path):
    model = Sequential([layers.Dense(3, input_shape=(3,))])
    model.compile("adam", quartic, [furthest])
    with pytest.warns(UserWarning, match="quartic"):
        model.save(path)
    again = Sequential.load(path, compile=False)
    assert again.loss is again.optimizer is None
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_an_optimizer_of_ones_own_with_a_constructor(path):
    model = Sequential([layers.Dense(3, input_shape=(3,))])
    model.compile(Halved(0.5, beta_1=0.8), "mse")
    model.save(path)
    again = Sequential.load(path).optimizer
    assert (type(again), again.rate, again.learning_rate, again.beta_1) == (Halved, 0.5, 0.25, 0.8)


@pytest.mark.parametrize("kind", [Stretched, Linear, Halved])
def test_a_class_that_is_not_there_is_named_with_the_way_out(path, kind, monkeypatch):
    model = Sequential([Stretched(input_shape=(3,))])
    model.compile(Halved(0.1) if kind is Halved else optim.Adam(Linear(0.1, 5)), "mse")
    model.save(path)
    for catalogue in (layers.LAYERS, optim.OPTIMIZERS, SCHEDULES):
        for name in [name for name, known in catalogue.items() if known is kind]:
            monkeypatch.delitem(catalogue, name)
    with pytest.raises(DataError, match=rf"unknown \w+ '{kind.__name__}'.*import or define it.*custom_objects="):
        Sequential.load(path)
    again = Sequential.load(path, custom_objects={kind.__name__: kind})
    assert kind in (type(again.layers[0]), type(again.optimizer), type(again.optimizer.schedule))


def test_a_registered_name_serves_where_ours_do(known):
    assert layers.Dense(3, "mish").function is mish
    assert layers.Dense(3, kernel_initializer="thirds")._initializers[0] is thirds
    model = Sequential([layers.Dense(3, input_shape=(3,))])
    model.compile("adam", "quartic", ["furthest"])
    assert (model.loss.function, model.metrics[0].function) == (quartic, furthest)


def test_names_are_given_and_the_last_one_counts(known, path, same):
    first = cg.nn.register(lambda x: x * 2.0, name="mish")
    assert names.registered["mish"] is first
    model = Sequential([layers.Dense(3, first, input_shape=(3,))])
    model.save(path)
    assert Sequential.load(path).layers[0].function is first
    with pytest.raises(UsageError, match="it has no name of its own"):
        cg.nn.register(lambda x: x)


def test_a_primitive_is_registered_by_its_declaration(path, declare):
    @declare("y = x / (1 + abs(x))", saves=("x",))
    def softsign(xp, x):
        return x / (1 + xp.abs(x))

    model = Sequential([layers.Dense(3, softsign, input_shape=(3,))])
    model.save(path)
    assert Sequential.load(path).layers[0].function is softsign


def test_a_class_whose_name_another_has_taken_is_given_to_load(path):
    def made():
        class Taken(layers.Layer):
            def apply(self, weights, x, *, training, generator):
                return x

        return Taken

    first, _ = made(), made()
    with pytest.warns(UserWarning, match=r"custom_objects=\{'Taken': Taken\}"):
        Sequential([first(input_shape=(3,))]).save(path)
    assert type(Sequential.load(path, custom_objects={"Taken": first}).layers[0]) is first


def test_two_functions_of_one_name_are_told_apart():
    def mish(x):
        return x

    model = Sequential([layers.Dense(3, mish, input_shape=(3,)), layers.Dense(3, FUNCTIONS["mish"])])
    with pytest.raises(UsageError, match=r"two things called 'mish': nn\.register\(…, name="):
        model.save("x")


# A file is tried out before it is written


class Forgetful(layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.times = factor


class Doubled(layers.Dense):
    def __init__(self, units):
        super().__init__(2 * units)


class Silent(layers.Layer):
    def __init__(self):
        self.inner = layers.Dense(2)

    def call(self, x):
        return self.inner(x)


class SilentModel(cg.Model):
    __init__, call = Silent.__init__, Silent.call


class Weighed(layers.Layer):
    shape, initializer = (3,), "ones"

    def build(self, input_shape):
        self.w = self.add_weight(self.shape, self.initializer, name="w")

    def call(self, x):
        return x * self.w


class Fraction(Weighed):
    shape = (2.5,)


class Single(Weighed):
    initializer = staticmethod(lambda generator, shape: np.array(0.5))


class Twice(layers.Layer):
    def call(self, x):
        return [x, x]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Silent, r"Silent: its constructor has to call super\(\).__init__\(\) first"),
        (SilentModel, r"SilentModel: its constructor has to call super\(\).__init__\(\) first"),
        (Fraction, r"fraction: add_weight\(shape=\(2.5,\)\)"),
        (Single, r"the initialiser of w gave shape \(\), not \(3,\)"),
        (lambda: layers.Dense(2, kernel_initializer=lambda g, shape: 0.1), r"of kernel gave shape \(\), not \(3, 2\)"),
        (lambda: Sequential([cg.Input((3,)), Twice(), layers.Dense(2)]), "twice gives 2 outputs"),
    ],
)
def test_what_a_class_leaves_out_is_told(make, told):
    with pytest.raises(cg.ChalkgradError, match=told):
        make()(X[:, :3])


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda: Forgetful(3), r"Forgetful takes factor=…, and does not keep it: let it be self\.factor"),
        (lambda: Doubled(2), r"another model would be made of it: 'layers/doubled/bias' has shape \(4,\).*\(8,\)"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(path, layer, why):
    model = Sequential([layers.Dense(3, input_shape=(3,)), layer()])
    with pytest.raises(UsageError, match=why):
        model.save(path)
    assert not path.exists()


def test_an_optimizer_that_could_not_be_made_again_is_not_written(path):
    model = Sequential([layers.Dense(3, input_shape=(3,))])
    model.compile(Fixed(), "mse")
    with pytest.raises(UsageError, match=r"'learning_rate'\).*says in config\(\) what it is made with"):
        model.save(path)


def test_ours_are_saved_without_a_word(path):
    model = Sequential([layers.Dense(3, "relu", input_shape=(3,))])
    model.compile(optim.Adam(optim.CosineDecay(0.1, 5)), cg.losses.CategoricalCrossentropy(True), ["accuracy", "mse"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.save(path)
    assert Sequential.load(path).metrics == model.metrics


def test_files_from_before_are_read(path):
    """A description as the version before wrote it: configurations in another order, no word of what is one's own."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    model = Sequential([layers.Dense(3, "relu", input_shape=(3,))])
    model.compile(optim.Momentum(0.1, nesterov=True), "mse", ["mae"])
    model.fit(X, X, epochs=1, verbose=0)
    model.save(path)
    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["chalkgrad"])
    description["layers"] = [
        {
            "layer": "Dense", "name": "dense", "input_shape": [3], "units": 3, "activation": "relu", "use_bias": True,
            "kernel_initializer": "glorot_uniform", "bias_initializer": "zeros", "precision": "float32",
        }
    ]  # fmt: skip
    description["compile"]["optimizer"] = {
        "name": "Momentum", "learning_rate": {"schedule": "Constant", "learning_rate": 0.1}, "global_clipnorm": None,
        "use_ema": False, "ema_momentum": 0.99, "momentum": 0.9, "nesterov": True,
    }  # fmt: skip
    description["format"] = 1
    del description["digest"]
    save_file(load_file(path), path, {"chalkgrad": json.dumps(description)})
    again = Sequential.load(path)
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]
    assert again.optimizer.config() == model.optimizer.config()
