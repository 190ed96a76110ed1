"""Two flows one after the other: the local energy is that of ln Psi, and the natural gradient remembers the
metric of both.
"""

import jax
import pytest
from automatic_energy import kinetic_energies, modules_of, moved_modules
from jax import random

from pnct import ElectronGas
from pnct.inference import natural_gradient
from pnct.models import composed_gas


def test_local_energy_is_that_of_log_psi():
    """In turned axes, against the Laplacian of ln Psi by automatic differentiation."""
    gas = ElectronGas((3, 0), 2, 3.0, 0.3, cutoff=4.0)
    params = moved_modules(composed_gas, gas, ("first", "second"), 0.2)
    for key in random.split(random.key(1), 3):
        ours, theirs = kinetic_energies(composed_gas, params, gas, key)
        assert complex(ours) == pytest.approx(complex(theirs), rel=1e-9)


def test_the_metric_of_both_flows_is_remembered():
    params = modules_of(composed_gas, ElectronGas((29, 0), 2, 10.0, 0.15, 0.25))
    metric = jax.eval_shape(natural_gradient().init, params).metric
    assert {"first", "second"} <= metric["first"].keys()
