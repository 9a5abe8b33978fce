"""The suite on a device: `--device standin` computes on the stand-in for CuPy (tests/standin), `--device gpu`, or
`-m gpu` alone, on a real GPU. The same test bodies run there.

The engine has no ambient device, so the tests get one here: the public places at which a device is chosen take "gpu"
where a test names none, and a tensor on a GPU may be compared with a NumPy array in a test.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EXTRAS = ("PIL", "hypothesis", "matplotlib", "mpmath", "nbclient", "nbformat", "numba")
ABSENT = () if os.environ.get("CI") else tuple(name for name in EXTRAS if importlib.util.find_spec(name) is None)
ON_A_DEVICE = ("ops", "engine", "replay", "nn", "optim")


def pytest_addoption(parser):
    parser.addoption("--deep", action="store_true", help="also the slow and deep forms, as .ci/run does")
    parser.addoption("--device", choices=("cpu", "standin", "gpu"), help="where the tests compute (default: cpu)")


def pytest_configure(config):
    config.addinivalue_line("markers", "cpu_only(reason): not for a device, since …")
    config.addinivalue_line("markers", "deep: slow; run with --deep")
    config.pluginmanager.register(Root())
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of each process: together they use all cores
    device = chosen_device(config)
    if device == "cpu":
        let_tests_compare()
        return
    if device == "standin":
        sys.path.insert(0, str(HERE / "standin"))
    from chalkgrad.engine import backend
    from chalkgrad.errors import DeviceError

    try:
        backend.load_cupy()
    except DeviceError as error:
        raise pytest.UsageError(f"--device {device}: {error}") from None
    if device == "standin":
        blas = functools.cache(sys.modules["cupy"].standin_cublas)
        backend.load_cublas = blas
    if device == "standin":
        compile_at_first_use()
    place_tests_on("gpu")
    import hypothesis

    hypothesis.settings.register_profile("device", deadline=None)  # the first call of a kernel compiles it
    hypothesis.settings.load_profile("device")


class Root:
    """Tells pytest that the repository's folder, a package, is none of tests: it may have any name."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path, parent):
        return pytest.Dir.from_parent(parent, path=path) if path == HERE.parent else None


def pytest_pycollect_makemodule(module_path, parent):
    return File.from_parent(parent, path=module_path)


class File(pytest.Module):
    """A file of tests."""

    def collect(self):
        try:
            return super().collect()
        except self.CollectError as error:
            skip_without_extra(error)
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup():
    return (yield from extras_may_be_absent())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    return (yield from extras_may_be_absent())


def extras_may_be_absent():
    try:
        return (yield)
    except Exception as error:
        skip_without_extra(error)
        raise


def skip_without_extra(error: BaseException | None) -> None:
    """Skip what failed because a package of the extras is not installed; in CI that stays an error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in ABSENT:
            pytest.skip(f"{error.name}, of the test extra, is not installed", allow_module_level=True)
        error = error.__cause__ or error.__context__


def chosen_device(config) -> str:
    """What --device says; where it says nothing, `-m gpu` means the real GPU."""
    return config.getoption("--device") or ("gpu" if config.getoption("-m", "") == "gpu" else "cpu")


def pytest_collection_modifyitems(config, items):
    elsewhere = chosen_device(config) != "cpu"
    deep = config.getoption("--deep")
    for item in items:
        if not deep and item.get_closest_marker("deep"):
            item.add_marker(pytest.mark.skip(reason="deep: run with --deep, as .ci/run does"))
        only = item.get_closest_marker("cpu_only")
        if only is None and item.path.relative_to(HERE).parts[0] in ON_A_DEVICE:
            item.add_marker("gpu")
        elif only is not None and elsewhere:
            item.add_marker(pytest.mark.skip(reason=f"CPU only: {only.args[0]}"))


@pytest.fixture(scope="session")
def device(request) -> str:
    """Where the tests compute: "cpu" or "gpu"."""
    return "cpu" if chosen_device(request.config) == "cpu" else "gpu"


OWN_CUBLAS = """
import functools, os, cupy
from chalkgrad.engine import backend
from chalkgrad.engine.cuda import sources
backend.load_cublas = functools.cache(cupy.standin_cublas)
sources.background = int(os.environ.get("BACKGROUND", "0"))
"""


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """Run Python with these arguments in a process in which `import cupy` is the stand-in; gives what it prints."""
    if not shutil.which("gcc") or not shutil.which("g++"):
        pytest.skip("the stand-in needs gcc")
    folder = tmp_path_factory.mktemp("standin")
    (folder / "link").mkdir()
    (folder / "link" / "chalkgrad").symlink_to(HERE.parent, target_is_directory=True)
    (folder / "sitecustomize.py").write_text(OWN_CUBLAS)
    paths = os.pathsep.join(map(str, (folder, HERE / "standin", folder / "link")))
    environ = {**os.environ, "PYTHONPATH": paths, "CUPY_CACHE_DIR": str(folder / "kernels")}

    def run(*arguments, code=0, **more):
        command = [sys.executable, *map(str, arguments)]
        ran = subprocess.run(command, env=environ | more, capture_output=True, text=True, timeout=600)
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    return run


@pytest.fixture
def host_scalars(monkeypatch):
    """For a test in which a user's own function takes numbers from a device, which waits: the stand-in lets it."""
    if hasattr(sys.modules.get("cupy"), "strict"):
        monkeypatch.setattr(sys.modules["cupy"], "strict", False)


# The default device of the tests


def compile_at_first_use() -> None:
    """Nothing in the background: a test shows what it compiles itself. And no marks, where CuPy's own lie."""
    from chalkgrad.engine.cuda import sources

    sources.background = 0
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"


