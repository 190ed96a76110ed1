"""rho = sum_K p(K) |Psi_K><Psi_K| of electrons in a harmonic trap:  K ~ p(K),  R ~ |Psi_K(R)|^2 through continuous flows."""

import pnct
import pnct.distributions as dist
from pnct.configurations import configuration_mixing
from pnct.distributions import transformer
from pnct.flows import by_sector, continuous, separated_centres
from pnct.mixing import mixed_orbitals


def quantum_dot(trap: pnct.HarmonicTrap):
    """Draws one canonical many-body state of the dot and its electrons. Returns R, shape (N, dim), in oscillator lengths."""
    occupation = pnct.module("occupation", transformer(trap, layers=2, width=16))
    flow = separated_centres(trap.cell, continuous(trap.cell, depth=2, width=16, steps=12))
    flows = pnct.module("flows", by_sector(trap.orbitals, flow))
    states = pnct.module("orbitals", mixed_orbitals(trap.orbitals))
    if trap.N == 2:  # three electrons would have 62 determinants in each state
        states = pnct.module("mixing", configuration_mixing(trap.orbitals, lowest=400))(states)
    K = pnct.sample("K", dist.Occupation(trap, occupation))
    M = states.quantum_numbers(K)  # the total angular momentum
    R = pnct.sample("R", dist.Born(states, K, flows(M)))
    return R
