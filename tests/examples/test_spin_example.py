"""The example of spins as a user runs it: its files, its one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "spin_circuit.py"


def run(flags, out):
    command = [sys.executable, EXAMPLE, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_a_wrong_flag_is_one_clear_line(refusal):
    assert "Expected depth to be a whole number >= 0; got -1." in refusal("spin_circuit", "--depth", -1)


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_small_run_writes_what_it_promises(tmp_path):
    """The exact values beside are those of two spins, H = -Z Z - Gamma (X + X), in closed form."""
    done = run(
        "--rows 1 --field 0.5 1 --beta 1 --depth 1 --steps 20 --warm-steps 5 --walkers 64 --samples 512",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [r["field"] for r in runs] == [0.5, 1.0]
    for r in runs:
        root = np.sqrt(1 + 4 * r["field"] ** 2)
        F = -np.log(np.sum(np.exp([1, -1, root, -root]))) / 2
        assert r["exact"]["free_energy"] == pytest.approx(F, rel=1e-12)
        assert r["free_energy"]["value"] > F - 5 * r["free_energy"]["error"]
        assert len(r["energies"]) == len(r["states"]) <= 4 and len(r["exact"]["levels"]) == 4
        for name in ("magnetisation X", "magnetisation Z", "ZZ 1", "heat_capacity"):
            assert np.isfinite(r[name]["value"]) and r[name]["error"] > 0
    for name in ("thermodynamics.png", "correlations.png", "spectrum.png", "draws_field1_beta1.nc"):
        assert (tmp_path / name).stat().st_size > 5000
