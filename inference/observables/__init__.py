"""What draws say of the electrons: pure functions of draws."""

from pnct.inference.observables.canonical_mass import canonical_mass
from pnct.inference.observables.chemical_potential import ChemicalPotential, chemical_potential
from pnct.inference.observables.contact import contact
from pnct.inference.observables.correlations import occupations, pair_correlation, structure_factor
from pnct.inference.observables.effective_mass import effective_mass
from pnct.inference.observables.entropy import entropy
from pnct.inference.observables.entropy_error import entropy_error
from pnct.inference.observables.excitations import excitation_energies
from pnct.inference.observables.ideal_correlations import (
    canonical_pair_correlation,
    canonical_structure_factor,
)
from pnct.inference.observables.landau import landau_functional, landau_parameters
from pnct.inference.observables.momentum_distribution import momentum_distribution
from pnct.inference.observables.particle_hole import mass_from_excitations, particle_hole_states
from pnct.inference.observables.thermodynamics import thermodynamics
from pnct.inference.observables.twists import over_twists

__all__ = [
    "ChemicalPotential",
    "canonical_mass",
    "canonical_pair_correlation",
    "canonical_structure_factor",
    "chemical_potential",
    "contact",
    "effective_mass",
    "entropy",
    "entropy_error",
    "excitation_energies",
    "landau_functional",
    "landau_parameters",
    "mass_from_excitations",
    "momentum_distribution",
    "occupations",
    "over_twists",
    "pair_correlation",
    "particle_hole_states",
    "structure_factor",
    "thermodynamics",
]
