"""rho = sum_K p(K) |Psi_K><Psi_K| of electrons in a harmonic trap:  K ~ p(K),  R ~ |Psi_K(R)|^2 through
continuous flows.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import shell_energies, transformer
from pnct.flows import by_sector, continuous, separated_centre_of_mass
from pnct.orbitals import rotated_orbitals
from pnct.states import configuration_interaction


def quantum_dot(trap: pnct.HarmonicTrap):
    """Draws one canonical many-body state of the dot and its electrons. Returns R, shape (N, dim), in
    oscillator lengths.
    """
    flow = separated_centre_of_mass(trap.space, continuous(trap.space, depth=2, width=16))
    flows = pnct.module("flows", by_sector(trap.orbitals, flow))
    states = pnct.module("orbitals", rotated_orbitals(trap.orbitals))
    if trap.N == 2:  # three electrons would have 62 determinants in each state
        mixing = pnct.module(
            "ci", configuration_interaction(trap.orbitals, num_determinants=max(400, 8 * len(trap.orbitals)))
        )
        states = mixing(states)
        p_K = dist.TabulatedOccupation(trap, pnct.module("occupation", shell_energies(trap)), mixing)
    else:
        p_K = dist.Occupation(trap, pnct.module("occupation", transformer(trap, layers=2, width=16)))
    K = pnct.sample("K", p_K)
    M = states.quantum_numbers(K)  # the total angular momentum
    R = pnct.sample("R", dist.Born(states, K, flows(M).with_cusps(trap.coupling)))
    return R
