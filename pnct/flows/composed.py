r"""A flow of several flows, one after the other:  T = T_n ... T_2 T_1.

With y = T_1(x), zeta = T_2(y), Jacobians J_1 and J_2, and Laplacians by y along the frame J_1,

    ln|det J| = l_1(x) + l_2(y),   grad ln|det J| = grad l_1 + J_1^T grad l_2
    Lap zeta = Lap_y zeta + J_2 Lap y,   Lap ln|det J| = Lap l_1 + Lap_y l_2 + grad l_2 . Lap y

and where x has a frame C of its own, Lap of T_1 is along C and Lap_y along J_1 C.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.inverse import Inversion


class Composed(Flow):
    """T: (N, dim) -> (N, dim), the first of the flows first. In a model each is a module of its own."""

    flows: tuple[Flow, ...]

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        for flow in self.flows:
            R = flow(R)
        return R

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J = d zeta/d R, the product of the Jacobians."""
        R, J = self.flows[0].jacobian(R)
        for flow in self.flows[1:]:
            R, J_flow = flow.jacobian(R)
            J = J_flow @ J
        return R, J

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """The inverses, the last flow's first."""
        converged = jnp.ones((), bool)
        iterations = jnp.zeros((), jnp.int32)
        for flow in reversed(self.flows):
            inversion = flow.invert(zeta)
            zeta = inversion.R
            converged = converged & inversion.converged
            iterations = iterations + inversion.iterations
        return Inversion(zeta, converged, iterations)

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs, each flow along the frame of those before it."""
        T = self.flows[0].derivatives(R, frame)
        for flow in self.flows[1:]:
            T = chained(T, flow.derivatives(T.zeta, T.jacobian if frame is None else T.jacobian @ frame))
        return T


def chained(first: FlowDerivatives, then: FlowDerivatives) -> FlowDerivatives:
    """The derivatives of one flow after another."""
    return FlowDerivatives(
        then.zeta,
        then.jacobian @ first.jacobian,
        then.laplacian + then.jacobian @ first.laplacian,
        first.log_det + then.log_det,
        first.grad_log_det + then.grad_log_det @ first.jacobian,
        first.lap_log_det + then.lap_log_det + then.grad_log_det @ first.laplacian,
        first.det_sign * then.det_sign,
    )
