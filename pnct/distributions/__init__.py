"""The distributions of a model: which orbitals are occupied ([Tabulated]Occupation), and where
the electrons are (Determinantal, Born); which free spins are excited (SpinStates), and the bits that are
measured (CircuitBorn); where classical protons are (Nuclei), and that no electrons are measured
beside them (NoElectrons).
"""

from pnct.distributions.born import Born
from pnct.distributions.circuit_born import CircuitBorn
from pnct.distributions.determinantal import Determinantal
from pnct.distributions.no_electrons import NoElectrons
from pnct.distributions.nuclei import Nuclei
from pnct.distributions.occupation import Occupation
from pnct.distributions.shell_energies import shell_energies, smooth_dispersion
from pnct.distributions.spin_states import SpinStates, bit_transformer
from pnct.distributions.tabulated import TabulatedOccupation
from pnct.networks.transformer import transformer

__all__ = [
    "Born",
    "CircuitBorn",
    "Determinantal",
    "NoElectrons",
    "Nuclei",
    "Occupation",
    "SpinStates",
    "TabulatedOccupation",
    "bit_transformer",
    "shell_energies",
    "smooth_dispersion",
    "transformer",
]
