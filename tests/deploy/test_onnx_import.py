"""ONNX files as models: they compute what onnxruntime does, are trained, saved, and exported again."""

import numpy as np
import pytest
import test_onnx as exported

import chalkgrad as cg
from chalkgrad import layers
from chalkgrad.deploy.onnx_import import import_onnx
from chalkgrad.errors import ChalkgradError, DataError, ShapeError, UsageError
from chalkgrad.nn.layers import operator_rows
from chalkgrad.proof import assert_gradients

onnx = pytest.importorskip("onnx")
helper = onnx.helper
R = np.random.default_rng(0)


def draw(*shape):
    return R.normal(size=shape).astype("float32")


X, IMAGES, STEPS = draw(3, 4), draw(2, 4, 6, 5), draw(4, 3, 2)


def integers(*values):
    return np.array(values, "int64")


def row(name, *inputs, outputs=1, **attributes):
    return name, inputs, outputs, attributes


def recurrent(gates, directions, units=3):
    return (
        draw(directions, gates * units, 2),
        draw(directions, gates * units, units),
        draw(directions, 2 * gates * units),
    )


CASES = [
    *(row(name, X, draw(4)) for name in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "PRelu")),
    *(row(name, X) for name in ("Neg", "Relu", "Tanh", "Sigmoid", "Exp", "Abs", "Erf", "Softplus", "Sin", "Floor")),
    *(row(name, X) for name in ("Sign", "Identity", "Flatten", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish")),
    row("Reciprocal", X),
    *(row(name, np.abs(X)) for name in ("Sqrt", "Log")), row("Pow", np.abs(X), np.float32(1.5)),
    row("Gelu", X), row("Gelu", X, approximate="tanh"), row("Softmax", X, axis=0), row("LogSoftmax", X),
    row("MatMul", X, draw(4, 2)), row("Gemm", X, draw(2, 4), draw(2), transB=1, alpha=0.5, beta=2.0),
    row("Gemm", X, draw(3, 2), transA=1), row("Einsum", X, draw(4, 2), equation="ij,jk->ki"),
    row("Clip", X, np.float32(-0.5), np.float32(0.5)), row("Cast", X, to=7), row("Trilu", draw(4, 4), integers(1)[0]),
    *(row("CumSum", X, integers(1)[0], **way) for way in ({}, {"reverse": 1}, {"exclusive": 1, "reverse": 1})),
    row("Transpose", IMAGES, perm=[0, 2, 3, 1]), row("Concat", X, draw(3, 2), axis=1),
    row("Reshape", IMAGES, integers(0, -1, 5)), row("Squeeze", draw(3, 1, 2), integers(1)),
    row("Expand", X, integers(2, 1, 4)),
    row("Unsqueeze", X, integers(0, 3)), row("Gather", X, integers(2, 0)), row("Gather", X, integers(1, 1, 3), axis=1),
    row("Gather", X, np.array(1), axis=1), row("Tile", X, integers(2, 1)),
    row("Slice", IMAGES, integers(-1, 4), integers(-10, 1), integers(2, 3), integers(-2, -1)),
    row("Slice", X, integers(1), integers(100)), row("Split", X, integers(1, 3), outputs=2, axis=1),
    row("Split", X, outputs=2, axis=1, num_outputs=2), row("Pad", X, integers(0, 1, 2, 0), np.float32(7)),
    row("Pad", X, integers(1, 1, 1, 1), mode="reflect"), row("Where", X > 0, X, draw(4)), row("Shape", IMAGES, start=1),
    *(row(name, IMAGES, integers(1, -1), keepdims=0) for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")),
    row("ReduceProd", X), row("ArgMax", X, axis=1), row("ArgMin", X, keepdims=0), row("GlobalAveragePool", IMAGES),
    row("GlobalMaxPool", IMAGES), row("MaxPool", IMAGES, kernel_shape=[2, 3], strides=[2, 1], pads=[1, 0, 0, 1]),
    row("AveragePool", IMAGES, kernel_shape=[3, 2], auto_pad="SAME_UPPER"),
    row("AveragePool", IMAGES, kernel_shape=[3, 2], pads=[1, 1, 1, 0], count_include_pad=1),
    row("Conv", IMAGES, draw(6, 2, 3, 2), draw(6), group=2, pads=[1, 0, 2, 1], strides=[2, 1]),
    row("Conv", IMAGES, draw(3, 4, 2, 2), auto_pad="SAME_LOWER"),
    row("Conv", IMAGES, draw(3, 4, 2, 2), dilations=[2, 1]),
    row("Conv", draw(2, 3, 7), draw(4, 3, 3)),
    row("ConvTranspose", IMAGES, draw(4, 3, 3, 2), draw(3), strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]),
    row("ConvTranspose", IMAGES, draw(4, 2, 2, 2), group=2, strides=[2, 3]),
    row("BatchNormalization", IMAGES, draw(4), draw(4), draw(4), np.abs(draw(4))),
    row("LayerNormalization", X, draw(4), draw(4)), row("LayerNormalization", IMAGES, draw(6, 5), axis=2),
    row("InstanceNormalization", IMAGES, draw(4), draw(4)),
    row("GroupNormalization", IMAGES, draw(4), draw(4), num_groups=2),
    *(row("LSTM", STEPS, *recurrent(4, 1 + (way == "bidirectional")), outputs=3, hidden_size=3, direction=way)
      for way in ("forward", "reverse", "bidirectional")),
    row("LSTM", STEPS, *recurrent(4, 1), None, draw(1, 3, 3), draw(1, 3, 3), outputs=3, hidden_size=3),
    row("GRU", STEPS, *recurrent(3, 2), outputs=2, hidden_size=3, direction="bidirectional", linear_before_reset=1),
    row("RNN", STEPS, *recurrent(1, 1)[:2], outputs=2, hidden_size=3),
    row("And", X > 0, X < 1), row("Not", X > 0), row("Mod", integers(7, -7), integers(3, 3)),
    row("Div", integers(7, -7), integers(2, 2)), row("Equal", integers(1, 2), integers(1, 3)), row("Less", X, draw(4)),
    row("BitwiseXor", integers(6, -7), integers(3, 5)), row("BitwiseNot", integers(6, -7)),
]  # fmt: skip
SINCE = {"GroupNormalization": 21, "Gelu": 20}


def file_of(name, inputs, outputs, attributes, path, learned=()):
    """A graph of one node; the first input is a sample's, the others stand in the file."""
    names = [f"i{n}" if x is not None else "" for n, x in enumerate(inputs)]
    made = [f"o{n}" for n in range(outputs)]
    node = helper.make_node(name, names, made, **attributes)
    first = helper.make_tensor_value_info(
        "i0", helper.np_dtype_to_tensor_dtype(inputs[0].dtype), ["b", *inputs[0].shape[1:]]
    )
    given = [onnx.numpy_helper.from_array(x, n) for n, x in zip(names[1:], inputs[1:], strict=True) if x is not None]
    graph = helper.make_graph([node], "g", [first], [helper.make_empty_tensor_value_info(n) for n in made], given)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", SINCE.get(name, 18))], ir_version=9)
    file = onnx.shape_inference.infer_shapes(file)
    onnx.save(file, path)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_operator_computes_what_onnxruntime_does(case, tmp_path):
    """The node itself; with a graph around it in the tests of whole nets."""
    name, inputs, outputs, attributes = case
    path = file_of(*case, tmp_path / "f.onnx")
    session = exported.onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"i0": inputs[0]})
    given = operator_rows.Given(attributes)
    given.names, given.state, given.training, given.outputs = [f"i{n}" for n in range(len(inputs))], {}, False, outputs
    ours = operator_rows.row_of(name)(cg.np, given, cg.tensor(inputs[0]), *inputs[1:])
    for one, other in zip(ours if isinstance(ours, list) else [ours], theirs, strict=True):
        one = np.asarray(one if isinstance(one, np.ndarray) else one.numpy())
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


