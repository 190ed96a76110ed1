"""Levels as a function of k: at first the ideal gas, with another mass the ideal gas at another
temperature.
"""

import jax
import numpy as np
import pytest

from pnct import ElectronGas
from pnct.distributions import Occupation
from pnct.distributions.shell_energies import smooth_dispersion


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
