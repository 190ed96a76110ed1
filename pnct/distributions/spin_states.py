r"""Which free spins are excited:  K ~ p(K),  one bit after the other, exactly the free spins before training:

    p(K) = prod_i sigma(l_i)^{K_i} sigma(-l_i)^{1 - K_i},    l_i = -2 |h_i|/T + correction_i(K_1 ... K_{i-1})

sigma(l) = 1/(1 + e^-l). The correction comes from a network that sees the bits before, and the site.

A training step draws part of its states from a broader distribution (`tempered`), here broader by another
power at each site, power^c_i with c_i from 1/2 to 3/2. Free spins in one field are degenerate, and while all
states of a degenerate level weigh the same, the circuit feels no force to mix them: it would change no sum of
their energies. Unequal weights show it the way from the first step on.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.distributions.base import StateDistribution
from pnct.networks.base import OccupationNetwork
from pnct.networks.transformer import Transformer, causal_transformer
from pnct.systems.spin_lattice import SpinLattice

SPREAD = (0.5, 1.5)  # of the exponents of a power, from the first site to the last


class SpinStates(StateDistribution):
    """p(K) over int32 bit strings, shape (N,): 0 for a spin along its field, 1 against it.

    spins: the lattice.  network: an OccupationNetwork of bits, such as bit_transformer's; None: free spins.
    power: the power to which each conditional distribution is raised, one number or one for each site; below
    1 it is broader, hotter.
    """

    def __init__(
        self,
        spins: SpinLattice,
        network: OccupationNetwork | None = None,
        power: Float[ArrayLike, ""] | Float[ArrayLike, " N"] = 1.0,
    ):
        self.spins = spins
        self.network = network
        self.power = power

    @property
    def event_shape(self) -> tuple[int]:
        return (self.spins.N,)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        return jnp.dtype(jnp.int32)

    def tempered(self, power) -> "SpinStates":
        """The conditionals raised to powers about this one, another at each site, and normalised again."""
        unequal = jnp.asarray(power) ** jnp.linspace(*SPREAD, self.spins.N)
        return SpinStates(self.spins, self.network, self.power * unequal)

    def check(self, K: Int[ArrayLike, " N"] | Sequence[int]) -> None:
        """Raises ValueError unless K is a bit string with a bit for each site."""
        K = np.asarray(K)
        if K.shape != (self.spins.N,) or not np.all(np.isin(K, (0, 1))) or K.dtype.kind not in "iu":
            raise ValueError(f"Expected K to be {self.spins.N} bits, 0 or 1; got {K.tolist()}.")

    def log_prob(self, value: Int[ArrayLike, "*batch N"]) -> Float[Array, "*batch"]:
        """ln p(K); -inf where K is no bit string."""
        value = jnp.asarray(value)
        if value.ndim == 0 or value.shape[-1] != self.spins.N:
            raise ValueError(
                f"Expected K of shape (..., {self.spins.N}), one bit per site; got shape {value.shape}."
            )

        log_prob = self._log_prob_one
        for _ in range(value.ndim - 1):
            log_prob = jax.vmap(log_prob)
        return log_prob(value)

    def _sample_n(self, key, n):
        return jax.vmap(self._sample_one)(jax.random.split(key, n))

    def _log_prob_one(self, K):
        sites = jnp.arange(self.spins.N)
        previous = jnp.concatenate([jnp.zeros(1, K.dtype), K[:-1]])
        log_odds, _ = self._log_odds(previous, sites, self._empty_cache())
        log_p = jax.nn.log_sigmoid(jnp.where(K == 1, log_odds, -log_odds))
        return jnp.where(jnp.all((K == 0) | (K == 1)), jnp.sum(log_p), -jnp.inf)

    def _sample_one(self, key):
        def add_site(state, step):
            previous, cache = state
            site, u = step
            log_odds, cache = self._log_odds(previous[None], site[None], cache)
            bit = (u < jax.nn.sigmoid(log_odds[0])).astype(jnp.int32)
            return (bit, cache), bit

        u = jax.random.uniform(key, (self.spins.N,), self._dtype())
        start = (jnp.zeros((), jnp.int32), self._empty_cache())
        return jax.lax.scan(add_site, start, (jnp.arange(self.spins.N), u))[1]

    def _log_odds(self, previous, sites, cache):
        """l_i of these consecutive sites, times the power."""
        free = -jnp.asarray(self.spins.splittings * self.spins.beta, self._dtype())[sites]
        power = jnp.broadcast_to(jnp.asarray(self.power, self._dtype()), self.spins.N)[sites]
        if self.network is None:
            return power * free, cache
        x = bit_tokens(self.spins.N, previous, sites, self._dtype())
        correction, cache = self.network(x, sites, cache)
        return power * (free + correction[:, 0]), cache

    def _dtype(self):
        leaves = jax.tree.leaves(self.network)
        return jnp.result_type(*leaves) if leaves else jax.dtypes.canonicalize_dtype(float)

    def _empty_cache(self):
        return None if self.network is None else self.network.empty_cache(self.spins.N)


def bit_transformer(
    spins: SpinLattice, layers: int = 2, width: int = 16, heads: int = 4
) -> Callable[[Array], Transformer]:
    """A function key -> Transformer over the sites, at first no correction to the free spins."""
    num_features = bit_tokens(spins.N, np.zeros(1, int), np.zeros(1, int)).shape[-1]
    return causal_transformer(num_features, 1, layers, width, heads)


def bit_tokens(
    num_sites: int, previous: Int[ArrayLike, " T"], sites: Int[ArrayLike, " T"], dtype=None
) -> Float[Array, "T F"]:
    """The input features of the network: the bit before as +-1, 0 for the first site; which site it is."""
    sites = jnp.asarray(sites)
    before = jnp.where(sites == 0, 0, 1 - 2 * jnp.asarray(previous))
    return jnp.concatenate([before[:, None], sites[:, None] == jnp.arange(num_sites)], axis=-1).astype(
        jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
    )
