"""Flows  T: R -> zeta  from electrons to quasi-particles: permutation-equivariant, the identity at first."""

from pnct.flows.backflow import Backflow, backflow
from pnct.flows.base import forward_and_log_det, jacobian
from pnct.flows.bijector import CanonicalTransformation
from pnct.flows.centre_of_mass import SeparatedCentreOfMass, separated_centre_of_mass
from pnct.flows.composed import Composed
from pnct.flows.continuous.network import Continuous, continuous, with_cusps
from pnct.flows.ferminet.network import FermiNet, ferminet
from pnct.flows.inverse import Inversion, damped_newton, invert
from pnct.flows.irreducible_wedge import WedgeFlow, in_irreducible_wedge
from pnct.flows.sectors import SectorFlows, by_sector

__all__ = [
    "Backflow",
    "CanonicalTransformation",
    "Composed",
    "Continuous",
    "FermiNet",
    "Inversion",
    "SectorFlows",
    "SeparatedCentreOfMass",
    "WedgeFlow",
    "backflow",
    "by_sector",
    "continuous",
    "damped_newton",
    "ferminet",
    "forward_and_log_det",
    "in_irreducible_wedge",
    "invert",
    "jacobian",
    "separated_centre_of_mass",
    "with_cusps",
]
