"""`chalkgrad explain`: the worked example by default, a training at a step, a run, a function; and every refusal."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.commands.explain import at_step
from chalkgrad.commands.settings import Settings
from chalkgrad.commands.train_images import make_model, training_data


def test_without_arguments_it_shows_every_documented_equation(chalkgrad):
    output = chalkgrad("explain").stdout
    assert {f"D{n}" for n in range(1, 18)} <= set(re.findall(r"\bD\d+\b", output))
    assert "∇W⁽¹⁾[0, 3] = 1·0.3825 = 0.3825" in output
    assert "DOES NOT AGREE" not in output


def test_it_speaks_chinese(chalkgrad):
    output = chalkgrad("explain", "--lang", "zh").stdout
    assert "前向传播" in output
    assert "反向传播" in output
    assert not re.search(r"as documented|by numbers|Forward", output)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_markdown_latex_and_notebook(chalkgrad, folder, lang):
    for form, ending in (("markdown", "md"), ("latex", "tex"), ("notebook", "ipynb")):
        chalkgrad("explain", "--format", form, "--lang", lang)
        assert (folder / f"worked-example.{ending}").stat().st_size > 5_000
    told = (folder / "worked-example.md").read_text("utf-8")
    assert told.count("$$") % 2 == 0
    assert r"\sum_{j} a_{n,j} \cdot W^{(1)}_{j,k}" in told
    nbformat = pytest.importorskip("nbformat", reason="notebooks are read by nbformat, of the test extra")
    nbformat.validate(nbformat.read(folder / "worked-example.ipynb", as_version=4))


@pytest.mark.parametrize(("program", "lang", "what"), [
    ("pdflatex", "en", "worked-example"), ("xelatex", "en", "digits"), ("xelatex", "zh", "worked-example"),
    ("pdflatex", "en", "mine.py:loss"),
])  # fmt: skip
def test_latex_compiles(chalkgrad, folder, program, lang, what):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: apt-get install texlive-latex-recommended texlive-xetex")
    (folder / "mine.py").write_text(FUNCTION)
    chalkgrad("explain", what, "--format", "latex", "--lang", lang, "--out", "told.tex")
    made = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "told.tex"], cwd=folder, capture_output=True, text=True,
        errors="replace",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-3000:]
    assert not re.search(
        r"^!|Missing character", made.stdout + (folder / "told.log").read_text("utf-8", "replace"), re.M
    )


def cells_of(path):
    return json.loads(path.read_text("utf-8"))["cells"]


@pytest.mark.parametrize("what", ["worked-example", "digits", "mine.py:loss"])
def test_the_code_of_a_notebook_computes_what_is_told(chalkgrad, folder, monkeypatch, what):
    (folder / "mine.py").write_text(FUNCTION)
    chalkgrad("explain", what, "--format", "notebook", "--out", "told.ipynb")
    monkeypatch.chdir(folder)
    computed, seen = {}, []
    for cell in cells_of(folder / "told.ipynb"):
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), computed)
            if computed.get("explained") not in (None, *seen):
                seen.append(computed["explained"])
                for quantity in seen[-1].quantities:  # of what was explained before
                    if quantity.role in ("hidden", "loss"):
                        computed.pop(quantity.id, None)
            for quantity in seen[-1].quantities if seen else ():
                if quantity.id in computed:
                    np.testing.assert_array_equal(computed[quantity.id].numpy(), quantity.value)
    explained = seen[0]
    assert {q.id for q in explained.quantities} <= {*computed}
    for quantity in explained.quantities if what != "worked-example" else ():
        if quantity.gradient is not None:
            gradient = computed[f"g{quantity.id}"]
            np.testing.assert_allclose(getattr(gradient, "numpy", lambda g=gradient: g)(), quantity.gradient, rtol=1e-6)
    for revision in explained.update:
        np.testing.assert_allclose(computed[f"{revision.quantity.id}_after"], revision.after, rtol=1e-6)


@pytest.mark.filterwarnings("default")  # of the libraries that run it
def test_a_notebook_runs(chalkgrad, folder):
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run by nbclient, of the test extra")
    nbformat = pytest.importorskip("nbformat", reason="notebooks are read by nbformat, of the test extra")
    chalkgrad("explain", "--format", "notebook")
    book = nbformat.read(folder / "worked-example.ipynb", as_version=4)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert sum(bool(cell.outputs) for cell in book.cells if cell.cell_type == "code") >= 20


def test_a_step_of_a_training_is_the_trainings(chalkgrad):
    settings = Settings(seed=3, epochs=3)
    (x, labels), _ = cg.datasets.load("digits")
    model = make_model(x.shape[1:], settings, "cpu")
    explained = at_step(settings, 2 * 45)  # two whole epochs
    model.fit(*training_data(x, labels, model), batch_size=32, epochs=2, seed=3, verbose=0)
    np.testing.assert_array_equal(explained["W1"].value, model.get_weights()[0])
    assert explained.agrees
    assert "after 90 updates" in chalkgrad("explain", "digits", "--step", "90", "--seed", "3").stdout


def test_the_update_of_a_step_is_the_trainings():
    before, after = at_step(Settings(), 50), at_step(Settings(), 51)
    for revision in before.update:
        np.testing.assert_array_equal(revision.after, after[revision.quantity.id].value)


def test_a_run(chalkgrad, folder):
    chalkgrad("train", "--epochs", "2", "--out", "run", "--verbose", "0")
    assert "after 90 updates" in chalkgrad("explain", "run").stdout
    assert "after 5 updates" in chalkgrad("explain", "run", "--step", "5").stdout
    (folder / "run" / "settings.json").write_text("{}")
    assert "after 90 updates" in chalkgrad("explain", "run").stdout  # the model file tells
    model = cg.Sequential.load(folder / "run" / "model.safetensors")
    model.facts = {}
    model.save(folder / "run" / "model.safetensors")
    result = chalkgrad("explain", "run", code=1)
    assert "does not tell how the model was trained" in result.stderr
    asked = Settings(hidden=(10**9,)).complete()
    (folder / "run" / "settings.json").write_text(json.dumps({"format": "chalkgrad run 1", **asked}))
    result = chalkgrad("explain", "run", "--step", "5", code=1)
    assert "its model is another than its settings say" in result.stderr


FUNCTION = """
import chalkgrad as cg

