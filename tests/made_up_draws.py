"""Draws without electrons to speak of, for what looks at states and energies alone."""

import numpy as np

from pnct.inference.sampling.draws import Draws


def draws_of_states(K, log_prob, energy, temperature: float) -> Draws:
    """Draws of the states K (S, N) with these energies, the electrons all at the origin."""
    K = np.asarray(K)
    nothing = np.zeros(len(K))
    return Draws(
        samples={"K": K, "R": np.zeros((*K.shape, 2))},
        log_prob=np.asarray(log_prob),
        kinetic=energy + 0j,
        potential=nothing,
        diagnostics={"log_det_jacobian": nothing, "det_sign": nothing + 1},
        temperature=float(temperature),
        measured_site="R",
        state_site="K",
        dims=("electron", "axis"),
        is_exact=np.ones(len(K), bool),
    )
