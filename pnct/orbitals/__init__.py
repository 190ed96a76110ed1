"""Single-particle states: tables of orbitals that K names."""

from pnct.orbitals.base import Orbitals, SharedOrbitals, SpeciesOrbitals
from pnct.orbitals.oscillator import Oscillators
from pnct.orbitals.planar_oscillator import PlanarOscillators, planar_oscillators
from pnct.orbitals.plane_waves import PlaneWaves
from pnct.orbitals.rotated import OrbitalRotation, rotated_orbitals
from pnct.orbitals.spherical_oscillator import SphericalOscillators, spherical_oscillators

__all__ = [
    "OrbitalRotation",
    "Orbitals",
    "Oscillators",
    "PlanarOscillators",
    "PlaneWaves",
    "SharedOrbitals",
    "SpeciesOrbitals",
    "SphericalOscillators",
    "planar_oscillators",
    "rotated_orbitals",
    "spherical_oscillators",
]
