"""Flows  T: R -> zeta  from electrons to quasi-particles: periodic, permutation-equivariant, the identity at first."""

from pnct.flows.backflow import Backflow, backflow
from pnct.flows.bijector import CanonicalTransformation
from pnct.flows.ferminet import FermiNet, ferminet
from pnct.flows.inverse import Inversion, newton
from pnct.flows.jacobian import jacobian

__all__ = ["Backflow", "CanonicalTransformation", "FermiNet", "Inversion", "backflow", "ferminet", "jacobian", "newton"]
