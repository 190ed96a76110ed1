r"""zeta = A T(R):  a flow followed by an orthogonal mixing of the centres of the two species.

With C_s the centre of the n_s electrons of one spin and Y_s = n_s^(1/2) C_s, A turns (Y_up, Y_down) into

    Y'_up   = (n_up^(1/2) Y_up + n_down^(1/2) Y_down)/N^(1/2)
    Y'_down = (n_up^(1/2) Y_down - n_down^(1/2) Y_up)/N^(1/2)

and moves each electron with its centre. The Hamiltonian of free electrons in a harmonic trap does not change
under A, so Phi_K(A R) are eigenstates like Phi_K(R), and the ideal density matrix is the same. But Y'_up is
the motion of all electrons together, on which the interaction does not act (Kohn, Phys. Rev. 123, 1242
(1961)), and for one electron of each spin Y'_down is their relative motion: each state is then a product of
the two, where Phi_K(R) would mix them.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.inverse import Inversion
from pnct.space import Space


class SeparatedCentreOfMass(Flow):
    """T: (N, dim) -> (N, dim), the flow and then A."""

    flow: Flow
    space: Space = eqx.field(static=True)

    @property
    def mixing(self) -> Float[np.ndarray, "N N"]:
        """A: orthogonal, between electrons, of determinant one."""
        up, down = (np.sqrt(n / self.space.N) for n in self.space.num_electrons)
        centres = np.zeros((2, self.space.N))
        for centre, species in zip(centres, self.space.species, strict=True):
            centre[species] = 1 / np.sqrt(species.stop - species.start)
        turn = np.array([[up, down], [-down, up]])
        return np.eye(self.space.N) + centres.T @ (turn - np.eye(2)) @ centres

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        return self.mix(self.flow(R))

    def forward_and_log_det(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det d zeta/d R|, which is that of the flow."""
        zeta, log_det = self.flow.forward_and_log_det(R)
        return self.mix(zeta), log_det

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """The inverse of the flow at A^T zeta."""
        return self.flow.invert(jnp.asarray(self.mixing.T, zeta.dtype) @ zeta)

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """Those of the flow, turned by A."""
        T = self.flow.derivatives(R, frame)

        def turned(x):
            return self.mix(x.reshape(R.shape[0], -1)).reshape(x.shape)

        return T._replace(zeta=self.mix(T.zeta), jacobian=turned(T.jacobian), laplacian=turned(T.laplacian))

    def mix(self, x: Float[Array, "N F"]) -> Float[Array, "N F"]:
        """A x."""
        return jnp.asarray(self.mixing, x.dtype) @ x


def separated_centre_of_mass(space: Space, make: Callable[[Array], Flow]) -> Callable[[Array], Flow]:
    """A function key -> flow, from a function key -> flow. Electrons of one spin have no other centre: it is
    `make` itself.
    """
    if len(space.species) == 1:
        return make
    return lambda key: SeparatedCentreOfMass(make(key), space)
