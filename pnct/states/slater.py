r"""Slater determinants of one configuration: ln Phi_K(zeta) and its exact first and second derivatives in
zeta.

With D_il = phi_l(zeta_i) for the electrons i and occupied orbitals l of one species, and the derivatives D^a,
D^ab of the orbitals along the axes a, b (for plane waves D^a = D diag(i k^a)),

    X^a = D^a D^-1,   Y^ab = D^ab D^-1
    s_ia = X^a_ii,    S_{ia, jb} = delta_ij Y^ab_ii - X^a_ij X^b_ji

so everything costs O(d^2 n^3) once. Species multiply: logarithms add, S has no block between them. A
superposition of such products is Phi = sum_t c_t Phi_t; with the weights w_t = c_t Phi_t/Phi

    s = sum_t w_t s_t,    S = sum_t w_t (S_t + s_t s_t^T) - s s^T

The derivatives of Slater-Jastrow states (pnct.states.slater_jastrow) are taken automatically.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from pnct.orbitals.base import orbital_values
from pnct.states.slater_jastrow import SlaterJastrow
from pnct.states.superposition import Superposition


class SlaterDerivatives(NamedTuple):
    """ln Phi_K, its gradient s and its Hessian S with respect to zeta."""

    log_det: Complex[Array, ""]
    gradient: Complex[Array, "N dim"]
    hessian: Complex[Array, "N dim N dim"]


def log_det(orbitals, K: Int[Array, " N"], zeta: Float[Array, "N dim"]) -> Complex[Array, ""]:
    """ln Phi_K(zeta); |Phi_K|^2 is a normalised density of the ordered coordinates.

    The phase is the imaginary part, up to a multiple of 2 pi. Raises ValueError if K or zeta has the wrong
    shape.
    """
    _check_shapes(orbitals, K, zeta)
    if isinstance(orbitals, SlaterJastrow):
        first, second = orbitals.space.species
        parts = [_log_det(orbitals.table.matrix(K[first], zeta[first]))]
        parts.append(_log_det(orbitals.given(zeta[first]).matrix(K[second], zeta[second])))
        return sum(parts) - _log_norm(orbitals.space)
    if isinstance(orbitals, Superposition):
        c, Ks = orbitals.determinants(K)
        matrices = [
            orbital_values(orbitals.table.of_species(s), Ks[:, i], zeta[i])
            for s, i in enumerate(orbitals.space.species)
        ]
        parts = [jax.vmap(_log_det, in_axes=1)(D) for D in matrices]
        return _log_sum(c, sum(parts) - _log_norm(orbitals.space))
    parts = [
        _log_det(orbitals.of_species(s).matrix(K[i], zeta[i])) for s, i in enumerate(orbitals.space.species)
    ]
    return sum(parts) - _log_norm(orbitals.space)


def derivatives(orbitals, K: Int[Array, " N"], zeta: Float[Array, "N dim"]) -> SlaterDerivatives:
    """ln Phi_K(zeta) with s and S. Raises ValueError if K or zeta has the wrong shape."""
    _check_shapes(orbitals, K, zeta)
    if isinstance(orbitals, SlaterJastrow):
        return _slater_jastrow(orbitals, K, zeta)
    if isinstance(orbitals, Superposition):
        c, Ks = orbitals.determinants(K)
        return _superposition(
            c, jax.vmap(partial(_of_determinant, orbitals.space))(_all_matrices(orbitals.table, Ks, zeta))
        )
    one = jax.tree.map(lambda x: x[0], _all_matrices(orbitals, K[None], zeta))
    return _of_determinant(orbitals.space, one)


def _slater_jastrow(orbitals: SlaterJastrow, K, zeta) -> SlaterDerivatives:
    """Automatically, forward over reverse; where the table is filled, that of what is not a determinant of
    plane waves only.
    """
    value = log_det(orbitals, K, zeta)
    if orbitals.is_filled:
        free = derivatives(orbitals.table, K, zeta)
        first = orbitals.space.species[0]
        slope = jax.grad(orbitals.log_factor)
        slope_of_norm = jax.grad(orbitals.log_norm)
        gradient = (free.gradient + slope(zeta)).at[first].add(-slope_of_norm(zeta[first]))
        hessian = (
            (free.hessian + jax.jacfwd(slope)(zeta))
            .at[first, :, first]
            .add(-jax.jacfwd(slope_of_norm)(zeta[first]))
        )
        return SlaterDerivatives(value, gradient, hessian)

    def parts(zeta):
        value = log_det(orbitals, K, zeta)
        return jnp.stack([value.real, value.imag])

    slopes = jax.jacrev(parts)
    gradient, hessian = (jax.lax.complex(*f(zeta)) for f in (slopes, jax.jacfwd(slopes)))
    return SlaterDerivatives(value, gradient, hessian)


def _log_sum(c: Float[Array, " t"], logs: Complex[Array, " t"]) -> Complex[Array, ""]:
    """ln sum_t c_t exp(logs_t)."""
    largest = jax.lax.stop_gradient(jnp.max(logs.real))
    return largest + jnp.log(jnp.sum(c.astype(logs.real.dtype) * jnp.exp(logs - largest)))


def _superposition(c: Float[Array, " t"], each: SlaterDerivatives) -> SlaterDerivatives:
    """Of sum_t c_t Phi_t from those of each ln Phi_t, along the first axis."""
    value = _log_sum(c, each.log_det)
    w = c.astype(each.log_det.real.dtype) * jnp.exp(each.log_det - value)
    s = jnp.tensordot(w, each.gradient, 1)
    products = each.hessian + jnp.einsum("tia,tjb->tiajb", each.gradient, each.gradient)
    return SlaterDerivatives(value, s, jnp.tensordot(w, products, 1) - jnp.einsum("ia,jb->iajb", s, s))


def _all_matrices(orbitals, Ks: Int[Array, "t N"], zeta) -> list[tuple[Array, Array, Array]]:
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


def _of_determinant(space, matrices) -> SlaterDerivatives:
    """Of one product of determinants of the species."""
    parts = [_of_species(*species) for species in matrices]
    value = sum(part.log_det for part in parts) - _log_norm(space)
    gradient = jnp.concatenate([part.gradient for part in parts])
    flat = [part.hessian.reshape(part.gradient.size, part.gradient.size) for part in parts]
    hessian = jax.scipy.linalg.block_diag(*flat)
    return SlaterDerivatives(value, gradient, hessian.reshape(gradient.shape + gradient.shape))


def _of_species(D, D1, D2) -> SlaterDerivatives:
    D_inverse = jnp.linalg.inv(D)
    X = jnp.einsum("ila,lj->ija", D1, D_inverse, precision="highest")
    Y = jnp.einsum("ilab,li->iab", D2, D_inverse, precision="highest")

    s = jnp.einsum("iia->ia", X)
    diagonal = jnp.eye(len(D), dtype=s.real.dtype)[:, None, :, None] * Y[:, :, None, :]
    return SlaterDerivatives(_log_det(D), s, diagonal - jnp.einsum("ija,jib->iajb", X, X))


@jax.custom_jvp
def _log_det(D):
    sign, log = jnp.linalg.slogdet(D)
    return jax.lax.complex(log, jnp.angle(sign).astype(log.dtype))


@_log_det.defjvp
def _log_det_jvp(primals, tangents):
    # d ln det D = tr(D^-1 dD): one inverse serves every tangent, where the built-in rule solves for each.
    (D,) = primals
    (dD,) = tangents
    value = _log_det(D)
    return value, jnp.sum(jnp.linalg.inv(D).T * dD).astype(value.dtype)


def _log_norm(space) -> float:
    return sum(0.5 * math.lgamma(n + 1) for n in space.num_electrons)


def _check_shapes(orbitals, K, zeta):
    N = orbitals.space.N
    dim = orbitals.space.dim
    if K.shape != (N,):
        raise ValueError(f"Expected K of shape ({N},), one orbital per electron; got {K.shape}.")
    if zeta.shape != (N, dim):
        raise ValueError(f"Expected coordinates of shape ({N}, {dim}); got {zeta.shape}.")
