"""How a program is run: the variational free energy, its optimisers, the samples and what to make of them."""

from pnct.inference.diagnostics.arviz_export import to_arviz
from pnct.inference.diagnostics.diagnose import diagnose
from pnct.inference.free_energy import VariationalFreeEnergy
from pnct.inference.optimisation.natural_gradient import natural_gradient
from pnct.inference.runs.signals import Interrupted
from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.metropolis import metropolis
from pnct.inference.training.failures import NumericalWarning, TrainingFailedError
from pnct.inference.training.parameters import load, save
from pnct.inference.workflows.plateau import run_to_plateau
from pnct.inference.workflows.rounds import run_in_rounds

__all__ = [
    "Draws",
    "Interrupted",
    "NumericalWarning",
    "TrainingFailedError",
    "VariationalFreeEnergy",
    "diagnose",
    "load",
    "metropolis",
    "natural_gradient",
    "run_in_rounds",
    "run_to_plateau",
    "save",
    "to_arviz",
]
