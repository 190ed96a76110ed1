"""A(k, w) of two trained electrons, with one less and one more in their cell, beside full diagonalisation."""

import csv

import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, hamiltonian
from pnct.estimate import mean_of_independent
from pnct.inference import VariationalFreeEnergy, natural_gradient, run_in_rounds
from pnct.inference.observables.electron_pair import TrainedGas, neighbour
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.inference.observables.spectral_function import residue, spectral_function
from pnct.inference.observables.sum_rules import detailed_balance, sum_rules
from pnct.models import few_electrons

CUTOFF = 4.7  # 15 orbitals
# r_s: how far Z and E(3) - E(2) (hartree) may be from the exact values
ROWS = {1.0: (0.003, 1e-3), 5.0: (0.01, 3e-4), 10.0: (0.02, 2e-4)}


def train(gas, steps):
    vfe = VariationalFreeEnergy(few_electrons, hamiltonian(gas), natural_gradient(), num_walkers=256)
    result = run_in_rounds(vfe, random.key(0), steps, gas, 2, 16_384, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 65_536, gas).finite()
    return TrainedGas(vfe, gas, result.params), mean_of_independent(draws.free_energy), draws


def exact_values(reference, rs):
    """Z and E(3) - E(2) from two electrons in (0, 0), (-1, 0) to the ground state of three."""
    with open(reference / "spectral_function.csv") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["N"], float(row["rs_of_N_electrons"])) == ("2", rs) and "cell of 2" in row["quantity"]
        ]
    return [float(row["value"]) for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore:.*heavy tail", "ignore:Step .* half of the last update was taken back")
@pytest.mark.parametrize("rs", ROWS)
def test_two_electrons_and_their_neighbours(reference, rs):
    gas = ElectronGas((2, 0), 2, rs, 0.15, 0.25, CUTOFF)
    one, F_one, _ = train(neighbour(gas, -1), 20)
    two, F_two, draws = train(gas, 150)
    three, F_three, _ = train(neighbour(gas, 1), 150)

    Z_exact, energy_exact = exact_values(reference, rs)
    Z = residue(random.key(2), two, three, 2, [0, 1], [0, 1, 2], 16_384)
    orbitals = np.arange(6)
    lower = spectral_function(random.key(3), one, two, orbitals, 1024, (F_one, F_two))
    settings = {"free_energies": (F_two, F_three), "sampled": True}
    upper = spectral_function(random.key(4), two, three, orbitals, 1024, **settings)
    table = spectral_function(random.key(5), two, three, [2], 256, (F_two, F_three))
    strongest = np.argmax(table.removed.weight)  # three in their ground state
    energy, error = table.removed.energy[strongest], table.removed.energy_error[strongest]
    print(f"rs = {rs}: Z {Z} for {Z_exact}, E(3) - E(2) {energy:.5f}({error:.5f}) for {energy_exact}")

    n = momentum_distribution(random.key(6), few_electrons, two.params, draws.take(slice(8192)), gas)
    rules = sum_rules(gas, lower.removed, upper.added, n)
    balance = detailed_balance(upper, float(gas.temperature))
    missing = np.array(upper.added.missing)[:, :2].T
    left_out = upper.added.left_out + lower.removed.left_out
    for name, rule in rules._asdict().items():
        print(name, [str(x) for x in rule.found], [str(x) for x in rule.expected], np.round(rule.sigmas, 1))
    print("detailed balance", [str(x) for x in balance.found], np.round(balance.sigmas, 1))
    print("missing", [str(x) for x in upper.added.missing], "left out", np.round(left_out, 5))

    tolerance, energy_tolerance = ROWS[rs]
    assert abs(Z.value - Z_exact) < tolerance
    assert abs(energy - energy_exact) < energy_tolerance
    unity = np.array(rules.unity.found)[:, :2].T
    lacking = 1 - unity[0] - missing[0]
    assert np.all(np.abs(lacking) < 3 * np.hypot(unity[1], missing[1]) + left_out)
    assert np.all(np.abs(rules.occupation.sigmas) < 3) and np.all(np.abs(rules.number.sigmas) < 3)
    assert np.all(np.abs(balance.sigmas) < 3)
    assert max(missing[0]) < 0.01
