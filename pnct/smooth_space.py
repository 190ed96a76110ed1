r"""Spaces whose features of a pair are smooth where two electrons meet, and know a second length b.

A potential that is smooth at r = 0 gives wave functions without cusps, so that features proportional to |r|
would only make the local energy diverge like 1/r. It varies over its range b, which may be short beside the
unit of length L. With q_a = r^2/a^2, in a cell r^2 that of (L/pi) sin(pi r_b/L) along every axis, the even
features of a pair are

    ln(1 + q_b),   q_b/(1 + q_b),   and   ln(1 + q_L),   q_L/(1 + q_L);   in a cell instead cos(2 pi r/L)

and the direction is r/(1 + q_L)^{1/2}, in a cell those without b. Every flow takes such a space in the
place of that of its system.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pnct.angles import angle, turn
from pnct.space import Cell, OpenSpace, Space
from pnct.validation import checked_number


class SmoothCell(Cell):
    """A periodic box with the second length `length`, in its unit."""

    length: float = eqx.field(static=True, default=1.0)

    def features(self, r, L):
        """The even ones, sin(2 pi r/L), and that times q_b/(1 + q_b)."""
        even = self.even_features(r, L)
        sine = angle(r, L)[1]
        return jnp.concatenate([even, sine, even[..., -1:] * sine], axis=-1)

    def even_features(self, r, L):
        """[cos(2 pi r/L), ln(1 + q_b), q_b/(1 + q_b)]."""
        cosine, _, square = turn(r / L)
        near = _of_square((L / np.pi) ** 2 * jnp.sum(square, axis=-1, keepdims=True), self.length)
        return jnp.concatenate([cosine, near], axis=-1)

    def cusp_slopes(self, L):
        """0 of all."""
        return np.zeros(self.dim + 2), 0.0


class SmoothOpenSpace(OpenSpace):
    """Open space with the second length `length`."""

    length: float = eqx.field(static=True, default=1.0)

    def features(self, r, L):
        """The even ones, r/(1 + q_L)^{1/2} in units of L, and that times q_b/(1 + q_b)."""
        even = self.even_features(r, L)
        direction = self.directions(r, L)[..., 0, :] / L
        return jnp.concatenate([even, direction, even[..., -1:] * direction], axis=-1)

    def even_features(self, r, L):
        """[ln(1 + q_L), q_L/(1 + q_L), ln(1 + q_b), q_b/(1 + q_b)]."""
        return self.even_features_of_square(jnp.sum(r**2, axis=-1, keepdims=True))

    def even_features_of_square(self, s):
        """The same of s = r^2, shape (..., 1)."""
        return jnp.concatenate([_of_square(s, self.L), _of_square(s, self.length)], axis=-1)

    def directions(self, r, L):
        """r/(1 + q_L)^{1/2}."""
        return (r / jnp.sqrt(1 + jnp.sum(r**2, axis=-1, keepdims=True) / L**2))[..., None, :]

    def cusp_slopes(self, L):
        """0 of all."""
        return np.zeros(4), 0.0


def smooth_space(space: Space, length: float) -> SmoothCell | SmoothOpenSpace:
    """The space with smooth features of pairs, that change over `length` too, in the unit of the space.

    Raises ValueError unless 0 < length, in a cell < L/2.
    """
    length = float(length)
    limit = space.L / 2 if space.is_periodic else np.inf
    length = checked_number("length", length, lambda x: 0 < x < limit, f"> 0 and < {limit:.4g}")
    kind = SmoothCell if space.is_periodic else SmoothOpenSpace
    return kind(space.num_electrons, space.dim, space.L, length)


def _of_square(s, length):
    q = 1 + s / length**2
    return jnp.concatenate([jnp.log(q), 1 - 1 / q], axis=-1)
