r"""Few electrons in a superposition, one after the other:  |Phi|^2 = p(r_1) p(r_2|r_1) ...,  Phi = sum_t c_t
D_t.

With the electrons 1 ... s - 1 in place, what is left is a state of the others, with an amplitude A_X for each
set X of orbitals: a sum of minors of the D_t. The next one has the distribution

    p(r) ~ f(r) = sum_Y |sum_k (+-) A_{Y + k} phi_k(r)|^2,      A_Y <- sum_k (+-) A_{Y + k} phi_k(r_s)

in which k is its orbital and Y those of the electrons to come. By the inequality of Cauchy and Schwarz

    f <= sum_k w_k |phi_k|^2,     w_k = sum_Y |A_{Y + k}| sum_k' |A_{Y + k'}|

from which r is proposed, and accepted once in sum_k w_k/sum_{Y k} |A_{Y + k}|^2 times. Where all D_t have the
same momentum, the first electron is always accepted. For n electrons there are up to n!/(n/2)!^2 sets for
each determinant.
"""

from itertools import combinations, pairwise
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.base import SpeciesOrbitals, deduplicated, orbital_values
from pnct.states.base import DeterminantExpansion

PROPOSALS = 16  # per round
MAX_ROUNDS = 1024  # per electron
MOST_SETS = 1024  # of orbitals that are left, over all determinants


class Step(NamedTuple):
    """How the sets of places that are still filled become those with one less, in each determinant of a
    species of n.

    before, after: (b, .), (a, .) the filled places of all N, by whole sets.
    source, place, target, sign: (Q,) from which set which place (of the n) is emptied to give which set, with
    which sign.
    """

    before: Int[np.ndarray, "b _"]
    after: Int[np.ndarray, "a _"]
    source: Int[np.ndarray, " Q"]
    place: Int[np.ndarray, " Q"]
    target: Int[np.ndarray, " Q"]
    sign: Float[np.ndarray, " Q"]


def few_enough_sets(num_determinants: int, num_electrons: tuple[int, int]) -> bool:
    """Whether there are few enough sets."""
    return num_determinants * max(comb(n, n // 2) for n in num_electrons) <= MOST_SETS


def sample_electron_by_electron(
    key: Array, states: DeterminantExpansion, K: Int[ArrayLike, " N"], dtype
) -> Float[Array, "N dim"]:
    """One exact sample of |sum_t c_t D_t|^2. Shape (N, dim); nan if the rounds are used up."""
    space = states.space
    c, Ks = states.determinants(K)
    amplitudes = c.astype(dtype)[:, None]
    placed = []
    for s, species in enumerate(space.species):
        of_species = states.orbitals.of_species(s)
        for step in steps(species, space.N):
            r, amplitudes = next_electron(
                jax.random.fold_in(key, len(placed)), of_species, Ks, species, amplitudes, step, dtype
            )
            placed.append(r)
    R = jnp.stack(placed)
    return jnp.where(jnp.all(jnp.isfinite(R)), R, jnp.nan)


def next_electron(
    key, orbitals: SpeciesOrbitals, Ks: Int[Array, "t N"], species: slice, amplitudes, step: Step, dtype
):
    """r_s, nan if the rounds are used up, and the amplitudes (t, a) that it leaves of those
    before, (t, b).
    """
    mine = Ks[:, species]
    total = combined(amplitudes, Ks[:, step.before])
    b = total[:, step.source] * step.sign.astype(dtype)  # (t, Q): (+-) A_{Y + k}
    group = first_of_equals(Ks[:, step.after]).reshape(len(Ks), -1)[:, step.target].ravel()

    def together(x):
        return jax.ops.segment_sum(x.ravel(), group, Ks.shape[0] * len(step.after))

    w = jnp.abs(b) * together(jnp.abs(b))[group].reshape(b.shape)
    listed, weights = deduplicated(
        orbitals, mine.ravel(), jnp.zeros(mine.shape, dtype).at[:, step.place].add(w).ravel()
    )

    def terms(r):
        """(p, t, Q)"""
        return b * orbital_values(orbitals, mine, r)[:, :, step.place]

    def unfinished(state):
        _, accepted, iteration = state
        return ~accepted & (iteration < MAX_ROUNDS)

    def attempt(state):
        _, _, iteration = state
        u = jax.random.uniform(jax.random.fold_in(key, iteration), (PROPOSALS, orbitals.space.dim + 1), dtype)
        proposed, envelope = orbitals.propose(listed, u[:, :-1], weights)
        f = jnp.sum(jnp.abs(jax.vmap(together)(terms(proposed))) ** 2, axis=1)
        accepted = u[:, -1] * envelope < f
        return proposed[jnp.argmax(accepted)], jnp.any(accepted), iteration + 1

    start = jnp.zeros(orbitals.space.dim, dtype), jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    r, accepted, _ = jax.lax.while_loop(unfinished, attempt, start)
    new = terms(r[None])[0]
    new = jnp.zeros((len(Ks), len(step.after)), new.dtype).at[:, step.target].add(new)
    return jnp.where(accepted, r, jnp.nan), new / jnp.max(jnp.abs(new))


def combined(amplitudes, sets: Int[Array, "t b n"]):
    """The amplitude of each set of orbitals as a whole at its first place, zero at the others."""
    first = first_of_equals(sets)
    total = jax.ops.segment_sum(amplitudes.ravel(), first, amplitudes.size)
    return total.reshape(amplitudes.shape)


def first_of_equals(sets: Int[Array, "t b n"]) -> Int[Array, " t*b"]:
    """For each set the number of the first one that is equal to it."""
    flat = sets.reshape(sets.shape[0] * sets.shape[1], sets.shape[2])
    return jnp.argmax(jnp.all(flat[:, None] == flat[None], axis=-1), axis=1)


def steps(species: slice, N: int) -> list[Step]:
    """The steps that empty the places of one species, after those of the species before it."""
    start = species.start
    n = species.stop - species.start
    sets = [list(combinations(range(n), n - s)) for s in range(n + 1)]  # the filled places after s electrons

    def whole(chosen):
        return np.array([[start + i for i in x] + list(range(species.stop, N)) for x in chosen], int)

    found = []
    for before, after in pairwise(sets):
        number = {x: i for i, x in enumerate(after)}
        moves = [
            (source, place, number[tuple(i for i in x if i != place)], (-1.0) ** position)
            for source, x in enumerate(before)
            for position, place in enumerate(x)
        ]
        source, place, target, sign = (np.array(column) for column in zip(*moves, strict=True))
        found.append(Step(whole(before), whole(after), source, place, target, sign))
    return found
