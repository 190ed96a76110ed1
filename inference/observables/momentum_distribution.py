r"""The momentum distribution of the electrons, off the diagonal of the density matrix:

    n_k = sum_i E[ exp(-i k.s) Psi_K(..., r_i + s, ...)/Psi_K(R) ],    s uniform in the cell, (K, R) ~ rho

For a single determinant of plane waves n_k is one or zero; of electrons, not of quasi-particles (those are
`observables.occupations`). The variance is finite, since E|Psi(R')/Psi(R)|^2 = 1 on average over s.
W. L. McMillan, Phys. Rev. 138, A442 (1965), for Bose liquids.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pnct.compilation import compiled
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.inference.sampling.sites import measured_at, read_sites


class MomentumDistribution(NamedTuple):
    """n_k by species ("up", "down" where present), at the wave vectors of the orbital table, in
    1/(r_s a_0).
    """

    k: Float[np.ndarray, "M dim"]
    n: dict[str, Float[np.ndarray, " M"]]
    error: dict[str, Float[np.ndarray, " M"]]


def momentum_distribution(
    key, model: Callable, params, draws: DrawsLike, *args, displacements: int = 1, chunk_size: int = 8
) -> MomentumDistribution:
    """n_k from draws of `model` at `params`; N `displacements` evaluations of Psi per sample. Failed samples
    are left out.

    chunk_size: samples that are alive at once, with N wave functions each.
    """
    if displacements < 1 or chunk_size < 1:
        raise ValueError(
            f"Expected displacements >= 1 and chunk_size >= 1; got {displacements}, {chunk_size}."
        )
    draws = as_draws(draws)
    placed = np.all(np.isfinite(draws.measured), axis=(1, 2))
    values = {name: jnp.asarray(np.asarray(x)[placed]) for name, x in draws.samples.items()}
    if np.sum(placed) < 2:
        raise ValueError(f"Expected at least two finite samples; got {np.sum(placed)}.")
    sites = read_sites(model, params, args)
    keys = jax.random.split(key, int(np.sum(placed)))
    n = np.asarray(_estimates(model, sites, params, args, values, keys, displacements, chunk_size))
    first = {name: x[0] for name, x in values.items()}
    orbitals = measured_at(model, sites, params, first, args).states.orbitals
    mean = n.mean(axis=0)
    error = n.std(axis=0, ddof=1) / np.sqrt(len(n))
    present = [
        name for name, count in zip(("up", "down"), orbitals.space.num_electrons, strict=True) if count
    ]

    def by_name(x):
        return dict(zip(present, x, strict=True))

    return MomentumDistribution(orbitals.wavevectors, by_name(mean), by_name(error))


@compiled
def _estimates(model, sites, params, args, values, keys, displacements, chunk_size):
    def one(x):
        values, key = x
        R = values[sites.measured]
        born = measured_at(model, sites, params, values, args)
        space = born.space
        k = jnp.asarray(born.states.orbitals.wavevectors, R.dtype)
        here = born.log_psi(R)

        def moved(s):
            there = jax.lax.map(
                lambda i: born.log_psi(R.at[i].add(s)), jnp.arange(space.N), batch_size=space.N
            )
            phase = k @ s
            wave = jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
            ratio = jnp.exp(there - here)
            return jnp.stack([jnp.real(jnp.sum(ratio[i]) * wave) for i in space.species])

        s = space.L * jax.random.uniform(key, (displacements, space.dim), R.dtype)
        return jnp.mean(jax.lax.map(moved, s), axis=0)

    return jax.lax.map(one, (values, keys), batch_size=chunk_size)
