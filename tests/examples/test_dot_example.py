"""The example of the quantum dot as a user runs it: its files, its one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "quantum_dot.py"


def run(flags, out):
    command = [sys.executable, EXAMPLE, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--coupling 1 -2", "Expected coupling >= 0; got -2.0."),
        ("--samples 3", "Expected --samples >= 64; got 3."),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flags, message, tmp_path):
    done = run(flags, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_the_exact_entropy_follows_from_the_energies(reference):
    """In a process of its own: the example sets up the devices of jax."""
    program = (
        "import pathlib, quantum_dot as dot\n"
        f"table = pathlib.Path({str(reference)!r}) / 'quantum_dot.csv'\n"
        "traps = [dot.HarmonicTrap((3, 0), coupling, 5.0) for coupling in (8.0, 7.0)]\n"
        "print(*(dot.exact_values(table, trap).get('entropy') for trap in traps))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=EXAMPLE.parent, capture_output=True, text=True, check=True, timeout=200
    )
    known, unknown = done.stdout.split()
    assert float(known) == pytest.approx(5 * (15.69057 - 15.55638) / 3) and unknown == "None"


@pytest.mark.slow
def test_a_small_run_writes_what_it_promises(tmp_path):
    done = run(
        "--num-up 1 --num-down 1 --coupling 1 2 --beta 5 --steps 2 --warm-steps 1 --walkers 16 --samples 400",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [r["coupling"] for r in runs] == [1, 2]
    for r in runs:
        assert np.isfinite(r["free_energy"]["error"]) and 1 < r["free_energy"]["value"] < 2.5
    for name in (
        "density.png",
        "density.gif",
        "distances.png",
        "thermodynamics.png",
        "draws_lambda1.nc",
        "draws_lambda2.nc",
    ):
        assert (tmp_path / name).stat().st_size > 5000
