"""The contact of fermions without interaction, in closed form, in units of the trap and of the cell."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from pnct import ElectronGas, Gaussian, HarmonicTrap, PoschlTeller
from pnct.inference.observables.contact import contact
from pnct.systems.scattering_length import scattering_slope

SIGMA = 5


@pytest.mark.parametrize("v", [PoschlTeller(0.7, 3.0), Gaussian(-1.1, 0.6)])
def test_of_a_free_pair_in_a_trap(v):
    """<V> over the Gaussian of the relative motion, |phi(r)|^2 = exp(-r^2/2)/(2 pi)^{3/2}."""
    R = np.random.default_rng(0).normal(size=(20_000, 2, 3)) / math.sqrt(2)
    R[7] = np.nan
    found = contact(R, HarmonicTrap((1, 1), dim=3), v)
    weight = 4 * math.pi / (2 * math.pi) ** 1.5
    V = quad(lambda r: weight * r**2 * math.exp(-(r**2) / 2) * float(v(r)), 0, 20)[0]
    assert abs(found.value - 4 * math.pi * V / scattering_slope(v)) < SIGMA * found.error
    assert found.error < 0.05 * found.value and found.ess == 19_999


def test_of_uniform_fermions_in_a_cell():
    """<V> = N_up N_down int v d^3r/L^3, of all images; C does not depend on r_s in units of r_s a_0."""
    v = PoschlTeller(0.5, 3.0)
    gas = ElectronGas((2, 1), 3, rs=0.5)
    R = np.random.default_rng(1).uniform(0, gas.L, (20_000, 3, 3))
    integral = 4 * math.pi * quad(lambda r: r**2 * float(v(r)), 0, 20)[0]
    expected = 4 * math.pi * 2 * integral / gas.L**3 / scattering_slope(v)
    for rs in (0.5, 4.0):
        found = contact(R, ElectronGas((2, 1), 3, rs=rs), v)
        assert abs(found.value - expected) < SIGMA * found.error


def test_in_the_plane_there_is_another_scattering_length():
    with pytest.raises(ValueError, match="Expected a system in three dimensions; got dim = 2"):
        contact(np.zeros((4, 2, 2)), HarmonicTrap((1, 1)), PoschlTeller(0.5, 3.0))
