"""The training loop, what is looked at before, during and after a step, and trained parameters in a file."""

from pnct.inference.training.failures import NumericalWarning, TrainingFailedError
from pnct.inference.training.loop import RunResult
from pnct.inference.training.step import Info, TrainState

__all__ = ["Info", "NumericalWarning", "RunResult", "TrainState", "TrainingFailedError"]