def come_back(net, path, count):
    """A net, what comes of its file, and samples: as the net's test has them, and as a call takes them."""
    model = net()
    cg.export(model, path)
    xs = exported.inputs(model, count)
    return model, import_onnx(path), xs, xs if xs[1:] else xs[0]


@pytest.mark.parametrize("net", [exported.cnn, exported.lstm, exported.bert])  # the others in the next one
def test_a_file_of_ours_comes_back(net, tmp_path):
    model, again, xs, x = come_back(net, tmp_path / "net.onnx", 5)
    assert np.abs(again(x).numpy() - exported.ours(model, xs)).max() <= 5e-6


@pytest.mark.deep
@pytest.mark.parametrize("net", exported.NETS)
def test_it_is_trained_saved_and_exported_again(net, tmp_path):
    path = tmp_path / "net.onnx"
    _, again, _, x = come_back(net, path, 24)
    again.compile("adam", "mse")
    losses = again.fit(x, np.zeros_like(again(x).numpy()), epochs=6, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert "replayed" in again.recorded["train"].explain()
    again.save(tmp_path / "net.safetensors")
    third = cg.models.load_model(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(third(x).numpy(), again(x).numpy())
    assert cg.export(third, path)["greatest difference"] <= 5e-6
    np.testing.assert_allclose(import_onnx(path)(x).numpy(), third(x).numpy(), atol=5e-6)


def test_weights_are_learned_and_moving_means_go_on(tmp_path):
    inputs = [IMAGES, draw(4), draw(4), draw(4), np.abs(draw(4))]
    model = import_onnx(file_of("BatchNormalization", inputs, 1, {"momentum": 0.5}, tmp_path / "f.onnx"))
    assert [w.name.rpartition("/")[2] for w in model.trainable_weights] == ["i1", "i2"]
    model.compile("sgd", "mse")
    model.fit(IMAGES, IMAGES, epochs=1, verbose=0)
    state = model.layers[-1].state
    np.testing.assert_allclose(state["i3"].numpy(), 0.5 * inputs[3] + 0.5 * IMAGES.mean((0, 2, 3)), rtol=1e-5)


def test_its_gradients_are_derivatives(tmp_path):
    model = cg.Sequential([layers.Dense(3, "tanh"), layers.Dense(2)], dtype="float64")
    model.build((4,))
    cg.export(model, tmp_path / "f.onnx")
    again = import_onnx(tmp_path / "f.onnx")
    assert again.dtype == "float64"
    assert_gradients(lambda x: (again(x) ** 2).sum(), X.astype("float64"))


def of_torch():
    """Nets of PyTorch's, and what they are given."""
    torch = pytest.importorskip("torch", reason="another writer of such files")
    nn = torch.nn

    class Last(nn.Module):
        def __init__(self, steps, dense):
            super().__init__()
            self.steps, self.dense = steps, dense

        def forward(self, x):
            return self.dense(self.steps(x)[0][:, -1])

    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return torch, [
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                       nn.Dropout(0.3), nn.Linear(128, 4)), (3, 8, 8)),
        (Last(nn.LSTM(5, 7, 2, batch_first=True, bidirectional=True), nn.Linear(14, 3)), (4, 5)),
        (Last(nn.GRU(5, 7, batch_first=True), nn.Linear(7, 3)), (4, 5)),
        (nn.TransformerEncoder(block, 2, enable_nested_tensor=False), (5, 8)),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
                       nn.InstanceNorm2d(4, affine=True), nn.SiLU(), nn.GroupNorm(2, 4), nn.Softmax(1)), (3, 6, 6)),
    ]  # fmt: skip


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")  # the writer's own
def test_files_that_pytorch_has_written(tmp_path):
    torch, nets = of_torch()
    for net, shape in nets:
        x, path = torch.randn(5, *shape), tmp_path / "f.onnx"
        open_ = {"x": {0: "b"}, "y": {0: "b"}}
        torch.onnx.export(
            net.eval(), (x[:2],), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=open_,
            opset_version=17,
        )  # fmt: skip
        model = import_onnx(path)
        np.testing.assert_allclose(model(x.numpy()).numpy(), net(x).detach().numpy(), atol=5e-6)


