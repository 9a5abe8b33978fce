"""The language of equations: what it reads, what it refuses, and that the registry's equations are true."""

import inspect
import math

import numpy as np
import pytest
from sampling import CASES, NAMES, draw

import chalkgrad as cg
from chalkgrad.equation import compiled, indices
from chalkgrad.equation.functions import ELEMENTWISE as ELEMENTS
from chalkgrad.equation.functions import FUNCTIONS, STRUCTURAL, Function, on_arrays
from chalkgrad.equation.javascript import functions as javascript_functions
from chalkgrad.equation.language import read_equation
from chalkgrad.equation.loops import evaluate as evaluate_loops
from chalkgrad.equation.loops import exact
from chalkgrad.equation.notation import in_symbols
from chalkgrad.errors import EquationError

KNOWN = ("x", "y0", "a", "b", "axis", "index", "labels", "low", "high")


@pytest.mark.parametrize(
    ("text", "target", "values", "indices"),
    [
        ("y = 2.5", "y", "", ""),
        ("y = -x + a - b * x / a ** b", "y", "x a b", ""),
        ("y = x if x > 0 and not a == b or a <= b else 0", "y", "x a b", ""),
        ("y = exp(log(sqrt(abs(sin(cos(tanh(erf(sign(x)))))))))", "y", "x", ""),
        ("y = expm1(log1p(x)) + clip(x, low, high)", "y", "x low high", ""),
        ("y = 2 * pi * x - inf", "y", "x", ""),
        ("y = max(a, b) + min(a, 0)", "y", "a b", ""),
        ("z[n, k] = sum(a[n, j] * b[j, k], j) + x[k]", "z", "a b x", "n k j"),
        ("y[...] = mean(x[..., j], j)", "y", "x", "j"),
        ("y[...] = max(x[..., j], j) - min(x[..., j], j) + product(x[..., j], j)", "y", "x", "j"),
        ("y[i] = sum(x[i, j] if j <= i else 0, j)", "y", "x", "i j"),
        ("y = sum(1, j) * x[j]", "y", "x", "j"),
        ("y[i] = x[i, labels[i]]", "y", "x labels", "i"),
        ("y[i] = x[2 * i + 1]", "y", "x", "i"),
        ("y = argmax(x, axis)", "y", "x axis", ""),
        ("y.flat[i] = x.flat[i]", "y", "x", "i"),
        ("y = x.size", "y", "x", ""),
        ("y[index] += x", "y", "index x", ""),
        ("m = mean(x[i], i); y[i] = x[i] - m", "y", "x m", "i"),
        ("e = exp(-x); y = e / (1 + e)", "y", "x e", ""),
        ("y = x.shape[0]", "y", "x", ""),
    ],
)
def test_what_it_reads(text, target, values, indices):
    equation = read_equation(text, KNOWN)
    assert equation.text == text
    assert equation.target == target
    assert equation.values == set(values.split())
    assert equation.indices == set(indices.split())
    assert equation.elementwise == ("[" not in text and "argmax" not in text)


