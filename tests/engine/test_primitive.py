"""Declaring a primitive, calling it, and what the engine holds its rules to: toy primitives, wrong in one way each."""

import inspect

import numpy as np
import pytest
from sampling import draw, examples

import chalkgrad as cg
from chalkgrad.engine.primitive import namespace
from chalkgrad.errors import ChalkgradError, DtypeError, EquationError, ShapeError, UsageError


@pytest.fixture
def scaled(declare):
    """y = factor * x, with its rule still to be declared."""

    @declare("y = factor * x", saves=("x",), method=True)
    def scaled(xp, x, factor=2.0):
        """A multiple."""
        return factor * x

    return scaled


# Declaring


def test_a_primitive_is_registered_and_lent(scaled):
    assert cg.registry["scaled"] is namespace.scaled is scaled
    assert cg.tensor([1.0]).scaled(3.0).tolist() == [3]
    assert cg.Tensor.scaled.__doc__ == scaled.__doc__ == "A multiple."
    assert repr(scaled) == "<primitive scaled: y = factor * x>"


def test_the_fixture_forgets_what_was_declared():
    assert not {"scaled", "product", "doubled"} & set(cg.registry)
    assert not hasattr(cg.Tensor, "scaled")


def test_an_operator_is_lent_both_ways_round(declare):
    @declare("y = a - 2 * b", operators=("__lshift__", "__rlshift__"))
    def shifted(xp, a, b):
        return a - 2 * b

    x = cg.tensor([1.0])
    assert (x << 10).tolist() == [-19]
    assert (10 << x).tolist() == [8]


def test_a_name_is_declared_once(scaled, declare):
    with pytest.raises(EquationError, match=r"'scaled' is declared already.*factor \* x"):

        @declare("y = x")
        def scaled(xp, x):
            return x


def test_a_rule_of_an_unknown_operand_is_refused(scaled):
    with pytest.raises(EquationError, match="scaled has no operand 'z'; it has x"):
        scaled.vjp("z", "gz = gy")


def test_a_rule_sees_what_is_saved_and_parameters_only(scaled):
    with pytest.raises(EquationError, match=r"scaled for 'x' wants 'y', which is neither saved \(x\) nor a parameter"):

        @scaled.vjp("x", "gx = y")
        def _(xp, gy, y):
            return y


@pytest.mark.parametrize(
    ("text", "kink", "why"),
    [
        ("y = 2 * z", None, "'z' is no operand"),
        ("y = wavelet(x)", None, "not one of"),
        ("y = abs(x)", "z", "'z' is"),
    ],
)
def test_the_text_is_read_at_declaration(declare, text, kink, why):
    with pytest.raises(EquationError, match=why):

        @declare(text, kink=kink)
        def doubled(xp, x):
            return 2 * x

    assert "doubled" not in cg.registry


def test_a_text_that_does_not_say_all_needs_a_body(declare):
    with pytest.raises(EquationError, match="needs a body"):

        @declare("y[i] = x[i + 1]")
        def shifted(x):
            """Without a body."""


def test_a_declaration_wants_a_function():
    with pytest.raises(UsageError, match="stands as a decorator above a function"):
        cg.primitive("y = 2 * x")(cg.tensor(1.0))


def test_a_rule_s_equation_gives_the_operand_s_gradient(scaled):
    with pytest.raises(EquationError, match=r"'gz = .*a rule of scaled, should give gx"):
        scaled.vjp("x", "gz = factor * gy")


def test_a_rule_s_text_that_cannot_be_computed_is_told(scaled):
    scaled.vjp("x", "gx = gy[factor]")
    y = scaled(cg.tensor([1.0], requires_grad=True))
    with pytest.raises(
        EquationError, match=r"the rule 'gx = gy\[factor\]' of scaled cannot be computed here: only int"
    ):
        y.backward(np.ones(1))


