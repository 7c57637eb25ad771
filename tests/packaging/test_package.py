"""The wheel and the source archive: built, installed where there is nothing else, and asked."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ossia

ROOT = Path(__file__).parents[2]
MAX_PACKAGES = 45
MAX_BYTES = 200_000_000
pytestmark = [pytest.mark.judge("package"), pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source archive of what git tracks, and the wheel made from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), ".")
    return folder


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """An empty environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(folder))
    (wheel,) = built.glob("*.whl")
    run(str(folder / "bin" / "pip"), "install", "--quiet", str(wheel))
    return folder


def test_what_others_gave_and_what_types_need_is_inside(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"ossia-{ossia.__version__}" in wheel.name
    assert {"ossia/py.typed", "ossia/models/nano/model.safetensors"} <= set(names)
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= licences
    assert [name for name in names if name.endswith((".cpp", ".h"))] == []
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        inside = {name.partition("/")[2] for name in files.getnames()}
    assert {"LICENSE", "NOTICE", "CMakeLists.txt", "src/ossia/ops/cpu/bindings.cpp"} <= inside


def test_it_answers_where_there_is_no_checkout(environment, tmp_path):
    done = subprocess.run(
        [environment / "bin" / "ossia", "run", "What is 37 + 48?"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert "85" in done.stdout


def test_the_core_is_light(environment):
    (packages,) = environment.glob("lib/python*/site-packages")
    beside = re.compile(r"(pip|setuptools)\b")  # venv's own; nobody has asked for these
    names = [each.name for each in packages.glob("*.dist-info") if not beside.match(each.name)]
    size = sum(
        file.stat().st_size
        for file in packages.rglob("*")
        if file.is_file() and not beside.match(str(file.relative_to(packages)))
    )
    print(f"{len(names)} packages, {size / 1e6:.0f} MB")
    assert len(names) <= MAX_PACKAGES
    assert size <= MAX_BYTES


def test_without_a_compiler_the_last_words_say_what_is_missing(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), "."]
    done = subprocess.run(
        pip,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "CXX": "no-such-compiler", "SKBUILD_BUILD_DIR": str(tmp_path / "build")},
    )
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    build_output = printed[: printed.index("[end of output]")].strip().splitlines()
    assert "C++20 compiler" in build_output[-1]
    assert "apt-get install g++" in build_output[-1]
