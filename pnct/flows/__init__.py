"""Flows  T: R -> zeta  from electrons to quasi-particles: permutation-equivariant, the identity at first."""

from pnct.flows.angular_momentum import AngularMomentumFlows, by_angular_momentum
from pnct.flows.backflow import Backflow, backflow
from pnct.flows.bijector import CanonicalTransformation
from pnct.flows.centres import SeparatedCentres, separated_centres
from pnct.flows.continuous import Continuous, continuous
from pnct.flows.ferminet import FermiNet, ferminet
from pnct.flows.inverse import Inversion, invert, newton
from pnct.flows.jacobian import forward_and_log_det, jacobian

__all__ = [
    "AngularMomentumFlows",
    "Backflow",
    "CanonicalTransformation",
    "Continuous",
    "FermiNet",
    "Inversion",
    "SeparatedCentres",
    "backflow",
    "by_angular_momentum",
    "continuous",
    "ferminet",
    "forward_and_log_det",
    "invert",
    "jacobian",
    "newton",
    "separated_centres",
]
