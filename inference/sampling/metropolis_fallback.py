r"""Electrons where the flow has no inverse that could be found: Metropolis on |Psi_K|^2, from the nearest
point.

The iteration for T(R) = zeta, zeta ~ |Phi_K|^2, ends where T(R) is nearest to zeta; MOVES all-electron moves
lead from there to a sample of |Psi_K|^2. These are the only walkers that come from a Markov chain, and they
are counted. K stays what was drawn: leaving such a walker out would take its state from p(K), and spoil the
entropy too.

A share p of such walkers still shifts a mean of functions of R, by about p times the difference between the
electrons that could not be found and those in their place; and where the flow is not one-to-one, |Psi_K|^2
counts every R with T(R) = zeta, while the exact sampler finds one of them. So it is a remedy for few walkers,
and no licence to fold.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from pnct.distributions.base import Measured
from pnct.inference.sampling.metropolis import MetropolisState, adapted, kernel

MOVES = 200
STEP_SIZE = 0.1  # of the first move, in the units of x


def metropolis_if_not_exact(
    key: Key[Array, ""], measured: Measured, x: Float[Array, "..."], is_exact: Bool[Array, ""] | bool
) -> Float[Array, "..."]:
    """x where the draw was exact, else the end of a chain that starts there; nan where that finds no |Psi|^2
    > 0.
    """
    if is_exact is True:
        return x
    dtype = x.dtype

    def log_prob(x):
        return measured.log_prob(x).astype(dtype)

    def move(i, carry):
        state, log_step = carry
        state, info = kernel(jax.random.fold_in(key, i), state, log_prob, jnp.exp(log_step))
        return state, adapted(log_step, info.acceptance_probability, i)

    # From log p = -inf the first move with a number is accepted, so that |Psi|^2 is compiled once.
    start = (
        MetropolisState(x, jnp.asarray(-jnp.inf, dtype)),
        jnp.log(jnp.asarray(STEP_SIZE, dtype)),
    )
    state, _ = jax.lax.fori_loop(0, jnp.where(is_exact, 0, MOVES), move, start)
    return jnp.where(is_exact | jnp.isfinite(state.log_prob), state.position, jnp.nan)
