"""NumPy's functions on tensors: ours where there are, refused where a gradient would be lost, else NumPy's."""

import re
from pathlib import Path

import numpy as np
import pytest
from sampling import draw, examples

import chalkgrad as cg
from chalkgrad.engine.namespace import namespace
from chalkgrad.errors import ChalkgradError, GraphError, UsageError
from chalkgrad.ops.composed import composed

PUBLIC = {name: f for name, f in vars(np).items() if callable(f) and not name.startswith("_")}
OWN = {name: p for p in cg.registry.values() for name in (p.name, *p.synonyms) if name in PUBLIC}
pytestmark = pytest.mark.cpu_only("NumPy's functions take arrays of the CPU")


def leaf(values=(3.0, 4.0), **options):
    return cg.tensor(values, requires_grad=True, **options)


def test_synonyms_are_the_names_that_numpy_has():
    for made in cg.registry.values():
        same = {name for name, f in PUBLIC.items() if f is PUBLIC.get(made.name)}
        assert same <= {made.name, *made.synonyms}
        assert set(made.synonyms) <= PUBLIC.keys()
        assert all(getattr(cg, name) is made for name in made.synonyms)


@pytest.mark.parametrize("name", OWN)
def test_a_function_that_is_ours_computes_and_records(name):
    made = OWN[name]
    for case in examples(made):
        values = draw(made, case)
        xs = [cg.tensor(x, requires_grad=x.dtype.kind == "f") for x in values]
        options = dict(case.parameters)
        first = [options.pop("subscripts")] if "subscripts" in options else []
        required = [options.pop(key) for key in ("shape", "pad_width", "dtype", "shift") if key in options]
        operands = [xs] if name in ("stack", "concatenate", "concat") else xs
        ours = made.compute(tuple(xs), case.parameters)
        theirs = PUBLIC[name](*first, *operands, *required, **options)
        if made.rules or isinstance(PUBLIC[name], np.ufunc) or any(x.requires_grad for x in xs):
            assert type(theirs) is cg.Tensor
        assert getattr(theirs, "requires_grad", False) is ours.requires_grad
        np.testing.assert_array_equal(theirs, ours)
        if made.rules and ours.requires_grad:
            gy = np.random.default_rng(3).standard_normal(ours.shape)
            gradients = []
            for y in (ours, theirs):
                for x in xs:
                    x.grad = None
                y.backward(gy)
                gradients.append([x.grad for x in xs if x.requires_grad])
            for one, other in zip(*gradients, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["unwrap", "nanmedian"])
def test_a_primitive_of_a_user_does_not_stand_for_numpy_s(declare, name):
    kernel = lambda xp, x: 3 * x  # noqa: E731
    kernel.__name__ = name
    declare("y = 3 * x")(kernel)
    with pytest.raises(GraphError, match=f"numpy.{name} knows of no gradient"):
        getattr(np, name)(leaf())
    assert getattr(np, name)(cg.tensor([3.0, 4.0])).tolist() == getattr(np, name)([3.0, 4.0]).tolist()


OTHER_SPELLINGS = [
    (lambda w: np.clip(w, 0, 3.5), [1, 0]),
    (lambda w: np.clip(w, a_min=None, a_max=3.5), [1, 0]),
    (lambda w: np.sum(w, 0, None, None, True), [1, 1]),
    (lambda w: np.mean(w, axis=(0,), keepdims=True), [0.5, 0.5]),
    (lambda w: np.concatenate((np.ones(2), w), 0), [1, 1]),
    (lambda w: np.stack([w, w * 2], axis=1), [3, 3]),
    (lambda w: np.where(w > 3, w, 0), [0, 1]),
    (lambda w: np.where(np.array([True, False]), w[1], w[0]), [1, 1]),
    (lambda w: np.transpose(np.reshape(w, (1, 2)), (1, 0)), [1, 1]),
    (lambda w: np.pad(w, 1, constant_values=5.0), [1, 1]),
    (lambda w: np.pad(w, 1, mode="constant"), [1, 1]),
    (lambda w: np.round(w, 1) + np.astype(w, "float64"), [1, 1]),
    (lambda w: np.add(w, [w[0], w[1]]), [2, 2]),
    (lambda w: np.array([1.0, 2.0]) * w, [1, 2]),
    (lambda w: np.float64(2) * w, [2, 2]),
    (lambda w: np.array([[1.0, 2.0]]) @ w, [1, 2]),
    (lambda w: np.array([7.0, 9.0]) % w, [-2, -2]),
    (lambda w: w * np.zeros_like(w) + np.ones_like(w) * w, [1, 1]),
]


@pytest.mark.parametrize(("f", "slope"), OTHER_SPELLINGS)
def test_with_the_arguments_of_numpy(f, slope):
    w = leaf()
    f(w).sum().backward()
    np.testing.assert_allclose(w.grad, slope)