def test_statements():
    first, second = read_equation("m[i] = x[i]; y[i, index] += m[i]", KNOWN).statements
    assert (first.target, len(first.indices), first.adds) == ("m", 1, False)
    assert (second.target, len(second.indices), second.adds) == ("y", 2, True)
    assert read_equation("y = x", KNOWN).statements[0].indices == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("y =", "invalid syntax at column 4"),
        ("y = (x", r"'\(' was never closed"),
        ("y = x +* a", "invalid syntax"),
        ("x + a", "target = expression"),
        ("y -= x", "target = expression"),
        ("y = z = x", "target = expression"),
        ("import os", "target = expression"),
        ("y: int = x", "target = expression"),
        ("y, z = x", "target is a name"),
        ("y.data = x", "target is a name"),
        ("y() = x", "cannot assign"),
        ("y = q", "'q' is no operand, parameter or index"),
        ("y = a * speed", r"'speed' is no operand.*known are \['a', 'axis'"),
        ("y = sum(x[j], k)", "'k' is no operand, parameter or index"),
        ("y = exp", "'exp' is no operand"),
        ("y = y", "'y' is no operand"),
        ("y = m; m = x", "'m' is no operand"),
        ("y = sigmoid(x)", r"sigmoid\(…\) is not one of \[.*'exp'"),
        ("y = eval(x)", r"eval\(…\) is not one of"),
        ("y = x.sum()", r"x\.sum\(…\) is not one of"),
        ("y = numpy.exp(x)", r"numpy\.exp\(…\) is not one of"),
        ("y = (lambda v: v)(x)", r"lambda v: v.*is not one of"),
        ("y = clip(x, low=0)", r"clip\(…\) is not one of"),
        ("y = sum(x[j], axis=j)", r"sum\(…\) is not one of"),
        ("y = lambda: x", "Lambda is not part"),
        ("y = x.T", r"\.T is not part of the language"),
        ("y = x.__class__", r"\.__class__ is not part"),
        ("y = [x for x in a]", "ListComp is not part"),
        ("y = sum(x for x in a)", "GeneratorExp is not part"),
        ("y = [x]", "List is not part"),
        ("y = {x}", "Set is not part"),
        ("y = {x: a}", "Dict is not part"),
        ("y = x @ a", "MatMult is not part"),
        ("y = x << a", "LShift is not part"),
        ("y = +x", "UAdd is not part"),
        ("y = x in a", "In is not part"),
        ("y = x is a", "Is is not part"),
        ("y = x[1:2]", "Slice is not part"),
        ("y = exp(*x)", "Starred is not part"),
        ("y = f'{x}'", "JoinedStr is not part"),
        ("y = (z := x)", "NamedExpr is not part"),
        ("y = await x", "Await|await"),
        ("y = x; import os", "target = expression"),
        ("y[lambda: 0] = x", "Lambda is not part"),
        ("y = (x, a)", "Tuple is not part"),
        ("y[i] = x[y]", "'y' is what it gives, and an index"),
        ("y = x[a][b]", "brackets after what is no array"),
        ("y = x[()]", "has no index"),
        ("y = x.shape[a]", "no length of an axis"),
        ("y = (x + a).size", "asks for .size of what is no name"),
        ("y = exp(x, a)", r"exp\(…\) takes 1, not 2"),
        ("y = sum(x)", r"sum\(…\) is of an expression over the indices"),
        ("y = max(x)", r"max\(…\) is of an expression over the indices"),
    ],
)
def test_what_it_refuses_and_quotes(text, why):
    with pytest.raises(EquationError, match=why) as error:
        read_equation(text, KNOWN)
    assert f"cannot read the equation {text!r}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("y = x + 9**9**9", r"9\*\*9\*\*9 at column 9 is too large a number"),
        ("y = 10**200 * 10**200", "at column 5 is too large a number"),
        ("y = 1e400", "1e400 at column 5 is too large a number"),
        ("y = " + "9" * 400, "9999 … at column 5 is too large a number"),
        ("y = " + "9" * 4900, "Exceeds the limit"),
        ("y = x / (1 / 0)", "1 / 0 at column 10 divides by 0"),
        ("y = (-1) ** 0.5", "at column 5 is no number"),
        ("y = " + "-" * 65 + "x", "nested deeper than 64 levels"),
        ("y = " + "-" * 4000 + "x", "nested (too deep|deeper than 64 levels)"),  # by Python, or by us
        ("y = " + "(" * 300, "too many nested parentheses"),
        ("y = " + "+".join("x" * 70), "nested deeper than 64 levels"),
        ("y = " + " + ".join("x" * 2000), "8,001 characters, and an equation has 5,000 at most"),
        ("y = \ud800", r"'\\ud800' at column 5 is no character"),
        ("y = \0", "null bytes"),
    ],
    ids=range(14),
)
def test_no_text_keeps_the_reader_busy(text, why):
    with pytest.raises(EquationError, match=why) as error:
        read_equation(text, KNOWN)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("y = x / (x - x)", "cannot be evaluated on these operands: ZeroDivisionError"),
        ("y[i] = x[i + 9]", "cannot be evaluated on these operands: IndexError"),
        ("y[i] = x[k]", "cannot be evaluated on these operands: NameError"),
        ("y[2 * i] = x[i]", "leaves elements of y without a value"),
        ("y[i] = sum(x[i], j < 10**9)", "the index j runs over more than 1,000,000 values"),
        ("y[i] = sum(x[i], a < 9999, b < 9999)", "takes 299,940,003 turns of its loops"),
    ],
)
def test_what_cannot_be_evaluated_is_told(text, why):
    with pytest.raises(EquationError, match=why):
        evaluate_loops(read_equation(text, ["x"]), {"x": exact([1.0, 2.0, 3.0])}, (3,))


