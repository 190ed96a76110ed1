r"""g(r) and S(q) of the ideal gas at its temperature, exactly: the curves beside which those of draws are
read.

    g_aa(r) = 1 - (1/N_a^2) sum_{m m'} <n_m n_m'> <cos((k_m - k_m').r)>,        g_ab = 1 between the species
    S_aa(q) = N_a/N - (1/N) sum_{k_m - k_m' = q} <n_m n_m'>,   S_ab(q) = 0,     q != 0

in the canonical ensemble (pnct.systems.first_order finds <n_m n_m'>); <cos(q.r)> over angles is J_0(q r) in
2D and sin(q r)/(q r) in 3D. At theta = 0 an open shell is averaged over. The momentum distribution is
`pnct.ideal_gas(gas).occupations`.
"""

import numpy as np
from jaxtyping import Array, Float
from scipy.special import j0

from pnct.inference.observables.correlations import StructureFactor, named_species
from pnct.systems.first_order import CHUNK_NUMBERS, pair_occupations


def canonical_pair_correlation(gas, r: Float[Array, " bins"]) -> dict[str, Float[np.ndarray, " bins"]]:
    """The angular average of g(r) by spin pair, r <= L/2, in units of r_s a_0."""
    r = np.asarray(r, float)
    n = gas.orbitals.indices
    step = max(1, CHUNK_NUMBERS // n.size)
    chunks = [slice(start, start + step) for start in range(0, len(n), step)]
    longest = int(np.max(np.sum((n.max(axis=0) - n.min(axis=0)) ** 2))) + 1
    q = 2 * np.pi / gas.L * np.sqrt(np.arange(longest + 1))  # of all squares, whole in units of (2 pi/L)^2
    angular = j0(q * r[:, None]) if gas.dim == 2 else np.sinc(q * r[:, None] / np.pi)
    g = {}
    for a, pairs, count in _pairs(gas):
        weights = np.zeros(longest + 1)
        for rows in chunks:
            squares = np.rint(np.sum((n[rows, None] - n) ** 2, axis=-1)).astype(int)
            weights += np.bincount(squares.ravel(), pairs[rows].ravel(), minlength=longest + 1)
        g[f"{a}-{a}"] = 1 - angular @ weights / count**2
    if len(g) == 2:
        g = {"up-up": g["up-up"], "up-down": np.ones_like(r), "down-down": g["down-down"]}
    return g


def canonical_structure_factor(gas, q: Float[Array, "Q dim"]) -> StructureFactor:
    """S(q) and its parts by spin pair at wave vectors q, integer multiples of 2 pi/L along each axis."""
    q = np.asarray(q, float)
    n = np.round(gas.orbitals.indices[:, None] - gas.orbitals.indices[None]).astype(int)
    wanted = np.round(q * gas.L / (2 * np.pi)).astype(int)
    steps = np.all(n == wanted[:, None, None], axis=-1)
    still = np.all(wanted == 0, axis=1)
    parts = {}
    counts = {}
    for a, pairs, count in _pairs(gas):
        moved = (count - np.sum(steps * pairs, axis=(1, 2))) / gas.N
        parts[f"{a}-{a}"], counts[a] = np.where(still, count**2 / gas.N, moved), count
    if len(parts) == 2:
        across = np.where(still, counts["up"] * counts["down"] / gas.N, 0.0)
        parts = {"up-up": parts["up-up"], "up-down": across, "down-down": parts["down-down"]}
    S = sum(x * (2 if name == "up-down" else 1) for name, x in parts.items())
    return StructureFactor(
        q, S, np.zeros_like(S), parts, {name: np.zeros_like(x) for name, x in parts.items()}
    )


def _pairs(gas):
    """(name, <n_m n_m'>, number of electrons) of each species that is there."""
    for name, electrons in named_species(gas.space):
        spin = ("up", "down").index(name)
        n = electrons.stop - electrons.start
        yield name, pair_occupations(np.asarray(gas.reduced_energies[spin], float), n), n
