r"""A continuous normalizing flow:  zeta = x(2),  dx/dt = v(x, t),  x(0) = R,  with an equivariant velocity

    v_i = sum_{j != i} sum_m eta_gm(r_ij) d_m(r_ij)  for t < 1,       v_i = xi(r_i) d(r_i)  for t > 1

xi and eta are small networks of the even features of the space, with weights of their own for each spin
channel g (same spin, opposite spin); d_m are its directions: in a cell as many as axes, since along one of
them a pair could only move on lines that are the same for every network. xi stands for the mean field around
the centre, where the space has one; without one the flow ends at t = 1. Both start at zero, T at the
identity. The log-determinant is the integral of the exact divergence,

    d ln|det dx/dR|/dt = div v = sum_{i != j} sum_m div(eta_gm d_m)(r_ij),     sum_i div(xi d)

Both are integrated by a Runge-Kutta rule of fifth order in equal steps. That rule is a smooth map of its own,
and T is this map: the inverse is corrected until T(R) = zeta to rounding, and the derivatives are those of
the program. So only ln|det J| carries an error of the integration; where it is not small, the derivatives are
nan. For one or two electrons J itself is cheap, and ln|det J| is taken from it: exact, however steep strong
repulsion makes the flow.

`with_cusps` adds the slopes at r = 0 that make the cusps of V = lambda/r (pnct.flows.continuous.cusps).

Chen, Rubanova, Bettencourt, Duvenaud, NeurIPS 2018; for electrons: Xie, Zhang, Wang, arXiv 2105.08644.
"""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.continuous.cusps import cusp
from pnct.flows.continuous.derivatives import Stage, start
from pnct.flows.continuous.runge_kutta import integrate
from pnct.flows.inverse import Inversion, damped_newton, default_tolerance, stop_gradient
from pnct.flows.pairs import along_directions, is_parallel, pair_network, unique_pairs
from pnct.networks.pair_mlp import PairMLP, pair_mlp
from pnct.space import Space
from pnct.validation import checked_integer

LARGEST_INTEGRATION_ERROR = 1e-3  # of ln|det J|
MAX_CORRECTIONS = 20
MOST_BY_JACOBIAN = 2  # electrons


