"""Many-body states Phi_K of these orbitals."""

from pnct.states.configuration_interaction import ConfigurationMixing, configuration_mixing
from pnct.states.slater_jastrow import SlaterJastrow, jastrow
from pnct.states.spin_adapted import SpinAdapted, spin_adapted

__all__ = ["ConfigurationMixing", "SlaterJastrow", "SpinAdapted", "configuration_mixing", "jastrow", "spin_adapted"]
