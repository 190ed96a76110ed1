"""What is simulated."""

from pnct.systems.base import System
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.electrons import ElectronSystem
from pnct.systems.first_order import first_order_bound
from pnct.systems.harmonic_trap import HarmonicTrap
from pnct.systems.hydrogen import Hydrogen
from pnct.systems.ideal_gas import ideal_gas
from pnct.systems.interactions import Interaction, ShortRange, SystemPotential, coulomb
from pnct.systems.lattices import Lattice, chain, square
from pnct.systems.pauli import PauliSum, pauli_sum
from pnct.systems.scattering_length import poschl_teller, scattering_length
from pnct.systems.short_range import Gaussian, PoschlTeller
from pnct.systems.spin_lattice import SpinLattice, heisenberg, transverse_field_ising, xxz

__all__ = [
    "ElectronGas",
    "ElectronSystem",
    "Gaussian",
    "HarmonicTrap",
    "Hydrogen",
    "Interaction",
    "Lattice",
    "PauliSum",
    "PoschlTeller",
    "ShortRange",
    "SpinLattice",
    "System",
    "SystemPotential",
    "chain",
    "coulomb",
    "first_order_bound",
    "heisenberg",
    "ideal_gas",
    "pauli_sum",
    "poschl_teller",
    "scattering_length",
    "square",
    "transverse_field_ising",
    "xxz",
]