class Continuous(Flow):
    """T: (N, dim) -> (N, dim), in the lengths of its space, by `steps` Runge-Kutta steps."""

    eta: PairMLP
    xi: PairMLP | None  # None where the space has no centre
    space: Space = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    # lambda of the cusps, in units of the space and of -nabla^2/2
    coupling: Float[Array, ""] | float | None = None

    def __call__(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        for stage in self.stages:
            R = integrate(stage.velocity, R, self.steps)
        return R

    @property
    def stages(self) -> list[Stage]:
        """t < 1 and t > 1."""
        i, j = (np.concatenate(x) for x in zip(*unique_pairs(self.space), strict=True))
        eye = np.eye(self.space.N)
        pairs = Stage(self.pair_velocity, (eye[i] - eye[j]).T, 2)
        return [pairs] if self.xi is None else [pairs, Stage(self.centre_velocity, eye, 1)]

    def forward_and_log_det(
        self, R: Float[ArrayLike, "N dim"]
    ) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det J|: the integral of the divergence; for one or two electrons that of J itself."""
        if self.space.N <= MOST_BY_JACOBIAN:
            axes = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
            jets = jax.vmap(lambda axis: jax.jvp(self.__call__, (R,), (axis,)), out_axes=(None, 0))
            zeta, columns = jets(axes)
            return zeta, jnp.linalg.slogdet(columns.reshape(R.size, R.size))[1]
        state = R, jnp.zeros((), R.dtype)
        for stage in self.stages:
            state = integrate(stage.velocity_and_divergence, state, self.steps)
        return state

    def invert(self, zeta: Float[ArrayLike, "N dim"]) -> Inversion:
        """R by integration backwards, from a target moved until T(R) = zeta to rounding. Constant under
        differentiation.

        Where a steep flow takes the integration too far off for that, Newton iteration goes on from where it
        led.
        """
        flow, zeta = stop_gradient((self, zeta))
        tolerance = default_tolerance(zeta)

        def attempt(target):
            R = target
            for stage in flow.stages[::-1]:
                R = integrate(stage.velocity, R, flow.steps, -1.0)
            error = flow(R) - zeta
            return R, error, jnp.max(jnp.abs(error))

        def unfinished(state):
            *_, size, falls, iteration = state
            return (size > tolerance) & falls & (iteration < MAX_CORRECTIONS)

        def corrected(state):
            target, R, error, size, _, iteration = state
            target = target - error
            R_new, error_new, size_new = attempt(target)
            falls = size_new < size  # not so for nan
            return (
                target,
                jnp.where(falls, R_new, R),
                error_new,
                jnp.where(falls, size_new, size),
                falls,
                iteration + 1,
            )

        start = zeta, *attempt(zeta), jnp.ones((), bool), jnp.ones((), jnp.int32)
        _, R, *_, iterations = jax.lax.while_loop(unfinished, corrected, start)
        inversion = damped_newton(flow, zeta, tolerance=tolerance, start=R)
        return inversion._replace(iterations=iterations + inversion.iterations)

    def derivatives(
        self, R: Float[ArrayLike, "N dim"], frame: Float[Array, "D D"] | None = None
    ) -> FlowDerivatives:
        """All that the kinetic energy needs; nan where the integration is too coarse. By the automatic form
        along a frame.
        """
        if frame is not None:
            return super().derivatives(R, frame)
        if self.space.N <= MOST_BY_JACOBIAN:
            return self.derivatives_by_jets(R)
        state = start(R)
        for stage in self.stages:
            state = integrate(stage.slope, state, self.steps)
        J = state.jacobian.reshape(R.size, R.size)
        det_sign, of_the_map = jnp.linalg.slogdet(J)
        valid = jnp.abs(of_the_map - state.log_det) < LARGEST_INTEGRATION_ERROR
        laplacian = jnp.where(valid, state.lap_log_det, jnp.nan)
        return FlowDerivatives(
            state.x,
            J,
            state.laplacian.reshape(R.size),
            state.log_det,
            state.grad_log_det,
            laplacian,
            det_sign,
        )

    def derivatives_by_jets(self, R: Float[ArrayLike, "N dim"]) -> FlowDerivatives:
        """The same from second-order jets of zeta and ln|det J| along every axis."""

        def along(axis):
            def slope(R):
                return jax.jvp(self.forward_and_log_det, (R,), (axis,))[1]

            return jax.jvp(slope, (R,), (axis,))

        axes = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
        zeta, log_det = self.forward_and_log_det(R)
        (columns, gradient), (curvatures, second) = jax.vmap(along)(axes)
        J = columns.reshape(R.size, R.size).T
        laplacian = jnp.sum(curvatures, axis=0).ravel()
        return FlowDerivatives(
            zeta, J, laplacian, log_det, gradient, jnp.sum(second), jnp.linalg.slogdet(J)[0]
        )

    def pair_velocity(self, r: Float[Array, "P dim"]) -> Float[Array, "P dim"]:
        """sum_m eta_gm d_m of the pairs i < j, one spin channel after another."""
        ends = np.cumsum([len(i) for i, _ in unique_pairs(self.space)])[:-1]
        parts = jnp.split(r, ends)
        eta = jnp.concatenate([self.pair_eta(part, g) for g, part in enumerate(parts)])
        return along_directions(eta, self.space, r)

    def pair_eta(self, r: Float[Array, "P dim"], g: int) -> Float[Array, "P M"]:
        """eta_gm; that of the first direction has the slope at r = 0 which makes the coupling's cusp."""
        eta = self.eta(self.space.even_features(r, self.space.L), g)
        if self.coupling is None:
            return eta
        parallel = is_parallel(self.space)[g]
        return eta.at[:, 0].add(cusp(lambda x: self.eta(x, g), self.space, self.coupling, parallel, r))

    def with_cusps(self, coupling) -> "Continuous":
        """This flow with the cusps of V = coupling/r."""
        return replace(self, coupling=jax.lax.stop_gradient(coupling))

    def centre_velocity(self, r: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        """xi(r_i) d(r_i)."""
        even, direction = self.space.one_body_features(r, self.space.L)
        return self.xi(even, 0) * direction


def continuous(
    space: Space, depth: int = 1, width: int = 16, steps: int = 6
) -> Callable[[Array], Continuous]:
    """A function key -> Continuous, at first the identity: networks of `depth` hidden layers of `width`
    numbers.
    """
    depth = checked_integer("depth", depth, 1)
    width = checked_integer("width", width, 1)
    steps = checked_integer("steps", steps, 1)
    centre = space.one_body_features(np.zeros((1, space.dim)), space.L)

    def make(key: Array) -> Continuous:
        pair_key, centre_key = jax.random.split(key)
        eta = pair_network(pair_key, space, depth, width)
        xi = None if centre is None else pair_mlp(centre_key, 1, centre[0].shape[-1], depth, width)
        return Continuous(eta, xi, space, steps)

    return make
