r"""Structure of electrons and protons: g_ee(r), g_ep(r), g_pp(r) from draws of both.

    g_ab(r) = L^3/(N_a N_b) <sum_{i in a, j in b, i != j} delta(r - |r_i - r_j|)>/(4 pi r^2)

the electrons of both spins together. The pressure of a plasma in its Coulomb energy is that of
`thermodynamics.pressure`, P = (2 K + V)/(3 Omega), K with the kinetic energy of the protons.
"""

import numpy as np

from pnct.inference.observables.correlations import PairCorrelation, pair_correlation
from pnct.inference.sampling.draws import Draws
from pnct.space import Cell
from pnct.systems.hydrogen import Hydrogen

NAMES = {"up-up": "e-e", "up-down": "e-p", "down-down": "p-p"}


def plasma_correlations(plasma: Hydrogen, draws: Draws, bins: int = 50, site: str = "X") -> PairCorrelation:
    """g(r) by pair, "e-e", "e-p" and "p-p" where present, in `bins` equal bins up to L/2; r in r_s a_0.

    site: whose values the places of the protons are, drawn or given.
    """
    if site not in draws.samples:
        raise ValueError(f"Expected places of protons at site {site!r}; got {sorted(draws.samples)}.")
    X = np.asarray(draws.samples[site])
    electrons = sum(plasma.num_electrons)
    if X.shape[1:] != (plasma.num_protons, plasma.dim):
        raise ValueError(
            f"Expected draws of {plasma.num_protons} protons; got places of shape {X.shape[1:]}."
        )
    if electrons:
        places = np.concatenate([np.asarray(draws.measured), X], axis=1)
        found = pair_correlation(places, Cell((electrons, plasma.num_protons), plasma.dim, plasma.L), bins)
        names = NAMES
    else:
        found = pair_correlation(X, plasma.proton_space, bins)
        names = {"up-up": "p-p"}
    return PairCorrelation(
        found.r,
        {names[name]: g for name, g in found.g.items()},
        {names[name]: error for name, error in found.error.items()},
    )
