r"""Backflow:  zeta_i = r_i + sum_{j != i} sum_m eta_gm(r_ij) d_m(r_ij)

eta is a small network of the even pair features of the space (pnct/space.py, which has the directions d_m
too), with weights of its own for each spin channel g (same spin, opposite spin), so the centre of mass stays
where it is. Its last layer starts at zero, T at the identity.

Feynman, Cohen, Phys. Rev. 102, 1189 (1956); Kwon, Ceperley, Martin, Phys. Rev. B 58, 6800 (1998).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.base import Flow
from pnct.flows.pairs import along_directions, channel_pairs, displacements, pair_network
from pnct.networks.pair_mlp import PairMLP
from pnct.space import Space
from pnct.validation import checked_integer


class Backflow(Flow):
    """T: (N, dim) -> (N, dim), in the lengths of its space."""

    eta: PairMLP
    space: Space = eqx.field(static=True)

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        return R + jnp.sum(self.pair_displacement(displacements(R)), axis=1)

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J = d zeta/d R, in the order of R.ravel(). Differentiable in R and in the parameters."""
        N, dim = R.shape
        b, tangent = jax.linearize(self.pair_displacement, displacements(R))
        axes = jnp.broadcast_to(jnp.eye(dim, dtype=R.dtype)[:, None, None, :], (dim, N, N, dim))
        B = jax.vmap(tangent, out_axes=3)(axes)
        # J_ij = -B_ij and J_ii = 1 + sum_j B_ij, with B the derivative of a pair's displacement.
        own = np.eye(N)[:, :, None, None] * (np.eye(dim) + jnp.sum(B, axis=1, keepdims=True))
        return R + jnp.sum(b, axis=1), jnp.swapaxes(own - B, 1, 2).reshape(N * dim, N * dim).astype(R.dtype)

    def pair_displacement(self, r: Float[Array, "N N dim"]) -> Float[Array, "N N dim"]:
        """sum_m eta_gm(r_ij) d_m(r_ij), zero for i = j."""
        x = self.space.even_features(r, self.space.L)
        eta = sum(
            jnp.where(related[..., None], self.eta(x, g), 0)
            for g, related in enumerate(channel_pairs(self.space))
        )
        return along_directions(eta, self.space, r)


def backflow(space: Space, depth: int = 1, width: int = 16) -> Callable[[Array], Backflow]:
    """A function key -> Backflow, at first the identity, of `depth` hidden layers of `width` numbers."""
    depth = checked_integer("depth", depth, 1)
    width = checked_integer("width", width, 1)
    return lambda key: Backflow(pair_network(key, space, depth, width), space)
