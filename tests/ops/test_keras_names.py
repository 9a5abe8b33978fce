"""`chalkgrad.ops` under Keras's names: what Keras computes by the same expression."""

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import ops
from chalkgrad.errors import ChalkgradError
from chalkgrad.ops import keras_names

pytestmark = pytest.mark.cpu_only("Keras computes on the CPU")

X = np.array([[0.5, -1.5, 2.0], [3.0, 0.25, -0.75]], "float32")
P = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], "float32")
LABELS = np.array([2, 0])
PICTURES, KERNEL = (np.random.default_rng(2).normal(size=s).astype("float32") for s in ((2, 5, 6, 3), (3, 2, 3, 4)))
CASES = (
    """
ops.matmul(x, ops.transpose(x)) | ops.softmax(x) | ops.log_softmax(x, axis=0) | ops.relu(x) | ops.sigmoid(x)
ops.one_hot(labels, 3) | ops.one_hot(labels, 4, axis=0) | ops.cast(x, "int32") | ops.convert_to_tensor([1.0, 2.0])
ops.reshape(x, (3, 2)) | ops.zeros(ops.shape(x)) | ops.ones((2,)) + ops.size(x) + ops.ndim(x) | ops.eye(3)
ops.arange(4) | ops.arange(0.0, 1.0, 0.25) | ops.full((2,), 3.0) | ops.linspace(0.0, 1.0, 5) | ops.identity(2)
ops.tri(3) | ops.zeros_like(x) | ops.gelu(x) | ops.gelu(x, approximate=False) | ops.relu6(3 * x)
ops.hard_sigmoid(3 * x) | ops.selu(x) | ops.softsign(x) | ops.log_sigmoid(x) | ops.swish(x) | ops.silu(x)
ops.rsqrt(p) | ops.elu(x) | ops.leaky_relu(x) | ops.top_k(x, 2)[0] | ops.top_k(x, 2)[1] | ops.normalize(x)
ops.normalize(x, 0, 1) | ops.segment_sum(x, labels, 4) | ops.categorical_crossentropy(p, p)
ops.categorical_crossentropy(p, x, from_logits=True) | ops.sparse_categorical_crossentropy(labels, p)
ops.sparse_categorical_crossentropy(labels, x, True) | ops.binary_crossentropy(p, p)
ops.binary_crossentropy(p, x, True) | ops.stop_gradient(ops.convert_to_tensor(x))
ops.vectorized_map(lambda row: ops.sum(row**2), x) | ops.cond(True, lambda: x + 1, lambda: x)
ops.fori_loop(0, 3, lambda i, v: v * 2, ops.convert_to_tensor(x))
ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2), (0, ops.convert_to_tensor(x)))[1]
ops.mean(x, axis=-1, keepdims=True) | ops.max(x, axis=0) | ops.std(x) | ops.concatenate([x, p], axis=-1)
ops.stack([x, p]) | ops.expand_dims(x, 1) | ops.split(x, 3, axis=1)[1] | ops.where(x > 0, x, p)
ops.take(x, labels, axis=1) | ops.einsum("ij,kj->ik", x, p) | ops.clip(x, -1.0, 1.0) | ops.pad(x, ((1, 1), (0, 2)))
ops.argmax(x, axis=-1) | ops.max_pool(pictures, 2, strides=2)
ops.average_pool(pictures, (2, 2), strides=1, padding="same") | ops.conv(pictures, kernel, strides=2, padding="same")
ops.conv(pictures, kernel, dilation_rate=2) | ops.tensordot(x, p)
""".strip()
    .replace(" | ", "\n")
    .splitlines()
)


def evaluated(text, xp, as_tensor):
    return eval(
        text,
        {
            "ops": xp,
            "x": as_tensor(X),
            "p": as_tensor(P),
            "labels": as_tensor(LABELS),
            "pictures": as_tensor(PICTURES),
            "kernel": as_tensor(KERNEL),
        },
    )


def test_each_name_has_a_case_and_computes():
    own = {name for name, f in vars(keras_names).items() if getattr(f, "__module__", "") == keras_names.__name__}
    public = {name for name in own if not name.startswith("_")}
    assert public - {"convert_to_numpy", "is_tensor", "dtype", "empty"} <= {
        name for name in public if any(f"ops.{name}(" in text for text in CASES)
    }
    for text in CASES:
        assert isinstance(evaluated(text, ops, cg.tensor), cg.Tensor), text
    assert (ops.dtype(X), ops.is_tensor(X), ops.shape(X)) == ("float32", False, (2, 3))
    assert ops.convert_to_numpy(cg.tensor(X, requires_grad=True)).tolist() == X.tolist()
    with pytest.raises(AttributeError, match=r"chalkgrad.ops has no 'softmx'.*'softmax'"):
        ops.softmx  # noqa: B018


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PyTorch
@pytest.mark.parametrize("text", CASES)
def test_it_is_keras_s(text, keras):
    theirs = keras.ops
    found, right = evaluated(text, ops, cg.tensor), theirs.convert_to_numpy(evaluated(text, theirs, theirs.array))
    np.testing.assert_allclose(found.detach().numpy(), right, rtol=2e-5, atol=1e-6)
    assert found.dtype.kind == right.dtype.kind


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: ops.categorical_crossentropy(np.eye(3), np.ones(3) / 3), r"\(3, 3\), output \(3,\)"),
        (lambda: ops.binary_crossentropy(np.ones((3, 1)), np.ones(3) / 3), r"\(3, 1\), output \(3,\)"),
        (lambda: ops.sparse_categorical_crossentropy([0, 3], np.ones((2, 3)) / 3), "label 3"),
        (lambda: ops.segment_sum(np.ones((2, 1)), [0, -1], 2), "the id -1"),
        (lambda: ops.segment_sum(np.ones((2, 1)), [0, 2], 2), "the id 2"),
    ],
)
def test_what_would_only_broadcast_or_has_no_row_is_refused(call, told):
    with pytest.raises(ChalkgradError, match=told):
        call()
    column = ops.sparse_categorical_crossentropy([[0], [2]], np.ones((2, 3)) / 3)
    np.testing.assert_allclose(column, np.log([3, 3]), rtol=1e-6)
