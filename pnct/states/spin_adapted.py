r"""States of a definite parity under the flip of all spins, for as many up as down electrons:

    Phi = (D_AB + D_BA)/2^(1/2)  or  (D_AB - D_BA)/2^(1/2),     D_AB(r_up, r_down) = det_A(r_up) det_B(r_down)

with the orbitals A of the up and B of the down electrons, and D_AA where they are equal. The interaction does
not change under the flip, so it mixes D_AB and D_BA to these two, for two electrons the singlet and the
triplet. They are far apart in energy where it is strong, and no change of coordinates makes one of them out
of D_AB. For each pair of A and B one state is called K = (A, B) and the other K = (B, A): p(K) means what it
did before.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pnct.orbitals.base import Orbitals
from pnct.states.base import States
from pnct.states.slater import SlaterDeterminants, as_states
from pnct.states.superposition import Superposition


class SpinAdapted(Superposition):
    """Both species have the same number of electrons, and the same orbitals."""

    orbitals: Orbitals

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """Those of the orbitals, and whether the state is odd (1) or even (0) under the flip."""
        Q = self.orbitals.quantum_numbers(K)
        return jnp.append(Q, self.odd(K).astype(Q.dtype))

    def determinants(self, K: Int[ArrayLike, " N"]) -> tuple[Float[Array, "2"], Int[Array, "2 N"]]:
        """The coefficients of D_AB and D_BA, and their orbitals."""
        flipped = self.flip(K)
        same = jnp.all(flipped == K)
        second = jnp.where(same, 0, jnp.where(self.odd(K), -1, 1) / 2**0.5)
        return jnp.stack([jnp.where(same, 1, 1 / 2**0.5), second]), jnp.stack([K, flipped])

    def odd(self, K: Int[ArrayLike, " N"]) -> Bool[Array, ""]:
        """Whether D_BA is subtracted: where A is above B, at the first orbital in which they differ."""
        up, down = jnp.split(jnp.asarray(K), 2)
        first = jnp.argmax(up != down)
        return up[first] > down[first]

    def images(
        self, Ks: Int[np.ndarray, "S N"], g: Int[np.ndarray, "dim dim"]
    ) -> tuple[Int[np.ndarray, "S N"], Float[np.ndarray, " S"]]:
        """Those of D_AB, named as of the same parity; D_BA is subtracted from it or it from D_BA."""
        image, sign = SlaterDeterminants(self.orbitals).images(Ks, g)
        with jax.ensure_compile_time_eval():
            odd, other = (np.asarray(jax.vmap(self.odd)(jnp.asarray(K))) for K in (Ks, image))
        flipped = np.roll(image, image.shape[1] // 2, axis=1)
        image = np.where((odd != other)[:, None], flipped, image)
        return image, sign * np.where(odd & ~other, -1, 1)

    @property
    def symmetries(self) -> tuple:
        """The flip of all spins."""
        return (self.flip,)

    @staticmethod
    def flip(x: ArrayLike) -> Array:
        """Up electrons in the place of down electrons, along the first axis."""
        return jnp.concatenate(jnp.split(jnp.asarray(x), 2)[::-1])


def spin_adapted(orbitals: Orbitals | SlaterDeterminants) -> States:
    """SpinAdapted where there are as many up as down electrons; elsewhere the determinants themselves."""
    determinants = as_states(orbitals)
    up, down = determinants.space.num_electrons
    return SpinAdapted(determinants.orbitals) if up == down else determinants
