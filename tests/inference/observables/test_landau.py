"""Landau's functional: exact on the ideal gas, equal to exchange at first order, with errors that hold."""

from itertools import combinations

import jax
import numpy as np
import pytest
from covered import assert_covered

from pnct import ElectronGas
from pnct.distributions import Occupation
from pnct.inference.observables.landau import density_of_states, landau_functional, landau_parameters
from pnct.systems.first_order import first_order_bound, first_order_energies

CLOSED = ElectronGas((5, 0), 2, 0.1, 0.4, 0.0, cutoff=4.0)


def ideal_states(gas, samples, seed=0):
    """Independent K of the ideal gas and their ln p."""
    program = Occupation(gas)
    K = jax.jit(lambda key: program.sample(seed=key, sample_shape=(samples,)))(jax.random.key(seed))
    return np.asarray(K), np.asarray(jax.jit(program.log_prob)(K))


def all_states(gas):
    return np.array(list(combinations(range(len(gas.orbitals)), gas.N)))


def exchange(gas, m, m2):
    """-v(k - k')/r_s."""
    q = np.linalg.norm(gas.orbitals.wavevectors[m] - gas.orbitals.wavevectors[m2], axis=-1)
    v = 2 * np.pi / (gas.L**2 * q) if gas.dim == 2 else 4 * np.pi / (gas.L**3 * q**2)
    return -v / gas.rs


@pytest.mark.parametrize(
    "gas",
    [
        ElectronGas((3, 0), 2, 2.0, 0.5, 0.25),
        ElectronGas((2, 2), 2, 2.0, 0.5, 0.1),
        ElectronGas((3, 1), 3, 2.0, 0.5, 0.0),
    ],
    ids=["polarised", "both spins", "open shells"],
)
def test_ideal_gas(gas):
    K, log_p = ideal_states(gas, 4000)
    fit = landau_functional(gas, K, -gas.temperature * log_p)
    np.testing.assert_allclose(
        fit.epsilon - fit.free_energies, (fit.epsilon - fit.free_energies)[0], atol=1e-9
    )
    np.testing.assert_allclose(fit.free_energies, gas.orbital_energies[fit.shells[:, 1]])
    np.testing.assert_allclose(fit.f, 0, atol=1e-9)
    np.testing.assert_allclose(fit.f_error, 0, atol=1e-8)
    assert fit.r_squared > 1 - 1e-12 and fit.rms_residual < 1e-9 and np.isnan(fit.lack_of_fit)


def test_first_order_energies_average_to_the_bound():
    gas = ElectronGas((2, 0), 2, 1.5, 0.5, 0.1, cutoff=2.0)
    K = all_states(gas)
    p = np.exp(np.asarray(Occupation(gas).log_prob(K)))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert p @ first_order_energies(gas, K) == pytest.approx(first_order_bound(gas).energy, rel=1e-12)
    two = ElectronGas((2, 1), 2, 1.5, 0.5, 0.1, cutoff=2.0)
    apart = first_order_energies(two, np.column_stack([K, np.zeros(len(K), int)]))
    up = -exchange(two, K[:, 0], K[:, 1])
    free = np.sum(two.orbital_energies[K], axis=1) + two.orbital_energies[0]
    np.testing.assert_allclose(apart - free + up, (apart - free + up)[0], rtol=1e-12)


def hartree_fock(gas, m, m2):
    """First-order quasi-particle energies and interactions, up to a constant."""
    sea = np.arange(gas.N)
    epsilon = [gas.orbital_energies[i] + sum(exchange(gas, i, j) for j in sea if j != i) for i in m]
    return np.array(epsilon), exchange(gas, *m2.T)


def test_first_order_is_exchange():
    """y = <K|H|K>: a quadratic form in dn with f = -v, and epsilon the Hartree-Fock energies, in the fit's
    own choice.
    """
    gas = CLOSED
    K = np.repeat(all_states(gas), 10, axis=0)
    fit = landau_functional(gas, K, first_order_energies(gas, K))
    assert fit.r_squared > 1 - 1e-12
    orbitals = np.arange(len(gas.orbitals))
    epsilon, _ = hartree_fock(gas, orbitals, np.zeros((0, 2), int))
    f = exchange(gas, fit.pairs[:, 1], fit.pairs[:, 3])

    # Any a_m takes one choice to the other: f + a_m + a_m', epsilon + a_m (1 - 2 n_m) + const.
    levels, first = np.unique(gas.shell_index, return_index=True)
    columns = (gas.shell_index[fit.pairs[:, 1]][:, None] == levels).astype(float) + (
        gas.shell_index[fit.pairs[:, 3]][:, None] == levels
    )
    weight = np.sqrt(fit.multiplicity)
    a = np.linalg.lstsq(weight[:, None] * columns, -weight * f, rcond=None)[0]
    np.testing.assert_allclose(fit.f, f + columns @ a, atol=1e-9)
    expected = epsilon[first] + a * np.where(first < gas.N, -1, 1)
    np.testing.assert_allclose(fit.epsilon - expected, (fit.epsilon - expected)[0], atol=1e-8)
    assert np.abs(fit.epsilon - fit.free_energies).max() > 0.1  # exchange is no small thing even here

    # The Fermi surface of five electrons is the shell |n| = 1: cos = 0 and -1 there.
    shell = np.flatnonzero(np.all(gas.shell_index[fit.pairs[:, [1, 3]]] == 1, axis=1))
    distance = np.linalg.norm(
        gas.orbitals.indices[fit.pairs[shell, 1]] - gas.orbitals.indices[fit.pairs[shell, 3]], axis=1
    )
    right, opposite = (fit.f[shell[np.argmin(np.abs(distance - d))]] for d in (np.sqrt(2), 2))
    expected = -2 * np.pi / (gas.L**2 * gas.rs) * gas.L / (2 * np.pi) * (1 / np.sqrt(2) - 1 / 2)
    assert right - opposite == pytest.approx(expected, rel=1e-6)


