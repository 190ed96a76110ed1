r"""Twists of the boundary conditions, psi(r + L e_a) = exp(2 pi i twist_a) psi(r), to average over.

    Monkhorst-Pack grid   twist_a = (2 j - q - 1)/(2 q),  j = 1 ... q          Phys. Rev. B 13, 5188 (1976)

Of twists that a symmetry of the cell makes equal one is enough, with the weight of all of them.
"""

import jax
import numpy as np
from jaxtyping import ArrayLike, Float

SAME = 1e-9  # twists closer than this are equal


def monkhorst_pack(points: int, dim: int) -> Float[np.ndarray, "T dim"]:
    """A grid of points^dim twists in units of 2 pi/L, between -1/2 and 1/2, symmetric about zero."""
    if points < 1 or dim not in (2, 3):
        raise ValueError(f"Expected points >= 1 and dim = 2 or 3; got {points}, {dim}.")
    axis = (2 * np.arange(1, points + 1) - points - 1) / (2 * points)
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def random_twists(key, num_twists: int, dim: int) -> Float[np.ndarray, "T dim"]:
    """Independent uniform twists between -1/2 and 1/2."""
    return np.asarray(jax.random.uniform(key, (num_twists, dim), minval=-0.5, maxval=0.5), float)


def irreducible_twists(
    twists: Float[ArrayLike, "T dim"],
) -> tuple[Float[np.ndarray, "I dim"], Float[np.ndarray, " I"]]:
    """(representatives, weights): of all twists that the square or cubic cell makes equal the first one, and
    which share of the twists it stands for.

    Equal are twists that differ by whole numbers, by the signs of components (reflections of the cell), and
    by their order (axes exchanged). F, E and S are the same at all of them where the interaction is real and
    has the symmetry of the cell, as Coulomb's; correlations in a given direction are not.
    """
    twists = checked_twists(twists)
    # Modulo whole numbers and signs every component lies between 0 and 1/2.
    images = np.sort(np.abs(twists - np.round(twists)), axis=1)
    chosen = []
    counts = []
    for i, image in enumerate(images):
        equal = [j for j, first in enumerate(chosen) if np.max(np.abs(images[first] - image)) < SAME]
        if equal:
            counts[equal[0]] += 1
        else:
            chosen.append(i)
            counts.append(1)
    return twists[chosen], np.array(counts) / len(twists)


def checked_twists(twists, dim: int | None = None) -> Float[np.ndarray, "T dim"]:
    """Raises ValueError unless they are finite numbers, one row of two or three for each twist."""
    shape = "(T, 2) or (T, 3)" if dim is None else f"(T, {dim})"
    try:
        twists = np.asarray(twists, float)
    except (TypeError, ValueError):
        raise ValueError(f"Expected twists of shape {shape}, T > 0; got {twists!r}.") from None
    if twists.ndim != 2 or not len(twists) or twists.shape[1] not in ((2, 3) if dim is None else (dim,)):
        raise ValueError(f"Expected twists of shape {shape}, T > 0; got shape {twists.shape}.")
    if not np.all(np.isfinite(twists)):
        raise ValueError(f"Expected finite twists; got {twists[~np.isfinite(twists).all(axis=1)][0]}.")
    return twists
