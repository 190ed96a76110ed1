"""The continuous normalizing flow."""

from pnct.flows.continuous.network import Continuous, continuous

__all__ = ["Continuous", "continuous"]
