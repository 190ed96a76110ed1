"""Free energies that few steps have to reach where no exact value is known: upper bounds, so
lower is better.
"""

import numpy as np
import pytest
from jax import random
from numpyro.handlers import condition

from pnct import ElectronGas, hamiltonian
from pnct.estimate import mean_of_independent
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.models import electron_gas, unpolarised_gas

SJ_VMC, SJ_DMC = -1.073323, -1.110199  # hartree, total: the heg tests of QMCPACK


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirteen_electrons_in_a_hundred_steps():
    """2D, rs = 10: F/N < -0.1701 Ry from scratch with 256 walkers, evaluated to 1.3e-5 Ry."""
    gas = ElectronGas((13, 0), 2, 10.0, 0.15, 0.25)
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), num_walkers=256)
    result = vfe.run(random.key(0), 100, gas, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 49_152, gas)
    F = mean_of_independent(
        (draws.kinetic + draws.potential).real + draws.temperature * draws.log_prob
    ).scaled(2 / gas.N)
    print(f"F/N = {F} Ry")
    assert F.value + F.error < -0.1701


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_unpolarised_ground_state_is_below_slater_jastrow_vmc():
    """T = 0, 3D, 7 + 7 electrons, rs = 5: below SJ-VMC by more than three errors, and above SJ-DMC, from
    exact samples.
    """
    gas = ElectronGas((7, 7), 3, 5.0, 0.0)
    program = condition(unpolarised_gas, {"K": gas.ground_state})
    vfe = VariationalFreeEnergy(program, hamiltonian(gas), natural_gradient(), num_walkers=512)
    result = vfe.run(random.key(0), 150, gas, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 32_768, gas)
    E = mean_of_independent((draws.kinetic + draws.potential).real)
    print(f"E = {E} hartree")
    assert np.all(draws.is_exact) and np.all(draws.diagnostics["det_sign"] > 0)
    assert E.value + 3 * E.error < SJ_VMC
    assert E.value > SJ_DMC
