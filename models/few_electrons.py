"""The uniform electron gas of few electrons at a low temperature: electron_gas with a flow for every total momentum."""

import pnct
import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import by_sector, ferminet


def few_electrons(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units of r_s a_0."""
    occupation = pnct.module("occupation", transformer(gas, layers=2, width=16))
    flows = pnct.module("flows", by_sector(gas.orbitals, ferminet(gas.cell, depth=2, width=16)))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    P = gas.orbitals.quantum_numbers(K)  # the total momentum
    R = pnct.sample("R", dist.Born(gas.orbitals, K, flows(P)))
    return R
