"""A small smooth flow with random weights: periodic, equivariant, not the identity. For tests, no model."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.flows import Flow
from pnct.orbitals.plane_waves import Cell


class SmallFlow(Flow):
    """zeta_i = r_i + sum_{j != i} tanh(features(r_ij) A) B, one A for like, one for unlike electrons."""

    A: Float[np.ndarray, "2 2dim H"]
    B: Float[np.ndarray, "H dim"]
    space: Cell = eqx.field(static=True)

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        angle = (2 * np.pi / self.space.L) * (R[:, None] - R[None, :])
        features = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        down = np.arange(self.space.N) >= self.space.num_electrons[0]
        like = (down[:, None] == down[None, :])[..., None]
        z = jnp.where(like, features @ self.A[0].astype(R.dtype), features @ self.A[1].astype(R.dtype))
        others = ~np.eye(self.space.N, dtype=bool)[..., None]
        return R + jnp.sum(jnp.where(others, jnp.tanh(z), 0), axis=1) @ self.B.astype(R.dtype)


def small_flow(space: Cell, seed: int = 0, size: float = 0.3) -> SmallFlow:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(2, 2 * space.dim, 5)) / np.sqrt(2 * space.dim)
    return SmallFlow(A, size * rng.normal(size=(5, space.dim)) / space.N, space)


def random_positions(space: Cell, seed: int = 0) -> Float[np.ndarray, "N dim"]:
    return np.random.default_rng(seed).uniform(0, space.L, (space.N, space.dim))
