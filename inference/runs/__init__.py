"""A run that outlives its process: checkpoints, its directory, its fingerprint, signals."""

from pnct.inference.runs.signals import Interrupted

__all__ = ["Interrupted"]
