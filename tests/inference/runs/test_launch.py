"""Processes that come to the first step at different times: jax waits for half a minute, a run for longer."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pnct.inference.runs.launch import cores, launch

PROGRAM = Path(__file__).parents[2] / "programs" / "device_program.py"


@pytest.mark.slow
def test_a_process_that_comes_late_is_waited_for(tmp_path):
    """It knows its devices long before, so that the wait is for the first sum alone."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [
        subprocess.Popen(
            [sys.executable, PROGRAM, "late", tmp_path, str(rank), str(port), "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    found = [json.loads(line) for line in ended[0][0].splitlines() if line.startswith("{")]
    assert len(found) == 1 and len(found[0]["history"]) > 0


@pytest.mark.parametrize("number", [0, len(cores()) + 1])
def test_impossible_numbers_are_refused(number):
    with pytest.raises(ValueError, match=f"Expected processes between 1 and .*; got {number}"):
        launch(["script.py"], number)
