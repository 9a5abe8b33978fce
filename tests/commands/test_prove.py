"""`chalkgrad prove`: primitives, and functions of a file of the reader's."""

import json
from html.parser import HTMLParser
from importlib.util import find_spec

import numpy as np
import pytest

from chalkgrad.commands import prove as prove_module
from chalkgrad.commands import prove_curve, prove_targets
from chalkgrad.commands.prove_page import page
from chalkgrad.commands.prove_results import Proof
from chalkgrad.engine.primitive import registry
from chalkgrad.errors import DeviceError, UsageError
from chalkgrad.proof import Report, Verdict

needs_mpmath = pytest.mark.skipif(find_spec("mpmath") is None, reason="primitives are proven with mpmath")
HEAD = "import numpy as np\nimport chalkgrad as cg\n"


@pytest.fixture
def write(folder):
    """Write f.py with this code, below its imports, which take two lines."""

    def write(code, name="f.py"):
        (folder / name).write_text(HEAD + code, encoding="utf-8")

    return write


def reports(chalkgrad, *arguments, code=0):
    return json.loads(chalkgrad("prove", *arguments, "--json", "-", code=code).stdout)["reports"]


# Primitives


@needs_mpmath
def test_primitives(chalkgrad):
    lines = chalkgrad("prove", "exp", "greater").stdout.splitlines()
    assert lines[0].split() == ["primitive", "proven", "dtypes", "orders", "error/bound", "ulp/bound", "verdict"]
    assert lines[1].startswith("exp ")
    assert "float64 float32  1 2" in lines[1]
    assert lines[2].split() == ["greater", "1/1", "–", "–", "–", "0/4", "proven"]
    assert lines[3].startswith("24 proofs of 2 primitives, all proven, in ")
    assert len(lines) == 4


def test_the_bound_is_told_beside_what_was_found(chalkgrad):
    (row, _) = chalkgrad("prove", "relu", "--order", 1).stdout.splitlines()[1:]
    assert row.split()[-2:] == ["0/4", "proven"]
    (first, *others) = reports(chalkgrad, "softmax", "--dtype", "float32", "--order", 1)
    assert [(one["of"], one["dtype"], one["bound"]["ulp"]) for one in first["exactness"]] == [
        ("value", "float32", 8.0),
        ("x", "float32", 8.0),
    ]
    assert not any(one["exactness"] for one in others)


def test_without_names_all_are_meant():
    assert prove_targets.find_targets((), prove_targets.Options()) == list(registry.values())


@needs_mpmath
def test_order_dtype_and_seed_are_kept_to(chalkgrad):
    found = reports(chalkgrad, "multiply", "--order", 1, "--dtype", "float32", "--seed", 5)
    gradients = [report for report in found if report["evaluations"]]
    assert {(report["order"], report["dtype"], report["seed"]) for report in gradients} == {(1, "float32", 5)}
    other = [report for report in reports(chalkgrad, "multiply", "--order", 2) if report["evaluations"]]
    assert {(report["order"], report["dtype"]) for report in other} == {(2, "float64"), (2, "float32")}


@needs_mpmath
def test_what_is_not_proven_is_told_in_full(chalkgrad, monkeypatch):
    wrong = Report("exp(3)", Verdict.WRONG, "they differ", evaluations=1, reproduce="cg.exp(x)")
    monkeypatch.setattr(
        "chalkgrad.proof.registry.prove", lambda *_, **__: iter([wrong, wrong, Report("exp(1)", Verdict.PROVEN)])
    )
    text = chalkgrad("prove", "exp", code=1).stdout
    assert "1/3" in text
    assert "2 wrong" in text
    assert "3 proofs of 1 primitive, 2 NOT proven, in " in text
    assert text.endswith(f":\n\n{wrong}\n\n{wrong}\n")


@needs_mpmath
def test_what_time_leaves_out_is_not_proven(chalkgrad):
    text = chalkgrad("prove", "exp", "sin", "--max-seconds", 1e-6, code=1).stdout
    assert text.count("UNDECIDED - not finished after 1e-06 s") == 2
    assert "2 NOT proven" in text


def test_without_a_gpu(chalkgrad, monkeypatch):
    def fail():
        raise DeviceError("the GPU needs CuPy")

    monkeypatch.setattr("chalkgrad.engine.backend.load_cupy", fail)
    assert chalkgrad("prove", "exp", "--device", "gpu", code=1).stderr == "error: the GPU needs CuPy\n"


