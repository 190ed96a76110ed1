r"""The inverse of a flow by damped Newton iteration,  R <- R - t J^{-1} [T(R) - zeta],  started at R = zeta.

T is the identity plus a periodic displacement, so zeta itself is a good start, and no coordinate has to be
wrapped. The step t is halved until the residual falls, and doubled, up to 1, after each step that succeeds.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

TOLERANCE = 64  # units of rounding of a coordinate of size L


class Inversion(NamedTuple):
    """R with T(R) = zeta where `converged`; `iterations` counts Jacobians."""

    R: Float[Array, "N dim"]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


def stop_gradient(tree):
    """Without gradients: those of expectations over |Psi|^2 are taken at fixed R (score functions), and a
    derivative through the inversion would be wrong to use there."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, tree)


def check_shape(zeta: Float[ArrayLike, "..."], R: Float[ArrayLike, "N dim"]) -> None:
    """Raises ValueError unless zeta = T(R) has the shape of R."""
    if jnp.shape(zeta) != jnp.shape(R):
        raise ValueError(
            f"Expected a flow R -> zeta of one shape, {jnp.shape(R)}; got zeta of shape {jnp.shape(zeta)}."
        )


def default_tolerance(zeta: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
    """64 rounding errors of the largest |coordinate|: 1e-13 (float64), 8e-5 (float32) at 10."""
    return TOLERANCE * jnp.finfo(zeta.dtype).eps * jnp.maximum(jnp.max(jnp.abs(zeta)), 1)


def damped_newton(
    flow,
    zeta: Float[ArrayLike, "N dim"],
    max_iterations: int = 40,
    tolerance: Float[ArrayLike, ""] | None = None,
    start=None,
) -> Inversion:
    """Solves T(R) = zeta for one configuration, to max |T(R) - zeta| <= tolerance. Constant under
    differentiation.

    flow: a Flow (pnct.flows.base), of which T and its Jacobian are used.  start: (N, dim), by default zeta.
    """
    flow, zeta, start = stop_gradient((flow, zeta, zeta if start is None else start))
    if tolerance is None:
        tolerance = default_tolerance(zeta)

    def residual(R):
        with jax.default_matmul_precision("highest"):
            image = flow(R)
        check_shape(image, zeta)
        return image - zeta

    def unfinished(state):
        _, _, size, _, iteration = state
        return (size > tolerance) & (iteration < max_iterations)

    def step(state):
        R, error, size, t, iteration = state
        with jax.default_matmul_precision("highest"):
            _, J = flow.jacobian(R)
        R_new = R - t * jnp.linalg.solve(J, error.ravel()).reshape(R.shape)
        error_new = residual(R_new)
        size_new = jnp.max(jnp.abs(error_new))
        better = size_new < size  # not so for nan
        R, error, size = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (R_new, error_new, size_new), (R, error, size)
        )
        return R, error, size, jnp.where(better, jnp.minimum(2 * t, 1), t / 2), iteration + 1

    error = residual(start)
    state = start, error, jnp.max(jnp.abs(error)), jnp.ones((), zeta.dtype), jnp.zeros((), jnp.int32)
    R, _, size, _, iterations = jax.lax.while_loop(unfinished, step, state)
    return Inversion(R, size <= tolerance, iterations)
