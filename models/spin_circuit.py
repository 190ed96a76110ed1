"""rho = sum_K p(K) U|K><K|U^+ of spins on a graph:  K ~ p(K),  x ~ |<x|U|K>|^2,  U a quantum circuit."""

import pnct
import pnct.distributions as dist
from pnct.circuits import brickwork
from pnct.distributions import bit_transformer


def spin_circuit(spins: pnct.SpinLattice, depth: int = 2):
    """Draws one state of the spins and a measurement of it. Returns x, shape (N,), a bit string."""
    network = pnct.module("network", bit_transformer(spins, layers=2, width=16))
    circuit = pnct.module("circuit", brickwork(spins.lattice, depth))
    K = pnct.sample("K", dist.SpinStates(spins, network))
    x = pnct.sample("x", dist.CircuitBorn(spins, K, circuit))
    return x
