r"""The derivatives of a flow zeta = T(R) that the kinetic energy needs, by automatic differentiation.

x = R in R^D, D = N dim;  J = d zeta/dx;  M = J^-1;  X_a = M d_a J.  One second-order jet of J along every
axis a gives

    g_a = d_a ln|det J| = tr X_a
    Lap ln|det J| = T1 - T2,   T1 = sum_a tr(M d_a^2 J),   T2 = sum_a tr(X_a X_a)
    Lap zeta_mu   = sum_a d_a J_{mu a}

T1 is also sum M_{nu mu} d_nu (Lap zeta_mu): third derivatives of the flow enter here only.

Where x is itself the image of another flow, of Jacobian C, all these sums over a run over the columns of C
instead, with X_c = sum_a X_a C_ac and so on: the Laplacians are then Lap = sum_c (C_c . grad)^2 at fixed C,
along the frame C.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class FlowDerivatives(NamedTuple):
    """What the kinetic energy needs of a flow at one R. Coordinates are flattened electron by electron, D = N
    dim.
    """

    zeta: Float[Array, "N dim"]
    jacobian: Float[Array, "D D"]  # J
    laplacian: Float[Array, " D"]  # Lap zeta, by R or along a frame
    log_det: Float[Array, ""]  # ln|det J|
    grad_log_det: Float[Array, " D"]  # g
    lap_log_det: Float[Array, ""]  # T1 - T2, likewise
    det_sign: Float[Array, ""]


def flow_derivatives(
    flow, R: Float[Array, "N dim"], frame: Float[Array, "D D"] | None = None
) -> FlowDerivatives:
    """The derivatives of any flow, by its own method where it has one: `derivatives`, or `derivatives_along`
    a frame.
    """
    if frame is None:
        return flow.derivatives(R) if hasattr(flow, "derivatives") else automatic_derivatives(flow, R)
    return (
        flow.derivatives_along(R, frame)
        if hasattr(flow, "derivatives_along")
        else automatic_derivatives(flow, R, frame)
    )


def automatic_derivatives(
    flow, R: Float[Array, "N dim"], frame: Float[Array, "D D"] | None = None
) -> FlowDerivatives:
    """The derivatives of any smooth flow, at a few D times the cost of `jacobian`. frame: by default the
    coordinates.
    """
    zeta, J = jacobian(flow, R)
    M = jnp.linalg.inv(J)

    def along(axis):
        def slope(R):
            return jax.jvp(lambda R: jacobian(flow, R)[1], (R,), (axis,))[1]

        d_J, dd_J = jax.jvp(slope, (R,), (axis,))
        X = M @ d_J
        return d_J @ axis.reshape(-1), jnp.trace(X), jnp.sum(M.T * dd_J), jnp.sum(X * X.T)

    # One axis after another: no array is larger than D^2 times what the Jacobian takes.
    axes = jnp.eye(R.size, dtype=R.dtype) if frame is None else frame.T
    d_aJ_a, g, T1, T2 = jax.lax.map(along, axes.reshape(R.size, *R.shape))
    g = g if frame is None else jnp.linalg.solve(axes, g)
    det_sign, log_det = jnp.linalg.slogdet(J)
    return FlowDerivatives(zeta, J, jnp.sum(d_aJ_a, axis=0), log_det, g, jnp.sum(T1) - jnp.sum(T2), det_sign)


def forward_and_log_det(
    flow: Callable, R: Float[Array, "N dim"]
) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
    """zeta = T(R) and ln|det d zeta/d R|; by the flow's own method where it has one."""
    with jax.default_matmul_precision("highest"):
        if hasattr(flow, "forward_and_log_det"):
            return flow.forward_and_log_det(R)
        zeta, J = jacobian(flow, R)
        return zeta, jnp.linalg.slogdet(J)[1]


def jacobian(flow: Callable, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
    """zeta = T(R) and J[mu, nu] = d zeta_mu/d R_nu with mu, nu in the order of R.ravel(), D = N dim."""
    # Accelerators round the factors of float32 products to ten bits unless told otherwise.
    with jax.default_matmul_precision("highest"):
        if hasattr(flow, "jacobian"):
            return flow.jacobian(R)
        zeta, tangent = jax.linearize(flow, R)
        directions = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
        return zeta, jax.vmap(tangent, out_axes=-1)(directions).reshape(R.size, R.size)
