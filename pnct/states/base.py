r"""The contract of many-body states Phi_K(zeta): orthonormal, named by the occupied orbitals K, drawn
exactly.

    |Phi_K|^2 is a normalised density of the ordered coordinates,    <Phi_K|Phi_K'> = delta_KK'

A new kind of state is one file with a subclass of `States`: its log amplitude and its exact sampler;
derivatives are found by automatic differentiation where it has no better way.
"""

import abc
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Complex, Float, Inexact, Int

from pnct.orbitals.base import Orbitals
from pnct.space import Space


class StateDerivatives(NamedTuple):
    """ln Phi_K, its gradient s and its Hessian S with respect to zeta, real only where orbitals are."""

    log_amplitude: Complex[Array, ""]
    gradient: Inexact[Array, "N dim"]
    hessian: Inexact[Array, "N dim N dim"]


class States(eqx.Module):
    """States of N electrons, one for each K = (occupied orbitals of a table, up then down)."""

    orbitals: eqx.AbstractVar[Orbitals]

    @abc.abstractmethod
    def log_amplitude(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> Complex[Array, ""]:
        """ln Phi_K(zeta); the phase is the imaginary part, up to a multiple of 2 pi.

        Raises ValueError if K or zeta has the wrong shape.
        """

    @abc.abstractmethod
    def sample(self, key: Array, K: Int[ArrayLike, " N"], dtype) -> Float[Array, "N dim"]:
        """One exact sample of |Phi_K|^2; nan where that vanishes, as where K names an orbital twice."""

    def derivatives(self, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> StateDerivatives:
        """ln Phi_K(zeta) with s and S. Raises ValueError if K or zeta has the wrong shape."""
        return automatic_derivatives(lambda zeta: self.log_amplitude(K, zeta), zeta)

    def quantum_numbers(self, K: Int[ArrayLike, " N"]) -> Float[Array, " q"]:
        """What the state conserves; that of the occupied orbitals, unless it is more."""
        return self.orbitals.quantum_numbers(K)

    @property
    def symmetries(self) -> tuple[Callable[[Array], Array], ...]:
        """Functions R -> R, besides those of space, under which every state only changes by a factor."""
        return ()

    def images(
        self, Ks: Int[np.ndarray, "S N"], g: Int[np.ndarray, "dim dim"]
    ) -> tuple[Int[np.ndarray, "S N"], Float[np.ndarray, " S"]]:
        """The names K' and the signs of the images under a symmetry g of the table,
        Phi_K(R) = +- Phi_K'(g R).

        Raises ValueError where there are none.
        """
        raise ValueError(f"Expected states that symmetries of the cell relate; got {type(self).__name__}.")

    @property
    def space(self) -> Space:
        """Where the electrons live."""
        return self.orbitals.space

    def __len__(self) -> int:
        """The number of orbitals."""
        return len(self.orbitals)


class DeterminantExpansion(States):
    """States that are finite sums of determinants,  Phi_K = sum_t c_t D_t."""

    @abc.abstractmethod
    def determinants(self, K: Int[ArrayLike, " N"]) -> tuple[Float[Array, " t"], Int[Array, "t N"]]:
        """The coefficients c_t and the orbitals of each D_t. Places to be left empty have c_t = 0."""


def automatic_derivatives(
    log_amplitude: Callable[[Float[Array, "N dim"]], Complex[Array, ""]], zeta: Float[ArrayLike, "N dim"]
) -> StateDerivatives:
    """By automatic differentiation, forward over reverse."""

    def parts(zeta):
        value = log_amplitude(zeta)
        return jnp.stack([value.real, value.imag])

    slopes = jax.jacrev(parts)
    gradient, hessian = (jax.lax.complex(*f(zeta)) for f in (slopes, jax.jacfwd(slopes)))
    return StateDerivatives(log_amplitude(zeta), gradient, hessian)


def log_norm(space: Space) -> float:
    """ln (n_up! n_down!)^(1/2): what a product of determinants is divided by."""
    return sum(0.5 * math.lgamma(n + 1) for n in space.num_electrons)


def check_shapes(space: Space, K: Int[ArrayLike, " N"], zeta: Float[ArrayLike, "N dim"]) -> None:
    """Raises ValueError unless there is one orbital and one position for each electron."""
    N = space.N
    dim = space.dim
    if K.shape != (N,):
        raise ValueError(f"Expected K of shape ({N},), one orbital per electron; got {K.shape}.")
    if zeta.shape != (N, dim):
        raise ValueError(f"Expected coordinates of shape ({N}, {dim}); got {zeta.shape}.")