REFUSED = [
    lambda w: np.linalg.cond(w[:, None] * w),
    lambda w: np.sort(w, kind="stable"),
    lambda w: np.histogram(w),
    lambda w: np.i0(w),
    lambda w: np.unwrap(w),
    lambda w: np.insert(w, 0, w[1]),
    lambda w: np.fft.rfft(w),
    lambda w: np.linalg.eigvals(w[:, None] * w),
    lambda w: np.linspace(0, w[0], 3, dtype="float32"),
    lambda w: np.sort(w, stable=True),
    lambda w: np.linalg.qr(w[:, None] * w),
    lambda w: np.sum(w, dtype="float64"),
    lambda w: np.reshape(w, (2, 1), order="F"),
    lambda w: np.max(w, initial=9.0),
    lambda w: np.add(w, 1, where=[True, False], out=None),
    lambda w: np.add.reduce(w),
    lambda w: np.multiply.outer(w, w),
    lambda w: np.add.accumulate(w),
    lambda w: np.add(w, 1, out=np.zeros(2)),
    lambda w: np.add.at(np.zeros(2), [0], w[0]),
    lambda w: np.copyto(np.zeros(2), w),
    lambda w: np.asarray(w),
    lambda w: np.array([w[0], 1.0]),
    lambda w: np.float32(w[0]),
    lambda w: np.mean([w[0], w[1]]),
    lambda w: np.zeros(2).dot(w),
    lambda w: np.random.default_rng(0).permutation(w),
    lambda w: np.vectorize(abs)(w),
]


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
@pytest.mark.parametrize("f", REFUSED)
def test_where_a_gradient_would_be_lost_it_is_refused(f):
    with pytest.raises(GraphError, match=r"gradient.*(chalkgrad|\.detach\(\))"):
        f(leaf())


def test_nothing_is_written_where_it_is_refused():
    w, buffer = leaf(), np.zeros(2)
    for write in (
        lambda: np.copyto(buffer, w),
        lambda: np.add(w, 1, out=buffer),
        lambda: np.add.at(buffer, [0], w[0]),
        lambda: np.put(buffer, [0], w[0]),
        lambda: np.fill_diagonal(buffer.reshape(2, 1), w[0]),
        lambda: buffer.__setitem__([0, 1], w),
        lambda: buffer.__iadd__(w),
    ):
        with pytest.raises(GraphError):
            write()
    assert buffer.tolist() == [0, 0]


@pytest.mark.parametrize("requires_grad", [True, False])
def test_nothing_is_written_into_a_tensor(requires_grad):
    x = cg.tensor([3.0, 4.0], requires_grad=requires_grad)
    for write in (
        lambda: np.add(np.ones(2), 1, out=x),
        lambda: np.add.at(x, [0], 1.0),
        lambda: np.copyto(x, [1, 2]),
        lambda: np.sum(np.ones((2, 2)), 0, None, x),
        lambda: np.put(x, [0], 9.0),
    ):
        with pytest.raises((UsageError, GraphError), match=r"does not write into a tensor|gradient"):
            write()
    assert x.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("f", "value"),
    [
        (np.shape, (2,)),
        (np.ndim, 1),
        (np.size, 2),
        (np.isnan, [False, False]),
        (np.argsort, [0, 1]),
        (np.result_type, "float32"),
        (np.iscomplexobj, False),
        (lambda w: np.allclose(w, [3, 4]), True),
        (lambda w: np.array_equal(w, w), True),
        (lambda w: np.nonzero(w)[0], [0, 1]),
        (lambda w: np.where(w > 3)[0], [1]),
        (lambda w: np.searchsorted(w, 3.5), 1),
        (np.array2string, "[3. 4.]"),
    ],
)
def test_what_holds_no_floats_can_pass_no_gradient(f, value):
    for w in (leaf(), cg.tensor([3.0, 4.0])):
        assert np.all(f(w) == value)


def test_without_a_gradient_numpy_computes():
    x = cg.tensor([3.0, 4.0])
    for f in (
        np.mean,
        np.linalg.norm,
        np.i0,
        np.std,
        np.sort,
        np.cumsum,
        np.add.reduce,
        lambda x: np.stack([x, x]),
    ):
        result, expected = f(x), f(x.numpy())
        assert isinstance(result, (np.ndarray, np.generic))
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
    total = np.zeros(2)
    total += x
    assert total.tolist() == [3, 4]


def test_a_value_alone_is_asked_for():
    w = leaf()
    assert np.linalg.norm(w.detach()) == np.linalg.norm(w.numpy()) == 5
    assert float(w[0]) == w[0].item() == 3


def test_numpy_s_own_errors_stay():
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(cg.tensor([3.0, 4.0]))
    with pytest.raises(ChalkgradError, match=r"add .* cannot take a of shape \(2,\), b of shape \(3,\)"):
        np.add(leaf(), np.ones(3))


def test_the_documentation_names_those_that_are_ours():
    text = (Path(__file__).parents[2] / "docs" / "numpy.md").read_text("utf-8")
    table = text.partition("<!-- functions -->")[2].partition("<!-- end -->")[0]
    plain = {*OWN, *composed, "full_like", "ones_like", "zeros_like"} & {*PUBLIC}
    told = re.findall(r"`np\.([\w.]+)`", table)
    assert [name for name in told if name in PUBLIC or "." in name] == [  # other NumPys have a name more or less
        *sorted(plain), *sorted(f"linalg.{name}" for name in vars(namespace.linalg))
    ]  # fmt: skip
