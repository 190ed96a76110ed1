r"""Backflow:  zeta_i = r_i + sum_{j != i} eta_g(r_ij) d(r_ij),   d(r) = (L/2 pi) sin(2 pi r/L).

eta_g is a small network of the even pair features [cos(2 pi r/L), |sin(pi r/L)|], with weights of its own for each
relation g (same spin, opposite spin), so the centre of mass stays where it is. Its last layer starts at zero, T at
the identity.

Feynman, Cohen, Phys. Rev. 102, 1189 (1956); Kwon, Ceperley, Martin, Phys. Rev. B 58, 6800 (1998).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.flows.layers import random_weight, softplus
from pnct.flows.pairs import displacements, even_features, related_pairs, relations
from pnct.orbitals import Cell


class Layer(NamedTuple):
    """A hidden layer of eta, F -> W numbers per pair, in each of G relations."""

    weight: Float[Array, "G F W"]
    bias: Float[Array, "G W"]


class Backflow(eqx.Module):
    """T: (N, dim) -> (N, dim), lengths in r_s a_0."""

    hidden: tuple[Layer, ...]
    out: Float[Array, "G W"]
    cell: Cell = eqx.field(static=True)

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        return R + jnp.sum(self.pair_displacement(displacements(R)), axis=1)

    def jacobian(self, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J = d zeta/d R, in the order of R.ravel(). Differentiable in R and in the parameters."""
        N, dim = R.shape
        b, tangent = jax.linearize(self.pair_displacement, displacements(R))
        axes = jnp.broadcast_to(jnp.eye(dim, dtype=R.dtype)[:, None, None, :], (dim, N, N, dim))
        B = jax.vmap(tangent, out_axes=3)(axes)
        # J_ij = -B_ij and J_ii = 1 + sum_j B_ij, with B the derivative of a pair's displacement.
        own = np.eye(N)[:, :, None, None] * (np.eye(dim) + jnp.sum(B, axis=1, keepdims=True))
        return R + jnp.sum(b, axis=1), jnp.swapaxes(own - B, 1, 2).reshape(N * dim, N * dim).astype(R.dtype)

    def pair_displacement(self, r: Float[Array, "N N dim"]) -> Float[Array, "N N dim"]:
        """eta_g(r_ij) d(r_ij), zero for i = j."""
        L = self.cell.L
        eta = 0
        for g, related in enumerate(related_pairs(self.cell)):
            h = even_features(r, L)
            for layer in self.hidden:
                h = softplus(h @ layer.weight[g] + layer.bias[g])
            eta = eta + jnp.where(related, h @ self.out[g], 0)
        return eta[..., None] * (L / (2 * np.pi)) * jnp.sin((2 * np.pi / L) * r)


def backflow(cell: Cell, depth: int = 1, width: int = 16) -> Callable[[Array], Backflow]:
    """A function key -> Backflow, at first the identity: eta with `depth` hidden layers of `width` numbers."""
    if depth < 1 or width < 1:
        raise ValueError(f"Expected depth >= 1 and width >= 1; got depth = {depth}, width = {width}.")
    G = len(relations(cell))

    def make(key: Array) -> Backflow:
        hidden = []
        for level, k in enumerate(jax.random.split(key, depth)):
            F = width if level else cell.dim + 1
            hidden.append(Layer(random_weight(k, (G, F, width), F), jnp.zeros((G, width))))
        return Backflow(tuple(hidden), jnp.zeros((G, width)), cell)

    return make
