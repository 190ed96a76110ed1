r"""What a measurement of all sites gives:  x ~ |Psi_K(x)|^2,  Psi_K(x) = <x|U|K>,  x a bit string.

|K> is the product of the free spins of the lattice, U a circuit. The state vector is summed over the sites
that come later, and the bits are drawn one after the other from their exact conditional distributions.
Variational thermal states of this form: Verdon et al., arXiv 1910.02071; Martyn, Swingle, arXiv 1812.01015;
Liu, Mao, Zhang, Wang, arXiv 1912.11381.
"""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Int

from pnct.circuits.base import Circuit, index_of, memory
from pnct.distributions.base import Measured, Requirement
from pnct.systems.spin_lattice import SpinLattice


class CircuitBorn(Measured):
    """x ~ |<x|U|K>|^2 over int32 bit strings, shape (N,). spins: the lattice.  K: bits, shape (N,)."""

    def __init__(self, spins: SpinLattice, K: Int[ArrayLike, " N"], circuit: Circuit):
        if circuit.num_sites != spins.N:
            raise ValueError(
                f"Expected a circuit on the {spins.N} sites of the lattice; got one on {circuit.num_sites}."
            )
        if jnp.shape(K) != (spins.N,) or not jnp.issubdtype(jnp.result_type(K), jnp.integer):
            raise ValueError(
                f"Expected K to be {spins.N} bits, one for each site; got shape {jnp.shape(K)}, "
                f"{jnp.result_type(K)}."
            )
        self.spins = spins
        self.K = K
        self.circuit = circuit

    @property
    def event_shape(self) -> tuple[int]:
        return (self.spins.N,)

    @property
    def dtype(self):
        return jnp.dtype(jnp.int32)

    @property
    def dims(self) -> tuple[str, ...]:
        return ("site",)

    @property
    def label(self) -> Array:
        return jnp.asarray(self.K)

    def state_vector(self) -> Complex[Array, " n"]:
        """Psi_K(x) of all 2^N bit strings, the first site the most significant bit."""
        leaf = jax.tree.leaves(self.circuit)[0]
        states = self.spins.free_states.astype(jnp.result_type(leaf.dtype, jnp.complex64))
        spins = jnp.take_along_axis(states, jnp.asarray(self.K)[:, None, None], axis=2)[..., 0]
        return self.circuit(spins)

    def log_psi(self, x: Int[ArrayLike, " N"]) -> Complex[Array, ""]:
        """ln <x|U|K>."""
        return jnp.log(self.state_vector()[index_of(jnp.asarray(x))])

    def draw(self, key: Array) -> tuple[Int[Array, " N"], bool]:
        """One bit string, exact."""
        psi = self.state_vector()
        p = psi.real**2 + psi.imag**2
        u = jax.random.uniform(key, (self.spins.N,), p.dtype)
        bits = []
        for i in range(self.spins.N):
            halves = p.reshape(2, -1)
            zero, one = jnp.sum(halves, axis=1)
            bit = u[i] * (zero + one) >= zero
            bits.append(bit)
            p = jnp.where(bit, halves[1], halves[0])
        return jnp.stack(bits).astype(jnp.int32), True

    def diagnostics(self, x: Int[ArrayLike, " N"]) -> dict[str, Array]:
        """The sum of the measured spins, +1 for bit 0."""
        return {"magnetisation": jnp.sum(1.0 - 2 * jnp.asarray(x))}

    def all_values(self) -> Int[Array, "n N"]:
        """All bit strings, in the order of the state vector."""
        N = self.spins.N
        return (jnp.arange(2**N, dtype=self.dtype)[:, None] >> jnp.arange(N, dtype=self.dtype)[::-1]) & 1

    def check(self, moved: Callable[[Array], "CircuitBorn"]) -> tuple[Requirement, ...]:
        """The state vectors of one walker have room in the memory of this machine."""
        needed = memory(self.spins.lattice)
        room = _physical_memory()
        return (
            Requirement(
                f"state vectors of {self.spins.N} sites to have room in {room / 1e9:.1f} GB of memory",
                f"got {needed / 1e9:.1f} GB for each walker of a chunk",
                jnp.asarray(max(needed - room, 0.0)),
            ),
        )


def _physical_memory() -> float:
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
