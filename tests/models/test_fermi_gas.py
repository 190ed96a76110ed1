"""The model of ultracold fermions: the ideal gas before training, a smooth local energy where two meet, and
after training exact values of pairs and energies of three and four by explicitly correlated Gaussians.
"""

import csv
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from numpyro.handlers import condition

import pnct
from pnct import ElectronGas, Gaussian, HarmonicTrap, PoschlTeller, hamiltonian, ideal_gas
from pnct.distributions import Born, TabulatedOccupation, shell_energies
from pnct.flows import by_sector, continuous, radial_pair, separated_centre_of_mass
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_in_rounds, to_arviz
from pnct.inference.closed_form.diagonalisation import diagonalise
from pnct.inference.observables.entropy import entropy
from pnct.models import fermi_gas
from pnct.smooth_space import smooth_space
from pnct.states import configuration_interaction, separated_pair, spin_adapted
from pnct.states.lowest_configurations import lowest_configurations
from pnct.systems import ShortRange, poschl_teller


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


@pytest.fixture(scope="module")
def random_pair():
    """The table, and (K, R) -> E_loc and zeta of a pair in space, all parameters of its flow random."""
    trap = HarmonicTrap((1, 1), beta=1.0, cutoff=4, dim=3)
    flow = radial_pair(smooth_space(trap.space, 0.5), width=5)
    make = by_sector(trap.orbitals, separated_centre_of_mass(trap.space, flow))
    rng = np.random.default_rng(5)
    flows = jax.tree.map(lambda x: jnp.asarray(0.25 * rng.normal(size=x.shape)), make(random.key(0)))
    states = separated_pair(trap.orbitals)
    energy = hamiltonian(trap, PoschlTeller(1.0, 2.0)).local_energy

    @jax.jit
    def local_energy(K, R):
        born = Born(states, K, flows(states.degree(K)))
        return energy(born, R).total, born.flow(R)

    return trap.orbitals, local_energy


def test_the_local_energy_of_a_pair_is_smooth_where_the_two_meet(random_pair):
    """E_loc(r) - E_loc(0) falls like r^2: no cusp is left over."""
    rng = np.random.default_rng(5)
    centre, line = rng.normal(size=(2, 3))
    line /= np.linalg.norm(line)
    places = [np.stack([centre + r * line / 2, centre - r * line / 2]) for r in (0, 1e-3, 1e-2)]
    at = [float(random_pair[1](np.array([2, 0]), R)[0].real) for R in places]
    assert abs(at[1] - at[0]) < 0.02 * abs(at[2] - at[0]) and abs(at[2] - at[0]) < 0.1


def test_the_centre_of_mass_of_a_pair_is_free(random_pair):
    """E_loc is a function of the relative motion plus the quanta of the centre of mass, which rests under the
    flow; another degree l of the relative motion has another flow.
    """
    table, local_energy = random_pair
    R = np.random.default_rng(6).normal(size=(2, 3))
    (ground, zeta), (excited, same), (_, other) = (
        local_energy(np.array(K), R) for K in ([0, 2], [7, 2], [0, 0])
    )
    assert excited - ground == pytest.approx(table.energies[7] - table.energies[0], abs=1e-9)
    np.testing.assert_array_equal(zeta, same)
    np.testing.assert_allclose(zeta[0], R.sum(axis=0) / 2**0.5, rtol=1e-13)
    np.testing.assert_allclose(np.cross(zeta[1], R[1] - R[0]), 0, atol=1e-13)
    assert np.max(np.abs(other[1] - zeta[1])) > 1e-2


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


def exact_value(reference, num_electrons, **columns) -> float:
    """The only row of the table with these columns, a column by its name."""
    up, down = num_electrons
    wanted = {"n_up": str(up), "n_dn": str(down)} | columns
    with open(reference / "cold_atoms.csv") as file:
        rows = [row for row in csv.DictReader(file) if all(row[c] == x for c, x in wanted.items())]
    (found,) = (float(row["value"]) for row in rows)
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
    row = {
        "geometry": "trap",
        "dim": f"{case.dim}",
        "strength": f"v0={case.v0:g}",
        "range_parameter": f"mu={case.mu:g}",
        "beta_or_theta": f"beta={case.beta:g}",
    }
    exact = {name: exact_value(reference, (1, 1), quantity=f"{name}_total", **row) for name in "FS"}
    print(f"{case}: F = {F}, exact {exact['F']:.5f}; S = {S}, exact {exact['S']:.5f}", flush=True)
    allowed = case.F * abs(exact["F"]) if case.relative_F else case.F
    assert exact["F"] - 3 * F.error < F.value < exact["F"] + 3 * F.error + allowed
    assert abs(S.value - exact["S"]) < 3 * S.error + case.S * exact["S"]


