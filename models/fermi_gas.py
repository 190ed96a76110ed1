"""Ultracold fermions of two spins in a harmonic trap, which attract each other over a short range: flows that
know this length, and have no cusps.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import shell_energies, transformer
from pnct.flows import by_sector, continuous, radial_pair, separated_centre_of_mass
from pnct.orbitals import rotated_orbitals
from pnct.smooth_space import smooth_space
from pnct.states import configuration_interaction, separated_pair


def fermi_gas(trap: pnct.HarmonicTrap, length: float = 0.5):
    """Draws one canonical many-body state of the gas and its fermions. Returns R, shape (N, dim), in
    oscillator lengths. length: over which the interaction dies out.
    """
    space = smooth_space(trap.space, length)
    flow = (radial_pair if trap.N == 2 else continuous)(space, depth=2, width=16)
    flows = pnct.module("flows", by_sector(trap.orbitals, separated_centre_of_mass(space, flow)))
    if trap.N == 2:
        pair = separated_pair(trap.orbitals)
        num_determinants = min(900, max(400, 8 * len(trap.orbitals)))
        mixing = pnct.module("ci", configuration_interaction(pair, num_determinants))
        states, sector = mixing(pair), pair.degree
        p_K = dist.TabulatedOccupation(trap, pnct.module("occupation", shell_energies(trap)), mixing)
    else:  # the lowest level alone is mixed: two in one p shell each make L = 0
        mixing = pnct.module("ci", configuration_interaction(trap.orbitals, 1))
        states = mixing(pnct.module("orbitals", rotated_orbitals(trap.orbitals)))
        sector = states.quantum_numbers  # the total angular momentum, in space along z
        p_K = dist.Occupation(trap, pnct.module("occupation", transformer(trap, layers=2, width=16)))
    K = pnct.sample("K", p_K)
    R = pnct.sample("R", dist.Born(states, K, flows(sector(K))))
    return R
