r"""The determinantal law  zeta ~ |Phi_K(zeta)|^2:  exact independent samples of free electrons.

|det D|^2, D_il = phi_l(r_i), is a projection determinantal point process. Its electrons can be drawn one
after the other: propose r from an envelope g(r) >= sum_l |phi_l(r)|^2 of the orbitals, v_l =
phi_l(r)/g(r)^(1/2), and accept with probability

    |v|^2 - |Q v|^2,    Q = the orthonormal vectors of the electrons placed so far,

then append the normalised residual of v to Q. For plane waves g = n/V is exact, and n electrons take n (1 +
1/2 + ... + 1/n) proposals on average. Each configuration advances at its own pace, by at most one electron in
every round of several proposals. Species are independent. A superposition of determinants has no such law.
Where its electrons are few, they are drawn one after the other all the same
(pnct.states.electron_by_electron); where they are many,

    |sum_t c_t D_t|^2 <= c sum_t |c_t| |D_t|^2,    c = sum_t |c_t|

so a sample of one of them, chosen with the chances |c_t|/c, is accepted with the ratio of the two sides: once
in c^2 times on average, and c^2 is at most their number. Of a Slater-Jastrow state
(pnct.states.slater_jastrow) the second species is drawn after the first.

Hough, Krishnapur, Peres, Virag, Probability Surveys 3, 206 (2006), algorithm 18.
"""

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pnct.states import slater
from pnct.states.electron_by_electron import few_enough_sets, sample_electron_by_electron
from pnct.states.slater_jastrow import SlaterJastrow
from pnct.states.superposition import Superposition

PROPOSALS = 8  # per round
JASTROW_PROPOSALS = 32  # likewise, where the bound is a few times larger than the density
MAX_ROUNDS = 512  # per electron: the chance to need more is exp(-4096) for plane waves
MAX_TRIALS = 1024  # of a superposition: the chance to need more is below exp(-1024/t) for t determinants


class Determinantal(distrax.Distribution):
    """zeta ~ |Phi_K|^2, shape (N, dim); in a periodic cell within [0, L)^dim.

    orbitals: PlaneWaves, Oscillators, OrbitalRotation, a Superposition or SlaterJastrow.  K: (N,) occupied
    orbitals, up then down.
    dtype: of the samples, by default jax's own.
    If K names an orbital twice, |Phi_K|^2 vanishes and the samples are nan.
    """

    def __init__(self, orbitals, K: Int[Array, " N"], dtype=None):
        if jnp.shape(K) != (orbitals.space.N,):
            raise ValueError(
                f"Expected K of shape ({orbitals.space.N},), one orbital per electron; got {jnp.shape(K)}."
            )
        self.orbitals = orbitals
        self.K = K
        self._dtype = dtype

    @property
    def event_shape(self) -> tuple[int, int]:
        return (self.orbitals.space.N, self.orbitals.space.dim)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        return jax.dtypes.canonicalize_dtype(self._dtype or float)

    def log_prob(self, value: Float[Array, "*batch N dim"]) -> Float[Array, "*batch"]:
        """ln |Phi_K|^2, normalised over ordered coordinates."""

        def log_prob(zeta):
            with jax.default_matmul_precision("highest"):
                return 2 * jnp.real(slater.log_det(self.orbitals, self.K, zeta))

        for _ in range(value.ndim - 2):
            log_prob = jax.vmap(log_prob)
        return log_prob(value)

    def _sample_n(self, key, n):
        return jax.vmap(self._sample_one)(jax.random.split(key, n))

    def _sample_one(self, key):
        # Accelerators round the factors of float32 products to ten bits unless told otherwise.
        with jax.default_matmul_precision("highest"):
            if isinstance(self.orbitals, Superposition):
                c = jax.eval_shape(self.orbitals.determinants, self.K)[0]
                few = few_enough_sets(len(c), self.orbitals.space.num_electrons)
                draw = sample_electron_by_electron if few else sample_superposition
                return draw(key, self.orbitals, self.K, self.dtype)
            if isinstance(self.orbitals, SlaterJastrow):
                return sample_jastrow(key, self.orbitals, self.K, self.dtype)
            return sample_species(key, self.orbitals, self.K, self.dtype)