def loss(x: float = 2.0):
    return cg.sin(x) * x

def constant(x: float = 2.0):
    return x.detach() * 2

def far(x: float = -1.0):
    return cg.log(x) * 2
"""


def test_a_function_of_the_readers(chalkgrad, folder):
    (folder / "mine.py").write_text(FUNCTION)
    output = chalkgrad("explain", "mine.py:loss").stdout
    assert "x is used 2 times" in output
    assert "∇x = ∇v₁·cos(x)" in output
    assert "is not finite: at [] it is NaN" in chalkgrad("explain", "mine.py:far").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["mine.py:constant"], 1, "has no gradients"),
        (["mine.py:other"], 1, "unknown function 'other'"),
        (["mine.py:loss", "--step", "3"], 1, "--step is for a training"),
        (["nowhere"], 1, "nothing named 'nowhere'"),
        (["--lang", "de"], 2, "unknown language 'de'"),
        (["--format", "pdf"], 2, "unknown format 'pdf'"),
        (["--step", "-1"], 2, "is not a whole number"),
        (["--open"], 1, "--format html"),
        (["--step-by-step"], 1, "run it in a terminal"),
        (["--format", "markdown", "--out", "mine.py/x.md"], 1, "cannot write mine.py/x.md"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(chalkgrad, folder, arguments, code, says):
    (folder / "mine.py").write_text(FUNCTION)
    result = chalkgrad("explain", *arguments, code=code)
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_step_by_step_waits_for_a_key():
    """In a terminal: each key shows one more step, q ends."""
    main, terminal = pty.openpty()
    code = "import sys; sys.argv = ['chalkgrad', 'explain', '--step-by-step']; import chalkgrad.cli as c; c.main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)

    def until(sign, key=b"", patience=40):
        """What is shown until the sign; the key is pressed again where it came before the command listened."""
        seen = ""
        while sign not in seen and (patience := patience - 1):
            if select.select([main], [], [], 0.5)[0]:
                seen += os.read(main, 4096).decode(errors="replace")
            elif key and not seen.strip():
                os.write(main, key)
        return seen

    try:
        assert "D7" not in until("any key")
        assert "D7" in until("any key", b" ")
        for _ in range(40):  # a key that comes before the command listens is lost
            if process.poll() is None:
                os.write(main, b"q")
                time.sleep(0.5)
        assert process.poll() == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def test_the_json_of_a_notebook_is_sound(chalkgrad, folder):
    chalkgrad("explain", "digits", "--format", "notebook", "--out", "d.ipynb")
    assert json.loads((folder / "d.ipynb").read_text("utf-8"))["nbformat"] == 4
