"""What has an optimum in closed form: mixed states, and the Boltzmann weights of p(K)."""

from pnct.inference.closed_form.boltzmann_weights import level_shifts, occupation_optimum, settled, unlisted_settled
from pnct.inference.closed_form.diagonalisation import diagonalised

__all__ = ["diagonalised", "level_shifts", "occupation_optimum", "settled", "unlisted_settled"]