@pytest.mark.parametrize("constant", ["'text'", "b'bytes'", "None", "True", "1j", "..."])
def test_a_constant_is_a_real_number(constant):
    with pytest.raises(EquationError):
        read_equation(f"y = {constant}", KNOWN)


# Evaluating


def test_evaluation_gives_each_target():
    equation = read_equation("e = exp(-x); y = 1 / (1 + e)", ["x"])
    assert equation.evaluate({"exp": math.exp}, {"x": 0.0}) == {"e": 1.0, "y": 0.5}


def test_functions_are_those_of_arrays():
    equation = read_equation("y = max(x, 0) * pi", ["x"])
    assert equation.evaluate(on_arrays(np), {"x": np.array([-1.0, 2.0])})["y"].tolist() == [0, 2 * math.pi]


def test_evaluation_does_not_change_the_values_given():
    values = {"x": 1.0}
    read_equation("e = 2 * x; y = e", ["x"]).evaluate({}, values)
    assert values == {"x": 1.0}


def test_an_equation_with_indices_is_not_evaluated_elementwise():
    with pytest.raises(EquationError, match=r"'y\[i\] = x\[i\]' has indices"):
        read_equation("y[i] = x[i]", ["x"]).evaluate({}, {"x": 1.0})


def test_evaluation_sees_no_builtins():
    with pytest.raises(NameError, match="abs"):
        read_equation("y = abs(x)", ["x"]).evaluate({}, {"x": 1.0})


# The registry


RULES = [pytest.param(rule, id=f"{p.name}-{name}") for p in cg.registry.values() for name, rule in p.rules.items()]


@pytest.mark.parametrize("made", cg.registry.values(), ids=str)
def test_every_equation_reads(made):
    assert made.equation.values <= {*made.operands, *made.parameters, *(s.target for s in made.equation.statements)}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_reads_and_gives_its_gradient(rule):
    assert rule.equation.target == f"g{rule.operand}"


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_s_kernel_takes_the_result_s_gradient(rule):
    assert list(inspect.signature(rule.kernel).parameters)[1] == f"g{rule.primitive.equation.target}"


SCALAR = {**on_arrays(np), "erf": math.erf}


def evaluate(equation, values, parameters):
    """Element by element, so that `u if condition else v` chooses for each."""
    arrays = dict(zip(values, np.broadcast_arrays(*values.values()), strict=True))
    shape = next(iter(arrays.values())).shape
    elements = [
        equation.evaluate(SCALAR, {n: v[i] for n, v in arrays.items()} | parameters)[equation.target]
        for i in np.ndindex(shape)
    ]
    return np.array(elements).reshape(shape)


ELEMENTWISE = [pytest.param(p, e, id=name) for (p, e), name in zip(CASES, NAMES, strict=True) if p.equation.elementwise]
ELEMENTWISE_RULES = [
    pytest.param(rule, e, id=f"{rule.operand}-{name}")
    for (p, e), name in zip(CASES, NAMES, strict=True)
    for rule in p.rules.values()
    if rule.equation.elementwise
]


def test_what_is_not_evaluated_here_has_indices_or_takes_whole_arrays():
    left_out = [p for p in cg.registry.values() if not p.equation.elementwise and "[" not in p.text]
    whole = {"argmax", "argmin", "argsort", "concatenate", "stack", "einsum", "pad"}
    matrices = {"solve", "det", "cholesky", "pinv", "eigenvectors", "singular_vectors"}
    assert {p.name for p in left_out} <= whole | matrices
    with pytest.raises(EquationError, match="is evaluated by loops"):
        left_out[0].equation.evaluate({}, {})


