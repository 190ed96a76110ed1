"""Flows  T: R -> zeta  from electrons to flow coordinates: permutation-equivariant, the identity at first."""

from pnct.flows.backflow import Backflow, backflow
from pnct.flows.base import Flow, FlowDerivatives
from pnct.flows.bijector import CanonicalTransformation
from pnct.flows.centre_of_mass import SeparatedCentreOfMass, separated_centre_of_mass
from pnct.flows.composed import Composed
from pnct.flows.continuous.network import Continuous, continuous
from pnct.flows.ferminet.network import FermiNet, ferminet
from pnct.flows.inverse import Inversion, damped_newton
from pnct.flows.irreducible_wedge import WedgeFlow, in_irreducible_wedge
from pnct.flows.proton_cusps import ProtonCusps, proton_cusps
from pnct.flows.radial_pair import RadialPair, radial_pair
from pnct.flows.sectors import SectorFlows, by_sector

__all__ = [
    "Backflow",
    "CanonicalTransformation",
    "Composed",
    "Continuous",
    "FermiNet",
    "Flow",
    "FlowDerivatives",
    "Inversion",
    "ProtonCusps",
    "RadialPair",
    "SectorFlows",
    "SeparatedCentreOfMass",
    "WedgeFlow",
    "backflow",
    "by_sector",
    "continuous",
    "damped_newton",
    "ferminet",
    "in_irreducible_wedge",
    "proton_cusps",
    "radial_pair",
    "separated_centre_of_mass",
]