def test_without_mpmath(chalkgrad, monkeypatch):
    def fail():
        raise UsageError("proofs need mpmath")

    monkeypatch.setattr("chalkgrad.equation.dual.load_mpmath", fail)
    assert chalkgrad("prove", "exp", code=1).stderr == "error: proofs need mpmath\n"


@needs_mpmath
def test_on_a_terminal(chalkgrad, monkeypatch, write):
    monkeypatch.setenv("FORCE_COLOR", "1")
    write("def f(x=np.ones(3)): return cg.exp(x)")
    text = chalkgrad("prove", "exp", "f.py:f").stdout
    assert "proving exp" in text
    assert "error/bound" in text
    assert "f: PROVEN" in text


# Functions


def test_a_right_function_with_defaults(chalkgrad, write):
    write("def f(x=np.linspace(0.0, 1.0, 4), power=2): return (x**power).sum()")
    text = chalkgrad("prove", "f.py:f", "--order", 2).stdout
    assert text.startswith("f: PROVEN\n")
    assert "second order" in text
    assert "1 proof of 1 function, proven, in " in text


def test_a_wrong_function(chalkgrad, write):
    write("""
def f(x, y): return x * y
def f_vjp(gy, x, y):
    wrong = gy * x
    wrong[1] *= 1.001
    return gy * y, wrong
""")
    text = chalkgrad("prove", "f.py:f", "--shape", 3, "--shape", 3, code=1).stdout
    assert text.startswith("f: WRONG")
    assert "argument 1 at [1]" in text
    assert "1 proof of 1 function, 1 NOT proven" in text
    assert text.count("WRONG") == 1


def test_a_kink(chalkgrad, write):
    write("def f(x): return cg.relu(x)\nf.inputs = lambda: (np.array([-1.0, 0.0, 2.0]),)")
    (report,) = reports(chalkgrad, "f.py:f", code=1)
    assert report["verdict"] == "kink"
    assert report["kinks"][0]["index"] == [1]
    text = chalkgrad("prove", "f.py:f", "--kinks", "accept").stdout
    assert text.startswith("f: KINK, accepted - ")
    assert "1 proof of 1 function, proven, in " in text


@pytest.mark.parametrize(
    "gradient",
    [
        "def f_vjp(gy, x): return gy * 2 * x",
        "def f_gradient(x): return 2 * x",
        "f.vjp = lambda gy, x: gy * 2 * x",
        "f.gradient = lambda x: 2 * x",
    ],
)
@pytest.mark.parametrize(
    "inputs", ["f.inputs = (np.ones(3),)", "f_inputs = np.ones(3)", "def f_inputs(): return [np.ones(3)]"]
)
def test_where_gradient_and_inputs_may_stand(chalkgrad, write, gradient, inputs):
    write(f"def f(x): return np.sum(x**2)\n{gradient}\n{inputs}")
    assert chalkgrad("prove", "f.py:f", "--dtype", "float32").stdout.startswith("f: PROVEN")


