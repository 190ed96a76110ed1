r"""A continuous normalizing flow:  zeta = x(2),  dx/dt = v(x, t),  x(0) = R,  with an equivariant two-body
velocity field

    v_i = sum_{j != i} eta_g(r_ij) d(r_ij)  for t < 1,       v_i = xi(r_i) d_1(r_i)  for t > 1

xi and eta_g are small networks of the even features of the space, with weights of their own for each relation
g (same spin, opposite spin); d is its direction. xi stands for the mean field around the centre, where the
space has one; without one the flow ends at t = 1. Both start at zero, T at the identity. The log-determinant
is the integral of the exact divergence,

    d ln|det dx/dR|/dt = div v = sum_{i != j} div(eta_g d)(r_ij),     sum_i div(xi d_1)

Both are integrated by a Runge-Kutta rule of fifth order in equal steps (Tsitouras, Comput. Math. Appl. 62,
770 (2011)). That rule is a smooth map of its own, and T is this map: the inverse is corrected until T(R) =
zeta to rounding, and the derivatives are those of the program. So only ln|det J| carries an error of the
integration; where it is not small, the derivatives are nan. For one or two electrons J itself is cheap, and
ln|det J| is taken from it: exact, however steep strong repulsion makes the flow.

Where two electrons meet, V = lambda/r would make E_loc diverge. It does not if ln Psi rises like c |r|, with
c = lambda/(d - 1) for opposite and lambda/(d + 1) for equal spins in d dimensions (Kato, Commun. Pure Appl.
Math. 10, 151 (1957)). With eta = e_0 + e_1 |r| + ... for a pair alone, and G = (e^{2 e_0} - 1)/(2 e_0), at t
= 1

    r -> r e^{2 e_0} (1 + 2 e_1 G |r|),        ln|det J|/2 -> ... + (d + 1) e_1 G |r|

The determinant of equal spins is proportional to r, that of opposite ones does not change to first order in
|r|: so

    e_1 = lambda/[(d - 1) (d + 1) G]   (opposite),        e_1 = lambda/[(d + 1) (d + 3) G]   (equal)

which `with_cusps` gives eta_g near r = 0, as e_1 |r|/(1 + a |r|)^3. Any a will do for the cusp; it only says
how far from r = 0 the two are still moved apart. The radial equation of a pair, ln Psi = c (|r| - c |r|^2/(2
m) + ...) with m = d for opposite and d + 2 for equal spins, and the length L of the space have the scale 1/L
+ c/m. Half of that does well (measured: README). What the network adds is smooth at r = 0 and changes
nothing: for two electrons the cusp is exact. Electrons of opposite spin whose state has a node where they
meet have the wrong cusp, but are not often there. Among more electrons the others move the two during the
flow, those of opposite spin unlike each other, and the cusp is the less sharp.

Chen, Rubanova, Bettencourt, Duvenaud, NeurIPS 2018; for electrons: Xie, Zhang, Wang, arXiv 2105.08644.
"""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.flows.base import FlowDerivatives
from pnct.flows.continuous.cusps import growth
from pnct.flows.continuous.derivatives import Stage, start
from pnct.flows.inverse import Inversion, damped_newton, default_tolerance, stop_gradient
from pnct.flows.pairs import is_parallel, spin_channels, unique_pairs
from pnct.networks.pair_mlp import PairMLP, pair_mlp
from pnct.space import Space, norm
from pnct.validation import checked_integer

LARGEST_INTEGRATION_ERROR = 1e-3  # of ln|det J|
MAX_CORRECTIONS = 20
MOST_BY_JACOBIAN = 2  # electrons
# of the six stages of a step: what of the slopes so far leads to each, and in the last row to the end of the
# step
RUNGE_KUTTA = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0.161, 0, 0, 0, 0, 0],
        [-0.008480655492356989, 0.335480655492357, 0, 0, 0, 0],
        [2.8971530571054935, -6.359448489975075, 4.3622954328695815, 0, 0, 0],
        [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525, 0, 0],
        [
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
            0,
        ],
        [
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ],
    ]
)


