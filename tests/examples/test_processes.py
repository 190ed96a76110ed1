"""Processes that one command starts: they find each other, share the cores, and end together, whatever ends
them.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = f"""
import argparse, os, sys, time
sys.path.insert(0, "{EXAMPLES}")
from shared import directory_flags, output_directory, process_flags, share_the_work
parser = argparse.ArgumentParser()
directory_flags(parser, "out")
process_flags(parser)
parser.add_argument("--fails", type=int, default=-1)
parser.add_argument("--waits", action="store_true")
parser.add_argument("--late", type=float, default=0.0)
args = parser.parse_args()
share_the_work(args, parser, [__file__, *sys.argv[1:]])
out = output_directory(args, parser)
import jax
import jax.numpy as jnp
from jax.experimental.multihost_utils import process_allgather
if jax.process_index() == 1:
    time.sleep(args.late)
ranks = process_allgather(jnp.array(jax.process_index())).tolist()
(out / f"{{jax.process_index()}}.txt").write_text(f"{{ranks}} {{len(os.sched_getaffinity(0))}}")
if args.waits and jax.process_index() != args.fails:
    time.sleep(600)
if jax.process_index() == args.fails:
    sys.stderr.write("a fault\\n")
    sys.stderr.flush()
    os._exit(3)
print(f"done {{jax.process_count()}}")
"""
pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="two processes on one core are refused"
)


@pytest.fixture
def start(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(*flags):
        command = [sys.executable, tmp_path / "script.py", "--out", tmp_path / "out", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run


def test_both_take_part_on_cores_of_their_own(start, tmp_path):
    process = start("--processes", "2")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.splitlines()[-1] == "done 2"
    found = [(tmp_path / "out" / f"{rank}.txt").read_text() for rank in (0, 1)]
    cores = len(os.sched_getaffinity(0))
    assert found == [f"[0, 1] {(cores + 1) // 2}", f"[0, 1] {cores // 2}"]
    again = start("--processes", "2")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 2 and "Expected a new or empty --out" in errors


def test_the_fault_of_one_ends_all_and_is_told(start):
    """The first process waits for the other one, which is gone, for minutes if nobody ends it."""
    begun = time.monotonic()
    process = start("--processes", "2", "--fails", "1", "--waits")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "a fault" in errors
    assert errors.splitlines()[-1] == "Process 1 of 2 failed with status 3; the other has been ended."
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_one_may_come_later_than_jax_waits_for_it(start):
    """Half a minute is what jax gives them to connect; they have connected before."""
    process = start("--processes", "2", "--late", "45")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert output.splitlines()[-1] == "done 2"


def test_a_signal_reaches_all(start, tmp_path):
    process = start("--processes", "2", "--waits")
    deadline = time.monotonic() + 60
    while not all((tmp_path / "out" / f"{rank}.txt").exists() for rank in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", ["0", "10000"])
def test_impossible_numbers_end_in_one_line(start, number):
    process = start("--processes", number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Expected --processes" in errors and "Traceback" not in errors
