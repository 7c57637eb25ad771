"""`ossia doctor`: what this computer has, what is missing, and every setting."""

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ossia import __version__
from ossia.cli.options import AsJson, settings
from ossia.cli.terminal.terminal import as_bytes, as_table, harmless
from ossia.errors import OssiaError
from ossia.files import index_path, state_folder

EXAMPLES = """
ossia doctor
ossia doctor --json > report.json
"""

EXTRAS = {"train": ("matplotlib", "torch"), "pdf": ("pypdf",), "mcp": ("mcp",)}
"""Libraries that each extra of the package installs."""


def command(*, as_json: AsJson = False) -> None:
    """Report what this computer has, for you or for a bug report."""
    found = report()
    typer.echo(json.dumps(found) if as_json else harmless(_as_text(found)))


def report() -> dict[str, Any]:
    """Everything a bug report needs; of the user's data only names of folders."""
    from ossia.ops.select import BACKENDS, unavailable_reason

    set_here = {each.name: each for each in settings(os.environ)}
    return {
        "ossia": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu(set_here["isa"].value),
        "memory": memory(),
        "backends": {name: unavailable_reason(name) for name in BACKENDS},
        "extras": {extra: {name: _version(name) for name in EXTRAS[extra]} for extra in EXTRAS},
        "python_tool": python_tool(),
        "search": search(),
        "prepared": prepared(set_here["prepared_folder"].value),
        "folders": {"package": str(Path(__file__).parents[2]), "state": str(state_folder())},
        "settings": [asdict(each) for each in set_here.values()],
    }


def cpu(requested: str) -> dict[str, Any]:
    """Name, usable threads, and the instruction sets that both CPU and kernels support.

    Args:
        requested: the instruction set in the settings, or auto.
    """
    found: dict[str, Any] = {"name": _cpu_name(), "threads": _usable_cores(), "isa": None}
    try:
        from ossia.ops.cpu import isas
    except ImportError as error:  # the compiled module is missing or broken
        return found | {"isas": [], "problem": f"{error}; install ossia again"}
    here = list(isas())
    if requested not in ("auto", *here):
        problem = f"no kernels for {requested!r} here; choose {', '.join(here)}"
        return found | {"isas": here, "problem": problem}
    return found | {
        "isas": here,
        "isa": here[0] if requested == "auto" else requested,
        "problem": None,
    }


def python_tool() -> dict[str, Any]:
    """The sandbox that the python tool would use here, and the result of each probe."""
    import asyncio

    from ossia.tools.catalog import python_options
    from ossia.tools.python.toolkit import examine

    return asyncio.run(examine(python_options())).to_dict()


def search() -> dict[str, str | None]:
    """What the browser tool can search here; keys are neither shown nor tried."""
    from ossia.tools.catalog import has_corpus, search_service

    found: dict[str, str | None] = {"pages": None, "web": None, "problem": None}
    if has_corpus():
        found["pages"] = str(index_path())
    try:
        found["web"] = search_service().name
    except OssiaError as error:
        found["problem"] = str(error)
    return found


def prepared(requested: str) -> dict[str, Any]:
    """The folder of prepared weights, and their size.

    Args:
        requested: the folder in the settings, or auto.
    """
    from ossia.checkpoint.find import prepared_folder
    from ossia.checkpoint.prepared import prepared_files

    folder = prepared_folder(requested)
    sizes = [path.stat().st_size for path in prepared_files(folder)]
    return {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes)}


def memory() -> dict[str, int | None]:
    """Bytes of memory in total and available; None where the system does not say."""
    sizes = _fields(Path("/proc/meminfo"))
    known = {"total_bytes": "MemTotal", "available_bytes": "MemAvailable"}
    return {
        name: int(sizes[field].split()[0]) * 1024 if field in sizes else None
        for name, field in known.items()
    }


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    found = _fields(Path("/proc/cpuinfo"))
    return found.get("model name") or platform.processor() or platform.machine()


def _fields(path: Path) -> dict[str, str]:
    """The `name: value` lines of a file of the Linux kernel, the first of each name."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def _version(library: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # half as slow as all of --help

    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _sandbox(report: dict[str, Any]) -> str:
    if report["tier"] is None:
        return f"not offered: {report['reason']}"
    num_passed = sum(probe["is_held"] for probe in report["probes"])
    better = "".join(f"; not {reason}" for reason in report["passed_over"])
    probes = f"{num_passed} of {len(report['probes'])} probes held in {report['seconds']:.1f} s"
    return f"{report['tier']} ({report['label']}), {probes}{better}"


def _as_text(found: dict[str, Any]) -> str:
    processor, space = found["cpu"], found["memory"]
    sizes = [as_bytes(size) if size else "unknown" for size in space.values()]
    rows = {
        "ossia": found["ossia"],
        "python": found["python"],
        "system": found["system"],
        "cpu": f"{processor['name']}, {processor['threads']} threads",
        "kernels": processor["problem"]
        or f"{processor['isa']} (here: {', '.join(processor['isas'])})",
        "memory": f"{sizes[0]}, {sizes[1]} available",
    }
    for name, reason in found["backends"].items():
        rows[f"backend {name}"] = reason or "runs"
    for extra, libraries in found["extras"].items():
        rows[f"extra {extra}"] = ", ".join(
            f"{library} {installed or 'not installed'}" for library, installed in libraries.items()
        )
    rows["python tool"] = _sandbox(found["python_tool"])
    searched = found["search"]
    rows["browser"] = searched["pages"] or "no pages of yours yet: ossia index FOLDER"
    rows["web"] = searched["web"] or f"not offered: {searched['problem']}"
    for name, folder in found["folders"].items():
        rows[f"folder {name}"] = folder
    weights = found["prepared"]
    rows["folder prepared"] = f"{weights['folder']}, {as_bytes(weights['bytes'])} of weights"
    for each in found["settings"]:
        rows[each["variable"]] = f"{each['value'] or '(not set)'}, from {each['origin']}"
    return as_table(rows)
