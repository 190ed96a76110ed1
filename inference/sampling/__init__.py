"""A model as a sampler: its sites, batches of walkers with energies and scores, and draws."""

from pnct.inference.sampling.draws import Draws
from pnct.inference.sampling.metropolis import metropolis

__all__ = ["Draws", "metropolis"]