def test_numbers_are_drawn_with_the_seed(chalkgrad, write):
    write("seen = []\ndef f(x: float, y: 'float' = 0.5):\n    print(float(x.data))\n    return cg.sin(x) * y")
    runs = [chalkgrad("prove", "f.py:f", "--seed", seed).stdout.splitlines()[0] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert float(runs[0]) == np.random.default_rng(1).standard_normal()


@pytest.mark.parametrize(("text", "shape"), [("3x4", (3, 4)), ("3×4", (3, 4)), ("1", ()), ("()", ()), ("5", (5,))])
def test_shapes(chalkgrad, write, text, shape):
    write("def f(x):\n    print(x.shape, x.dtype)\n    return cg.sin(x)")
    first = chalkgrad("prove", "f.py:f", "--shape", text, "--dtype", "float32").stdout.splitlines()[0]
    assert first == f"{shape} float32"


@needs_mpmath
def test_a_primitive_of_the_file(chalkgrad, write):
    write("""
from chalkgrad.engine.primitive import primitive
@primitive("y = x * x * x", saves=("x",))
def cube_of_test(xp, x):
    return x * x * x
@cube_of_test.vjp("x", "gx = 3 * gy * x * x")
def _(xp, gy, x):
    return 2 * gy * x * x
""")
    try:
        text = chalkgrad("prove", "f.py:cube_of_test", "--order", 1, code=1).stdout
    finally:
        del registry["cube_of_test"]
    assert "cube_of_test: y = x * x * x: WRONG" in text


def test_time_is_up_for_a_function(chalkgrad, write):
    write("import time\ndef f(x=1.0):\n    time.sleep(0.2)\n    return x * x")
    assert chalkgrad("prove", "f.py:f", "--max-seconds", 0.05, code=1).stdout.startswith("f: UNDECIDED")


def test_drawn_inputs_outside_the_domain(chalkgrad, write):
    write("def f(x): return cg.log(x)")
    text = chalkgrad("prove", "f.py:f", "--shape", 9, code=1).stdout
    assert text.startswith("f: NOT FINITE")
    assert "set f.inputs to points where it is defined" in text


# What goes wrong


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        ("", ["sigmod"], "unknown primitive 'sigmod': did you mean 'sigmoid'?"),
        ("", ["sigmoid", "--shape", "3"], "--shape is for a function in a file of yours"),
        ("", ["relu", "--kinks", "accept"], "--kinks is for a function in a file of yours"),
        ("", ["exp", "--order", "3"], "unknown order '3'"),
        ("", ["exp", "--dtype", "float16"], "unknown dtype 'float16': did you mean 'float"),
        ("", ["f.py:f", "--shape", "3xa"], "'a' is not a whole number"),
        ("", ["exp", "--device", "tpu"], "unknown device 'tpu'"),
        ("", ["exp", "--max-seconds", "0"], "not a number greater than 0"),
        ("", ["g.py:f"], "there is no file 'g.py'"),
        ("", ["f.py"], "write f.py:FUNCTION"),
        ("", ["f.py:f"], "f.py has no function 'f'"),
        ("loss = 3", ["f.py:loss"], "loss in f.py is no function but of type int"),
        ("def loss(x): pass", ["f.py:los"], "in f.py: unknown function 'los': did you mean 'loss'?"),
        ("def f(x): pass", ["f.py:f"], "no input is told for the argument 'x' of f.py:f"),
        ("def f(x=3): pass", ["f.py:f"], "no input is told for f.py:f"),
        ("def f(x): pass", ["f.py:f"], "--shape 3x4 once for each argument"),
        ("def f(x=1.0): return np.i0(x)", ["f.py:f"], "def f_vjp(gy, *inputs): one gradient for each"),
        ("def f(x=1.0): return 1.0\ndef f_vjp(gy, x): pass", ["f.py:f", "--order", "2"], "--order 2 is for chalkgrad"),
    ],
)
def test_wrong_usage(chalkgrad, write, code, arguments, message):
    write(code)
    assert message in " ".join(chalkgrad("prove", *arguments, code=2).stderr.split())


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "def f(x=1.0): return x @ x",
            "f.py, line 3, in f: def f(x=1.0): return x @ x: ShapeError: matmul takes no single",
        ),
        ("def f(x=1.0):\n    raise KeyError('a')", "f.py, line 4, in f: raise KeyError('a'): KeyError: 'a'"),
        ("f = 1 / 0", "f.py, line 3, in <module>: f = 1 / 0: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "f.py, line 3, in <module>: raise SystemExit(3): SystemExit: 3"),
        ("def f(:", "f.py, line 3: def f(:: SyntaxError: invalid syntax"),
        ("def f(x):\n    return x\ndef f_inputs():\n    return 1 / 0", "f.py, line 6, in f_inputs: return 1 / 0: Zero"),
        (
            "import sys\ndef f(x): pass\ndef f_inputs(): sys.exit(3)",
            "f.py, line 5, in f_inputs: def f_inputs(): sys",
        ),
        ("def f(x=1.0): return f(x)", "f.py, line 3, in f: def f(x=1.0): return f(x): RecursionError: maximum"),
        (
            "def f(x=1.0): import no_module_x",
            "f.py, line 3, in f: def f(x=1.0): import no_module_x: Mod",
        ),
        ("def f(x=1.0): raise BaseException(3)", "f.py, line 3, in f: def f(x=1.0): raise BaseException(3): Base"),
        (
            "def __getattr__(name): raise KeyError(name)",
            "f.py, line 3, in __getattr__: def __getattr__(name): rai",
        ),
        (
            "def f(x=1.0): raise ValueError('\\x1b[31m')",
            "f.py, line 3, in f: def f(x=1.0): raise ValueError('\\x",
        ),
        ("def f(x=1.0): pass", "f.py:f: f returned nothing"),
        ("def f(x, y): pass\nf.inputs = 1.0", "f.py:f: TypeError: f() missing 1 required positional argument: 'y'"),
    ],
)
def test_errors_of_the_file_name_the_line(chalkgrad, write, code, line):
    write(code)
    stderr = chalkgrad("prove", "f.py:f", code=1).stderr
    assert stderr.startswith(f"error: {line}")
    assert stderr.count("\n") == 1
    if "in f:" in line:
        assert chalkgrad("explain", "f.py:f", code=1).stderr.startswith(f"error: {line}")


