r"""The canonical ideal gas, exactly: elementary symmetric polynomials of the Boltzmann factors, in log space.

With the reduced energies b_m = (e_m - mu)/T of M orbitals in a fixed order, the suffix sums

    T[m, q] = logaddexp(T[m+1, q], T[m+1, q-1] - b_m),   T[., 0] = 0

give ln Z = T[0, N] and the conditionals of the ordered occupied list k_0 < k_1 < ... as a softmax over m >
k_{i-1} of  l[i, m] = -b_m + T[m+1, N-1-i].  Such sums from both ends give the occupations.  Every term is
positive, so nothing cancels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from pnct.memory import check_memory
from pnct.systems.base import System

TABLES = 3  # of all sums, that are alive together where the occupations are found
UNREACHABLE = -1e30  # not -inf: the gradient of logaddexp(-inf, -inf) is nan


class IdealGas(NamedTuple):
    """Totals in the system's unit of energy (hartree, hbar omega) and k_B; `occupations` has a row per
    species, shape (2, M).
    """

    free_energy: float
    energy: float
    entropy: float
    occupations: Float[np.ndarray, "2 M"]


def suffix_table(b: Float[Array, " M"], n: int) -> Float[Array, "M+1 {n}+1"]:
    """T[m, q]: log of the summed Boltzmann factors of all ways to put q electrons into the orbitals m, m+1,
    ..., M-1.
    """
    empty = jnp.full(n + 1, UNREACHABLE, b.dtype).at[0].set(0.0)

    def add_orbital(row, b_m):
        occupied = jnp.concatenate([jnp.full(1, UNREACHABLE, b.dtype), row[:-1] - b_m])
        row = jnp.maximum(_log_sum(row, occupied), UNREACHABLE)
        return row, row

    _, rows = jax.lax.scan(add_orbital, empty, b, reverse=True)
    return jnp.concatenate([rows, empty[None]])


def _log_sum(x, y):
    """ln(e^x + e^y) of finite numbers, smooth where they are equal, as degenerate orbitals make them: inside
    a scan jnp.logaddexp loses its rule of differentiation, and with it the second derivative there.
    """
    largest = jax.lax.stop_gradient(jnp.maximum(x, y))
    return largest + jnp.log(jnp.exp(x - largest) + jnp.exp(y - largest))


@jax.jit(static_argnums=1)
def conditional_table(b: Float[Array, " M"], n: int) -> Float[Array, "{n} M"]:
    """l[i, m] = -b_m + T[m+1, n-1-i]: the i-th electron's logits, to be normalised over m > k_{i-1}."""
    T = suffix_table(b, n)
    return -b[None, :] + T[1:, n - 1 :: -1][:, :n].T


def log_partition(b: Float[Array, " M"], n: int) -> Float[Array, ""]:
    """ln Z of n electrons in orbitals of reduced energies b."""
    return suffix_table(b, n)[0, n]


def canonical(b: Float[np.ndarray, " M"], n: int) -> tuple[float, Float[np.ndarray, " M"]]:
    """ln Z and the occupations <n_m> in float64. Orbitals with b >= 1e3 count as absent.

    With B[q, m] = ln of the summed Boltzmann factors of q electrons in the m first orbitals, and A[q, m] that
    of those from m on, <n_m> = sum_q exp(B[q, m] - b_m + A[n-1-q, m+1])/Z.
    """
    if n == 0:
        return 0.0, np.zeros(len(b))
    check_memory(
        TABLES * 8 * (n + 1) * len(b),
        f"the canonical tables of {n} electrons in {len(b)} orbitals",
        "Lower theta, `cutoff` or the number of electrons.",
    )
    b = np.asarray(b, float)
    before = _log_sums(b, n)
    after = _log_sums(b[::-1], n)[:, ::-1]
    others = np.logaddexp.reduce(before[:n, :-1] + after[n - 1 :: -1, 1:], axis=0)
    return float(after[n, 0]), np.exp(others - b - after[n, 0])


def _log_sums(b, n):
    """B of 0 to n electrons, all orbitals at once for each number of them."""
    B = np.full((n + 1, len(b) + 1), -np.inf)
    B[0] = 0
    for q in range(n):
        np.logaddexp.accumulate(B[q, :-1] - b, out=B[q + 1, 1:])
    return B


def entropy(b: Float[np.ndarray, " M"], n: int) -> float:
    """S = ln Z + <b>, in k_B."""
    log_z, occupations = canonical(b, n)
    return log_z + float(np.sum(np.where(occupations > 0, occupations * b, 0.0)))


def converged_cutoff(
    levels: Real[np.ndarray, " M"], b: Float[np.ndarray, " M"], n: int, tolerance: float
) -> float:
    """The lowest level up to which a table of whole shells holds the entropy of n electrons to `tolerance`
    k_B each.

    levels: of all orbitals, ascending, degenerate ones equal; b: their reduced energies.
    """
    candidates = np.unique(levels[n - 1 :])  # the ground state must fit

    def up_to(level):
        return entropy(np.where(levels <= level, b, 1e6), n)

    exact = up_to(candidates[-1])
    low = 0
    high = len(candidates) - 1
    while low < high:  # the entropy grows with the table
        middle = (low + high) // 2
        if exact - up_to(candidates[middle]) < tolerance * n:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low])


def ideal_gas(system: System) -> IdealGas:
    """The exact canonical ensemble of the non-interacting electrons of a system, within its orbital table.

    Totals, and k_B. At theta = 0 the entropy is the logarithm of the ground state's degeneracy.
    """
    e = np.asarray(system.orbital_energies, float)
    entropy_total = 0.0
    occupations = []
    for b, n in zip(system.reduced_energies, system.num_electrons, strict=True):
        occupations.append(canonical(np.asarray(b, float), n)[1])
        entropy_total += entropy(np.asarray(b, float), n) if n else 0.0
    energy = float(sum(np.sum(e * occ) for occ in occupations))
    return IdealGas(
        energy - float(system.temperature) * entropy_total, energy, entropy_total, np.stack(occupations)
    )
