"""Energies and entropy of a trained state of three electrons beside exact diagonalisation, at theta = 0.5 and rs = 1."""

import csv

import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, Estimate, hamiltonian
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.models import electron_gas


def exact_row(reference, **system):
    with open(reference / "exact_diagonalisation.csv") as file:
        return next(row for row in csv.DictReader(file) if all(float(row[c]) == x for c, x in system.items()))


@pytest.mark.slow
def test_energies_and_entropy_are_the_exact_ones(reference):
    """K, V, E and S within 3 standard errors of 16384 samples; F above the exact one; the draws are sound."""
    row = exact_row(reference, dim=2, n_up=3, n_dn=0, rs=1.0, theta=0.5, twist=0.25)
    gas = ElectronGas((3, 0), 2, 1.0, 0.5, 0.25)
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), num_walkers=256)
    result = vfe.run(random.key(0), 150, gas, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 16384, gas)

    exact = {
        name: Estimate(float(row[f"{q}/N"]) / 2, float(row[f"{q}/N_err"]) / 2, np.inf)  # the file has rydbergs
        for name, q in (("free_energy", "F"), ("energy", "E"), ("kinetic", "K"), ("potential", "V"))
    }
    exact["entropy"] = Estimate(float(row["S_total"]) / 3, float(row["S_total_err"]) / 3, np.inf)
    report = diagnose(to_arviz(draws, result.history), exact["free_energy"])
    print(report, exact)
    assert report.converged and report.below_exact < 3
    for name in ("energy", "kinetic", "potential", "entropy"):
        found = getattr(report, name)
        assert abs(found.value - exact[name].value) < 3 * np.hypot(found.error, exact[name].error), name
