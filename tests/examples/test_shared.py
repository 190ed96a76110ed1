"""What ends an example early is one line and the status of a shell."""

import argparse
import json
import signal
import sys
from pathlib import Path

import pytest

from pnct.inference import Interrupted, TrainingFailedError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (Interrupted(signal.SIGTERM, "Stopped."), 143, "Stopped. Here: the same command with --resume."),
        (KeyboardInterrupt(), 130, "Stopped by SIGINT. To go on: the same command with --resume."),
        (ValueError("Expected 1; got 2."), 2, "Expected 1; got 2."),
        (TrainingFailedError("No numbers."), "No numbers.", ""),
    ],
)
def test_an_early_end_is_one_line(monkeypatch, capsys, error, status, line):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import ended_in_one_line

    with pytest.raises(SystemExit) as end, ended_in_one_line(argparse.ArgumentParser()):
        raise error
    assert end.value.code == status
    assert (capsys.readouterr().err.splitlines() or [""])[-1].endswith(line)


def test_a_number_that_is_not_finite_is_null(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    from shared import write_json

    found = {"mass": {"value": 1.0, "error": float("nan")}, "several": [float("inf"), 2, "x"]}
    write_json(tmp_path / "result.json", argparse.Namespace(out=tmp_path, steps=3), found)
    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["mass"] == {"value": 1.0, "error": None} and result["several"] == [None, 2, "x"]
    assert result["config"] == {"out": str(tmp_path), "steps": 3}
