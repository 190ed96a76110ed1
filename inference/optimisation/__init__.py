"""How the parameters move: gradients of F from scores, and the natural gradient."""

from pnct.inference.optimisation.natural_gradient import natural_gradient

__all__ = ["natural_gradient"]