def test_a_rule_without_a_body_needs_what_is_saved(scaled):
    scaled.vjp("x", "gx = gy * y")
    x = cg.tensor([1.0], requires_grad=True)
    with pytest.raises(EquationError, match=r"scaled for 'x' wants 'y', which is neither saved \(x\) nor a parameter"):
        scaled(x)


CELL = """
@primitive("y = {factor} * x", method=True)
def multiplied(xp, x):
    return {factor} * x
"""


def run_cell(declare, factor, file):
    scope = {"primitive": declare, "__name__": "__main__"}
    exec(compile(CELL.format(factor=factor), file, "exec"), scope)
    return scope["multiplied"]


def test_a_cell_of_a_notebook_runs_twice(declare):
    first, second = run_cell(declare, 2, "<cell 1>"), run_cell(declare, 3, "<cell 2>")
    assert first is not second is cg.registry["multiplied"] is namespace.multiplied
    assert cg.tensor(1.0).multiplied().item() == second(1.0).item() == 3


def test_a_file_that_changed_declares_anew_and_another_does_not(declare, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(CELL.format(factor=2), "utf-8")
    run_cell(declare, 2, str(file))
    assert run_cell(declare, 2, str(file))(1.0).item() == 2
    with pytest.raises(EquationError, match=r"multiplied.*mine\.py:2; <primitive .* y = 3 \* x>, at <other>:2"):
        run_cell(declare, 3, "<other>")


@pytest.mark.parametrize("made", cg.registry.values(), ids=str)
def test_kernels_and_rules_take_the_names_of_their_equations(made):
    assert next(iter(inspect.signature(made.kernel).parameters)) == "xp"
    assert made.__doc__
    for operand, rule in made.rules.items():
        assert operand in made.operands
        assert list(inspect.signature(rule.kernel).parameters)[:2] == ["xp", f"g{made.equation.target}"]


# Calling


def test_parameters_by_position_and_by_name(scaled):
    assert scaled(1.5).item() == 3
    assert scaled(1.5, 4.0).item() == scaled(1.5, factor=4.0).item() == scaled(factor=4.0, x=1.5).item() == 6


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((), {}, r"scaled\(\) needs x: its arguments are x, factor"),
        ((1.0, 2.0, 3.0), {}, r"scaled\(\) takes 2 arguments \(x, factor\), got 3"),
        ((1.0,), {"axis": 0}, r"scaled\(\) got 'axis' which it does not take"),
        ((1.0,), {"x": 2.0}, r"scaled\(\) got 'x' twice"),
    ],
)
def test_wrong_calls_are_type_errors(scaled, arguments, options, words):
    with pytest.raises(TypeError, match=words):
        scaled(*arguments, **options)


