r"""Where the electrons live, and how a displacement becomes features: a periodic cell, or open space.

A flow meets coordinates only through the functions of its space. With kappa = 2 pi/L the features of a pair
in a cell are

    cos(kappa r_b),   sin(kappa r_b),   s = [sum_b sin^2(kappa r_b/2)]^(1/2),   s sin(kappa r_b)

periodic, and smooth but for r = 0, where s ~ |r| and s sin(kappa r) ~ |r| r let the flow form the electrons'
cusps: the divergence of the latter is proportional to |r|. (|sin(kappa r)| in the place of s would have cusps
at L/2 too.) In open space, with s = |r|/L, they are

    ln(1 + s),   s/(1 + s),   (r/L)/(1 + s)

the last of which is r - |r| r + ... near zero. There a single electron has features too, since the trap has a
centre: functions of r^2, because nothing has a cusp there.
"""

import math
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from pnct.angles import angle, haversine, turn


@runtime_checkable
class Space(Protocol):
    """The electrons (up, down), the dimension, a unit of length L, and functions of displacements in that
    unit.
    """

    num_electrons: tuple[int, int]
    dim: int
    L: float

    @property
    def N(self) -> int: ...

    @property
    def species(self) -> tuple[slice, ...]: ...

    @property
    def is_periodic(self) -> bool:
        """Whether a displacement by L along an axis leads back to the same place."""

    @staticmethod
    def nearest(r: Float[ArrayLike, "*pairs dim"], L: float) -> Float[Array, "*pairs dim"]:
        """The shortest displacement that r stands for."""

    @staticmethod
    def features(r: Float[ArrayLike, "*pairs dim"], L: float) -> Float[Array, "*pairs F"]:
        """All features of a pair."""

    @staticmethod
    def even_features(r: Float[ArrayLike, "*pairs dim"], L: float) -> Float[Array, "*pairs F"]:
        """Those that do not change under r -> -r."""

    @staticmethod
    def directions(r: Float[ArrayLike, "*pairs dim"], L: float) -> Float[Array, "*pairs M dim"]:
        """Bounded vectors that are r at small r; sums of them with even functions for weights are all that
        the symmetry of the space allows.
        """

    def images(self, reach: float) -> Float[np.ndarray, "images dim"]:
        """The displacements between images of an electron, as far as one of them can be nearer than `reach`
        to the end of a shortest displacement.
        """

    def cusp_slopes(self, L: float) -> tuple[Float[np.ndarray, " F"], float]:
        """By |r| at r = 0: of the even features, and of directions/r."""

    @staticmethod
    def one_body_features(
        r: Float[ArrayLike, "*N dim"], L: float
    ) -> tuple[Float[Array, "*N F"], Float[Array, "*N dim"]] | None:
        """Even features and direction of single electrons, seen from the centre; None where there is none."""

    def sector_features(self, Q: Float[Array, " q"]) -> Float[Array, " C"]:
        """Input features of a flow from the conserved quantum numbers Q of a state; 0 at Q = 0."""

    def conserved_motion(self, R: Float[ArrayLike, "N dim"]) -> Float[Array, "N dim"]:
        """All electrons moved as one, by the symmetry that conserves Q."""


class Particles(eqx.Module):
    """Who is there: electron numbers (up, down), and the dimension."""

    num_electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)

    @property
    def N(self) -> int:
        return sum(self.num_electrons)

    @property
    def species(self) -> tuple[slice, ...]:
        """Where the electrons of each occupied species stand, up first; an empty species has no slice."""
        up, down = self.num_electrons
        return tuple(s for s in (slice(0, up), slice(up, up + down)) if s.stop > s.start)


class Cell(Particles):
    """The periodic box and who is in it: electron numbers (up, down), dimension, and side length `L` in units
    of r_s a_0.
    """

    L: float = eqx.field(static=True)

    @property
    def is_periodic(self):
        return True

    @staticmethod
    def nearest(r, L):
        """r to the nearest image."""
        return r - L * jnp.round(r / L)

    @staticmethod
    def features(r, L):
        """[cos(2 pi r/L), sin(2 pi r/L), s, s sin(2 pi r/L)]."""
        cosine, sine, square = turn(r / L)
        s = root(jnp.sum(square, axis=-1, keepdims=True))
        return jnp.concatenate([cosine, sine, s, s * sine], axis=-1)

    @staticmethod
    def even_features(r, L):
        """[cos(2 pi r/L), s]."""
        cosine, _, square = turn(r / L)
        return jnp.concatenate([cosine, root(jnp.sum(square, axis=-1, keepdims=True))], axis=-1)

    @staticmethod
    def directions(r, L):
        """(L/2 pi) sin(2 pi r/L) cos^m(2 pi r/L) of each coordinate, m = 0 to dim - 1: the gradients of the
        cell's lowest even functions, sum_b cos^{m + 1}(2 pi r_b/L).
        """
        cosine, sine = angle(r, L)
        powers = [sine]
        for _ in range(1, sine.shape[-1]):
            powers.append(powers[-1] * cosine)
        return (L / (2 * np.pi)) * jnp.stack(powers, axis=-2)

    def images(self, reach):
        """L n, n whole numbers."""
        return self.L * near_images(self.dim, reach / self.L)

    def cusp_slopes(self, L):
        """pi/L of s, 0 of all others."""
        return np.append(np.zeros(self.dim), np.pi / L), 0.0

    @staticmethod
    def one_body_features(r, L):
        """No point of the cell differs from another."""
        return None

    def sector_features(self, Q):
        """[1 - cos(P L/N), sin(P L/N)] of the total momentum P, the same where each electron gains a
        reciprocal-lattice vector.

        That would only move the centre of mass. A parity after P is taken as it is.
        """
        P, parity = jnp.split(jnp.asarray(Q), [self.dim])
        angle = P * (self.L / self.N)
        return jnp.concatenate([1 - jnp.cos(angle), jnp.sin(angle), parity])

    def conserved_motion(self, R):
        """Shifted, along all axes."""
        return R + self.L / 10


