"""One training step: its state, what it reports, and how the parameters move, or half of the last move is taken back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pnct.inference.optimisation.gradients import total, weighted_mean
from pnct.inference.sampling.sites import Params
from pnct.inference.training import failures

AVERAGED_SHARE = 8  # the average reaches back over about the last eighth of all steps
MAX_BACKTRACKS = 4  # of an update that folds the flow


class TrainState(NamedTuple):
    """All that a step needs: the next step's numbers follow from it alone.

    average: the mean of the parameters over the last steps, in which the noise of single steps cancels
    (Polyak, Juditsky, SIAM J. Control Optim. 30, 838 (1992)).
    """

    params: Params
    average: Params
    opt_state: Any
    key: jax.Array
    step: jax.Array
    last_update: Params  # the last update of the parameters of ln Psi, as far as it stands
    backtracks_left: (
        jax.Array
    )  # how many more times half of it may be taken back; 0 where the flow was folded before it


class Info(NamedTuple):
    """One training step's batch means: totals, hartree and k_B, before the update."""

    free_energy: jax.Array
    free_energy_error: jax.Array
    energy: jax.Array
    kinetic: jax.Array
    potential: jax.Array
    entropy: jax.Array
    smallest_log_det: jax.Array  # of |det J|
    num_negative_det: jax.Array
    num_failed: jax.Array  # walkers left out because a number was not finite
    num_not_inverted: jax.Array  # walkers drawn by Metropolis, because no inverse of the flow was found
    failed_walker: (
        jax.Array
    )  # the first walker of either kind, -1 where there is none; the next three tell of it
    failed_stage: jax.Array  # where it failed, see faults.stages
    failed_K: jax.Array  # (N,)
    failed_distance: jax.Array  # smallest pair distance
    backtracked: (
        jax.Array
    )  # True where half of the last update was taken back, because it had folded the flow
    updated: jax.Array  # False where the update was not finite and so not made


def apply_update(
    state: TrainState, updates: Params, opt_state, key, quantum_params, finite, folded
) -> tuple[TrainState, jax.Array]:
    """The next state, and whether half of the last update was taken back instead of making a new one. For use
    in jit.

    finite: whether the updates are; they are not made otherwise.  folded: whether a walker showed that the
    flow is not one-to-one. Then the walkers have another law, and a gradient from them leads further astray:
    where the flow was sound before the last update, half of that is taken back, up to HALVINGS times.
    Parameters of p(K) alone fold nothing.
    """
    backtracked = folded & (state.backtracks_left > 0)

    def choose(test, a, b):
        return jax.tree.map(lambda x, y: jnp.where(test, x, y), a, b)

    def keep(new, old):
        return choose(finite & ~backtracked, new, old)

    half = jax.tree.map(lambda m: 0.5 * m, state.last_update)
    made = {
        name: keep(updates[name], old) if name in quantum_params else old
        for name, old in state.last_update.items()
    }
    params = keep(optax.apply_updates(state.params, updates), state.params)
    params = choose(backtracked, jax.tree.map(jnp.subtract, params, half), params)

    share = jnp.minimum(1.0, AVERAGED_SHARE / (state.step + 1.0))
    average = jax.tree.map(lambda a, p: a + (share * (p - a)).astype(a.dtype), state.average, params)
    backtracks_left = jnp.where(folded, jnp.maximum(state.backtracks_left - 1, 0), MAX_BACKTRACKS)
    opt_state = keep(opt_state, state.opt_state)
    last_update = choose(backtracked, half, made)
    return TrainState(
        params, average, opt_state, key, state.step + 1, last_update, backtracks_left
    ), backtracked


def step_info(walker, sites, temperature, stage, backtracked, updated) -> Info:
    valid = stage == failures.SOUND
    energy = (walker.kinetic + walker.potential).real
    free_energy = temperature * walker.log_prob + energy
    weight = jnp.where(valid, walker.weight, 0.0)
    mean = weighted_mean(free_energy, weight)
    count = jnp.maximum(jnp.sum(valid), 2)
    variance = jnp.sum(jnp.where(valid, (weight * (free_energy - mean)) ** 2, 0.0)) / total(weight) ** 2
    where, replaced = failures.first_failures_or_replaced(sites, walker, stage)
    first = jnp.argmax(where != failures.SOUND)
    return Info(
        free_energy=mean,
        free_energy_error=jnp.sqrt(variance * count / (count - 1)),
        energy=weighted_mean(energy, weight),
        kinetic=weighted_mean(walker.kinetic.real, weight),
        potential=weighted_mean(walker.potential, weight),
        entropy=-weighted_mean(walker.log_prob, weight),
        smallest_log_det=jnp.min(jnp.where(valid, walker.log_det_jacobian, jnp.inf)),
        num_negative_det=jnp.sum(valid & (walker.det_sign <= 0)),
        num_failed=jnp.sum(~valid),
        num_not_inverted=jnp.sum(replaced),
        failed_walker=jnp.where(where[first] == failures.SOUND, -1, first),
        failed_stage=where[first],
        failed_K=walker.K[first],
        failed_distance=walker.smallest_distance[first],
        backtracked=backtracked,
        updated=updated,
    )