class Ground(NamedTuple):
    """The lowest state of a gas, the columns by which the table names it, and how far above its energy E may
    be, in hbar omega. M: its angular momentum along z.
    """

    num_electrons: tuple[int, int]
    well: ShortRange
    columns: dict[str, str]
    allowed: float
    steps: int
    cutoff: int = 0
    M: int = 0


def pair(inverse_a: float, mu: float, allowed: float, steps: int) -> Ground:
    columns = {"range_parameter": f"mu={mu:g}", "note": f"1/a={inverse_a:g}", "quantity": "E_total"}
    return Ground((1, 1), poschl_teller(inverse_a, mu), columns, allowed, steps)


def at_unitarity(num_electrons, L: int, allowed: float, steps: int) -> Ground:
    columns = {"strength": "V0=-1.3420023", "quantity": f"E_total (L={L})"}
    return Ground(num_electrons, Gaussian(-1.3420023, 1.0), columns, allowed, steps, cutoff=5, M=L)


GROUND = {
    "1 + 1, mu = 2, 1/a = 0": pair(0.0, 2.0, 0.01, 60),
    "1 + 1, mu = 4, 1/a = -1": pair(-1.0, 4.0, 0.02, 60),
    "1 + 1, mu = 4, 1/a = 0": pair(0.0, 4.0, 0.03, 60),
    "1 + 1, mu = 4, 1/a = 1": pair(1.0, 4.0, 0.15, 80),
    "2 + 1, L = 1": at_unitarity((2, 1), 1, 0.03, 80),
    "2 + 2, L = 0": at_unitarity((2, 2), 0, 0.10, 80),
}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("case", GROUND.values(), ids=GROUND.keys())
def test_the_lowest_energy(reference, case):
    """E of one state beside exact ones; never below by more than three errors."""
    trap = HarmonicTrap(case.num_electrons, cutoff=case.cutoff, dim=3)
    level = lowest_configurations(tuple(trap.orbital_energies.tolist()), case.num_electrons, 1)
    alike = level[trap.orbitals.angular_momenta[level].sum(axis=1) == case.M]
    model = partial(fermi_gas, length=case.well.length)
    H = hamiltonian(trap, case.well)
    vfe = VariationalFreeEnergy(condition(model, {"K": alike[0]}), H, natural_gradient(), 256)
    state = vfe.init(random.key(0), trap)
    if len(alike) > 1:  # which sums of degenerate determinants have a definite L
        free = VariationalFreeEnergy(model, H, natural_gradient(), 256)
        params = diagonalise(free, random.key(2), free.init(random.key(0), trap).params, 4096, trap)
        state = state._replace(params=params, average=params)
    result = vfe.run(random.key(0), case.steps, trap, init_state=state, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 16_384, trap)
    E = diagnose(to_arviz(draws, result.history)).energy.scaled(trap.N)
    exact = exact_value(
        reference, case.num_electrons, geometry="trap", dim="3", beta_or_theta="T=0", **case.columns
    )
    print(f"{case.num_electrons} {case.well}: E = {E}, exact {exact:.5f}", flush=True)
    assert exact - 3 * E.error < E.value < exact + 3 * E.error + case.allowed


def pair_in_a_cell(gas, length):
    """As few_electrons, with smooth features of pairs."""
    states = spin_adapted(gas.orbitals)
    mixing = pnct.module("ci", configuration_interaction(states, num_determinants=60))
    occupation = pnct.module("occupation", shell_energies(gas))
    flow = continuous(smooth_space(gas.space, length), depth=2, width=16)
    flows = pnct.module("flows", by_sector(states, flow))
    K = pnct.sample("K", TabulatedOccupation(gas, occupation, mixing))
    mixed = mixing(states)
    return pnct.sample("R", Born(mixed, K, flows(mixed.quantum_numbers(K))))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_pair_in_a_cell(reference):
    """F beside plane waves, in hartree; never below by more than three errors."""
    gas, well = ElectronGas((1, 1), 3, rs=1.0, theta=0.25), PoschlTeller(1.0, 3.0)
    model = partial(pair_in_a_cell, length=well.length)
    vfe = VariationalFreeEnergy(model, hamiltonian(gas, well), natural_gradient(), 256)
    result = run_in_rounds(vfe, random.key(0), 60, gas, 1, 4096, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 16_384, gas)
    F = diagnose(to_arviz(draws, result.history)).free_energy.scaled(2)
    row = {"dim": "3", "range_parameter": "mu=3", "strength": "v0=1", "quantity": "F_total"}
    exact = exact_value(reference, (1, 1), beta_or_theta="theta=0.25", **row)
    print(f"cell: F = {F}, exact {exact:.5f}", flush=True)
    assert exact - 3 * F.error < F.value < exact + 3 * F.error + 0.02
