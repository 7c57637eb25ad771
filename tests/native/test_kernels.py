"""The C++ kernels without Python: under sanitizers, and on processors this machine is not."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from ossia.ops.cpu import isas

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # compiles everything the first time; later only what has changed
]


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def build(name: str, *options: str) -> str:
    """Build kernels_test, with compilations of earlier runs; say where it is."""
    folder = f"build/{name}"
    run("cmake", "-S", ".", "-B", folder, "-DCMAKE_CXX_FLAGS_RELEASE=-O1", *options)
    run("cmake", "--build", folder, "--parallel", "2")
    return f"{folder}/kernels_test"


def build_sanitized() -> str:
    return build("test-sanitize", "-DOSSIA_SANITIZE=ON", f"-DOSSIA_ISAS={';'.join(isas())}")


@pytest.mark.judge("sanitizers")
def test_no_kernel_steps_outside_its_arrays():
    output = run(build_sanitized(), UBSAN_OPTIONS="print_stacktrace=1")
    assert "every rule holds" in output


@pytest.mark.judge("sanitizers")
@pytest.mark.parametrize("isa", isas())
def test_no_instruction_set_shares_a_function_with_another(isa):
    """The linker keeps one copy of a shared inline function, maybe one this CPU cannot run."""
    folder = Path(build_sanitized()).parent / "CMakeFiles" / f"ossia_{isa}.dir"
    objects = [str(file) for file in (ROOT / folder).rglob("*.o")]
    lines = run("nm", "-C", *objects).splitlines()
    symbols = [words for words in (line.split(maxsplit=2) for line in lines) if len(words) == 3]
    assert ["T", f"ossia::{isa}::attend(ossia::Attend const&, ossia::Team const&)"] in [
        words[1:] for words in symbols
    ]
    shared = {name for _, kind, name in symbols if kind in "VWu"}
    strangers = {name for name in shared if f"ossia::{isa}::" not in name}
    assert strangers <= {"DW.ref.__gxx_personality_v0"}  # a pointer, not code


@pytest.mark.judge("arm64")
def test_arm64_computes_the_same():
    toolchain = "-DCMAKE_TOOLCHAIN_FILE=tests/native/arm64.cmake"
    program = build("test-arm64", "-DOSSIA_KERNELS_ONLY=ON", "-DOSSIA_ISAS=neon;plain", toolchain)
    emulator = "qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"
    output = run(*emulator, program)
    assert "kernels: neon" in output
    assert "every rule holds" in output
    older = run(*emulator, "-cpu", "cortex-a53", program, "--list")  # has no dot product
    assert older.splitlines() == ["kernels: plain"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 processor")
@pytest.mark.judge("avx512")
def test_avx512_computes_the_same():
    output = run(build("test-avx512", "-DOSSIA_EMULATE_AVX512=ON", "-DOSSIA_ISAS=avx512;plain"))
    assert "kernels: avx512" in output
    assert "every rule holds" in output
