r"""Natural gradient, one block per law, as an optax transformation:  (O^T O/B + damping) delta = O^T e/B.

Solved on the smaller side: in parameter space by Cholesky, or in sample space, delta = O^T (O O^T + B
damping)^{-1} e (MinSR: Chen and Heyl 2024). With momentum mu the damping pulls delta towards mu times the
step before instead of towards zero, which is the same equation for delta - mu delta' with e - mu O delta'
(SPRING: Goldshlager, Abrahamsen, Lin 2024; there delta' is the step before it was limited, here what was made
of it).

A flow of few enough parameters is solved for in parameter space with the metric O^T O/B of the last steps,
not of this batch alone. What is slow to converge are directions with a metric of 1e-5 and less, which a batch
of some hundred walkers takes for smaller still: with its own metric and so little damping a step would be
noise. The damping falls as more steps are averaged. With more parameters the walkers of these steps are too
few: a direction that one walker of the batch alone excites has a 20th of its share in the mean metric, and
the step goes there.

Each block has its own step size, limited so that delta^T (O^T O/B) delta <= n max_norm^2: the step moves the
law by a bounded distance whatever its parameters, so one setting serves all densities and temperatures. n is
the number of electrons, because the squared distance of two laws of many electrons grows in proportion to it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.optim import _NumPyroOptim

from pnct.inference.optimisation.gradients import Scores, gradient

Schedule = float | Callable[[jax.Array], jax.Array]

MAX_METRIC_PARAMETERS = 1500  # parameters whose metric is remembered
METRIC_MEMORY = 20  # steps


class NaturalGradientState(NamedTuple):
    """The number of updates made, the last step of every parameter, against the gradient, and the metric.

    metric: the mean over the last MEMORY steps, in blocks [a][b] of the modules that have no more than
    LARGEST parameters.
    """

    count: jax.Array
    step: Any
    metric: dict[str, dict[str, Float[Array, "P_a P_b"]]]


def default_damping(remembered: bool) -> Schedule:
    """Where the metric is that of many steps, directions of a small metric are followed, too."""
    return (lambda count: jnp.maximum(1e-5, 1e-3 * jnp.exp(-count / 10))) if remembered else 1e-3


def default_rate(block_name: str) -> Schedule:
    """For p(K) a share of the Newton step that falls like 1/n, so that all walkers drawn so far
    count alike.
    """
    return (lambda count: 0.3 / (1 + 0.03 * count)) if block_name == "classical" else 1.0


def default_norm(block_name: str) -> Schedule:
    """The bound on a step's length: slow enough for noise, and decreasing so that it averages out.

    For the flow it is small enough for the first steps not to fold it where two electrons avoid each other.
    """
    first = 0.06 if block_name == "classical" else 0.02
    return lambda count: first / (1 + 0.02 * count)


def natural_gradient(
    learning_rate: dict[str, Schedule] | Schedule | None = None,
    damping: Schedule | None = None,
    max_norm: dict[str, Schedule] | Schedule | None = None,
    momentum: dict[str, Schedule] | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation whose update takes `scores`: {law: Scores}, the parameters of a law being the
    rows' keys.

    learning_rate, max_norm, momentum: one value or schedule, or one per law. damping: one for all. Parameters
    that no law holds do not move. The parameters are a dict of modules, and the rows of a law are those of
    some of them.
    """

    def init(params):
        small = {name: ravel_pytree(module)[0] for name, module in _small(params).items()}
        metric = {
            a: {b: jnp.zeros((x.size, y.size), x.dtype) for b, y in small.items()} for a, x in small.items()
        }
        return NaturalGradientState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params), metric)

    def update(updates, state, params=None, *, scores: dict[str, Scores], **extra):
        del params, extra
        steps = jax.tree.map(jnp.zeros_like, updates)
        metrics = state.metric
        for block_name, block in scores.items():
            rate = _at(
                default_rate(block_name) if learning_rate is None else _of(block_name, learning_rate),
                state.count,
            )
            bound = _at(
                default_norm(block_name) if max_norm is None else _of(block_name, max_norm), state.count
            )
            mu = _at(_of(block_name, momentum), state.count)
            carried = jax.tree.map(partial(jnp.multiply, mu), {name: state.step[name] for name in block.rows})

            # Where the curvature is known the steps of a law fall like 1/n, and all walkers count alike
            # without a memory.
            remembered = block.curvature is None and block.rows.keys() <= metrics.keys()
            strength = _at(default_damping(remembered) if damping is None else damping, state.count)
            if remembered:
                names = sorted(block.rows)  # as in a flattened dict
                metric = _averaged(
                    jnp.block([[metrics[a][b] for b in names] for a in names]), block, state.count
                )
                metrics = metrics | _in_blocks(metrics, metric, names)
                delta, length = solve_remembered(metric, block, strength, carried)
            else:
                delta = solve(block, strength, carried)
                length = jnp.linalg.norm(_matrix(block)[0] @ ravel_pytree(delta)[0]) / jnp.sqrt(
                    block.num_walkers
                )
            longest = bound * jnp.sqrt(block.num_particles)
            share = rate * jnp.minimum(
                1.0, longest / jnp.maximum(rate * length, jnp.finfo(length.dtype).tiny)
            )
            for name, step in delta.items():
                steps[name] = jax.tree.map(
                    lambda old, new: old + (share * new).astype(old.dtype),  # noqa: B023
                    steps[name],
                    step,
                )
        return jax.tree.map(jnp.negative, steps), NaturalGradientState(state.count + 1, steps, metrics)

    return optax.GradientTransformationExtraArgs(init, update)


