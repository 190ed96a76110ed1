"""The gas of both spins: as in electron_gas, but a Jastrow factor keeps electrons of one spin away from those
of the other.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import ferminet, in_irreducible_wedge
from pnct.states import SlaterJastrow, jastrow


def unpolarised_gas(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units
    of r_s a_0.
    """
    occupation = pnct.module("occupation", transformer(gas, layers=2, width=16))
    states = SlaterJastrow(gas.orbitals, pnct.module("jastrow", jastrow(gas.space)))
    flow = pnct.module("flow", in_irreducible_wedge(gas.orbitals, ferminet(gas.space, depth=2, width=12)))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    P = states.quantum_numbers(
        K
    )  # the total momentum: states that symmetries of the cell relate have related flows
    R = pnct.sample("R", dist.Born(states, K, flow(P)))
    return R
