r"""A continuous flow and its derivatives, carried along with its integration, exactly.

Differentiating dx/dt = v(x) and d ln|det J|/dt = div v by R gives differential equations again, and a
Runge-Kutta rule applied to them all gives the derivatives of what it makes of the first two. With A = dv/dx
and C_c the columns of J = dx/dR,

    dJ/dt = A J,    d(Lap x)/dt = A Lap x + sum_c (C_c . d)^2 v

and with ln|det J| in the place of x, div v in that of v, the same for its gradient and Laplacian. Where v
consists of terms f(r_ij) of pairs, derivatives of f and div f by the few coordinates of r_ij are all it
takes, and sum_c (C_c . d)^2 is sum_ab G_ab d_a d_b with G = sum_c (C_ic - C_jc) (C_ic - C_jc)^T.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float


class Carried(NamedTuple):
    """x and ln|det J| with their derivatives by R, D = N dim."""

    x: Float[Array, "N dim"]
    jacobian: Float[Array, "N dim D"]
    laplacian: Float[Array, "N dim"]
    log_det: Float[Array, ""]
    grad_log_det: Float[Array, " D"]
    lap_log_det: Float[Array, ""]


class Stage(NamedTuple):
    """A velocity field  v = B f(B^T x),  div v = share sum_p div f_p,  of terms p.

    field: f, (P, dim) -> (P, dim), from each of the P vectors by itself. incidence: B, of ones, minus ones
    and zeros.
    """

    field: Callable
    incidence: Float[np.ndarray, "N P"]
    share: int

    def velocity(self, x: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        """v(x)."""
        return self.put(self.field(self.take(x)))

    def velocity_and_divergence(self, state):
        """v(x) and div v(x), exactly, of a state x, ln|det J|."""
        value = with_divergence(self.field)(self.take(state[0]))
        return self.put(value[:, :-1]), self.share * jnp.sum(value[:, -1])

    def slope(self, state: Carried) -> Carried:
        """d/dt of all that is carried."""
        C = self.take(state.jacobian)
        lap = self.take(state.laplacian)
        value, slopes, curvatures = local_jet(self.field, self.take(state.x))
        metric = jnp.einsum("pac,pbc->pab", C, C)
        gradient = jnp.einsum("pam,pac->pmc", slopes, C)
        laplacian = jnp.einsum("pam,pa->pm", slopes, lap) + jnp.einsum("pabm,pab->pm", curvatures, metric)
        jets = value, gradient, laplacian
        return Carried(
            *(self.put(x[:, :-1]) for x in jets), *(self.share * jnp.sum(x[:, -1], axis=0) for x in jets)
        )

    def take(self, x: Float[Array, "N ..."]) -> Float[Array, "P ..."]:
        """B^T x."""
        return jnp.tensordot(jnp.asarray(self.incidence.T, x.dtype), x, 1, precision="highest")

    def put(self, f: Float[Array, "P ..."]) -> Float[Array, "N ..."]:
        """B f."""
        return jnp.tensordot(jnp.asarray(self.incidence, f.dtype), f, 1, precision="highest")


def start(R: Float[ArrayLike, "N dim"]) -> Carried:
    """Where the integration starts: T = 1."""

    def zeros(*shape):
        return jnp.zeros(shape, R.dtype)

    J = jnp.eye(R.size, dtype=R.dtype).reshape(*R.shape, R.size)
    return Carried(R, J, zeros(*R.shape), zeros(), zeros(R.size), zeros())


def with_divergence(f: Callable) -> Callable:
    """r -> [f(r), div f(r)], for f that takes each vector of r by itself."""

    def extended(r: Float[Array, "P d"]) -> Float[Array, "P d+1"]:
        axes = jnp.broadcast_to(jnp.eye(r.shape[1], dtype=r.dtype)[:, None], (r.shape[1], *r.shape))
        value, slopes = jax.vmap(lambda axis: jax.jvp(f, (r,), (axis,)), out_axes=(None, 0))(axes)
        return jnp.append(value, jnp.einsum("apa->p", slopes)[:, None], axis=1)

    return extended


def local_jet(f: Callable, r: Float[Array, "P d"]):
    """[f, div f] at r with first and second derivatives: shapes (P, d + 1), (P, d, d + 1), (P, d, d, d + 1).

    One axis after the other: what they have in common is computed once, in half the time of all axes at once.
    Reverse mode through this takes twice the time, so the scores have the other.
    """
    axes = range(r.shape[1])

    def slope(f, a):
        axis = np.eye(r.shape[1])[a].astype(r.dtype)
        return lambda r: jax.jvp(f, (r,), (jnp.broadcast_to(axis, r.shape),))[1]

    def extended(r):
        return jnp.append(f(r), sum(slope(f, a)(r)[:, a, None] for a in axes), axis=1)

    second = {(a, b): slope(slope(extended, a), b)(r) for a in axes for b in axes[a:]}
    curvatures = [jnp.stack([second[min(a, b), max(a, b)] for b in axes], axis=1) for a in axes]
    return (
        extended(r),
        jnp.stack([slope(extended, a)(r) for a in axes], axis=1),
        jnp.stack(curvatures, axis=1),
    )
