import importlib
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from chalkgrad.errors import UsageError
from chalkgrad.proof.adapters import from_jax, from_torch

HERE = {name: importlib.util.find_spec(name) is not None for name in ("torch", "jax")}
needs_torch = pytest.mark.skipif(not HERE["torch"], reason="PyTorch is not installed")
needs_jax = pytest.mark.skipif(not HERE["jax"], reason="JAX is not installed")


@pytest.fixture
def x64():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def cube_class(factor=3.0):
    import torch

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gy):
            (x,) = ctx.saved_tensors
            return factor * gy * x * x

    return Cube


def gradcheck():
    return pytest.importorskip("chalkgrad.proof.gradients").gradcheck


@needs_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_function_class_keeps_dtype_and_gives_its_own_gradient(dtype):
    f, vjp = from_torch(cube_class(factor=5.0))  # wrong on purpose: its own rule must be what is asked
    x = np.array([1.0, -2.0], dtype)
    y, (gx,) = f(x), vjp(np.array([1.0, 10.0], dtype), x)
    assert f.__name__ == "Cube"
    assert (y.dtype, gx.dtype) == (np.dtype(dtype), np.dtype(dtype))
    assert y.tolist() == [1.0, -8.0]
    assert gx.tolist() == [5.0, 200.0]


@needs_torch
def test_torch_function_of_two_arguments_and_an_unused_one():
    f, vjp = from_torch(lambda x, w, unused: x @ w)
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    gy = rng.normal(size=(2, 4))
    gx, gw, none = vjp(gy, x, w, np.ones(2))
    np.testing.assert_allclose(f(x, w, np.ones(2)), x @ w)
    np.testing.assert_allclose(gx, gy @ w.T)
    np.testing.assert_allclose(gw, x.T @ gy)
    assert none is None


@needs_torch
def test_torch_function_without_a_graph_has_no_gradient():
    f, vjp = from_torch(lambda x: x.detach() * 2)
    assert f(np.ones(2)).tolist() == [2.0, 2.0]
    assert vjp(np.ones(2), np.ones(2)) == (None,)


@needs_torch
def test_torch_takes_any_layout_and_scalars():
    f, vjp = from_torch(lambda x: x * x)
    whole = np.arange(6.0).reshape(2, 3)
    frozen = whole.copy()
    frozen.flags.writeable = False
    for x in (whole[::-1], whole.T, whole[:, ::2], frozen, np.float64(3.0), np.zeros((0, 2))):
        np.testing.assert_array_equal(f(x), np.asarray(x) ** 2)
        np.testing.assert_array_equal(vjp(np.ones_like(x), x)[0], 2 * np.asarray(x))


@needs_torch
def test_torch_result_is_no_view_of_the_input_and_a_change_in_place_shows():
    x = np.ones(3)
    f, _ = from_torch(lambda t: t)
    f(x)[0] = 7
    assert x.tolist() == [1, 1, 1]
    f, _ = from_torch(lambda t: t.mul_(2))
    f(x)
    assert x.tolist() == [2, 2, 2]


@needs_torch
def test_torch_refusals_say_what_to_do():
    f, vjp = from_torch(lambda x: (x, x))
    with pytest.raises(UsageError, match="one torch tensor"):
        f(np.ones(2))
    with pytest.raises(UsageError, match=r"argument 0 .* int64.*close over"):
        vjp(np.ones(2), np.arange(2))
    with pytest.raises(UsageError, match="complex128"):
        f(np.ones(2, complex))
    with pytest.raises(UsageError, match=r"torch\.int64"):
        from_torch(lambda x: x.long())[0](np.ones(2))


@needs_torch
def test_gradcheck_of_torch_functions():
    import torch

    check, x = gradcheck(), np.array([0.5, -1.5, 2.0])
    f, vjp = from_torch(cube_class())
    assert check(f, x, vjp=vjp), str(check(f, x, vjp=vjp))
    f, vjp = from_torch(cube_class(factor=3.0003))
    assert check(f, x, vjp=vjp).verdict == "wrong"
    f, vjp = from_torch(torch.sigmoid)
    assert check(f, x, vjp=vjp)
    assert check(f, x.astype("float32"), vjp=vjp)


@needs_jax
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jax_keeps_dtype_and_gives_the_custom_gradient(dtype):
    import jax

    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, gy: (5 * gy * x * x,))  # wrong on purpose
    f, vjp = from_jax(cube)
    x = np.array([1.0, -2.0], dtype)
    y, (gx,) = f(x), vjp(np.array([1.0, 10.0], dtype), x)
    assert (type(y), type(gx)) == (np.ndarray, np.ndarray)
    assert (y.dtype, gx.dtype) == (np.dtype(dtype), np.dtype(dtype))
    assert y.tolist() == [1.0, -8.0]
    assert gx.tolist() == [5.0, 200.0]
    y[0] = 0  # an array of one's own


@needs_jax
@pytest.mark.usefixtures("x64")
def test_gradcheck_of_jax_functions():
    import jax

    check, x = gradcheck(), np.array([0.5, -1.5, 2.0])
    f, vjp = from_jax(jax.nn.silu)
    assert check(f, x, vjp=vjp), str(check(f, x, vjp=vjp))
    assert check(f, x.astype("float32"), vjp=vjp)

    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, gy: (gy * x,))
    f, vjp = from_jax(square)
    assert check(f, x, vjp=vjp).verdict == "wrong"


@needs_jax
def test_jax_in_float32_is_refused_for_float64_inputs():
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        f, _ = from_jax(jax.numpy.sin)
        assert f(np.ones(2, "float32")).dtype == np.float32
        with pytest.raises(UsageError, match="jax_enable_x64"):
            f(np.ones(2))
    finally:
        jax.config.update("jax_enable_x64", before)


@needs_jax
@pytest.mark.usefixtures("x64")
def test_jax_refusals_say_what_to_do():
    f, _ = from_jax(lambda x: (x, x))
    with pytest.raises(UsageError, match="one JAX array"):
        f(np.ones(2))
    with pytest.raises(UsageError, match="close over"):
        f(np.arange(2))


@pytest.mark.parametrize(("adapter", "package"), [(from_torch, "torch"), (from_jax, "jax")])
def test_a_missing_package_is_named_with_the_command(monkeypatch, adapter, package):
    real = importlib.import_module

    def missing(name, *rest):
        if name == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("chalkgrad.proof.adapters.import_module", missing)
    with pytest.raises(UsageError, match=f"-m pip install {package}$"):
        adapter(abs)


def test_importing_the_adapters_imports_no_peer():
    code = "import sys, chalkgrad.proof.adapters; sys.exit(any(name in sys.modules for name in ('torch', 'jax')))"
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def double(x):
    return x * 2


@needs_torch
def test_the_code_to_reproduce_goes_through_the_adapter():
    from chalkgrad.proof import gradcheck

    report = gradcheck((from_torch(double)[0], lambda gy, x: gy * 3), np.ones(2))
    assert "from chalkgrad.proof.adapters import from_torch" in report.reproduce
    scope = {}
    exec(report.reproduce.replace("print(report)", ""), scope)
    assert (scope["report"].verdict, scope["report"].worst) == (report.verdict, report.worst)
    code = gradcheck(from_torch(cube_class(2.0)), np.ones(2)).reproduce
    assert "function = ...  # put in: FunctionMeta cube_class.<locals>.Cube\n" in code
    assert "vjp=from_torch(function)[1])" in code
