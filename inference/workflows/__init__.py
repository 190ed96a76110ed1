"""Several runs as one: rounds with steps in closed form, a run to a plateau, a sweep along systems."""

from pnct.inference.workflows.plateau import run_to_plateau
from pnct.inference.workflows.rounds import run_in_rounds
from pnct.inference.workflows.sweep import sweep

__all__ = ["run_in_rounds", "run_to_plateau", "sweep"]