def place_tests_on(device: str) -> None:
    """Let `device` be what is meant where a test names no device."""
    import chalkgrad as cg
    from chalkgrad.engine import operands, tensor
    from chalkgrad.proof import gradients, subject

    for function in (tensor.tensor, cg.Sequential.__init__, cg.Model.__init__, cg.Sequential.load.__func__):
        _change_default(function, device)
    _put_before(operands.aside, _with_operands_on(device))
    cg.Tensor.__setitem__ = _with_value_on(device, cg.Tensor.__setitem__)
    cg.layers.Layer.build = _with_weights_on(device, cg.layers.Layer.build)
    for function in (subject.OfTensors.__init__, gradients.gradcheck):
        _change_default(function, device)
    cg.Tensor.__array__ = _readable(cg.Tensor.__array__)
    let_tests_compare()


def let_tests_compare() -> None:
    """Let `numpy.testing` have the values of a tensor that requires a gradient: to compare drops no gradient."""
    import chalkgrad as cg

    refusing = cg.Tensor.__array__

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        frame = sys._getframe(1)
        if self.requires_grad and "numpy.testing" in frame.f_globals.get("__name__", ""):
            return np.array(self.numpy(), dtype=dtype)
        return refusing(self, dtype, copy)

    cg.Tensor.__array__ = __array__


def _change_default(function: Any, device: str) -> None:
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = dict(zip(reversed(names), reversed(function.__defaults__ or ()), strict=False))
    if "device" in defaults:
        defaults["device"] = device
        function.__defaults__ = tuple(defaults[name] for name in names if name in defaults)
    else:
        function.__kwdefaults__["device"] = device


def _with_operands_on(device: str) -> Any:
    """A NumPy array among the operands, in a test, is meant to lie beside the others."""
    from chalkgrad.engine import backend
    from chalkgrad.engine.tensor import Tensor

    def placed(x: Any) -> Any:
        numbers = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
        return Tensor(backend.send(np.asarray(x), device)) if numbers else x

    def operands_on(operands: tuple[Any, ...]) -> tuple[Any, ...]:
        devices = [x.device for x in operands if isinstance(x, Tensor)]
        if "cpu" in devices:
            return operands
        return tuple(placed(x) for x in operands)

    return operands_on


def _put_before(aside: Any, change: Any) -> None:
    """Let `aside(primitive, operands, parameters)` change the operands first: in place, since others hold it."""

    def changed(primitive, operands, parameters):
        return aside_as_it_was(primitive, change_of_operands(operands), parameters)  # noqa: F821

    as_it_was = types.FunctionType(aside.__code__, aside.__globals__, aside.__name__)
    aside.__globals__.update(aside_as_it_was=as_it_was, change_of_operands=change)
    aside.__code__ = changed.__code__


def _with_value_on(device: str, setitem: Any) -> Any:
    """So is one that is assigned."""
    from chalkgrad.engine import backend

    @functools.wraps(setitem)
    def placed(self: Any, index: Any, value: Any) -> None:
        there = isinstance(value, np.ndarray) and self.device != "cpu"
        setitem(self, index, backend.send(value, device) if there else value)

    return placed


def _with_weights_on(device: str, build: Any) -> Any:
    """A layer that a test uses without a model has its weights on the device."""
    from chalkgrad.engine import backend

    @functools.wraps(build)
    def placed(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = build(self, *args, **kwargs)
        if self._drawn_from is not None:  # within a model, which moves them itself
            return result
        for weight in self.variables.values():
            weight._data = backend.to_device(weight._data, device)
        return result

    return placed


def _readable(refusing: Any) -> Any:
    """`__array__` that gives the values to a test, and refuses everybody else as it does."""

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        frame = sys._getframe(1)
        while frame is not None and "numpy" in frame.f_globals.get("__name__", "").split("."):
            frame = frame.f_back
        if self.device != "cpu" and frame is not None and Path(frame.f_code.co_filename).is_relative_to(HERE):
            return np.array(self.numpy(), dtype=dtype)
        return refusing(self, dtype, copy)

    return __array__


@pytest.fixture
def declare():
    """The decorator `primitive`; what the test declares with it is forgotten afterwards."""
    import chalkgrad as cg
    from chalkgrad.engine.primitive import namespace

    before = set(cg.registry)
    yield cg.primitive
    for name in set(cg.registry) - before:
        made = cg.registry.pop(name)
        delattr(namespace, name)
        for lent in made.lent:
            delattr(cg.Tensor, lent)


@pytest.fixture(scope="session")
def keras():
    """Keras, for what is compared with it; skips where it is not installed."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's own
        return pytest.importorskip("keras", reason="a test beside Keras")


# A browser for the pages


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    if not BROWSER:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Open a page, given as HTML or as a file; at the end there are no complaints, nothing was asked of the network."""
    contexts, said, asked = [], [], []

    def open_page(html, width=1280, height=1500, scheme="light"):
        file = html
        if isinstance(html, str):
            file = tmp_path / "page.html"
            file.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        return tab

    open_page.said = said
    yield open_page
    assert said == []
    assert all(url.startswith(("file://", "data:")) for url in asked)
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def accessible():
    """Let axe-core look at an open page; it finds nothing."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def look(tab):
        results = axe.run(tab)
        assert results.violations_count == 0, results.generate_report()

    return look


@pytest.fixture
def save_picture():
    """Save what an open page shows for the documentation, in 128 colours."""
    image = pytest.importorskip("PIL.Image")

    def save(tab, name):
        shown = image.open(io.BytesIO(tab.screenshot()))
        shown.convert("RGB").quantize(128, dither=image.Dither.NONE).save(PICTURES / name, optimize=True)

    return save
