r"""Structure and occupations: pure functions of samples.

    g_ab(r) = L^dim/(N_a N_b) <sum_{i in a, j in b, i != j} delta(r - |r_i - r_j|)>/A(r)
    S(q)    = <|rho(q)|^2>/N,   S_ab(q) = Re <rho_a(q) rho_b(q)^*>/N,   rho_a(q) = sum_{i in a} exp(i q.r_i)
    n_m     = <number of electrons in orbital m>

With this normalisation, independent uniform points have g_ab = 1 - delta_ab/N_a, and a Slater determinant of
plane waves has g(r) = 1 - |sum_k exp(i k.r)|^2/N^2 within a species and 1 between them. Errors are
std/sqrt(samples), for independent samples; those with a nan (failed walkers) are left out. Lengths in r_s
a_0. Sums run on the host, chunk by chunk.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import j0

from pnct.inference.sampling.saved_draws import DrawsLike, measured_of, states_of
from pnct.orbitals.plane_waves import Cell, PlaneWaves
from pnct.validation import checked_integer

CHUNK_NUMBERS = 2**21  # the largest temporary array, in numbers


class PairCorrelation(NamedTuple):
    """g(r) at the bin centres r; `g` and `error` by spin pair: "up-up", "up-down", "down-down"
    where present.
    """

    r: Float[np.ndarray, " bins"]
    g: dict[str, Float[np.ndarray, " bins"]]
    error: dict[str, Float[np.ndarray, " bins"]]


class StructureFactor(NamedTuple):
    """S(q) at the wave vectors q, shape (Q, dim), and its parts by spin pair: S = S_up-up + 2 S_up-down +
    S_down-down.
    """

    q: Float[np.ndarray, "Q dim"]
    S: Float[np.ndarray, " Q"]
    error: Float[np.ndarray, " Q"]
    by_spin: dict[str, Float[np.ndarray, " Q"]]
    by_spin_error: dict[str, Float[np.ndarray, " Q"]]


class Occupations(NamedTuple):
    """Mean number of electrons in each orbital, with its error."""

    n: Float[np.ndarray, " M"]
    error: Float[np.ndarray, " M"]


def pair_correlation(R: Float[Array, "S N dim"] | DrawsLike, space: Cell, bins: int = 50) -> PairCorrelation:
    """g_ab(r) in `bins` equal bins up to L/2, averaged over angles and over the bin's shell, whose volume is
    exact.

    R: coordinates, or draws, or what to_arviz made of them.
    A bin in which no pair was found has the error of a single one.
    """
    R = _finite_samples(R, space)
    bins = checked_integer("bins", bins, 1)
    edges = np.linspace(0.0, space.L / 2, bins + 1)
    volumes = np.diff(edges**space.dim) * (np.pi if space.dim == 2 else 4 * np.pi / 3)

    g = {}
    error = {}
    for name, i, j, weight in _spin_pairs(space):
        if len(i) == 0:  # a single electron has no partner
            g[name], error[name] = np.zeros(bins), np.zeros(bins)
            continue

        def count(chunk, i=i, j=j):
            d = chunk[:, i] - chunk[:, j]
            d -= space.L * np.round(d / space.L)
            index = np.floor(np.sqrt(np.sum(d**2, axis=-1)) * (bins / edges[-1])).astype(int)
            # One extra bin takes what lies beyond L/2, in the corners of the cell.
            index = np.minimum(index, bins) + (bins + 1) * np.arange(len(chunk))[:, None]
            return np.bincount(index.ravel(), minlength=(bins + 1) * len(chunk)).reshape(-1, bins + 1)[
                :, :bins
            ]

        mean, deviation = _mean_and_error(count, R, len(i) * space.dim)
        deviation = np.where(mean == 0, 1 / len(R), deviation)
        scale = weight * space.L**space.dim / volumes
        g[name], error[name] = mean * scale, deviation * scale
    return PairCorrelation((edges[1:] + edges[:-1]) / 2, g, error)


def structure_factor(
    R: Float[Array, "S N dim"] | DrawsLike, space: Cell, q: Float[Array, "Q dim"]
) -> StructureFactor:
    """S(q) = <|sum_i exp(i q.r_i)|^2>/N at wave vectors q, integer multiples of 2 pi/L along each axis.

    R: coordinates, or draws, or what to_arviz made of them.
    """
    R = _finite_samples(R, space)
    q = np.asarray(q, float)
    if q.ndim != 2 or q.shape[1] != space.dim:
        raise ValueError(f"Expected q of shape (Q, {space.dim}); got {q.shape}.")
    n = q * space.L / (2 * np.pi)
    if not np.allclose(n, np.round(n), atol=1e-4):
        raise ValueError("Expected q in multiples of 2 pi/L (the cell has no others); got one between them.")

    named = list(combinations_with_replacement(named_species(space), 2))

    def densities(chunk):
        phase = chunk @ q.T
        waves = np.cos(phase) + 1j * np.sin(phase)
        rho = {name: np.sum(waves[:, electrons], axis=1) for name, electrons in named_species(space)}
        parts = [np.real(rho[a] * rho[b].conj()) for (a, _), (b, _) in named]
        return np.concatenate([np.abs(sum(rho.values())) ** 2, *parts], axis=1) / space.N

    mean, error = _mean_and_error(densities, R, 2 * space.N * len(q))
    (S, *parts), (deviation, *deviations) = (np.split(x, 1 + len(named)) for x in (mean, error))
    names = [f"{a}-{b}" for (a, _), (b, _) in named]

    def by_name(x):
        return dict(zip(names, x, strict=True))

    return StructureFactor(q, S, deviation, by_name(parts), by_name(deviations))


def occupations(K: Int[Array, "S n"] | DrawsLike, M: int) -> Occupations:
    """n_m, the mean number of the given electrons in orbital m = 0 ... M-1: of quasi-particles, not of
    momenta.

    K: samples of occupied orbitals, of one species (K[:, cell.species[s]]) or of all electrons together;
    these too, of draws or of what to_arviz made of them.
    """
    K = np.asarray(states_of(K))
    if K.ndim != 2 or not np.issubdtype(K.dtype, np.integer):
        raise ValueError(f"Expected K of shape (samples, electrons), integer; got {K.shape}, {K.dtype}.")
    if K.size and (K.min() < 0 or K.max() >= M):
        raise ValueError(f"Expected orbitals between 0 and {M - 1}; got {K.min()} ... {K.max()}.")

    def count(chunk):
        index = chunk + M * np.arange(len(chunk))[:, None]
        return np.bincount(index.ravel(), minlength=M * len(chunk)).reshape(-1, M)

    return Occupations(*_mean_and_error(count, K, M))


def ideal_pair_correlation(
    orbitals: PlaneWaves, K: Int[Array, " N"], r: Float[Array, " bins"]
) -> dict[str, Float[np.ndarray, " bins"]]:
    """The exact angular average of g(r) in the plane-wave determinant K, r <= L/2, by spin pair.

    g(r) = 1 - (1/n^2) sum_{k k'} <cos((k - k').r)>,  <cos(q.r)> = J_0(q r) in 2D and sin(q r)/(q r) in 3D.
    """
    space = orbitals.space
    r = np.asarray(r, float)
    angular = j0 if space.dim == 2 else lambda x: np.sinc(x / np.pi)
    g = {}
    for a, b in combinations_with_replacement(named_species(space), 2):
        name = f"{a[0]}-{b[0]}"
        if a is not b:
            g[name] = np.ones_like(r)
            continue
        k = orbitals.wavevectors[np.asarray(K)[a[1]]]
        q = np.linalg.norm(k[:, None] - k[None], axis=-1)
        g[name] = 1 - np.array([np.mean(angular(q * x)) for x in r])
    return g


def named_species(space: Cell) -> list[tuple[str, slice]]:
    """("up", where its electrons stand), and so for "down", where present."""
    present = [name for name, n in zip(("up", "down"), space.num_electrons, strict=True) if n]
    return list(zip(present, space.species, strict=True))


def _spin_pairs(space):
    """(name, i, j, weight): each pair of electrons once, and what it adds to the sum over ordered pairs/(N_a
    N_b).
    """
    electrons = np.arange(space.N)
    for a, b in combinations_with_replacement(named_species(space), 2):
        ia = electrons[a[1]]
        ib = electrons[b[1]]
        i, j = (x.ravel() for x in np.meshgrid(ia, ib, indexing="ij"))
        if a is b:
            yield f"{a[0]}-{b[0]}", i[i < j], j[i < j], 2 / (len(ia) * len(ib))
        else:
            yield f"{a[0]}-{b[0]}", i, j, 1 / (len(ia) * len(ib))


def _finite_samples(R, space):
    R = np.asarray(measured_of(R))
    if R.ndim != 3 or R.shape[1:] != (space.N, space.dim):
        raise ValueError(f"Expected R of shape (samples, {space.N}, {space.dim}); got {R.shape}.")
    R = R[np.all(np.isfinite(R), axis=(1, 2))]
    if not len(R):
        raise ValueError("Expected at least one finite sample; got none.")
    return R


def _mean_and_error(f, samples, numbers_per_sample):
    """Mean over samples of f(chunk of samples) -> (chunk, n), and its standard error."""
    step = max(1, CHUNK_NUMBERS // max(numbers_per_sample, 1))
    total = 0.0
    shift = None
    squares = 0.0
    for start in range(0, len(samples), step):
        x = np.asarray(f(samples[start : start + step]), float)
        # Squares about a typical value: about zero they would cancel.
        shift = x.mean(axis=0) if shift is None else shift
        total = total + np.sum(x - shift, axis=0)
        squares = squares + np.sum((x - shift) ** 2, axis=0)
    n = len(samples)
    variance = np.maximum(squares - total**2 / n, 0.0) / (n - 1) if n > 1 else np.full_like(total, np.nan)
    return shift + total / n, np.sqrt(variance / n)
