"""Single-particle states: tables of orbitals that K names."""

from pnct.orbitals.oscillator import Oscillators, oscillators
from pnct.orbitals.plane_waves import PlaneWaves
from pnct.orbitals.rotated import MixedOrbitals, mixed_orbitals

__all__ = ["MixedOrbitals", "Oscillators", "PlaneWaves", "mixed_orbitals", "oscillators"]
