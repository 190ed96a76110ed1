r"""The Born law of the electrons,  R ~ |Psi_K(R)|^2:  quasi-particles drawn exactly and carried over by the
flow.

    ln Psi_K(R) = ln Phi_K(zeta) + (1/2) ln|det d zeta/d R|,    zeta = T(R)

The Psi_K of different K are orthonormal, because the change of variables is unitary. R = T^{-1}(zeta) with
zeta ~ |Phi_K|^2 is an independent sample: no Markov chain.
"""

from collections.abc import Callable

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from pnct.distributions.determinantal import Determinantal
from pnct.flows import CanonicalTransformation, forward_and_log_det
from pnct.flows.inverse import Inversion, invert
from pnct.orbitals.base import Orbitals
from pnct.states.base import States


class Born(distrax.Transformed):
    """R ~ |Psi_K|^2, shape (N, dim), normalised over ordered coordinates.

    orbitals: a table of orbitals, which stands for its Slater determinants, or states.  K: (N,) occupied
    orbitals, up then down.
    flow: R -> zeta, whose dtype the samples take. A sample whose inversion did not converge is nan. Samples
    carry no gradient; log_psi and log_prob do, at given R.
    """

    def __init__(self, orbitals: Orbitals | States, K: Int[Array, " N"], flow: Callable):
        leaves = jax.tree.leaves(flow)
        if not callable(flow) or any(callable(leaf) for leaf in leaves):
            raise ValueError(f"Expected flow to be a module R -> zeta, as pnct.flows has them; got {flow!r}.")
        dtype = jnp.result_type(*leaves) if leaves else None
        quasi_particles = Determinantal(orbitals, K, dtype)
        super().__init__(quasi_particles, distrax.Inverse(CanonicalTransformation(flow)))

    @property
    def states(self) -> States:
        return self.distribution.states

    @property
    def K(self) -> Int[Array, " N"]:
        return self.distribution.K

    @property
    def flow(self) -> Callable:
        return self.bijector.bijector.flow

    @property
    def event_shape(self) -> tuple[int, int]:
        return self.distribution.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self):
        return self.distribution.dtype

    def draw(self, key) -> Inversion:
        """One sample as `sample` draws it; where the inversion did not converge, the point where it ended."""
        return invert(self.flow, self.distribution.sample(seed=key))

    def log_psi(self, R: Float[Array, "N dim"]) -> Complex[Array, ""]:
        """ln Psi_K(R) of one configuration, the phase up to a multiple of 2 pi."""
        zeta, log_det = forward_and_log_det(self.flow, self._checked(R))
        with jax.default_matmul_precision("highest"):
            return self.states.log_amplitude(self.K, zeta) + 0.5 * log_det

    def log_prob(self, value: Float[Array, "*batch N dim"]) -> Float[Array, "*batch"]:
        """2 Re ln Psi_K(R)."""
        value = self._checked(value)

        def log_prob(R):
            return 2 * jnp.real(self.log_psi(R))

        for _ in range(value.ndim - 2):
            log_prob = jax.vmap(log_prob)
        return log_prob(value)

    def _checked(self, R):
        if jnp.shape(R)[-2:] != self.event_shape:
            raise ValueError(
                f"Expected R of shape (..., {self.event_shape[0]}, {self.event_shape[1]}); got {jnp.shape(R)}."
            )
        # What is being traced has no values yet; the inference routine counts its failed walkers itself.
        if not isinstance(R, jax.core.Tracer) and not np.all(np.isfinite(R)):
            raise ValueError(
                f"Expected finite coordinates R; got {np.sum(~np.isfinite(R))} entries that are not."
            )
        return jnp.asarray(R)
