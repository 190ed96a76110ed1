"""Programs that users read, copy and edit: one model per file."""

from pnct.models.electron_gas import electron_gas
from pnct.models.quantum_dot import quantum_dot

__all__ = ["electron_gas", "quantum_dot"]
