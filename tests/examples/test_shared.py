"""What ends an example early is one line and the status of a shell."""

import argparse
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
