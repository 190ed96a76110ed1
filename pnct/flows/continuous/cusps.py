r"""The cusps that a continuous flow gives Psi where two electrons meet and V = lambda/r.

V would make E_loc diverge there. It does not if ln Psi rises like c |r|, with c = lambda/(d - 1) for opposite
and lambda/(d + 1) for equal spins in d dimensions (Kato, Commun. Pure Appl. Math. 10, 151 (1957)). With
eta = e_0 + e_1 |r| + ... for a pair alone, and G = (e^{2 e_0} - 1)/(2 e_0), at t = 1

    r -> r e^{2 e_0} (1 + 2 e_1 G |r|),        ln|det J|/2 -> ... + (d + 1) e_1 G |r|

The determinant of equal spins is proportional to r, that of opposite ones does not change to first order in
|r|: so

    e_1 = lambda/[(d - 1) (d + 1) G]   (opposite),        e_1 = lambda/[(d + 1) (d + 3) G]   (equal)

which eta_g is given near r = 0, as e_1 |r|/(1 + a |r|)^3. Any a will do for the cusp; it only says how far
from r = 0 the two are still moved apart. The radial equation of a pair, ln Psi = c (|r| - c |r|^2/(2 m) ...),
with m = d for opposite and d + 2 for equal spins, and the length L of the space have the scale 1/L + c/m.
Half of that does well (measured). What the network adds is smooth at r = 0 and changes nothing: for two
electrons the cusp is exact. Electrons of opposite spin whose state has a node where they meet have the wrong
cusp, but are not often there. Among more electrons the others move the two during the flow, those of opposite
spin unlike each other, and the cusp is the less sharp.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pnct.space import Space, norm


def cusp(
    eta: Callable, space: Space, coupling, parallel: bool | np.bool_, r: Float[Array, "P dim"]
) -> Float[Array, " P"]:
    """What eta_g lacks of the slope e_1 at r = 0, times |r|/(1 + a |r|)^3.

    eta: the network of this spin channel, even features (..., F) -> (..., M), whose sum over the M directions
    counts near r = 0.  parallel: whether of equal spins.
    """
    dim = space.dim
    origin = jnp.zeros((1, space.dim), r.dtype)
    coupling = jnp.asarray(coupling, r.dtype)
    features, direction = space.cusp_slopes(space.L)
    start = space.even_features(origin, space.L)
    e_0, slope = jax.jvp(lambda x: jnp.sum(eta(x)), (start,), (jnp.asarray(features, r.dtype)[None],))
    m = dim + 2 if parallel else dim
    e_1 = coupling / ((m - 1) * (m + 1) * growth(2 * e_0))
    fading = (1 / space.L + coupling / (m * (m - 1))) / 2
    s = norm(r)[:, 0]
    return (e_1 - e_0 * direction - slope) * s / (1 + fading * s) ** 3


def growth(x: Float[Array, ""]) -> Float[Array, ""]:
    """(e^x - 1)/x, also at 0."""
    small = jnp.abs(x) < 1e-3
    return jnp.where(small, 1 + x / 2 + x**2 / 6, jnp.expm1(x) / jnp.where(small, 1, x))
