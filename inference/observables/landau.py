r"""Landau's energy functional (L. D. Landau, Sov. Phys. JETP 3, 920 (1957)), fitted to independent samples of
the states K:

    y(K) = y_0 + sum_m epsilon_m dn_m + sum_{m < m'} f_mm' dn_m dn_m',     dn_m = n_m(K) - n_m(ground state)

by least squares. y is -T ln p(K), which is E_K - F where p is the Gibbs law, or the local energy, whose mean
at K is E_K. epsilon has one value per shell and f one per pair of shells, distance |k - k'| and pair of
spins: all that a rotation leaves unchanged. At fixed N, sum_m dn_m = 0, so that f + a_m + a_m' with epsilon +
a_m (1 - 2 n_m) is the same function of K for any a: of all equivalent pairs the one with the smallest sum of
f^2 is taken, and the zero of epsilon is where epsilon differs least from the free energies k^2/2 r_s^2. The
harmonics of f beyond the constant do not depend on that choice.

Errors hold for noise and misfit of any size (White, Econometrica 48, 817 (1980), each squared residual
divided by its share of the freedom).
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import eval_chebyt, eval_legendre

from pnct.estimate import Estimate
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws, states_of
from pnct.systems.ideal_gas import ideal_gas

FEWEST_SAMPLES = 10  # that must differ from the typical state in a term, for the term to be fitted
SINGULAR = 1e-9  # relative size of a singular value that counts as zero


class TooFewStates(ValueError):
    """There is nothing to fit: the samples hold one state, or no two of them often enough."""


class LandauFunctional(NamedTuple):
    """The fit. Energies in hartree. Terms that hardly any sample contains are absent, and such samples are
    left out.
    """

    constant: float  # y_0
    shells: Int[np.ndarray, "C 2"]  # spin (0 up, 1 down) and one orbital of each shell, ascending in energy
    free_energies: Float[np.ndarray, " C"]  # k^2/(2 r_s^2)
    epsilon: Float[np.ndarray, " C"]
    epsilon_covariance: Float[np.ndarray, "C C"]
    pairs: Int[np.ndarray, "P 4"]  # spin, orbital, spin, orbital: one pair of each class
    multiplicity: Int[np.ndarray, " P"]  # number of pairs of the class
    f: Float[np.ndarray, " P"]
    f_covariance: Float[np.ndarray, "P P"]
    r_squared: float  # share of the variance of the states' means that the fit explains
    rms_residual: float  # of the states' means, hartree
    # mean square of the misfit over that of the noise: 1 where the functional is exact; nan without noise
    lack_of_fit: float
    num_states: int
    num_samples: int

    @property
    def epsilon_error(self) -> Float[np.ndarray, " C"]:
        return np.sqrt(np.diag(self.epsilon_covariance))

    @property
    def f_error(self) -> Float[np.ndarray, " P"]:
        return np.sqrt(np.diag(self.f_covariance))


def landau_functional(
    gas, K: Int[Array, "S N"] | DrawsLike, y: Float[Array, " S"] | None = None
) -> LandauFunctional:
    """Fits the functional to samples (K, y) of one ensemble; y in hartree, total. Samples that are not finite
    are left out.

    K: the states, or draws, or what to_arviz made of them.  y: by default -T ln p(K) of the draws.
    Raises ValueError, TooFewStates where no two states have been drawn often enough.
    """
    if y is None:
        draws = as_draws(K)
        y = np.where(draws.is_finite, -draws.temperature * np.asarray(draws.log_prob, float), np.nan)
    K = np.asarray(states_of(K))
    y = np.asarray(y, float)
    if K.ndim != 2 or K.shape[1] != gas.N or y.shape != K.shape[:1]:
        raise ValueError(
            f"Expected K of shape (samples, {gas.N}) and y of shape (samples,); got {K.shape} and {y.shape}."
        )
    K = K[np.isfinite(y)]
    y = y[np.isfinite(y)]
    states, index, counts = np.unique(K, axis=0, return_inverse=True, return_counts=True)
    if len(states) < 2:
        raise TooFewStates(
            f"Expected two states or more, each drawn {FEWEST_SAMPLES} times; got one in {len(y)} samples."
        )
    index = index.ravel()
    dn = _occupations(gas, states) - _reference(gas)

    linear, shells, sizes = _by_class(
        _shell_keys(gas), np.arange(dn.shape[1])[:, None], lambda m: dn[:, m[:, 0]]
    )
    active = np.flatnonzero(np.ptp(dn, axis=0) > 0)
    couples = np.stack([active[i] for i in np.triu_indices(len(active), 1)], axis=-1)

    def products(m):
        return dn[:, m[:, 0]] * dn[:, m[:, 1]]

    quadratic, pairs, multiplicity = _by_class(_pair_keys(gas, couples), couples, products)

    common = _common_states(np.hstack([linear, quadratic]), counts)
    if np.sum(common) < 2:
        raise TooFewStates(
            f"Expected two states or more, each drawn {FEWEST_SAMPLES} times; got {len(y)} samples."
        )
    kept = common[index]
    y = y[kept]
    index = (np.cumsum(common) - 1)[index[kept]]
    counts = counts[common]
    free = dn[common] @ np.tile(np.asarray(gas.orbital_energies, float), 2)
    means = np.bincount(index, y) / counts
    linear = linear[common]
    quadratic = quadratic[common]
    seen_l = np.ptp(linear, axis=0) > 1e-12
    seen_q = np.ptp(quadratic, axis=0) > 1e-12
    shells = shells[seen_l, 0]
    pairs = pairs[seen_q]
    multiplicity = multiplicity[seen_q]

    # Rows count by how often a state came, columns by how many orbitals or pairs share the value.
    weight = np.sqrt(counts)[:, None]
    unit = np.concatenate([[1.0], np.sqrt(sizes[seen_l]), np.sqrt(multiplicity)])
    design = weight * np.hstack([np.ones_like(weight), linear[:, seen_l], quadratic[:, seen_q]]) / unit
    A, B = np.split(design, [1 + len(shells)], axis=1)
    cutoff = SINGULAR * np.linalg.norm(design)
    A_inverse = _pseudo_inverse(A, cutoff)
    f_map = _pseudo_inverse(B - A @ (A_inverse @ B), cutoff)
    maps = np.vstack([A_inverse - (A_inverse @ B) @ f_map, f_map])
    coefficients = maps @ (weight[:, 0] * (means - free))
    fitted = free + design @ coefficients / weight[:, 0]

    freedom = 1 - np.clip(np.sum(design * maps.T, axis=1) / counts, 0, 1)
    squares = np.bincount(index, (y - fitted[index]) ** 2) / np.maximum(freedom, np.finfo(float).eps)
    coefficients = coefficients / unit
    maps = maps / unit[:, None]
    covariance = (maps * (squares / counts)) @ maps.T

    noise = float(np.sum((y - means[index]) ** 2))
    misfit = float(np.sum(counts * (means - fitted) ** 2))
    spread = float(np.sum(counts * (means - np.average(means, weights=counts)) ** 2))
    free_states = len(counts) - np.linalg.matrix_rank(design, tol=cutoff)
    noisy = noise > 1e-16 * np.sum(y**2) and free_states > 0
    M = len(gas.orbitals)
    C = len(shells)
    bare = np.asarray(gas.orbital_energies, float)[shells % M]
    return LandauFunctional(
        constant=float(coefficients[0]),
        shells=np.stack(np.divmod(shells, M), axis=-1),
        free_energies=bare,
        epsilon=bare + coefficients[1 : C + 1],
        epsilon_covariance=covariance[1 : C + 1, 1 : C + 1],
        pairs=np.stack(np.divmod(pairs, M), axis=-1).reshape(-1, 4),
        multiplicity=multiplicity,
        f=coefficients[C + 1 :],
        f_covariance=covariance[C + 1 :, C + 1 :],
        r_squared=1 - misfit / spread,
        rms_residual=float(np.sqrt(misfit / len(y))),
        lack_of_fit=(misfit / free_states) / (noise / (len(y) - len(counts))) if noisy else float("nan"),
        num_states=len(counts),
        num_samples=len(y),
    )


def landau_parameters(
    gas, fit: LandauFunctional, l_max: int = 2, mass: float = 1.0
) -> dict[str, tuple[Estimate, ...]]:
    """The Landau parameters F_1 ... F_{l_max} of each pair of spins: N(0) f = const + sum_l F_l P_l(cos
    angle(k, k')).

    P_l: Legendre polynomials in 3D, cos(l angle) in 2D. N(0): density of states of one species at infinite
    size, with m*/m = `mass`; so a polarised gas has m*/m = 1 + F_1/dim. Pairs count by the thermal weight n
    (1 - n) of both orbitals, and each pair of shells has its own constant, since at fixed N that is not known
    (F_0 is seen in the compressibility). An l that the angles at hand cannot tell from the others is nan.
    """
    if l_max < 1:
        raise ValueError(f"Expected l_max >= 1; got {l_max}.")
    occupations = ideal_gas(gas).occupations
    k = gas.orbitals.wavevectors
    thermal = occupations * (1 - occupations)
    norm = np.linalg.norm(k, axis=1)
    polynomial = eval_chebyt if gas.dim == 2 else eval_legendre
    spin, m, spin2, m2 = fit.pairs.T
    parameters = {}
    for a, b in combinations_with_replacement((0, 1), 2):
        here = np.flatnonzero((spin == a) & (spin2 == b) & (norm[m] > 0) & (norm[m2] > 0))
        if not len(here):
            continue
        i = m[here]
        j = m2[here]
        cosine = np.clip(np.sum(k[i] * k[j], axis=1) / (norm[i] * norm[j]), -1, 1)
        levels = np.sort(gas.shell_index[np.stack([i, j], axis=1)], axis=1)
        constants = np.eye(len(here))[np.unique(levels, axis=0, return_inverse=True)[1].ravel()]
        harmonics = np.stack([polynomial(l, cosine) for l in range(1, l_max + 1)], axis=1)

        root = np.sqrt(fit.multiplicity[here] * thermal[a, i] * thermal[b, j])
        design = root[:, None] * np.hstack([constants, harmonics])
        projection = density_of_states(gas, mass) * np.linalg.pinv(design, rcond=SINGULAR)[-l_max:] * root
        response = projection @ np.hstack([constants, harmonics]) / density_of_states(gas, mass)
        known = np.all(
            np.isclose(response, np.eye(*response.shape, k=response.shape[1] - l_max), atol=1e-6), axis=1
        )
        values = projection @ fit.f[here]
        errors = np.sqrt(np.diag(projection @ fit.f_covariance[np.ix_(here, here)] @ projection.T))
        parameters[f"{('up', 'down')[a]}-{('up', 'down')[b]}"] = tuple(
            Estimate(float(v), float(e), fit.num_samples) if ok else Estimate(np.nan, np.nan, fit.num_samples)
            for v, e, ok in zip(values, errors, known, strict=True)
        )
    return parameters


def density_of_states(gas, mass: float = 1.0) -> float:
    """States of the majority species per hartree at the Fermi surface of the infinite system, in the volume
    of the cell.
    """
    per_mass = gas.L**2 / (2 * np.pi) if gas.dim == 2 else gas.L**3 * gas.fermi_wavevector / (2 * np.pi**2)
    return float(mass * per_mass * gas.rs**2)


def _occupations(gas, K):
    """n_m of each state, shape (states, 2 M): up orbitals, then down ones."""
    M = len(gas.orbitals)
    n = np.zeros((len(K), 2 * len(gas.orbitals)))
    offset = np.repeat([0, M], gas.num_electrons)
    np.put_along_axis(n, K + offset, 1.0, axis=1)
    return n


def _reference(gas):
    """The ground state's occupations, averaged over an open shell."""
    shells = gas.shell_index
    rows = []
    for n in gas.num_electrons:
        filled = np.bincount(shells[:n], minlength=shells.max() + 1) / np.bincount(shells)
        rows.append(filled[shells])
    return np.concatenate(rows)


def _shell_keys(gas):
    """For each of the 2 M orbitals (level, spin); the species of an unpolarised gas are alike."""
    spins = np.repeat([0, 0 if gas.num_electrons[0] == gas.num_electrons[1] else 1], len(gas.orbitals))
    return np.stack([np.tile(gas.shell_index, 2), spins], axis=-1)


def _pair_keys(gas, couples):
    """For each pair of orbitals: both levels and spins in order, whether the spins are equal, and
    |k - k'|^2.
    """
    keys = _shell_keys(gas)[couples]
    M = len(gas.orbitals)
    first = np.lexsort((keys[..., 1].T, keys[..., 0].T), axis=0).T
    keys = np.take_along_axis(keys, first[..., None], axis=1).reshape(len(couples), 4)
    opposite = couples[:, 0] // M != couples[:, 1] // M
    d = gas.orbitals.indices[couples[:, 0] % M] - gas.orbitals.indices[couples[:, 1] % M]
    return np.column_stack([keys, opposite, np.round(np.sum(d**2, axis=-1), 6)])


def _by_class(keys, members, values):
    """Sums over the members with one key. Returns features (states, classes), a member of each class, and
    their number.
    """
    _, first, label, number = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    groups = np.split(np.argsort(label.ravel(), kind="stable"), np.cumsum(number)[:-1])
    features = [np.sum(values(members[group]), axis=1) for group in groups]
    return np.stack(features, axis=-1), members[first], number


def _common_states(features, counts):
    """Which states hold only terms that at least FEWEST_SAMPLES samples have different from the typical
    state.
    """
    differs = np.abs(features - features[np.argmax(counts)]) > 1e-12
    common = np.ones(len(counts), bool)
    while True:
        rare = counts[common] @ differs[common] < FEWEST_SAMPLES
        still = common & ~np.any(differs[:, rare], axis=1)
        if np.array_equal(still, common):
            return common
        common = still


def _pseudo_inverse(X, cutoff):
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    inverse = np.where(s > cutoff, 1 / np.maximum(s, cutoff), 0.0)
    return (Vt.T * inverse) @ U.T
