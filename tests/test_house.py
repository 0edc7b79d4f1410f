"""The rules of the house: which way imports run, what the package needs, what the repository may not hold."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dsl_teach"

FLOORS = ["_validate seeds files storage errors config", "metrics", "prototypes noise", "data", "training"]
FLOORS += ["own_data", "workers", "sweep cli"]
"""From the ground up. A module may import from its own floor and those below."""

PROTOTYPES = ["density", "selection", "correction", "variants", "estimator"]
FORMULAS = ("prototypes", "noise", "training.losses")
"""These take tensors and numbers, never settings."""

FORBIDDEN = {"dsl_lessons", "data_scripts", "matplotlib", "ipywidgets", "anywidget", "papermill", "IPython", "pytest"}


def modules() -> list[str]:
    names = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names if str(name) != "__init__")


def source(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_in(tree: ast.AST) -> set[str]:
    """Everything imported, inside functions too; of ``from a import b`` both a and a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def imports_of(module: str) -> set[str]:
    """The modules of the package that a module imports, without the package's name."""
    names = {name.removeprefix("dsl_teach.") for name in imports_in(ast.parse(source(module).read_text()))}
    return names & set(modules())


def floor(module: str) -> int:
    rooms = [level for level, names in enumerate(FLOORS) if module.split(".")[0] in names.split()]
    assert rooms, f"dsl_teach.{module} has no floor: give it one in {Path(__file__).name}"
    return rooms[0]


@pytest.mark.parametrize("module", modules())
def test_imports_run_downwards(module):
    upwards = [other for other in imports_of(module) if floor(other) > floor(module)]
    assert not upwards, f"dsl_teach.{module} imports {upwards}, which stand above it"
    assert not module.startswith(FORMULAS) or "config" not in imports_of(module)


@pytest.mark.parametrize("place", range(len(PROTOTYPES)))
def test_density_then_selection_then_correction(place):
    later = {f"prototypes.{name}" for name in PROTOTYPES[place + 1 :]}
    assert not imports_of(f"prototypes.{PROTOTYPES[place]}") & later


@pytest.mark.parametrize("module", ["__init__", *modules()])
def test_the_library_needs_neither_lessons_nor_what_they_are_drawn_with(module):
    """But for the curves that the command line draws, where they are asked for."""
    tree = ast.parse(source(module).read_text())
    outside = [node for node in tree.body if not isinstance(node, ast.FunctionDef)]
    if module == "cli":
        assert not {name.split(".")[0] for node in outside for name in imports_in(node)} & FORBIDDEN
    allowed = {"matplotlib"} if module == "cli" else set()
    assert not {name.split(".")[0] for name in imports_in(tree)} & (FORBIDDEN - allowed)


def test_the_library_does_not_print():
    for module in {*modules()} - {"cli", "errors"}:
        calls = [node for node in ast.walk(ast.parse(source(module).read_text())) if isinstance(node, ast.Call)]
        assert not [c for c in calls if getattr(c.func, "id", "") == "print"], f"dsl_teach.{module} prints"


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
    assert not re.search("https?://", lock)
    pinned = re.findall(r"^([\w\-\.]+)==", lock, flags=re.MULTILINE)
    assert lock.count("--hash=sha256:") >= len(pinned) > 50
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    names = {re.split(r"[\[><=; ]", d)[0].lower() for d in wanted} - {"dsl-teach"}
    assert names <= {name.lower() for name in pinned}
