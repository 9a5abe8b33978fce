"""Several inputs and outputs, their losses, weights and metrics; metrics in which the weights of samples count."""

import os

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import Sequential, layers
from chalkgrad.errors import ChalkgradError
from chalkgrad.nn.model import Model

R = np.random.default_rng(0)
A, B = R.standard_normal((22, 4)).astype("float32"), R.standard_normal((22, 3)).astype("float32")
V, LABELS = A.sum(axis=1), R.integers(0, 3, 22)
W = R.uniform(0, 3, 22)
LOSSES = {"value": "mse", "kind": "sparse_categorical_crossentropy"}


def net(kinds, model, first):
    a, b = first((4,), name="a"), first((3,), name="b")
    both = kinds.Concatenate()([kinds.Dense(4, "tanh")(a), b])
    return model([a, b], [kinds.Dense(1, name="value")(both), kinds.Dense(3, "softmax", name="kind")(both)])


def made(**compiled):
    model = net(layers, Model, layers.Input)
    model.compile(**{"optimizer": "sgd", "loss": LOSSES, **compiled})
    model.build()
    return model


@pytest.mark.deep
@pytest.mark.cpu_only("compares with Keras on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_several_outputs_train_as_in_keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    options = {
        "loss": LOSSES, "loss_weights": {"value": 0.5, "kind": 2.0},
        "metrics": {"value": ["mae"], "kind": ["accuracy"]}, "weighted_metrics": {"kind": ["accuracy"]},
    }  # fmt: skip
    ours, theirs = made(**options), net(keras.layers, keras.Model, keras.Input)
    theirs.set_weights(ours.get_weights())
    theirs.compile("sgd", **options)
    x, y, w = {"a": A, "b": B}, [V[:, None], LABELS], [W, W[::-1].copy()]
    found = [
        each.fit(x, y, sample_weight=w, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        for each in (ours, theirs)
    ]
    assert {*found[0]} == {*found[1]} == {*ours.metric_names}
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=2e-5, err_msg=name)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_each_way_to_give_several_is_the_same(same):
    def batches():
        for start in (0, 11):
            part = slice(start, start + 11)
            yield (A[part], B[part]), [V[part], LABELS[part]], W[part]

    runs, found = (
        [
            {"x": [A, B], "y": [V, LABELS], "sample_weight": W},
            {"x": {"b": B, "a": A}, "y": {"kind": LABELS, "value": V}, "sample_weight": {"kind": W, "value": W}},
            {"x": (A.tolist(), B), "y": (V[:, None], LABELS[:, None]), "sample_weight": [W, W]},
            {"x": batches()},
        ],
        [],
    )
    for options in runs:
        model = made(metrics=[["mae"], ["accuracy"]])
        history = model.fit(**options, batch_size=11, shuffle=False, verbose=0).history
        found.append([*history.values(), *model.get_weights()])
    for others in found[1:]:
        same(found[0], others)


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_the_loss_is_the_sum_of_its_parts(run_eagerly):
    model = made(loss_weights=[0.5, 2.0], metrics={"kind": "accuracy"}, run_eagerly=run_eagerly)
    history = model.fit([A, B], [V, LABELS], epochs=3, batch_size=8, validation_split=0.3, verbose=0).history
    for prefix in ("", "val_"):
        loss, value, kind = (np.array(history[f"{prefix}{n}"]) for n in ("loss", "value_loss", "kind_loss"))
        np.testing.assert_allclose(loss, 0.5 * value + 2 * kind, rtol=1e-6)
    told = model.evaluate([A, B], [V, LABELS], verbose=0, return_dict=True)
    values, kinds = model.predict({"a": A, "b": B}, batch_size=5)
    assert told["value_loss"] == pytest.approx(((values[:, 0] - V) ** 2).mean(), rel=1e-5)
    assert told["kind_accuracy"] == pytest.approx((kinds.argmax(axis=1) == LABELS).mean())
    assert model.metric_names == ["loss", "value_loss", "kind_loss", "kind_accuracy"]
    assert model.train_on_batch([A, B], [V, LABELS]) == pytest.approx(model.test_on_batch([A, B], [V, LABELS]), rel=0.5)


