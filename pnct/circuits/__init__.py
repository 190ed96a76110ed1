"""Unitary circuits on the state vectors of a few spins."""

from pnct.circuits.base import Circuit
from pnct.circuits.brickwork import Brickwork, brickwork

__all__ = ["Brickwork", "Circuit", "brickwork"]