class OpenSpace(Particles):
    """All space around one centre and who is in it: electron numbers (up, down), dimension, and the unit of
    length `L`.
    """

    L: float = eqx.field(static=True, default=1.0)

    @property
    def is_periodic(self):
        return False

    @staticmethod
    def nearest(r, L):
        """r itself."""
        return r

    @staticmethod
    def features(r, L):
        """[ln(1 + s), s/(1 + s), (r/L)/(1 + s)], s = |r|/L."""
        direction = OpenSpace.directions(r, L)[..., 0, :] / L
        return jnp.concatenate([OpenSpace.even_features(r, L), direction], axis=-1)

    @staticmethod
    def even_features(r, L):
        """[ln(1 + s), s/(1 + s)]."""
        s = norm(r) / L
        return jnp.concatenate([jnp.log1p(s), s / (1 + s)], axis=-1)

    @staticmethod
    def directions(r, L):
        """r/(1 + s)."""
        return (r / (1 + norm(r) / L))[..., None, :]

    def images(self, reach):
        """Zero: there is one image."""
        return np.zeros((1, self.dim))

    def cusp_slopes(self, L):
        """1/L of both, and -1/L."""
        return np.full(2, 1 / L), -1 / L

    @staticmethod
    def one_body_features(r, L):
        """[ln(1 + s^2), s^2/(1 + s^2)] and r/(1 + s^2)^(1/2)."""
        q = 1 + jnp.sum(r**2, axis=-1, keepdims=True) / L**2
        return jnp.concatenate([jnp.log(q), 1 - 1 / q], axis=-1), r / jnp.sqrt(q)

    def sector_features(self, Q):
        """[|M|/(1 + |M|), M mod 2] of the total angular momentum M, the same for M and -M: time reversal
        stays a symmetry.
        """
        M = jnp.abs(jnp.asarray(Q))
        return jnp.concatenate([M / (1 + M), M % 2])

    def conserved_motion(self, R):
        """Turned about the centre, by 1 radian in the plane of x and y."""
        turn = np.eye(self.dim)
        turn[:2, :2] = [[np.cos(1), np.sin(1)], [-np.sin(1), np.cos(1)]]
        return R @ turn.astype(R.dtype)


def norm(r: Float[ArrayLike, "*pairs dim"]) -> Float[Array, "*pairs 1"]:
    """|r|, with all derivatives zero at r = 0, where they do not exist."""
    return root(jnp.sum(r**2, axis=-1, keepdims=True))


def chord(r: Float[ArrayLike, "*pairs dim"], L: float) -> Float[Array, "*pairs 1"]:
    """s = |sin(pi r/L)|, with all derivatives zero at r = 0."""
    return root(jnp.sum(haversine(r, L), axis=-1, keepdims=True))


def root(q: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """q^(1/2), with all derivatives zero at q = 0, where they do not exist."""
    return _root_and_inverse(q)[0]


@jax.custom_jvp
def _root_and_inverse(q):
    """s = q^(1/2) and 1/s, which is 0 at q = 0.

    ds = dq/(2 s) and d(1/s) = -ds/s^2: of these an automatic derivative of any order stays short.
    """
    positive = q > 0
    s = jnp.sqrt(jnp.where(positive, q, 1))
    return jnp.where(positive, s, 0), jnp.where(positive, 1 / s, 0)


@_root_and_inverse.defjvp
def _(primals, tangents):
    s, inverse = _root_and_inverse(primals[0])
    slope = inverse * (0.5 * tangents[0])
    return (s, inverse), (slope, -inverse * inverse * slope)


def near_images(dim: int, reach: float) -> Float[np.ndarray, "images {dim}"]:
    """The whole numbers n for which |s + n| < reach is possible, |s_b| <= 1/2 along every axis."""
    n = lattice_points(dim, math.ceil(reach + 0.5))
    return n[np.linalg.norm(np.maximum(np.abs(n) - 0.5, 0), axis=-1) < reach]


def lattice_points(dim: int, reach: int) -> Float[np.ndarray, "points {dim}"]:
    """All whole numbers from -reach to reach along every axis; odd under n -> -n."""
    axis = np.arange(-reach, reach + 1.0)
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def pair_distances(R: Float[ArrayLike, "N dim"], space: Space) -> Float[Array, " pairs"]:
    """The distances of all pairs i < j, each to the nearest image."""
    i, j = np.triu_indices(R.shape[0], 1)
    return jnp.linalg.norm(space.nearest(R[i] - R[j], space.L), axis=-1)


def smallest_distance(R: Float[ArrayLike, "N dim"], space: Space) -> Float[Array, ""]:
    """The smallest distance of a pair; inf for one particle."""
    return jnp.min(pair_distances(R, space), initial=jnp.inf)
