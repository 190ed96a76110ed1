"""rho = sum_K p(K) |Psi_K><Psi_K| of the uniform electron gas:  K ~ p(K),  R ~ |Psi_K(R)|^2."""

import pnct
import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import ferminet, in_irreducible_wedge


def electron_gas(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units
    of r_s a_0.
    """
    occupation = pnct.module("occupation", transformer(gas, layers=2, width=16))
    flow = pnct.module("flow", in_irreducible_wedge(gas.orbitals, ferminet(gas.space, depth=2, width=16)))
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    # the total momentum: states that symmetries of the cell relate have related flows
    P = gas.orbitals.quantum_numbers(K)
    R = pnct.sample("R", dist.Born(gas.orbitals, K, flow(P)))
    return R
