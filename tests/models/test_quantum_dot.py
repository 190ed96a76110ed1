"""The model of the dot: the ideal dot before training, exact two- and three-electron values after it."""

import csv

import jax
import numpy as np
import pytest
from jax import random
from numpyro.handlers import condition

import pnct
import pnct.distributions as dist
from pnct import HarmonicTrap, hamiltonian, ideal_gas
from pnct.flows import continuous
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.workflows.sweep import sweep
from pnct.models import quantum_dot


@pytest.mark.slow
def test_starts_at_the_ideal_dot():
    """Untrained and without interaction, E_loc is the ideal energy of K and ln p(K) its canonical law, sample
    by sample.
    """
    trap = HarmonicTrap((1, 1), coupling=0.0, beta=2.0, cutoff=3)
    free = VariationalFreeEnergy(quantum_dot, hamiltonian(trap), natural_gradient(), num_walkers=64)
    draws = free.evaluate(random.key(1), free.init(random.key(0), trap).params, 64, trap)
    energies = trap.orbital_energies[draws.samples["K"]].sum(axis=1)
    np.testing.assert_allclose(draws.kinetic + draws.potential, energies, rtol=1e-11)
    assert draws.unit == "hbar omega"
    F = ideal_gas(trap).free_energy
    np.testing.assert_allclose(draws.log_prob / trap.beta + energies, F, rtol=1e-11)


@pytest.mark.slow
def test_a_first_step_moves_every_walker():
    trap = HarmonicTrap((1, 1), coupling=1.0, beta=2.0, cutoff=3)
    interacting = VariationalFreeEnergy(quantum_dot, hamiltonian(trap), natural_gradient(), num_walkers=64)
    _, info = interacting.update(interacting.init(random.key(0), trap), trap)
    F = ideal_gas(trap).free_energy
    assert info.updated and info.num_failed == 0 and F < info.free_energy < F + 3


@pytest.mark.slow
def test_an_integration_that_does_not_converge_is_named():
    """Every walker of a violent flow in one step is left out, and the warning says that the steps are too
    few.
    """

    def violent(key):
        flow = continuous(trap.space, width=4, steps=1)(key)
        return jax.tree.map(lambda x: x + 0.4, flow)

    def model(trap):
        K = pnct.sample("K", dist.Occupation(trap))
        return pnct.sample("R", dist.Born(trap.orbitals, K, pnct.module("flow", violent)))

    trap = HarmonicTrap((3, 0), beta=5.0, cutoff=1)
    vfe = VariationalFreeEnergy(model, hamiltonian(trap), natural_gradient(), num_walkers=8)
    params = vfe.init(random.key(0), trap).params
    with pytest.warns(
        RuntimeWarning, match=r"8 of 8 samples failed.*too few integration steps of a continuous flow"
    ):
        draws = vfe.evaluate(random.key(1), params, 8, trap)
    assert np.all(np.isnan(draws.kinetic))


def exact_values(reference, coupling, num_electrons, inverse_temperature):
    """{quantity: (value, error)}, totals."""
    with open(reference / "quantum_dot.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["inverse_temperature"] == inverse_temperature]
    key = (coupling, *num_electrons)
    found = [r for r in rows if (float(r["lambda"]), int(r["n_up"]), int(r["n_dn"])) == key]
    return {row["quantity"][:2].strip("_"): (float(row["value"]), float(row["error"])) for row in found}


def solutions(model, num_electrons, couplings, beta, steps=200, warm_steps=120, samples=8192, rounds=2):
    """(coupling, report) along the couplings, each trained from the one before."""
    traps = [HarmonicTrap(num_electrons, coupling, beta) for coupling in couplings]
    optim = natural_gradient(damping=0.1 if beta <= 1 else None)  # the more states there are, the more noise
    settings = {
        "num_steps": steps,
        "warm_steps": warm_steps,
        "num_samples": samples,
        "progress_bar": False,
        "rounds": rounds,
    }
    for trap, _, history, draws in sweep(random.key(0), model, traps, optim, **settings):
        yield float(trap.coupling), diagnose(to_arviz(draws, history))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("num_electrons", [(2, 0), (1, 1)])
@pytest.mark.parametrize("beta", [10.0, 5.0, 2.0, 1.0])
def test_two_electrons(reference, num_electrons, beta):
    """F, E and S within three standard errors and 0.5 %, and F never below the exact one."""
    outside, steps = [], {1: (100, 80), 5: (300, 160, 32_768)}.get(beta, (200, 80))
    for coupling, report in solutions(quantum_dot, num_electrons, [1.0, 2.0, 8.0], beta, *steps):
        exact = exact_values(reference, coupling, num_electrons, f"beta={beta:g}")
        found = {"F": report.free_energy, "E": report.energy, "S": report.entropy}
        for name, estimate in found.items():
            value, x = exact[name][0], estimate.scaled(2)
            print(
                f"{num_electrons} lambda = {coupling:g} beta = {beta:g}: {name} = {x}, exact {value:.5f}",
                flush=True,
            )
            if abs(x.value - value) > 3 * x.error + 0.005 * abs(value):
                outside.append((coupling, name, str(x), value))
        F = found["F"].scaled(2)
        assert F.value > exact["F"][0] - 3 * F.error
    assert not outside


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("inverse_temperature", ["beta=5", "beta=10", "0"])
def test_three_polarised_electrons(reference, inverse_temperature):
    """F, or the ground state's energy, within 1 % and never below."""
    ground = inverse_temperature == "0"
    model = condition(quantum_dot, {"K": np.arange(3)}) if ground else quantum_dot
    beta = 10.0 if ground else float(inverse_temperature[5:])
    for coupling, report in solutions(model, (3, 0), [1.0, 2.0], beta, rounds=int(not ground)):
        value, error = exact_values(reference, coupling, (3, 0), inverse_temperature)["E0" if ground else "F"]
        found = (report.energy if ground else report.free_energy).scaled(3)
        print(f"lambda = {coupling:g} {inverse_temperature}: {found}, exact {value:.5f}")
        assert value - 3 * found.error - error < found.value < 1.01 * value


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_six_polarised_electrons():
    """The ground state's energy beside upper bounds of configuration interaction."""
    bounds = {1.0: 21.991, 2.0: 28.921}
    model = condition(quantum_dot, {"K": np.arange(6)})
    for coupling, report in solutions(model, (6, 0), list(bounds), 10.0, 60, 40, rounds=0):
        found = report.energy.scaled(6)
        print(f"6 electrons, lambda = {coupling:g}: E0 = {found}, upper bound {bounds[coupling]}")
        assert found.value < 1.005 * bounds[coupling]
