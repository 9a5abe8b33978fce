"""Every .cu file compiles for the devices it is written for, without a warning and without spilled registers."""

import itertools
from pathlib import Path

import pytest
from building import kernels_of
from tools import compiled, needs_gxx, needs_nvcc

from chalkgrad.engine.cuda.sources import text_of

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in ROOT.glob("[!.]*/**/*.cu") if not path.is_relative_to(ROOT / "build"))
pytestmark = [needs_nvcc, needs_gxx, pytest.mark.deep]


@pytest.mark.parametrize(
    ("file", "architecture", "real"),
    [pytest.param(*each, id=f"{each[0].relative_to(ROOT)}-{each[1]}-{each[2]}") for each in
     itertools.product(FILES, ["sm_80", "sm_90"], ["float", "double"])],
)  # fmt: skip
def test_compiles(file, architecture, real, tmp_path):
    made = compiled(file, tmp_path, architecture, [f"-DREAL={real}"])
    assert isinstance(made, bytes), made
    for kernel in kernels_of(text_of(file)):
        assert f".text.{kernel}\0".encode() in made


@pytest.mark.parametrize("types", [("unsigned char", "float"), ("long long", "long long"), ("long long", "int")])
def test_gather_compiles_for_other_types(types, tmp_path):
    options = [f"-DSOURCE={types[0]}", f"-DREAL={types[1]}", "-DINDEX=int"]
    assert isinstance(made := compiled(ROOT / "ops/shapes.cu", tmp_path, "sm_80", options), bytes), made


@pytest.mark.parametrize("to", ["float16", "bfloat16"])
def test_sums_of_what_passes_compile_for_factors_of_sixteen_bits(to, tmp_path):
    text = "".join((ROOT / file).read_text("utf-8") for file in ("engine/cuda/bits16.cu", "ops/linalg.cu"))
    (tmp_path / "both.cu").write_text(text)
    options = ["-DPASSED=unsigned short", f"-DTO_PASSED={to}_bits"]
    assert isinstance(made := compiled(tmp_path / "both.cu", tmp_path, "sm_90", options), bytes), made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('extern "C" __global__ void f(float* x) { int unused; x[0] = 1; }', "never referenced"),
        ('extern "C" __global__ void f(float* x) { x[0] = y; }', "undefined"),
        (
            'extern "C" __global__ void __launch_bounds__(1024, 2) f(float* x, int n) {\n'
            "    float y[64];\n"
            "    for (int i = 0; i < 64; ++i) y[i] = x[i * n];\n"
            "    for (int r = 0; r < n; ++r) for (int i = 0; i < 64; ++i) y[i] *= y[i * 7 % 64] + x[r];\n"
            "    for (int i = 0; i < 64; ++i) x[i * n] = y[i];\n"
            "}\n",
            "spilled",
        ),
    ],
)
def test_warnings_and_spills_are_refused(text, why, tmp_path):
    (tmp_path / "wrong.cu").write_text(text)
    assert why in compiled(tmp_path / "wrong.cu", tmp_path, "sm_90", [])


def test_there_are_files():
    assert len(FILES) >= 5
