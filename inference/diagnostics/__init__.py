"""Are the numbers to be believed? Draws as ArviZ sees them, estimates with errors, and a verdict."""

from pnct.inference.diagnostics.arviz_export import to_arviz
from pnct.inference.diagnostics.diagnose import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose", "to_arviz"]
