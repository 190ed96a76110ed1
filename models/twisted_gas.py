"""The uniform electron gas with parameters that serve every twist: quasi-particle levels as a function of k,
one flow.
"""

import pnct
import pnct.distributions as dist
from pnct.distributions import smooth_dispersion
from pnct.flows import ferminet


def twisted_gas(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units
    of r_s a_0.
    """
    levels = pnct.module("levels", smooth_dispersion(gas))
    flow = pnct.module("flow", ferminet(gas.space, depth=2, width=16))
    K = pnct.sample("K", dist.Occupation(gas, levels))
    R = pnct.sample("R", dist.Born(gas.orbitals, K, flow))
    return R
