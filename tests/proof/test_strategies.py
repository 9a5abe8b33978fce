"""What the strategies draw, that failing examples can be pasted, and every primitive's rules on drawn operands."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.equation.functions import ELEMENTWISE
from chalkgrad.errors import DtypeError, UsageError
from chalkgrad.proof import GradientError, Verdict, assert_gradients, gradcheck, strategies
from chalkgrad.proof.reproduction import literal, reproduction

DTYPES = ["float64", "float32"]
FEW = settings(max_examples=12, deadline=None, derandomize=True, database=None)
VERY_FEW = settings(FEW, max_examples=3, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
SIMPLEST = settings(max_examples=1000, derandomize=True, database=None, report_multiple_bugs=False)
ANY = settings(SIMPLEST, max_examples=300, phases=[Phase.generate])
DIFFERENTIABLE = [pytest.param(p, id=name) for name, p in cg.registry.items() if p.differentiable]
ALL = [pytest.param(p, id=name) for name, p in cg.registry.items()]
INTERVALS = [(-math.inf, math.inf), (0, 1), (1e-3, 1e3), (0.1, 10), (-0.9, 1e3), (-40, 40), (0, math.inf)]


def drawn(strategy, condition=lambda _: True):
    """An example that meets the condition."""
    return find(strategy, condition, settings=ANY)


def simplest(strategy, condition=lambda _: True):
    """The simplest example that meets the condition."""
    return find(strategy, condition, settings=SIMPLEST)


# Shapes


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 1), (2, 0, 3), (4, 4, 4)])
def test_all_kinds_of_shapes_occur(shape):
    assert drawn(strategies.shapes(), lambda s: s == shape) == shape


@FEW
@given(strategies.shapes(max_dims=2, max_side=3))
def test_shapes_keep_to_their_limits(shape):
    assert len(shape) <= 2
    assert all(0 <= side <= 3 for side in shape)


@FEW
@given(st.integers(1, 3).flatmap(strategies.broadcastable_shapes))
def test_broadcastable_shapes_broadcast(shapes):
    np.broadcast_shapes(*shapes)


def test_broadcastable_shapes_do_differ():
    a, b = drawn(strategies.broadcastable_shapes(2), lambda s: s[0] != s[1] and math.prod(s[0]) > 1)
    assert a != b


# Arrays


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("domain", INTERVALS, ids=str)
@FEW
@given(data=st.data())
def test_arrays_lie_in_their_open_interval(domain, dtype, extreme, data):
    x = data.draw(strategies.arrays(strategies.shapes(), dtype, domain, extreme=extreme))
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert np.isfinite(x).all()
    assert (x > domain[0]).all()
    assert (x < domain[1]).all()
    if not extreme:
        assert np.isfinite((x * x).sum(dtype=dtype))


@FEW
@given(strategies.arrays((3,), domain=range(2, 5)))
def test_a_range_gives_integers(x):
    assert x.dtype == np.int64
    assert set(x.tolist()) <= {2, 3, 4}


def test_a_range_takes_an_integer_dtype():
    assert drawn(strategies.arrays((2,), "int32", range(4))).dtype == np.int32


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ends_of_an_interval_occur(dtype):
    low, high = np.nextafter(np.array([1e-3, 1e3], dtype), np.array([1, 1], dtype))
    for end in (low, high):
        drawn(strategies.arrays((), dtype, (1e-3, 1e3)), lambda x, end=end: abs(x / end - 1) < 1e-6)


def test_the_tiny_and_the_huge_occur():
    drawn(strategies.arrays(()), lambda x: abs(x) > 1e100)
    drawn(strategies.arrays(()), lambda x: 0 < abs(x) < 1e-100)
    drawn(strategies.arrays((), extreme=True), lambda x: abs(x) > 1e300)
    drawn(strategies.arrays((), extreme=True), lambda x: 0 < abs(x) < 1e-310)


@pytest.mark.parametrize(("domain", "number"), [((-9, 9), 0), ((0, 1), 0.5), ((1e-3, 1e3), 1), (range(3, 9), 3)])
def test_arrays_shrink_to_simple_numbers(domain, number):
    np.testing.assert_array_equal(simplest(strategies.arrays((2, 2), domain=domain)), np.full((2, 2), number))


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(UsageError, match=r"no float32 .* \(1, 1.0000000001\)"):
        drawn(strategies.arrays((), "float32", (1, 1.0000000001)))
    with pytest.raises(DtypeError, match="not int64"):
        drawn(strategies.arrays((), "int64", (0, 1)))
    with pytest.raises(UsageError, match="did you mean 'columns'"):
        drawn(strategies.arrays((), layout="colums"))


# Layouts


def has_layout(x, layout):
    flags, longer = x.flags, [step for n, step in zip(x.shape, x.strides, strict=True) if n > 1]
    return {
        "rows": flags.c_contiguous and flags.writeable,
        "columns": flags.f_contiguous and not flags.c_contiguous,
        "strided": not flags.c_contiguous and min(longer) > x.itemsize,
        "reversed": min(longer) < 0,
        "read-only": not flags.writeable,
        "repeated": 0 in longer,
    }[layout]


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_every_layout_is_what_its_name_says(layout):
    x = np.ones((2, 3))
    y = strategies.arrange(x, layout)
    assert has_layout(y, layout)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_arrays_are_drawn_in_a_layout(layout):
    x = drawn(strategies.arrays((3, 2), layout=layout), lambda x: layout == "repeated" or x[0, 0] != x[-1, -1])
    assert has_layout(x, layout)


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_layouts_of_an_array_keep_its_values(layout):
    x = np.array([[1.5, -0.0], [1.5, -0.0]])
    y = drawn(strategies.layouts(x), lambda y: has_layout(y, layout))
    assert y.tobytes() == x.tobytes()


@pytest.mark.parametrize("x", [np.array(2.0), np.ones((1, 1)), np.ones((0, 3)), np.arange(3.0)], ids=str)
def test_small_arrays_have_fewer_layouts(x):
    possible = strategies.possible_layouts(x)
    assert possible[0] == "rows"
    assert "repeated" not in possible
    for layout in possible:
        np.testing.assert_array_equal(strategies.arrange(x, layout), x)


def test_a_layout_that_cannot_be_is_named():
    with pytest.raises(UsageError, match="no layout 'repeated'"):
        strategies.arrange(np.arange(3.0), "repeated")


# Operands


@pytest.mark.parametrize("primitive", ALL)
@VERY_FEW
@given(data=st.data())
def test_operands_are_what_the_primitive_takes(primitive, data):
    operands, parameters = data.draw(strategies.operands(primitive, "float32"))
    for i, x in enumerate(operands):
        domain = primitive.domain[primitive.operand(i)]
        if isinstance(domain, range):
            assert x.dtype == np.int64
            assert set(x.flat) <= set(domain)
        else:
            assert x.dtype == np.float32
            assert callable(domain) or ((x > domain[0]) & (x < domain[1])).all()
    with np.errstate(all="ignore"):
        primitive.compute(operands, parameters)


def test_operands_are_sometimes_one_array():
    (a, _), _ = drawn(strategies.operands(cg.registry["power"]), lambda d: d[0][0] is d[0][1] and d[0][0].size > 1)
    assert ((a > 0.1) & (a < 3)).all()


def test_operands_differ_in_layout():
    drawn(
        strategies.operands(cg.registry["multiply"]),
        lambda d: d[0][0].shape == d[0][1].shape and d[0][0].strides != d[0][1].strides,
    )


@pytest.mark.parametrize("name", [name for name, p in cg.registry.items() if p.kink])
@VERY_FEW
@given(data=st.data())
def test_operands_keep_away_from_kinks(name, data):
    primitive = cg.registry[name]
    operands, parameters = data.draw(strategies.operands(primitive, moderate=True, away_from_kinks=True))
    assert apart(primitive, operands, parameters) >= 0.99 * strategies.CLEARANCE


def apart(primitive, operands, parameters):
    """How far the operands are from the kink, by what each kind of kink means."""
    x = operands[0]
    if primitive.kink == "x":
        distance = x
    elif primitive.kink == "a - b":
        distance = np.subtract(*operands)
    elif primitive.kink == "x[..., i] - x[..., j]":
        distance = np.diff(np.sort(x, axis=None))
    elif primitive.kink == "z":
        distance = cg.affine.kernel(np, *operands)
    elif "//" in primitive.kink:  # of a staircase: its steps
        rounding = {"round": x * 10.0 ** parameters.get("decimals", 0) - 0.5}
        place = (dict.fromkeys(("floor", "ceil", "trunc"), x) | rounding).get(primitive.name)
        place = np.divide(*operands) if place is None else place
        distance = place - np.round(place)
    else:
        assert primitive.name == "clip"
        distance = np.stack([x - limit for limit in parameters.values()])
    return np.abs(distance).min(initial=np.inf)


def test_without_being_asked_kinks_are_met():
    drawn(strategies.operands(cg.registry["maximum"]), lambda d: d[0][0].size and (d[0][0] == d[0][1]).any())
    drawn(strategies.operands(cg.registry["relu"]), lambda d: (d[0][0] == 0).any())


@VERY_FEW
@given(strategies.operands(cg.registry["power"], moderate=True))
def test_moderate_operands_are_clear_of_ends_and_of_the_tiny(drawn):
    (a, b), _ = drawn
    assert ((a > 0.14) & (a < 4)).all()
    assert ((np.abs(b) < 2.96) & ((b == 0) | (np.abs(b) >= 2**-10))).all()


# Rules


def as_function(primitive, operands, parameters):
    """The primitive as a function of the distinct arrays among its operands that have a rule."""
    ruled = {id(x): x for i, x in enumerate(operands) if primitive.operand(i) in primitive.rules}
    inputs = list(ruled.values())

    def f(*xs):
        places = dict(zip(ruled, xs, strict=True))
        return primitive.compute(tuple(places.get(id(x), x) for x in operands), parameters)

    f.__name__ = primitive.name
    return f, inputs


@pytest.mark.parametrize("primitive", DIFFERENTIABLE)
@VERY_FEW
@given(data=st.data())
def test_rules_hold_on_drawn_operands(primitive, data):
    drawing = strategies.operands(primitive, moderate=True, away_from_kinks=True)
    f, inputs = as_function(primitive, *data.draw(drawing))
    report = gradcheck(f, *inputs, samples=1)
    # where the true gradient is 0, at equal logits say, differences cannot say more than that rounding hides the rest
    assert report.verdict in (Verdict.PROVEN, Verdict.PRECISION), report


def value_and_gradients(primitive, operands, parameters):
    f, inputs = as_function(primitive, operands, parameters)
    y, pull = cg.vjp(f, *map(cg.Tensor, inputs))
    gy = np.asarray(np.random.default_rng(0).standard_normal(y.shape)).astype(y.dtype)
    return [y.numpy(), *(g.numpy() for g in pull(gy))]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("primitive", DIFFERENTIABLE)
@VERY_FEW
@given(data=st.data())
def test_layout_changes_neither_value_nor_gradient(primitive, dtype, data):
    operands, parameters = data.draw(strategies.operands(primitive, dtype, moderate=True))
    copies = {id(x): np.ascontiguousarray(x).reshape(x.shape) for x in operands}
    assume(any(x.strides != copies[id(x)].strides for x in operands))
    laid = value_and_gradients(primitive, operands, parameters)
    plain = value_and_gradients(primitive, tuple(copies[id(x)] for x in operands), parameters)
    alike = len({x.shape for x in operands}) == 1
    for a, b in zip(laid, plain, strict=True):
        if primitive.equation.elementwise and alike and not transcendental(primitive):
            assert a.tobytes() == b.tobytes()
        else:
            tolerance = 64 * np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(initial=0))


def transcendental(primitive):
    """Whether it needs functions whose last digit is another where NumPy's loop is another, as log1p's is."""
    text = " ".join([primitive.text, *(rule.text for rule in primitive.rules.values())])
    return "**" in text or any(f"{name}(" in text for name in ELEMENTWISE.keys() - {"abs", "clip", "sign", "sqrt"})


# Failing examples


def test_a_failing_example_shrinks_and_prints_code_that_makes_it_again():
    seen = []

    @settings(database=None, derandomize=True, deadline=None)
    @given(strategies.operands(cg.registry["maximum"], layout="rows"))
    def fails(drawn):
        (a, b), _ = drawn
        if (a > b + 1).any():
            seen.append((a, b))
            raise AssertionError

    with pytest.raises(AssertionError) as caught:
        fails()
    notes = "\n".join(caught.value.__notes__)
    a, b = seen[-1]
    assert a.size == b.size == 1
    assert pasted(notes[notes.index("import numpy") : notes.index("x1)") + 3], "x0", "x1") == [bits(a), bits(b)]


def pasted(code, *names):
    scope = {}
    exec(code, scope)
    return [bits(scope[name]) for name in names]


def bits(x):
    return np.ascontiguousarray(x).tobytes(), x.shape, x.dtype, x.flags.writeable, np.sign(x.strides).tolist()


SPECIAL = np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308, math.pi, math.inf, -math.inf, math.nan])
ARRAYS = [
    SPECIAL, np.float32([0.1, 1 / 3, 16777217, 1e-45]), np.array(1.5), np.zeros((0, 3), "float32"),
    np.full((3, 2), 0.1), np.array([True, False]), np.arange(6).reshape(2, 3), np.linspace(0, 1, 1000, dtype="float32"),
    np.random.default_rng(0).standard_normal((3, 4, 3)),
]  # fmt: skip


@pytest.mark.parametrize("x", ARRAYS, ids=lambda x: f"{x.dtype}{x.shape}")
def test_code_makes_the_same_bits_in_the_same_layout(x):
    for layout in strategies.possible_layouts(x):
        y = strategies.arrange(x, layout)
        assert pasted(reproduction("id", [y]), "x0") == [bits(y)], layout


@pytest.mark.parametrize("layout", ["columns", "strided", "reversed", "repeated"])
def test_code_says_that_the_layout_is_another(layout):
    assert "strides were" in reproduction("f", [strategies.arrange(np.ones((2, 3)), layout)])


@pytest.mark.parametrize("primitive", ALL)
@VERY_FEW
@given(data=st.data())
def test_code_calls_the_primitive_again(primitive, data):
    operands, parameters = data.draw(strategies.operands(primitive))
    code, _, call = reproduction(primitive.name, operands, parameters).rpartition("\n")
    scope = {"cg": cg}
    with np.errstate(all="ignore"):
        exec(f"{code}\nresult = {call}", scope)
        np.testing.assert_array_equal(scope["result"].numpy(), primitive.compute(operands, parameters).numpy())


def test_code_names_functions_numbers_and_shared_arrays():
    x = np.array([1.0, 2.0])
    code = reproduction("gradcheck", [cg.exp, x, x, 0.5], {"seed": 3, "axes": (1,)})
    assert code.endswith("gradcheck(cg.exp, x1, x1, 0.5, seed=3, axes=(1,))")
    assert code.count("np.array") == 1


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ((slice(1, None, 2), ..., None), "(slice(1, None, 2), ..., None)"),
        ([(0, math.inf)], "[(0, np.inf)]"),
        (np.float32(0.1), "np.float32(0.1)"),
        (np.dtype("float32"), "np.dtype('float32')"),
        ({"axis": (0,)}, "{'axis': (0,)}"),
        (cg.tensor([0.1], requires_grad=True), "cg.tensor(np.array([0.1], dtype='float32'), requires_grad=True)"),
    ],
)
def test_values_as_code(value, code):
    assert literal(value) == code


# Profiles


def test_profiles_are_registered():
    strategies.register_profiles()
    assert settings.get_profile("chalkgrad-ci").derandomize
    assert settings.get_profile("chalkgrad-deep").max_examples >= 1000
    assert not settings.get_profile("chalkgrad-deep").derandomize


def test_a_wrong_rule_is_found():
    @VERY_FEW
    @given(strategies.arrays((3,), domain=(-4, 4)))
    def wrong(x):
        assert_gradients(lambda a: a * a, x, vjp=lambda gy, a: gy * a)

    with pytest.raises((GradientError, BaseExceptionGroup)):
        wrong()
