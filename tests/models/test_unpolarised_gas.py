"""A Jastrow factor and a flow: the local energy is that of ln Psi, and the natural gradient remembers the
metric of both.
"""

import jax
import pytest
from automatic_energy import kinetic_energies, moved_modules
from jax import random

from pnct import ElectronGas
from pnct.inference import natural_gradient
from pnct.inference.sampling.sites import init_params
from pnct.models import unpolarised_gas


@pytest.mark.parametrize(("n", "theta"), [pytest.param(3, 0.0, marks=pytest.mark.slow), (2, 0.3)])
def test_local_energy_is_that_of_log_psi(n, theta):
    """Of a filled table, and of one that is not."""
    gas = ElectronGas((n, n), 2, 3.0, theta, 0.25, cutoff=3.0 if theta else None)
    assert (len(gas.orbitals) == n) == (theta == 0)
    params = moved_modules(unpolarised_gas, gas, ("jastrow", "flow"), 0.1)
    for key in random.split(random.key(1), 2):
        ours, theirs = kinetic_energies(unpolarised_gas, params, gas, key)
        assert complex(ours) == pytest.approx(complex(theirs), rel=1e-9)


def test_the_metric_of_flow_and_factor_is_remembered():
    gas = ElectronGas((7, 7), 3, 5.0, 0.0)
    params = jax.eval_shape(lambda key: init_params(unpolarised_gas, key, (gas,)), random.key(0))
    metric = jax.eval_shape(natural_gradient().init, params).metric
    assert {"flow", "jastrow"} <= metric["flow"].keys()
