r"""The first-order bound (Gibbs, Peierls, Bogoliubov):  F <= F_0 + <V>_0, the average of V in the exact
canonical ideal gas.

    <V>_0 = (1/r_s) [ N xi/(2 L) - (1/2) sum_{m != m', same spin} <n_m n_m'> v(k_m - k_m') ],
    v(q) = 4 pi/(L^3 q^2) in 3D,  2 pi/(L^2 q) in 2D,   <n_m n_m'> = <n_m> <n_m'>_m,

the last an average over the N - 1 other electrons, without the orbital m.

This is the free energy of the untrained program: identity flow and ideal-gas p(K). Training can only lower
it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pnct.memory import check_memory
from pnct.systems.ewald import madelung
from pnct.systems.ideal_gas import canonical, ideal_gas

CHUNK_NUMBERS = 2**24  # of the largest temporary array
MATRICES = 5  # of all pairs of orbitals, that are alive together


class FirstOrder(NamedTuple):
    """Totals in hartree and k_B."""

    free_energy: float
    energy: float
    kinetic: float
    potential: float
    entropy: float


def first_order_bound(gas) -> FirstOrder:
    """The free energy of the electron gas to first order in the interaction, an upper bound. Exact, no
    sampling.
    """
    ideal = ideal_gas(gas)
    exchange = sum(
        _exchange(gas, pair_occupations(np.asarray(b, float), n))
        for b, n in zip(gas.reduced_energies, gas.num_electrons, strict=True)
        if n
    )
    potential = (gas.N * madelung(gas.dim) / (2 * gas.L) - exchange / 2) / float(gas.rs)
    energy = ideal.energy + potential
    return FirstOrder(ideal.free_energy + potential, energy, ideal.energy, potential, ideal.entropy)


def first_order_energies(gas, K: Int[np.ndarray, "S N"]) -> Float[np.ndarray, " S"]:
    """E_K = <Phi_K|H|Phi_K> of plane-wave determinants: kinetic energy, Madelung term and exchange. Totals in
    hartree.
    """
    K = np.asarray(K)
    energies = np.asarray(gas.orbital_energies, float)
    exchange = exchange_integrals(gas)
    up = gas.num_electrons[0]
    pairs = sum(np.sum(exchange[k[:, :, None], k[:, None, :]], axis=(1, 2)) for k in (K[:, :up], K[:, up:]))
    return np.sum(energies[K], axis=1) + (gas.N * madelung(gas.dim) / (2 * gas.L) - pairs / 2) / float(gas.rs)


def pair_occupations(b: Float[np.ndarray, " M"], n: int) -> Float[np.ndarray, "M M"]:
    """<n_m n_m'> of the canonical ideal gas, in float64; <n_m> on the diagonal.

    Once for each level: orbitals of one energy share everything.
    """
    check_memory(
        MATRICES * 8 * len(b) ** 2,
        f"the pairs of {len(b)} orbitals",
        "Lower theta or `cutoff`.",
    )
    occupations = canonical(b, n)[1]
    pairs = np.empty((len(b), len(b)))
    for level in np.unique(b):
        alike = np.flatnonzero(b == level)
        m = alike[0]
        others = np.insert(canonical(np.delete(b, m), n - 1)[1], m, 0.0)  # where one electron is in m
        others[m] = others[alike[-1]]  # of any other one of the level
        pairs[alike] = occupations[m] * others
    np.fill_diagonal(pairs, occupations)
    return pairs


def _exchange(gas, pairs: Float[np.ndarray, "M M"]) -> float:
    """sum <n_m n_m'> v(k_m - k_m'), some rows after the other."""
    step = max(1, CHUNK_NUMBERS // (gas.dim * len(pairs)))
    rows = (slice(start, start + step) for start in range(0, len(pairs), step))
    return float(sum(np.sum(pairs[some] * exchange_integrals(gas, some)) for some in rows))


def exchange_integrals(gas, rows: slice = slice(None)) -> Float[np.ndarray, "m M"]:
    """v(k_m - k_m') of some rows m, zero on the diagonal, in units of hartree/r_s."""
    k = gas.orbitals.wavevectors
    q2 = np.sum((k[rows, None] - k[None]) ** 2, axis=-1)
    q2[np.arange(len(q2)), np.arange(len(k))[rows]] = np.inf
    return 4 * np.pi / (gas.L**3 * q2) if gas.dim == 3 else 2 * np.pi / (gas.L**2 * np.sqrt(q2))
