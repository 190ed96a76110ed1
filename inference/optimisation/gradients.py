r"""Gradients of F = E[T ln p(K) + E_loc] from per-walker scores.

    dF/d phi   = E[ (F_loc - b) O_c ],                   O_c = d ln p(K)/d phi,   F_loc = T ln p(K) + Re E_loc
    dF/d theta = 2 Re E[ (E_loc - E_K)^* (O_q - <O_q>) ],  O_q = d ln Psi_K(R)/d theta

Both have the form  (1/B) sum_r rows[r] residual[r]  with real rows: a complex score gives two, its real and
its imaginary part. Residuals are clipped here, and only here: reported values never are.
Those of Psi are only where x is continuous: near a node, or where electrons meet without a cusp, E_loc has
no bound. Bit strings are finitely many terms of a sum. Where |Psi(x)|^2 is small, both E_loc and O_q are of
the order of 1/|Psi(x)|, so that such an x counts as much as any other, and a circuit comes to rest elsewhere
without it. Where all x can be summed over, the gradient by theta is the mean of dE_K/d theta instead, and E_K
stands for Re E_loc in F_loc: no noise but that of K.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

CLIP = 5.0  # mean absolute deviations
MIN_CLIP_TEMPERATURES = (
    10.0  # temperatures that F_loc may be off at any rate: a state of far too small a p(K) is no outlier
)


class Scores(NamedTuple):
    """Rows and residuals of one distribution, B walkers: its gradient is tensordot(residual, rows)/B.

    rows: of each module of parameters a matrix (rows, P), as ravel_pytree has it, or a pytree like
    it with a leading axis of rows; residual: (rows,).
    curvature: the second derivative of the objective at its minimum, in units of the metric, where it is
    known. For p(K) it is T: the free energy above its minimum is T times a relative entropy, whose second
    derivative is the Fisher metric.
    num_particles: what the metric is proportional to.
    force: the gradient itself, a pytree like the parameters, where it is known better than from residuals.
    """

    rows: Any
    residual: Float[Array, " rows"]
    num_walkers: Array
    curvature: Array | None = None
    num_particles: int = 1
    force: Any | None = None


def clipped(x: Float[Array, " B"], weight, width: float, least=0.0) -> Float[Array, " B"]:
    """x - mean(x), limited to `width` mean absolute deviations, or to `least` where that is more; 0 where the
    weight is 0.
    """
    centred = jnp.where(weight > 0, x - weighted_mean(x, weight), 0.0)
    scale = jnp.maximum(width * weighted_mean(jnp.abs(centred), weight), least)
    return jnp.where(weight > 0, jnp.clip(centred, -scale, scale), 0.0)


def weighted_mean(x, weight):
    """The mean over walkers of unequal weight; those of weight 0 count for nothing, whatever their x."""
    return jnp.sum(jnp.where(weight > 0, weight * x, 0.0)) / total(weight)


def total(weight):
    """The sum of the weights; 1 where there are none, so that a batch without any valid walker
    gives zeros.
    """
    found = jnp.sum(weight)
    return jnp.where(found > 0, found, 1.0)


def without_control_variate(x, regressor, weight):
    """x minus the fitted slope times the regressor: what is left of x when a linear baseline is taken off."""
    r = jnp.where(weight > 0, regressor - weighted_mean(regressor, weight), 0.0)
    y = jnp.where(weight > 0, x - weighted_mean(x, weight), 0.0)
    variance = jnp.sum(weight * r * r)
    slope = jnp.where(variance > 0, jnp.sum(weight * r * y) / jnp.where(variance > 0, variance, 1.0), 0.0)
    return x - slope * r


def residual_clip(dtype) -> float:
    """How far off the energy of a measured x of this type may be in a gradient, in mean absolute deviations:
    at whole numbers as far as it is.
    """
    return math.inf if jnp.issubdtype(dtype, jnp.integer) else CLIP


def classical_scores(
    rows, log_prob, energy: Complex[Array, " B"], temperature, weight, num_particles: int, clip: float = CLIP
) -> Scores:
    """The scores of p(K); the baseline is the mean."""
    residual = clipped(
        temperature * log_prob + energy.real, weight, clip, MIN_CLIP_TEMPERATURES * temperature
    )
    # At T = 0 the minimum has no such curvature, and the energy unit serves as well as any.
    curvature = jnp.where(temperature > 0, temperature, 1.0)
    return _centred(rows, residual[:, None], weight, num_particles)._replace(curvature=curvature)


def measured_scores(
    rows, log_prob, energy: Complex[Array, " B"], weight, num_particles: int, clip: float = CLIP
) -> Scores:
    """The scores of Psi_K. The baseline for E_K is linear in ln p(K): at the start that is the ideal energy
    of the state.
    """
    real = clipped(without_control_variate(energy.real, log_prob, weight), weight, clip)
    imag = clipped(energy.imag, weight, clip)
    return _centred(rows, 2 * jnp.stack([real, imag], axis=1), weight, num_particles)


def _centred(rows, residual, weight, num_particles) -> Scores:
    """Takes the mean off each kind of row, puts sqrt(weight) on both factors, merges walkers and kinds into
    one axis.
    """

    def centre(leaf):  # (B, kinds, ...)
        w = weight.reshape(-1, *[1] * (leaf.ndim - 1))
        mean = jnp.sum(jnp.where(w > 0, w * leaf, 0.0), axis=0) / total(weight)
        centred = jnp.where(w > 0, jnp.sqrt(w) * (leaf - mean), 0.0)
        return centred.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])

    residual = jnp.sqrt(weight)[:, None] * residual
    return Scores(
        jax.tree.map(centre, rows), residual.reshape(-1), total(weight), num_particles=num_particles
    )


def mean_over_walkers(each, weight):
    """The mean of every leaf (B, ...) of a pytree; walkers of weight 0 count for nothing, whatever they
    have.
    """

    def mean(leaf):
        w = weight.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.sum(jnp.where(w > 0, w * leaf, 0.0), axis=0) / total(weight)

    return jax.tree.map(mean, each)


def gradient(scores: Scores):
    """(1/B) sum_r residual[r] rows[r], or the force; a pytree like its parameters."""
    if scores.force is not None:
        return scores.force
    return jax.tree.map(
        lambda leaf: jnp.tensordot(scores.residual, leaf, 1) / scores.num_walkers, scores.rows
    )
