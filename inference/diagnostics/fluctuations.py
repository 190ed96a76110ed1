r"""What the errors of F and E are made of, and whether it has a heavy tail.

    of F:   T ln p(K) + Re E_loc
    of E:   Re E_loc - its median in the state K

E_loc itself is the wrong thing to look at: in a thermal mixture it is nearly discrete, one value per state
with little noise, though nothing is wrong. T ln p + E_loc is one number for all K where p(K) is at its best.
The mean of E_loc in each state follows from how often the state is drawn, a matter of counting; what has a
tail is the noise about it. The median stands for that mean, which a single outlier would take along. Of
states drawn less than FEWEST times it is unknown; F judges those alone.
"""

import numpy as np
from jaxtyping import Float, Int

from pnct.inference.diagnostics.pareto import rounding, tail_shapes
from pnct.inference.diagnostics.verdict import Fluctuation

FEWEST = 3  # samples of a state, for it to have a median


def fluctuations(
    column: dict[str, Float[np.ndarray, " n"]], states: Int[np.ndarray, "n s"]
) -> tuple[Fluctuation, Fluctuation]:
    """Those of F and of E. column: free_energy, energy, kinetic, potential of finite samples, each in a
    state.

    What is small beside kinetic and potential energy is rounding.
    """
    energy = column["energy"]
    size = np.median(np.abs(column["kinetic"]) + np.abs(column["potential"])) if energy.size else 0.0
    tolerance = rounding(energy.dtype) * size
    noise, samples = less_median(energy, states)
    return (
        Fluctuation(
            "T ln p + E_loc",
            column["free_energy"],
            np.arange(energy.size),
            tail_shapes(column["free_energy"], tolerance),
        ),
        Fluctuation("the local energy of given states", noise, samples, tail_shapes(noise, tolerance)),
    )


def less_median(
    x: Float[np.ndarray, " n"], states: Int[np.ndarray, "n s"]
) -> tuple[Float[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """x less its median in its state, and which x these are: those of states that come often enough."""
    if not x.size:
        return x, np.zeros(0, int)
    _, index, counts = np.unique(states, axis=0, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(index.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    members = [samples for samples in members if samples.size >= FEWEST]
    if not members:
        return x[:0], np.zeros(0, int)
    return np.concatenate([x[samples] - np.median(x[samples]) for samples in members]), np.concatenate(
        members
    )
