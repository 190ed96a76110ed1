r"""One training step:  walkers, the gradient of F from their scores, an update, or half of the last one taken
back.

    state, info = training_step(...)

The next state follows from the state alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from pnct.compilation import compiled, computed_once
from pnct.inference.optimisation.gradients import (
    classical_scores,
    gradient,
    mean_over_walkers,
    measured_scores,
    residual_clip,
    total,
    weighted_mean,
)
from pnct.inference.sampling.batch import Batching, WalkerBatch, draw_batch
from pnct.inference.sampling.local_energy import hamiltonian_of
from pnct.inference.sampling.parallel import gathered
from pnct.inference.sampling.sites import Params, Sites, transforms
from pnct.inference.sampling.unconstrained import to_constrained, to_unconstrained
from pnct.inference.training.failures import (
    FINITE,
    first_failures,
    first_failures_or_replaced,
    folded,
)

AVERAGED_SHARE = 8  # the average reaches back over about the last eighth of all steps
MAX_BACKTRACKS = 4  # of an update that folds the flow


class TrainState(NamedTuple):
    """All that a step needs: the next step's numbers follow from it alone.

    average: the mean of the parameters over the last steps, in which the noise of single steps cancels
    (Polyak, Juditsky, SIAM J. Control Optim. 30, 838 (1992)).
    last_update: of the parameters that changes of variables depend on, as far as it stands.
    Parameters and their average obey their constraints; opt_state and last_update are of unconstrained ones.
    backtracks_left: how many more times half of it may be taken back; 0 where there was a fold before it.
    """

    params: Params
    average: Params
    opt_state: Any
    key: jax.Array
    step: jax.Array
    last_update: Params
    backtracks_left: jax.Array


def checked_state(state) -> TrainState:
    """Raises ValueError unless it is a TrainState."""
    if not isinstance(state, TrainState):
        raise ValueError(
            f"Expected a TrainState, such as `result.state`; got a {type(state).__name__}. To begin at other "
            "parameters: vfe.init(key, ...)._replace(params=params, average=params)."
        )
    return state


class Info(NamedTuple):
    """One training step's batch means: totals in the Hamiltonian's unit and k_B, before the update.

    failed_walker: the first walker that failed or was replaced, -1 where there is none; failed_stage says
    where (see failures.stages), failed_label in which state, failed_closeness how near its particles were.
    """

    free_energy: jax.Array
    free_energy_error: jax.Array
    energy: jax.Array
    kinetic: jax.Array
    potential: jax.Array
    entropy: jax.Array
    smallest_log_det: jax.Array  # of |det J|; inf where nothing has one
    num_negative_det: jax.Array
    num_failed: jax.Array  # walkers left out because a number was not finite
    num_not_inverted: jax.Array  # walkers drawn by Metropolis, because no inverse of the flow was found
    failed_walker: jax.Array
    failed_stage: jax.Array
    failed_label: jax.Array  # (n,)
    failed_closeness: jax.Array
    backtracked: (
        jax.Array
    )  # True where half of the last update was taken back, because it had folded the flow
    updated: jax.Array  # False where the update was not finite and so not made


def training_step(
    model: Callable,
    sites: Sites,
    hamiltonian: Callable,
    optim: optax.GradientTransformationExtraArgs,
    batching: Batching,
    state: TrainState,
    args: tuple,
) -> tuple[TrainState, Info]:
    """One step: draws the walkers, estimates F and its gradient, and moves the parameters.

    Its parts are programs of their own, see draw_batch.
    """
    key = walkers_key(state.key)
    walkers = draw_batch(model, sites, hamiltonian, state.params, args, key, batching, scores=True)
    return moved(model, sites, hamiltonian, optim, batching.mesh, state, args, walkers)


@jax.jit
def walkers_key(key):
    """The key of the walkers of a step, from that of its state."""
    return jax.random.split(key)[1]


@compiled
def moved(model, sites, made, optim, mesh, state: TrainState, args, walkers: WalkerBatch):
    """The next state, and what its walkers told. Every device has all of both.

    Parameters with a constraint are moved in the unconstrained space, where the model is one of u.
    """
    hamiltonian = hamiltonian_of(made, args)
    maps = transforms(model, sites, state.params, args)
    state = state._replace(
        params=to_unconstrained(maps, state.params), average=to_unconstrained(maps, state.average)
    )
    key = jax.random.split(state.key)[0]
    stage = first_failures(sites, walkers)
    valid = stage == FINITE
    scores = scores_of(walkers, sites, hamiltonian, valid)

    grads = jax.tree.map(jnp.zeros_like, state.params)
    for block in scores.values():
        for name, g in gradient(block).items():
            flat, unravel = ravel_pytree(grads[name])
            grads[name] = unravel(flat + g.astype(flat.dtype))
    value = weighted_mean(
        (hamiltonian.temperature * walkers.log_prob + walkers.energy.real) / hamiltonian.energy_scale,
        jnp.where(valid, walkers.weight, 0.0),
    )
    updates, opt_state = optim.update(
        grads, state.opt_state, state.params, scores=scores, value=value, grad=grads
    )
    finite = jnp.all(jnp.isfinite(ravel_pytree(updates)[0])) & jnp.any(valid)
    movable = {*sites.measured_params, *sites.continuous_params}
    is_folded = folded(sites, walkers, stage)
    state, backtracked = apply_update(state, updates, opt_state, key, movable, finite, is_folded)
    info = step_info(walkers, sites, hamiltonian.temperature, stage, backtracked, finite | backtracked)
    state = state._replace(
        params=to_constrained(maps, state.params), average=to_constrained(maps, state.average)
    )
    return gathered((state, info), mesh)


def scores_of(walkers: WalkerBatch, sites: Sites, hamiltonian: Callable, valid) -> dict:
    """The scores of the classical distributions and of the measured one, each block where it has
    parameters.
    """
    unit = hamiltonian.energy_scale
    energy = walkers.energy / unit
    scores = {}
    of_state = walkers.scores.get("state")
    of_K = energy if of_state is None else of_state.energy / unit
    for name, params in sites.classical_blocks().items():
        weight = jnp.where(valid, walkers.weight, 0.0)
        thermal = hamiltonian.temperature / unit
        rows = {param: walkers.scores["classical"][param] for param in params}
        scores[name] = classical_scores(rows, walkers.log_prob, of_K, thermal, weight, sites.num_particles)
    if sites.measured_params:
        rows = walkers.scores["measured"]
        clip = residual_clip(walkers.values[sites.measured].dtype)
        given = (walkers.log_prob, energy, 1.0 * valid, sites.num_particles)
        scores["measured"] = measured_scores(rows, *given, clip)
        if of_state is not None:
            force = jax.tree.map(lambda x: x / unit, mean_over_walkers(of_state.slope, 1.0 * valid))
            scores["measured"] = scores["measured"]._replace(force=force)
    return scores


def apply_update(
    state: TrainState, updates: Params, opt_state, key, movable: set[str], finite, is_folded
) -> tuple[TrainState, jax.Array]:
    """The next state, and whether half of the last update was taken back instead of making a new one. For use
    in jit.

    finite: whether the updates are; they are not made otherwise.  is_folded: whether a walker showed that a
    change of variables is not one-to-one. Then the walkers have another distribution, and a gradient from
    them leads further
    astray: where there was no fold before the last update, half of that is taken back, up to MAX_BACKTRACKS
    times.
    movable: the parameters that changes of variables depend on; those of p(K) alone fold nothing.
    """
    backtracked = is_folded & (state.backtracks_left > 0)
    made = finite & ~backtracked

    # All parameters in one row: some operations in the place of some for each array.
    old, unravel = ravel_pytree(state.params)
    update = ravel_pytree(updates)[0].astype(old.dtype)
    last, unravel_last = ravel_pytree(state.last_update)
    moves = [
        np.full(ravel_pytree(module)[0].size, name in movable) for name, module in sorted(updates.items())
    ]
    params = old + jnp.where(made, update, jnp.where(backtracked, -0.5 * last, 0))
    last = jnp.where(
        backtracked, 0.5 * last, jnp.where(made & np.concatenate([[], *moves]).astype(bool), update, last)
    )
    average = ravel_pytree(state.average)[0]
    share = jnp.minimum(1.0, AVERAGED_SHARE / (state.step + 1.0))
    average = average + (share * (params - average)).astype(average.dtype)
    params, average, last = computed_once((params, average, last))

    return TrainState(
        unravel(params),
        unravel(average),
        jax.tree.map(lambda new, old: jnp.where(made, new, old), opt_state, state.opt_state),
        key,
        state.step + 1,
        unravel_last(last),
        jnp.where(is_folded, jnp.maximum(state.backtracks_left - 1, 0), MAX_BACKTRACKS),
    ), backtracked


def step_info(walkers: WalkerBatch, sites: Sites, temperature, stage, backtracked, updated) -> Info:
    """What a step reports. stage: of `first_failures`."""
    valid = stage == FINITE
    energy = walkers.energy.real
    free_energy = temperature * walkers.log_prob + energy
    weight = jnp.where(valid, walkers.weight, 0.0)
    mean = weighted_mean(free_energy, weight)
    count = jnp.maximum(jnp.sum(valid), 2)
    variance = jnp.sum(jnp.where(valid, (weight * (free_energy - mean)) ** 2, 0.0)) / total(weight) ** 2
    where, replaced = first_failures_or_replaced(sites, walkers, stage)
    first = jnp.argmax(where != FINITE)
    log_det = walkers.diagnostics.get("log_det_jacobian", jnp.full(len(valid), jnp.inf))
    return Info(
        free_energy=mean,
        free_energy_error=jnp.sqrt(variance * count / (count - 1)),
        energy=weighted_mean(energy, weight),
        kinetic=weighted_mean(walkers.kinetic.real, weight),
        potential=weighted_mean(walkers.potential, weight),
        entropy=-weighted_mean(walkers.log_prob, weight),
        smallest_log_det=jnp.min(jnp.where(valid, log_det, jnp.inf)),
        num_negative_det=jnp.sum(valid & walkers.is_folded),
        num_failed=jnp.sum(~valid),
        num_not_inverted=jnp.sum(replaced),
        failed_walker=jnp.where(where[first] == FINITE, -1, first),
        failed_stage=where[first],
        failed_label=walkers.label[first],
        failed_closeness=walkers.closeness[first],
        backtracked=backtracked,
        updated=updated,
    )
