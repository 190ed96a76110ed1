r"""The local energy  (H Psi_K)(x)/Psi_K(x).  For particles in space,  -c [Lap ln Psi + (grad ln Psi)^2] +
V(R).

c = 1/(2 r_s^2) in the electron gas. The square of the complex gradient is taken without conjugation. The
imaginary part averages to zero. Energies are in the unit of the system: hartree for the gas, hbar omega in a
trap.
"""

import abc
import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from pnct.kinetic import local_kinetic
from pnct.systems.base import System
from pnct.systems.electrons import ElectronSystem
from pnct.systems.interactions import Interaction, SystemPotential, coulomb


class LocalEnergy(NamedTuple):
    """Kinetic and potential energy of one configuration; of discrete variables, off-diagonal and diagonal.

    diagnostics: numbers by name that came out on the way, in the place of those of the measured distribution.
    """

    kinetic: Inexact[Array, ""]
    potential: Float[Array, ""]
    diagnostics: Mapping[str, Float[Array, ""]] = {}

    @property
    def total(self) -> Inexact[Array, ""]:
        return self.kinetic + self.potential


class Values(dict):
    """The values of all sites of one walker, by name. `measured`: that of the measured site, whatever its
    name.  observed: the names of the sites that are conditioned on a value.
    """

    def __init__(self, values: Mapping[str, ArrayLike], measured_site: str, observed: tuple[str, ...] = ()):
        super().__init__(values)
        self.measured = values[measured_site]
        self.observed = observed


CONTRACT = ("temperature", "energy_scale", "unit")


class Hamiltonian(eqx.Module):
    """(distribution of the measured site, values of all sites) -> LocalEnergy.

    temperature: in its unit of energy.  energy_scale: the size of the energies that change with the state, by
    which an optimiser sees its gradients divided.  unit: what energies are printed in.
    """

    temperature: eqx.AbstractVar[Float[ArrayLike, ""]]
    energy_scale: eqx.AbstractVar[Float[ArrayLike, ""]]
    unit: eqx.AbstractVar[str]

    def __new__(cls, *args, **kwargs):
        """Raises ValueError where one of these three is missing."""
        asked = inspect.signature(cls.__init__)
        given = asked.bind_partial(None, *args, **kwargs).arguments
        required = {name for name, x in asked.parameters.items() if x.default is inspect.Parameter.empty}
        absent = {name for name in CONTRACT if name not in asked.parameters and not hasattr(cls, name)}
        missing = [name for name in CONTRACT if name in (absent | required) - given.keys()]
        if missing and (args or kwargs):  # a copy is made of nothing, and filled later
            raise ValueError(
                f"Expected {cls.__name__} with {', '.join(CONTRACT)}; got none of {' and '.join(missing)}. "
                "temperature is in the unit of its energies, energy_scale their size (of a gas E_F, of a "
                "trap 1), unit the name that is printed."
            )
        return super().__new__(cls)

    @abc.abstractmethod
    def __call__(self, measured, values: Values) -> LocalEnergy:
        """The local energy of one walker. Other sites are seen by name: values["X"]."""

    def potential_energy(self, measured, values: Values) -> Float[Array, ""]:
        """The potential part of it alone, which is looked at before the first step."""
        return self(measured, values).potential

    @property
    def parts(self) -> tuple[str, str]:
        """What the two parts of its LocalEnergy are called in reports."""
        return ("kinetic", "potential")

    def of_system(self, system: System) -> tuple["Hamiltonian", ...]:
        """Those of its kind that a system has, one of which it has to be; none where it is the user's own.

        Raises ValueError where the system has none of its kind.
        """
        return ()


class ElectronHamiltonian(Hamiltonian):
    """-c Lap + V(R). kinetic_prefactor: c; potential: V, a function R (N, dim) -> energy."""

    temperature: Float[ArrayLike, ""]
    energy_scale: Float[ArrayLike, ""]
    kinetic_prefactor: Float[ArrayLike, ""]
    potential: Callable[[Float[Array, "N dim"]], Float[Array, ""]]
    unit: str = eqx.field(static=True, default="hartree")

    def __call__(self, measured, values: Values) -> LocalEnergy:
        return self.local_energy(measured, values.measured)

    def potential_energy(self, measured, values: Values) -> Float[Array, ""]:
        """V(R)"""
        return self.potential(values.measured)

    def local_energy(self, born, R: Float[ArrayLike, "N dim"]) -> LocalEnergy:
        """That of the electrons at R."""
        psi = local_kinetic(born.states, born.K, born.flow, R)
        kinetic = -self.kinetic_prefactor * (psi.laplacian + jnp.sum(psi.gradient**2))
        numbers = {"log_det_jacobian": psi.log_det_jacobian, "det_sign": psi.det_sign}
        return LocalEnergy(kinetic, self.potential(R), numbers)

    def of_system(self, system: System) -> tuple["Hamiltonian", ...]:
        """The system's own with the same interaction; none where the potential is that of no system."""
        if not isinstance(self.potential, SystemPotential):
            return ()
        if isinstance(system, ElectronSystem):
            own = hamiltonian(system, self.potential.interaction)
            if type(own.potential) is type(self.potential):
                return (own,)
        raise ValueError(
            f"Expected the hamiltonian of the model's {type(system).__name__}; got one with the "
            f"potential {type(self.potential).__name__}."
        )


def hamiltonian(
    system, interaction: Interaction | None = coulomb, potential: Callable | None = None
) -> ElectronHamiltonian:
    """The Hamiltonian of a system.

    interaction: of its electrons. `coulomb`; None, without any; or one of short range between opposite spins,
    PoschlTeller(v0, mu) or Gaussian(V0, r0), in the unit of length of the system.
    potential: one of your own in the place of the system's, a function R (N, dim) -> energy in the system's
    unit. Raises ValueError for what is no system or no interaction, and where the system has no room for it.
    """
    if not isinstance(system, System):
        raise ValueError(
            f"Expected a system, such as ElectronGas; got a {type(system).__name__}. One of your own is a "
            "subclass of pnct.systems.System."
        )
    if not (interaction is None or isinstance(interaction, Interaction)):
        raise ValueError(
            "Expected interaction to be coulomb, None, or one such as PoschlTeller(v0, mu); got "
            f"{interaction!r}. Of a function v, give pair_potential(system.space, v) as `potential`."
        )
    V = system.potential(interaction) if potential is None else potential
    return ElectronHamiltonian(
        system.temperature, system.energy_scale, system.kinetic_prefactor, V, system.unit
    )
