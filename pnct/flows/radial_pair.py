r"""The continuous flow of one fermion of each spin in open space, which changes nothing but their distance:

    r = R_1 - R_2  ->  r exp u(q),  q = r^2,    (R_1 + R_2)/2 rests

dr/dt = 2 eta(r^2) r/(1 + r^2/L^2)^{1/2}, the velocity of pnct.flows.continuous for a pair, keeps the
direction of r, and for ln|r(t)/r(0)| is a differential equation of one number,

    du/dt = 2 eta(s)/(1 + s/L^2)^{1/2},    s = q exp(2 u),    u = 0 at t = 0

eta is a small network of the even features of the smooth space. With E = exp u and ' = d/dq, in d dimensions

    dy/dr = E (1 + 2 u' r r^T),             ln det = d u + ln(1 + 2 q u') = l
    Lap_r y = r [4 q E'' + (2 d + 4) E'],   grad_r l = 2 l' r,   Lap_r l = 2 d l' + 4 q l''

so all derivatives are those of one function of one number, which takes far less time than jets along six
coordinates. u is integrated by a Runge-Kutta rule: that is a smooth map of its own, of which this is exact.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.continuous.runge_kutta import integrate
from pnct.flows.inverse import Inversion, damped_newton, stop_gradient
from pnct.networks.pair_mlp import PairMLP, pair_mlp
from pnct.smooth_space import SmoothOpenSpace
from pnct.validation import checked_integer


class RadialPair(Flow):
    """T: (2, dim) -> (2, dim), in the lengths of its space, by `steps` Runge-Kutta steps."""

    eta: PairMLP
    space: SmoothOpenSpace = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __call__(self, R: Float[ArrayLike, "2 dim"]) -> Float[Array, "2 dim"]:
        r = R[0] - R[1]
        return moved(R, r * jnp.expm1(self.stretch(jnp.sum(r**2))) / 2)

    def jacobian(self, R: Float[ArrayLike, "2 dim"]) -> tuple[Float[Array, "2 dim"], Float[Array, "D D"]]:
        """zeta and J, of y by r and the identity of the centre."""
        r = R[0] - R[1]
        u, slope = self.stretch_and_slope(jnp.sum(r**2))
        return moved(R, r * jnp.expm1(u) / 2), both(r, u, slope)

    def forward_and_log_det(
        self, R: Float[ArrayLike, "2 dim"]
    ) -> tuple[Float[Array, "2 dim"], Float[Array, ""]]:
        """zeta and ln det J."""
        r = R[0] - R[1]
        u, log_det = self.stretch_and_log_det(jnp.sum(r**2))
        return moved(R, r * jnp.expm1(u) / 2), log_det

    def derivatives(
        self, R: Float[ArrayLike, "2 dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs, from jets by q; along a frame by the automatic form."""
        if frame is not None:
            return super().derivatives(R, frame)
        r = R[0] - R[1]
        q, d = jnp.sum(r**2), self.space.dim
        one = jnp.ones_like(q)

        def slopes(q):
            return jax.jvp(self.stretch_and_log_det, (q,), (one,))

        ((u, log_det), (u1, l1)), (_, (u2, l2)) = jax.jvp(slopes, (q,), (one,))
        lap = jnp.exp(u) * (4 * q * (u2 + u1**2) + (2 * d + 4) * u1) * r
        gradient = 2 * l1 * r
        return FlowDerivatives(
            moved(R, r * jnp.expm1(u) / 2),
            both(r, u, u1),
            jnp.concatenate([lap, -lap]),
            log_det,
            jnp.concatenate([gradient, -gradient]),
            2 * (2 * d * l1 + 4 * q * l2),
            jnp.sign(1 + 2 * q * u1),
        )

    def invert(self, zeta: Float[ArrayLike, "2 dim"]) -> Inversion:
        """By integration backwards, then Newton iteration. Constant under differentiation."""
        flow, zeta = stop_gradient((self, zeta))
        y = zeta[0] - zeta[1]
        return damped_newton(
            flow, zeta, start=moved(zeta, y * jnp.expm1(flow.stretch(jnp.sum(y**2), -1.0)) / 2)
        )

    def stretch(self, q: Float[Array, ""], duration: float = 1.0) -> Float[Array, ""]:
        """u(q); backwards where duration < 0."""

        def rate(u):
            s = q * jnp.exp(2 * u)
            eta = self.eta(self.space.even_features_of_square(s[None]), 0)[0]
            return 2 * eta / jnp.sqrt(1 + s / self.space.L**2)

        return integrate(rate, jnp.zeros_like(q), self.steps, duration)

    def stretch_and_slope(self, q: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """u and u'."""
        return jax.jvp(self.stretch, (q,), (jnp.ones_like(q),))

    def stretch_and_log_det(self, q: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """u and l."""
        u, slope = self.stretch_and_slope(q)
        return u, self.space.dim * u + jnp.log(jnp.abs(1 + 2 * q * slope))


def moved(R, half):
    """Both along their distance, by opposite displacements."""
    return jnp.asarray(R) + jnp.stack([half, -half])


def both(r, u, slope):
    """J of both positions, from dy/dr: 1/2 (1 + dy/dr) of each by itself, 1/2 (1 - dy/dr) by the other."""
    eye = jnp.eye(r.size, dtype=r.dtype)
    relative = jnp.exp(u) * (eye + 2 * slope * jnp.outer(r, r))
    same, other = (eye + relative) / 2, (eye - relative) / 2
    return jnp.block([[same, other], [other, same]])


def radial_pair(
    space: SmoothOpenSpace, depth: int = 1, width: int = 16, steps: int = 6
) -> Callable[[Array], RadialPair]:
    """A function key -> RadialPair, at first the identity: a network of `depth` hidden layers of `width`
    numbers. Raises ValueError unless there is one fermion of each spin.
    """
    if space.num_electrons != (1, 1):
        raise ValueError(f"Expected one fermion of each spin; got {space.num_electrons}.")
    depth = checked_integer("depth", depth, 1)
    width = checked_integer("width", width, 1)
    steps = checked_integer("steps", steps, 1)
    features = space.cusp_slopes(space.L)[0].size
    return lambda key: RadialPair(pair_mlp(key, 1, features, depth, width), space, steps)
