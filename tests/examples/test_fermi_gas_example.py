"""The example of ultracold fermions as a user runs it: its references, files, one-line errors, resumption."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "fermi_gas.py"
SMALL = "--inverse-a 0 -1 --beta 5 --cutoff 1 --steps 1 --warm-steps 1 --walkers 8 --samples 256"


def run(flags, out):
    command = [sys.executable, EXAMPLE, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--mu 0", "Expected mu > 0; got 0.0."),
        ("--num-down 0", "nothing interacts"),
        ("--samples 3", "Expected --samples >= 64; got 3."),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flags, message, tmp_path):
    done = run(flags, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_references_are_those_of_the_table(reference):
    """In a process of its own: the example sets up the devices of jax. C is dF/d(-1/a) times 4 pi: beside
    the difference of F between 1/a = -1 and 1, by the trapezium rule with the three known slopes.
    """
    program = (
        "import pathlib, json, fermi_gas as gas\n"
        f"table = pathlib.Path({str(reference)!r}) / 'cold_atoms.csv'\n"
        "trap = gas.HarmonicTrap((1, 1), beta=5.0, dim=3)\n"
        "at = [gas.exact_values(table, trap, gas.poschl_teller(x, 4.0), x) for x in (-1.0, 0.0, 1.0)]\n"
        "four = gas.published_energies(table, gas.HarmonicTrap((2, 2), dim=3))\n"
        "print(json.dumps([at, four]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=EXAMPLE.parent, capture_output=True, text=True, check=True, timeout=200
    )
    at, four = json.loads(done.stdout)
    assert [x["free_energy"] for x in at] == pytest.approx([2.56474247 / 2, 2.10578581 / 2, -0.06964351 / 2])
    assert at[1]["entropy"] == pytest.approx(0.12507655 / 2) and four["E_total (L=0)"] * 4 == 5.009
    C = [x["contact"] / (4 * np.pi) for x in at]
    simpson = (C[0] + 4 * C[1] + C[2]) / 3
    assert simpson == pytest.approx(at[0]["free_energy"] - at[2]["free_energy"], rel=0.05)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_small_run_writes_what_it_promises_and_goes_on(tmp_path):
    done = run(SMALL, tmp_path)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [r["inverse_a"] for r in runs] == [-1, 0]
    for r in runs:
        assert np.isfinite(r["free_energy"]["error"]) and r["contact"]["value"] > 0
        assert r["free_energy"]["value"] > r["exact"]["free_energy"] - 5 * r["free_energy"]["error"]
    for name in ("crossover.png", "pairs.png", "draws_000.nc", "draws_001.nc"):
        assert (tmp_path / name).stat().st_size > 5000
    again = run(SMALL + " --resume", tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "result.json").read_text())["runs"] == runs
