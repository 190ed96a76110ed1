"""What is simulated."""

from pnct.systems.base import System, SystemPotential
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.first_order import first_order_bound
from pnct.systems.harmonic_trap import HarmonicTrap
from pnct.systems.ideal_gas import ideal_gas

__all__ = ["ElectronGas", "HarmonicTrap", "System", "SystemPotential", "first_order_bound", "ideal_gas"]
