"""Programs that users read, copy and edit: one model per file."""

from pnct.models.electron_gas import electron_gas

__all__ = ["electron_gas"]
