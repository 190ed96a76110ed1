"""pnct: the finite-temperature electron gas as a probabilistic program."""

from pnct.backend import prevent_cpu_hang

prevent_cpu_hang()

from pnct.estimate import Estimate  # noqa: E402
from pnct.hamiltonian import hamiltonian  # noqa: E402
from pnct.hydrogen_hamiltonian import hydrogen_hamiltonian  # noqa: E402
from pnct.primitives import module, param, sample  # noqa: E402
from pnct.spin_hamiltonian import spin_hamiltonian  # noqa: E402
from pnct.systems.electron_gas import ElectronGas  # noqa: E402
from pnct.systems.harmonic_trap import HarmonicTrap  # noqa: E402
from pnct.systems.hydrogen import Hydrogen  # noqa: E402
from pnct.systems.ideal_gas import ideal_gas  # noqa: E402
from pnct.systems.interactions import coulomb  # noqa: E402
from pnct.systems.scattering_length import scattering_length  # noqa: E402
from pnct.systems.short_range import Gaussian, PoschlTeller  # noqa: E402
from pnct.systems.spin_lattice import SpinLattice  # noqa: E402

__all__ = [
    "ElectronGas",
    "Estimate",
    "Gaussian",
    "HarmonicTrap",
    "Hydrogen",
    "PoschlTeller",
    "SpinLattice",
    "coulomb",
    "hamiltonian",
    "hydrogen_hamiltonian",
    "ideal_gas",
    "module",
    "param",
    "sample",
    "scattering_length",
    "spin_hamiltonian",
]
