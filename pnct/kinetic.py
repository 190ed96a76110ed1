r"""The exact local kinetic energy of Psi_K(R) = Phi_K(zeta) |det J|^(1/2),  zeta = T(R),  J = d zeta/dR.

With s, S the gradient and the Hessian of ln Phi_K at zeta, and g, T1 - T2 the gradient and the Laplacian of
ln|det J|,

    grad ln Psi = J^T s + g/2
    Lap  ln Psi = s . Lap zeta + sum_{mu mu'} S_{mu mu'} (J J^T)_{mu mu'} + (T1 - T2)/2

Nothing is estimated: every term is an exact derivative.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact

from pnct.flows.base import Flow
from pnct.states.base import States


class LocalKinetic(NamedTuple):
    """ln Psi_K(R) with its gradient and Laplacian, and ln|det J| with the sign of det J."""

    log_psi: Complex[Array, ""]
    gradient: Inexact[Array, "N dim"]
    laplacian: Inexact[Array, ""]
    log_det_jacobian: Float[Array, ""]
    det_sign: Float[Array, ""]


def local_kinetic(states: States, K, flow: Flow, R: Float[ArrayLike, "N dim"]) -> LocalKinetic:
    """ln Psi_K(R) and its exact derivatives. Raises ValueError if K or R does not fit the space of
    the states.
    """
    # Accelerators round the factors of float32 products to ten bits by default.
    with jax.default_matmul_precision("highest"):
        T = flow.derivatives(R)
        phi = states.derivatives(K, T.zeta)
        s = phi.gradient.reshape(-1)
        S = phi.hessian.reshape(T.jacobian.shape)
        J = T.jacobian

        gradient = s @ J + T.grad_log_det / 2
        laplacian = s @ T.laplacian + jnp.sum(S * (J @ J.T)) + T.lap_log_det / 2
        log_psi = phi.log_amplitude + T.log_det / 2
        return LocalKinetic(log_psi, gradient.reshape(R.shape), laplacian, T.log_det, T.det_sign)
