"""Trained free energies lie above exact diagonalisation, and closer to it than the first-order bound does."""

import csv

import pytest
from jax import random
from numpyro.handlers import condition

from pnct import ElectronGas, hamiltonian
from pnct.estimate import mean_of_independent
from pnct.first_order import first_order_bound
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.models import electron_gas


def exact_values(reference, dim, num_electrons, rs, theta, twist):
    """Per electron, in hartree: F (E at theta = 0) and its uncertainty."""
    with open(reference / "exact_diagonalisation.csv") as file:
        for row in csv.DictReader(file):
            key = (int(row["dim"]), (int(row["n_up"]), int(row["n_dn"])), *(float(row[c]) for c in ("rs", "theta", "twist")))
            if key == (dim, num_electrons, rs, theta, twist):
                quantity = "F/N" if theta else "E/N"
                return float(row[quantity]) / 2, float(row[f"{quantity}_err"]) / 2
    raise LookupError((dim, num_electrons, rs, theta, twist))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Step .* half of the last update was taken back")  # only this; the evaluation loses nothing
@pytest.mark.parametrize(
    ("dim", "num_electrons", "rs", "theta", "twist", "share"),
    [
        (2, (3, 0), 1.0, 0.15, 0.25, 0.80),
        (2, (3, 0), 5.0, 0.15, 0.25, 0.95),
        (2, (3, 0), 10.0, 0.15, 0.25, 0.95),
        (2, (1, 1), 5.0, 0.15, 0.25, 0.95),
        (2, (3, 0), 5.0, 0.0, 0.25, 0.95),
        (3, (3, 0), 4.0, 0.125, 0.0, 0.80),
    ],
)
def test_training_closes_the_gap_to_the_exact_free_energy(reference, dim, num_electrons, rs, theta, twist, share):
    gas = ElectronGas(num_electrons, dim, rs, theta, twist)
    exact, uncertainty = exact_values(reference, dim, num_electrons, rs, theta, twist)
    model = electron_gas if theta else condition(electron_gas, {"K": gas.ground_state})
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), num_walkers=256)

    result = vfe.run(random.key(0), 150, gas, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 100_000, gas)
    F = mean_of_independent((draws.kinetic + draws.potential).real + draws.temperature * draws.log_prob).scaled(1 / gas.N)
    bound = first_order_bound(gas).free_energy / gas.N
    closed = (bound - F.value) / (bound - exact)
    print(f"{dim}D {num_electrons} rs = {rs}, theta = {theta}: F/N = {F}, exact {exact:.6f}, {100 * closed:.1f} % of the gap")
    assert F.value > exact - 3 * (F.error + uncertainty)
    assert closed > share
