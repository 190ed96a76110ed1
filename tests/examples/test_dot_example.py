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
def test_a_wrong_flag_is_one_clear_line(flags, message, refusal):
    assert message in refusal("quantum_dot", *flags.split())


def test_the_exact_entropy_follows_from_the_energies(reference, example):
    dot = example("quantum_dot")
    traps = [dot.HarmonicTrap((3, 0), coupling, 5.0) for coupling in (8.0, 7.0)]
    known, unknown = (dot.exact_values(reference / "quantum_dot.csv", trap).get("entropy") for trap in traps)
    assert known == pytest.approx(5 * (15.69057 - 15.55638) / 3) and unknown is None


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
