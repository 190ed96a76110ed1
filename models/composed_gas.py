"""The uniform electron gas as in electron_gas, but with two flows, one after the other."""

import pnct
import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import Composed, ferminet, in_irreducible_wedge


def composed_gas(gas: pnct.ElectronGas):
    """Draws one canonical many-body state of the gas and its electrons. Returns R, shape (N, dim), in units
    of r_s a_0.
    """
    occupation = pnct.module("occupation", transformer(gas, layers=2, width=16))
    make = in_irreducible_wedge(gas.orbitals, ferminet(gas.space, depth=2, width=16))
    first = pnct.module("first", make)
    second = pnct.module("second", make)
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    # the total momentum: states that symmetries of the cell relate have related flows
    P = gas.orbitals.quantum_numbers(K)
    R = pnct.sample("R", dist.Born(gas.orbitals, K, Composed((first(P), second(P)))))
    return R
