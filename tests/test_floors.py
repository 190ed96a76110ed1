"""Imports run one way: examples, tests -> models | inference -> pnct; only progress.py and the examples
print.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "pnct": ("pnct.models", "pnct.inference"),
    "models": ("pnct.inference",),
    "inference": ("pnct.models",),
}


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_imports_run_one_way(floor):
    files = list((ROOT / floor).rglob("*.py"))
    assert files
    for path in files:
        wrong = [name for name in imported(path) if name.startswith(FORBIDDEN[floor])]
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("floor", FORBIDDEN)
def test_every_module_says_what_it_is(floor):
    for path in (ROOT / floor).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no module docstring"
