r"""The local energy of spins:  E_loc(x) = sum_a c_a phase_a(x) Psi(x with f_a flipped)/Psi(x).

Phases and flips are those of pnct.systems.pauli. It is exact for every state whose ln Psi(x) is known, as
that of a circuit on a state vector is.
"""

import equinox as eqx
from jaxtyping import ArrayLike, Float

from pnct.hamiltonian import Hamiltonian, LocalEnergy, Values
from pnct.systems.base import System
from pnct.systems.pauli import PauliSum
from pnct.systems.spin_lattice import SpinLattice


class PauliHamiltonian(Hamiltonian):
    """A sum of Pauli strings in the basis of the measured bits."""

    temperature: Float[ArrayLike, ""]
    energy_scale: Float[ArrayLike, ""]
    terms: PauliSum
    unit: str = eqx.field(static=True, default="J")

    def __call__(self, measured, values: Values) -> LocalEnergy:
        return LocalEnergy(*self.terms.local(measured.log_psi, values.measured))

    @property
    def parts(self) -> tuple[str, str]:
        return ("off-diagonal", "diagonal")

    def of_system(self, system: System) -> tuple[Hamiltonian, ...]:
        if not isinstance(system, SpinLattice):
            raise ValueError(
                f"Expected the hamiltonian of the model's {type(system).__name__}; got one of spins."
            )
        return (spin_hamiltonian(system),)


def spin_hamiltonian(spins: SpinLattice) -> PauliHamiltonian:
    """The Hamiltonian of a lattice of spins, in units of J."""
    return PauliHamiltonian(spins.temperature, spins.energy_scale, spins.measured_terms, spins.unit)
