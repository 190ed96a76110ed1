r"""A flow for every total momentum:  Psi_K(R) = Phi_K(T_P(R)) |det dT_P/dR|^(1/2),  P = sum_{l in K} k_l.

A flow of pair distances commutes with a shift of all electrons, T(R + a) = T(R) + a, so Psi_K has the total momentum of its
determinant, and states of different P are orthogonal by that alone. Those of one P are orthonormal because they share T_P. So
all of them are orthonormal, and F stays an upper bound, though T_P depends on P. One flow for all could not serve at once the
ground state and excited states whose electrons avoid each other elsewhere.

T_P is a FermiNet whose biases and W_out are linear functions of

    c = [1 - cos(P_b L/N),  sin(P_b L/N)]        for each axis b,

numbers that do not change when all electrons gain one reciprocal-lattice vector 2 pi/L, which only moves the centre of mass,
and that are 0 at P = 0. The slopes of these functions start at zero: at first there is one flow.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pnct.flows.ferminet import FermiNet
from pnct.space import Cell


class MomentumFlows(eqx.Module):
    """P -> T_P. The slopes in c, with a leading axis (2 dim,): of the biases of both streams, layer by layer, and of W_out."""

    flow: FermiNet  # that of c = 0
    biases: tuple[Float[Array, "C ..."], ...]
    out: Float[Array, "C H dim"]

    def __call__(self, P: Float[Array, " dim"]) -> FermiNet:
        """The flow of the states of total momentum P, in units of 1/(r_s a_0), as PlaneWaves.total_momentum gives it."""
        dtype, cell = self.flow.out.dtype, self.flow.cell
        angle = jnp.asarray(P, dtype) * (cell.L / cell.N)
        c = jnp.concatenate([1 - jnp.cos(angle), jnp.sin(angle)])
        moved = [x + jnp.tensordot(c, slope, 1) for x, slope in zip(_at_P(self.flow), (*self.biases, self.out), strict=True)]
        return eqx.tree_at(_at_P, self.flow, moved)


def _at_P(flow: FermiNet) -> tuple[Array, ...]:
    """What depends on P: the biases and W_out."""
    return (*(layer.bias for layer in flow.single), *(layer.bias for layer in flow.pair), flow.out)


def by_momentum(make: Callable[[Array], FermiNet]) -> Callable[[Array], MomentumFlows]:
    """A function key -> MomentumFlows from one that makes a FermiNet of a cell, as `ferminet` does. At first all T_P are that."""

    def make_flows(key: Array) -> MomentumFlows:
        flow = make(key)
        if not isinstance(flow, FermiNet) or not isinstance(flow.cell, Cell):
            raise ValueError(f"Expected a function key -> FermiNet of a periodic cell; got one to {flow!r}.")
        *biases, out = [jnp.zeros((2 * flow.cell.dim, *x.shape), x.dtype) for x in _at_P(flow)]
        return MomentumFlows(flow, tuple(biases), out)

    return make_flows
