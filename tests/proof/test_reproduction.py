"""The code that a report prints to reproduce it: it runs as it stands, and comes to the same report."""

import functools
import linecache
import re
import subprocess
import sys

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.proof import gradcheck

X = np.array([0.3, 1.0, 1 / 3])
SCALE = {"by": [2.0, np.inf]}


def scaled_sine(x, *, by=SCALE["by"][0]):
    return by * np.sin(x)


def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)


def of_scaled_sine(gy, x: np.ndarray, factor: float = X[1]) -> np.ndarray:
    return gy * np.cos(x) * SCALE["by"][0] * factorial(2) * factor


def functions_of(k):
    shift = np.arange(3.0)

    def f(x):
        return k * x * x + shift

    def rule():
        def f(gy, x):
            """Half of it:
            indented lines."""
            return gy * k * x

        return f

    return f, rule()


class Scale:
    by = 3.0


SCALE_OBJECT = Scale()


def by_object(x):
    return SCALE_OBJECT.by * x


CASES = {
    "two lambdas in a line": lambda: gradcheck(lambda x: np.sin(x), X, vjp=lambda gy, x: 2 * gy * np.cos(x)),
    "lambdas of the names of the inputs": lambda: gradcheck(lambda x1: x1**2, X, vjp=lambda x2, x1: x2 * x1),
    "nested functions of one name": lambda: gradcheck(functions_of(2.0), X),
    "nested functions of two calls": lambda: gradcheck(functions_of(2.0)[0], X, vjp=functions_of(3.0)[1]),
    "functions that use others": lambda: gradcheck(scaled_sine, X, vjp=of_scaled_sine, seed=4, samples=2),
    "functions of NumPy": lambda: gradcheck(np.sin, X, vjp=of_scaled_sine),
    "partial": lambda: gradcheck(functools.partial(scaled_sine, by=3.0), X, vjp=functools.partial(of_scaled_sine)),
    "functions of functions": lambda: gradcheck(
        (lambda k: lambda x: k * x)(2.0), X, vjp=(lambda k: lambda gy, x: (gy) * (k * 2))(3.0)
    ),
    "gradient": lambda: gradcheck(lambda x: (x**2).sum(), X.astype("float32"), gradient=lambda x: 3 * x),
    "a kink": lambda: gradcheck(cg.relu, np.zeros(2)),
    "tensors": lambda: gradcheck(lambda x: cg.relu(x) * cg.tensor(X), np.zeros(3), order=2),
    "changes": lambda: gradcheck(np.sin, X, vjp=lambda gy, x: np.multiply(gy, np.cos(x), out=gy)),
    "raises": lambda: gradcheck(np.sin, X, vjp=lambda gy, x: gy[7]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_code_comes_to_the_same_report(name):
    report = CASES[name]()
    assert not report.proven
    scope = {}
    exec(report.reproduce.replace("print(report)", ""), scope)
    again = scope["report"]
    assert (again.verdict, again.worst, again.evaluations) == (report.verdict, report.worst, report.evaluations)


def test_the_code_runs_as_a_program_of_its_own(tmp_path):
    report = gradcheck(functions_of(2.0)[0], X, vjp=of_scaled_sine)
    _, _, printed = str(report).partition("to reproduce:\n")
    (tmp_path / "again.py").write_text(re.sub("(?m)^    ", "", printed), encoding="utf-8")
    run = [sys.executable, "-W", "error", tmp_path / "again.py"]
    said = subprocess.run(run, capture_output=True, text=True, encoding="utf-8", check=True, cwd=tmp_path).stdout
    assert said.splitlines()[:2] == str(report).splitlines()[:2]
    assert report.reproduce in re.sub("(?m)^    ", "", said)


def test_what_has_no_source_is_named_to_be_put_in():
    scope = {}
    exec("f = lambda x: x**2\nvjp = lambda gy, x: gy * x", scope)
    code = gradcheck(scope["f"], X, vjp=scope["vjp"]).reproduce
    assert re.findall(r"^(\w+) = \.\.\.  # put in: function <lambda> \(<string>, line (\d)\)$", code, re.M) == [
        ("f", "1"),
        ("vjp", "2"),
    ]
    assert "gradcheck(f, x1, seed=0, order=1, vjp=vjp)" in code


def test_a_file_that_has_changed_since_is_no_source(tmp_path):
    path = tmp_path / "changed.py"
    path.write_text("def f(x):\n    return x**2\n", encoding="utf-8")
    scope = {}
    exec(compile("def f(x):\n    return x**3\n", path, "exec"), scope)
    code = gradcheck(scope["f"], X, vjp=lambda gy, x: gy * x).reproduce
    assert "f = ...  # put in: function f (" in code
    assert "x**2" not in code
    path.write_text("def f(x):\n    return x**3\n", encoding="utf-8")
    linecache.checkcache()
    assert "def f(x):\n    return x**3" in gradcheck(scope["f"], X, vjp=lambda gy, x: gy * x).reproduce


def test_an_object_that_a_function_reads_is_imported_with_it_or_named():
    code = gradcheck(by_object, X, vjp=lambda gy, x: gy).reproduce
    assert f"from {__name__} import by_object" in code or "SCALE_OBJECT = ...  # put in: Scale" in code


def test_a_primitive_with_parameters_is_called_again():
    from chalkgrad.proof.registry import prove

    report = next(r for r in prove(["clip"], ("float64",), (1,)) if r.reproduce)
    scope = {}
    exec(report.reproduce, scope)
    assert scope["report"].verdict is report.verdict
