r"""Symmetries of a cell that relate orbitals: exchanges and reflections g of its axes, and the one that
orders a momentum,

    g P with |P_x| >= |P_y| >= |P_z|,

P modulo N reciprocal-lattice vectors (that is the motion of the centre of mass). Only symmetries of the table
are used: reflections of an axis where the twist is 0 or 1/2, exchanges where it is the same along all axes.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.space import Cell

ROUNDING = 1e-4  # in units of 2 pi/L: momenta that differ by less are equal


class WedgeMap(NamedTuple):
    """P -> g, with which gP is ordered. exchanges, reflections: which symmetries there are."""

    exchanges: bool
    reflections: bool
    unit: float  # of P: 2 pi/L
    period: int  # N

    def __call__(self, P: Float[Array, " dim"]) -> Int[Array, "dim dim"]:
        """An orthogonal matrix of entries 0, 1 and -1."""
        p = P / self.unit
        p = p - self.period * jnp.round(p / self.period - ROUNDING)
        signs = jnp.where(p < -ROUNDING, -1, 1) if self.reflections else jnp.ones(p.shape, int)
        order = (
            jnp.argsort(-jnp.round(signs * p / ROUNDING), stable=True)
            if self.exchanges
            else jnp.arange(len(p))
        )
        return (jnp.eye(len(p), dtype=int) * signs)[order]


def wedge_map(twist: Float[np.ndarray, " dim"], space: Cell) -> WedgeMap:
    """For the symmetries of the plane waves of this twist; it counts modulo 1."""
    twist = np.mod(np.round(twist, 9), 1)
    even = bool(np.all(np.isin(twist, (0, 0.5))))
    return WedgeMap(bool(np.all(twist == twist[0])), even, 2 * np.pi / space.L, space.N)