@pytest.mark.parametrize(("primitive", "example"), ELEMENTWISE)
def test_kernels_compute_their_equations(primitive, example):
    operands = draw(primitive, example)
    parameters = {**primitive.defaults, **example.parameters}
    expected = evaluate(primitive.equation, dict(zip(primitive.operands, operands, strict=True)), parameters)
    value = primitive.kernel(np, *operands, **parameters)
    if primitive.name != "broadcast_to":
        assert np.shape(value) == np.shape(expected)
    np.testing.assert_allclose(value, np.broadcast_to(expected, np.shape(value)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rule", "example"), ELEMENTWISE_RULES)
def test_rules_compute_their_equations(rule, example):
    primitive = rule.primitive
    operands = draw(primitive, example)
    parameters = {**primitive.defaults, **example.parameters}
    y = np.asarray(primitive.kernel(np, *operands, **parameters))
    gy = np.random.default_rng(4).standard_normal(y.shape)
    result = primitive.equation.target
    values = dict(zip(primitive.operands, operands, strict=True)) | {result: y, f"g{result}": gy}
    seen = values | parameters | {f"{name}_shape": np.shape(v) for name, v in values.items()}
    gx = rule.kernel(np, gy, *(seen[name] for name in rule.wants))
    asked = {n: v for n, v in values.items() if n in rule.equation.values or n == f"g{result}"}
    expected = evaluate(rule.equation, asked, parameters)
    np.testing.assert_allclose(np.broadcast_to(gx, y.shape), expected, rtol=1e-12, atol=1e-12)


# The functions


@pytest.mark.parametrize("name", [name for name, function in ELEMENTS.items() if function.slope])
def test_a_row_of_the_functions_gives_the_value_of_the_array_function_and_its_derivative(name):
    function, at, step = ELEMENTS[name], 1.375 if name == "arccosh" else 0.375, 1e-6
    equation = read_equation(f"y = {name}(x)", ["x"])
    dual = evaluate_loops(equation, {"x": exact(np.array(at), "x")}, ()).item()
    on_arrays = getattr(np, function.array or name, None) or math.erf  # NumPy has no erf
    assert float(dual.value) == pytest.approx(on_arrays(at), rel=1e-15)
    numeric = (on_arrays(at + step) - on_arrays(at - step)) / (2 * step)
    assert float(dual.slopes.get(("x", ()), 0)) == pytest.approx(numeric, abs=1e-8)


def test_a_new_function_is_one_row(monkeypatch):
    cube = Function(value=lambda mp, x: x**3, slope=lambda mp, x: 3 * x**2, javascript="(x) => x**3", latex=r"\cube")
    monkeypatch.setitem(FUNCTIONS, "cube", cube)
    monkeypatch.setattr(compiled, "functions", compiled.functions.__wrapped__)
    monkeypatch.setattr(indices, "functions", compiled.functions)
    equation = read_equation("y = cube(x) + 1", ["x"])
    dual = evaluate_loops(equation, {"x": exact(np.array(2.0), "x")}, ()).item()
    assert (dual.value, dual.slopes) == (9, {("x", ()): 12})
    assert [in_symbols(equation, style) for style in ("unicode", "latex")] == [
        "y = cube(x) + 1", r"y = \cube\left(x\right) + 1",
    ]  # fmt: skip
    assert "cube: (x) => x**3" in javascript_functions()


def test_the_page_has_every_function_but_the_error_function_and_those_of_whole_arrays():
    without = {name for name, function in FUNCTIONS.items() if not function.javascript}
    assert without - STRUCTURAL.keys() == {"erf", "mean", "product", "sum"}  # a reduction has code of its own there


def test_a_recurrence_reads_steps_before_or_behind():
    equation = read_equation("h[t] = x[t] + 2 * (h[t - 1] if t > 0 else 0); y[t] = h[t]", ["x"])
    assert equation.recurrent
    value = evaluate_loops(equation, {"x": exact(np.array([1.0, 2.0, 3.0]))}, (3,))
    assert [float(v.value) for v in value] == [1, 4, 11]
    backward = read_equation("g[t] = x[t] + (2 * g[t + 1] if t + 1 < x.shape[0] else 0); y[t] = g[t]", ["x"])
    assert [float(v.value) for v in evaluate_loops(backward, {"x": exact(np.array([1.0, 2.0, 3.0]))}, (3,))] == [
        17,
        8,
        3,
    ]
    assert not read_equation("m = mean(x[n], n); y[n] = x[n] - m", ["x"]).recurrent


@pytest.mark.parametrize("text", ["h[t] = h[t]; y[t] = h[t]", "y[t] = h[t]; h[t] = x[t]", "y = h[0]; h = x"])
def test_what_comes_later_is_read_a_step_apart_only(text):
    with pytest.raises(EquationError, match="'h' is no operand"):
        read_equation(text, ["x"])
