"""Ultracold fermions of two spins in a harmonic trap, which attract each other over a short range: flows that
know this length, and have no cusps.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import shell_energies, transformer
from pnct.flows import by_sector, continuous, separated_centre_of_mass
from pnct.orbitals import rotated_orbitals
from pnct.smooth_space import smooth_space
from pnct.states import configuration_interaction


def fermi_gas(trap: pnct.HarmonicTrap, length: float = 0.5):
    """Draws one canonical many-body state of the gas and its fermions. Returns R, shape (N, dim), in
    oscillator lengths. length: over which the interaction dies out.
    """
    space = smooth_space(trap.space, length)
    flow = separated_centre_of_mass(space, continuous(space, depth=2, width=16))
    flows = pnct.module("flows", by_sector(trap.orbitals, flow))
    if trap.N == 2:  # three fermions would have too many determinants in each state
        num_determinants = max(400, 8 * len(trap.orbitals))
        mixing = pnct.module("ci", configuration_interaction(trap.orbitals, num_determinants))
        states = mixing(trap.orbitals)
        p_K = dist.TabulatedOccupation(trap, pnct.module("occupation", shell_energies(trap)), mixing)
    else:
        states = pnct.module("orbitals", rotated_orbitals(trap.orbitals))
        p_K = dist.Occupation(trap, pnct.module("occupation", transformer(trap, layers=2, width=16)))
    K = pnct.sample("K", p_K)
    M = states.quantum_numbers(K)  # the total angular momentum, in space along z
    R = pnct.sample("R", dist.Born(states, K, flows(M)))
    return R
