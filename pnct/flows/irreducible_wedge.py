r"""zeta = g^{-1} T(g R):  the flow T in turned coordinates, g an exchange and a reflection of the axes of a
cell.

States whose momenta differ by a symmetry of the cell have the same energies, and their flows are each other's
images. With

    T_P(R) = g^{-1} T_{gP}(g R),    gP with |P_x| >= |P_y| >= |P_z|

only flows for such ordered P are to be learned, each from the walkers of all its images; or one for them all,
which then serves images alike (`in_irreducible_wedge`). P counts modulo N reciprocal-lattice vectors (that is
the motion of the centre of mass). Only symmetries of the table are used: reflections of an axis where the
twist is 0 or 1/2, exchanges where it is the same along all axes.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.inverse import Inversion
from pnct.orbitals.base import Orbitals
from pnct.orbitals.symmetry import WedgeMap


class Conjugated(Flow):
    """T: (N, dim) -> (N, dim), in the coordinates x' = g x of every electron. g: a permutation of axes with
    signs.
    """

    flow: Flow
    g: Int[ArrayLike, "dim dim"]

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        return self.apply_inverse(self.flow(self.apply(R)))

    def forward_and_log_det(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det d zeta/d R|."""
        zeta, log_det = self.flow.forward_and_log_det(self.apply(R))
        return self.apply_inverse(zeta), log_det

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and d zeta/d R."""
        zeta, J = self.flow.jacobian(self.apply(R))
        return self.apply_inverse(zeta), self._conjugate(J, R.shape)

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """The inverse of the flow, turned."""
        found = self.flow.invert(self.apply(zeta))
        return found._replace(R=self.apply_inverse(found.R))

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """Those of the flow, turned, along the turned frame; Laplacians and determinants do not change."""
        if frame is not None:
            frame = jax.vmap(self.apply, -1, -1)(frame.reshape(*R.shape, R.size)).reshape(frame.shape)
        return self._conjugate_derivatives(self.flow.derivatives(self.apply(R), frame), R)

    def apply(self, x: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        """g x of every electron."""
        return x @ self.g.T.astype(x.dtype)

    def apply_inverse(self, x: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        """g^{-1} x of every electron."""
        return x @ self.g.astype(x.dtype)

    def _conjugate_derivatives(self, T: FlowDerivatives, R) -> FlowDerivatives:
        def vector(x):
            return self.apply_inverse(x.reshape(R.shape)).reshape(x.shape)

        return T._replace(
            zeta=self.apply_inverse(T.zeta),
            jacobian=self._conjugate(T.jacobian, R.shape),
            laplacian=vector(T.laplacian),
            grad_log_det=vector(T.grad_log_det),
        )

    def _conjugate(self, J, shape):
        N, dim = shape
        g = self.g.astype(J.dtype)
        return jnp.einsum("ba,ibjc,cd->iajd", g, J.reshape(N, dim, N, dim), g).reshape(J.shape)


class WedgeFlow(eqx.Module):
    """P -> T_P, from one flow for all ordered momenta."""

    flow: Flow
    order: WedgeMap = eqx.field(static=True)

    def __call__(self, P: Float[Array, " dim"]) -> Flow:
        """The flow of the states of total momentum P, as `quantum_numbers` of the orbitals gives it."""
        return Conjugated(self.flow, self.order(P)) if self.order.reflections else self.flow


def in_irreducible_wedge(table: Orbitals, make: Callable[[Array], Flow]) -> Callable[[Array], WedgeFlow]:
    """A function key -> WedgeFlow for this table, from a function key -> flow such as `ferminet(cell)`.

    Without reflections, where the flow would do as well as it is, it stays so.
    """
    order = table.wedge_map()
    if order is None:
        raise ValueError(f"Expected orbitals that symmetries of a cell relate; got {type(table).__name__}.")
    return lambda key: WedgeFlow(make(key), order)
