r"""The exact local kinetic energy of Psi_K(R) = Phi_K(zeta) |det d zeta/dR|^(1/2),  zeta = T(R).

x = R in R^D, D = N dim;  J = d zeta/dx;  M = J^-1;  H_a = dJ/dx_a;  X_a = M H_a:

    g_a = d_a ln|det J| = tr X_a
    Lap ln|det J| = T1 - T2,   T1 = sum_{mu a} M_{a mu} d_a (Lap zeta_mu),   T2 = sum_a tr(X_a X_a)

    grad ln Psi = J^T s + g/2
    Lap  ln Psi = s . Lap zeta + sum_{mu mu'} S_{mu mu'} (J J^T)_{mu mu'} + (T1 - T2)/2

with s, S the gradient and Hessian of ln Phi_K. Nothing is estimated: every term is an exact derivative.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from pnct import slater


class FlowDerivatives(NamedTuple):
    """What the kinetic energy needs of a flow at one R. Coordinates are flattened electron by electron, D = N dim."""

    zeta: Float[Array, "N dim"]
    jacobian: Float[Array, "D D"]  # J
    laplacian: Float[Array, " D"]  # Lap zeta
    log_det: Float[Array, ""]  # ln|det J|
    grad_log_det: Float[Array, " D"]  # g
    lap_log_det: Float[Array, ""]  # T1 - T2
    det_sign: Float[Array, ""]


class LocalKinetic(NamedTuple):
    """ln Psi_K(R) with its gradient and Laplacian, and ln|det J| with the sign of det J."""

    log_psi: Complex[Array, ""]
    gradient: Complex[Array, "N dim"]
    laplacian: Complex[Array, ""]
    log_det_jacobian: Float[Array, ""]
    det_sign: Float[Array, ""]


def local_kinetic(orbitals, K, flow, R: Float[Array, "N dim"]) -> LocalKinetic:
    """ln Psi_K(R) and its exact derivatives. Raises ValueError if K or R does not fit the cell of the orbitals."""
    # Accelerators round the factors of float32 products to ten bits unless told otherwise.
    with jax.default_matmul_precision("highest"):
        T = flow_derivatives(flow, R)
        phi = slater.derivatives(orbitals, K, T.zeta)
        s, S, J = phi.gradient.reshape(-1), phi.hessian.reshape(T.jacobian.shape), T.jacobian

        gradient = s @ J + T.grad_log_det / 2
        laplacian = s @ T.laplacian + jnp.sum(S * (J @ J.T)) + T.lap_log_det / 2
        return LocalKinetic(phi.log_det + T.log_det / 2, gradient.reshape(R.shape), laplacian, T.log_det, T.det_sign)


def flow_derivatives(flow, R: Float[Array, "N dim"]) -> FlowDerivatives:
    """The derivatives of any flow by automatic differentiation, or by `flow.derivatives(R)` where the flow knows better."""
    if hasattr(flow, "derivatives"):
        return flow.derivatives(R)
    return generic_flow_derivatives(flow, R)


def generic_flow_derivatives(flow, R: Float[Array, "N dim"]) -> FlowDerivatives:
    """The derivatives of any smooth flow: a pass that yields J and Lap zeta, differentiated along every coordinate in turn."""
    x = R.reshape(-1)
    axes = jnp.eye(x.size, dtype=x.dtype)
    zeta = lambda x: flow(x.reshape(R.shape)).reshape(-1)  # noqa: E731

    J, laplacian = jacobian_and_laplacian(zeta, x)
    M = jnp.linalg.inv(J)
    det_sign, log_det = jnp.linalg.slogdet(J)

    def along(axis):
        _, (H_a, d_laplacian) = jax.jvp(lambda x: jacobian_and_laplacian(zeta, x), (x,), (axis,))
        X_a = M @ H_a
        return jnp.trace(X_a), T1_term(axis @ M, d_laplacian), T2_term(X_a)

    # One coordinate after another: no array larger than D^2 times the flow's own.
    g, T1, T2 = jax.lax.map(along, axes)
    return FlowDerivatives(zeta(x).reshape(R.shape), J, laplacian, log_det, g, jnp.sum(T1) - jnp.sum(T2), det_sign)


def jacobian_and_laplacian(zeta, x: Float[Array, " D"]) -> tuple[Float[Array, "D D"], Float[Array, " D"]]:
    """J_{mu nu} = d zeta_mu/dx_nu and Lap zeta_mu of a function of a vector, by first and second directional derivatives."""

    def along(axis):
        slope = lambda x: jax.jvp(zeta, (x,), (axis,))[1]  # noqa: E731
        return jax.jvp(slope, (x,), (axis,))

    J, curvature = jax.vmap(along, out_axes=(1, 1))(jnp.eye(x.size, dtype=x.dtype))
    return J, jnp.sum(curvature, axis=1)


def T1_term(M_a: Float[Array, " D"], d_a_laplacian: Float[Array, " D"]) -> Float[Array, ""]:
    """sum_mu M_{a mu} d_a (Lap zeta_mu), for one a: the only place of third derivatives."""
    return M_a @ d_a_laplacian


def T2_term(X_a: Float[Array, "D D"]) -> Float[Array, ""]:
    """tr(X_a X_a), for one a."""
    return jnp.sum(X_a * X_a.T)
