r"""A flow for every total momentum:  Psi_K(R) = Phi_K(T_P(R)) |det dT_P/dR|^(1/2),  P = sum_{l in K} k_l.

A flow of pair distances commutes with a shift of all electrons, T(R + a) = T(R) + a, so Psi_K has the total momentum of its
determinant, and states of different P are orthogonal by that alone. Those of one P are orthonormal because they share T_P. So
all of them are orthonormal, and F stays an upper bound, though T_P depends on P. One flow for all could not serve at once the
ground state and excited states whose electrons avoid each other elsewhere.

Every parameter of T_P is a linear function of

    c = [1 - cos(P_b L/N),  sin(P_b L/N)]        for each axis b,

numbers that do not change when all electrons gain one reciprocal-lattice vector 2 pi/L, which only moves the centre of mass,
and that are 0 at P = 0. The slopes of these functions start at zero: at first there is one flow.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pnct.flows.ferminet import FermiNet
from pnct.space import Cell


class MomentumFlows(eqx.Module):
    """P -> T_P. `flow` is that of c = 0; each array of `slopes` belongs to one of `flow`, with a leading axis (2 dim,) for c."""

    flow: FermiNet
    slopes: FermiNet

    def __call__(self, P: Float[Array, " dim"]) -> FermiNet:
        """The flow of the states of total momentum P, in units of 1/(r_s a_0), as PlaneWaves.total_momentum gives it."""
        dtype, cell = self.flow.out.dtype, self.flow.cell
        angle = jnp.asarray(P, dtype) * (cell.L / cell.N)
        c = jnp.concatenate([1 - jnp.cos(angle), jnp.sin(angle)])
        return jax.tree.map(lambda x, slope: x + jnp.tensordot(c, slope, 1), self.flow, self.slopes)


def by_momentum(make: Callable[[Array], FermiNet]) -> Callable[[Array], MomentumFlows]:
    """A function key -> MomentumFlows from one that makes a FermiNet of a cell, as `ferminet` does. At first all T_P are that."""

    def make_flows(key: Array) -> MomentumFlows:
        flow = make(key)
        if not isinstance(flow, FermiNet) or not isinstance(flow.cell, Cell):
            raise ValueError(f"Expected a function key -> FermiNet of a periodic cell; got one to {flow!r}.")
        return MomentumFlows(flow, jax.tree.map(lambda x: jnp.zeros((2 * flow.cell.dim, *x.shape), x.dtype), flow))

    return make_flows
