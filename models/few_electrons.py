"""The uniform electron gas of few electrons: mixed configurations with Boltzmann weights, a flow for every
symmetry sector.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import shell_energies
from pnct.flows import by_sector, ferminet
from pnct.states import configuration_interaction, spin_adapted


def few_electrons(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units
    of r_s a_0.
    """
    determinants = spin_adapted(gas.orbitals)
    mixing = pnct.module("ci", configuration_interaction(determinants, num_determinants=30_000))
    states = mixing(determinants)
    occupation = pnct.module("occupation", shell_energies(gas))
    flows = pnct.module("flows", by_sector(determinants, ferminet(gas.space, depth=2, width=16)))
    K = pnct.sample("K", dist.TabulatedOccupation(gas, occupation, mixing))
    Q = states.quantum_numbers(K)  # the total momentum, and the parity under a flip of all spins
    R = pnct.sample("R", dist.Born(states, K, flows(Q)))
    return R
