r"""One flow for every total angular momentum:  Psi_K(R) = Phi_K(T_M(R)) |det dT_M/dR|^(1/2),  M = sum_{l in K} m_l.

A continuous flow commutes with rotations and reflections of the plane, so Psi_K has the M of its determinant whatever the flow,
and states of different M are orthogonal by symmetry alone. Those of one M are orthonormal because they share T_M. So the Psi_K
remain orthonormal, and F an upper bound, with a flow that depends on M; what one flow for all cannot do is serve, at once, the
ground state and an excited state whose electrons keep another distance from each other.

The parameters of T_M are theta + sum_b c_b theta_b with

    c = [|M|/(1 + |M|),  M mod 2]

which vanish at M = 0, and are the same for M and -M, so that time reversal stays a symmetry. theta_b = 0 at first: one flow.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.flows.centres import separated_centres
from pnct.flows.continuous import continuous

FEATURES = 2


class AngularMomentumFlows(eqx.Module):
    """K -> T_M, a flow like `flow`, which is that of M = 0. `changes`: theta_b, each leaf with a leading axis b."""

    flow: Callable
    changes: Callable
    angular_momenta: Int[np.ndarray, " M"]

    def __call__(self, K: Int[Array, " N"]) -> Callable:
        c = self.features(K)
        moved = lambda x, change: x + jnp.tensordot(c.astype(x.dtype), change, 1)  # noqa: E731
        return jax.tree.map(moved, self.flow, self.changes)

    def features(self, K: Int[Array, " N"]) -> Float[Array, " C"]:
        """c of the total angular momentum of K."""
        M = jnp.abs(jnp.sum(jnp.asarray(self.angular_momenta)[K]))
        return jnp.stack([M / (1 + M), M % 2])


def by_angular_momentum(trap, depth: int = 2, width: int = 16, steps: int = 12) -> Callable[[Array], Callable]:
    """A function key -> (K -> flow) for the orbitals of a trap: a continuous flow and separated centres.

    In three dimensions, where the orbitals of a trap have no angular momentum, it is one flow for all K.
    """
    make, m = separated_centres(trap.cell, continuous(trap.cell, depth, width, steps)), trap.orbitals.angular_momenta

    def make_flows(key: Array) -> AngularMomentumFlows:
        flow = make(key)
        changes = jax.tree.map(lambda x: jnp.zeros((FEATURES, *x.shape), x.dtype), flow)
        return AngularMomentumFlows(flow, changes, np.zeros(len(trap.orbitals), int) if m is None else m)

    return make_flows
