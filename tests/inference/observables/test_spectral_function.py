"""Adding an electron to free electrons, which is exact, to correlated ones against quadrature, and what is
refused.
"""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from identity_flow import Identity
from jax import random
from numpyro.handlers import substitute
from small_flow import small_flow

import pnct
import pnct.distributions as dist
from pnct import ElectronGas, Estimate, coulomb, hamiltonian, ideal_gas
from pnct.distributions import shell_energies
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.electron_addition import FOLDS, addition_ratios, matrix_elements
from pnct.inference.observables.electron_pair import TrainedGas, check_pair, neighbour
from pnct.inference.observables.momentum_distribution import MomentumDistribution
from pnct.inference.observables.poles import Poles, broadened, dispersion, joined
from pnct.inference.observables.spectral_function import residue, spectral_function, state_energies
from pnct.inference.observables.sum_rules import detailed_balance, sum_rules
from pnct.inference.sampling.sites import init_params
from pnct.states import configuration_interaction
from pnct.systems.first_order import first_order_energies

GAS = ElectronGas((2, 1), 2, 3.0, 0.5, (0.1, 0.2), cutoff=1.3)  # 4 orbitals
SIZE = 0.18  # of the flow: with 0.3 that of two electrons folds, and its states are not normalised


def free_electrons(gas):
    """Every determinant is listed, with its weight in the ideal gas."""
    mixing = pnct.module("ci", configuration_interaction(gas.orbitals, num_determinants=10_000))
    levels = pnct.module("levels", shell_energies(gas))
    K = pnct.sample("K", dist.TabulatedOccupation(gas, levels, mixing))
    return pnct.sample("R", dist.Born(mixing(gas.orbitals), K, Identity()))


def plain(gas):
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, Identity()))


def correlated(gas):
    """A flow that is not the identity, the same function of the cell for any number of electrons."""
    K = pnct.sample("K", dist.Occupation(gas))
    return pnct.sample("R", dist.Born(gas.orbitals, K, small_flow(gas.space, size=SIZE)))


def trained(model, gas, interaction=None):
    vfe = VariationalFreeEnergy(model, hamiltonian(gas, interaction), natural_gradient(), 64)
    given = {"K": gas.ground_state, "R": jnp.zeros((gas.N, gas.dim))}  # nothing has to be drawn
    return TrainedGas(vfe, gas, init_params(substitute(model, data=given), random.key(0), (gas,)))


@pytest.fixture(scope="module")
def free():
    """Free electrons, one less, as they are, and one more."""
    return {
        change: trained(free_electrons, neighbour(GAS, change) if change else GAS) for change in (-1, 0, 1)
    }


@pytest.mark.parametrize(("spin", "K_prime"), [("up", [0, 2, 3, 1]), ("down", [0, 3, 1, 2])])
def test_free_electrons_have_ratios_of_one_at_every_sample(spin, K_prime):
    pair = check_pair(trained(plain, GAS), trained(plain, neighbour(GAS, 1, spin)))
    X = addition_ratios(random.key(0), pair, 2, [0, 3, 1], K_prime, 64)
    np.testing.assert_allclose(np.abs(X.real), 1, atol=1e-10)
    np.testing.assert_allclose(X, X[0], atol=1e-10)
    found = matrix_elements(random.key(1), pair, 2, [0, 3, 1], K_prime, 64)
    np.testing.assert_allclose(
        [found.weight, found.total[:, None], found.missing[:, None] + 1], 1, atol=1e-10
    )
    assert np.all(np.abs([found.error, found.missing_error[:, None]]) < 1e-10)


