"""What people bring, at every door: arrays of other packages are arrays here; what has no counterpart is refused."""

import sys
from decimal import Decimal

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad import proof
from chalkgrad.engine.incoming import as_array
from chalkgrad.errors import ChalkgradError, DataError, DtypeError, GraphError

pytestmark = pytest.mark.cpu_only("what lies on the host is brought")
X = np.random.default_rng(0).standard_normal((12, 4)).astype("float32")
LABELS = np.arange(12) % 3


def package(name):
    return pytest.importorskip(name, reason=f"what {name} makes is brought: {name} is not installed")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def mapped(x, folder):
    file = folder / f"{len([*folder.iterdir()])}.npy"
    np.save(file, x)
    return np.load(file, mmap_mode="r")


BROUGHT = {
    "pandas": lambda x, _: (package("pandas").Series if x.ndim == 1 else package("pandas").DataFrame)(x),
    "pandas index": lambda x, _: package("pandas").Index(x) if x.ndim == 1 else package("pandas").DataFrame(x),
    "torch": lambda x, _: package("torch").tensor(x),
    "jax": lambda x, _: package("jax.numpy").asarray(x.astype("int32") if x.dtype == "int64" else x),
    "a list of torch": lambda x, _: list(package("torch").tensor(x)),
    "DLPack": lambda x, _: OnlyDLPack(x),
    "read-only": lambda x, _: read_only(x),
    "mapped": mapped,
    "foreign bytes": lambda x, _: x.astype(x.dtype.newbyteorder(">" if sys.byteorder == "little" else "<")),
    "columns": lambda x, _: np.asfortranarray(x),
    "backwards": lambda x, _: x[::-1].copy()[::-1],
    "buffer": lambda x, _: memoryview(x),
}


