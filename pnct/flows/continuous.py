r"""A continuous normalizing flow:  zeta = x(1),  dx/dt = v(x),  x(0) = R,  with an equivariant two-body velocity field

    v_i = xi(r_i) d_1(r_i) + sum_{j != i} eta_g(r_ij) d(r_ij)

xi and eta_g are small networks of the even features of the space, with weights of their own for each relation g (same spin,
opposite spin); d is its direction. xi stands for the mean field around the centre, where the space has one. Both start at
zero, T at the identity. The log-determinant is the integral of the exact divergence,

    d ln|det dx/dR|/dt = div v = sum_i div(xi d_1) + sum_{i != j} div(eta_g d)(r_ij)

Both are integrated by the classical Runge-Kutta rule of fourth order in equal steps. That rule is a smooth map of its own,
and T is this map: the inverse is corrected until T(R) = zeta to rounding, and the derivatives are those of the program. So
only ln|det J| carries an error of the integration; where it is not small, the derivatives are nan.

Chen, Rubanova, Bettencourt, Duvenaud, NeurIPS 2018; for electrons: Xie, Zhang, Wang, arXiv 2105.08644.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.flows.derivatives import FlowDerivatives
from pnct.flows.even import EvenNetwork, even_network
from pnct.flows.inverse import Inversion, constant, default_tolerance
from pnct.flows.pairs import displacements, related_pairs, relations
from pnct.space import Space
from pnct.validation import whole

LARGEST_INTEGRATION_ERROR = 1e-3  # of ln|det J|
MAX_CORRECTIONS = 20


class Continuous(eqx.Module):
    """T: (N, dim) -> (N, dim), in the lengths of its space, by `steps` Runge-Kutta steps."""

    eta: EvenNetwork
    xi: EvenNetwork | None  # None where the space has no centre
    cell: Space = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        return self.integrate(self.velocity, R, 1 / self.steps)

    def forward_and_log_det(self, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and the integral of the divergence."""
        start = R, jnp.zeros((), R.dtype)
        return self.integrate(lambda state: self.velocity_and_divergence(state[0]), start, 1 / self.steps)

    def invert(self, zeta: Float[Array, "N dim"]) -> Inversion:
        """R by integration backwards, from a target moved until T(R) = zeta to rounding. Constant under differentiation."""
        flow, zeta = constant((self, zeta))
        tolerance = default_tolerance(zeta)

        def attempt(target, iteration):
            R = flow.integrate(flow.velocity, target, -1 / flow.steps)
            error = flow(R) - zeta
            return target, R, error, jnp.max(jnp.abs(error)), iteration + 1

        def unfinished(state):
            return (state[3] > tolerance) & (state[4] < MAX_CORRECTIONS)

        first = attempt(zeta, jnp.zeros((), jnp.int32))
        _, R, _, size, iterations = jax.lax.while_loop(unfinished, lambda s: attempt(s[0] - s[2], s[4]), first)
        return Inversion(R, size <= tolerance, iterations)

    def derivatives(self, R: Float[Array, "N dim"]) -> FlowDerivatives:
        """Second-order jets of zeta and ln|det J| along every axis; nan where the integration is too coarse."""

        def along(axis):
            slope = lambda R: jax.jvp(self.forward_and_log_det, (R,), (axis,))[1]  # noqa: E731
            return jax.jvp(slope, (R,), (axis,))

        axes = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
        zeta, log_det = self.forward_and_log_det(R)
        (columns, gradient), (curvatures, second) = jax.vmap(along)(axes)

        J = columns.reshape(R.size, R.size).T
        det_sign, of_the_map = jnp.linalg.slogdet(J)
        sound = jnp.abs(of_the_map - log_det) < LARGEST_INTEGRATION_ERROR
        laplacian = jnp.where(sound, jnp.sum(second), jnp.nan)
        return FlowDerivatives(zeta, J, jnp.sum(curvatures, axis=0).ravel(), log_det, gradient, laplacian, det_sign)

    def integrate(self, slope: Callable, start, step: float):
        """`steps` steps of the classical rule from `start`, a pytree."""
        moved = lambda x, h, dx: jax.tree.map(lambda x, dx: x + h * dx, x, dx)  # noqa: E731

        def advance(x, _):
            k1 = slope(x)
            k2 = slope(moved(x, step / 2, k1))
            k3 = slope(moved(x, step / 2, k2))
            k4 = slope(moved(x, step, k3))
            mean = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
            return moved(x, step, mean), None

        return jax.lax.scan(advance, start, length=self.steps)[0]

    def velocity(self, x: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        """v(x)."""
        v = jnp.sum(self.pair_velocity(displacements(x)), axis=1)
        return v if self.xi is None else v + self.centre_velocity(x)

    def velocity_and_divergence(self, x: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """v(x) and div v(x), exactly."""
        pairs, divergence = local_divergence(self.pair_velocity, displacements(x))
        v = jnp.sum(pairs, axis=1)
        if self.xi is None:
            return v, jnp.sum(divergence)
        own, own_divergence = local_divergence(self.centre_velocity, x)
        return v + own, jnp.sum(divergence) + jnp.sum(own_divergence)

    def pair_velocity(self, r: Float[Array, "N N dim"]) -> Float[Array, "N N dim"]:
        """eta_g(r_ij) d(r_ij), zero for i = j."""
        x = self.cell.even_features(r, self.cell.L)
        eta = sum(jnp.where(related, self.eta(x, g), 0) for g, related in enumerate(related_pairs(self.cell)))
        return eta[..., None] * self.cell.direction(r, self.cell.L)

    def centre_velocity(self, x: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        """xi(r_i) d_1(r_i)."""
        even, direction = self.cell.centre(x, self.cell.L)
        return self.xi(even, 0)[..., None] * direction


def local_divergence(f: Callable, r: Float[Array, "*n dim"]) -> tuple[Float[Array, "*n dim"], Float[Array, "*n"]]:
    """f(r) and div f, for f that takes each vector of r by itself."""
    value, tangent = jax.linearize(f, r)
    axes = np.eye(r.shape[-1])
    return value, sum(tangent(jnp.broadcast_to(jnp.asarray(e, r.dtype), r.shape))[..., a] for a, e in enumerate(axes))


def continuous(cell: Space, depth: int = 1, width: int = 16, steps: int = 8) -> Callable[[Array], Continuous]:
    """A function key -> Continuous, at first the identity: networks of `depth` hidden layers of `width` numbers."""
    depth, width, steps = whole("depth", depth, 1), whole("width", width, 1), whole("steps", steps, 1)
    origin = np.zeros((1, cell.dim))
    features, centre = cell.even_features(origin, cell.L).shape[-1], cell.centre(origin, cell.L)

    def make(key: Array) -> Continuous:
        pair_key, centre_key = jax.random.split(key)
        eta = even_network(pair_key, len(relations(cell)), features, depth, width)
        xi = None if centre is None else even_network(centre_key, 1, centre[0].shape[-1], depth, width)
        return Continuous(eta, xi, cell, steps)

    return make
