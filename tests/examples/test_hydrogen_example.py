"""The example of hydrogen as a user runs it: its files, its one-line errors, what it sets beside."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "hydrogen.py"


def run(flags, out):
    command = [sys.executable, EXAMPLE, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=590, check=False)


def test_a_wrong_flag_is_one_clear_line(refusal):
    assert "Expected temperature > 0 (hartree); got" in refusal("hydrogen", "--kelvin", 6000, -2)


def test_what_results_are_set_beside(reference, example):
    h = example("hydrogen")
    table = reference / "hydrogen.csv"
    assert h.exact_values(table, h.Hydrogen((1, 0), 1, 2.0, 0.2, cutoff=1.0))["free_energy"] == -2.869109
    assert "free_energy" not in h.exact_values(table, h.Hydrogen((1, 0), 1, 2.0, 0.21, cutoff=1.0))
    # two protons at r_s = 2 of their own density, hydrogen.csv, and two atoms of -1/2 hartree
    ideal = h.ideal_atoms(h.Hydrogen((1, 1), 2, 2.0, 0.1, cutoff=1.0))["free_energy"]
    assert math.isclose(ideal, -1.784175 / 2 - 0.5, abs_tol=1e-6)


@pytest.mark.slow
def test_a_small_run_writes_what_it_promises(tmp_path):
    flags = "--num-up 1 --num-down 0 --num-protons 2 --kelvin 60000 120000 --steps 2 --warm-steps 1"
    done = run(f"{flags} --cutoff 2 --walkers 16 --samples 400", tmp_path)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [round(r["kelvin"]) for r in runs] == [120000, 60000]
    for r in runs:
        assert np.isfinite(r["free_energy"]["error"]) and r["pressure_GPa"]["value"] > 0
    for name in ("pair_correlations.png", "thermodynamics.png", "draw.png", "draws_60000K.nc"):
        assert (tmp_path / name).stat().st_size > 5000
