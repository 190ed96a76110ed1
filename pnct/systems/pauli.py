r"""Sums of Pauli strings:  O = sum_a c_a P_a,  P_a one of 1, X, Y, Z on each site.

On a state of the bits x, with s_i = 1 - 2 x_i and f_a the sites where P_a has an X or a Y,

    (O Psi)(x) = sum_a c_a [prod_{Z in a} s_i] [prod_{Y in a} (-i s_i)] Psi(x with f_a flipped)

Strings that flip the same sites share one Psi. Bit 0 is the eigenvalue +1 of Z.
"""

import re
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Num

from pnct.validation import checked_integer, checked_number

AXES = "XYZ"
MATRICES = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}
LARGEST_MATRIX = 12  # sites


class PauliSum(eqx.Module):
    """sum_a c_a P_a. coefficients: (A,) real.  strings: one letter of I, X, Y, Z for each site.

    The coefficients are a pytree leaf: a jitted function of the sum compiles once for all of them.
    """

    coefficients: Float[Array, " A"] | Float[np.ndarray, " A"]
    strings: tuple[str, ...] = eqx.field(static=True)

    @property
    def num_sites(self) -> int:
        return len(self.strings[0])

    def local(
        self, log_psi: Callable[[Int[Array, " N"]], Complex[Array, ""]], x: Int[Array, " N"]
    ) -> tuple[Complex[Array, ""], Float[Array, ""]]:
        """(O Psi)(x)/Psi(x) at bits where Psi is not 0: its off-diagonal part and its diagonal one."""
        here = log_psi(x)
        dtype = here.real.dtype
        signs = (1 - 2 * x).astype(dtype)
        flips, group = np.unique(self._flips(), axis=0, return_inverse=True)
        weights = jax.ops.segment_sum(self._matrix_elements(signs), group.ravel(), len(flips))
        moving = np.any(flips, axis=1)
        off_diagonal = jnp.zeros((), here.dtype)
        if np.any(moving):
            flipped = jnp.where(flips[moving], 1 - x, x)
            ratios = jnp.exp(jax.vmap(log_psi)(flipped) - here)
            off_diagonal = jnp.sum(weights[moving] * ratios)
        return off_diagonal, jnp.sum(weights[~moving]).real

    def matrix(self) -> Num[np.ndarray, "n n"]:
        """The matrix in the basis of the bits, the first site most significant; real where it can be."""
        if self.num_sites > LARGEST_MATRIX:
            size = 16 * 4**self.num_sites / 1e9
            raise ValueError(
                f"Expected at most {LARGEST_MATRIX} sites for a full matrix; got {self.num_sites}, whose "
                f"matrix takes {size:.1f} GB."
            )
        n = 2**self.num_sites
        x = (np.arange(n)[:, None] >> np.arange(self.num_sites)[::-1]) & 1
        real = all(string.count("Y") % 2 == 0 for string in self.strings)
        found = np.zeros((n, n), float if real else complex)
        coefficients = np.asarray(self.coefficients, float)
        for c, string, flip in zip(coefficients, self.strings, self._flips(), strict=True):
            element = c * _phase(string, 1 - 2 * x)
            found[np.arange(n), _numbers(x ^ flip)] += element.real if real else element
        return found

    def fields(self) -> Float[Array, "N 3"]:
        """h_i of the strings of one letter, which are -sum_i h_i . sigma_i."""
        of_site = np.zeros((len(self.strings), self.num_sites, 3))
        for a, string in enumerate(self.strings):
            letters = string.replace("I", "")
            if len(letters) == 1:
                of_site[a, string.index(letters), AXES.index(letters)] = -1
        return jnp.tensordot(jnp.asarray(self.coefficients), of_site, 1)

    def along(self, axis: str) -> "PauliSum":
        """The same sum where the bits are those of this axis: X, Y, Z in turn until it is called Z."""
        shift = 2 - AXES.index(axis)
        turned = str.maketrans(AXES, AXES[shift:] + AXES[:shift])
        return PauliSum(self.coefficients, tuple(string.translate(turned) for string in self.strings))

    def _flips(self) -> Int[np.ndarray, "A N"]:
        return np.array([[letter in "XY" for letter in string] for string in self.strings], int)

    def _matrix_elements(self, signs):
        """c_a times the phase of each string, at these signs."""
        phases = [_phase(string, signs) for string in self.strings]
        return jnp.asarray(self.coefficients, signs.dtype) * jnp.stack(phases)


def pauli_sum(num_sites: int, terms: Mapping[str, float]) -> PauliSum:
    """The sum of strings that are written with their sites: pauli_sum(2, {"Z0 Z1": -1.0, "X0": -0.5}).

    Raises ValueError where a string is none or a coefficient is not finite.
    """
    num_sites = checked_integer("num_sites", num_sites, 1)
    if not terms:
        raise ValueError("Expected at least one Pauli string; got none.")
    coefficients = [
        checked_number(f"the coefficient of {name}", c, _any, "finite") for name, c in terms.items()
    ]
    return PauliSum(np.array(coefficients), tuple(_string(num_sites, name) for name in terms))


def _string(num_sites: int, name: str) -> str:
    letters = ["I"] * num_sites
    for factor in name.split():
        found = re.fullmatch(r"([XYZ])(\d+)", factor)
        if not found or int(found[2]) >= num_sites or letters[int(found[2])] != "I":
            raise ValueError(
                f'Expected Pauli strings such as "X0 Z1", each of the {num_sites} sites at most once; '
                f"got {name!r}."
            )
        letters[int(found[2])] = found[1]
    return "".join(letters)


def _phase(string, signs):
    """The product of s_i for each Z and -i s_i for each Y over the sites, the last axis."""
    sites = np.array([i for i, letter in enumerate(string) if letter in "YZ"], int)
    return (1, -1j, -1, 1j)[string.count("Y") % 4] * signs[..., sites].prod(axis=-1)


def _numbers(x):
    return x @ (1 << np.arange(x.shape[-1])[::-1])


def _any(value) -> bool:
    return True
