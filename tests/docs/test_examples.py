"""Every Python example of the READMEs and of docs/ runs, and those with `>>>` give what stands there.

Each file runs in a process of its own: what it declares is declared for good. A translation with the same code is not
run again. A block below `<!-- not run: … -->` is
left out, with the reason.
"""

import ast
import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
FLAGS = re.MULTILINE | re.DOTALL
BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n)?```python\n(.*?)^```$", FLAGS)


def blocks(path):
    """The blocks to run, each with its line."""
    text = path.read_text(encoding="utf-8")
    found = ((text[: match.start(2)].count("\n") + 1, match) for match in BLOCK.finditer(text))
    return [(line, match[2]) for line, match in found if not match[1]]


def code(path):
    """What its blocks do: the same in a translation, whatever its comments say."""
    return tuple(block if ">>>" in block else ast.dump(ast.parse(block)) for _, block in blocks(path))


NEEDS = {"primitive.md": "mpmath", "prove.md": "hypothesis"}  # of the test extra
WITH_BLOCKS = [path for path in FILES if blocks(path)]
DISTINCT = list({code(path): path for path in reversed(WITH_BLOCKS)}.values())[::-1]


@pytest.mark.parametrize("path", DISTINCT, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples(path, tmp_path):
    if "mnist" in path.read_text(encoding="utf-8") and "CHALKGRAD_DATA" not in os.environ:
        pytest.skip("CHALKGRAD_DATA is not set: the example trains on MNIST")
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name], reason=f"{path.name} uses {NEEDS[path.name]}, which is not installed")
    run = subprocess.run([sys.executable, __file__, path], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_does_not_run_is_python_too():
    """The site, whose warnings are errors, marks it up as Python."""
    for path in FILES:
        for match in BLOCK.finditer(path.read_text(encoding="utf-8")):
            if match[1] and ">>>" not in match[2]:
                ast.parse(match[2], path.name)


def others(path, *kinds):
    """Its blocks of these kinds."""
    block = re.compile(rf"^```(?:{'|'.join(kinds)})\n(.*?)^```$", FLAGS)
    return block.findall(path.read_text("utf-8"))


def test_shell_and_yaml_examples_parse():
    scripts = [(path.name, block) for path in FILES for block in others(path, "sh", "bash", "shell")]
    assert len(scripts) > 10
    for name, script in scripts if shutil.which("bash") else ():
        found = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert not found.stderr, (name, found.stderr)
    yaml = pytest.importorskip("yaml")
    texts = [block for path in FILES for block in others(path, "yaml")]
    assert texts
    assert all(each for text in texts for each in yaml.safe_load_all(text))


def test_there_are_examples():
    assert {"README.md", "primitive.md", "prove.md"} <= {path.name for path in DISTINCT}
    assert len(blocks(ROOT / "README.md")) >= 4


def test_the_readme_is_the_same_code_in_both_languages():
    assert code(ROOT / "README.md") == code(ROOT / "README.zh-CN.md")
    shell = [re.sub(r"\s+#.*", "", "".join(others(ROOT / name, "sh"))) for name in ("README.md", "README.zh-CN.md")]
    assert sorted(shell[0].splitlines()) == sorted(shell[1].splitlines())


def run_all(path):
    """Run the blocks one after another in one namespace; returns how many examples failed."""
    runner, names = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE), {"__name__": "example"}
    for line, block in blocks(path):
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, path.name, str(path), line - 1)
            runner.run(test, clear_globs=False)
            names.update(test.globs)
        else:
            exec(compile("\n" * (line - 1) + block, path, "exec"), names)
    return runner.summarize(verbose=False).failed


if __name__ == "__main__":
    sys.exit(run_all(Path(sys.argv[1])) > 0)
