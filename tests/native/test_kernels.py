"""The C++ kernels without Python: under sanitizers, and on processors this machine is not."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),  # compiles everything the first time; later only what has changed
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("c++")),
        reason="needs cmake and a C++ compiler; run: apt-get install cmake g++",
    ),
]


def needs(*programs: str, package: str):
    missing = [name for name in programs if not (shutil.which(name) or Path(name).exists())]
    return pytest.mark.skipif(
        bool(missing), reason=f"needs {', '.join(missing)}; run: apt-get install {package}"
    )


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


def test_no_kernel_steps_outside_its_arrays():
    program = build("test-sanitize", "-DOSSIA_SANITIZE=ON")
    assert "every rule holds" in run(program, UBSAN_OPTIONS="print_stacktrace=1")


@needs("aarch64-linux-gnu-g++", "qemu-aarch64", package="g++-aarch64-linux-gnu qemu-user")
def test_arm64_computes_the_same():
    toolchain = "-DCMAKE_TOOLCHAIN_FILE=tests/native/arm64.cmake"
    program = build("test-arm64", "-DOSSIA_KERNELS_ONLY=ON", toolchain)
    said = run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", program)
    assert "kernels: neon" in said
    assert "every rule holds" in said


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs an x86-64 processor")
@needs("/usr/include/simde/x86/avx512.h", package="libsimde-dev")
def test_avx512_computes_the_same():
    said = run(build("test-avx512", "-DOSSIA_EMULATE_AVX512=ON"))
    assert "kernels: avx512" in said
    assert "every rule holds" in said
