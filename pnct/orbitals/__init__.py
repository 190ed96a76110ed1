"""Single-particle states: tables of orbitals that K names."""

from pnct.orbitals.base import Orbitals, SharedOrbitals, SpeciesOrbitals
from pnct.orbitals.oscillator import Oscillators, oscillators
from pnct.orbitals.plane_waves import PlaneWaves
from pnct.orbitals.rotated import OrbitalRotation, rotated_orbitals

__all__ = [
    "OrbitalRotation",
    "Orbitals",
    "Oscillators",
    "PlaneWaves",
    "SharedOrbitals",
    "SpeciesOrbitals",
    "oscillators",
    "rotated_orbitals",
]
