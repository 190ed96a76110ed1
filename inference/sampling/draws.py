"""What `evaluate` returns: independent samples of rho = sum_K p(K) |Psi_K><Psi_K| and their local
energies.
"""

from typing import NamedTuple

from jaxtyping import Array


class Draws(NamedTuple):
    """Independent samples of the density matrix at frozen parameters; every array has the sample as its first
    axis.
    """

    samples: dict[str, Array]  # site name -> values, e.g. {"K": (S, N) int, "R": (S, N, dim)}
    log_prob: Array  # (S,) ln p of all classical (unobserved) sites: ln p(K); zeros where K is conditioned
    kinetic: Array  # (S,) complex, total
    potential: Array  # (S,) total
    log_det_jacobian: Array  # (S,) ln|det J|
    det_sign: Array  # (S,) sign of det J
    temperature: float
    num_electrons: int  # N
    born_site: str  # which key of samples holds R
    exact: Array | None = (
        None  # (S,) False where the flow had no inverse and R comes from Metropolis; None: all are exact
    )
    unit: str = "hartree"  # the name of the unit of all energies, which is another in a trap
