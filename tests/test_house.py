"""The rules of the house: which way imports run, what the package needs, what the repository may not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dsl_teach"

FLOORS = [
    {"_validate", "seeds", "config", "environment", "methods"},
    {"noise", "metrics", "prototypes", "training.losses", "training.networks", "training.resnets"},
    {"data"},
    {"training"},
    {"lab", "cli"},
]
"""From the ground up. A module may import from its own floor and those below."""

PROTOTYPES = ["density", "selection", "correction", "estimator"]


def modules() -> list[str]:
    names = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names if str(name) != "__init__")


def imports_of(module: str) -> set[str]:
    """The modules of the package that a module imports, without the package's name."""
    path = PACKAGE.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} uses a relative import"
    known = set(modules())
    return {name.removeprefix("dsl_teach.") for name in found if name.removeprefix("dsl_teach.") in known}


def floor(module: str) -> int:
    candidates = [
        (len(room), level)
        for level, rooms in enumerate(FLOORS)
        for room in rooms
        if f"{module}.".startswith(f"{room}.")
    ]
    assert candidates, f"dsl_teach.{module} has no floor: give it one in {Path(__file__).name}"
    return max(candidates)[1]


@pytest.mark.parametrize("module", modules())
def test_imports_run_downwards(module):
    upwards = [other for other in imports_of(module) if floor(other) > floor(module)]
    assert not upwards, f"dsl_teach.{module} imports {upwards}, which stand above it"


@pytest.mark.parametrize("place", range(len(PROTOTYPES)))
def test_density_then_selection_then_correction(place):
    module = f"prototypes.{PROTOTYPES[place]}"
    later = {f"prototypes.{name}" for name in PROTOTYPES[place + 1 :]}
    assert module not in modules() or not imports_of(module) & later


def test_an_upward_import_is_seen():
    assert floor("training.losses") < floor("data.digits") < floor("training.loop") < floor("lab")


def test_the_method_runs_without_the_extras():
    """No extra is imported by the library, not even on the way."""
    names = [
        "matplotlib",
        "ipywidgets",
        "papermill",
        "IPython",
        "jupyterlab",
        "nbformat",
        "anywidget",
        "cleanlab",
        "pytest",
        "hypothesis",
    ]
    program = f"import sys; sys.modules.update(dict.fromkeys({names!r})); import dsl_teach; dsl_teach.run"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_library_does_not_print():
    for path in PACKAGE.rglob("*.py"):
        if "lab" in path.parts or path.name == "cli.py":
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [c for c in calls if getattr(c.func, "id", "") == "print"], f"{path} prints"


def test_each_dependency_has_its_reason():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    needed = [line for line in lines if re.match(r'\s+"[\w\-\[\]]+[^"]*",', line) and ("#" in line or ">=" in line)]
    assert len(needed) > 15
    assert [line for line in needed if "  # " not in line] == []


def test_environment_yml_installs_the_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert {"pip": ["--editable .[dev]"]} in environment["dependencies"]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"python {wanted}" in environment["dependencies"]


def test_the_lock_has_exact_versions_with_hashes_and_no_hosts():
    lock = (ROOT / "requirements.lock").read_text()
    assert "http://" not in lock
    assert "https://" not in lock
    pinned = re.findall(r"^([\w\-\.]+)==", lock, flags=re.MULTILINE)
    assert lock.count("--hash=sha256:") >= len(pinned) > 50
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[\[><=; ]", d)[0].lower() for d in wanted} - {"dsl-teach"}
    assert names <= {name.lower() for name in pinned}
