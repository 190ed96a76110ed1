"""Levels as a function of k: at first the ideal gas, with another mass the ideal gas at another
temperature.
"""

import equinox as eqx
import jax
import numpy as np
import pytest
from identity_flow import Identity
from numpyro.handlers import seed, substitute, trace

import pnct
from pnct import ElectronGas
from pnct.distributions import Occupation
from pnct.distributions.shell_energies import ShellEnergies, smooth_dispersion
from pnct.primitives import is_trained


@pytest.mark.parametrize("twist", [0.0, (0.1, 0.3)])
def test_levels_of_another_mass(twist):
    gas = ElectronGas((2, 1), 2, 2.0, 0.4, twist, cutoff=3.0)
    network = smooth_dispersion(gas)(jax.random.key(0))
    K = np.array([[0, 1, 0], [1, 3, 2], [0, 2, 1]])
    log_prob = jax.jit(
        lambda c: Occupation(gas, network.__class__(c, network.functions, network.shell_index)).log_prob(K)
    )
    np.testing.assert_allclose(log_prob(np.zeros(3)), Occupation(gas).log_prob(K), atol=1e-12)
    # m/m* = 1 + theta c_1 = 1/2
    heavy = ElectronGas((2, 1), 2, 2.0, 0.8, twist, cutoff=3.0)
    np.testing.assert_allclose(
        log_prob(np.array([-0.5 / 0.4, 0, 0])), Occupation(heavy).log_prob(K), atol=1e-10
    )
    assert np.all(np.abs(log_prob(np.array([0, 0.3, 0.2])) - log_prob(np.zeros(3))) > 1e-4)


def program(gas):
    levels = pnct.module("levels", smooth_dispersion(gas))
    return pnct.sample("K", Occupation(gas, levels))


def traced(gas, params):
    """p(K) of the program."""
    return trace(substitute(seed(program, 0), params)).get_trace(gas)["K"]["fn"].distribution


GAS = ElectronGas((2, 0), 2, 2.0, 0.4, (0.1, 0.3))


def test_parameters_serve_tables_of_any_size():
    params = {"levels": eqx.filter(smooth_dispersion(GAS)(jax.random.key(0)), is_trained)}
    params = eqx.tree_at(lambda p: p["levels"].coefficients, params, jax.numpy.array([0.3, -0.2, 0.1]))
    other = ElectronGas((2, 0), 2, 2.0, 0.6, (0.0, 0.0))
    assert len(other.orbitals) != len(GAS.orbitals)
    x = other.orbitals.wavevectors**2 @ [1, 1] / other.fermi_wavevector**2 - 1
    curve = 0.3 * x - 0.2 * np.tanh(2 * x) + 0.1 * x**2 / (1 + x**2)
    shifts = traced(other, params).network.shell_shifts()
    np.testing.assert_allclose(np.asarray(shifts)[other.shell_index], curve, atol=1e-12)
    assert params["levels"].shell_shifts() is None  # without a gas


def test_shell_energies_take_the_place_of_the_curve():
    """Of the same contract, with no array but parameters: a module that stands for itself."""
    whole = smooth_dispersion(GAS)(jax.random.key(0))
    shifts = jax.numpy.linspace(0.0, 1.0, len(whole.shell_shifts()))
    own = whole.with_shell_shifts(shifts)
    assert traced(GAS, {"levels": own}).network is own
    K = jax.numpy.array([1, 2])
    expected = Occupation(GAS, ShellEnergies(shifts, len(GAS.orbitals))).log_prob(K)
    assert traced(GAS, {"levels": own}).log_prob(K) == expected != Occupation(GAS).log_prob(K)
    flow = Identity()
    curve = eqx.tree_at(lambda m: m.functions, whole, whole.functions[:-1])
    constants = eqx.tree_at(lambda m: m.energy_shifts, own, np.zeros(len(shifts)))
    for wrong, message in (
        (flow, "Expected the parameters of module 'levels'"),  # another contract
        (curve, "Expected the parameters of module 'levels'"),  # whole, and no parameters
        (constants, "Expected the parameters of module 'levels'"),
        (ShellEnergies(shifts[:-1], len(GAS.orbitals)), "Expected energy_shifts of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            traced(GAS, {"levels": wrong})
