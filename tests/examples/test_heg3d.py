"""The main example as a user runs it: its files, its help, its one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pnct import ElectronGas

EXAMPLE = Path(__file__).parents[2] / "examples" / "heg3d.py"
NAMES = ("free_energy", "energy", "kinetic", "potential", "entropy")


def run(*flags):
    return subprocess.run(
        [sys.executable, EXAMPLE, *map(str, flags)], capture_output=True, text=True, timeout=500, check=False
    )


def test_a_small_run_writes_what_it_promises(tmp_path):
    import arviz
    import h5netcdf  # noqa: F401

    flags = [
        "--num-up",
        "2",
        "--rs",
        "5",
        "--steps",
        "3",
        "--walkers",
        "16",
        "--samples",
        "64",
        "--twist",
        "0.1",
        "0.2",
        "0.3",
        "--units",
        "Ry",
    ]
    done = run(*flags, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stderr and "compiling" in done.stderr
    assert "m*/m" in done.stdout and "first order" in done.stdout

    result = json.loads((tmp_path / "result.json").read_text())
    for name in NAMES:
        assert np.isfinite(result[name]["value"]) and result[name]["error"] >= 0
    assert result["energy"]["value"] == pytest.approx(
        result["kinetic"]["value"] + result["potential"]["value"]
    )
    assert result["config"]["rs"] == 5 and "jax" in result["versions"]
    for beside in ("first_order", "ideal_gas"):
        assert all(np.isfinite(result[beside][name]) for name in NAMES)
    assert result["effective_mass"]["entropy"]["error"] > 0
    assert (result["num_samples"], result["num_states"]) == (64, 16 * 64)
    gas = ElectronGas((2, 0), 3, 5.0, 0.25, (0.1, 0.2, 0.3))
    assert result["num_orbitals"] == len(gas.orbitals)
    assert result["temperature"] == pytest.approx(gas.temperature)
    # what was printed is what was written
    (printed,) = (line.split() for line in done.stdout.splitlines() if "free_energy" in line and "=" in line)
    for found, name in zip(printed[-2:], ("first_order", "ideal_gas"), strict=True):
        assert float(found) == pytest.approx(2 * result[name]["free_energy"], abs=6e-6)

    idata = arviz.from_netcdf(tmp_path / "draws.nc")
    assert idata["posterior"]["R"].shape == (4, 16, 2, 3)
    assert idata["constant_data"]["training_free_energy"].shape == (3,)
    for name in ("pipeline", "free_energy", "pair_correlation", "occupations"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_help_lists_every_flag():
    done = run("--help")
    assert done.returncode == 0
    for flag in (
        "num-up",
        "num-down",
        "rs",
        "theta",
        "twist",
        "steps",
        "walkers",
        "samples",
        "seed",
        "out",
        "units",
        "until-plateau",
        "processes",
        "resume",
        "overwrite",
    ):
        assert f"--{flag}" in done.stdout
    for group in ("system:", "run:", "processes:", "results:"):
        assert group in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--rs -1", "Expected rs > 0; got -1.0."),
        ("--twist 0.1 0.2", "Expected twist to be one number, or one per axis (3)"),
        ("--out /proc/nowhere", "Expected --out to be a directory that can be written"),
        ("--walkers 1", "Expected num_walkers to be a whole number >= 2; got 1."),
        ("--samples 0", "Expected --samples >= 8; got 0."),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flags, message, refusal):
    assert message in refusal("heg3d", *flags.split())


def test_a_directory_that_holds_something_is_left_alone(refusal, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    expected = f"Expected a new or empty --out; got {tmp_path}. Add --resume to go on there"
    assert expected in refusal("heg3d", "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_two_processes_have_the_numbers_of_one(tmp_path):
    flags = ["--num-up", 2, "--rs", 5, "--steps", 2, "--walkers", 8, "--samples", 80, "--processes"]
    for number in (1, 2):
        done = run(*flags, number, "--out", tmp_path / str(number))
        assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / n / "result.json").read_text()) for n in "12")
    for name in ("free_energy", "kinetic", "entropy"):
        assert two[name]["value"] == pytest.approx(one[name]["value"], rel=1e-9)
    assert two["config"]["processes"] == 2
