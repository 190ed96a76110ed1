r"""The inverse of a flow by damped Newton iteration,  R <- R - t J^{-1} [T(R) - zeta],  started at R = zeta.

T is the identity plus a periodic displacement, so zeta itself is a good start, and no coordinate has to be
wrapped. The step t is halved until the residual falls, and doubled, up to 1, after each step that succeeds.

While the residual f falls fast, J^{-1} is not computed anew, but corrected by what the last step d changed,
y = f(R + d) - f(R):

    B <- B + (d - B y) d^T B/(d^T B y),    then  B y = d

which costs no more than T itself. As soon as a step gains less, J is computed at the best R so far, and all
is Newton's again: the same roots, and the same walkers without one.

C. G. Broyden, Math. Comput. 19, 577 (1965).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

TOLERANCE = 64  # units of rounding of a coordinate of size L
ENOUGH = 0.25  # of the residual: a step that leaves more calls for a Jacobian


class Inversion(NamedTuple):
    """R with T(R) = zeta where `converged`; `iterations` counts Jacobians."""

    R: Float[Array, "N dim"]
    converged: Bool[Array, ""]
    iterations: Int[Array, ""]


class Point(NamedTuple):
    """R, f = T(R) - zeta, and max |f|."""

    R: Float[Array, "N dim"]
    error: Float[Array, "N dim"]
    size: Float[Array, ""]


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

    def at(R):
        with jax.default_matmul_precision("highest"):
            image = flow(R)
        check_shape(image, zeta)
        error = image - zeta
        return Point(R, error, jnp.max(jnp.abs(error)))

    def unfinished(state):
        point, _, iteration = state
        return (point.size > tolerance) & (iteration < max_iterations)

    def newton_step(state):
        point, t, iteration = state
        with jax.default_matmul_precision("highest"):
            _, J = flow.jacobian(point.R)
        start = point, t, jnp.linalg.inv(J), jnp.ones((), bool)
        point, t, _, _ = jax.lax.while_loop(is_fast, quasi_newton_step, start)
        return point, t, iteration + 1

    def is_fast(state):
        point, _, _, fast = state
        return fast & (point.size > tolerance)

    def quasi_newton_step(state):
        point, t, B, _ = state
        with jax.default_matmul_precision("highest"):
            d = -t * (B @ point.error.ravel())
        new = at(point.R + d.reshape(zeta.shape))
        better = new.size < point.size  # not so for nan
        fast = new.size < ENOUGH * point.size
        with jax.default_matmul_precision("highest"):
            By, dB = B @ (new.error - point.error).ravel(), d @ B
            B = B + jnp.outer((d - By) / (d @ By), dB)
        point = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, point)
        return point, jnp.where(better, jnp.minimum(2 * t, 1), t / 2), B, fast

    start = at(start), jnp.ones((), zeta.dtype), jnp.zeros((), jnp.int32)
    point, _, iterations = jax.lax.while_loop(unfinished, newton_step, start)
    return Inversion(point.R, point.size <= tolerance, iterations)
