r"""How far S of a trained density matrix can be from the S of the best p(K) for its flow:

    error^2 = sample^2 + closed_form^2 + drift^2

    sample        std(ln p)/M^(1/2), of the M states that S is averaged over
    closed_form   p(K) is fitted to the energies of M_f samples. E_loc has noise, so S* - S = Cov(ln p, y)
                  with y = ln p + E_loc/T (closed_form/boltzmann_weights.py) is known to no better
                  than std(ln p' y')/M_f^(1/2); ' is the difference from the mean
    drift         the change of S from the third quarter of the training to the last, as far as it is more
                  than its own noise

The first alone is the error of S as a property of the state that was found. m*/m = s/s_0 is to be that of the
gas, and needs all three.
"""

import math
from typing import NamedTuple

from pnct.estimate import Estimate
from pnct.inference.closed_form.boltzmann_weights import occupation_optimum
from pnct.inference.sampling.saved_draws import DrawsLike, as_draws
from pnct.validation import checked_integer


class EntropyError(NamedTuple):
    """Totals in k_B."""

    sample: float
    closed_form: float
    drift: float

    @property
    def total(self) -> float:
        return math.hypot(*self)


def entropy_error(
    system, draws: DrawsLike, entropy: Estimate, fit_samples: int, drift: Estimate | None = None
) -> EntropyError:
    """The parts of the error of S of all particles.

    draws: of `evaluate`, at T > 0 and with a site "K", 40 or more; the noise of y is theirs.
    entropy: of the same p(K), as of `observables.entropy`, in k_B.
    fit_samples: M_f, of the last step in closed form.
    drift: of all particles, as `diagnose` has it per particle; None where the training was too short for it.
    Raises ValueError as `occupation_optimum` does.
    """
    fit_samples = checked_integer("fit_samples", fit_samples, 1)
    draws = as_draws(draws).finite()
    noise = occupation_optimum(system, draws).entropy_change.error
    moved = 0.0 if drift is None else max(drift.value**2 - drift.error**2, 0.0)
    return EntropyError(
        float(entropy.error), noise * math.sqrt(len(draws.log_prob) / fit_samples), math.sqrt(moved)
    )
