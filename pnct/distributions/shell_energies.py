r"""Learned levels  epsilon_s/T = b_s + shift_s  and no correction beyond them: one number per level of the
system, or

the levels of quasi-particles as a function of k alone, so that one set of parameters serves every twist and
size:

    epsilon/T = e/T + sum_j c_j g_j(x),    x = k^2/k_F^2,    g = x - 1,  tanh 2(x - 1),  (x - 1)^2/(1 + (x - 1)^2)

c_1 is another mass, m/m* = 1 + theta c_1, the others bend the levels near the Fermi surface. p(K) is the
exact canonical law of these levels in the table of orbitals of each twist.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class ShellEnergies(eqx.Module):
    """energy_shifts: one per level, in units of T."""

    energy_shifts: Float[Array, " levels"]


def shell_energies(gas) -> Callable[[Array], ShellEnergies]:
    """A function key -> Levels of a system, at first those of the ideal gas."""
    return lambda key: ShellEnergies(jnp.zeros(int(gas.shell_index.max()) + 1))


class SmoothDispersion(eqx.Module):
    """A network for `Occupation` that has learned levels and no correction beyond them."""

    coefficients: Float[Array, " 3"]
    functions: Float[np.ndarray, "levels 3"]  # g_j at each level of the gas
    num_orbitals: int = eqx.field(static=True)

    @property
    def energy_shifts(self) -> Float[Array, " levels"]:
        return jnp.asarray(self.functions, self.coefficients.dtype) @ self.coefficients

    def empty_cache(self, N: int) -> None:
        return None

    def __call__(self, x: Float[Array, "T F"], electrons, cache) -> tuple[Float[Array, "T M"], None]:
        return jnp.zeros((len(x), self.num_orbitals), x.dtype), cache


def smooth_dispersion(gas) -> Callable[[Array], SmoothDispersion]:
    """A function key -> SmoothDispersion for the levels of an electron gas, at first those of the
    ideal gas.
    """
    _, first = np.unique(gas.shell_index, return_index=True)
    k = np.linalg.norm(gas.orbitals.wavevectors[first], axis=1)
    d = (k / gas.fermi_wavevector) ** 2 - 1
    functions = np.stack([d, np.tanh(2 * d), d**2 / (1 + d**2)], axis=-1)

    def make(key: Array) -> SmoothDispersion:
        return SmoothDispersion(jnp.zeros(functions.shape[1]), functions, len(gas.orbitals))

    return make