def test_noisy_energies_at_small_rs_give_exchange_within_errors():
    """Draws of the first-order state at rs = 0.1 with the noise of a local energy: 5 sigma on what any choice
    agrees on.
    """
    gas = CLOSED
    K, _ = ideal_states(gas, 40_000)
    y = first_order_energies(gas, K) + np.random.default_rng(0).normal(0, 2.0, len(K))
    fit = landau_functional(gas, K, y)
    assert fit.lack_of_fit == pytest.approx(1, abs=0.3)
    parameters = landau_parameters(gas, fit, 1)["up-up"][0]
    exact = landau_parameters(gas, landau_functional(gas, K, first_order_energies(gas, K)), 1)["up-up"][0]
    assert exact.error < 1e-8 < parameters.error < 0.1
    assert abs(parameters.value - exact.value) < 5 * parameters.error
    assert exact.value < 0  # exchange makes the electrons light


@pytest.mark.parametrize(("dim", "N"), [(2, 9), (3, 7)])
def test_landau_parameters_of_a_known_interaction(dim, N):
    """f = c + (F_1 cos + F_2 P_2(cos))/N(0) is projected back exactly, whatever the constants of pairs of
    shells.
    """
    gas = ElectronGas((N, 0), dim, 3.0, 0.3, 0.0, cutoff=4.0)
    rng = np.random.default_rng(0)
    K = np.sort([rng.choice(len(gas.orbitals), N, replace=False) for _ in range(20_000)], axis=1)
    k = gas.orbitals.wavevectors
    norm = np.where(gas.shell_index == 0, 1.0, np.linalg.norm(k, axis=1))
    cosine = (k @ k.T) / np.outer(norm, norm)
    f = (
        -0.4 * cosine + 0.2 * (2 * cosine**2 - 1 if dim == 2 else 1.5 * cosine**2 - 0.5)
    ) / density_of_states(gas)
    a = 0.05 * rng.normal(size=gas.shell_index.max() + 1)[gas.shell_index]
    f += a[:, None] + a
    f[0, :] = f[:, 0] = 0  # k = 0 has no angle
    n = np.zeros((len(K), len(gas.orbitals)))
    np.put_along_axis(n, K, 1.0, axis=1)
    reference = np.zeros(len(gas.orbitals))
    for shell in range(gas.shell_index.max() + 1):
        members = gas.shell_index == shell
        reference[members] = np.mean(members[:N].sum() / members.sum())
    dn = n - reference
    np.fill_diagonal(f, 0)
    y = n @ gas.orbital_energies + np.einsum("si,ij,sj->s", dn, f, dn) / 2
    fit = landau_functional(gas, K, y)
    assert fit.r_squared > 1 - 1e-10
    F = landau_parameters(gas, fit, 2)["up-up"]
    np.testing.assert_allclose([F[0].value, F[1].value], [-0.4, 0.2], atol=1e-6)


def test_errors_cover_the_truth_at_the_stated_rate():
    """200 repeats on the ideal gas with noise: 68 % and 95 % of the intervals hold the exact value, to 3
    binomial sigma.
    """
    gas = ElectronGas((3, 0), 2, 2.0, 0.5, 0.25, cutoff=3.0)
    K, _ = ideal_states(gas, 200 * 500)
    free = np.sum(gas.orbital_energies[K], axis=1)
    y = free + np.random.default_rng(1).normal(0, 0.2, len(K)) * (1 + free / free.mean())
    z = []
    for k, part in zip(K.reshape(200, 500, 3), y.reshape(200, 500), strict=True):
        fit = landau_functional(gas, k, part)
        step = np.zeros(len(fit.epsilon))
        step[[1, 2]] = -1, 1
        error = np.sqrt(step @ fit.epsilon_covariance @ step)
        z.append(step @ (fit.epsilon - fit.free_energies) / error)
    assert_covered({"step of epsilon": z})


def test_expected_got():
    gas = ElectronGas((2, 0), 2)
    with pytest.raises(ValueError, match=r"Expected K of shape \(samples, 2\) and y of shape"):
        landau_functional(gas, np.zeros((5, 3), int), np.zeros(5))
    with pytest.raises(ValueError, match="Expected two states or more"):
        landau_functional(gas, np.tile([0, 1], (50, 1)), np.zeros(50))
    K, log_p = ideal_states(gas, 200)
    with pytest.raises(ValueError, match="Expected l_max >= 1"):
        landau_parameters(gas, landau_functional(gas, K, log_p), 0)
