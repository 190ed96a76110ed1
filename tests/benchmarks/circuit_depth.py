"""What a circuit of some depth can reach: the minimum over its gates, with all K summed over and p(K) exact.

    F = -T ln sum_K exp(-E_K/T),   E_K = <K|U^+ H U|K>,   p(K) ~ exp(-E_K/T)

Prints F - exact and S for each depth: the lower end of L-BFGS from a small random circuit and from that of
the depth before (identity gates in the new round). No sampling, no network.
"""

import argparse
import itertools
import time
from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

import pnct.distributions as dist
from pnct.circuits import brickwork
from pnct.systems import square, transverse_field_ising

jax.config.update("jax_enable_x64", True)

CHUNK = 16  # states that are alive at once
KICK = 0.05  # standard deviation of the random gates that break symmetries


def best_circuit(spins, depth: int, before, steps: int, seed: int):
    """(F, S, the circuit) at the lowest F that is found."""
    made = brickwork(spins.lattice, depth)(jax.random.key(0))
    random = np.random.default_rng(seed)
    starts = [jax.tree.map(lambda x: jnp.asarray(KICK * random.normal(size=x.shape)), made)]
    if before is not None:
        kept = before.of_bonds.shape[0]
        bonds = starts[0].of_bonds.at[:kept].set(before.of_bonds)
        starts.append(type(made)(before.of_sites, bonds, made.bonds, made.num_sites))
    K = jnp.asarray(list(itertools.product((0, 1), repeat=spins.N)))
    H = jnp.asarray(spins.measured_terms.matrix())

    def energies(circuit):
        def one(K):
            psi = dist.CircuitBorn(spins, K, circuit).state_vector()
            return jnp.real(jnp.vdot(psi, H @ psi))

        return jax.lax.map(one, K, batch_size=CHUNK)

    unravel = ravel_pytree(made)[1]

    @jax.jit
    @jax.value_and_grad
    def free_energy(flat):
        return -jax.nn.logsumexp(-spins.beta * energies(unravel(flat))) / spins.beta

    settings = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": steps, "maxcor": 30}}
    tried = [minimize(free_energy, ravel_pytree(start)[0], **settings) for start in starts]
    found = min(tried, key=attrgetter("fun"))
    circuit = unravel(jnp.asarray(found.x))
    log_p = jax.nn.log_softmax(-spins.beta * energies(circuit))
    return found.fun, float(-jnp.sum(jnp.exp(log_p) * log_p)), circuit, found.nit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--side", type=int, default=2, help="of the open square lattice")
    parser.add_argument("--field", type=float, default=1.0, help="Gamma, in units of J")
    parser.add_argument("--beta", type=float, default=1.0, help="J/T")
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="rounds of gates")
    parser.add_argument("--steps", type=int, default=500, help="of L-BFGS at each depth")
    parser.add_argument("--seed", type=int, default=0, help="of the random gates")
    args = parser.parse_args()
    spins = transverse_field_ising(square(args.side, args.side), args.field, args.beta)
    levels = np.linalg.eigvalsh(spins.terms.matrix())
    p = np.exp(-args.beta * (levels - levels[0]))
    F = levels[0] - np.log(p.sum()) / args.beta
    S = args.beta * (p @ levels / p.sum() - F)
    print(f"{args.side}x{args.side} open, Gamma = {args.field:g}, J/T = {args.beta:g}: F {F:.6f}, S {S:.6f}")
    before = None
    for depth in args.depths:
        start = time.process_time()
        found, entropy, before, steps = best_circuit(spins, depth, before, args.steps, args.seed)
        seconds = time.process_time() - start
        print(
            f"depth {depth}  F - exact {found - F:.6f}  S {entropy:.6f} ({entropy / S:.3f} of it)  "
            f"{steps} steps  {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
