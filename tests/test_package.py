"""The package as a whole: what is installed, what an import costs, what every public thing carries."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import chalkgrad as cg
from chalkgrad.ops import stubs

ROOT = Path(cg.__file__).parent
CHECKOUT = Path(__file__).parents[1]
NOT_INSTALLED = {"tests", "examples", "docs", "build", "dist", "runs"}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_list_of_packages_is_that_of_the_folders():
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(("chalkgrad", *path.parent.relative_to(CHECKOUT).parts))
        for path in CHECKOUT.rglob("__init__.py")
        if not any(part.startswith(".") or part in NOT_INSTALLED for part in path.relative_to(CHECKOUT).parts)
    }
    assert sorted(listed) == sorted(folders)


@pytest.mark.parametrize("name", ["__init__.pyi", "engine/lent.pyi"])
def test_generated_stubs_are_true(name):
    text = {"__init__.pyi": stubs.public_stub, "engine/lent.pyi": stubs.lent_stub}[name]()
    assert (ROOT / name).read_text("utf-8") == text, "run `python -m chalkgrad.ops.stubs`"


def test_every_primitive_is_public():
    for name, primitive in cg.registry.items():
        assert getattr(cg, name) is primitive
        assert not primitive.method or callable(getattr(cg.Tensor, name))


def test_import_loads_nothing_heavy():
    heavy = {"cupy", "matplotlib", "rich", "pooch", "requests", "safetensors", "click", "PIL", "mpmath"}
    loaded = run_python("import chalkgrad, sys; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert not heavy & set(loaded)


def test_only_the_backend_imports_cupy():
    for path in ROOT.rglob("*.py"):
        if "tests" in path.parts or ".venv" in path.parts:
            continue
        imported = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        }
        assert not imported & {"cupy", "cupyx"}, path


def test_imports_run_one_way():
    order = [
        "errors",
        "hints",
        "equation",
        "engine",
        "replay",
        "ops",
        "optim",
        "datasets",
        "nn",
        "proof",
        "benchmarks",
        "commands",
    ]
    for low, room in enumerate(order):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level >= len(path.relative_to(ROOT).parts) and node.module:
                    target = node.module.partition(".")[0]
                    assert target not in order[low + 1 :], f"{path} imports {target}"


def modules():
    for info in pkgutil.walk_packages([str(ROOT)], "chalkgrad."):
        parts = info.name.split(".")
        if not {"tests", "examples", "__main__", "export"} & set(parts):
            yield importlib.import_module(info.name)


def test_everything_public_has_a_docstring():
    missing = []
    for module in modules():
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            members = [(name, thing)]
            if inspect.isclass(thing):
                members += [
                    (f"{name}.{key}", value)
                    for key, value in vars(thing).items()
                    if not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
                ]
            for label, member in members:
                documented = inspect.isfunction(member) or inspect.isclass(member) or isinstance(member, property)
                if documented and not inspect.getdoc(member) and not _inherits(thing, label):
                    missing.append(f"{module.__name__}.{label}")
    assert not missing


def _inherits(thing, label):
    method = label.rpartition(".")[2]
    return any(inspect.getdoc(getattr(base, method, None)) for base in getattr(thing, "__mro__", ())[1:])