def solve(scores: Scores, damping: float, carried=None):
    """delta of one block, on the side with fewer unknowns. A pytree like the block's parameters.

    Where the curvature is known, delta is the Newton step, and the damping the larger one of a regression on
    the rows whose residuals are noise: directions that these walkers cannot resolve stay where they are.
    """
    matrix, unravel = _matrix(scores)
    rows, parameters = matrix.shape
    residual = scores.residual
    if scores.curvature is not None:
        residual = residual / scores.curvature
        damping = damping + jnp.sum(residual**2) / scores.num_walkers**2
    start = jnp.zeros(parameters, matrix.dtype) if carried is None else ravel_pytree(carried)[0]
    residual = residual - matrix @ start
    if parameters <= rows:
        metric = matrix.T @ matrix / scores.num_walkers + damping * jnp.eye(parameters, dtype=matrix.dtype)
        force = matrix.T @ residual / scores.num_walkers
        return unravel(start + _positive_solve(metric, force))
    gram = matrix @ matrix.T + scores.num_walkers * damping * jnp.eye(rows, dtype=matrix.dtype)
    return unravel(start + matrix.T @ _positive_solve(gram, residual))


def _positive_solve(matrix, right):
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), right)


def solve_remembered(metric: Float[Array, "p p"], scores: Scores, damping: float, carried):
    """delta of one block from the metric of many steps and the gradient of this one, and its length in that
    metric.

    delta is a pytree like the block's parameters.
    """
    _, unravel = _matrix(scores)
    start = ravel_pytree(carried)[0]
    # Less than rounding of the metric would leave it without a Cholesky factor.
    damping = jnp.maximum(damping, jnp.finfo(metric.dtype).eps * jnp.trace(metric))
    force = ravel_pytree(gradient(scores))[0] - metric @ start
    delta = start + _positive_solve(metric + damping * jnp.eye(len(metric), dtype=metric.dtype), force)
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


def _of(block_name, setting):
    return setting[block_name] if isinstance(setting, dict) else setting


def _at(setting, count):
    return setting(count) if callable(setting) else setting


def as_optax(optim) -> optax.GradientTransformationExtraArgs:
    """The optax form of an optax or numpyro optimiser. Raises ValueError for anything else."""
    if isinstance(optim, _NumPyroOptim):
        return _from_numpyro(optim)
    if isinstance(optim, optax.GradientTransformation):
        return optax.with_extra_args_support(optim)
    raise ValueError(
        f"Expected optim to be an optax or numpyro optimiser; got {optim!r}. "
        "For example: natural_gradient(), optax.adam(1e-3), numpyro.optim.Adam(1e-3)."
    )


def _from_numpyro(optim) -> optax.GradientTransformationExtraArgs:
    def update(updates, state, params=None, **extra):
        del extra
        state = optim.update(updates, state)
        return jax.tree.map(jnp.subtract, optim.get_params(state), params), state

    return optax.GradientTransformationExtraArgs(optim.init, update)
