"""The canonical mass of free quasi-particles is their mass, at any size, and its error that of S."""

import numpy as np
import pytest

from pnct import ElectronGas, ideal_gas
from pnct.estimate import Estimate
from pnct.inference.observables.canonical_mass import canonical_mass


def entropy_of_mass(mass, N, theta, twist, dim=2):
    """Of ideal electrons whose energies are those of the gas over the mass: the same T, another table."""
    gas = ElectronGas((N, 0), dim, 1.0, theta, twist)
    return ideal_gas(ElectronGas((N, 0), dim, mass**0.5, theta * mass, twist, gas.cutoff)).entropy


@pytest.mark.parametrize("mass", [0.3, 0.65, 1.0])
@pytest.mark.parametrize(
    ("N", "theta", "twist", "dim"),
    [(5, 0.3, 0.25, 2), (13, 0.15, 0.25, 2), (14, 0.15, 0.25, 2), (7, 0.25, 0.0, 3)],
)
def test_it_is_the_mass_of_quasi_particles_in_any_cell(mass, N, theta, twist, dim):
    S = entropy_of_mass(mass, N, theta, twist, dim)
    found = canonical_mass([ElectronGas((N, 0), dim, 1.0, theta, twist)], Estimate(S, 0.0, 10.0))
    assert found.value == pytest.approx(mass, rel=1e-6) and found.error == 0 and found.ess == 10


def test_s_over_s_0_is_not():
    ratio = entropy_of_mass(0.65, 13, 0.15, 0.25) / entropy_of_mass(1.0, 13, 0.15, 0.25)
    assert ratio == pytest.approx(0.479, abs=1e-3)


def test_of_entropies_averaged_over_twists():
    weights, twists = [0.25, 0.75], [(0.125, 0.125), (0.125, 0.375)]
    S = weights @ np.array([entropy_of_mass(0.5, 5, 0.3, twist) for twist in twists])
    gases = [ElectronGas((5, 0), 2, 1.0, 0.3, twist) for twist in twists]
    assert canonical_mass(gases, Estimate(S, 0.0, 1.0), weights).value == pytest.approx(0.5, rel=1e-6)


def test_its_error_is_that_of_the_entropy_by_the_slope():
    gas = ElectronGas((5, 0), 2, 1.0, 0.3, 0.25)
    S = entropy_of_mass(0.7, 5, 0.3, 0.25)
    found = canonical_mass([gas], Estimate(S, 0.01, 1.0))
    up, down = (canonical_mass([gas], Estimate(S + d, 0.0, 1.0)).value for d in (0.01, -0.01))
    assert found.error == pytest.approx((up - down) / 2, rel=1e-3)


def test_where_there_is_none():
    gas = ElectronGas((5, 0), 2, 1.0, 0.3, 0.25)
    for S in (-1.0, 0.0, 50.0):
        found = canonical_mass([gas], Estimate(S, 0.1, 7.0))
        assert np.isnan(found.value) and np.isnan(found.error) and found.ess == 7
    with pytest.raises(ValueError, match=r"Expected one gas or more, at theta > 0; got \[0.0\]"):
        canonical_mass([ElectronGas((5, 0), 2, 1.0, 0.0, 0.25)], Estimate(1.0, 0.1, 7.0))
