r"""Two fermions of opposite spin in a harmonic trap, whose centre of mass and relative motion are apart:

    Phi_K = phi_{k_up}(Y) phi_{k_down}(y),    Y = (r_1 + r_2)/2^(1/2),    y = (r_2 - r_1)/2^(1/2)

Behind pnct.flows.centre_of_mass, which makes Y and y of the two positions, a determinant of oscillator
orbitals is this product. An interaction that is a function of |y| does not act on Y (Kohn, Phys. Rev. 123,
1242 (1961)), and does not change the direction of y: Psi_K conserves the whole orbital k_up, and the degree l
and the angular momentum m of k_down. So H mixes no more than the few orbitals of equal l and m of the
relative motion, and each l may have a flow of its own, one that moves the two along y alone
(pnct.flows.radial_pair).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.oscillator import Oscillators
from pnct.states.slater import SlaterDeterminants


class SeparatedPair(SlaterDeterminants):
    """Phi_K of one fermion of each spin, K = (orbital of Y, orbital of y)."""

    orbitals: Oscillators

    def quantum_numbers(self, K: Int[ArrayLike, " 2"]) -> Float[Array, " 4"]:
        """M, the orbital of the centre of mass, and l and m of the relative motion."""
        M = self.orbitals.quantum_numbers(K)
        own = jnp.stack(
            [jnp.asarray(K)[0], self.degree(K)[0], jnp.asarray(self.orbitals.angular_momenta)[K[1]]]
        )
        return jnp.concatenate([M, own.astype(M.dtype)])

    def degree(self, K: Int[ArrayLike, " 2"]) -> Float[Array, " 1"]:
        """l of the relative motion, in the plane |m|."""
        return jnp.asarray(self.orbitals.degrees, float)[jnp.asarray(K)[1:]]


def separated_pair(orbitals: Oscillators) -> SeparatedPair:
    """The states of a pair in a table of oscillator orbitals. Raises ValueError unless there is one fermion
    of each spin.
    """
    if orbitals.space.num_electrons != (1, 1):
        raise ValueError(f"Expected one fermion of each spin; got {orbitals.space.num_electrons}.")
    return SeparatedPair(orbitals)
