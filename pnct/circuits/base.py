r"""The contract of a circuit: a unitary U on the state vectors of N two-level sites, with its derivatives.

A state vector is psi(x), shape (2^N,), the first site the most significant bit of its index. A circuit starts
from a product of one-site states, K's free spins.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Int

from pnct.systems.lattices import Lattice

LARGEST_CIRCUIT = 20  # sites
# State vectors that are alive at once where E_loc of all x and a walker's gradient are taken: XLA holds those
# of one round, and of each term of the Hamiltonian.
VECTORS = 12
VECTORS_PER_SITE = 4
VECTORS_PER_BOND = 4


class Circuit(eqx.Module):
    """U, a unitary whatever its parameters. num_sites: N."""

    num_sites: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, spins: Complex[Array, "N 2"]) -> Complex[Array, " n"]:
        """U on the product of these states of the sites: psi(x) for all n = 2^N bit strings x."""


def product_state(spins: Complex[Array, "N 2"]) -> Complex[Array, " n"]:
    """psi(x) = prod_i spins[i, x_i]."""
    psi = jnp.ones(1, spins.dtype)
    for spin in spins:
        psi = (psi[:, None] * spin).ravel()
    return psi


def index_of(x: Int[ArrayLike, "*batch N"]) -> Int[Array, "*batch"]:
    """The place of a bit string in a state vector."""
    N = x.shape[-1]
    return jnp.sum(x << jnp.arange(N)[::-1], axis=-1)


def memory(lattice: Lattice, walkers: int = 1, itemsize: int = 16) -> int:
    """A bound of the bytes that a training step has alive at once for so many walkers of a chunk, whatever
    the depth.

    itemsize: bytes of a complex number.
    """
    vectors = VECTORS + VECTORS_PER_SITE * lattice.num_sites + VECTORS_PER_BOND * len(lattice.bonds)
    return vectors * itemsize * 2**lattice.num_sites * walkers


def check_size(lattice: Lattice) -> None:
    """Raises ValueError where a state vector is too long."""
    if lattice.num_sites > LARGEST_CIRCUIT:
        size = memory(lattice) / 1e9
        raise ValueError(
            f"Expected at most {LARGEST_CIRCUIT} sites for a circuit on state vectors; got "
            f"{lattice.num_sites}, "
            f"which would take {size:.3g} GB for each walker of a chunk."
        )