def changed(path, change):
    file = onnx.load(path)
    change(file)
    path.write_bytes(file.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.graph.node[0].ClearField("op_type") or setattr(f.graph.node[0], "op_type", "NonZero"), UsageError,
         r"operators without a counterpart here: NonZero \(1 times\)"),
        (lambda f: setattr(f.graph.node[0], "domain", "com.example"), UsageError, "the domain com.example"),
        (lambda f: setattr(f.opset_import[0], "version", 9), UsageError, "operators of version 9"),
        (lambda f: f.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(draw(4).astype("float16"), "i1")), (UsageError, DataError), "float16|damaged"),
        (lambda f: f.graph.node[0].input.append("nowhere"), DataError, "is no ONNX file, or is damaged"),
    ],
)  # fmt: skip
def test_what_is_refused(change, error, message, tmp_path):
    path = changed(file_of("Relu", [X], 1, {}, tmp_path / "f.onnx"), lambda f: None)
    if "initializer" in str(change.__code__.co_names):
        path = file_of("Add", [X, draw(4)], 1, {}, path)
    with pytest.raises(error, match=message):
        import_onnx(changed(path, change))


@pytest.mark.parametrize(
    "case",
    [
        row("Slice", X, integers(0), integers(2), integers(9)),
        row("Split", X, integers(1, 9), outputs=2, axis=1),
        row("Tile", X, integers(1 << 40, 1 << 40)),
    ],
    ids=lambda case: case[0],
)
def test_lengths_that_cannot_be_name_the_node(case):
    name, inputs, outputs, attributes = case
    names, made = [f"i{n}" for n in range(len(inputs))], [f"o{n}" for n in range(outputs)]
    constants = {n: [str(x.dtype), [*x.shape], x.tolist()] for n, x in zip(names[1:], inputs[1:], strict=True)}
    layer = layers.Operators(
        [[name, names, made, attributes]], [["i0", [4], "float32"]], [[made[0], [4]]], {}, {}, constants
    )
    with pytest.raises(ChalkgradError, match=f"the node {name} that gives 'o0' cannot be computed"):
        layer(X)


