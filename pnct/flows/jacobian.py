"""J = d zeta/d R of any flow: by the flow's own structured method where it has one, else by forward differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def forward_and_log_det(flow: Callable, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
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
