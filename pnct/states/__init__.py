"""Many-body states Phi_K of these orbitals."""

from pnct.states.base import DeterminantExpansion, StateDerivatives, States
from pnct.states.configuration_interaction import ConfigurationInteraction, configuration_interaction
from pnct.states.jastrow import jastrow
from pnct.states.separated_pair import SeparatedPair, separated_pair
from pnct.states.slater import SlaterDeterminants, as_states
from pnct.states.slater_jastrow import SlaterJastrow
from pnct.states.spin_adapted import SpinAdapted, spin_adapted

__all__ = [
    "ConfigurationInteraction",
    "DeterminantExpansion",
    "SeparatedPair",
    "SlaterDeterminants",
    "SlaterJastrow",
    "SpinAdapted",
    "StateDerivatives",
    "States",
    "as_states",
    "configuration_interaction",
    "jastrow",
    "separated_pair",
    "spin_adapted",
]
