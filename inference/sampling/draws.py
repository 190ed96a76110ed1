"""What `evaluate` returns: independent samples of rho = sum_K p(K) |Psi_K><Psi_K| and their local
energies.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from pnct.estimate import Estimate, mean_of_independent


class Draws(NamedTuple):
    """Independent samples of the density matrix at frozen parameters; every array has the sample as its first
    axis.
    """

    samples: dict[str, Array]  # site name -> values, e.g. {"K": (S, N) int, "R": (S, N, dim)}
    log_prob: Array  # (S,) ln p of all classical (unobserved) sites: ln p(K); zeros where K is conditioned
    kinetic: Array  # (S,) complex, total; of discrete variables the off-diagonal energy
    potential: Array  # (S,) total; of discrete variables the diagonal energy
    diagnostics: dict[str, Array]  # (S,) by the names of the measured distribution
    temperature: float
    measured_site: str  # which key of samples holds what is measured
    state_site: str | None  # which key holds K, where one site names the state
    dims: tuple[str, ...]  # names of the axes of what is measured
    is_exact: Array  # (S,) False where the exact draw failed and the value comes from Metropolis
    unit: str = "hartree"  # the name of the unit of all energies, which is another in a trap
    parts: tuple[str, str] = ("kinetic", "potential")  # what the two parts of the energy are called

    @property
    def measured(self) -> Array:
        """The samples of the measured site: R."""
        return self.samples[self.measured_site]

    @property
    def num_particles(self) -> int:
        """What estimates are reported per: electrons, bits."""
        return self.measured.shape[1]

    @property
    def energy(self) -> Float[np.ndarray, " S"]:
        """Re E_loc, total."""
        return np.asarray(self.kinetic).real + np.asarray(self.potential)

    @property
    def free_energy(self) -> Float[np.ndarray, " S"]:
        """T ln p + Re E_loc, total."""
        return self.temperature * np.asarray(self.log_prob) + self.energy

    @property
    def entropy(self) -> Float[np.ndarray, " S"]:
        """-ln p, total, in k_B."""
        return 0.0 - np.asarray(self.log_prob)

    @property
    def is_finite(self) -> Bool[np.ndarray, " S"]:
        """Samples whose free energy is a number; all estimates are means over these."""
        return np.isfinite(self.free_energy)

    def estimates(self) -> dict[str, Estimate]:
        """Means over the finite samples, totals: free_energy, energy, kinetic, potential, entropy."""
        kept = self.is_finite
        quantities = {
            "free_energy": self.free_energy,
            "energy": self.energy,
            "kinetic": np.asarray(self.kinetic).real,
            "potential": np.asarray(self.potential),
            "entropy": self.entropy,
        }
        return {name: mean_of_independent(x[kept]) for name, x in quantities.items()}

    def finite(self) -> "Draws":
        """The finite samples alone."""
        return self.take(self.is_finite)

    def take(self, chosen) -> "Draws":
        """Some of the samples, by their numbers, a slice or a mask."""
        columns = ("log_prob", "kinetic", "potential", "is_exact")
        return self._replace(
            samples={name: np.asarray(x)[chosen] for name, x in self.samples.items()},
            diagnostics={name: np.asarray(x)[chosen] for name, x in self.diagnostics.items()},
            **{name: np.asarray(getattr(self, name))[chosen] for name in columns},
        )