def sample_superposition(
    key: Array, orbitals: Superposition, K: Int[Array, " N"], dtype
) -> Float[Array, "N dim"]:
    """One exact sample of |sum_t c_t D_t|^2, by rejection from a mixture of its determinants.
    Shape (N, dim).
    """
    c, Ks = orbitals.determinants(K)
    c = c.astype(dtype)
    size = jnp.abs(c)

    def unfinished(state):
        _, accepted, trials = state
        return ~accepted & (trials < MAX_TRIALS)

    def attempt(state):
        _, _, trials = state
        draw, choice, threshold = jax.random.split(jax.random.fold_in(key, trials), 3)
        r = sample_species(draw, orbitals.table, Ks[jax.random.categorical(choice, jnp.log(size))], dtype)
        logs = jax.vmap(lambda K: slater.log_det(orbitals.table, K, r))(Ks)
        D = jnp.exp(logs - jnp.max(jnp.where(size > 0, logs.real, -jnp.inf)))
        D = jnp.where(size > 0, D, 0)
        bound = jnp.sum(size) * jnp.sum(size * jnp.abs(D) ** 2)
        accepted = jax.random.uniform(threshold, dtype=dtype) * bound < jnp.abs(jnp.sum(c * D)) ** 2
        return r, accepted, trials + 1

    start = (
        jnp.zeros((orbitals.space.N, orbitals.space.dim), dtype),
        jnp.zeros((), bool),
        jnp.zeros((), jnp.int32),
    )
    r, accepted, _ = jax.lax.while_loop(unfinished, attempt, start)
    return jnp.where(accepted, r, jnp.nan)


def sample_species(key: Array, orbitals, K: Int[Array, " N"], dtype) -> Float[Array, "N dim"]:
    """One exact sample of |Phi_K|^2 of one determinant for each species. Shape (N, dim)."""
    species = orbitals.space.species
    keys = jax.random.split(key, len(species))
    each = [orbitals.of_species(s) for s in range(len(species))]
    return jnp.concatenate([sample(*x, K[i], dtype) for *x, i in zip(keys, each, species, strict=True)])


def sample_jastrow(key: Array, orbitals: SlaterJastrow, K: Int[Array, " N"], dtype) -> Float[Array, "N dim"]:
    """One exact sample of a Slater-Jastrow state: the second species among the electrons of the first one.
    Shape (N, dim).
    """
    first, second = orbitals.space.species
    keys = jax.random.split(key)
    A = sample(keys[0], orbitals.table, K[first], dtype)
    return jnp.concatenate([A, sample(keys[1], orbitals.given(A), K[second], dtype, JASTROW_PROPOSALS)])


def sample(
    key: Array, orbitals, K: Int[Array, " n"], dtype, proposals: int = PROPOSALS
) -> Float[Array, "n dim"]:
    """One exact sample of |det phi_l(r_i)|^2, n electrons of one species in the orbitals K. Shape (n, dim).

    nan if the rounds are used up, which happens where an orbital is named twice.
    """
    (n,) = jnp.shape(K)
    dim = orbitals.space.dim
    everyone = jnp.arange(n)

    def unfinished(state):
        _, _, placed, iteration = state
        return (placed < n) & (iteration < MAX_ROUNDS * n)

    def advance(state):
        r, Q, placed, iteration = state
        u = jax.random.uniform(jax.random.fold_in(key, iteration), (proposals, dim + 1), dtype)
        proposed, envelope = orbitals.propose(K, u[:, :dim])
        threshold = u[:, dim]

        v = orbitals.matrix(K, proposed) / jnp.sqrt(envelope)[:, None]
        overlap = v @ Q.conj().T
        accepted = threshold < jnp.sum(jnp.abs(v) ** 2, axis=1) - jnp.sum(jnp.abs(overlap) ** 2, axis=1)
        first = jnp.argmax(accepted)

        residual = v[first] - overlap[first] @ Q
        residual -= (Q.conj() @ residual) @ Q  # once more, against rounding
        here = jnp.any(accepted) & (everyone == placed)
        r = jnp.where(here[:, None], proposed[first], r)
        Q = jnp.where(here[:, None], residual / jnp.linalg.norm(residual), Q)
        return r, Q, placed + jnp.any(accepted), iteration + 1

    Q = jnp.zeros((n, n), jax.eval_shape(orbitals.matrix, K, jnp.zeros((n, dim), dtype)).dtype)
    start = jnp.full((n, dim), jnp.nan, dtype), Q, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    r, _, placed, _ = jax.lax.while_loop(unfinished, advance, start)
    return jnp.where(placed == n, r, jnp.nan)
