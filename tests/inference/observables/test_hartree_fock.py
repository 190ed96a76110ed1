"""At r_s -> 0 the trained gas is one of Hartree-Fock quasi-particles: E_K and ln p(K) at r_s = 0.1 beside
exchange.
"""

import numpy as np
import pytest
from jax import random

from pnct import ElectronGas, hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.landau import landau_functional, landau_parameters
from pnct.models import electron_gas
from pnct.systems.first_order import first_order_energies


@pytest.mark.slow
def test_trained_quasi_particles_tend_to_hartree_fock():
    """Landau's functional of E_K is that of Hartree-Fock within 3 standard errors; that of -T ln p(K), which
    all the noise of training is in, to 15 % of what exchange does to epsilon and to 20 % of f. The untrained
    p(K) has none of either."""
    gas = ElectronGas((5, 0), 2, 0.1, 0.6, 0.0, cutoff=2.0)
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), num_walkers=1024)
    result = vfe.run(random.key(0), 150, gas, progress_bar=False)
    draws = vfe.evaluate(random.key(1), result.params, 32768, gas)

    K = draws.samples["K"]
    exact = landau_functional(gas, K, first_order_energies(gas, K))  # test_landau.py shows it to be exchange
    of_energy = landau_functional(gas, K, (draws.kinetic + draws.potential).real)
    of_law = landau_functional(gas, K, -gas.temperature * draws.log_prob)

    exchange, by_energy, by_law = (fit.epsilon - np.mean(fit.epsilon) for fit in (exact, of_energy, of_law))
    bare = exact.free_energies - np.mean(exact.free_energies)
    assert np.all(np.abs(by_energy - exchange) < 3 * of_energy.epsilon_error)
    assert np.all(np.abs(of_energy.f - exact.f) < 3 * of_energy.f_error)
    assert abs(of_energy.lack_of_fit - 1) < 0.3 and of_law.r_squared > 0.999

    root = np.sqrt(exact.multiplicity)
    off_epsilon = np.linalg.norm(by_law - exchange) / np.linalg.norm(exchange - bare)
    off_f = np.linalg.norm(root * (of_law.f - exact.f)) / np.linalg.norm(root * exact.f)
    F_1 = [landau_parameters(gas, fit, 1)["up-up"][0] for fit in (exact, of_energy, of_law)]
    print(
        f"epsilon from ln p(K) is off by {off_epsilon:.3f} of exchange, f by {off_f:.3f}; F_1 of "
        "exchange, E_K, ln p(K):",
        *F_1,
    )
    assert off_epsilon < 0.15 and off_f < 0.2
    assert abs(F_1[1].value - F_1[0].value) < 3 * F_1[1].error < abs(F_1[0].value)
    assert F_1[2].value == pytest.approx(F_1[0].value, rel=0.2)
