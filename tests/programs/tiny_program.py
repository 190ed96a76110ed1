"""A complete run that compiles and steps as fast as one can: two electrons, a flow with two parameters, a
made-up energy.

As a script, `python tiny_program.py DIR STEPS` makes that run in a directory and prints the SHA-256 of all
its numbers.
"""

import hashlib
import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import pnct
import pnct.distributions as dist
from pnct import ElectronGas
from pnct.flows import Flow
from pnct.hamiltonian import Hamiltonian, LocalEnergy
from pnct.inference import Interrupted, VariationalFreeEnergy, natural_gradient
from pnct.networks.base import OccupationNetwork

GAS = ElectronGas((2, 0), dim=2, rs=4.0, theta=0.6, twist=0.1, cutoff=1.3)
WALKERS = 13  # a number that no number of devices divides


class Shift(Flow):
    """zeta_i = r_i + a tanh(w) sin(k r_i)/k with k = 2 pi/L: one-to-one for every w if a <= 1."""

    w: Float[Array, " dim"]
    a: float = eqx.field(static=True)
    k: float = eqx.field(static=True)

    def __call__(self, R):
        return R + self.a * jnp.tanh(self.w) * jnp.sin(self.k * R) / self.k


class Levels(OccupationNetwork):
    """p(K) with one trainable number per orbital."""

    logits: Float[Array, " M"]

    def empty_cache(self, N):
        return ()

    def __call__(self, x, electrons, cache):
        return jnp.broadcast_to(self.logits, (*electrons.shape, self.logits.size)), cache


class MadeUpEnergy(Hamiltonian):
    """E(K, R) = sum_i cos(2 pi x_i/L) + K_0/10, in place of a Hamiltonian."""

    temperature: float = 0.5
    energy_scale: float = 1.0
    unit: str = eqx.field(static=True, default="hartree")

    def __call__(self, born, values):
        R = values.measured
        energy = jnp.sum(jnp.cos(2 * np.pi / GAS.L * R[:, 0])) + born.K[0] / 10
        return LocalEnergy(jnp.zeros((), complex), energy)


def model(gas, a=0.9):
    levels = pnct.module("levels", lambda key: Levels(jnp.zeros(len(gas.orbitals))))
    shift = pnct.module(
        "shift", lambda key: Shift(0.3 + 0.1 * jax.random.normal(key, (gas.dim,)), a, 2 * np.pi / gas.L)
    )
    K = pnct.sample("K", dist.Occupation(gas, levels))
    return pnct.sample("R", dist.Born(gas.orbitals, K, shift))


class Tiny(NamedTuple):
    """What tests vary."""

    model: object = model
    hamiltonian: object = MadeUpEnergy()
    optim: object = natural_gradient()
    num_walkers: int = WALKERS
    chunk_size: int | None = 2
    sharding: object = None
    precision: str | None = None


def routine(**changes) -> VariationalFreeEnergy:
    return VariationalFreeEnergy(*Tiny(**changes))


def digest(result) -> str:
    """SHA-256 of every number of a result."""

    def data(x):
        return jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x

    leaves = [np.asarray(data(leaf)) for leaf in jax.tree.leaves(result)]
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    try:
        print(digest(routine().run(jax.random.key(0), int(sys.argv[2]), GAS, checkpoint=sys.argv[1])))
    except Interrupted as stop:
        print(stop)
        sys.exit(128 + stop.signum)
