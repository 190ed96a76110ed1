r"""Random-walk Metropolis: the cross-check of the exact sampler, and the sampler where there is none.

    R' = R + step xi,   xi ~ normal(0, 1),   accept with probability min(1, p(R')/p(R))

Metropolis, Rosenbluth, Rosenbluth, Teller, Teller, J. Chem. Phys. 21, 1087 (1953). All electrons move at
once. The step is adapted (Robbins, Monro 1951) during burn-in only, so that what is kept is a Markov chain
with the right distribution.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from pnct.validation import checked_integer

TARGET_ACCEPTANCE = 0.5


class MetropolisState(NamedTuple):
    position: Float[Array, "N dim"]
    log_prob: Float[Array, ""]


class MetropolisInfo(NamedTuple):
    acceptance_probability: Float[Array, ""]
    is_accepted: Bool[Array, ""]


def init(position: Float[Array, "N dim"], log_prob_fn: Callable) -> MetropolisState:
    """The state of a chain that starts at `position`."""
    return MetropolisState(position, log_prob_fn(position))


def kernel(
    key: Key[Array, ""], state: MetropolisState, log_prob_fn: Callable, step_size: Float[Array, ""]
) -> tuple[MetropolisState, MetropolisInfo]:
    """One all-electron move of one chain. A proposal whose log-probability is nan is rejected."""
    move_key, accept_key = jax.random.split(key)
    shape = state.position.shape
    dtype = state.position.dtype
    proposal = init(state.position + step_size * jax.random.normal(move_key, shape, dtype), log_prob_fn)

    ratio = proposal.log_prob - state.log_prob
    probability = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(ratio), -jnp.inf, ratio), 0.0))
    accepted = jax.random.uniform(accept_key, dtype=probability.dtype) < probability
    new = jax.tree.map(lambda a, b: jnp.where(accepted, a, b), proposal, state)
    return new, MetropolisInfo(probability, accepted)


def adapted(log_step: Float[Array, ""], acceptance: Float[Array, ""], i) -> Float[Array, ""]:
    """The logarithm of the step size after move i = 0, 1, ... of burn-in."""
    return log_step + ((acceptance - TARGET_ACCEPTANCE) / (1.0 + i) ** 0.6).astype(log_step.dtype)


def metropolis(
    key: Key[Array, ""],
    log_prob: Callable,
    initial: Float[Array, "C N dim"],
    num_samples: int,
    thin: int = 10,
    burn_in: int = 500,
    step_size: float = 0.1,
    chunk_size: int | None = None,
) -> tuple[Float[Array, "C S N dim"], Float[Array, ""]]:
    """num_samples of each of C chains, one every `thin` moves after `burn_in` moves. Returns (samples,
    acceptance).

    log_prob: (N, dim) -> scalar, for example `born.log_prob`. Coordinates are not wrapped into the cell.
    step_size: first standard deviation of a move, in the units of the coordinates; all chains share it, and
    burn-in adapts it towards an acceptance of 50 %. chunk_size: chains that are moved at once; by default
    all. Samples are correlated: errors need `diagnostics.chain_estimate`.
    """
    if jnp.ndim(initial) != 3:
        raise ValueError(f"Expected initial of shape (chains, N, dim); got {jnp.shape(initial)}.")
    if num_samples < 1 or thin < 1 or burn_in < 0 or not step_size > 0:
        got = f"{num_samples}, {thin}, {burn_in}, {step_size}"
        raise ValueError(f"Expected num_samples >= 1, thin >= 1, burn_in >= 0, step_size > 0; got {got}.")
    initial = jnp.asarray(initial)
    at_once = len(initial) if chunk_size is None else checked_integer("chunk_size", chunk_size, 1)

    def each(f, *chains):
        return jax.lax.map(lambda x: f(*x), chains, batch_size=at_once)

    finite = jnp.isfinite(jax.jit(lambda initial: each(log_prob, initial))(initial))
    if not jnp.all(finite):
        count = f"{jnp.sum(finite)} of {len(finite)}"
        raise ValueError(f"Expected a finite log_prob at the start of every chain; got {count}.")

    def move(states, key, step):
        keys = jax.random.split(key, initial.shape[0])
        states, info = each(lambda k, s: kernel(k, s, log_prob, step), keys, states)
        return states, jnp.mean(info.acceptance_probability)

    def adapt(carry, x):
        states, log_step = carry
        i, key = x
        states, acceptance = move(states, key, jnp.exp(log_step))
        return (states, adapted(log_step, acceptance, i)), None

    def sample(states, key, step):
        states, acceptance = jax.lax.scan(lambda s, k: move(s, k, step), states, jax.random.split(key, thin))
        return states, (states.position, jnp.mean(acceptance))

    @jax.jit
    def run(key, initial):
        states = each(lambda R: init(R, log_prob), initial)
        burn_key, sample_key = jax.random.split(key)
        steps = jnp.arange(burn_in, dtype=initial.dtype), jax.random.split(burn_key, burn_in)
        first = states, jnp.log(jnp.asarray(step_size, initial.dtype))
        (states, log_step), _ = jax.lax.scan(adapt, first, steps)
        keys = jax.random.split(sample_key, num_samples)
        _, (R, acceptance) = jax.lax.scan(lambda s, k: sample(s, k, jnp.exp(log_step)), states, keys)
        return jnp.moveaxis(R, 0, 1), jnp.mean(acceptance)

    return run(key, initial)