def test_correlated_electrons_beside_quadrature():
    """(1, 1) -> (2, 1) with flows: M and 1 - n_k on a grid of the two relative coordinates; 4 sigma."""
    gas = ElectronGas((1, 1), 2, 3.0, 0.5, (0.1, 0.2), cutoff=1.5)
    pair = check_pair(trained(correlated, gas), trained(correlated, neighbour(gas, 1)))
    more = pair.more.gas
    K, K_prime, k = np.array([0, 1]), np.array([0, 2, 1]), 2
    axis = np.arange(14) * more.L / 14
    grid = np.stack(np.meshgrid(*[axis] * 4, indexing="ij"), axis=-1).reshape(-1, 2, 2)
    R = np.concatenate([grid, np.zeros((len(grid), 1, 2))], axis=1)
    of_three = dist.Born(more.orbitals, jnp.asarray(K_prime), small_flow(more.space, size=SIZE))
    of_two = dist.Born(gas.orbitals, jnp.asarray(K), small_flow(gas.space, size=SIZE))
    ratio = gas.L / more.L
    psi = np.asarray(jnp.exp(jax.lax.map(of_three.log_psi, R, batch_size=1024)))
    added = 0
    for i, sign in ((0, 1), (1, -1)):
        rest = jnp.asarray(np.delete(R, i, axis=1)) * ratio
        two = np.asarray(jnp.exp(jax.lax.map(of_two.log_psi, rest, batch_size=1024))) * ratio**2
        wave = np.exp(1j * R[:, i] @ more.orbitals.wavevectors[k]) / more.L
        added = added + sign * wave * two / np.sqrt(2)
    volume = more.L**6 / len(R)
    assert volume * np.sum(np.abs(psi) ** 2) == pytest.approx(1, abs=1e-5)
    M, total = volume * np.sum(psi.conj() * added), volume * np.sum(np.abs(added) ** 2)
    assert 0.3 < abs(M) ** 2 < 0.99  # or else nothing is seen

    found = matrix_elements(random.key(0), pair, k, K, K_prime, 4096)
    assert abs(found.weight[0, 0] - abs(M) ** 2) < 4 * found.error[0, 0] < 0.05
    assert abs(found.total[0] - total) < 4 * found.total_error[0] < 0.05
    assert abs(found.missing[0] - (total - abs(M) ** 2)) < 4 * found.missing_error[0] < 0.02
    np.testing.assert_allclose(found.folds.mean(axis=0), found.weight, atol=1e-3)

    found = matrix_elements(random.key(0), pair, k, K, K_prime, 4096, from_both=False)
    Z = residue(random.key(0), pair.less, pair.more, k, K, K_prime, 4096)
    assert abs(found.weight[0, 0] - abs(M) ** 2) < 4 * found.error[0, 0] < 0.05
    assert Z.value == pytest.approx(found.weight[0, 0]) and Z.error == pytest.approx(found.error[0, 0])
    X = addition_ratios(random.key(0), pair, k, K, K_prime, 4096)
    S = len(X)
    without_bias = (abs(X.sum()) ** 2 - np.sum(np.abs(X) ** 2)) / (S * (S - 1))
    assert found.weight[0, 0] == pytest.approx(without_bias, rel=1e-12)


@pytest.fixture(scope="module")
def spectrum(free):
    """A_N of free electrons at every orbital, from both pairs."""
    F = {change: Estimate(ideal_gas(x.gas).free_energy, 0.0, 0.0) for change, x in free.items()}
    orbitals = np.arange(len(GAS.orbitals))
    number = 32  # 8 for each state of the largest block, so that all blocks share one compilation
    lower = spectral_function(random.key(0), free[-1], free[0], orbitals, number, (F[-1], F[0]), None, 0.0)
    upper = spectral_function(random.key(1), free[0], free[1], orbitals, number, (F[0], F[1]), None, 0.0)
    return lower, upper


def test_free_electrons_have_one_pole_of_exact_weight(free, spectrum):
    lower, upper = spectrum
    e = np.asarray(GAS.orbital_energies)
    for found, n in ((lower.removed, ideal_gas(GAS)), (upper.removed, ideal_gas(free[1].gas))):
        np.testing.assert_allclose([x.value for x in found.sum()], n.occupations[0], atol=1e-10)
    np.testing.assert_allclose(
        [x.value for x in upper.added.sum()], 1 - ideal_gas(GAS).occupations[0], atol=1e-10
    )
    np.testing.assert_allclose(
        [x.value for x in upper.added.total], 1 - ideal_gas(GAS).occupations[0], atol=1e-10
    )
    assert np.max(np.abs([x.value for x in upper.added.missing])) < 1e-10
    A = joined(lower.removed, upper.added)
    there = A.weight > 1e-12
    np.testing.assert_allclose(A.energy[there], e[A.k[there]], atol=1e-10)
    np.testing.assert_allclose([x.value for x in A.sum()], 1, atol=1e-10)
    np.testing.assert_allclose(dispersion(GAS, A).energy, e, atol=1e-10)