@pytest.mark.parametrize("command", ["prove", "explain"])
def test_the_help_says_that_a_file_is_run(chalkgrad, command):
    assert "the file is run, with all that it does" in " ".join(chalkgrad(command, "--help").stdout.split()).lower()


def test_a_file_imports_its_neighbours_and_leaves_nothing_behind(chalkgrad, write, folder):
    write("from neighbour_of_test import f", name="f.py")
    write("def f(x=1.0): return x * x", name="neighbour_of_test.py")
    assert chalkgrad("prove", "f.py:f").stdout.startswith("f: PROVEN")
    assert sorted(path.name for path in folder.iterdir()) == ["f.py", "neighbour_of_test.py"]


# JSON and page


@needs_mpmath
def test_json(chalkgrad, write, folder):
    write("def f(x=1.0):\n    print('mine')\n    return x * x")
    contents = json.loads(chalkgrad("prove", "exp", "f.py:f", "--json", "-").stdout)
    assert contents["proven"] is True
    assert contents["versions"]["numpy"] == np.__version__
    assert contents["verdicts"] == {"proven": len(contents["reports"])}
    assert [report["of"] for report in contents["reports"][::23]] == ["exp", "f.py:f"]
    text = chalkgrad("prove", "greater", "--json", "proof.json").stdout
    assert "all proven" in text or "proven, in" in text
    assert json.loads((folder / "proof.json").read_text(encoding="utf-8"))["seed"] == 0


def test_json_has_no_nan(chalkgrad, write):
    write("def f(x=1.0): return x * x * float('inf')")
    text = chalkgrad("prove", "f.py:f", "--json", "-", code=1).stdout
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_a_file_that_cannot_be_written_is_told_at_once(chalkgrad, folder, monkeypatch):
    monkeypatch.setattr(prove_module, "_run", lambda *_: pytest.fail("it proves"))
    (folder / "file").touch()
    assert "cannot write file/proof.html" in chalkgrad("prove", "exp", "--html", "file/proof.html", code=1).stderr


class Page(HTMLParser):
    """Checks that elements are closed, gathers ids, links and elements."""

    VOID = ("meta", "link", "rect", "line", "circle", "polyline")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.elements = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append(tag)
        self.ids += filter(None, [attributes.get("id")])
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@needs_mpmath
def test_page(chalkgrad, write, folder):
    write("def f(x=np.ones(3)): return np.exp(x)\ndef f_vjp(gy, x): return gy * np.exp(x) * 1.01")
    chalkgrad("prove", "exp", "relu", "where", "greater", "f.py:f", "--html", "proof.html", code=1)
    text = (folder / "proof.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "http:" not in text
    assert "https:" not in text
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert page.elements.count("svg") == 4  # none for greater, which has no gradient
    assert "gx = gy if x &gt; 0 else 0" in text
    assert "it is the gradient that is off, not the step" in text


def test_a_curve_is_a_v():
    curve = prove_curve.error_curve(prove_curve.representative(registry["exp"]))
    h, error = curve.best
    assert 1e-8 < h < 1e-4
    assert error < 1e-9
    assert curve.points[0][1] > 1e4 * error < curve.points[-1][1]
    assert curve.complex_error < 1e-14
    assert curve.truncates
    assert "Truncation falls with h²" in prove_curve.explain(curve)


@pytest.mark.parametrize(("name", "words"), [("add", "degree two at most"), ("affine_relu", "reach over a kink")])
def test_a_curve_that_is_none(name, words):
    assert words in prove_curve.explain(prove_curve.error_curve(prove_curve.representative(registry[name])))


def test_every_curve_can_be_drawn():
    proofs = [Proof(primitive, [Report("stub", Verdict.PROVEN, evaluations=1)]) for primitive in registry.values()]
    Page(page(proofs, {}, 0, 0.0))
