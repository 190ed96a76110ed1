"""The model of ultracold fermions: the ideal gas before training, a finite local energy where two meet, exact
values of pairs and published ones of three and four after training.
"""

import csv
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from pnct import HarmonicTrap, PoschlTeller, hamiltonian, ideal_gas
from pnct.distributions import Born
from pnct.flows import by_sector, continuous, separated_centre_of_mass
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_in_rounds, to_arviz
from pnct.inference.observables.entropy import entropy
from pnct.models import fermi_gas
from pnct.smooth_space import smooth_space


@pytest.mark.slow
def test_starts_at_the_ideal_gas_in_space():
    """Untrained and without interaction, E_loc is the ideal energy of K and ln p(K) its canonical law, sample
    by sample.
    """
    trap = HarmonicTrap((1, 1), beta=2.0, cutoff=2, dim=3)
    free = VariationalFreeEnergy(fermi_gas, hamiltonian(trap, None), natural_gradient(), num_walkers=64)
    draws = free.evaluate(random.key(1), free.init(random.key(0), trap).params, 64, trap)
    energies = trap.orbital_energies[draws.samples["K"]].sum(axis=1)
    np.testing.assert_allclose(draws.kinetic + draws.potential, energies, rtol=1e-11)
    F = ideal_gas(trap).free_energy
    np.testing.assert_allclose(draws.log_prob / trap.beta + energies, F, rtol=1e-11)


def test_the_local_energy_of_a_pair_is_smooth_where_the_two_meet():
    """E_loc(r) - E_loc(0) falls like r^2, with all parameters of the flow random: no cusp is left over."""
    trap = HarmonicTrap((1, 1), beta=1.0, cutoff=4, dim=3)
    space = smooth_space(trap.space, 0.5)
    make = by_sector(trap.orbitals, separated_centre_of_mass(space, continuous(space, width=5, steps=8)))
    rng = np.random.default_rng(5)
    flows = jax.tree.map(lambda x: jnp.asarray(0.25 * rng.normal(size=x.shape)), make(random.key(0)))
    K = jnp.asarray([2, 0])
    born = Born(trap.orbitals, K, flows(trap.orbitals.quantum_numbers(K)))
    energy = jax.jit(lambda R: hamiltonian(trap, PoschlTeller(1.0, 2.0)).local_energy(born, R).total.real)
    centre, line = rng.normal(size=(2, 3))
    line /= np.linalg.norm(line)
    at = [float(energy(jnp.stack([centre + r * line / 2, centre - r * line / 2]))) for r in (0, 1e-3, 1e-2)]
    assert abs(at[1] - at[0]) < 0.02 * abs(at[2] - at[0]) and abs(at[2] - at[0]) < 0.1


class Case(NamedTuple):
    """One row of the references, and how far F and S may be from it, relative or in hbar omega."""

    dim: int
    v0: float
    mu: float
    beta: float
    F: float
    S: float
    relative_F: bool = False


CASES = [
    *(Case(2, v0, 2.0, beta, 0.005, 0.02, True) for v0 in (0.25, 0.5) for beta in (5.0, 2.0, 1.0)),
    *(Case(3, 1.0, 2.0, beta, 0.02, 0.03) for beta in (2.0, 1.0)),
]


def exact_value(reference, case: Case, quantity: str) -> float:
    """From the table of 1 + 1 fermions in a trap."""
    with open(reference / "cold_atoms.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["geometry"] == "trap" and row["n_dn"] == "1"]
    key = f"{case.dim}", f"v0={case.v0:g}", f"mu={case.mu:g}", f"beta={case.beta:g}", f"{quantity}_total"
    columns = "dim", "strength", "range_parameter", "beta_or_theta", "quantity"
    (found,) = (float(row["value"]) for row in rows if tuple(row[c] for c in columns) == key)
    return found


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.dim}D, v0 = {c.v0:g}, beta = {c.beta:g}")
def test_a_pair_at_finite_temperature(reference, case):
    """F and S beside the exact relative motion; F never below it by more than three errors."""
    trap = HarmonicTrap((1, 1), beta=case.beta, dim=case.dim)
    model = partial(fermi_gas, length=1 / case.mu)
    optim = natural_gradient(damping=0.1 if case.beta <= 1 else None)  # many states bring noise
    vfe = VariationalFreeEnergy(model, hamiltonian(trap, PoschlTeller(case.v0, case.mu)), optim, 256)
    result = run_in_rounds(vfe, random.key(0), 60, trap, 1, 16_384, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 16_384, trap)
    F = diagnose(to_arviz(draws, result.history)).free_energy.scaled(2)
    S = entropy(model, random.key(2), result.params, 262_144, trap)
    exact = {name: exact_value(reference, case, name) for name in "FS"}
    print(f"{case}: F = {F}, exact {exact['F']:.5f}; S = {S}, exact {exact['S']:.5f}", flush=True)
    allowed = case.F * abs(exact["F"]) if case.relative_F else case.F
    assert exact["F"] - 3 * F.error < F.value < exact["F"] + 3 * F.error + allowed
    assert abs(S.value - exact["S"]) < 3 * S.error + case.S * exact["S"]