@pytest.mark.parametrize("made", cg.registry.values(), ids=str)
def test_a_call_takes_what_help_shows(made):
    shown = inspect.signature(made).parameters.values()
    for case in examples(made):
        values = tuple(map(cg.tensor, draw(made, case)))
        parameters = {**made.defaults, **case.parameters}
        given = dict(zip(made.operands, [list(values)] if made.variadic else values, strict=True)) | parameters
        several = [p for p in shown if p.kind is p.VAR_POSITIONAL and p.name in given]
        first = [given[p.name] for p in shown if several and p.kind is p.POSITIONAL_OR_KEYWORD]
        named = {p.name: given[p.name] for p in shown if p.name in given and p.kind is not p.VAR_POSITIONAL}
        result = made(*first, *given[several[0].name]) if several else made(**named)
        if case.parameters.keys() <= {p.name for p in shown}:  # some are computed from what is shown
            np.testing.assert_array_equal(result, made.compute(values, case.parameters))
        if made.method:
            assert list(inspect.signature(getattr(cg.Tensor, made.name)).parameters)[1:] == [p.name for p in shown][1:]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: cg.reshape(x, 3, shape=(3,)), r"reshape\(\) got 'shape' twice"),
        (lambda x: cg.transpose(x, axis=0), r"transpose\(\) got an unexpected keyword argument 'axis'"),
        (lambda x: cg.clip(x, low=0), r"clip\(\) got an unexpected keyword argument 'low'"),
        (lambda x: x.sum(dims=0), r"sum\(\) got 'dims' which it does not take"),
    ],
)
def test_other_keywords_are_refused_by_name(call, words):
    with pytest.raises(TypeError, match=words):
        call(cg.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("axis", [[0, 1], (0, 1), (-1, -2), np.array([0, 1]), range(2), [cg.tensor(0), 1], np.int64(0)])
def test_axes_are_integers_in_any_sequence(axis):
    x = cg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    y = cg.mean(x, axis=axis)
    assert y.shape == ((3,) if np.ndim(axis) == 0 else ())
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(x.grad, 1 / 2 if y.ndim else 1 / 6)


@pytest.mark.parametrize("axis", [[0.0], "rows", 1.5, {0: 1}, [None], cg.tensor(0.5)], ids=repr)
def test_axes_that_are_none(axis):
    with pytest.raises((UsageError, ShapeError), match="axis"):
        cg.sum(cg.tensor([[1.0]]), axis=axis)


@pytest.mark.parametrize("operand", [None, "2", {}, np.array(["a"]), np.array([None]), [object()], np.complex64(1j)])
def test_operands_that_are_no_numbers(scaled, operand):
    with pytest.raises(DtypeError):
        scaled(operand)
    with pytest.raises(DtypeError):
        cg.tensor([1.0]) * operand


def test_a_complex_operand_is_refused():
    with pytest.raises(DtypeError):
        cg.tensor([1.0], requires_grad=True) * 1j


@pytest.mark.parametrize("operand", [2.0, 2, True, np.float64(2), np.arange(3), [1.0, 2.0], (1, 2), [[1.0], [2.0]]])
def test_operands_that_are_numbers(scaled, operand):
    np.testing.assert_array_equal(scaled(operand), 2.0 * np.asarray(operand))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_integers_are_made_floats_where_its_equation_leaves_them(declare, dtype):
    @declare("y = x * exp(-x**2)")
    def ricker(xp, x):
        return x * xp.exp(-x * x)

    @declare("y = factor * x")
    def scaled(xp, x, factor=2.5):
        return xp.multiply(x, factor)

    @declare("y = (x - 3)**2")
    def squared(xp, x):
        return (x - 3) ** 2

    @declare("y = (x - 3)**2", whole=False)
    def distance(xp, x):
        return (x - 3) ** 2

    x = np.array([0, 1, 1], dtype)
    for tensor in (x, cg.tensor(x)):
        np.testing.assert_allclose(ricker(tensor), ricker(x.astype("float64")), rtol=1e-6)
        assert scaled(tensor).tolist() == [0, 2.5, 2.5]
        assert distance(tensor).tolist() == [9, 4, 4]
        assert squared(tensor).dtype.kind in "iu"
        assert scaled(tensor, factor=2).dtype.kind in "iu"


@pytest.mark.cpu_only("an index out of range wraps around on a GPU")
def test_an_error_of_the_kernel_names_shapes_and_parameters(declare):
    @declare("y = x[shift]", examples=(cg.engine.primitive.example((3,), shift=1),))
    def picked(xp, x, shift):
        return x[shift]

    with pytest.raises(ShapeError, match=r"picked \(y = x\[shift\]\) cannot take x of shape \(3,\), shift of shape"):
        picked(np.ones(3), 7)


def test_a_check_comes_before_the_kernel(scaled):
    @scaled.check
    def _(x, factor):
        if not factor:
            raise ShapeError("a factor of 0 forgets x.")

    with pytest.raises(ShapeError, match="forgets x"):
        scaled(1.0, factor=0.0)
    assert scaled(1.0).item() == 2


# What a rule may return


def backward(primitive, dtype="float64", shape=(2, 3)):
    x = cg.tensor(np.ones(shape), requires_grad=True, dtype=dtype)
    primitive(x).backward(np.ones(shape))
    return x.grad


@pytest.mark.parametrize("shape", [(3, 2), (3,), (2, 1), (), (5, 3)])
def test_a_rule_of_a_wrong_shape_is_refused(scaled, shape):
    @scaled.vjp("x", "gx = factor * gy")
    def _(xp, gy):
        return xp.zeros(shape, dtype=gy.dtype)

    with pytest.raises(ShapeError, match=r"the rule 'gx = factor \* gy' of scaled gave shape .* of shape \(2, 3\)"):
        backward(scaled)


def test_a_rule_with_more_axes_than_the_operand_is_summed(scaled):
    @scaled.vjp("x", "gx = factor * gy")
    def _(xp, gy, factor):
        return xp.stack([factor * gy, gy])

    assert (backward(scaled).numpy() == 3).all()


@pytest.mark.parametrize(
    "rule",
    [
        lambda xp, gy: np.float64(2.0) * gy,
        pytest.param(
            lambda xp, gy: gy * np.full(gy.shape, 2.0),
            marks=pytest.mark.cpu_only("NumPy arrays, which a GPU's tensors are not mixed with"),
        ),
        lambda xp, gy: gy.astype("float64"),
        lambda xp, gy: gy > 0,
        lambda xp, gy: gy.astype("int64"),
    ],
    ids=["scalar", "array", "float64", "bool", "int"],
)
def test_a_rule_of_a_wrong_dtype_is_refused(scaled, rule):
    scaled.vjp("x", "gx = factor * gy")(rule)
    with pytest.raises(DtypeError, match=r"the rule 'gx = factor \* gy' of scaled gave dtype \w+ from .* float32"):
        backward(scaled, dtype="float32")


def test_a_rule_may_return_a_python_number_s_worth_of_arrays(scaled):
    @scaled.vjp("x", "gx = factor * gy")
    def _(xp, gy, factor):
        return gy * factor

    gradient = backward(scaled, dtype="float32", shape=())
    assert gradient.item() == 2
    assert gradient.dtype == "float32"


def test_an_error_in_a_rule_is_not_disguised(scaled):
    @scaled.vjp("x", "gx = factor * gy")
    def _(xp, gy):
        raise ZeroDivisionError("inside the rule")

    with pytest.raises(ZeroDivisionError, match="inside the rule"):
        backward(scaled)


def test_an_operand_without_a_rule_gets_no_gradient(declare):
    @declare("y = a * b", saves=("b",))
    def product(xp, a, b):
        return a * b

    @product.vjp("a", "ga = gy * b")
    def _(xp, gy, b):
        return gy * b

    a, b = (cg.tensor([3.0], requires_grad=True) for _ in range(2))
    product(a, b).backward()
    assert a.grad.item() == 3
    assert b.grad is None
    assert not product(1.0, b).requires_grad


# Dtypes


MIXED = {
    "sums": lambda x: (x + 1 + x * 2.5 - 1 / x).mean(),
    "layer": lambda x: cg.affine_relu(x, x.T, x[:, 0]).softmax().sum(axis=0, keepdims=True).max(),
    "activations": lambda x: (x.sigmoid() + cg.gelu(x) + cg.silu(x) + cg.elu(x) + cg.leaky_relu(x) + x.tanh()).sum(),
    "spread": lambda x: x.var(axis=0, ddof=1).sqrt().sum() + x.logsumexp(),
    "choice": lambda x: cg.where(x > 0.5, x, -2.0).clip(min=-1.0, max=0.9).sum() + cg.maximum(x, 0.5).min(),
    "loss": lambda x: cg.sparse_categorical_cross_entropy(x, np.array([0, 2])) + cg.mean_squared_error(x, x * 0.5),
    "binary": lambda x: cg.binary_cross_entropy(x, x > 0.5) + cg.categorical_cross_entropy(x, x * 0.5),
    "shapes": lambda x: cg.pad(x[[0, 0, 1]], 1).reshape(-1)[::2].exp().mean(),
    "products": lambda x: cg.einsum("ij,kj->ik", x, x).sum() + (x @ x.T).sum(),
    "errors": lambda x: x.erf().sum() + cg.normal_probability(x).sum() + cg.softplus(x).sum(),
}
DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", MIXED.values(), ids=MIXED)
def test_a_graph_keeps_its_dtype(f, dtype):
    x = cg.tensor(np.random.default_rng(0).uniform(0.1, 1, (2, 3)), requires_grad=True, dtype=dtype)
    y = f(x)
    y.backward()
    assert y.dtype == x.grad.dtype == dtype
    second = cg.grad(lambda v: (cg.grad(f)(v) * x.detach()).sum())(x.detach())
    assert second.dtype == dtype


@pytest.mark.parametrize("f", [lambda x: x**2, lambda x: x**0.5, lambda x: 2**x, lambda x: 2.0**x])
def test_a_power_with_a_python_number_keeps_float32(f):
    x = cg.tensor([1.0, 2.0], requires_grad=True)
    y = f(x)
    y.backward([1.0, 1.0])
    assert x.grad.dtype == "float32"


@pytest.mark.parametrize(
    "operation", [cg.add, cg.subtract, cg.multiply, cg.divide, cg.power, cg.maximum, cg.matmul], ids=str
)
def test_gradients_of_mixed_operands_come_back_in_each_one_s_own_dtype(operation, device):
    rng = np.random.default_rng(0)
    values = [rng.uniform(0.5, 2, (3, 3)).astype(dtype) for dtype in DTYPES]
    a, b = (cg.tensor(v, requires_grad=True) for v in values)
    exact = [cg.tensor(v, requires_grad=True, dtype="float64") for v in values]
    gy = rng.standard_normal((3, 3))
    for pair in ((a, b), exact):
        y = operation(*pair)
        assert y.dtype == "float64"
        y.backward(gy)
    assert [a.grad.dtype, b.grad.dtype] == DTYPES
    np.testing.assert_array_equal(a.grad, exact[0].grad.numpy().astype("float32"))
    exactly = 0 if device == "cpu" else 1e-14
    np.testing.assert_allclose(  # log(a) in a's dtype
        b.grad, exact[1].grad, rtol=3e-7 if operation is cg.power else exactly
    )


def test_astype_takes_the_gradient_back():
    x = cg.tensor([1.0, 2.0], requires_grad=True, dtype="float64")
    y = x.astype("float32")
    assert y.dtype == "float32"
    (y * 3).backward([1.0, 2.0])
    assert x.grad.dtype == "float64"
    assert x.grad.tolist() == [3, 6]


@pytest.mark.parametrize("dtype", ["O", "complex64", "U3"])
def test_astype_takes_dtypes_of_numbers_only(dtype):
    with pytest.raises(ChalkgradError, match="holds numbers"):
        cg.tensor([1.0]).astype(dtype)


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_one_hot_targets_of_any_dtype_keep_float32(dtype):
    x = cg.tensor(np.zeros((2, 3)), requires_grad=True, dtype="float32")
    cg.categorical_cross_entropy(x, np.eye(3)[:2].astype(dtype)).backward()
    assert x.grad.dtype == "float32"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * [1.0, 2.0, 3.0],
        lambda x: x @ [1.0, 2.0, 3.0],
        lambda x: cg.sparse_categorical_cross_entropy(x, [0, 2]),
    ],
    ids=["multiply", "matmul", "loss"],
)
def test_a_list_as_operand_is_an_array_to_the_rules(f):
    x = cg.tensor(np.ones((2, 3)), requires_grad=True, dtype="float32")
    f(x).sum().backward()
    assert x.grad.dtype == "float32"


def test_a_list_as_operand_keeps_its_digits():
    x = cg.tensor(np.zeros(1))
    assert cg.add(x, [0.1]).item() == (x + 0.1).item()


def test_an_integer_tensor_cannot_require_a_gradient_later():
    x = cg.tensor([1, 2])
    with pytest.raises(DtypeError, match="cannot require a gradient"):
        x.requires_grad = True
