"""The package as a whole: what is installed, what an import costs, what every public thing carries."""

import ast
import functools
import graphlib
import importlib
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
import tomllib
from importlib.util import resolve_name
from pathlib import Path

import pytest

import chalkgrad as cg
from chalkgrad.ops import stubs
from chalkgrad.optim import stubs as optimizer_stubs

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


STUBS = {
    "__init__.pyi": stubs.public_stub,
    "engine/lent.pyi": stubs.lent_stub,
    "optim/__init__.pyi": optimizer_stubs.stub,
}


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert version == cg.__version__
    assert version in (CHECKOUT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", STUBS)
def test_generated_stubs_are_true(name):
    text = STUBS[name]()
    assert (ROOT / name).read_text("utf-8") == text, f"run `{text.split('`')[1]}`"


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
        if "tests" in path.parts or ".venv" in path.parts or "cupy" not in (text := path.read_text("utf-8")):
            continue
        imported = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
        }
        assert not imported & {"cupy", "cupyx"}, path


def test_who_looks_at_all_modules_imports_none(tmp_path):
    code = "import sys, chalkgrad; [getattr(m, '__file__', 0) for m in [*sys.modules.values()]]; "
    code += "print('chalkgrad.nn' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]


ROOMS = [
    "early", "errors", "signals", "names", "checks", "hints", "drawing", "equation", "engine", "replay", "ops", "optim",
    "datasets", "distributed", "nn", "models", "proof", "blackboard", "deploy", "benchmarks", "commands",
    "cli",
]  # fmt: skip
"""From the ground floor up: a room imports from those before it."""


@functools.cache
def imports():
    """What each module imports of the package; late imports count, those for types alone do not."""
    paths = [path.relative_to(ROOT) for path in ROOT.rglob("*.py")]
    paths = [p for p in paths if not any(part in NOT_INSTALLED or part.startswith(".") for part in p.parts)]
    files = {".".join(("chalkgrad", *path.with_suffix("").parts)).removesuffix(".__init__"): path for path in paths}
    found = {}
    for module, path in files.items():
        package = ".".join(("chalkgrad", *path.parent.parts))
        text = (ROOT / path).read_text("utf-8")
        nodes, calls = list(ast.walk(ast.parse(text))), "import_module" in text
        for_types = {inner for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                     for inner in ast.walk(node)}  # fmt: skip
        said = set()
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.level and node not in for_types:
                base = resolve_name("." * node.level + (node.module or ""), package).rstrip(".")
                said |= {inner if (inner := f"{base}.{alias.name}") in files else base for alias in node.names}
            elif calls and isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                said |= {resolve_name(arg.value, package) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
        found[module] = said & files.keys() - {module}
    return found


def test_imports_run_one_way():
    room = {module: [*module.split("."), ""][1] for module in imports()}
    assert set(room.values()) == {"", "__main__", *ROOMS}, "a new room needs its place in the order"
    for module, targets in imports().items():
        for target in targets if room[module] in ROOMS else ():
            if room[target]:
                assert ROOMS.index(room[target]) <= ROOMS.index(room[module]), f"{module} imports {target}"


def test_there_is_no_circle_of_imports():
    graphlib.TopologicalSorter(imports()).prepare()  # raises CycleError, which names the circle


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


@pytest.mark.deep
def test_the_suite_runs_in_a_folder_of_any_name_without_the_extras(tmp_path):
    root = tmp_path / "2-chalk grad"
    files = ["replay/replaying", "replay/test_kernels", "commands/conftest", "conftest"]
    files += ["commands/test_explain", "examples/test_notebooks"]
    for name in ["pyproject.toml", "__init__.py", *(f"tests/{file}.py" for file in files)]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, root / name)
    (tmp_path / "absent.py").write_text("import sys\nsys.modules.update(nbformat=None, nbclient=None)\n")
    given = {k: v for k, v in os.environ.items() if k != "CI"} | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "absent", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=root, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" in done.stdout
