"""Devices and processes change no number: 1, 2 and 8 devices, two processes, 13 walkers that none of them
divides.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pnct.inference.runs.run_directory import LOG

PROGRAM = Path(__file__).parents[2] / "programs" / "device_program.py"


def start(*arguments):
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outputs(*processes) -> list[dict | None]:
    """The numbers that each of them printed, once all have ended well; the network library prints lines of
    its own.
    """
    ended = [process.communicate(timeout=300) for process in processes]
    for process, (_, error) in zip(processes, ended, strict=True):
        assert process.returncode == 0, error[-3000:]
    lines = [[line for line in out.splitlines() if line.startswith("{")] for out, _ in ended]
    return [json.loads(found[0]) if found else None for found in lines]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return outputs(start("devices", tmp_path_factory.mktemp("devices")))[0]


def agree(a, b):
    for name in a.keys() - {"digest"}:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("devices", ["2", "8"])
def test_the_number_of_devices_changes_no_number(found, devices):
    agree(found[devices], found["1"])


def test_a_resumed_run_on_eight_devices_is_the_same_bitwise(found):
    assert found["2 + 2"]["digest"] == found["8"]["digest"]


def test_two_processes_give_the_numbers_of_one_and_one_of_them_writes(found, tmp_path):
    port = free_port()
    first, second = outputs(*(start("process", tmp_path / "shared", i, port, 4) for i in range(2)))
    agree(first, found["1"])
    assert second is None
    assert len((tmp_path / "shared" / LOG).read_text().splitlines()) == 4
    kept = sorted(p.name for p in (tmp_path / "shared").glob("*.npz"))
    assert (
        len(kept) == 2 and kept[-1] == "step-000000004.npz"
    )  # the last two written; which came before depends on time


@pytest.mark.slow
def test_a_lost_process_ends_the_run_and_leaves_a_checkpoint(tmp_path):
    shared, port = tmp_path / "shared", free_port()
    first, second = (start("process", shared, i, port, 100_000) for i in range(2))
    log = shared / LOG
    while not (log.exists() and len(log.read_text().splitlines()) > 5):
        assert first.poll() is None and second.poll() is None
        time.sleep(0.05)
    second.kill()
    second.communicate()
    begun = time.monotonic()
    _, err = first.communicate(timeout=280)
    print(f"the other process ended after {time.monotonic() - begun:.0f} s with code {first.returncode}")
    assert first.returncode != 0 and err

    made = [json.loads(line)["free_energy"] for line in log.read_text().splitlines()]
    steps, port = len(made), free_port()
    resumed, nothing = outputs(*(start("process", shared, i, port, steps + 2) for i in range(2)))
    assert nothing is None
    assert len(log.read_text().splitlines()) == steps + 2
    assert resumed["history"][:steps] == made  # the first field of the history
