"""What has an optimum in closed form: mixed states, and the Boltzmann weights of p(K)."""

from pnct.inference.closed_form.boltzmann_weights import shell_energy_shifts, occupation_optimum, fit_shell_energies, fit_untabulated
from pnct.inference.closed_form.diagonalisation import diagonalise

__all__ = ["diagonalise", "shell_energy_shifts", "occupation_optimum", "fit_shell_energies", "fit_untabulated"]