def test_the_dispersion_is_a_line_through_the_strongest_poles():
    """Of energies 0.8 k^2/2 beside weaker poles anywhere: m*/m = 1.25."""
    gas = ElectronGas((5, 0), 2, 3.0, 0.5, (0.1, 0.2), cutoff=3.0)
    e = np.asarray(gas.orbital_energies)
    M = len(e)
    unknown = (Estimate(np.nan, np.nan, 0.0),) * M
    A = Poles(
        np.arange(M),
        gas.orbitals.wavevectors / gas.rs,
        np.tile(np.arange(M), 2),
        np.concatenate([0.8 * e - 0.3, 5 - e]),
        np.zeros(2 * M),
        np.repeat([0.7, 0.2], M),
        np.zeros(2 * M),
        np.tile(np.repeat([0.7, 0.2], M), (FOLDS, 1)),
        unknown,
        unknown,
        np.zeros(M),
    )
    found = dispersion(gas, A)
    np.testing.assert_allclose(found.energy, 0.8 * e - 0.3)
    np.testing.assert_allclose(found.weight, 0.7)
    assert found.effective_mass.value == pytest.approx(1.25, rel=1e-9)
    assert found.effective_mass.error < 1e-6
    both = joined(A, A)
    np.testing.assert_allclose([x.value for x in both.sum()], 1.8)


def test_rules_of_free_electrons(spectrum):
    """Without interaction: the first moment is k^2/2, the exchange energy being no part of H."""
    lower, upper = spectrum
    n = ideal_gas(GAS).occupations[0]
    momentum = MomentumDistribution(GAS.orbitals.wavevectors, {"up": n}, {"up": np.full(len(n), 1e-9)})
    rules = sum_rules(GAS, lower.removed, upper.added, momentum)
    for rule in (rules.unity, rules.occupation, rules.number):
        np.testing.assert_allclose([x.value for x in rule.found], [x.value for x in rule.expected], atol=1e-9)
    np.testing.assert_allclose([x.value for x in rules.first_moment.found], GAS.orbital_energies, atol=1e-9)
    balance = detailed_balance(upper, float(GAS.temperature))
    np.testing.assert_allclose(
        [x.value for x in balance.found], [x.value for x in balance.expected], atol=1e-10
    )


def test_the_first_moment_is_that_of_full_diagonalisation(reference):
    """Three digits of it, at the orbitals of which the reference knows n_k; the others hold little."""
    gas = ElectronGas((2, 0), 2, 5.0, 0.15, 0.25, cutoff=3.2)
    numbers = {tuple(np.round(n - 0.25).astype(int)): m for m, n in enumerate(gas.orbitals.indices)}
    n = np.zeros(len(numbers))
    moments = {}
    with open(reference / "spectral_function.csv") as file:
        for row in csv.DictReader(file):
            if [row["dim"], row["N"], row["rs_of_N_electrons"], row["theta_of_N_electrons"]] == [
                "2",
                "2",
                "5.0",
                "0.15",
            ]:
                k = row["k_integer_vector"].strip("()").split()
                if k and row["quantity"] == "n_k":
                    n[numbers[tuple(map(int, k))]] = float(row["value"])
                if "first_moment" in row["quantity"]:
                    moments.setdefault(tuple(map(int, k)), []).append(float(row["value"]))
    assert len(moments) >= 4
    empty = Estimate(0.0, 0.0, 0.0)
    momentum = MomentumDistribution(gas.orbitals.wavevectors, {"up": n}, {"up": 0 * n})
    orbitals = np.array([numbers[k] for k in moments])
    nothing = Poles(
        orbitals,
        gas.orbitals.wavevectors[orbitals] / gas.rs,
        np.zeros(0, int),
        *(np.zeros(0) for _ in range(4)),
        np.zeros((FOLDS, 0)),
        (empty,),
        (empty,),
        np.zeros(len(orbitals)),
    )
    rule = sum_rules(gas, nothing, nothing, momentum).first_moment
    np.testing.assert_allclose(
        [x.value for x in rule.expected], [sum(x) for x in moments.values()], atol=1.5e-3
    )


