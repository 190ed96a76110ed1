"""A distrax distribution at a NumPyro sample site: composition, since inheriting from both is a metaclass
conflict.
"""

import distrax
import jax.numpy as jnp
import numpyro.distributions as numpyro_dist
from numpyro.distributions import constraints
from numpyro.util import is_prng_key


class DistraxSite(numpyro_dist.Distribution):
    """The NumPyro face of a distrax distribution. What NumPyro does not know is passed on:
    `site["fn"].log_psi(R)`.
    """

    pytree_data_fields = ("distribution",)

    def __init__(self, distribution: distrax.Distribution):
        self.distribution = distribution
        super().__init__(distribution.batch_shape, distribution.event_shape, validate_args=False)

    @property
    def support(self):
        whole = jnp.issubdtype(self.distribution.dtype, jnp.integer)
        return constraints.independent(
            constraints.nonnegative_integer if whole else constraints.real, self.event_dim
        )

    def sample(self, key, sample_shape=()):
        if not is_prng_key(key):
            raise ValueError(
                "Expected a seeded model; got a sample site without a random key. "
                "Wrap the model: numpyro.handlers.seed(model, key)."
            )
        return self.distribution.sample(seed=key, sample_shape=sample_shape)

    def log_prob(self, value):
        return self.distribution.log_prob(value)

    def expand(self, batch_shape):
        if tuple(batch_shape) != self.batch_shape:
            raise ValueError(
                "Expected a single configuration at this site; got a plate or expand to "
                f"{tuple(batch_shape)}. "
                "Write the model for one walker; batches are made by vmap over keys, as Predictive does."
            )
        return self

    def __getattr__(self, name):
        if name.startswith("_") or name == "distribution":
            raise AttributeError(name)
        return getattr(self.distribution, name)