def test_recorded_or_not_they_train_alike(same):
    found = []
    for run_eagerly in (True, False):
        model = made(run_eagerly=run_eagerly, metrics={"value": [cg.metrics.R2Score()], "kind": ["accuracy"]})
        history = model.fit([A, B], [V, LABELS], epochs=4, batch_size=4, verbose=0, sample_weight=[None, W]).history
        found.append([*history.values(), *model.get_weights()])
    same(*found)


def test_a_model_of_several_outputs_goes_on_from_its_file(tmp_path, same):
    whole = made(loss_weights={"kind": 3.0}, metrics={"value": ["mae"]}, weighted_metrics={"kind": ["accuracy"]})
    given = {"x": [A, B], "y": [V, LABELS], "batch_size": 5, "verbose": 0}
    whole.fit(**given, epochs=2)
    whole.save(tmp_path / "m")
    again = Model.load(tmp_path / "m", whole.device)
    assert again.metric_names == whole.metric_names
    for each in (whole, again):
        each.fit(**given, epochs=4, initial_epoch=2)
    same(whole.get_weights(), again.get_weights())
    assert whole.history.history == again.history.history


def test_an_output_that_leads_on_is_not_left_raw():
    """Its σ is taken, although its loss could be computed from logits."""
    x = layers.Input((4,))
    p = layers.Dense(3, "softmax", name="p")(x)
    model = Model(x, [p, layers.Dense(1, name="v")(p)])
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], metrics=[["accuracy"], ["mse"]])
    assert model.fused == [False, False]
    told = model.evaluate(A, [LABELS, V], verbose=0, return_dict=True)
    assert told["v_mse"] == pytest.approx(((model.predict(A)[1][:, 0] - V) ** 2).mean(), rel=1e-5)
    assert told["v_loss"] == pytest.approx(told["v_mse"], rel=1e-6)


def test_outputs_that_were_given_by_name_are_given_back_so():
    x = layers.Input((4,), name="x")
    model = Model(x, {"v": layers.Dense(1)(x), "w": layers.Dense(2)(x)})
    model.compile("sgd", "mse")
    model.fit({"x": A}, {"w": B[:, :2], "v": V}, verbose=0)
    assert {name: y.shape for name, y in model.predict(A).items()} == {"v": (22, 1), "w": (22, 2)}
    assert {*model.predict_on_batch(A[:3])} == {"v", "w"}


