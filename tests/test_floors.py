"""Imports run one way: examples, tests -> models | inference -> pnct, and room by room within; only
progress.py prints.
"""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {"pnct": "pnct", "models": "pnct.models", "inference": "pnct.inference"}
# From the ground up. A file stands in the room named by the longest of these that its module begins with, and
# imports from its own room and from those before it.
ROOMS = (
    (
        "pnct.estimate",
        "pnct.validation",
        "pnct.user_warning",
        "pnct.memory",
        "pnct.backend",
        "pnct.compilation",
        "pnct.angles",
        "pnct.space",
        "pnct.smooth_space",
    ),
    ("pnct.networks",),
    ("pnct.orbitals",),
    ("pnct.systems",),
    ("pnct.states", "pnct.circuits"),
    ("pnct.flows",),
    ("pnct.distributions",),
    (
        "pnct.kinetic",
        "pnct.hamiltonian",
        "pnct.spin_hamiltonian",
        "pnct.hydrogen_hamiltonian",
        "pnct.primitives",
        "pnct",
    ),
    ("pnct.models",),
    ("pnct.inference.sampling", "pnct.inference.optimisation"),
    ("pnct.inference.runs",),
    ("pnct.inference.training",),
    ("pnct.inference.free_energy",),
    ("pnct.inference.closed_form",),
    ("pnct.inference.observables",),
    ("pnct.inference.diagnostics",),
    ("pnct.inference.workflows", "pnct.inference"),
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}


def modules():
    """(module, file) of the library."""
    for folder, package in FLOORS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *(p for p in parts if p != "__init__"))), path


def room(module: str) -> str:
    return max((name for name in RANK if f"{module}.".startswith(f"{name}.")), key=len)


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found = {module for module, _ in modules()}
            yield from ({name if name in found else node.module for name in names})


def test_imports_run_one_way():
    wrong = []
    for module, path in modules():
        here = RANK[room(module)]
        for name in imported(path):
            if name.split(".")[0] == "pnct" and RANK[room(name)] > here:
                wrong.append(f"{module} imports {name}")
            if room(module) == "pnct.models" and name.startswith("pnct.inference"):
                wrong.append(f"{module} imports {name}")
            if name.startswith("pnct.models") and not module.startswith("pnct.models"):
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is():
    for _, path in modules():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no module docstring"


def test_only_progress_prints():
    for module, path in modules():
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        prints = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not prints or module == "pnct.inference.training.progress", module


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory):
    """The library as a wheel installs it, away from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, since building leaves files behind
    for name in FLOORS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    build = [sys.executable, "-m", "pip", "wheel", "-q", *options, str(source)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_every_module(unpacked_wheel):
    for module, path in modules():
        parts = module.split(".")
        place = unpacked_wheel.joinpath(*parts)
        assert place.with_suffix(".py").is_file() or (place / "__init__.py").is_file(), (
            f"{path} is in no package"
        )


@pytest.mark.parametrize("backwards", [False, True])
def test_every_module_of_a_wheel_is_imported_in_any_order(unpacked_wheel, backwards):
    """No import depends on what has been imported before it."""
    names = sorted((module for module, _ in modules()), reverse=backwards)
    program = f"import sys; sys.path.insert(0, {str(unpacked_wheel)!r})\n" + "\n".join(
        f"import {n}" for n in names
    )
    program += "\nimport pnct; assert pnct.__file__.startswith(sys.path[0]), pnct.__file__"
    found = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr
