r"""Natural gradient, an optax transformation:  (O^T O/B + damping) delta = O^T e/B  for each distribution.

Solved on the smaller side: in parameter space by Cholesky, or in sample space, delta = O^T (O O^T + B
damping)^{-1} e (MinSR: Chen and Heyl 2024).

A flow of few enough parameters is solved for in parameter space with the metric O^T O/B of the last steps,
not of this batch alone. What is slow to converge are directions with a metric of 1e-5 and less, which a batch
of some hundred walkers takes for smaller still: with its own metric and so little damping a step would be
noise. The damping falls as more steps are averaged. With more parameters the walkers of these steps are too
few: a direction that one walker of the batch alone excites has a 20th of its share in the mean metric, and
the step goes there.

Each block has its own step size, limited so that delta^T (O^T O/B) delta <= n max_norm^2: the step moves the
distribution by a bounded distance whatever its parameters, so one setting serves all densities and
temperatures. n is the number of particles, because the squared distance of two distributions of many grows in
proportion to it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.optim import _NumPyroOptim

from pnct.inference.optimisation.gradients import Scores, gradient

Schedule = float | Callable[[jax.Array], jax.Array]
Setting = dict[str, Schedule] | Schedule | None

MAX_METRIC_PARAMETERS = 1500  # parameters whose metric is remembered
METRIC_MEMORY = 20  # steps


class NaturalGradientState(NamedTuple):
    """The number of updates made, and the metric.

    metric: the mean over the last METRIC_MEMORY steps, in blocks [a][b] of the modules that have no more than
    MAX_METRIC_PARAMETERS parameters.
    """

    count: jax.Array
    metric: dict[str, dict[str, Float[Array, "P_a P_b"]]]


def default_damping(remembered: bool, count) -> Float[Array, ""] | float:
    """Where the metric is that of many steps, directions of a small metric are followed, too."""
    return jnp.maximum(1e-5, 1e-3 * jnp.exp(-count / 10)) if remembered else 1e-3


def default_rate(block_name: str, count) -> Float[Array, ""] | float:
    """For p a share of the Newton step that falls like 1/n, so that all walkers drawn so far
    count alike.
    """
    return 1.0 if block_name == "measured" else 0.3 / (1 + 0.03 * count)


def default_norm(block_name: str, count) -> Float[Array, ""]:
    """The bound on a step's length: slow enough for noise, and decreasing so that it averages out.

    For the flow it is small enough for the first steps not to fold it where two electrons avoid each other.
    That of a continuous variable begins as p(K) does, and has to become shorter sooner.
    """
    first = 0.02 if block_name == "measured" else 0.06
    decay = 0.05 if block_name == "continuous" else 0.02
    return first / (1 + decay * count)


def natural_gradient(
    learning_rate: Setting = None, damping: Schedule | None = None, max_norm: Setting = None
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation whose update takes `scores`: {"classical", "continuous" or "measured": Scores}.

    The parameters of a distribution are the rows' keys; those that none holds do not move. The parameters are
    a dict of modules, and the rows of a distribution are those of some of them.
    learning_rate, max_norm: one value or schedule, or a dict of those of "classical", "continuous" and
    "measured", where what is missing has its default. damping: one for all.
    Equal settings make equal transformations, for which nothing is compiled again. Raises ValueError for a
    dict with another key.
    """
    return optax.GradientTransformationExtraArgs(
        _init, NaturalGradientUpdate(_hashable(learning_rate), damping, _hashable(max_norm))
    )


def _init(params) -> NaturalGradientState:
    small = {name: ravel_pytree(module)[0] for name, module in _small(params).items()}
    metric = {
        a: {b: jnp.zeros((x.size, y.size), x.dtype) for b, y in small.items()} for a, x in small.items()
    }
    return NaturalGradientState(jnp.zeros((), jnp.int32), metric)


@dataclass(frozen=True)
class NaturalGradientUpdate:
    """The update of `natural_gradient` with its settings, equal for equal settings."""

    learning_rate: tuple | Schedule | None
    damping: Schedule | None
    max_norm: tuple | Schedule | None

    def __call__(self, updates, state, params=None, *, scores: dict[str, Scores], **extra):
        del params, extra
        flat = {name: ravel_pytree(module) for name, module in updates.items()}
        steps = {name: jnp.zeros_like(x) for name, (x, _) in flat.items()}
        metrics = state.metric
        count = state.count
        for block_name, block in scores.items():
            rate = _setting(self.learning_rate, block_name, count, default_rate)
            bound = _setting(self.max_norm, block_name, count, default_norm)

            # Where the curvature is known the steps fall like 1/n, and all walkers count alike without a
            # memory.
            remembered = block.curvature is None and block.rows.keys() <= metrics.keys()
            strength = _setting(self.damping, remembered, count, default_damping)
            if remembered:
                names = sorted(block.rows)  # as in a flattened dict
                metric = _averaged(jnp.block([[metrics[a][b] for b in names] for a in names]), block, count)
                metrics = metrics | _in_blocks(metrics, metric, names)
                delta, length = solve_remembered(metric, block, strength)
            else:
                delta = solve(block, strength)
                rows = _matrix(block)[0]
                length = jnp.linalg.norm(rows @ ravel_pytree(delta)[0]) / jnp.sqrt(block.num_walkers)
            longest = bound * jnp.sqrt(block.num_particles)
            share = rate * jnp.minimum(
                1.0, longest / jnp.maximum(rate * length, jnp.finfo(length.dtype).tiny)
            )
            for name, step in delta.items():
                steps[name] -= (share * ravel_pytree(step)[0]).astype(steps[name].dtype)
        made = {name: unravel(steps[name]) for name, (_, unravel) in flat.items()}
        return made, NaturalGradientState(count + 1, metrics)


def _hashable(setting: Setting):
    if not isinstance(setting, dict):
        return setting
    if unknown := setting.keys() - {"classical", "continuous", "measured"}:
        raise ValueError(
            "Expected settings of 'classical' (the unobserved sites before what is measured), 'continuous' "
            f"(those of them that are real numbers) and 'measured'; got {sorted(unknown)}."
        )
    return tuple(sorted(setting.items()))


def _setting(setting, block_name, count, default: Callable):
    """The number that a setting stands for at this step: of one block, of all, or by default."""
    found = dict(setting).get(block_name) if isinstance(setting, tuple) else setting
    if found is None:
        return default(block_name, count)
    return found(count) if callable(found) else found


def solve(scores: Scores, damping: float):
    """delta of one block, on the side with fewer unknowns. A pytree like the block's parameters.

    Where the curvature is known, delta is the Newton step, and the damping the larger one of a regression on
    the rows whose residuals are noise: directions that these walkers cannot resolve stay where they are.
    Of a force, which need not be made of these rows, what they know nothing of is left out.
    """
    matrix, unravel = _matrix(scores)
    rows, parameters = matrix.shape
    residual = scores.residual
    if scores.curvature is not None:
        residual = residual / scores.curvature
        damping = damping + jnp.sum(residual**2) / scores.num_walkers**2
    force = None if scores.force is None else ravel_pytree(scores.force)[0]
    if parameters <= rows:
        metric = matrix.T @ matrix / scores.num_walkers
        damped = metric + damping * jnp.eye(parameters, dtype=matrix.dtype)
        if force is None:
            return unravel(_positive_solve(damped, matrix.T @ residual / scores.num_walkers))
        return unravel(_positive_solve(damped, _known(metric, damped, force)))
    gram = matrix @ matrix.T + scores.num_walkers * damping * jnp.eye(rows, dtype=matrix.dtype)
    if force is not None:  # the residuals that make of it what these rows know
        residual = scores.num_walkers * _positive_solve(gram, matrix @ force)
    return unravel(matrix.T @ _positive_solve(gram, residual))


def _known(metric, damped, force):
    """The force without the part along directions in which the metric is far below the damping. Nothing
    bounds a step there: the first batches have fewer rows than a large circuit has parameters.
    """
    return metric @ _positive_solve(damped, force)


def _positive_solve(matrix, right):
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), right)


def solve_remembered(metric: Float[Array, "p p"], scores: Scores, damping: float):
    """delta of one block from the metric of many steps and the gradient of this one, and its length in that
    metric.

    delta is a pytree like the block's parameters.
    """
    _, unravel = _matrix(scores)
    # Less than rounding of the metric would leave it without a Cholesky factor.
    damping = jnp.maximum(damping, jnp.finfo(metric.dtype).eps * jnp.trace(metric))
    force = ravel_pytree(gradient(scores))[0]
    damped = metric + damping * jnp.eye(len(metric), dtype=metric.dtype)
    if scores.force is not None:
        force = _known(metric, damped, force)
    delta = _positive_solve(damped, force)
    return unravel(delta), jnp.sqrt(jnp.maximum(delta @ metric @ delta, 0))


def _averaged(metric, scores: Scores, count):
    """The metric with that of this batch: the mean of all steps up to the first MEMORY, weights falling
    exponentially later.
    """
    matrix, _ = _matrix(scores)
    share = jnp.maximum(1 / METRIC_MEMORY, 1 / (count + 1.0)).astype(metric.dtype)
    return metric + share * ((matrix.T @ matrix / scores.num_walkers).astype(metric.dtype) - metric)


def _small(params):
    """The modules of which the metric is remembered."""
    sizes = {
        name: sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(module))
        for name, module in params.items()
    }
    return {name: module for name, module in params.items() if sizes[name] <= MAX_METRIC_PARAMETERS}


def _in_blocks(metrics, metric, names: list[str]):
    """The rows of blocks that the metric of these modules belongs to."""
    ends = np.cumsum([len(metrics[name][name]) for name in names])[:-1]
    rows = {
        name: jnp.split(row, ends, axis=1) for name, row in zip(names, jnp.split(metric, ends), strict=True)
    }
    return {a: metrics[a] | dict(zip(names, row, strict=True)) for a, row in rows.items()}


def _matrix(scores: Scores):
    one = jax.tree.map(lambda leaf: leaf[0], scores.rows)
    leaves = jax.tree.leaves(scores.rows)
    matrix = jnp.concatenate(
        [leaf.reshape(leaf.shape[0], math.prod(leaf.shape[1:])) for leaf in leaves], axis=1
    )
    return matrix, ravel_pytree(one)[1]


def as_optax(optim) -> optax.GradientTransformationExtraArgs:
    """The optax form of an optax or numpyro optimiser, which is given `scores` and `value` = F/energy_scale.

    Raises ValueError for anything else, and for one that evaluates F at trial points (a line search).
    """
    if isinstance(optim, _NumPyroOptim):
        return optax.GradientTransformationExtraArgs(optim.init, _NumPyroUpdate(optim))
    if not isinstance(optim, optax.GradientTransformation):
        raise ValueError(
            f"Expected optim to be an optax or numpyro optimiser; got {optim!r}. "
            "For example: natural_gradient(), optax.adam(1e-3), numpyro.optim.Adam(1e-3)."
        )
    optim = optax.with_extra_args_support(optim)
    missing = _missing_arguments(optim)
    if missing:
        raise ValueError(
            "Expected an optimiser that takes a gradient and the value of F; got one that needs more: "
            f"{missing}. F is "
            "sampled, and cannot be compared at trial points, as a line search does."
        )
    return optim


def _missing_arguments(optim) -> str:
    """What an optimiser says it lacks beside `scores`, `value` and `grad`; empty where it is content."""
    one = {"x": jnp.zeros(1)}

    def update():
        return optim.update(one, optim.init(one), one, scores={}, value=jnp.zeros(()), grad=one)

    try:
        jax.eval_shape(update)
    except TypeError as error:
        return str(error).split(": ")[-1] if "required keyword-only argument" in str(error) else ""
    except (KeyError, ValueError):  # an optimiser made for other parameters than these
        return ""
    return ""


@dataclass(frozen=True)
class _NumPyroUpdate:
    """The update of a numpyro optimiser in optax form."""

    optim: _NumPyroOptim

    def __call__(self, updates, state, params=None, *, value=None, **extra):
        del extra
        state = self.optim.update(updates, state, value)
        return jax.tree.map(jnp.subtract, self.optim.get_params(state), params), state