def test_ids_and_numbers_beside_each_other_keep_their_kind():
    ids, x = layers.Input((2,), dtype="int32"), layers.Input((3,))
    rows = layers.Flatten()(layers.Embedding(40_000_000 // 4_000_000, 2)(ids))
    model = Model([x, ids], layers.Dense(1)(layers.Concatenate()([x, rows])))
    model.compile("sgd", "mse")
    assert model.keeps_integers == [False, True]
    model.fit([B, R.integers(0, 10, (22, 2))], V, verbose=0)
    with pytest.raises(ChalkgradError):
        model.fit([B, R.integers(10, 20, (22, 2))], V, verbose=0)


def test_metrics_in_which_weights_count_beside_those_in_which_none_do():
    model = Sequential([layers.Dense(3, "softmax", input_shape=(4,))])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy", "acc"])
    told = model.evaluate(A, LABELS, sample_weight=W, batch_size=5, verbose=0, return_dict=True)
    hits = model.predict(A).argmax(axis=1) == LABELS
    assert told["accuracy"] == pytest.approx(hits.mean())
    assert told["weighted_accuracy"] == told["acc"] == pytest.approx((W * hits).sum() / W.sum(), rel=1e-6)
    assert model.evaluate(A, LABELS, verbose=0, return_dict=True)["acc"] == pytest.approx(hits.mean())


def test_an_epoch_of_some_steps_of_several(same):
    found = []
    for steps in ({}, {"steps_per_epoch": 2}):
        model = made()
        model.fit([A, B], [V, LABELS], sample_weight=[None, W], batch_size=8, epochs=1, shuffle=False, verbose=0)
        if steps:
            model = made()
            with pytest.warns(UserWarning, match="1 of the 2 batches"):
                model.fit([A, B], [V, LABELS], 8, 2, 0, sample_weight=[None, W], shuffle=False, **steps)
        found.append(model.get_weights())
    same(*found)


def test_a_loss_or_metrics_that_are_set_later_fit_their_outputs():
    model = made(metrics={"kind": ["accuracy"]}, weighted_metrics={"kind": ["accuracy"]})
    model.loss = {"value": "mae", "kind": "sparse_categorical_crossentropy"}
    assert model.metric_names[3:] == ["kind_accuracy", "kind_weighted_accuracy"]
    model.metrics = [["mse"], None]
    assert model.metric_names[3:] == ["value_mse", "kind_weighted_accuracy"]


REFUSED = {
    "unknown output": ({"loss": {"values": "mse", "kind": "mse"}}, "'values'.*did you mean 'value'"),
    "missing loss": ({"loss": {"value": "mse"}}, "the output 'kind' has no loss"),
    "three losses": ({"loss": ["mse"] * 3}, r"loss is a list of 2, one for each of the outputs"),
    "flat metrics": ({"metrics": ["mae"]}, "metrics is a list of 2"),
    "one metric": ({"metrics": "mae"}, "metrics is a list"),
    "weights": ({"loss_weights": {"kind": -1.0}}, "loss_weights=-1.0"),
    "metric of another kind": ({"metrics": {"value": ["accuracy"]}}, "accuracy has no meaning under the loss"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_the_outputs(name):
    options, named = REFUSED[name]
    with pytest.raises(ChalkgradError, match=named):
        made(**options)


WRONG = {
    "one array": ({"x": A}, r"a list of 2 inputs, \['a', 'b'\], not ndarray"),
    "one target": ({"y": V}, r"y is a list of 2, one for each of the outputs \['value', 'kind'\]"),
    "unknown input": ({"x": {"a": A, "c": B}}, "'c'"),
    "missing input": ({"x": {"a": A}}, "'b' is missing"),
    "lengths": ({"x": [A, B[:5]]}, "22 samples of the first input, and 5 of input 2"),
    "target": ({"y": [V, LABELS + 7]}, "output 'kind': y has a label outside"),
    "weight": ({"sample_weight": [W, -W]}, "output 'kind': sample_weight is -"),
    "width": ({"x": [B, A]}, "the model takes batches|samples have shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_by_input_and_output(name):
    options, named = WRONG[name]
    with pytest.raises(ChalkgradError, match=named):
        made().fit(**{"x": [A, B], "y": [V, LABELS], "verbose": 0, **options})


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_steps_that_a_mask_leaves_out_count_in_no_metric(run_eagerly):
    ids = R.integers(1, 9, (22, 5)) * (np.arange(5) < R.integers(1, 6, (22, 1)))
    labels, w = R.integers(0, 3, (22, 5)), R.random((22, 5))
    model = Sequential([layers.Embedding(9, 4, mask_zero=True), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"], run_eagerly, weighted_metrics=["accuracy"])
    model.build((5,))
    hits, counts = model.predict(ids).argmax(axis=-1) == labels, ids != 0
    for _ in range(3):
        told = model.evaluate(ids, labels, sample_weight=w, batch_size=8, verbose=0, return_dict=True)
    assert told["accuracy"] == pytest.approx(hits[counts].mean(), rel=1e-6)
    assert told["weighted_accuracy"] == pytest.approx((w * hits)[counts].sum() / w[counts].sum(), rel=1e-6)
    history = model.fit(ids, labels, sample_weight=w, epochs=4, batch_size=8, verbose=0).history
    assert 0 < history["accuracy"][-1] <= 1


def test_each_position_has_its_weight_in_a_metric():
    x, y, w = R.standard_normal((22, 5, 4)).astype("float32"), R.standard_normal((22, 5, 2)), R.random((22, 5))
    model = Sequential([layers.Dense(2, input_shape=(5, 4))])
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    model.build()
    expected = (w * np.abs(model.predict(x) - y).mean(axis=-1)).sum() / w.sum()
    told = model.evaluate(x, y, sample_weight=w, batch_size=8, verbose=0, return_dict=True)
    assert told["mae"] == pytest.approx(expected, rel=1e-5)
