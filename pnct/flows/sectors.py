r"""A flow for every symmetry sector:  Psi_K(R) = Phi_K(T_Q(R)) |det dT_Q/dR|^(1/2),  Q what the determinant K
conserves:

    in a periodic cell      the total momentum P = sum_{l in K} k_l       if T(R + a) = T(R) + a
    in a trap               the angular momentum M = sum_{l in K} m_l     if T(R g) = T(R) g for rotations g
    spin-adapted            the parity under a flip F of all spins        if T(F R) = F T(R)

(the last in pnct.states.spin_adapted).

A flow with that symmetry leaves Psi_K the Q of its determinant, and states of different Q are orthogonal by
that alone. Those of one Q are orthonormal because they share T_Q. So all of them are orthonormal, and F stays
an upper bound, though T_Q depends on Q. One flow for all could not serve at once the ground state and excited
states whose electrons keep other distances.

In a cell, momenta that symmetries of the cell turn into each other share their flow
(pnct.flows.irreducible_wedge).

Every parameter of T_Q is a linear function of a few numbers c(Q), Space.sector_features. The slopes of these
functions start at zero: at first there is one flow.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.flows.base import Flow
from pnct.flows.irreducible_wedge import Conjugated
from pnct.orbitals.base import Orbitals
from pnct.orbitals.symmetry import WedgeMap
from pnct.space import Space
from pnct.states.base import States
from pnct.states.slater import as_states


class SectorFlows(eqx.Module):
    """Q -> T_Q. `flow` is that of c = 0; each array of `slopes` belongs to a parameter of `flow`, with a
    leading axis for c.
    """

    flow: Flow
    slopes: Flow
    space: Space = eqx.field(static=True)
    order: WedgeMap | None = eqx.field(static=True)

    def __call__(self, Q: Float[Array, " q"]) -> Flow:
        """The flow of the states of these quantum numbers, as `quantum_numbers` of the table gives them."""
        if self.order is None:
            return self._at(Q)
        dim = self.space.dim
        turn = self.order(Q[:dim])
        return Conjugated(self._at(jnp.concatenate([turn @ Q[:dim], Q[dim:]])), turn)

    def _at(self, Q):
        c = self.space.sector_features(Q)
        parameters, constants = eqx.partition(self.flow, eqx.is_inexact_array)
        at_Q = jax.tree.map(
            lambda x, slope: x + jnp.tensordot(c.astype(x.dtype), slope, 1), parameters, self.slopes
        )
        return eqx.combine(at_Q, constants)


def by_sector(orbitals: Orbitals | States, make: Callable[[Array], Flow]) -> Callable[[Array], SectorFlows]:
    """A function key -> SectorFlows for these states, from a function key -> flow such as
    `ferminet(cell)`.
    """
    states = as_states(orbitals)
    space = states.space
    order = states.orbitals.wedge_map()
    C = len(space.sector_features(states.quantum_numbers(np.zeros(space.N, int))))

    def make_flows(key: Array) -> SectorFlows:
        flow = make(key)
        slopes = jax.tree.map(
            lambda x: jnp.zeros((C, *x.shape), x.dtype), eqx.filter(flow, eqx.is_inexact_array)
        )
        return SectorFlows(flow, slopes, space, order)

    return make_flows
