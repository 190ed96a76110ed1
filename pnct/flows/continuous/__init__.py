"""The continuous normalizing flow."""

from pnct.flows.continuous.network import Continuous, continuous, with_cusps

__all__ = ["Continuous", "continuous", "with_cusps"]
