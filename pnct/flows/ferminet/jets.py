r"""Jets: numbers with their derivatives, carried through y = s(z) and through the pair stream of a
FermiNet flow.

With u = grad z, Q = Hess z, c = grad Lap z, v = u, or v = C C^T u where Lap is along a frame C, elementwise,

    grad y = s' u,   Hess y = s' Q + s'' u u^T,   Lap y = s' Lap z + s'' u.v
    grad Lap y = s' c + s'' (u Lap z + 2 Q v) + s''' u (u.v)

and all else is linear. A pair term depends on r_ij alone, so its jets have `dim` components, and of its
symmetric Hessian by r_ij the p = dim (dim + 1)/2 elements d_a d_b with a <= b are held. By all coordinates,
G = C C^T,

    Lap f(r_ij) = sum_bc g_bc d_b d_c f,   g = G_ii + G_jj - G_ij - G_ji, without a frame 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from pnct.compilation import computed_once
from pnct.flows.pairs import displacements
from pnct.networks.activations import Activation
from pnct.networks.layers import residual


class PairJet(NamedTuple):
    """f(r_ij) with its derivatives by r_ij, and its Laplacian by all coordinates."""

    value: Float[Array, "N N F"]
    grad: Float[Array, "N N d F"]
    hess: Float[Array, "N N p F"]
    lap: Float[Array, "N N F"]
    grad_lap: Float[Array, "N N d F"]


class Jet(NamedTuple):
    """Numbers h_ik of the electrons i with their derivatives by all D coordinates, but for the Hessians."""

    value: Float[Array, "N H"]
    grad: Float[Array, "N D H"]
    lap: Float[Array, "N H"]
    grad_lap: Float[Array, "N D H"]


def of_symmetric(d: int) -> Int[np.ndarray, "d d"]:
    """Where the elements (a, b) of a symmetric matrix are among those with a <= b, in the order of rows."""
    a, b = np.triu_indices(d)
    place = np.zeros((d, d), int)
    place[a, b] = place[b, a] = np.arange(len(a))
    return place


def pair_metric(frame: Float[Array, "D D"] | None, R) -> Float[Array, "N N d d"] | None:
    """g of every pair, or None where it is 2."""
    if frame is None:
        return None
    N, d = R.shape
    G = jnp.swapaxes((frame @ frame.T).reshape(N, d, N, d), 1, 2)
    own = G[jnp.arange(N), jnp.arange(N)]
    return own[:, None] + own - G - jnp.swapaxes(G, 0, 1)


def pair_jets(flow, R, frame=None) -> list[PairJet]:
    """The pair stream as every layer meets it."""
    metric = pair_metric(frame, R)
    jets = [feature_jet(flow, R, metric)]
    for layer in flow.pair:
        old = jets[-1]
        z = PairJet(
            flow.pair_layer(layer, old.value),
            *(flow.by_channel([x @ weight for weight in layer.weight]) for x in old[1:]),
        )
        new = pair_elementwise(flow.activation, z, metric)
        jets.append(PairJet(*(residual(*x) for x in zip(old, new, strict=True))))
    return jets


def with_slope(f: Callable, a: int) -> Callable:
    """(f, df/dr_a) of a function of the coordinates r = [r_0, r_1, ...] of all pairs, as such a function."""

    def extended(r):
        def along(x):
            return f([*r[:a], x, *r[a + 1 :]])

        return jax.jvp(along, (r[a],), (jnp.ones_like(r[a]),))

    return extended


def of_coordinates(features: Callable, L: float) -> Callable:
    """The features as a function of the coordinates of all pairs."""

    def value(r):
        return features(jnp.stack(r, axis=-1), L)

    return value


def pair_slopes(
    features: Callable, R: Float[ArrayLike, "N dim"], L: float
) -> tuple[Float[Array, "N N F"], Float[Array, "N N dim F"]]:
    """The features of all pairs and their derivatives by r_ij, as `feature_jet` has them."""
    r = list(jnp.moveaxis(displacements(R), -1, 0))
    value = of_coordinates(features, L)
    found = [with_slope(value, a)(r) for a in range(len(r))]
    return found[0][0], stacked([slope for _, slope in found])


def feature_jet(flow, R, metric) -> PairJet:
    """The features with their derivatives, taken automatically, by one coordinate of r_ij after the other.

    Each third derivative d_a d_b d_c brings all lower ones along, so that nothing else is evaluated.
    """
    r = list(jnp.moveaxis(displacements(R), -1, 0))
    axes = range(len(r))
    value = of_coordinates(flow.features, flow.space.L)
    pairs = [(b, c) for b in axes for c in axes if b == c or (metric is not None and b < c)]
    # Under jit so that each is traced once for all a.
    second = {(b, c): jax.jit(with_slope(with_slope(value, c), b)) for b in axes for c in axes if b <= c}
    third = {}
    for triple in {tuple(sorted((a, *pair))) for a in axes for pair in pairs}:
        third[triple] = with_slope(second[triple[1:]], triple[0])(r)

    def curvature(a, b):
        """d_a d_b."""
        return third[a, b, b][1][1][0]

    def laplacian(of_curvature):
        """By all coordinates, of d_b d_c."""
        if metric is None:
            return 2 * sum(of_curvature(b, b) for b in axes)
        # both orders of b and c
        return sum((1 if b == c else 2) * metric[..., b, c, None] * of_curvature(b, c) for b, c in pairs)

    return PairJet(
        third[0, 0, 0][0][0][0],
        stacked([third[a, a, a][1][0][0] for a in axes]),
        stacked([curvature(a, b) for a in axes for b in axes if a <= b]),
        laplacian(lambda b, c: third[0, b, c][0][1][1]),
        stacked([laplacian(lambda b, c, a=a: third[tuple(sorted((a, b, c)))][1][1][1]) for a in axes]),
    )


def stacked(parts: list[Float[Array, "N N F"]]) -> Float[Array, "N N d F"]:
    """Side by side, each computed by itself: XLA would compute a fused stack number by number."""
    return jnp.stack(computed_once(parts), axis=2)


def single_jet(flow, R, frame=None) -> tuple[Jet, Float[Array, "N d d H"]]:
    """h_i as the first layer meets it, each a function of its own r_i, and its Hessians by r_i."""
    N, d = R.shape
    G = jnp.broadcast_to(jnp.eye(d, dtype=R.dtype), (N, d, d))
    if frame is not None:
        G = jnp.einsum("iac,ibc->iab", *[frame.reshape(N, d, -1)] * 2)

    def hessian(r):
        return jnp.moveaxis(jax.jacfwd(jax.jacfwd(flow.single_features))(r), 0, -1)

    def laplacian(r, G):
        return jnp.tensordot(G, hessian(r), 2)

    def dense(slope):  # (N, H, d), by the axes of all electrons
        eye = jnp.eye(N, dtype=R.dtype)[:, :, None, None]
        return (eye * jnp.swapaxes(slope, 1, 2)[:, None]).reshape(N, N * d, slope.shape[1])

    return Jet(
        flow.single_features(R),
        dense(jax.vmap(jax.jacfwd(flow.single_features))(R)),
        jax.vmap(laplacian)(R, G),
        dense(jax.vmap(jax.jacfwd(laplacian))(R, G)),
    ), jax.vmap(hessian)(R)


def pair_elementwise(activation: Activation, z: PairJet, metric) -> PairJet:
    """The jet of s(z)."""
    slopes = activation.slopes(z.value)
    d1, d2, _ = (x[:, :, None, :] for x in slopes)
    squares = [z.grad[:, :, a, None] * z.grad[:, :, a:] for a in range(z.grad.shape[2])]
    hess = d1 * z.hess + d2 * jnp.concatenate(squares, axis=2)
    v = 2 * z.grad if metric is None else jnp.sum(metric[..., None] * z.grad[:, :, None], axis=3)
    Qv = symmetric_times(z.hess, v)
    y = elementwise(activation, Jet(z.value, z.grad, z.lap, z.grad_lap), v, Qv, slopes)
    # Otherwise XLA would take all this into the matrix products that follow, number by number.
    return computed_once(PairJet(y.value, y.grad, hess, y.lap, y.grad_lap))


def symmetric_times(Q: Float[Array, "N N p F"], v: Float[Array, "N N d F"]) -> Float[Array, "N N d F"]:
    """Q v of every pair."""
    place = of_symmetric(v.shape[2])
    return stacked([sum(Q[:, :, at] * v[:, :, a] for a, at in enumerate(row)) for row in place])


def elementwise(activation: Activation, z: Jet, v, Qv, slopes) -> Jet:
    """The jet of y = s(z), from that of z, v, and Q v."""
    s1, s2, s3 = slopes
    u = z.grad
    square = jnp.sum(z.grad * v, axis=-2)
    d1, d2, d3, lap = (x[..., None, :] for x in (s1, s2, s3 * square, z.lap))
    return Jet(
        activation(z.value),
        d1 * u,
        s1 * z.lap + s2 * square,
        d1 * z.grad_lap + d2 * (u * lap + 2 * Qv) + d3 * u,
    )
