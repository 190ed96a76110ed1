"""The table of free energies: its cases are those of the reference files; its errors; from end to end."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_cases import CASES

TABLE = Path(__file__).parent / "benchmark_table.py"


def run(flags, out):
    command = [sys.executable, TABLE, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def test_exact_values_are_those_of_the_reference_file(reference):
    with open(reference / "exact_diagonalisation.csv") as file:
        rows = list(csv.DictReader(file))
    checked = 0
    for case in CASES.values():
        key = (case.dim, *case.num_electrons, case.rs, case.theta, case.twist)
        for row in rows:
            if tuple(float(row[c]) for c in ("dim", "n_up", "n_dn", "rs", "theta", "twist")) == key:
                (exact,) = case.references
                assert 2 * exact.free_energy == pytest.approx(float(row["F/N"]), abs=1e-9)
                assert 2 * exact.error == pytest.approx(float(row["F/N_err"]), abs=1e-9)
                assert exact.entropy == pytest.approx(float(row["S_total"]), abs=1e-9)
                checked += 1
    assert checked == 9


@pytest.mark.parametrize(
    ("flags", "message"),
    [("--cases 4d", "invalid choice: '4d'"), ("--samples 10", "Expected --samples >= 80; got 10.")],
)
def test_a_wrong_flag_is_one_clear_line(flags, message, tmp_path):
    done = run(flags, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_table_from_end_to_end(tmp_path):
    flags = "--cases 2d-1+1-rs5 --steps 2 --walkers 16 --samples 400"
    done = run(flags, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exact diagonalisation: F/N -0.168834 Ha" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())["cases"]["2d-1+1-rs5"]
    assert result["free_energy"]["error"] > 0
    again = run(f"{flags} --resume", tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "result.json").read_text())["cases"]["2d-1+1-rs5"] == result
