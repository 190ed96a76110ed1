"""Momentum distribution and excitation energies with the identity flow, where plane waves give
both exactly.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from covered import REPEATS, assert_covered, parts
from identity_flow import Identity
from jax import random
from numpyro.handlers import condition
from small_flow import small_flow

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, coulomb, hamiltonian, ideal_gas
from pnct.estimate import mean_of_independent
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.correlations import (
    ideal_pair_correlation,
    occupations,
    pair_correlation,
    structure_factor,
)
from pnct.inference.observables.effective_mass import mass_from_entropy
from pnct.inference.observables.excitations import excitation_energies
from pnct.inference.observables.ideal_correlations import (
    canonical_pair_correlation,
    canonical_structure_factor,
)
from pnct.inference.observables.landau import landau_functional, landau_parameters
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.systems.first_order import first_order_bound, first_order_energies

GAS = ElectronGas((2, 1), 2, 3.0, 0.5, (0.1, 0.2), cutoff=3.0)


def free_electrons(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def vfe_of(model, interaction=coulomb, chunk_size=64):
    return VariationalFreeEnergy(model, hamiltonian(GAS, interaction), natural_gradient(), 1024, chunk_size)


@pytest.fixture(scope="module")
def draws():
    return vfe_of(free_electrons).evaluate(random.key(0), {}, 200 * 50, GAS)


@pytest.fixture(scope="module")
def polarised():
    gas = ElectronGas((5, 0), 2, 0.1, 0.6, 0.0, cutoff=2.0)
    vfe = VariationalFreeEnergy(
        free_electrons, hamiltonian(gas), natural_gradient(), num_walkers=8192, chunk_size=256
    )
    return gas, vfe.evaluate(random.key(0), {}, 32768, gas)


def test_free_electrons_have_the_momenta_of_the_ideal_gas(draws):
    """Electrons in plane waves are their quasi-particles: n_k is the occupation of orbital k."""
    found = momentum_distribution(random.key(1), free_electrons, {}, draws, GAS, chunk_size=100)
    exact = dict(zip(("up", "down"), ideal_gas(GAS).occupations, strict=True))
    np.testing.assert_array_equal(found.k, GAS.orbitals.wavevectors)
    again = momentum_distribution(random.key(1), free_electrons, {}, draws, GAS, chunk_size=7)
    np.testing.assert_allclose(
        [again.n[name] for name in found.n], [found.n[name] for name in found.n], rtol=1e-12, atol=1e-12
    )
    for name in ("up", "down"):
        assert np.all(np.abs(found.n[name] - exact[name]) < 3 * found.error[name] + 1e-12)
        assert abs(np.sum(found.n[name]) - np.sum(exact[name])) < 0.3
        assert np.median(found.error[name]) < 0.03


@pytest.mark.slow
def test_momenta_cover_the_ideal_gas_at_the_stated_rate(draws):
    exact, z = ideal_gas(GAS).occupations[0][:6], []
    for i, part in enumerate(parts(50)):
        some = draws._replace(samples={name: x[part] for name, x in draws.samples.items()})
        repeat = momentum_distribution(random.key(2 + i), free_electrons, {}, some, GAS, chunk_size=50)
        z.append((repeat.n["up"][:6] - exact) / repeat.error["up"][:6])
    assert_covered({"n": z})


def test_structure_of_the_ideal_gas(draws):
    """S(q) and g(r) at finite temperature, within 3 standard errors of the exact curves of the canonical
    ensemble.
    """
    q = (2 * np.pi / GAS.L) * np.array([[1, 0], [0, 1], [1, 1], [2, 0]])
    exact, R = canonical_structure_factor(GAS, q), draws.samples["R"]
    assert np.ptp(exact.by_spin["up-up"]) > 0.1
    found = structure_factor(R, GAS.space, q)
    assert np.all(np.abs(found.S - exact.S) < 3 * found.error)
    for name in ("up-up", "up-down"):
        assert np.all(np.abs(found.by_spin[name] - exact.by_spin[name]) < 3 * found.by_spin_error[name])
    np.testing.assert_allclose(found.by_spin["down-down"], exact.by_spin["down-down"])  # one electron
    np.testing.assert_allclose(canonical_structure_factor(GAS, 0 * q[:1]).S, GAS.N)

    g = pair_correlation(R, GAS.space, bins=12)
    curve = in_bins(lambda r: canonical_pair_correlation(GAS, r), GAS.L / 2, 12)
    for name in ("up-up", "up-down"):
        assert np.all(np.abs(g.g[name] - curve[name]) < 3 * g.error[name])


def in_bins(curve, end, bins, points=200):
    """Averages of a curve over rings."""
    edges = np.linspace(0, end, bins + 1)
    r = edges[:-1, None] + (np.arange(points) + 0.5) / points * np.diff(edges)[:, None]
    fine = curve(r.ravel())
    return {name: np.sum(x.reshape(r.shape) * r, axis=1) / np.sum(r, axis=1) for name, x in fine.items()}


def test_exact_curves_are_those_of_the_determinant_at_zero_temperature():
    gas = ElectronGas((5, 1), 2, 1.0, 0.0, 0.0)
    r = np.linspace(0, gas.L / 2, 20)
    curve = canonical_pair_correlation(gas, r)
    for name, g in ideal_pair_correlation(gas.orbitals, gas.ground_state, r).items():
        np.testing.assert_allclose(curve[name], g, atol=1e-9)
    three = canonical_pair_correlation(ElectronGas((5, 0), 3, 1.0, 0.3, 0.1), r)["up-up"]
    assert three[0] == pytest.approx(0, abs=1e-9) and np.all(np.diff(three[:5]) > 0)


def test_structure_covers_the_ideal_gas_at_the_stated_rate(draws):
    q, k_up = (2 * np.pi / GAS.L) * np.array([[1, 0]]), ideal_gas(GAS).occupations[0]
    curve, S = (
        in_bins(lambda r: canonical_pair_correlation(GAS, r), GAS.L / 2, 3),
        canonical_structure_factor(GAS, q),
    )
    z = {name: [] for name in ("S up-up", "S", "g up-up", "g up-down", "n")}
    for part in parts(50):
        R, K = draws.samples["R"][part], draws.samples["K"][part]
        found, g, n = (
            structure_factor(R, GAS.space, q),
            pair_correlation(R, GAS.space, 3),
            occupations(K[:, :2], len(k_up)),
        )
        z["S up-up"].append(
            (found.by_spin["up-up"][0] - S.by_spin["up-up"][0]) / found.by_spin_error["up-up"][0]
        )
        z["S"].append((found.S[0] - S.S[0]) / found.error[0])
        z["n"].append((n.n[1] - k_up[1]) / n.error[1])
        for name in ("up-up", "up-down"):
            z[f"g {name}"].append((g.g[name][-1] - curve[name][-1]) / g.error[name][-1])
    assert_covered(z)


def test_energies_cover_the_first_order_at_the_stated_rate(polarised):
    """One spin: between opposite ones <V^2> of plane waves in 2D is infinite, and no error bar holds."""
    gas, draws = polarised
    exact = first_order_bound(gas)
    potential, kinetic = np.asarray(draws.potential), np.asarray(draws.kinetic).real
    quantities = {
        "kinetic": kinetic,
        "potential": potential,
        "energy": kinetic + potential,
        "free_energy": kinetic + potential + draws.temperature * draws.log_prob,
        "entropy": -draws.log_prob,
    }
    z = {name: [] for name in (*quantities, "s/s_0")}
    for part in parts(160):
        for name, x in quantities.items():
            found = mean_of_independent(x[part])
            z[name].append((found.value - getattr(exact, name)) / found.error)
        mass = mass_from_entropy(gas, found)
        z["s/s_0"].append((mass.value - 1) / mass.error)
    assert_covered(z)


def test_momenta_of_a_moved_pair_by_quadrature():
    """Two electrons on the line of a flow: n_k against the double integral over s and R on a lattice of
    points.
    """
    gas = ElectronGas((1, 1), 2, 3.0, 0.3, (0.1, 0.2), cutoff=1.5)
    flow = small_flow(gas.space, size=0.12)
    model = condition(_pair, {"K": np.array([0, 1])})
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), num_walkers=2048, chunk_size=64)
    draws = vfe.evaluate(random.key(0), {}, 4096, gas)
    assert np.all(draws.diagnostics["det_sign"] > 0) and np.all(np.isfinite(draws.potential))
    found = momentum_distribution(random.key(1), model, {}, draws, gas, displacements=4, chunk_size=64)

    # The flow depends on r = r_1 - r_2 alone, so the trace over the total position is left out: r_2 = 0.
    points, L = 24, gas.L
    x = np.stack(np.meshgrid(*[np.arange(points) * L / points] * 2, indexing="ij"), -1).reshape(-1, 2)
    born = dist.Born(gas.orbitals, jnp.array([0, 1]), flow)
    psi = np.exp(jax.jit(jax.vmap(lambda r: born.log_psi(jnp.stack([r, jnp.zeros(2)]))))(x))
    k = gas.orbitals.wavevectors
    # Moving one electron by s at fixed r_2: n_k = |sum over r of exp(-i k.r) psi(r)|^2, normalised.
    amplitude = np.exp(-1j * (k @ x.T)) @ psi / len(x)
    exact = np.abs(amplitude) ** 2 / np.mean(np.abs(psi) ** 2)
    assert exact.max() < 0.98  # the flow does something
    assert np.all(np.abs(found.n["up"] - exact) < 4.5 * found.error["up"])


def _pair(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, small_flow(gas.space, size=0.12)))


def test_excitation_energies():
    states = np.array([[0, 1, 0], [0, 2, 0], [1, 3, 0], [0, 1, 2]])
    free = np.sum(np.asarray(GAS.orbital_energies)[states], axis=1)
    found = excitation_energies(random.key(0), vfe_of(free_electrons, None), {}, states, 64, GAS)
    np.testing.assert_allclose([e.value for e in found.energy], free, rtol=1e-9)
    np.testing.assert_allclose([e.value for e in found.excitation], free - free[0], atol=1e-9)

    first_order = first_order_energies(GAS, states)
    found = excitation_energies(random.key(0), vfe_of(free_electrons), {}, states, 4096, GAS)
    for energy, excitation, exact in zip(found.energy, found.excitation, first_order, strict=True):
        assert abs(energy.value - exact) < 3 * energy.error
        assert abs(excitation.value - (exact - first_order[0])) <= 3 * excitation.error
    assert found.excitation[0].value == found.excitation[0].error == 0
    again = excitation_energies(
        random.key(0), vfe_of(free_electrons, chunk_size=100), {}, states[:2], 4096, GAS
    )
    np.testing.assert_allclose(again.energy, found.energy[:2], rtol=1e-12)
    np.testing.assert_allclose(again.excitation, found.excitation[:2], rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_excitation_energies_cover_the_first_order_at_the_stated_rate():
    gas, states = (
        ElectronGas((3, 0), 2, 1.0, 0.5, 0.25, cutoff=3.0),
        np.array([[0, 1, 2], [0, 1, 3], [1, 2, 5]]),
    )
    vfe = VariationalFreeEnergy(
        free_electrons, hamiltonian(gas), natural_gradient(), num_walkers=128, chunk_size=64
    )
    exact, z = first_order_energies(gas, states), {"E_K": [], "E_K - E_0": []}
    for i in range(REPEATS):
        found = excitation_energies(random.key(i), vfe, {}, states, 128, gas)
        z["E_K"].append([(x.value - e) / x.error for x, e in zip(found.energy, exact, strict=True)])
        excited = zip(found.excitation[1:], exact[1:] - exact[0], strict=True)
        z["E_K - E_0"].append([(x.value - e) / x.error for x, e in excited])
    assert_covered(z)


def test_local_energies_at_small_rs_give_the_exchange_functional(polarised):
    """rs = 0.1, where the identity flow is the answer: the fit to sampled E_loc against Hartree-Fock, within
    3 sigma.
    """
    gas, draws = polarised
    K = draws.samples["K"]
    fit = landau_functional(gas, K, (draws.kinetic + draws.potential).real)
    exact = landau_functional(gas, K, first_order_energies(gas, K))  # test_landau.py shows it to be exchange
    assert exact.r_squared > 1 - 1e-12 and abs(fit.lack_of_fit - 1) < 0.3
    shift = np.mean(fit.epsilon - exact.epsilon)
    assert np.all(np.abs(fit.epsilon - exact.epsilon - shift) < 3 * fit.epsilon_error)
    assert np.all(np.abs(fit.f - exact.f) < 3.5 * fit.f_error)
    F, F_exact = (landau_parameters(gas, x, 1)["up-up"][0] for x in (fit, exact))
    assert abs(F.value - F_exact.value) < 3 * F.error < abs(F_exact.value)


def test_expected_got(draws):
    with pytest.raises(ValueError, match="Expected displacements >= 1"):
        momentum_distribution(random.key(0), free_electrons, {}, draws, GAS, displacements=0)
    with pytest.raises(ValueError, match="conditioned site 'K': Expected strictly ascending"):
        excitation_energies(random.key(0), vfe_of(free_electrons), {}, np.array([[1, 0, 0]]), 64, GAS)
    with pytest.raises(ValueError, match="Expected states of shape"):
        excitation_energies(random.key(0), vfe_of(free_electrons), {}, np.array([0, 1, 0]), 64, GAS)