class OnlyDLPack:
    def __init__(self, x):
        self.x = x

    def __dlpack__(self, **options):
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def net():
    model = cg.Sequential([cg.layers.Dense(3, activation="softmax", input_shape=(4,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def assigned(x):
    t = cg.tensor(np.zeros((12, 4), "float32"))
    t.assign(x)
    return t.numpy()


def augmented(x, bring):
    model = net()
    model.fit(x, LABELS, epochs=2, verbose=0, augmentation=lambda batch, _: bring(batch * 2))
    return model.get_weights()[0]


def trained(x, labels):
    model = net()
    model.fit(x, labels, epochs=3, verbose=0, validation_data=(x, labels))
    return *model.get_weights(), model.evaluate(x, labels, verbose=0), model.predict(x), model(x).numpy()


def weighted(w, b):
    model = net()
    model.build()
    model.set_weights([w, b])
    return model.get_weights()


w = cg.tensor(X[0], requires_grad=True)
# door: what it gives for x (12 × 4), labels (12), and a function that brings an array
DOORS = {
    "tensor": lambda x, labels, _: cg.tensor(x).numpy(),
    "operand": lambda x, labels, _: cg.exp(x).numpy(),
    "right operand": lambda x, labels, _: (w * x).numpy(),
    "left operand": lambda x, labels, _: (x * w.detach()).numpy(),
    "index": lambda x, labels, _: w[labels].numpy(),
    "grad": lambda x, labels, _: cg.grad(lambda x: (x**2).sum())(x).numpy(),
    "backward": lambda x, labels, _: cg.vjp(lambda v: v * w.detach(), X)[1](x)[0].numpy(),
    "assign": lambda x, labels, _: assigned(x),
    "model": lambda x, labels, _: trained(x, labels),
    "set_weights": lambda x, labels, bring: weighted(bring(X[:4, :3]), bring(X[0, :3])),
    "augmentation": lambda x, labels, bring: augmented(x, bring),
    "to_categorical": lambda x, labels, _: cg.utils.to_categorical(labels),
    "gradcheck": lambda x, labels, _: np.array(proof.gradcheck(cg.sin, x).proven),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", BROUGHT)
def test_at_every_door_it_is_the_array(kind, door, tmp_path):
    def bring(x):
        return BROUGHT[kind](x, tmp_path)

    x, labels = bring(X), bring(LABELS)
    if door == "left operand" and not hasattr(type(x), "__mul__"):
        pytest.skip("it multiplies nothing")
    if door == "left operand" and isinstance(x, list):
        pytest.skip("a list times a number repeats it")
    expected = DOORS[door](X, LABELS, lambda x: x)
    found = DOORS[door](x, labels, bring)
    for one, other in zip(*(v if isinstance(v, (tuple, list)) else [v] for v in (found, expected)), strict=True):
        rounded = kind == "backwards" and np.lib.NumpyVersion(np.__version__) < "2.3.0"  # of matmul, another road
        np.testing.assert_allclose(one, other, rtol=1e-6 if rounded else 0)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)


REFUSED = {
    "masked": (lambda: np.ma.array(X, mask=X > 0), DataError, "is a masked array: fill it first"),
    "masked in a list": (lambda: [np.ma.array(X[0], mask=X[0] > 0)], DataError, "is a masked array"),
    "None": (lambda: None, DtypeError, r"\(first: None\), not numbers: "),
    "a hole": (lambda: [1.0, None], DtypeError, r"holds object \(first at 1: None\)"),
    "a dict": (lambda: {"a": 1.0}, DtypeError, "not numbers: give a list of numbers"),
    "a generator": (lambda: (i for i in range(3)), DtypeError, "generator.*give a list of numbers"),
    "text": (lambda: np.array(["1", "2"]), DtypeError, r"holds <U1 \(first: '1'\), not numbers: convert it first"),
    "bytes": (lambda: [b"a"], DtypeError, r"holds \|S1"),
    "objects": (lambda: X.astype(object), DtypeError, "holds object"),
    "decimals": (lambda: [Decimal(1)], DtypeError, r"Decimal\('1'\).*float32"),
    "too large": (lambda: [2**70], DtypeError, "holds object"),
    "complex": (lambda: X * 1j, DtypeError, r"holds complex64 .*\.real and \.imag"),
    "dates": (lambda: np.array(["2020-01-01"], "M8[D]"), DtypeError, "holds datetime64.*timedelta64"),
    "durations": (lambda: np.array([1], "m8[s]"), DtypeError, "holds timedelta64"),
    "structured": (lambda: np.zeros(2, [("a", "f4")]), DtypeError, r"take one field, x\['name'\]"),
    "ragged": (lambda: [[1.0], [1.0, 2.0]], DataError, "is no array: .*inhomogeneous"),
    "scipy sparse": (lambda: package("scipy.sparse").csr_array(X), DtypeError, r"is sparse \(scipy\.csr.*toarray"),
    "torch sparse": (lambda: package("torch").tensor(X).to_sparse(), DtypeError, r"is sparse .*\.to_dense\(\)"),
    "torch bfloat16": (lambda: package("torch").ones(2).bfloat16(), DtypeError, r"bfloat16.*\.float\(\)"),
    "torch complex": (lambda: package("torch").ones(2) * 1j, DtypeError, "holds complex64"),
    "torch with a gradient": (lambda: package("torch").ones(2, requires_grad=True), GraphError, r"\.detach\(\)"),
    "torch in a list": (lambda: [package("torch").ones(2, requires_grad=True)], GraphError, r"\.detach\(\)"),
    "torch meta": (lambda: package("torch").ones(2, device="meta"), ChalkgradError, "torch tensor on meta"),
    "jax bfloat16": (lambda: package("jax.numpy").ones(2, "bfloat16"), DtypeError, r"holds bfloat16 .*astype"),
    "jax keys": (lambda: package("jax").random.key(0), DtypeError, "key_data"),
    "a category": (lambda: package("pandas").Series(list("ab"), dtype="category"), DtypeError, r"\.cat\.codes"),
    "a column of text": (
        lambda: package("pandas").DataFrame({"age": [1.0, 2.0], "name": ["a", "b"]}),
        DtypeError,
        r"column 'name', holds object \(first: 'a'\)",
    ),
    "a column of categories": (
        lambda: package("pandas").DataFrame({"kind": package("pandas").Categorical(["a"])}),
        DtypeError,
        "column 'kind', holds categories",
    ),
    "a column of dates": (
        lambda: package("pandas").DataFrame({"day": package("pandas").to_datetime(["2020-01-01"])}),
        DtypeError,
        "column 'day', holds datetime64",
    ),
    "a missing number": (
        lambda: package("pandas").DataFrame({"n": package("pandas").array([1, 2, None], dtype="Int64")}),
        DataError,
        r"column 'n', has no value in row 2 \(dtype Int64\), the first such: fill it in",
    ),
    "a missing bool": (lambda: package("pandas").array([None, True]), DataError, r"has no value in row 0"),
    "pandas sparse": (
        lambda: package("pandas").Series(package("pandas").arrays.SparseArray([0, 1])),
        DtypeError,
        r"is sparse .*\.sparse\.to_dense\(\)",
    ),
}  # fmt: skip
TAKING = {
    "tensor": cg.tensor,
    "operand": cg.exp,
    "beside a tensor": lambda x: cg.tensor([1.0]) + x,
    "assign": lambda x: cg.tensor(np.zeros((12, 4))).assign(x),
    "x": lambda x: net().fit(x, LABELS, verbose=0),
    "validation y": lambda x: net().fit(X, LABELS, verbose=0, validation_data=(X, [None] if x is None else x)),
    "predict": lambda x: net().predict(x),
    "validation": lambda x: net().fit(X, LABELS, verbose=0, validation_data=(x, LABELS)),
    "weights": lambda x: net().set_weights([x, X[0, :3]]),
    "to_categorical": cg.utils.to_categorical,
    "augmentation": lambda x: net().fit(X, LABELS, verbose=0, augmentation=lambda *_: x),
    "gradcheck": lambda x: proof.gradcheck(cg.sin, x),
}


@pytest.mark.parametrize("door", TAKING)
@pytest.mark.parametrize("kind", REFUSED)
def test_at_every_door_it_is_refused_by_name(kind, door):
    if kind in ("a dict", "a generator") and door in ("x", "predict", "validation"):
        pytest.skip("inputs by name, and batches one after another, are taken there")
    make, error, named = REFUSED[kind]
    with pytest.raises(error if door != "gradcheck" else ChalkgradError, match=named):
        TAKING[door](make())


def test_columns_of_several_dtypes_get_their_common_one():
    pandas = package("pandas")
    table = pandas.DataFrame({"a": [1.5, 2.5], "b": [1, 2], "c": [True, False]})
    table["d"] = pandas.array([7, 8], dtype="Int64")
    np.testing.assert_array_equal(cg.tensor(table), [[1.5, 1, 1, 7], [2.5, 2, 0, 8]])
    assert cg.tensor(table).dtype == "float64"
    assert cg.tensor(pandas.array([True, False])).dtype == "bool"
    np.testing.assert_array_equal(cg.tensor(pandas.DataFrame([[1, 2]], columns=["a", "a"])), [[1, 2]])


def test_a_table_beside_a_tensor_that_requires_a_gradient_keeps_it():
    pandas = package("pandas")
    for brought in (pandas.Series([1.0, 2.0]), pandas.DataFrame([[1.0, 2.0]]), pandas.Index([1.0, 2.0])):
        v = cg.tensor([3.0, 4.0], requires_grad=True)
        (brought * v).sum().backward()
        np.testing.assert_array_equal(v.grad, [1.0, 2.0])


@pytest.mark.parametrize("name", ["torch", "jax.numpy"])
def test_a_tensor_beside_arrays_of_others_keeps_its_gradient(name):
    brought = package(name).asarray(X)
    for product in (lambda v: brought * v, lambda v: v * brought, lambda v: brought @ v):
        v = cg.tensor(X[0], requires_grad=True)
        product(v).sum().backward()
        np.testing.assert_allclose(v.grad, X.sum(axis=0), rtol=1e-5)


def test_what_is_brought_may_change_before_the_reverse_pass():
    torch = package("torch")
    factor = torch.tensor([2.0, 3.0])
    v = cg.tensor([1.0, 1.0], requires_grad=True)
    y = (v * factor).sum()
    factor[:] = 100
    y.backward()
    np.testing.assert_array_equal(v.grad, [2.0, 3.0])


def test_a_recorded_step_sees_what_is_brought_as_it_is_now():
    torch = package("torch")
    factor = torch.tensor([2.0])
    step = cg.capture(lambda x: x * factor)
    for number in (2.0, 2.0, 2.0, 5.0):
        factor[0] = number
        assert step(cg.tensor([1.0])).item() == number


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_is_an_array_but_no_factor():
    matrix = np.asmatrix(X)
    assert as_array(matrix, "x").__class__ is np.ndarray
    np.testing.assert_array_equal(cg.exp(matrix), np.exp(X))
    for product in (lambda: matrix * w, lambda: w * matrix, lambda: w**matrix):
        with pytest.raises(DtypeError, match=r"products of matrices: give numpy\.asarray"):
            product()


def test_python_floats_alone_become_float32():
    assert cg.tensor([[1.0]]).dtype == cg.tensor(1.0).dtype == "float32"
    assert cg.tensor(np.float64(1)).dtype == cg.tensor(memoryview(np.ones(2))).dtype == "float64"


# To others, by DLPack


@pytest.mark.parametrize("name", ["numpy", "torch", "jax.numpy"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_others_take_a_tensor(name, dtype):
    t = cg.tensor((X * 9).astype(dtype))[::2, 1:]
    taken = package(name).from_dlpack(t)
    np.testing.assert_array_equal(np.asarray(taken), t)
    assert str(taken.dtype).removeprefix("torch.") == dtype


def test_what_others_do_with_it_is_not_seen_unless_they_share_the_memory():
    torch = package("torch")
    t = cg.tensor([1.0, 2.0])
    torch.from_dlpack(t).add_(1)
    np.from_dlpack(t)[:] = 7
    np.testing.assert_array_equal(t, [1.0, 2.0])
    shared = np.from_dlpack(t, copy=False)
    assert np.shares_memory(shared, t.numpy())
    assert not shared.flags.writeable
    with pytest.raises(BufferError):  # an old taker cannot be told that it may not write
        t.__dlpack__(copy=False)


def test_a_gradient_is_not_handed_on():
    with pytest.raises(GraphError, match=r"requires a gradient cannot be handed on with it: .*\.detach\(\)"):
        np.from_dlpack(w)
    assert w.__dlpack_device__() == (1, 0)
