"""The examples in this process: importing jax and matplotlib anew for each would take seconds."""

import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """name -> the module of that example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def refusal(example, capsys, tmp_path):
    """The name of an example and flags that it refuses, as argparse does -> the last line of what it says."""

    def last_line(name: str, *flags) -> str:
        flags = [str(flag) for flag in flags]
        with pytest.raises(SystemExit) as end:
            example(name).main([*flags, *([] if "--out" in flags else ["--out", str(tmp_path)])])
        assert end.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    return last_line
