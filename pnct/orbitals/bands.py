r"""Bands of independent electrons among protons at X: combinations of the M plane waves of a table,

    h_kk' = (k^2/2 r_s^2) delta_kk' - (1/r_s) (4 pi/L^3) S(k - k')/(|k - k'|^2 + kappa^2),
    S(q) = sum_j exp(-i q.X_j),   S(0) left out,     h C = C e,     e_1 <= ... <= e_M, in hartree
    phi_m(r) = L^{-3/2} sum_k C_km exp(i k.r)

C is unitary, so the bands are orthonormal for every X and any screening kappa. sum_m |phi_m|^2 over all of
them is M/L^3 everywhere: uniform positions under that envelope are exact proposals for any of them. C and e
carry no gradient: X is given where ln Psi and ln p(K | X) are differentiated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Int, Num

from pnct.orbitals.plane_waves import CombinedWaves, PlaneWaves
from pnct.space import Cell

GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread over the unit interval without any symmetry


class Bands(CombinedWaves):
    """A table of bands, lowest energy first. coefficients: C_km.  levels: e_m, in hartree."""

    coefficients: Complex[Array, "M M"]
    levels: Float[Array, " M"]
    table: PlaneWaves

    def __len__(self) -> int:
        return len(self.table)

    @property
    def space(self) -> Cell:
        """Where the electrons live."""
        return self.table.space

    @property
    def energies(self) -> Float[Array, " M"]:
        """The levels, in hartree."""
        return self.levels

    @property
    def features(self) -> Float[Array, "M 2"]:
        """Input features of a band: its number and its level, each as a share of the whole table's."""
        number = jnp.arange(len(self), dtype=self.levels.dtype) / len(self)
        level = (self.levels - self.levels[0]) / (self.levels[-1] - self.levels[0])
        return jnp.stack([number, level], axis=-1)

    @property
    def waves(self) -> PlaneWaves:
        """The plane waves that the bands are made of."""
        return self.table

    def in_waves(self, x: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """C x"""
        return self.coefficients.astype(x.dtype) @ x

    def from_waves(self, y: Num[Array, "M ..."]) -> Num[Array, "M ..."]:
        """C^+ y"""
        return self.coefficients.astype(y.dtype).conj().T @ y

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " 0"]:
        """Nothing is conserved."""
        return jnp.zeros(0, self.levels.dtype)

    def matrix(self, K: Int[ArrayLike, " n"], r: Float[ArrayLike, "p dim"]) -> Complex[Array, "p n"]:
        """D_il = phi_l(r_i) for the bands K, at the positions r."""
        waves = self.table.matrix(jnp.arange(len(self)), r)
        return jnp.matmul(waves, self.coefficients[:, K].astype(waves.dtype), precision="highest")

    def propose(
        self, K: Int[ArrayLike, " n"], u: Float[Array, "p dim"], weights: Float[Array, " n"] | None = None
    ) -> tuple[Float[Array, "p dim"], Float[Array, " p"]]:
        """Uniform points from points of the unit cube, and the envelope M/L^3 times the largest weight of a
        band.
        """
        L = self.space.L
        each = jnp.ones(jnp.shape(K), u.dtype) if weights is None else weights.astype(u.dtype)
        largest = jnp.max(jnp.zeros(len(self), u.dtype).at[jnp.asarray(K)].add(each))
        return L * u, jnp.full(len(u), largest * len(self) / L**3, u.dtype)


def bands(
    table: PlaneWaves, X: Float[ArrayLike, "P dim"], rs: Float[ArrayLike, ""], screening: ArrayLike
) -> Bands:
    """The bands of a table in 3D for protons at X, in units of r_s a_0.  screening: kappa, in 1/(r_s a_0)."""
    X = jax.lax.stop_gradient(jnp.asarray(X))
    L = table.space.L
    k = table.wavevectors
    q2 = np.sum((k[:, None] - k) ** 2, axis=-1)
    same = np.eye(len(k), dtype=bool)
    coupling = np.where(same, 0, 4 * np.pi / L**3) / jnp.where(same, 1.0, q2 + jnp.asarray(screening) ** 2)

    phase = jnp.matmul(jnp.asarray(k, X.dtype), X.T, precision="highest")
    waves = jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
    structure = jnp.matmul(waves, waves.conj().T, precision="highest")
    kinetic = np.sum(k**2, axis=-1) / 2

    # Levels that symmetries make equal have bands that rounding alone would decide on: what lifts them is far
    # above rounding and far below any other energy.
    lift = kinetic[-1] * np.sqrt(jnp.finfo(X.dtype).eps) * ((np.arange(len(k)) * GOLDEN) % 1)
    h = jnp.diag(jnp.asarray(kinetic + lift, X.dtype) / rs**2) - structure * coupling.astype(X.dtype) / rs
    levels, C = jnp.linalg.eigh(h)
    return Bands(jax.lax.stop_gradient(C), jax.lax.stop_gradient(levels), table)
