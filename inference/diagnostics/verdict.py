"""What is wrong with draws, and why: the sentences of `diagnose`.

A problem spoils the estimates. A drift does not, but the state is not yet the best one; whether there is one
cannot be told of a short training, or without its history. A remark is to be known, no more.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from pnct.estimate import Estimate
from pnct.inference.diagnostics.pareto import HEAVIEST_TAIL

LARGEST_RHAT = 1.01
SMALLEST_ESS = 400
LARGEST_Z_SCORE = 5.0  # of what has mean zero
FARTHEST_BELOW = 3.0  # standard errors by which chance may bring F below its bound
NEAREST_FOLD = 1e-3  # det J over its median, below which a fold is near
MOST_METROPOLIS = 0.1  # sqrt(samples): 3 sigma off, these shift a mean by 0.3 of its standard error
FAILED = "an energy or ln p that is not finite"
FEWEST_STEPS = 40  # of a training, for a drift from its third quarter to the last to be seen
OUTERMOST = 0.01  # share of the samples that is looked at where the tail is heavy


class Fluctuation(NamedTuple):
    """A quantity of some of the finite samples, and how heavy its tails are."""

    name: str
    values: Float[np.ndarray, " m"]
    samples: Int[np.ndarray, " m"]  # which of the finite ones
    tails: tuple[float, float]  # Pareto k, lower and upper

    @property
    def heaviest(self) -> float:
        """The larger k, nan where there is none."""
        return float(np.fmax(*self.tails))


class Evidence(NamedTuple):
    """What the sentences are made from. Per electron, hartree and k_B."""

    finite: Bool[np.ndarray, " n"]  # samples with a finite energy
    num_metropolis: int  # of them, drawn by Metropolis because no inverse of the flow was found
    num_negative_det: int
    energy: Float[np.ndarray, " n"]
    log_det: Float[np.ndarray, " n"]
    fluctuations: tuple[Fluctuation, ...]  # those that the errors of F and E are made of
    imaginary_z_score: float
    max_rhat: float | None  # of Markov chains
    min_ess: float
    free_energy: Estimate
    exact: Estimate | None
    num_steps: int | None  # of the training, None without a history
    drifts: dict[
        str, Estimate
    ]  # of the means over training batches, from the third quarter of the steps to the last
    num_not_inverted_in_training: int
    num_backtracked: int


def verdict(evidence: Evidence) -> tuple[bool | None, str]:
    """Whether all is well, None where the training is too short or unknown, and the sentences."""
    found = problems(evidence)
    drifting = [drift(name, change) for name, change in evidence.drifts.items() if is_drift(change)]
    if found:
        text = f"Not to be trusted: {'; '.join(found)}."
    elif drifting:
        text = f"Valid samples of a state that is not converged: {'; '.join(drifting)}."
    else:
        worth = (
            f"all {evidence.finite.size} samples are finite and worth {evidence.min_ess:.0f} independent ones"
        )
        unknown = unknown_training(evidence.num_steps)
        text = f"Valid samples, {unknown}: {worth}." if unknown else f"Converged: {worth}."
    noted = remarks(evidence)
    if found or drifting:
        converged = False
    else:
        converged = True if unknown is None else None
    return converged, f"{text} Note: {'; '.join(noted)}." if noted else text


def unknown_training(num_steps: int | None) -> str | None:
    """Why it cannot be told whether the training has come to its end; None where it can."""
    if num_steps is None:
        return (
            "but whether the training has converged is unknown, for its history was not handed over, "
            "to_arviz(draws, result.history)"
        )
    if num_steps < FEWEST_STEPS:
        return (
            f"but a training of {num_steps} steps is too short to tell whether F and S still move; it takes "
            f"{FEWEST_STEPS}"
        )
    return None


def problems(evidence: Evidence) -> list[str]:
    """What spoils the estimates."""
    total = evidence.finite.size
    failed = int(np.sum(~evidence.finite))
    if failed == total:
        return [f"all {total} samples failed ({FAILED})"]
    found = []
    if failed:
        found.append(f"{failed} of {total} samples failed ({FAILED}), and the rest is biased")
    if evidence.num_metropolis > MOST_METROPOLIS * math.sqrt(total):
        found.append(
            f"{evidence.num_metropolis} of {total} samples had no inverse of the flow, for Newton's "
            "iteration did not converge, "
            "and come from Metropolis: the flow is folded or nearly so"
        )
    if evidence.num_negative_det:
        found.append(
            f"det J <= 0 in {evidence.num_negative_det} of {total} samples: the flow is not one-to-one"
        )
    heavy = [fluctuation for fluctuation in evidence.fluctuations if fluctuation.heaviest > HEAVIEST_TAIL]
    if heavy:
        found.append(_heavy_tail(evidence, max(heavy, key=_heaviest)))
    if evidence.imaginary_z_score > LARGEST_Z_SCORE:
        z = evidence.imaginary_z_score
        found.append(f"E[Im E_loc] is {z:.0f} standard errors from 0, so R does not follow |Psi|^2")
    if evidence.max_rhat is not None and not evidence.max_rhat <= LARGEST_RHAT:
        found.append(
            f"R-hat is {evidence.max_rhat:.3f} > {LARGEST_RHAT}, the chains disagree or are too short"
        )
    if not evidence.min_ess >= SMALLEST_ESS:
        found.append(
            f"the effective sample size is {evidence.min_ess:.0f} < {SMALLEST_ESS}: draw more samples"
        )
    z = standard_errors_below(evidence.free_energy, evidence.exact)
    if z is not None and z > FARTHEST_BELOW:
        cause = "an upper bound cannot be, so" if not found else "which may come of the rest; if not,"
        found.append(
            f"F is {z:.1f} standard errors below the exact {evidence.exact}, {cause} the energy, ln p "
            "or the law of the samples "
            "is wrong, or the exact value is of another system"
        )
    return found


def remarks(evidence: Evidence) -> list[str]:
    """What is to be known, though it spoils nothing."""
    noted = []
    z = standard_errors_below(evidence.free_energy, evidence.exact)
    if z is not None and 0 < z <= FARTHEST_BELOW:
        chance = math.erfc(z / math.sqrt(2)) / 2
        noted.append(
            f"F is {z:.1f} standard errors below the exact {evidence.exact}, by chance ({chance:.0%} of "
            "such runs)"
        )
    if not evidence.num_negative_det and evidence.log_det.size:
        nearest = float(evidence.log_det.min())
        median = float(np.median(evidence.log_det))
        if nearest < median + math.log(NEAREST_FOLD):
            noted.append(
                f"det J comes near 0 (smallest ln det J {nearest:.1f}, median {median:.1f}): the flow "
                "is close to folding, "
                "take shorter steps if training goes on"
            )
    if evidence.num_not_inverted_in_training:
        noted.append(
            f"in training {evidence.num_not_inverted_in_training} walkers had no inverse and came from "
            "Metropolis, "
            f"{evidence.num_backtracked} updates were halved"
        )
    return noted


def is_drift(change: Estimate) -> bool:
    """Whether the change is more than noise."""
    return abs(change.value) > LARGEST_Z_SCORE * change.error


def drift(name: str, change: Estimate) -> str:
    """The sentence for a quantity that still moved at the end of the training."""
    moves = "rises" if change.value > 0 else "falls"
    size = Estimate(abs(change.value), change.error, change.ess)
    if name == "entropy":
        return (
            f"S/N still {moves}, by {size} k_B from the third quarter of the training to the last: train "
            "longer"
        )
    return f"F/N still {moves}, by {size} from the third quarter of the training to the last: train longer"


def standard_errors_below(free_energy: Estimate, exact: Estimate | None) -> float | None:
    """By how many standard errors of both F lies below its exact value, where that is known."""
    if exact is None:
        return None
    return (exact.value - free_energy.value) / max(
        math.hypot(free_energy.error, exact.error), np.finfo(float).tiny
    )


def _heaviest(fluctuation):
    return fluctuation.heaviest


def _heavy_tail(evidence, fluctuation):
    side = int(np.nanargmax(fluctuation.tails))
    order = np.argsort(fluctuation.values * (1, -1)[side])[: max(5, int(OUTERMOST * fluctuation.values.size))]
    outermost = fluctuation.samples[order]
    where = "|Psi| is small"
    if np.any(np.isfinite(evidence.log_det)):  # there is a change of variables
        near_fold = np.mean(evidence.log_det[outermost] < np.quantile(evidence.log_det, 0.1)) > 0.5
        where = "det J is " + (
            "small: the flow nearly folds there"
            if near_fold
            else "as elsewhere: look where the potential or the kinetic energy diverges, as for close pairs"
        )
    return (
        f"{fluctuation.name} has a heavy tail (Pareto k = {fluctuation.heaviest:.2f} > {HEAVIEST_TAIL}) "
        f"towards {('low', 'high')[side]} energies, to E_loc/N = {evidence.energy[outermost[0]]:.3g}, where "
        f"{where}; error bars mean little"
    )
