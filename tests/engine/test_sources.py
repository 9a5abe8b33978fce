"""CUDA sources, compiled at first use and before it: what is compiled when, by whom, and what becomes of errors."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

import chalkgrad.nn  # noqa: F401 (declares all sources)
from chalkgrad.engine import backend
from chalkgrad.engine.cuda import launch, sources
from chalkgrad.engine.cuda.sources import Modules, declared

pytestmark = pytest.mark.cpu_only("a CuPy of its own")


class Compiler:
    """Compiles nothing, notes what it is asked for and by which thread, and waits before it begins while told to."""

    def __init__(self):
        self.asked, self.free, self.begun = [], threading.Event(), threading.Event()
        self.free.set()

    def __call__(self, code, options, **more):
        def compile():
            self.asked.append((code, threading.current_thread().name))
            self.begun.set()
            if "background" in self.asked[-1][1] or "compiling" in self.asked[-1][1]:
                assert self.free.wait(10)
            if "error" in code:
                raise ValueError(f"cannot compile {code}")

        return SimpleNamespace(code=code, options=options, compile=compile)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    made = Compiler()
    here = SimpleNamespace(compute_capability="90", __enter__=None)
    here = type("Device", (), {"compute_capability": "90", "__enter__": lambda s: s, "__exit__": lambda s, *e: None})
    cuda = SimpleNamespace(Device=lambda number: here(), runtime=SimpleNamespace(runtimeGetVersion=lambda: 13020))
    cupy = SimpleNamespace(cuda=cuda, RawModule=made, __version__="14.2.0")
    monkeypatch.setattr(backend, "load_cupy", lambda: cupy)
    monkeypatch.setattr(sources, "background", 1)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)
    return made


@pytest.fixture
def modules(compiler):
    made = Modules(0)
    yield made
    compiler.free.set()
    made.close()


def test_at_first_use_it_is_compiled_here_and_once(compiler, modules):
    assert modules.get("a", ("-x",)) is modules.get("a", ("-x",))
    assert modules.get("a", ("-y",)).options == ("-y",)
    here = threading.current_thread().name
    assert compiler.asked == [("a", here), ("a", here)]


def test_the_background_goes_first_come_first_served_and_what_is_urgent_before(compiler, modules):
    compiler.free.clear()
    modules.soon("under way", ())
    assert compiler.begun.wait(10)
    for code in ("a", "b"):
        modules.soon(code, (), first=False)
    modules.soon("urgent", ())
    compiler.free.set()
    modules.finish()
    assert [code for code, _ in compiler.asked] == ["under way", "urgent", "a", "b"]
    assert {name for _, name in compiler.asked} == {"compiling for gpu:0"}


def test_who_needs_what_still_waits_compiles_it_and_who_needs_what_is_under_way_waits(compiler, modules):
    compiler.free.clear()
    modules.soon("under way", ())
    assert compiler.begun.wait(10)
    modules.soon("waiting", ())
    assert modules.get("waiting", ()).code == "waiting"
    assert compiler.asked[-1] == ("waiting", threading.current_thread().name)
    threading.Timer(0.01, compiler.free.set).start()
    assert modules.get("under way", ()).code == "under way"
    assert len(compiler.asked) == 2


def test_an_error_in_the_background_is_raised_where_the_kernel_is_used_and_not_before(compiler, modules):
    modules.soon("an error", ())
    with pytest.raises(ValueError, match="cannot compile an error"):
        modules.finish()
    modules.soon("right", ())
    assert modules.get("right", ()).code == "right"
    with pytest.raises(ValueError, match="cannot compile an error"):
        modules.get("an error", ())
    assert [code for code, _ in compiler.asked].count("an error") == 1
    with pytest.raises(ValueError, match="cannot compile an error"):  # whoever asks again, tries again
        modules.get("an error", ())
    assert [code for code, _ in compiler.asked].count("an error") == 2


def test_at_the_end_nothing_more_is_begun(compiler, modules):
    compiler.free.clear()
    modules.soon("under way", ())
    assert compiler.begun.wait(10)
    modules.soon("waiting", ())
    threading.Timer(0.01, compiler.free.set).start()
    modules.close()
    assert [code for code, _ in compiler.asked] == ["under way"]


def test_what_is_compiled_ahead(compiler, modules):
    assert modules.missing()[0] == modules.missing()[1] == len({*declared("float32"), *declared("float64")})
    compiler.free.clear()
    modules.ahead("float32")
    assert modules.busy
    compiler.free.set()
    modules.finish()
    assert not modules.busy
    codes = [code for code, _ in compiler.asked]
    assert sorted(codes) == sorted(code for code, _ in declared("float32"))
    assert codes == sorted(codes, key=len)  # the soonest done first
    assert {"product", "adam", "convolution", "max_pool", "gather", "feed", "softmax_cross_entropy"} <= {
        name for code in codes for name in ("product", "adam", "convolution", "max_pool", "gather", "feed",
                                            "softmax_cross_entropy") if f" {name}(" in code
    }  # fmt: skip
    again = Modules(0)
    again.ahead("float32")
    assert not again.new  # this machine has compiled it
    again.finish()
    assert modules.missing()[0] == len({*declared("float64")} - {*declared("float32")})


def test_without_a_cache_on_disk_nothing_is_kept(monkeypatch, modules):
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    modules.get("a", ())
    assert not modules.is_kept("a", ())


def test_what_is_said(monkeypatch, modules):
    monkeypatch.setattr(launch, "gpu_named", lambda device: SimpleNamespace(modules=modules))
    assert launch.compiling("cpu") == launch.compiling("gpu:0") == ""
    monkeypatch.setattr(Modules, "busy", True)
    assert launch.compiling("gpu:0") == "compiling kernels for sm_90, once for this machine"


def test_a_model_on_the_cpu_and_one_of_halves_compile_nothing(monkeypatch):
    monkeypatch.setattr(launch, "gpu_named", lambda device: pytest.fail("it compiles"))
    launch.prepare("cpu", "float32")
    launch.prepare("gpu:0", "float16")


def test_an_import_declares_and_does_no_more():
    code = (
        "import chalkgrad, threading, sys; from chalkgrad.engine.cuda import launch, sources; "
        "assert sources._declared and not launch._gpu.cache_info().currsize and threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.deep
def test_a_training_after_it_compiles_what_a_step_writes_alone(standin, tmp_path):
    code = """
