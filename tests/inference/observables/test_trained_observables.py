"""Energies and entropy of trained states of three electrons beside exact diagonalisation, at half of T_F and
T_F.
"""

import csv

import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, Estimate, hamiltonian
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_in_rounds, to_arviz
from pnct.models import few_electrons

ROWS = {
    "2D-rs1": (2, 1.0, 0.5, 0.25),
    "2D-rs5": (2, 5.0, 0.5, 0.25),
    "2D-rs10": (2, 10.0, 0.5, 0.25),
    "3D-rs1": (3, 1.0, 1.0, 0.0),
    "3D-rs10": (3, 10.0, 1.0, 0.0),
}


def exact_estimates(reference, **system):
    """Per electron, hartree and k_B."""
    with open(reference / "exact_diagonalisation.csv") as file:
        row = next(row for row in csv.DictReader(file) if all(float(row[c]) == x for c, x in system.items()))
    columns = {"free_energy": "F/N", "energy": "E/N", "kinetic": "K/N", "potential": "V/N"}
    exact = {
        name: Estimate(float(row[c]), float(row[f"{c}_err"]), np.inf).scaled(0.5)
        for name, c in columns.items()
    }  # rydbergs
    return exact | {
        "entropy": Estimate(float(row["S_total"]), float(row["S_total_err"]), np.inf).scaled(1 / 3)
    }


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("dim", "rs", "theta", "twist"), ROWS.values(), ids=ROWS.keys())
def test_energies_and_entropy_are_the_exact_ones(reference, dim, rs, theta, twist):
    """K, V, E and S within 3 standard errors of 16384 samples; F above the exact one; the draws are sound."""
    exact = exact_estimates(reference, dim=dim, n_up=3, n_dn=0, rs=rs, theta=theta, twist=twist)
    gas = ElectronGas((3, 0), dim, rs, theta, twist)
    vfe = VariationalFreeEnergy(few_electrons, hamiltonian(gas), natural_gradient(), num_walkers=512)
    result = run_in_rounds(vfe, random.key(0), 400, gas, 3, 65_536, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 16384, gas)

    report = diagnose(to_arviz(draws, result.history), exact["free_energy"])
    found = {name: getattr(report, name) for name in exact}
    outside = []
    for name, x in found.items():
        difference, error, value = (
            x.value - exact[name].value,
            np.hypot(x.error, exact[name].error),
            exact[name].value,
        )
        print(
            f"{name} {x}, exact {exact[name]}: {difference / error:+.1f} errors, "
            f"{100 * difference / abs(value):+.2f} % off",
            flush=True,
        )
        if name != "free_energy" and abs(difference) > 3 * error:
            outside.append(name)
    assert report.converged and report.below_exact < 3, report.verdict
    assert not outside
