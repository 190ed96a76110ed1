"""Programs that users read, copy and edit: one model per file."""

from pnct.models.electron_gas import electron_gas
from pnct.models.fermi_gas import fermi_gas
from pnct.models.few_electrons import few_electrons
from pnct.models.hydrogen import hydrogen
from pnct.models.quantum_dot import quantum_dot
from pnct.models.spin_circuit import spin_circuit
from pnct.models.twisted_gas import twisted_gas
from pnct.models.unpolarised_gas import unpolarised_gas

__all__ = [
    "electron_gas",
    "fermi_gas",
    "few_electrons",
    "hydrogen",
    "quantum_dot",
    "spin_circuit",
    "twisted_gas",
    "unpolarised_gas",
]
