"""The examples that scan r_s and theta or compare samplers: their files, and their one-line errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pnct import ElectronGas, ideal_gas

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = "--steps 2 --walkers 16 --samples 400"


def run(example, flags, out):
    command = [sys.executable, EXAMPLES / example, *flags.split(), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.parametrize(
    ("example_name", "flags", "message"),
    [
        ("heg2d", "--rs 0", "Expected rs > 0; got 0.0."),
        ("heg2d", "--theta 0", "Expected --theta > 0 and --mass-error >= 0; got 0.0 and 0.0."),
        ("heg2d", "--twists -1", "Expected --twists >= 0; got -1."),
        ("heg2d", "--twist 0.1 --twists 2", "not allowed with argument"),
        (
            "heg2d",
            "--paper --reference nowhere",
            "got nowhere without effective_mass.csv and published_2d_gas",
        ),
        ("thermodynamics", "--theta 0.2", "Expected two --rs or more and two --theta or more"),
        ("spectral_function", "--width 0", "Expected --width > 0 and --theta > 0; got 0.0 and 0.15."),
        ("exchange_correlation", "--theta 0 1", "Expected --theta > 0; got 0.0."),
        ("diagnostics", "--samples 10", "Expected --samples >= 64; got 10."),
    ],
)
def test_a_wrong_flag_is_one_clear_line(example_name, flags, message, refusal):
    assert message in refusal(example_name, *flags.split())


def test_a_folder_of_published_values_without_one_of_its_files_is_told(refusal, tmp_path):
    (tmp_path / "effective_mass.csv").touch()
    told = refusal("heg2d", "--reference", tmp_path, "--out", tmp_path / "out")
    assert told.endswith(f"got {tmp_path} without published_2d_gas.csv.")


def test_the_paper_s_settings_are_those_that_are_not_given(example):
    heg2d = example("heg2d")
    args = heg2d.parsed(heg2d.arguments(), ["--paper", "--rs", "10", "--walkers", "256"])
    assert (args.rs, args.walkers) == ([10.0], 256)
    assert (args.num_up, args.theta, args.twist, args.steps) == ([29], 0.15, 0.25, 500)
    assert heg2d.parsed(heg2d.arguments(), []).num_up == [3, 5]


@pytest.mark.parametrize(
    ("N", "twist", "states", "nearest"),
    [
        (13, 0.25, None, ""),
        (14, 0.25, 2, "13 and 15."),
        (29, 0.25, 2, "28 and 30."),
        (57, 0.25, 4, "54 and 58."),
        (29, 0.0, None, ""),
        (36, 0.0, 8, "29 and 37."),
        (3, 0.0, 6, "1 and 5."),
    ],
)
def test_a_shell_filled_in_part_is_told_with_its_entropy(example, N, twist, states, nearest):
    gas = ElectronGas((N, 0), 2, 1.0, 0.15, twist)
    told = example("heg2d").open_shell(gas)
    if states is None:
        assert told is None
        return
    assert f" {states} ground states" in told and told.endswith(nearest)
    cold = ideal_gas(ElectronGas((N, 0), 2, 1.0, 0.0, twist)).entropy
    assert f"= {cold / N:.4f} k_B of S/N" in told


@pytest.mark.slow
def test_effective_mass_against_rs(tmp_path):
    done = run("heg2d.py", f"--num-up 2 3 --rs 1 2 --theta 0.5 --warm-steps 1 {SMALL}", tmp_path)
    assert done.returncode == 0, done.stderr
    runs = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert [(r["num_electrons"], r["rs"]) for r in runs] == [(2, 1), (2, 2), (3, 1), (3, 2)]
    for r in runs:
        assert abs(r["effective_mass"]["entropy"]["value"] - 1) < 0.3  # hardly trained: the ideal gas
        assert np.isfinite(r["free_energy"]["error"])
        assert 0 < r["entropy_error"]["closed_form"] < r["entropy"]["value"] and r["fit_samples"] == 400
    assert (tmp_path / "effective_mass.png").stat().st_size > 10_000 and (
        tmp_path / "draws_n3_rs2.nc"
    ).is_file()
    assert (tmp_path / "correlations_n2.png").stat().st_size > 10_000


@pytest.mark.slow
def test_effective_mass_over_twists_with_the_error_that_is_asked_for(tmp_path):
    flags = f"--num-up 4 --rs 1 --theta 0.5 {SMALL}"
    done = run("heg2d.py", f"{flags} --twists 2", tmp_path / "twists")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "twists" / "result.json").read_text())["runs"]
    assert [t["weight"] for t in row["twists"]] == [1.0] and set(row["effective_mass"]) == {
        "entropy",
        "canonical",
    }
    done = run("heg2d.py", f"{flags} --mass-error 0.01 --holes 2", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "one" / "result.json").read_text())["runs"]
    assert row["fit_samples"] > 400 and len(row["particle_holes"]) == 2
    assert row["entropy_error"]["closed_form"] < 0.02 * row["entropy"]["value"]
    assert row["effective_mass"]["particle_holes"]["value"] > 0


@pytest.mark.slow
def test_thermodynamics_on_a_grid(tmp_path):
    done = run(
        "thermodynamics.py",
        f"--num-up 2 --rs 1 2 --theta 0.4 0.6 --warm-steps 1 --add-electron {SMALL}",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    for name in ("pressure_virial", "pressure_free_energy", "chemical_potential", "entropy_slope"):
        assert np.shape(result[name]["value"]) == (2, 2) and np.all(np.isfinite(result[name]["error"]))
    assert np.all(np.array(result["chemical_potential_second_route"]["error"]) > 0)
    assert (tmp_path / "thermodynamics.png").stat().st_size > 10_000


@pytest.mark.slow
def test_spectral_function_and_residue(tmp_path):
    flags = "--num-up 2 --rs 2 --theta 0.5 --cutoff 1.7 --warm-steps 1 --block-samples 32"
    done = run("spectral_function.py", f"{flags} {SMALL}", tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((tmp_path / "result.json").read_text())["runs"]
    assert abs(result["residue"]["value"] - 1) < 0.2  # hardly trained: free electrons
    assert len(result["poles"]["weight"]) == len(result["poles"]["energy"]) > 0
    for picture in ("spectral_function.png", "residue.png"):
        assert (tmp_path / picture).stat().st_size > 10_000


@pytest.mark.slow
def test_exchange_correlation_on_a_grid(tmp_path):
    done = run(
        "exchange_correlation.py",
        f"--systems 2d 3d --num-up 2 --rs 1 4 --theta 0.5 --warm-steps 1 {SMALL}",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert [(row["system"], row["rs"]) for row in rows] == [("2d", 1), ("2d", 4), ("3d", 1), ("3d", 4)]
    for row in rows:
        assert row["f_xc"]["value"] < 0 < row["f_xc"]["error"]
        assert row["coupling_integral"]["value"] == pytest.approx(row["f_xc"]["value"], rel=0.3)
        assert ("gdsmfb" in row) == (row["system"] == "3d")
    assert (tmp_path / "exchange_correlation.png").stat().st_size > 10_000


@pytest.mark.slow
def test_exact_sampler_beside_metropolis(tmp_path):
    done = run("diagnostics.py", f"--num-up 2 {SMALL}", tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["exact"]["min_ess"] > result["metropolis"]["min_ess"]
    a, b = result["exact"]["energy"], result["metropolis"]["energy"]
    assert abs(a["value"] - b["value"]) < 5 * np.hypot(a["error"], b["error"])
    for sampler in ("exact", "metropolis"):
        for plot in ("trace", "rank", "ess", "autocorr"):
            assert (tmp_path / f"{sampler}_{plot}.png").stat().st_size > 5000
