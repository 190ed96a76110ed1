r"""Classical protons,  X ~ p(X):  u uniform in the cell, X = T^-1(u), T a flow of the protons.

    ln p(X) = ln|det dT/dX| - 3 N_p ln L,
    log_prob(X) = ln p(X) + ln N_p! + 3 N_p ln(Lambda/r_s) - 3 N_p/2

log_prob is that of a point in the phase space of N_p protons that are all alike, with their momenta
integrated: S = -E[log_prob] is the whole entropy, and F with 3 N_p T/2 in the energy the whole free energy.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.distributions.base import Checked
from pnct.flows.base import Flow
from pnct.flows.bijector import CanonicalTransformation
from pnct.systems.hydrogen import Hydrogen


class Nuclei(Checked):
    """X, shape (N_p, 3), in units of r_s a_0, anywhere: moved by a lattice vector it is the same place.

    plasma: what is simulated.  flow: X -> u, a Flow of `plasma.proton_space`.
    A sample without an inverse, or with det dT/dX <= 0, is nan. Samples carry no gradient; log_prob does, at
    given X.
    """

    def __init__(self, plasma: Hydrogen, flow: Flow):
        self.plasma = plasma
        self.transformation = CanonicalTransformation(flow)

    @property
    def flow(self) -> Flow:
        return self.transformation.flow

    @property
    def event_shape(self) -> tuple[int, int]:
        return (self.plasma.num_protons, self.plasma.dim)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        leaves = jax.tree.leaves(self.flow)
        return jax.dtypes.canonicalize_dtype(jnp.result_type(*leaves) if leaves else float)

    def log_prob(self, value: Float[ArrayLike, "*batch P dim"]) -> Float[Array, "*batch"]:
        """ln p(X) with the constants of the momenta and of the exchange of protons."""
        value = jnp.asarray(value)
        uniform = value.shape[-2] * value.shape[-1] * np.log(self.plasma.L)
        log_det = self.transformation.forward_and_log_det(value)[1]
        return log_det + (self.plasma.log_constant - uniform)

    def check(self, value: ArrayLike) -> None:
        """Raises ValueError unless the value has a place in the cell for each proton."""
        if not isinstance(value, jax.core.Tracer):
            self.plasma.check_protons(value)

    def _sample_n(self, key, n):
        return jax.vmap(self._sample_one)(jax.random.split(key, n))

    def _sample_one(self, key):
        u = self.plasma.L * jax.random.uniform(key, self.event_shape, self.dtype)
        X = self.transformation.inverse(u)
        with jax.default_matmul_precision("highest"):
            sign = jnp.linalg.slogdet(self.flow.jacobian(X)[1])[0]
        return jax.lax.stop_gradient(jnp.where(sign > 0, X, jnp.nan))
