r"""Which orbitals are occupied:  K ~ p(K),  one electron after the other, exactly the ideal gas before
training.

The i-th of n electrons of a species takes an orbital above the previous one and leaves room for the rest,

    p(K) = prod_i softmax_m (l[i, m] + correction[i, m])_{k_i},    k_{i-1} < m <= M - n + i

with the conditional table l of the canonical ideal gas (pnct.systems.ideal_gas) and the correction of a
network, which sees all electrons before: those of the same species, and the up electrons for the down ones.
Shifted levels make l the table of Landau quasi-particles. Sampling inverts the cumulative distribution, with
one uniform number per electron.
"""

from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.distributions.base import StateDistribution
from pnct.networks.base import OccupationNetwork
from pnct.networks.transformer import tokens
from pnct.systems.ideal_gas import UNREACHABLE, conditional_table

BLOCK = 512  # numbers that are summed at once
SEGMENT = 10  # electrons that are drawn with a cache of one length, from one range of orbitals


class Occupation(StateDistribution):
    """p(K) over int32 K, shape (N,): the orbitals of the up electrons, ascending, then those of the down
    electrons.

    system: what is simulated.  network: an OccupationNetwork made for it, such as Transformer; None is the
    ideal gas.
    power: the power to which each conditional distribution is raised; below 1 it is broader, hotter.
    """

    def __init__(self, system, network: OccupationNetwork | None = None, power: Float[ArrayLike, ""] = 1.0):
        self.system = system
        self.network = network
        self.power = power
        shifts = self._shell_shifts()
        shells = int(system.shell_index.max()) + 1
        if shifts is not None and jnp.shape(shifts) != (shells,):
            raise ValueError(
                f"Expected energy_shifts of shape ({shells},), one per shell; got {jnp.shape(shifts)}."
            )

    @property
    def event_shape(self) -> tuple[int]:
        return (self.system.N,)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        return jnp.dtype(jnp.int32)

    def log_prob(self, value: Int[ArrayLike, "*batch N"]) -> Float[Array, "*batch"]:
        """ln p(K); -inf where K is not an ascending list of orbitals of the table for each species."""
        return self._log_prob(_checked(self.system, jnp.asarray(value)).astype(jnp.int32))

    def tempered(self, power) -> "Occupation":
        """The same distribution with every conditional raised to this power, and normalised again."""
        return Occupation(self.system, self.network, self.power * power)

    def check(self, K: Int[ArrayLike, " N"] | Sequence[int]) -> None:
        """Raises ValueError unless K is a state of this gas."""
        validate_occupation(self.system, K)

    @eqx.filter_jit
    def _log_prob(self, value):
        table = self._table()

        def log_prob(K):
            return self._log_prob_one(table, K)

        for _ in range(value.ndim - 1):
            log_prob = jax.vmap(log_prob)
        return log_prob(value)

    @eqx.filter_jit
    def _sample_n(self, key, n):
        table = self._table()
        return jax.vmap(lambda key: self._sample_one(table, key))(jax.random.split(key, n))

    def _log_prob_one(self, table, K):
        lowest, last = allowed_range(self.system)
        floor = jnp.where(lowest == 0, -1, jnp.concatenate([jnp.full(1, -1, K.dtype), K[:-1]]))
        valid = jnp.all((floor < K) & (last >= K))

        K = jnp.clip(K, 0, table.shape[1] - 1)
        previous = jnp.concatenate([jnp.zeros(1, K.dtype), K[:-1]])
        electrons = jnp.arange(self.system.N)
        correction, _ = self._correction(previous, electrons, self._empty_cache(self.system.N))
        log_p = log_conditionals(self.power * (table + correction), floor, last)
        return jnp.where(valid, jnp.sum(jnp.take_along_axis(log_p, K[:, None], axis=1)), -jnp.inf)

    def _sample_one(self, table, key):
        lowest, last = allowed_range(self.system)
        u = jax.random.uniform(key, (self.system.N,), table.dtype)

        def add_electron(within, state, step):
            previous, cache = state
            electron, logits, lowest, last, u = step
            correction, cache = self._correction(previous[None], electron[None], cache)
            floor = jnp.where(lowest == 0, -1, previous)
            logits = (self.power * (logits[None] + correction))[:, within]
            logits = mask_forbidden(logits, floor[None] - within.start, last[None] - within.start)[0]
            k = within.start + inverse_cdf(jnp.exp(logits - jnp.max(logits)), u)
            return (k, cache), k

        # An electron looks at all places of the cache and at all orbitals, so the former grows as it fills,
        # and of the latter only those are searched that one of the segment can take.
        electrons = (jnp.arange(self.system.N), table, lowest, last, u)
        state = (jnp.zeros((), jnp.int32), None)
        K = []
        for begin in range(0, self.system.N, SEGMENT):
            some = slice(begin, min(begin + SEGMENT, self.system.N))
            within = slice(int(lowest[some].min()), int(last[some].max()) + 1)
            state = state[0], grow_cache(state[1], self._empty_cache(some.stop))
            in_segment = jax.tree.map(lambda x: x[some], electrons)  # noqa: B023
            state, k = jax.lax.scan(partial(add_electron, within), state, in_segment)
            K.append(k)
        return jnp.concatenate(K)

    def _table(self) -> Float[Array, "N M"]:
        """The logits of the ideal gas, or of the quasi-particles, for each electron."""
        leaves = jax.tree.leaves(self.network)
        dtype = jnp.result_type(*leaves) if leaves else jax.dtypes.canonicalize_dtype(float)
        shifts = self._shell_shifts()
        rows = []
        for b, n in zip(self.system.reduced_energies, self.system.num_electrons, strict=True):
            b = jnp.asarray(b, dtype)
            rows.append(conditional_table(b if shifts is None else b + shifts[self.system.shell_index], n))
        return jnp.concatenate(rows)

    def _shell_shifts(self):
        return None if self.network is None else self.network.shell_shifts()

    def _empty_cache(self, num_electrons):
        return None if self.network is None else self.network.empty_cache(num_electrons)

    def _correction(self, previous, electrons, cache):
        """The network's logits for these consecutive electrons. Shape (T, M), or a plain zero."""
        if self.network is None:
            return 0.0, cache
        x = tokens(self.system, previous, electrons, jnp.result_type(*jax.tree.leaves(self.network)))
        correction, cache = self.network(x, electrons, cache)
        if correction.shape[-1] != len(self.system.orbitals):
            raise ValueError(
                f"Expected a network with {len(self.system.orbitals)} outputs, one per orbital of the gas; "
                f"got {correction.shape[-1]}."
            )
        return correction, cache


