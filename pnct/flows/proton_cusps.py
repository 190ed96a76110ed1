r"""The flow of every electron for itself that makes the cusps of its attraction to protons at X_j:

    y = r + (e_0 - 1) sum_j g_j(r) exp(-c_j s_j) d_j,      s_j = (L/pi) |sin(pi (r - X_j)/L)|,
    d_j = (L/2 pi) sin(2 pi (r - X_j)/L),                  g_j(r) = prod_{k != j} s_k^2/(s_k^2 + w^2)

Near X_j the others are smooth and vanish, g_j = G_j + ..., and with e_j = 1 + (e_0 - 1) G_j

    y - X_j = e_j (r - X_j)(1 - z |r - X_j|/2) + smooth,   c_j = z e_j/(2 (e_0 - 1) G_j)

so that (1/2) ln det dy/dr = const - z |r - X_j| + smooth: Kato's cusp of a charge z, in units of the lengths
of the space, for any e_0, and a density at the proton e_j^3 times that of the orbitals. e_0 = 1 + sigmoid(a)
is trained; up to 2 nothing folds unless the cell is tiny. J has a block of three axes for each electron.
"""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.angles import haversine
from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.inverse import Inversion, damped_newton
from pnct.space import Cell, chord
from pnct.validation import checked_number

WIDTH = 0.15  # w, in units of L/pi: of the hole that the others leave around a proton


class ProtonCusps(Flow):
    """T: (N, 3) -> (N, 3), not the identity at any e_0; made with `proton_cusps`, placed with `around`.

    logit: a of e_0 = 1 + sigmoid(a).  space: where the electrons live.  X, charge: None before `around`.
    """

    logit: Float[Array, ""]
    space: Cell = eqx.field(static=True)
    X: Float[ArrayLike, "P dim"] | None = None
    charge: Float[ArrayLike, ""] | None = None

    def around(self, X: Float[ArrayLike, "P dim"], charge) -> "ProtonCusps":
        """This flow for charges at X. charge: that of each, in units of the space's lengths and a kinetic
        energy -nabla^2/2: r_s for protons where these are r_s a_0.
        """
        return replace(self, X=jax.lax.stop_gradient(X), charge=jax.lax.stop_gradient(charge))

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        return jax.vmap(self.one_electron)(R)

    def one_electron(self, r: Float[ArrayLike, " dim"]) -> Float[Array, " dim"]:
        """y of one electron."""
        if self.X is None:
            raise ValueError("Expected places of protons; got none. Write flow.around(X, charge).")
        excess = jax.nn.sigmoid(self.logit).astype(r.dtype)
        X = jnp.asarray(self.X, r.dtype)
        hole = self.alone(r, X)
        G = jax.vmap(self.alone, (0, None))(X, X)[np.arange(len(X)), np.arange(len(X))]
        safe = jnp.maximum(excess * G, jnp.finfo(r.dtype).tiny ** 0.25)
        decay = jnp.asarray(self.charge, r.dtype) * (1 + excess * G) / (2 * safe)
        s = (self.space.L / np.pi) * chord(r - X, self.space.L)[:, 0]
        pull = excess * hole * jnp.exp(-decay * s)
        return r + pull @ self.space.directions(r - X, self.space.L)[:, 0]

    def alone(self, r: Float[Array, " dim"], X: Float[Array, "P dim"]) -> Float[Array, " P"]:
        """g_j(r)."""
        s2 = jnp.sum(haversine(r - X, self.space.L), axis=-1)
        others = ~np.eye(len(X), dtype=bool)
        return jnp.prod(jnp.where(others, s2 / (s2 + WIDTH**2), 1), axis=1)

    def jacobian(self, R: Float[ArrayLike, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, "D D"]]:
        """zeta and J, one block for each electron."""
        return self(R), _block_diagonal(jax.vmap(jax.jacfwd(self.one_electron))(R))

    def forward_and_log_det(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det J|, the sum over electrons."""
        y, log_det = jax.vmap(self._with_log_det)(R)
        return y, jnp.sum(log_det)

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """Electron by electron."""
        found = jax.vmap(lambda z: damped_newton(self, z[None]))(zeta)
        return Inversion(found.R[:, 0], jnp.all(found.converged), jnp.max(found.iterations))

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs: second derivatives of y and ln|det J| of each electron, by its
        own axes.
        """
        N, dim = R.shape
        G = jnp.broadcast_to(jnp.eye(dim, dtype=R.dtype), (N, dim, dim))
        if frame is not None:
            G = jnp.einsum("iac,ibc->iab", *[frame.reshape(N, dim, -1)] * 2)

        slopes = jax.jacfwd(self._with_log_det)
        y, log_det = jax.vmap(self._with_log_det)(R)
        J, g = jax.vmap(slopes)(R)
        hessian, second = jax.vmap(jax.jacfwd(slopes))(R)
        return FlowDerivatives(
            y,
            _block_diagonal(J),
            jnp.einsum("imab,iab->im", hessian, G).reshape(-1),
            jnp.sum(log_det),
            g.reshape(-1),
            jnp.sum(second * G),
            jnp.prod(jnp.sign(jnp.linalg.det(J))),
        )

    def _with_log_det(self, r):
        J = jax.jacfwd(self.one_electron)(r)
        return self.one_electron(r), jnp.linalg.slogdet(J)[1]


def proton_cusps(space: Cell, enhancement: float = 1.3) -> Callable[[Array], ProtonCusps]:
    """A function key -> ProtonCusps that begins with e_0 = `enhancement`, by which an electron is pulled
    towards a proton; 1.15 suits r_s = 1, 1.3 r_s = 2, 1.6 r_s = 4.

    Raises ValueError unless 1 < enhancement < 2: beyond, the map may fold.
    """
    e_0 = checked_number("enhancement", enhancement, lambda x: 1 < x < 2, "> 1 and < 2, where nothing folds")
    return lambda key: ProtonCusps(jnp.log(jnp.asarray((e_0 - 1) / (2 - e_0))), space)


def _block_diagonal(blocks: Float[Array, "N d d"]) -> Float[Array, "D D"]:
    N, d, _ = blocks.shape
    eye = jnp.eye(N, dtype=blocks.dtype)[:, None, :, None]
    return (eye * blocks[:, :, None, :]).reshape(N * d, N * d)
