"""The distributions of a model: which orbitals are occupied ([Tabulated]Occupation), and where
the electrons are (Determinantal, Born).
"""

from pnct.distributions.born import Born
from pnct.distributions.determinantal import Determinantal
from pnct.distributions.occupation import Occupation
from pnct.distributions.shell_energies import shell_energies, smooth_dispersion
from pnct.distributions.tabulated import TabulatedOccupation
from pnct.networks.transformer import transformer

__all__ = [
    "Born",
    "Determinantal",
    "Occupation",
    "TabulatedOccupation",
    "shell_energies",
    "smooth_dispersion",
    "transformer",
]
