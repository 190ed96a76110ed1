r"""States of a definite parity under the flip of all spins, for as many up as down electrons:

    Phi = (D_AB + D_BA)/2^(1/2)  or  (D_AB - D_BA)/2^(1/2),     D_AB(r_up, r_down) = det_A(r_up) det_B(r_down)

with the orbitals A of the up and B of the down electrons, and D_AA where they are equal. The interaction does
not change under the flip, so it mixes D_AB and D_BA to these two, for two electrons the singlet and the
triplet. They are far apart in energy where it is strong, and no change of coordinates makes one of them out
of D_AB. For each pair of A and B one state is called K = (A, B) and the other K = (B, A): p(K) means what it
did before.
"""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pnct.orbitals.plane_waves import PlaneWaves
from pnct.states.superposition import Superposition, orbitals_of


class SpinAdapted(Superposition):
    """The orbitals of `table`, of which `determinants` makes two-determinant states. Both species have the
    same number.
    """

    table: PlaneWaves

    def quantum_numbers(self, K: Int[Array, " N"]) -> Float[Array, " q"]:
        """Those of the table, and whether the state is odd (1) or even (0) under the flip."""
        Q = self.table.quantum_numbers(K)
        return jnp.append(Q, self.odd(K).astype(Q.dtype))

    def determinants(self, K: Int[Array, " N"]) -> tuple[Float[Array, "2"], Int[Array, "2 N"]]:
        """The coefficients of D_AB and D_BA, and their orbitals."""
        flipped = self.flip(K)
        same = jnp.all(flipped == K)
        second = jnp.where(same, 0, jnp.where(self.odd(K), -1, 1) / 2**0.5)
        return jnp.stack([jnp.where(same, 1, 1 / 2**0.5), second]), jnp.stack([K, flipped])

    def odd(self, K: Int[Array, " N"]) -> Bool[Array, ""]:
        """Whether D_BA is subtracted: where A is above B, at the first orbital in which they differ."""
        up, down = jnp.split(jnp.asarray(K), 2)
        first = jnp.argmax(up != down)
        return up[first] > down[first]

    @property
    def symmetries(self) -> tuple:
        """The flip of all spins."""
        return (self.flip,)

    @staticmethod
    def flip(x: Array) -> Array:
        """Up electrons in the place of down electrons, along the first axis."""
        return jnp.concatenate(jnp.split(jnp.asarray(x), 2)[::-1])


def image_states(
    base: SpinAdapted | PlaneWaves, Ks: Int[np.ndarray, "S N"], turn: Float[np.ndarray, "dim dim"]
):
    """The names K' (S, N) and the signs (S,) of the images under a symmetry g of the table:  Phi_K(R) = +-
    Phi_K'(g R).
    """
    table = orbitals_of(base)
    number = {tuple(n): m for m, n in enumerate(np.round(table.indices, 6) + 0.0)}
    image = np.array([number[tuple(n)] for n in np.round(table.indices @ turn.T, 6) + 0.0])[Ks]
    sign = np.ones(len(Ks))
    for species in table.space.species:
        part = image[:, species]
        for i, j in combinations(range(part.shape[1]), 2):
            sign *= np.where(part[:, i] > part[:, j], -1, 1)
        image[:, species] = np.sort(part, axis=1)
    if isinstance(base, SpinAdapted):
        with jax.ensure_compile_time_eval():
            odd, other = (np.asarray(jax.vmap(base.odd)(jnp.asarray(K))) for K in (Ks, image))
        flipped = np.roll(image, image.shape[1] // 2, axis=1)
        image = np.where((odd != other)[:, None], flipped, image)
        sign *= np.where(odd & ~other, -1, 1)
    return image, sign


def spin_adapted(table: PlaneWaves) -> SpinAdapted | PlaneWaves:
    """SpinAdapted where there are as many up as down electrons; elsewhere the table itself."""
    up, down = table.space.num_electrons
    return SpinAdapted(table) if up == down else table
