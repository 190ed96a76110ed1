r"""Slater determinants of one configuration: ln Phi_K(zeta) and its exact first and second derivatives in
zeta.

With D_il = phi_l(zeta_i) for the electrons i and occupied orbitals l of one species, and the derivatives D^a,
D^ab of the orbitals along the axes a, b (for plane waves D^a = D diag(i k^a)),

    X^a = D^a D^-1,   Y^ab = D^ab D^-1
    s_ia = X^a_ii,    S_{ia, jb} = delta_ij Y^ab_ii - X^a_ij X^b_ji

so everything costs O(d^2 n^3) once. Species multiply: logarithms add, S has no block between them.
"""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int, Num

from pnct.orbitals.base import Orbitals, orbital_values
from pnct.space import Space
from pnct.states.base import DeterminantExpansion, StateDerivatives, States, check_shapes, log_norm
from pnct.states.projection_dpp import sample_species


class SlaterDeterminants(DeterminantExpansion):
    """The determinants of a table of orbitals, each species in its own."""

    orbitals: Orbitals

    def determinants(self, K: Int[ArrayLike, " N"]) -> tuple[Float[Array, "1"], Int[Array, "1 N"]]:
        """One, with coefficient 1."""
        return jnp.ones(1), jnp.asarray(K)[None]

    def log_amplitude(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """The sum over species of ln det D/(n!)^(1/2)."""
        check_shapes(self.space, K, zeta)
        parts = [
            log_det(self.orbitals.of_species(s).matrix(K[i], zeta[i]))
            for s, i in enumerate(self.space.species)
        ]
        return sum(parts) - log_norm(self.space)

    def derivatives(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> StateDerivatives:
        """From the derivatives of the orbitals."""
        check_shapes(self.space, K, zeta)
        one = jax.tree.map(lambda x: x[0], orbital_matrices(self.orbitals, K[None], zeta))
        return determinant_derivatives(self.space, one)

    def sample(self, key: Array, K: Int[ArrayLike, " N"], dtype) -> Float[Array, "N dim"]:
        """From the projection determinantal point process of each species."""
        return sample_species(key, self.orbitals, K, dtype)

    def images(
        self, Ks: Int[np.ndarray, "S N"], g: Int[np.ndarray, "dim dim"]
    ) -> tuple[Int[np.ndarray, "S N"], Float[np.ndarray, " S"]]:
        """The images of the orbitals in ascending order, with the sign of their permutation."""
        image = self.orbitals.image(g)[Ks]
        sign = np.ones(len(Ks))
        for species in self.space.species:
            part = image[:, species]
            for i, j in combinations(range(part.shape[1]), 2):
                sign *= np.where(part[:, i] > part[:, j], -1, 1)
            image[:, species] = np.sort(part, axis=1)
        return image, sign


def as_states(orbitals: Orbitals | States) -> States:
    """States as they are; a table of orbitals stands for its Slater determinants."""
    if isinstance(orbitals, States):
        return orbitals
    if not isinstance(orbitals, Orbitals):
        raise ValueError(f"Expected states or a table of orbitals; got {type(orbitals).__name__}.")
    return SlaterDeterminants(orbitals)


def orbital_matrices(
    orbitals: Orbitals, Ks: Int[ArrayLike, "t N"], zeta: Float[ArrayLike, "N dim"]
) -> list[tuple[Array, Array, Array]]:
    """For each species D (t, n, n), D^a and D^ab of all determinants, the axes last."""

    def of_species(orbitals, Ks, r):
        # Row i of D depends on r_i alone, so a common displacement of all electrons gives each row its own
        # derivative.

        def displaced(shift):
            return jnp.moveaxis(orbital_values(orbitals, Ks, r + shift), 1, 0)

        still = jnp.zeros(r.shape[1], r.dtype)
        return displaced(still), jax.jacfwd(displaced)(still), jax.jacfwd(jax.jacfwd(displaced))(still)

    return [
        of_species(orbitals.of_species(s), Ks[:, i], zeta[i]) for s, i in enumerate(orbitals.space.species)
    ]


def determinant_derivatives(space: Space, matrices: list[tuple[Array, Array, Array]]) -> StateDerivatives:
    """Of one product of determinants of the species, from D, D^a and D^ab of each."""
    parts = [_of_species(*species) for species in matrices]
    value = sum(part.log_amplitude for part in parts) - log_norm(space)
    gradient = jnp.concatenate([part.gradient for part in parts])
    flat = [part.hessian.reshape(part.gradient.size, part.gradient.size) for part in parts]
    hessian = jax.scipy.linalg.block_diag(*flat)
    return StateDerivatives(value, gradient, hessian.reshape(gradient.shape + gradient.shape))


def _of_species(D, D1, D2) -> StateDerivatives:
    D_inverse = jnp.linalg.inv(D)
    X = jnp.einsum("ila,lj->ija", D1, D_inverse, precision="highest")
    Y = jnp.einsum("ilab,li->iab", D2, D_inverse, precision="highest")

    s = jnp.einsum("iia->ia", X)
    diagonal = jnp.eye(len(D), dtype=s.real.dtype)[:, None, :, None] * Y[:, :, None, :]
    return StateDerivatives(log_det(D), s, diagonal - jnp.einsum("ija,jib->iajb", X, X))


@jax.custom_jvp
def log_det(D: Num[Array, "n n"]) -> Complex[Array, ""]:
    """ln det D"""
    sign, log = jnp.linalg.slogdet(D)
    return jax.lax.complex(log, jnp.angle(sign).astype(log.dtype))


@log_det.defjvp
def _log_det_jvp(primals, tangents):
    # d ln det D = tr(D^-1 dD): one inverse serves every tangent, where the built-in rule solves for each.
    (D,) = primals
    (dD,) = tangents
    value = log_det(D)
    return value, jnp.sum(jnp.linalg.inv(D).T * dD).astype(value.dtype)
