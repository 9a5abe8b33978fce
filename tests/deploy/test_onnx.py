"""Models as ONNX files: ONNX's checker and onnxruntime judge them."""

import re

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import layers, models
from chalkgrad.commands.export import export
from chalkgrad.deploy.onnx_export import graph_of, watched, whole_file
from chalkgrad.deploy.onnx_lengths import Varying, sizes_of, terms
from chalkgrad.engine.primitive import registry
from chalkgrad.errors import DataError, UsageError
from chalkgrad.proof.cases import draw, examples

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def made(*stack, shape):
    model = cg.Sequential(stack)
    model.build(shape)
    return model


def mlp():
    return made(layers.Dense(8, activation="gelu"), layers.Dense(3, activation="softmax"), shape=(5,))


def cnn():
    model = made(
        layers.Conv2D(4, 3, padding="same", activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(2),
        layers.Conv2D(6, 3, strides=2, activation="silu"), layers.AveragePooling2D(2, padding="same"),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, activation="softmax"), shape=(12, 10, 2),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    for w in model.weights:
        w._data[...] = generator.random(w.shape) * 0.4 + 0.1
    return model


def residual():
    x = layers.Input((6,))
    h = layers.LayerNormalization()(layers.Dense(6, activation="tanh")(x))
    return cg.Model(x, layers.Dense(2)(layers.Concatenate()([layers.Add()([x, h]), h])))


def shaken(model):
    """Weights that say more than those of a fresh model."""
    model.begin()
    generator = np.random.default_rng(0)
    for w in model.weights:
        w._data[...] += generator.normal(size=w.shape) * 0.1
    return model


def lstm():
    return made(layers.Bidirectional(layers.LSTM(6, return_sequences=True)), layers.LSTM(5), shape=(4, 3))


def gru():
    return made(layers.SimpleRNN(6, return_sequences=True), layers.GRU(5), layers.Dense(3), shape=(4, 3))


def masked():
    return made(layers.Embedding(9, 4, mask_zero=True), layers.LSTM(5), layers.Dense(3), shape=(6,))


def gpt():
    return shaken(models.GPT(vocabulary=11, positions=12, width=8, depth=2, heads=2))


def bert():
    return shaken(models.BERT(vocabulary=11, positions=6, width=8, depth=1, heads=2, hidden=16, head="tokens"))


def vit():
    return shaken(models.ViT(classes=3, image=8, patch=4, width=8, depth=1, heads=2, hidden=16))


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def runs(path, *xs):
    opened = session(path)
    return opened.run(None, dict(zip([i.name for i in opened.get_inputs()], xs, strict=True)))[0]


def inputs(model, count):
    generator = np.random.default_rng(count)
    if not model.takes_integers:
        return [generator.normal(size=(count, *model.shapes[0])).astype("float32")]
    ids = generator.integers(0, 9, (count, 6))
    if not isinstance(model, models.BERT):
        return [ids]
    return [ids, np.sort(generator.integers(0, 2, (count, 6)), 1)[:, ::-1] | np.eye(1, 6, dtype="int64")]


def ours(model, xs):
    return model(xs[0], **({"attention_mask": xs[1]} if xs[1:] else {})).numpy()


NETS = [mlp, cnn, residual, lstm, gru, masked, gpt, bert, vit]


@pytest.mark.parametrize("net", NETS)
def test_onnxruntime_computes_what_we_do_for_any_batch(net, tmp_path):
    model, path = net(), tmp_path / "net.onnx"
    assert cg.export(model, path)["greatest difference"] <= 5e-6
    for count in (1, 7):
        xs = inputs(model, count)
        assert np.abs(runs(path, *xs) - ours(model, xs)).max() <= 5e-6


@pytest.mark.deep
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("opset", [17, 18, 23])
def test_onnxruntime_computes_what_we_do_on_a_thousand_inputs(net, opset, tmp_path):
    model, path = net(), tmp_path / "net.onnx"
    cg.export(model, path, opset=opset)
    for count in (1, 7, 512, 1000):
        xs = inputs(model, count)
        assert np.abs(runs(path, *xs) - ours(model, xs)).max() <= 5e-6


# Every primitive

FEW = "getitem", "einsum", "pad", "transposed_convolution", "masked_attention", "scatter_add", "var", "roll"


def check_form(primitive, example, opset):
    """Its form, run by onnxruntime, gives what it gives itself."""
    xs = [x.astype("float32") if x.dtype.kind == "f" else x for x in draw(primitive, example)]
    seen = watched(lambda *xs: primitive.compute(xs, example.parameters), xs)
    names = [f"x{number}" for number in range(len(xs))]
    file = whole_file(onnx, opset, graph_of(onnx, opset, [seen, seen], names, ["y"]))
    (y,), value = (
        session(file.SerializeToString()).run(None, dict(zip(names, xs, strict=True))),
        seen.outputs[0].numpy(),
    )
    assert (y.shape, y.dtype) == (value.shape, value.dtype)
    assert np.allclose(y, value, rtol=5e-6, atol=5e-6 * np.abs(value).max(initial=0))


def test_every_primitive_has_a_form_or_a_reason():
    without = [
        p.name for p in registry.values()
        if not (p.onnx_form or p.onnx_reason or (p.equation.elementwise and not p.equation.recurrent))
    ]  # fmt: skip
    assert not without


@pytest.mark.parametrize("name", FEW)
def test_a_form_gives_what_the_primitive_gives(name):
    for example in examples(registry[name]):
        check_form(registry[name], example, 17)


@pytest.mark.deep
@pytest.mark.parametrize("opset", [17, 18, 23])
@pytest.mark.parametrize("name", [name for name, p in registry.items() if not p.onnx_reason])
def test_every_form_gives_what_its_primitive_gives(name, opset):
    primitive = registry[name]
    if opset < 18 and any(sign in primitive.text for sign in ("&", "|", "^", "~")):
        opset = 18  # since when there are operators on the bits of integers
    for example in examples(primitive):
        check_form(primitive, example, opset)


INDICES = [
    (0,), (-1,), (slice(None, None, -2),), (slice(3, 0, -1), 1), (..., None, -1), (None, 1, slice(0, 2)), (1, 2, 0),
    (slice(None), [2, 0, 2]), ([0, 3], slice(None), [1, 0]), (slice(None), [0, 1], [1, 0]), ([[0, 1], [2, -1]],),
    (np.arange(4) > 1,), (slice(None), np.eye(3, 2) > 0), (0, slice(None), [1, 0, 1]), (slice(1, 1),),
]  # fmt: skip


def test_an_index_means_what_numpy_has_it_mean():
    x = np.arange(24, dtype="float32").reshape(4, 3, 2)
    seen = watched(lambda x: [x[index] for index in INDICES], [x])
    names = [f"y{number}" for number in range(len(INDICES))]
    file = whole_file(onnx, 17, graph_of(onnx, 17, [seen, seen], ["x"], names))
    for y, index in zip(session(file.SerializeToString()).run(None, {"x": x}), INDICES, strict=True):
        assert np.array_equal(y, x[index]), index


def test_recurrent_layers_are_onnxs_own_operators_and_give_their_states(tmp_path):
    x = layers.Input((5, 3))
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    last = layers.LSTM(3)(
        layers.GRU(3, return_sequences=True)(y), initial_state=[layers.Dense(3)(h), layers.Dense(3)(c)]
    )
    model = cg.Model(x, [y, h, c, layers.SimpleRNN(2)(layers.RepeatVector(2)(last))])
    assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6
    operators = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert [o for o in operators if o in ("LSTM", "GRU", "RNN")] == ["LSTM", "GRU", "LSTM", "RNN"]
    assert not {"Tanh", "Exp"} & {*operators}
    assert [o.name for o in session(tmp_path / "net.onnx").get_outputs()] == model.output_names


def test_cells_of_all_steps_are_written_out(tmp_path):
    ones = [np.ones(shape, "float32") for shape in ((3, 8), (2, 8))]

    def states(x):
        before, counts = (np.ones((x.shape[0], n), "float32") for n in (2, 4))
        return cg.lstm(cg.matmul(x, ones[0]), ones[1], before, before, counts)[1]

    model = made(layers.Lambda(states), shape=(4, 3))
    assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6


def test_what_a_call_takes_besides_is_an_input_by_choice(tmp_path):
    model, path = bert(), tmp_path / "net.onnx"
    assert cg.export(model, path, inputs=["segments"])["greatest difference"] <= 5e-6
    assert [i.name for i in session(path).get_inputs()] == ["input", "segments"]
    ids = np.arange(6).reshape(1, 6)
    assert np.abs(runs(path, ids, ids // 3) - model(ids, segments=ids // 3).numpy()).max() <= 5e-6
    with pytest.raises(UsageError, match="attention_mask"):
        cg.export(model, path, inputs=["attention"])


def recurrent_of_any_length():
    return made(layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(3), shape=(None, None, 2))


def convolved():
    ends = layers.Lambda(lambda x: cg.concatenate([x[:, 1:], cg.flip(x, 1)[:, :2] * x.mean(axis=(0, 1))], axis=1))
    return made(layers.Conv1D(3, 2), ends, layers.TimeDistributed(layers.Dense(2)), shape=(None, None, 2))


@pytest.mark.parametrize("net", [gpt, bert, recurrent_of_any_length, convolved])
def test_steps_stay_open_where_the_model_leaves_them_open(net, tmp_path):
    model, path = net(), tmp_path / "net.onnx"
    assert cg.export(model, path)["greatest difference"] <= 5e-6
    assert session(path).get_inputs()[0].shape[:2] == ["batch", "steps"]
    for count, steps in ((2, 3), (5, 6)) if net is convolved else ((1, 1), (2, 3), (5, 6)):
        xs = (
            [x[:count, :steps] for x in inputs(model, 7)]
            if model.takes_integers
            else [np.ones((count, steps, 2), "f4")]
        )
        assert np.abs(runs(path, *xs) - ours(model, xs)).max() <= 5e-6
    cg.export(model, path, length=4)
    assert session(path).get_inputs()[0].shape[:2] == ["batch", 4]


@pytest.mark.parametrize(
    ("length", "found"),
    [
        (lambda b, t: 2 * b * t, (0, 0, 0, 2)), (lambda b, t: 2 * t - 1, (-1, 0, 2, 0)),
        (lambda b, t: b + 3, (3, 1, 0, 0)), (lambda b, t: b * b, None), (lambda b, t: t * t, None),
        (lambda b, t: t // 2, None), (lambda b, t: b * t * t, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", [(3, 6), (5, 8), (512, 1024)])
def test_of_a_length_is_known_how_it_depends_on_batch_and_steps(length, found, steps):
    sizes = sizes_of(steps)
    n = Varying([length(*size) for size in sizes])
    if found:
        assert terms(n, sizes) == found
    else:
        with pytest.raises(NotImplementedError, match=f"{int(n)} for 2 samples of {steps[0]} steps"):
            terms(n, sizes)


def test_lengths_may_be_multiples_of_the_batch(tmp_path):
    pairs = layers.Lambda(lambda x: cg.reshape(cg.reshape(x, (x.shape[0] * 2, 3)) * 2, (x.shape[0], 3, 2)))
    apart = layers.Lambda(lambda x: cg.broadcast_to(x[:, None], (x.shape[0], 2, 3, 2))[..., 0])
    between = layers.Lambda(lambda x: cg.matmul(x[:, 0], cg.transpose(x[:, 1])))
    model = made(pairs, apart, between, shape=(6,))
    cg.export(model, tmp_path / "net.onnx")
    x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    assert np.abs(runs(tmp_path / "net.onnx", x) - model(x).numpy()).max() <= 5e-6


def test_the_weights_stand_in_the_file_by_their_names(tmp_path):
    model = mlp()
    cg.export(model, tmp_path / "net.onnx")
    held = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(tmp_path / "net.onnx").graph.initializer}
    kernels = [value for name, value in held.items() if name.endswith("kernel")]
    assert [k.tolist() for k in kernels] == [w.numpy().tolist() for w in model.weights if len(w.shape) > 1]


def test_the_file_can_take_bytes(tmp_path):
    model = mlp()
    cg.export(model, tmp_path / "net.onnx", scale=1 / 255)
    x = np.arange(10, dtype="uint8").reshape(2, 5) * 25
    assert np.abs(runs(tmp_path / "net.onnx", x) - model.predict(x / np.float32(255))).max() <= 5e-6


def test_what_cannot_be_exported_is_named_and_nothing_is_written(tmp_path):
    model = mlp()
    with pytest.raises(UsageError, match="opset=9"):
        cg.export(model, tmp_path / "net.onnx", opset=9)
    model.weights[0]._data[0, 0] = np.nan
    with pytest.raises(DataError, match="1 values that are NaN"):
        cg.export(model, tmp_path / "net.onnx")
    outside = layers.Lambda(lambda x: x * cg.tensor(x.numpy().max(axis=1, keepdims=True)))
    with pytest.raises(UsageError, match="computed from the batch outside of all primitives"):
        cg.export(made(outside, layers.Dense(2), shape=(5,)), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="solve has no form in ONNX: of linear algebra"):
        cg.export(
            made(layers.Lambda(lambda x: cg.solve(np.eye(5, dtype="float32"), x)), shape=(5, 2)), tmp_path / "net.onnx"
        )
    bits = layers.Lambda(lambda x: (x.astype("int32") & 3).astype("float32"))
    with pytest.raises(UsageError, match="bitwise_and has no form in ONNX: of integers it is one from opset=18 on"):
        cg.export(made(bits, shape=(2,)), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="give length="):
        cg.export(made(layers.Masking(), layers.LSTM(3), shape=(None, None, 2)), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"leaves several lengths open.*give length="):
        cg.export(made(layers.Conv2D(2, 3), shape=(None, None, None, 1)), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="bytes are scaled where"):
        cg.export(gpt(), tmp_path / "net.onnx", scale=1 / 255)
    assert not list(tmp_path.iterdir())


def test_a_primitive_of_ones_own_is_exported_by_its_equation(declare, tmp_path):
    @declare("u = x / (1 + abs(x)); y = u if x > 0 else slope * log1p(u**2) - pi")
    def bent_for_onnx(x, slope=0.5):
        """A curve."""

    model = made(layers.Dense(4), layers.Activation(bent_for_onnx), shape=(5,))
    assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6


def test_where_the_equation_is_none_of_elements_the_code_is_exported_if_it_is_of_primitives(declare, tmp_path):
    @declare("m[...] = mean(x[..., k], k); y[..., j] = clip(x[..., j] - m[...], -1, 1)", examples=())
    def centred_for_onnx(x):
        """Less the mean, within limits."""

    @declare("y[..., j] = x[..., j] - x[..., 0]", examples=())
    def lowered_for_onnx(xp, x):
        """Less the first."""
        return x - x[..., :1] if xp is np else xp.nothing_of_the_kind(x)

    layer = layers.Lambda(centred_for_onnx)
    assert cg.export(made(layers.Dense(4), layer, shape=(5,)), tmp_path / "net.onnx")["greatest difference"] <= 5e-6
    model = made(layers.Dense(4), layers.Lambda(lowered_for_onnx), shape=(5,))
    with pytest.raises(UsageError, match=r"lowered_for_onnx has no form .*xp.nothing_of_the_kind.*declare one beside"):
        cg.export(model, tmp_path / "other.onnx")
    with pytest.raises(UsageError, match="trainable is no option"):
        cg.export(model, tmp_path / "other.onnx", trainable=True)
    assert not (tmp_path / "other.onnx").exists()
    lowered_for_onnx.onnx(lambda xp, x: x - x[..., :1])
    assert cg.export(model, tmp_path / "other.onnx")["greatest difference"] <= 5e-6


def test_inputs_of_one_name_are_told_apart(tmp_path):
    one, other = layers.Input((3,)), layers.Input((3,))
    model = cg.Model([one, other], [layers.Subtract()([one, other]), layers.Dot(1)([one, other])])
    assert model.input_names == ["input", "input_1"]
    assert cg.export(model, tmp_path / "net.onnx")["greatest difference"] <= 5e-6


def test_the_file_tells_what_it_is_and_of_which_run(tmp_path):
    model = mlp()
    model.facts["run"] = {"epochs": 3}
    cg.export(model, tmp_path / "net.onnx")
    file = onnx.load(tmp_path / "net.onnx")
    assert (file.producer_name, file.producer_version) == ("chalkgrad", cg.__version__)
    assert {each.key: each.value for each in file.metadata_props}["run"] == '{"epochs": 3}'
    assert "Sequential" in file.doc_string
    assert file.graph.name == model.name


def test_the_command_tells_the_greatest_difference(tmp_path, capsys):
    mlp().save(tmp_path / "model.safetensors")
    assert export(str(tmp_path / "model.safetensors"), str(tmp_path / "net.onnx"), uint8=True, opset=18) == 0
    assert re.search(r"net\.onnx: \d+ KB\n  greatest difference: [\de.-]+\n", capsys.readouterr().out)
    file = onnx.load(tmp_path / "net.onnx")
    assert (file.opset_import[0].version, file.graph.input[0].type.tensor_type.elem_type) == (
        18,
        onnx.TensorProto.UINT8,
    )


def test_a_runtime_that_is_older_than_the_operators_is_told_of(tmp_path, monkeypatch):
    def refuses(*args, **options):
        raise RuntimeError("opset 23 is under development")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuses)
    with pytest.raises(UsageError, match=r"onnxruntime .* does not take the file.*version 18.*older opset"):
        cg.export(mlp(), tmp_path / "net.onnx", opset=18)
    assert not list(tmp_path.iterdir())