def test_a_curve_holds_the_weight_of_its_poles(spectrum):
    A = spectrum[1].added
    w = np.linspace(-2, 6, 20_001)
    curve = broadened(A, w, 0.05)
    np.testing.assert_allclose(np.trapezoid(curve, w, axis=1), [x.value for x in A.sum()], atol=1e-8)
    np.testing.assert_allclose(
        np.trapezoid(w * curve, w, axis=1), [x.value for x in A.sum(A.energy)], atol=1e-8
    )
    for width in (0, -1, np.nan):
        with pytest.raises(ValueError, match="Expected width > 0; got"):
            broadened(A, w, width)


def test_energies_of_states_beside_first_order():
    """Of plane waves with their Coulomb energy, each K by its own samples; 4 sigma."""
    Ks = np.array([[0, 1, 0], [0, 3, 2], [1, 2, 1]])
    found = state_energies(random.key(0), trained(plain, GAS, interaction=coulomb), Ks, 1024)
    exact = first_order_energies(GAS, Ks)
    for x, y in zip(found, exact, strict=True):
        assert abs(x.value - y) < 4 * x.error < 0.2


def test_what_does_not_belong_together_is_named():
    here = trained(plain, GAS)
    more = neighbour(GAS, 1)
    others = {
        "cell": ElectronGas((3, 1), 2, 3.0, 0.5, (0.1, 0.2), cutoff=1.3),
        "number": GAS,
        "twist": ElectronGas((3, 1), 2, more.rs, more.theta, 0.1, cutoff=1.3),
        "temperature": ElectronGas((3, 1), 2, more.rs, 1.1 * more.theta, more.twist, cutoff=1.3),
        "dimension": ElectronGas((3, 1), 3, 3.0, 0.5, cutoff=1.3),
    }
    for gas in others.values():
        with pytest.raises(
            ValueError, match=r"Expected one electron more in the same cell.*\(2, 1\).*and \("
        ):
            check_pair(here, here._replace(gas=gas))
    table = ElectronGas(more.num_electrons, 2, more.rs, more.theta, more.twist, cutoff=3.0)
    with pytest.raises(ValueError, match="Expected both gases to have one table of orbitals; got"):
        check_pair(here, trained(plain, table))
    pair = check_pair(here, trained(plain, more))
    K, K_prime = [0, 3, 1], [0, 2, 3, 1]
    M = len(GAS.orbitals)
    with pytest.raises(ValueError, match=f"Expected k to be an orbital of the table, 0 ... {M - 1}; got {M}"):
        matrix_elements(random.key(0), pair, M, K, K_prime, 64)
    with pytest.raises(ValueError, match=r"Expected states K' of momentum P \+ k = .* got"):
        matrix_elements(random.key(0), pair, 1, K, K_prime, 64)
    with pytest.raises(ValueError, match="Expected states of 3 electrons, whole numbers; got"):
        matrix_elements(random.key(0), pair, 2, [0, 1], K_prime, 64)
    with pytest.raises(ValueError, match=r"ascending for each spin; got \[\[3, 0, 1\]\]"):
        matrix_elements(random.key(0), pair, 2, [3, 0, 1], K_prime, 64)
    with pytest.raises(ValueError, match="Expected num_samples to be a whole number >= 8; got 4"):
        matrix_elements(random.key(0), pair, 2, K, K_prime, 4)
    with pytest.raises(ValueError, match="Expected `states`, the K and the K' to be summed over"):
        spectral_function(random.key(0), here, trained(plain, more), [0])
    cold = ElectronGas((2, 0), 2, 3.0, 0.0, 0.25, cutoff=2.0)
    with pytest.raises(ValueError, match="Expected theta > 0 for a sum over states; got 0"):
        spectral_function(random.key(0), trained(plain, cold), trained(plain, neighbour(cold, 1)), [0])


def test_an_electron_has_to_be_there_to_be_taken():
    for gas, spin in ((ElectronGas((1, 0), 2, 1.0, 0.5), "up"), (ElectronGas((2, 0), 2, 1.0, 0.5), "down")):
        with pytest.raises(
            ValueError, match=f"Expected an electron with spin {spin} to take away and one that"
        ):
            neighbour(gas, -1, spin)
    with pytest.raises(ValueError, match="Expected change = 1 or -1 and spin 'up' or 'down'; got 2 and 'up'"):
        neighbour(GAS, 2)