def grow_cache(cache, empty):
    """The contents of a cache in an empty one for more electrons; each array of that has the old one at its
    beginning.
    """
    if cache is None:
        return empty
    return jax.tree.map(
        lambda new, old: jax.lax.dynamic_update_slice(new, old, (0,) * new.ndim), empty, cache
    )


def log_conditionals(
    logits: Float[Array, "T M"], floor: Int[ArrayLike, " T"], last: Int[ArrayLike, " T"]
) -> Float[Array, "T M"]:
    """ln p over the orbitals floor < m <= last."""
    return jax.nn.log_softmax(mask_forbidden(logits, floor, last), axis=-1)


def mask_forbidden(
    logits: Float[Array, "T M"], floor: Int[ArrayLike, " T"], last: Int[ArrayLike, " T"]
) -> Float[Array, "T M"]:
    """The logits of the orbitals floor < m <= last; elsewhere -1e30 and not -inf, so that all gradients are
    finite.
    """
    m = jnp.arange(logits.shape[1])
    return jnp.where((m > floor[:, None]) & (m <= last[:, None]), logits, UNREACHABLE)


def inverse_cdf(p: Float[Array, " M"], u: Float[Array, ""]) -> Int[Array, ""]:
    """The first m with p_0 + ... + p_m > u sum(p), for u in [0, 1). Never one with p_m = 0, whatever the
    rounding.

    The first m is a minimum, because XLA is slow with an argmax of few numbers.
    """
    m = jnp.arange(len(p), dtype=jnp.int32)
    total = running_sums(p)
    last = jnp.max(jnp.where(p > 0, m, 0))
    return jnp.min(jnp.where((p > 0) & (total > u * total[-1]), m, last))


def running_sums(p: Float[Array, " M"]) -> Float[Array, " M"]:
    """p_0 + ... + p_m as matrix products, because XLA is slow with a cumulative sum of few numbers.

    Of many numbers block after block: one matrix would have M^2 entries.
    """

    def sums(x, diagonal=0):
        ones = jnp.ones((x.shape[-1], x.shape[-1]), x.dtype)
        return jnp.matmul(x, jnp.triu(ones, diagonal), precision="highest")

    if len(p) <= BLOCK:
        return sums(p)
    blocks = -(-len(p) // BLOCK)
    within = sums(jnp.pad(p, (0, blocks * BLOCK - len(p))).reshape(blocks, BLOCK))
    before = sums(within[:, -1], 1)
    return (within + before[:, None]).ravel()[: len(p)]


def validate_occupation(system, K: Int[ArrayLike, " N"] | Sequence[int]) -> None:
    """Raises ValueError unless the concrete K is an ascending list of orbitals for each species
    of the gas.
    """
    K = _checked(system, np.asarray(K))
    M = len(system.orbitals)
    if K.shape != (system.N,):
        raise ValueError(f"Expected one K of shape ({system.N},); got shape {K.shape}.")
    if K.min() < 0 or K.max() >= M:
        raise ValueError(
            f"Expected orbitals 0 <= k < {M} in K; got {K.tolist()}. Raise `cutoff` to reach higher ones."
        )
    for name, species in zip(
        ("up", "down"), (K[: system.num_electrons[0]], K[system.num_electrons[0] :]), strict=True
    ):
        if np.any(species[1:] <= species[:-1]):
            raise ValueError(
                f"Expected strictly ascending orbitals of the {name} electrons; got {species.tolist()}."
            )


def _checked(system, K: Int[ArrayLike, "*batch N"]) -> Int[ArrayLike, "*batch N"]:
    if K.ndim == 0 or K.shape[-1] != system.N:
        raise ValueError(
            f"Expected K of shape (..., {system.N}), one orbital per electron; got shape {K.shape}."
        )
    if not jnp.issubdtype(K.dtype, jnp.integer):
        raise ValueError(f"Expected whole numbers in K; got dtype {K.dtype}.")
    return K


def allowed_range(system) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """For each electron: the lowest and the last orbital that leave room for the others of its species."""
    M = len(system.orbitals)
    lowest = np.concatenate([np.arange(n) for n in system.num_electrons])
    last = np.concatenate([M - n + np.arange(n) for n in system.num_electrons])
    return lowest, last
