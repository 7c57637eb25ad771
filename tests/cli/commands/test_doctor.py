"""All that a bug report needs, and nothing heavy behind it."""

import json
import tomllib
from pathlib import Path

import pytest

import ossia as ossia_package
from ossia import __version__
from ossia.cli.commands import doctor
from ossia.ops.cpu import isas
from ossia.ops.select import BACKENDS
from ossia.tools.browser.providers import SERVICES

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _setting(monkeypatch):
    monkeypatch.setenv("OSSIA_BACKEND", "reference")


def test_the_report_names_machine_backends_folders_and_settings(ossia, home):
    found = json.loads(ossia("doctor", "--json").out)
    assert found["ossia"] == __version__
    assert list(found["backends"]) == list(BACKENDS)
    assert found["backends"]["reference"] is None
    assert found["cpu"]["isas"] == isas()
    assert found["cpu"]["isa"] == isas()[0]
    assert found["cpu"]["threads"] >= 1
    assert found["folders"]["package"] == str(Path(ossia_package.__file__).parent)
    assert found["folders"]["state"] == str(home / "state")
    backend = next(each for each in found["settings"] if each["variable"] == "OSSIA_BACKEND")
    assert (backend["value"], backend["origin"]) == ("reference", "environment")


def test_prepared_weights_are_told_with_their_size(ossia, home):
    assert json.loads(ossia("doctor", "--json").out)["prepared"] == {
        "folder": str(home / "cache"), "files": 0, "bytes": 0,
    }  # fmt: skip
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "x.order.prepared").write_bytes(bytes(3000))
    assert json.loads(ossia("doctor", "--json").out)["prepared"]["bytes"] == 3000
    assert f"{home / 'cache'}, 3 kB of weights" in ossia("doctor").out


def test_the_sandbox_of_the_python_tool_is_shown_with_every_probe(ossia):
    found = json.loads(ossia("doctor", "--json").out)["python_tool"]
    assert found["label"] in ("full", "reduced", "unavailable")
    if found["tier"] is None:
        assert "install bubblewrap" in found["reason"]
    else:
        assert len(found["probes"]) == 13
        assert all(probe["is_held"] for probe in found["probes"])


def test_people_read_of_the_sandbox_in_a_line(monkeypatch, ossia):
    report = {
        "tier": "landlock", "label": "reduced", "seconds": 0.31, "reason": "",
        "probes": [{"name": "tcp", "is_held": True, "found": ""}],
        "passed_over": ["bubblewrap: the program bwrap is not installed"],
    }  # fmt: skip
    monkeypatch.setattr(doctor, "python_tool", lambda: report)
    line = "landlock (reduced), 1 of 1 probes held in 0.3 s; not bubblewrap: the program bwrap"
    assert line in " ".join(ossia("doctor").out.split())
    report |= {"tier": None, "reason": "no sandbox holds here"}
    assert "not offered: no sandbox holds here" in " ".join(ossia("doctor").out.split())


def test_what_can_be_searched_is_told_and_no_key_is_shown(ossia, monkeypatch, tmp_path):
    for variable in SERVICES:
        monkeypatch.delenv(variable, raising=False)
    report = {"tier": None, "reason": "not tried"}
    monkeypatch.setattr(doctor, "python_tool", lambda: report)
    found = doctor.search()
    assert (found["pages"], found["web"]) == (None, None)
    assert "set one of YDC_API_KEY" in found["problem"]
    assert "web not offered: web needs" in " ".join(ossia("doctor").out.split())
    (tmp_path / "a.md").write_text("# Owls")
    ossia("index", tmp_path)
    monkeypatch.setenv("EXA_API_KEY", "canary")
    ran = ossia("doctor", "--json")
    assert "canary" not in ran.out + ran.err
    assert json.loads(ran.out)["search"]["web"] == "Exa"
    assert json.loads(ran.out)["search"]["pages"].endswith("corpus.sqlite3")


def test_people_read_the_same(ossia):
    shown = ossia("doctor").out
    assert "OSSIA_BACKEND" in shown
    assert "reference, from environment" in shown
    assert f"ossia {__version__}" in " ".join(shown.split())


def test_an_instruction_set_that_is_not_here_is_told(ossia, monkeypatch):
    monkeypatch.setenv("OSSIA_ISA", "abacus")
    found = json.loads(ossia("doctor", "--json").out)["cpu"]
    assert found["isa"] is None
    assert found["problem"] == f"no kernels for 'abacus' here; choose {', '.join(isas())}"
    assert "no kernels for 'abacus'" in ossia("doctor").out


def test_the_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert doctor.EXTRAS.keys() == extras.keys() - {"dev"}
    for name, libraries in doctor.EXTRAS.items():
        assert all(line.startswith(libraries) for line in extras[name])


def test_a_system_that_does_not_tell_its_memory_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "Path", lambda name: tmp_path / "nowhere")
    assert doctor.memory() == {"total_bytes": None, "available_bytes": None}


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux tells its memory there")
def test_memory_is_told_in_bytes():
    sizes = doctor.memory()
    assert 2**28 < sizes["available_bytes"] < sizes["total_bytes"]
