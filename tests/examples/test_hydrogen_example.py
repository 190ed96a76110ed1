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


def test_a_wrong_flag_is_one_clear_line(tmp_path):
    done = run("--kelvin 6000 -2", tmp_path)
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    assert "Expected temperature > 0 (hartree); got" in message and "Traceback" not in done.stderr


def test_what_results_are_set_beside(reference):
    """In a process of its own: the example sets up the devices of jax."""
    program = (
        "import pathlib, hydrogen as h\n"
        f"table = pathlib.Path({str(reference / 'hydrogen.csv')!r})\n"
        "atom = h.Hydrogen((1, 0), 1, 2.0, 0.2, cutoff=1.0)\n"
        "print(h.exact_values(table, atom)['free_energy'])\n"
        "print(h.exact_values(table, h.Hydrogen((1, 0), 1, 2.0, 0.21, cutoff=1.0)).get('free_energy'))\n"
        "print(h.ideal_atoms(h.Hydrogen((1, 1), 2, 2.0, 0.1, cutoff=1.0))['free_energy'])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=EXAMPLE.parent, capture_output=True, text=True, check=True, timeout=200
    )
    exact, unknown, ideal = done.stdout.split()
    assert float(exact) == -2.869109 and unknown == "None"
    # two protons at r_s = 2 of their own density, hydrogen.csv, and two atoms of -1/2 hartree
    assert math.isclose(float(ideal), -1.784175 / 2 - 0.5, abs_tol=1e-6)


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