class Continuous(eqx.Module):
    """T: (N, dim) -> (N, dim), in the lengths of its space, by `steps` Runge-Kutta steps."""

    eta: PairMLP
    xi: PairMLP | None  # None where the space has no centre
    space: Space = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    coupling: Float[Array, ""] | float | None = (
        None  # lambda of the cusps, in units of the space and of -nabla^2/2
    )

    def __call__(self, R: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        for stage in self.stages:
            R = self.integrate(stage.velocity, R, 1 / self.steps)
        return R

    @property
    def stages(self) -> list[Stage]:
        """t < 1 and t > 1."""
        i, j = (np.concatenate(x) for x in zip(*unique_pairs(self.space), strict=True))
        eye = np.eye(self.space.N)
        pairs = Stage(self.pair_velocity, (eye[i] - eye[j]).T, 2)
        return [pairs] if self.xi is None else [pairs, Stage(self.centre_velocity, eye, 1)]

    def forward_and_log_det(self, R: Float[Array, "N dim"]) -> tuple[Float[Array, "N dim"], Float[Array, ""]]:
        """zeta and ln|det J|: the integral of the divergence, and for one or two electrons that
        of J itself.
        """
        if self.space.N <= MOST_BY_JACOBIAN:
            axes = jnp.eye(R.size, dtype=R.dtype).reshape(R.size, *R.shape)
            zeta, columns = jax.vmap(lambda axis: jax.jvp(self.__call__, (R,), (axis,)), out_axes=(None, 0))(
                axes
            )
            return zeta, jnp.linalg.slogdet(columns.reshape(R.size, R.size))[1]
        state = R, jnp.zeros((), R.dtype)
        for stage in self.stages:
            state = self.integrate(stage.velocity_and_divergence, state, 1 / self.steps)
        return state

    def invert(self, zeta: Float[Array, "N dim"]) -> Inversion:
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
                R = flow.integrate(stage.velocity, R, -1 / flow.steps)
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

    def derivatives(self, R: Float[Array, "N dim"]) -> FlowDerivatives:
        """All that the kinetic energy needs; nan where the integration is too coarse."""
        if self.space.N <= MOST_BY_JACOBIAN:
            return self.derivatives_by_jets(R)
        state = start(R)
        for stage in self.stages:
            state = self.integrate(stage.slope, state, 1 / self.steps)
        J = state.jacobian.reshape(R.size, R.size)
        det_sign, of_the_map = jnp.linalg.slogdet(J)
        sound = jnp.abs(of_the_map - state.log_det) < LARGEST_INTEGRATION_ERROR
        laplacian = jnp.where(sound, state.lap_log_det, jnp.nan)
        return FlowDerivatives(
            state.x,
            J,
            state.laplacian.reshape(R.size),
            state.log_det,
            state.grad_log_det,
            laplacian,
            det_sign,
        )

    def derivatives_by_jets(self, R: Float[Array, "N dim"]) -> FlowDerivatives:
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

    def integrate(self, slope: Callable, start, step: float):
        """`steps` steps of the rule from `start`, a pytree."""
        stages = len(RUNGE_KUTTA) - 1

        def moved(x, slopes, weights):
            # Accelerators round the factors of float32 products to ten bits unless told otherwise.

            def share(k):
                return jnp.tensordot((step * weights).astype(k.dtype), k, 1, precision="highest")

            return jax.tree.map(lambda x, k: x + share(k), x, slopes)

        # One stage after another: the program holds `slope` once, and compiles in a quarter of the time.
        def stage(state, s):
            x, slopes = state
            k = slope(moved(x, slopes, jnp.asarray(RUNGE_KUTTA)[s]))
            slopes = jax.tree.map(lambda all, k: all.at[s].set(k), slopes, k)
            end = moved(x, slopes, RUNGE_KUTTA[-1])
            return (jax.tree.map(lambda x, end: jnp.where(s == stages - 1, end, x), x, end), slopes), None

        slopes = jax.tree.map(lambda x: jnp.zeros((stages, *x.shape), x.dtype), start)
        return jax.lax.scan(stage, (start, slopes), np.tile(np.arange(stages), self.steps))[0][0]

    def pair_velocity(self, r: Float[Array, "P dim"]) -> Float[Array, "P dim"]:
        """eta_g(r_ij) d(r_ij) of the pairs i < j, relation by relation."""
        ends = np.cumsum([len(i) for i, _ in unique_pairs(self.space)])[:-1]
        parts = jnp.split(r, ends)
        eta = jnp.concatenate([self.pair_eta(part, g) for g, part in enumerate(parts)])
        return eta[:, None] * self.space.direction(r, self.space.L)

    def pair_eta(self, r: Float[Array, "P dim"], g: int) -> Float[Array, " P"]:
        """eta_g, with the slope e_1 at r = 0 that makes the cusp; what the network lacks of it fades with
        distance.
        """
        eta = self.eta(self.space.even_features(r, self.space.L), g)
        if self.coupling is None:
            return eta
        dim = self.space.dim
        origin = jnp.zeros((1, self.space.dim), r.dtype)
        coupling = jnp.asarray(self.coupling, r.dtype)
        features, direction = self.space.cusp_slopes(self.space.L)
        start = self.space.even_features(origin, self.space.L)
        e_0, slope = jax.jvp(lambda x: self.eta(x, g)[0], (start,), (jnp.asarray(features, r.dtype)[None],))
        m = dim + 2 if is_parallel(self.space)[g] else dim
        e_1 = coupling / ((m - 1) * (m + 1) * growth(2 * e_0))
        fading = (1 / self.space.L + coupling / (m * (m - 1))) / 2
        s = norm(r)[:, 0]
        return eta + (e_1 - e_0 * direction - slope) * s / (1 + fading * s) ** 3

    def centre_velocity(self, r: Float[Array, "N dim"]) -> Float[Array, "N dim"]:
        """xi(r_i) d_1(r_i)."""
        even, direction = self.space.one_body_features(r, self.space.L)
        return self.xi(even, 0)[:, None] * direction


def with_cusps(flow, coupling):
    """A flow made of continuous ones, of which each now has the cusps of V = coupling/r between all
    electrons.

    coupling: a number, which no gradient moves, in units of the space's lengths and of a kinetic energy
    -nabla^2/2.
    """

    def is_continuous(x):
        return isinstance(x, Continuous)

    def add(x):
        return replace(x, coupling=jax.lax.stop_gradient(coupling)) if is_continuous(x) else x

    return jax.tree.map(add, flow, is_leaf=is_continuous)


def continuous(
    space: Space, depth: int = 1, width: int = 16, steps: int = 6
) -> Callable[[Array], Continuous]:
    """A function key -> Continuous, at first the identity: networks of `depth` hidden layers of `width`
    numbers.
    """
    depth = checked_integer("depth", depth, 1)
    width = checked_integer("width", width, 1)
    steps = checked_integer("steps", steps, 1)
    origin = np.zeros((1, space.dim))
    features = space.even_features(origin, space.L).shape[-1]
    centre = space.one_body_features(origin, space.L)

    def make(key: Array) -> Continuous:
        pair_key, centre_key = jax.random.split(key)
        eta = pair_mlp(pair_key, len(spin_channels(space)), features, depth, width)
        xi = None if centre is None else pair_mlp(centre_key, 1, centre[0].shape[-1], depth, width)
        return Continuous(eta, xi, space, steps)

    return make
