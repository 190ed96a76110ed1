r"""The Born distribution of electrons,  R ~ |Psi_K(R)|^2:  flow coordinates drawn exactly, and inverted.

    ln Psi_K(R) = ln Phi_K(zeta) + (1/2) ln|det d zeta/d R|,    zeta = T(R)

The Psi_K of different K are orthonormal, because the change of variables is unitary. R = T^{-1}(zeta) with
zeta ~ |Phi_K|^2 is an independent sample: no Markov chain.
"""

from collections.abc import Callable

import distrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Complex, Float, Int

from pnct.distributions.base import Measured, Requirement
from pnct.distributions.determinantal import Determinantal
from pnct.distributions.equivalent_places import equivalent_places
from pnct.distributions.flow_requirements import flow_requirements
from pnct.flows import CanonicalTransformation, Flow
from pnct.flows.bijector import inverted
from pnct.orbitals.base import Orbitals
from pnct.space import Space, smallest_distance
from pnct.states.base import States


class Born(distrax.Transformed, Measured):
    """R ~ |Psi_K|^2, shape (N, dim), normalised over ordered coordinates.

    orbitals: a table of orbitals, which stands for its Slater determinants, or states.  K: (N,) occupied
    orbitals, up then down.
    flow: R -> zeta, whose dtype the samples take. A sample whose inversion did not converge is nan. Samples
    carry no gradient; log_psi and log_prob do, at given R.
    """

    def __init__(self, orbitals: Orbitals | States, K: Int[ArrayLike, " N"], flow: Flow):
        transformation = CanonicalTransformation(flow)
        leaves = jax.tree.leaves(flow)
        functions = [leaf for leaf in leaves if callable(leaf)]
        if functions:
            expected = f"Expected the functions in {type(flow).__name__} to be static, eqx.field(static=True)"
            raise ValueError(f"{expected}; got {functions[0]!r} among its arrays.")
        dtype = jnp.result_type(*leaves) if leaves else None
        quasi_particles = Determinantal(orbitals, K, dtype)
        super().__init__(quasi_particles, distrax.Inverse(transformation))

    @property
    def states(self) -> States:
        return self.distribution.states

    @property
    def K(self) -> Int[ArrayLike, " N"]:
        return self.distribution.K

    @property
    def flow(self) -> Flow:
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

    @property
    def space(self) -> Space:
        """Where the electrons live."""
        return self.states.space

    @property
    def dims(self) -> tuple[str, str]:
        return ("electron", "axis")

    @property
    def label(self) -> Int[ArrayLike, " N"]:
        """The occupied orbitals."""
        return jnp.asarray(self.K)

    def draw(self, key) -> tuple[Float[Array, "N dim"], Bool[Array, ""]]:
        """One sample as `sample` draws it; where the inversion did not converge, the point where it ended."""
        zeta = self.distribution.sample(seed=key)
        with jax.default_matmul_precision("highest"):
            inversion = inverted(self.flow, zeta)
        return inversion.R, inversion.converged

    def closeness(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, ""]:
        """The smallest distance of a pair."""
        return smallest_distance(R, self.space)

    def diagnostics(self, R: Float[ArrayLike, "N dim"]) -> dict[str, Float[Array, ""]]:
        """ln|det J| and the sign of det J, J = dT/dR."""
        with jax.default_matmul_precision("highest"):
            det_sign, log_det = jnp.linalg.slogdet(self.flow.jacobian(R)[1])
        return {"log_det_jacobian": log_det, "det_sign": det_sign}

    def check(self, moved: Callable) -> tuple[Requirement, ...]:
        """Equivariance, periodicity, one flow for all states of equal quantum numbers, and det J > 0."""
        return flow_requirements(self, moved)

    def equivalent_values(self) -> dict[str, tuple[Float[Array, "S N dim"], Float[Array, "S N dim"]]]:
        """Random R, and R with electrons exchanged, or moved by lattice vectors."""
        return equivalent_places(self.space, self.dtype)

    def log_psi(self, R: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """ln Psi_K(R) of one configuration, the phase up to a multiple of 2 pi."""
        return jax.lax.complex(*self.log_modulus_and_phase(R))

    def log_modulus_and_phase(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Re ln Psi_K(R), and Im ln Psi_K(R), which does not depend on the Jacobian."""
        with jax.default_matmul_precision("highest"):
            zeta, log_det = _forward_and_log_det(self.flow, self._checked(R))
            log_phi = self.states.log_amplitude(self.K, zeta)
            return jnp.real(log_phi) + 0.5 * log_det, jnp.imag(log_phi)

    def log_prob(self, value: Float[ArrayLike, "*batch N dim"]) -> Float[Array, "*batch"]:
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
                f"Expected R of shape (..., {self.event_shape[0]}, {self.event_shape[1]}); got "
                f"{jnp.shape(R)}."
            )
        # What is being traced has no values yet; the inference routine counts its failed walkers itself.
        if not isinstance(R, jax.core.Tracer) and not np.all(np.isfinite(R)):
            raise ValueError(
                f"Expected finite coordinates R; got {np.sum(~np.isfinite(R))} entries that are not."
            )
        return jnp.asarray(R)


@eqx.filter_jit
def _forward_and_log_det(flow, R):
    """flow.forward_and_log_det(R), traced once however often a program asks for ln Psi."""
    return flow.forward_and_log_det(R)