def test_a_further_output_of_a_node_that_is_not_computed_is_named():
    node = ["LayerNormalization", ["i0", "i1"], ["o0", "mean"], {}]
    constants = {"i1": ["float32", [4], [1.0] * 4]}
    layer = layers.Operators([node], [["i0", [4], "float32"]], [["o0", [4]], ["mean", [1]]], {}, {}, constants)
    with pytest.raises(UsageError, match="nothing here gives the output 'mean'"):
        layer(X)


def test_what_is_no_file_and_what_does_not_fit(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        import_onnx(tmp_path / "none.onnx")
    path = file_of("Add", [X, draw(4)], 1, {}, tmp_path / "f.onnx")
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], b"", b"PK\x03\x04"):
        (tmp_path / "g.onnx").write_bytes(part)
        with pytest.raises((DataError, UsageError)):
            import_onnx(tmp_path / "g.onnx")
    model = import_onnx(path)
    with pytest.raises(ShapeError, match=r"batches of shape \(batch, 4\), not \(3, 5\)"):
        model(draw(3, 5))
    lbr = row("GRU", STEPS, *recurrent(3, 1), outputs=2, hidden_size=3)
    with pytest.raises(UsageError, match="node GRU that gives 'o0' cannot be computed: linear_before_reset=0"):
        import_onnx(file_of(*lbr, tmp_path / "g.onnx"))(STEPS)
