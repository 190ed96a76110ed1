"""What has an optimum in closed form: mixed states, and the Boltzmann weights of p(K)."""

from pnct.inference.closed_form.boltzmann_weights import (
    fit_shell_energies,
    fit_untabulated,
    occupation_optimum,
    shell_energy_shifts,
)
from pnct.inference.closed_form.diagonalisation import diagonalise

__all__ = [
    "diagonalise",
    "fit_shell_energies",
    "fit_untabulated",
    "occupation_optimum",
    "shell_energy_shifts",
]
