r"""Natural gradient, one block per law, as an optax transformation:  (O^T O/B + damping) delta = O^T e/B.

Solved on the smaller side: in parameter space by Cholesky, or in sample space, delta = O^T (O O^T + B damping)^{-1} e
(MinSR: Chen and Heyl 2024). With momentum mu the damping pulls delta towards mu times the step before instead of towards zero,
which is the same equation for delta - mu delta' with e - mu O delta' (SPRING: Goldshlager, Abrahamsen, Lin 2024; there delta'
is the step before it was limited, here what was made of it).

Each block has its own step size, limited so that delta^T (O^T O/B) delta <= n max_norm^2: the step moves the law by a bounded
distance whatever its parameters, so one setting serves all densities and temperatures. n is the number of electrons, because
the squared distance of two laws of many electrons grows in proportion to it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from pnct.inference.gradients import Scores

Schedule = float | Callable[[jax.Array], jax.Array]


class NaturalGradientState(NamedTuple):
    """The number of updates made, and the last step of every parameter, against the gradient."""

    count: jax.Array
    step: Any


def default_rate(law: str) -> Schedule:
    """For p(K) a share of the Newton step that falls like 1/n, so that all walkers drawn so far count alike."""
    return (lambda count: 0.3 / (1 + 0.03 * count)) if law == "classical" else 1.0


def default_norm(law: str) -> Schedule:
    """The bound on a step's length: slow enough for noise, and decreasing so that it averages out.

    For the flow it is small enough for the first steps not to fold it where two electrons avoid each other.
    """
    first = 0.06 if law == "classical" else 0.02
    return lambda count: first / (1 + 0.02 * count)


def natural_gradient(
    learning_rate: dict[str, Schedule] | Schedule | None = None,
    damping: float = 1e-3,
    max_norm: dict[str, Schedule] | Schedule | None = None,
    momentum: dict[str, Schedule] | Schedule = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """An optax transformation whose update takes `scores`: {law: Scores}, the parameters of a law being the rows' keys.

    learning_rate, max_norm, momentum: one value or schedule, or one per law. Parameters that no law holds do not move.
    """

    def init(params):
        return NaturalGradientState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, scores: dict[str, Scores], **extra):
        del params, extra
        steps = jax.tree.map(jnp.zeros_like, updates)
        for law, block in scores.items():
            rate = _at(default_rate(law) if learning_rate is None else _of(law, learning_rate), state.count)
            bound = _at(default_norm(law) if max_norm is None else _of(law, max_norm), state.count)
            mu = _at(_of(law, momentum), state.count)
            carried = jax.tree.map(partial(jnp.multiply, mu), {name: state.step[name] for name in block.rows})
            for name, step in _limited(solve(block, damping, carried), block, rate, bound).items():
                steps[name] = jax.tree.map(jnp.add, steps[name], step)
        return jax.tree.map(jnp.negative, steps), NaturalGradientState(state.count + 1, steps)

    return optax.GradientTransformationExtraArgs(init, update)


def solve(scores: Scores, damping: float, carried=None):
    """delta of one block, on the side with fewer unknowns. A pytree like the block's parameters.

    Where the curvature is known, delta is the Newton step, and the damping the larger one of a regression on the rows whose
    residuals are noise: directions that these walkers cannot resolve stay where they are.
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


def _limited(delta, scores: Scores, rate, bound):
    """rate * delta, shortened where its length in the metric would exceed `bound`."""
    matrix, _ = _matrix(scores)
    flat, unravel = ravel_pytree(delta)
    length = rate * jnp.linalg.norm(matrix @ flat) / jnp.sqrt(scores.num_walkers)
    bound = bound * jnp.sqrt(scores.extent)
    return unravel(flat * rate * jnp.minimum(1.0, bound / jnp.maximum(length, jnp.finfo(flat.dtype).tiny)))


def _matrix(scores: Scores):
    one = jax.tree.map(lambda leaf: leaf[0], scores.rows)
    leaves = jax.tree.leaves(scores.rows)
    matrix = jnp.concatenate([leaf.reshape(leaf.shape[0], math.prod(leaf.shape[1:])) for leaf in leaves], axis=1)
    return matrix, ravel_pytree(one)[1]


def _of(law, setting):
    return setting[law] if isinstance(setting, dict) else setting


def _at(setting, count):
    return setting(count) if callable(setting) else setting
