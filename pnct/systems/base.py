"""The contract of what is simulated: a temperature, energies in one unit, and what the states are made of.

Electrons are an `ElectronSystem` (pnct.systems.electrons), spins on a graph a `SpinLattice`.
"""

import abc

import equinox as eqx
import numpy as np
from jaxtyping import ArrayLike, Float, Int


class System(eqx.Module):
    """What a model is given first, all energies in one unit.

    temperature: T.  unit: the name of the unit of energy.
    energy_scale: of the energies that change with the state.
    """

    temperature: eqx.AbstractVar[Float[ArrayLike, ""]]
    unit: eqx.AbstractVar[str]
    energy_scale: eqx.AbstractVar[Float[ArrayLike, ""]]

    @property
    @abc.abstractmethod
    def N(self) -> int:
        """What energies are counted per: electrons, sites."""

    @property
    @abc.abstractmethod
    def ground_state(self) -> Int[np.ndarray, " N"]:
        """K of the lowest state without interaction."""

    @property
    @abc.abstractmethod
    def table(self) -> eqx.Module:
        """What the states are made of; two runs are of one system where it agrees entry by entry."""

    @property
    @abc.abstractmethod
    def choices(self) -> tuple[int, str]:
        """How many values each entry of K may have, and what they are called."""

    @abc.abstractmethod
    def constants(self) -> dict[str, tuple[str | tuple[str, ...], np.ndarray]]:
        """What is constant in a run, by name: the names of the axes and the values."""

    @abc.abstractmethod
    def labels(self) -> dict[str, tuple[str, list | np.ndarray]]:
        """Labels along axes, by name: the axis and its labels."""

    @abc.abstractmethod
    def counts(self, K: Int[ArrayLike, "S N"]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """What is worth counting in each state, by name: the names of its axes and the values, (S, ...)."""
