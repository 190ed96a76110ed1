"""J = d zeta/d R of any flow: by the flow's own structured method where it has one, else by forward differentiation."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float


def jacobian(flow: Callable, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
    """zeta = T(R) and J[mu, nu] = d zeta_mu/d R_nu with mu, nu in the order of R.ravel(), D = N dim."""
    if hasattr(flow, "jacobian"):
        return flow.jacobian(R)
    zeta, tangent = jax.linearize(flow, R)
    directions = jax.numpy.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
    return zeta, jax.vmap(tangent, out_axes=-1)(directions).reshape(R.size, R.size)
