"""The uniform electron gas of few electrons: mixed configurations, and a flow for every symmetry sector."""

import pnct
import pnct.distributions as dist
from pnct.configurations import configuration_mixing
from pnct.distributions import transformer
from pnct.flows import by_sector, ferminet
from pnct.spin import spin_adapted


def few_electrons(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units of r_s a_0."""
    determinants = spin_adapted(gas.orbitals)
    states = pnct.module("mixing", configuration_mixing(determinants, lowest=12_000))(determinants)
    occupation = pnct.module("occupation", transformer(gas, layers=2, width=16))
    flows = pnct.module("flows", by_sector(determinants, ferminet(gas.cell, depth=2, width=16)))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    Q = states.quantum_numbers(K)  # the total momentum, and the parity under a flip of all spins
    R = pnct.sample("R", dist.Born(states, K, flows(Q)))
    return R