import numpy as np, chalkgrad as cg
from chalkgrad.commands.doctor_gpu import compile_ahead
from chalkgrad.engine.cuda import sources
compile_ahead()
seen, compile = [], sources.Modules._compile
sources.Modules._compile = lambda self, key, pending: (seen.append(key), compile(self, key, pending))
m = cg.Sequential([cg.layers.Conv2D(2, 3), cg.layers.MaxPooling2D(), cg.layers.Flatten(), cg.layers.Dense(3, "relu"),
                   cg.layers.Dense(2, "softmax")], device="gpu")
m.compile("adam", "sparse_categorical_crossentropy")
m.fit(np.ones((400, 8, 8, 1), "uint8"), np.zeros(400, int), batch_size=10, epochs=4, verbose=2)
loops = [key for key in seen if " loop(" in key[0]]
assert loops and len({code for code, *_ in loops}) == len(loops), [options for _, options, *_ in loops]
print([options for code, options, *_ in seen if " loop(" not in code and " fed(" not in code])
"""
    shown = standin("-c", code, BACKGROUND="2", CUPY_CACHE_DIR=str(tmp_path))
    assert shown.splitlines()[0] == "compiling kernels for sm_90, once for this machine"
    assert shown.splitlines()[-1] == "[]"
    assert shown.count("compiling kernels") == 1
