r"""Networks of p(K) that are shell energies alone:  epsilon_s/T = b_s + shift_s,  with no correction beyond
them.

Either one number for every shell of the system, or a smooth function of k, so that one set of parameters
serves every twist and size:

    shift = sum_j c_j g_j(x),    x = k^2/k_F^2,    g = x - 1,  tanh 2(x - 1),  (x - 1)^2/(1 + (x - 1)^2)

c_1 is another mass, m/m* = 1 + theta c_1, the others bend the dispersion near the Fermi surface. p(K) is the
exact canonical distribution of these energies in the table of orbitals of each twist. Where one system is to
have levels beside that curve, its network becomes one of shell energies, which starts on the curve.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pnct.networks.base import OccupationNetwork


class _WithoutCorrection(OccupationNetwork):
    """Nothing is added to the logits of the canonical table."""

    num_orbitals: eqx.AbstractVar[int]

    def empty_cache(self, num_electrons: int) -> None:
        return None

    def __call__(self, x: Float[Array, "T F"], electrons, cache) -> tuple[Float[Array, "T M"], None]:
        return jnp.zeros((len(x), self.num_orbitals), x.dtype), cache


class ShellEnergies(_WithoutCorrection):
    """energy_shifts: one per shell, in units of T."""

    energy_shifts: Float[Array, " shells"]
    num_orbitals: int = eqx.field(static=True)

    def shell_shifts(self) -> Float[Array, " shells"]:
        return self.energy_shifts

    def with_shell_shifts(self, shifts: Float[Array, " shells"]) -> "ShellEnergies":
        return eqx.tree_at(lambda network: network.energy_shifts, self, shifts)


class SmoothDispersion(_WithoutCorrection):
    """coefficients: c_j.  functions: g_j at each shell of the gas.  shell_index: the shell of each orbital.

    All but the coefficients are arrays, and no static fields, which would bind the parameters to one table.
    Without a gas the parameters have no shells, and no shifts.
    """

    coefficients: Float[Array, " 3"]
    functions: Float[np.ndarray, "shells 3"] | None
    shell_index: Int[np.ndarray, " M"] | None

    @property
    def num_orbitals(self) -> int:
        return len(self.shell_index)

    def shell_shifts(self) -> Float[Array, " shells"] | None:
        if self.functions is None:
            return None
        return jnp.asarray(self.functions, self.coefficients.dtype) @ self.coefficients

    def with_shell_shifts(self, shifts: Float[Array, " shells"]) -> ShellEnergies:
        return ShellEnergies(shifts, self.num_orbitals)


def shell_energies(system) -> Callable[[Array], ShellEnergies]:
    """A function key -> ShellEnergies of a system, at first those of the ideal gas."""
    num_shells = int(system.shell_index.max()) + 1
    return lambda key: ShellEnergies(jnp.zeros(num_shells), len(system.orbitals))


def smooth_dispersion(gas) -> Callable[[Array], SmoothDispersion]:
    """A function key -> SmoothDispersion for the shells of an electron gas, at first those of the
    ideal gas.
    """
    _, first = np.unique(gas.shell_index, return_index=True)
    k = np.linalg.norm(gas.orbitals.wavevectors[first], axis=1)
    d = (k / gas.fermi_wavevector) ** 2 - 1
    functions = np.stack([d, np.tanh(2 * d), d**2 / (1 + d**2)], axis=-1)

    def make(key: Array) -> SmoothDispersion:
        return SmoothDispersion(jnp.zeros(functions.shape[1]), functions, gas.shell_index)

    return make
