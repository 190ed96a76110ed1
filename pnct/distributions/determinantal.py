r"""The distribution of the flow coordinates,  zeta ~ |Phi_K(zeta)|^2:  that of a many-body state, drawn
exactly by the state's own sampler (pnct.states).
"""

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.orbitals.base import Orbitals
from pnct.states.base import States
from pnct.states.slater import as_states


class Determinantal(distrax.Distribution):
    """zeta ~ |Phi_K|^2, shape (N, dim); in a periodic cell within [0, L)^dim.

    orbitals: a table of orbitals, which stands for its Slater determinants, or states.  K: (N,) occupied
    orbitals, up then down.
    dtype: of the samples, by default jax's own.
    If K names an orbital twice, |Phi_K|^2 vanishes and the samples are nan.
    """

    def __init__(self, orbitals: Orbitals | States, K: Int[ArrayLike, " N"], dtype=None):
        states = as_states(orbitals)
        if jnp.shape(K) != (states.space.N,):
            raise ValueError(
                f"Expected K of shape ({states.space.N},), one orbital per electron; got {jnp.shape(K)}."
            )
        self.states = states
        self.K = K
        self._dtype = dtype

    @property
    def event_shape(self) -> tuple[int, int]:
        return (self.states.space.N, self.states.space.dim)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        return jax.dtypes.canonicalize_dtype(self._dtype or float)

    def log_prob(self, value: Float[ArrayLike, "*batch N dim"]) -> Float[Array, "*batch"]:
        """ln |Phi_K|^2, normalised over ordered coordinates."""

        def log_prob(zeta):
            with jax.default_matmul_precision("highest"):
                return 2 * jnp.real(self.states.log_amplitude(self.K, zeta))

        for _ in range(value.ndim - 2):
            log_prob = jax.vmap(log_prob)
        return log_prob(value)

    def _sample_n(self, key, n):
        return jax.vmap(self._sample_one)(jax.random.split(key, n))

    def _sample_one(self, key):
        # Accelerators round the factors of float32 products to ten bits unless told otherwise.
        with jax.default_matmul_precision("highest"):
            return self.states.sample(key, self.K, self.dtype)
