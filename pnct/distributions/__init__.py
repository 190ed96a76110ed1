"""The laws of a model: which orbitals are occupied (Occupation), and where the electrons are (Determinantal, Born)."""

from pnct.distributions.born import Born
from pnct.distributions.determinantal import Determinantal
from pnct.distributions.occupation import Occupation
from pnct.distributions.quasi_particles import quasi_particles
from pnct.distributions.transformer import transformer

__all__ = ["Born", "Determinantal", "Occupation", "quasi_particles", "transformer"]
