r"""What every flow zeta = T(R) offers. `__call__` is enough: the rest follows by automatic differentiation
and damped Newton iteration, and a flow replaces what it can do faster.

The derivatives that the kinetic energy needs, with x = R in R^D, D = N dim;  J = d zeta/dx;  M = J^-1;
X_a = M d_a J: one second-order jet of J along every axis a gives

    g_a = d_a ln|det J| = tr X_a
    Lap ln|det J| = T1 - T2,   T1 = sum_a tr(M d_a^2 J),   T2 = sum_a tr(X_a X_a)
    Lap zeta_mu   = sum_a d_a J_{mu a}

T1 is also sum M_{nu mu} d_nu (Lap zeta_mu): third derivatives of the flow enter here only.

Where x is itself the image of another flow, of Jacobian C, all these sums over a run over the columns of C
instead, with X_c = sum_a X_a C_ac and so on: the Laplacians are then Lap = sum_c (C_c . grad)^2 at fixed C,
along the frame C.

Accelerators round the factors of float32 products to ten bits by default: what is to be exact is called under
`jax.default_matmul_precision("highest")`, as Born.log_psi, local_kinetic and damped_newton do.
"""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.inverse import Inversion, check_shape, damped_newton


class FlowDerivatives(NamedTuple):
    """What the kinetic energy needs of a flow at one R. Coordinates are flattened electron by electron."""

    zeta: Float[Array, "N dim"]
    jacobian: Float[Array, "D D"]  # J
    laplacian: Float[Array, " D"]  # Lap zeta, by R or along a frame
    log_det: Float[Array, ""]  # ln|det J|
    grad_log_det: Float[Array, " D"]  # g
    lap_log_det: Float[Array, ""]  # T1 - T2, likewise
    det_sign: Float[Array, ""]


class Flow(eqx.Module):
    """T: (N, dim) -> (N, dim), one-to-one, smooth but where electrons meet, equivariant under exchanges of
    electrons of one spin; in a periodic cell T(R + L n) = T(R) + L n.

    jax arrays of the module are trained, numpy arrays are constants, and functions are static fields.
    """

    @abstractmethod
    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        """zeta = T(R)."""

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J[mu, nu] = d zeta_mu/d R_nu, mu and nu in the order of R.ravel(). Differentiable in R and
        in the parameters.
        """
        zeta, tangent = jax.linearize(self, R)
        check_shape(zeta, R)
        directions = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
        return zeta, jax.vmap(tangent, out_axes=-1)(directions).reshape(R.size, R.size)

    def forward_and_log_det(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det J|, differentiable likewise."""
        zeta, J = self.jacobian(R)
        return zeta, jnp.linalg.slogdet(J)[1]

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs, here at a few D times the cost of `jacobian`. frame: C of the
        Laplacians, by default 1.
        """
        zeta, J = self.jacobian(R)
        M = jnp.linalg.inv(J)

        def along(axis):
            def slope(R):
                return jax.jvp(lambda R: self.jacobian(R)[1], (R,), (axis,))[1]

            d_J, dd_J = jax.jvp(slope, (R,), (axis,))
            X = M @ d_J
            return d_J @ axis.reshape(-1), jnp.trace(X), jnp.sum(M.T * dd_J), jnp.sum(X * X.T)

        # One axis after another: no array is larger than D^2 times what the Jacobian takes.
        axes = jnp.eye(R.size, dtype=R.dtype) if frame is None else frame.T
        d_aJ_a, g, T1, T2 = jax.lax.map(along, axes.reshape(R.size, *R.shape))
        g = g if frame is None else jnp.linalg.solve(axes, g)
        det_sign, log_det = jnp.linalg.slogdet(J)
        lap_log_det = jnp.sum(T1) - jnp.sum(T2)
        return FlowDerivatives(zeta, J, jnp.sum(d_aJ_a, axis=0), log_det, g, lap_log_det, det_sign)

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """R with T(R) = zeta. Constant under differentiation."""
        return damped_newton(self, zeta)

    def with_cusps(self, coupling) -> "Flow":
        """This flow with the cusps of V = coupling/r between all electrons, where a part of it can form them.

        coupling: a number, which no gradient moves, in units of the space's lengths and of a kinetic energy
        -nabla^2/2.
        """

        def is_part(x):
            return isinstance(x, Flow) and x is not self

        return jax.tree.map(lambda x: x.with_cusps(coupling) if is_part(x) else x, self, is_leaf=is_part)
