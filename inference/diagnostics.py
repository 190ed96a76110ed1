r"""Is it converged, can it be believed?  Estimates with Monte Carlo standard errors, and all that can spoil them.

    F = E[T ln p + Re E_loc],   E = E[Re E_loc],   S = -E[ln p],   error = std/sqrt(ESS)

ESS and rank-normalised split R-hat: Vehtari, Gelman, Simpson, Carpenter, Buerkner, Bayesian Anal. 16, 667 (2021), from
ArviZ; so they hold for correlated chains too. The tail of the local energy: the shape k of a generalised Pareto law
(Zhang, Stephens, Technometrics 51, 316 (2009)), as in Vehtari, Simpson, Gelman, Yao, Gabry, JMLR 25, 72 (2024): above
0.5 the variance is infinite, above 0.7 no error bar helps. Two laws of the ansatz are checked with them: det J > 0
everywhere makes the flow one-to-one, and R ~ |Psi_K|^2 makes E[Im E_loc] = 0.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from pnct.estimate import Estimate

LARGEST_RHAT = 1.01
SMALLEST_ESS = 400
HEAVIEST_TAIL = 0.7
LARGEST_Z_SCORE = 5.0
MOST_METROPOLIS = 0.1  # sqrt(samples): 3 sigma off, these shift a mean by 0.3 of its standard error


class Diagnosis(NamedTuple):
    """Estimates per electron (hartree, k_B), and what they are worth. `print` shows a table."""

    free_energy: Estimate
    energy: Estimate
    kinetic: Estimate
    potential: Estimate
    entropy: Estimate
    max_rhat: float
    min_ess: float
    heaviest_tail: float  # Pareto k of the local energy, the heavier of both sides; nan where there is no tail to see
    smallest_log_det: float  # min ln|det J|
    num_negative_det: int  # samples with det J <= 0
    num_failed: int  # samples without a finite energy; left out of the estimates
    num_metropolis: int  # samples from Metropolis, because no inverse of the flow was found; part of the estimates
    converged: bool
    verdict: str

    def __str__(self) -> str:
        rows = [
            ("free energy", self.free_energy, "hartree per electron"),
            ("energy", self.energy, "hartree per electron"),
            ("kinetic", self.kinetic, "hartree per electron"),
            ("potential", self.potential, "hartree per electron"),
            ("entropy", self.entropy, "k_B per electron"),
        ]
        width = max(len(str(estimate)) for _, estimate, _ in rows)
        lines = [f"{name:<12} {estimate!s:>{width}}  {unit}" for name, estimate, unit in rows]
        lines.append(f"R-hat {self.max_rhat:.4f}   ESS {self.min_ess:.0f}   Pareto k {self.heaviest_tail:.2f}")
        folds = f"min ln|det J| {self.smallest_log_det:.3g}   det J <= 0: {self.num_negative_det}"
        lines.append(f"{folds}   failed: {self.num_failed}")
        lines[-1] += f"   from Metropolis: {self.num_metropolis}" if self.num_metropolis else ""
        return "\n".join([*lines, self.verdict])


def diagnose(idata) -> Diagnosis:
    """Estimates and verdict from what `to_arviz` returned (or what was read back from a file)."""
    stats = idata["sample_stats"]
    N = int(stats.attrs["num_electrons"])
    column = {name: np.asarray(stats[name].values) for name in stats.data_vars}
    finite = np.isfinite(column["free_energy"])
    num_failed = int(np.sum(~finite))
    num_metropolis = int(np.sum(finite & ~column["exact"])) if "exact" in column else 0
    # A failed walker is out of every estimate, so that all of them are means over the same samples.
    per_electron = {name: np.where(finite, x, np.nan) / N for name, x in column.items()}
    per_electron["entropy"] = 0.0 - per_electron["log_prob"]

    names = ("free_energy", "energy", "kinetic", "potential", "entropy")
    summaries = {name: chain_estimate(per_electron[name]) for name in (*names, "energy_imag")}
    rhats = [summaries[name][1] for name in names]
    max_rhat = float(np.max(rhats))  # nan, where a chain is too short to tell, stays nan
    min_ess = float(min(summaries[name][0].ess for name in names))
    tail = heaviest_tail(per_electron["energy"][finite])
    num_negative_det = int(np.sum(column["det_sign"] <= 0))
    log_det = column["log_det_jacobian"][np.isfinite(column["log_det_jacobian"])]

    imaginary = summaries["energy_imag"][0]
    resolution = _rounding(column["energy"].dtype) * np.abs(summaries["kinetic"][0].value)
    z_score = abs(imaginary.value) / max(imaginary.error, resolution, np.finfo(float).tiny)
    problems = _problems(finite, num_failed, num_metropolis, num_negative_det, tail, z_score, max_rhat, min_ess)
    if problems:
        verdict = "Not to be trusted: " + "; ".join(problems) + "."
    else:
        verdict = f"Converged: all {finite.size} samples are sound and worth {min_ess:.0f} independent ones."
    return Diagnosis(
        **{name: summaries[name][0] for name in names},
        max_rhat=max_rhat,
        min_ess=min_ess,
        heaviest_tail=tail,
        smallest_log_det=float(log_det.min()) if log_det.size else float("nan"),
        num_negative_det=num_negative_det,
        num_failed=num_failed,
        num_metropolis=num_metropolis,
        converged=not problems,
        verdict=verdict,
    )


def _problems(finite, num_failed, num_metropolis, num_negative_det, tail, z_score, max_rhat, min_ess) -> list[str]:
    if not finite.any():
        return [f"all {finite.size} samples failed (inversion not converged, or energy not finite)"]
    problems = []
    if num_failed:
        problems.append(
            f"{num_failed} of {finite.size} samples failed (inversion not converged, or energy not finite), "
            "and the rest is biased"
        )
    if num_metropolis > MOST_METROPOLIS * np.sqrt(finite.size):
        problems.append(f"{num_metropolis} of {finite.size} samples had no inverse of the flow and come from Metropolis")
    if num_negative_det:
        problems.append(f"det J <= 0 in {num_negative_det} of {finite.size} samples: the flow is not one-to-one")
    if tail > HEAVIEST_TAIL:
        problems.append(f"the local energy has a heavy tail (Pareto k = {tail:.2f} > {HEAVIEST_TAIL}): error bars mean little")
    if z_score > LARGEST_Z_SCORE:
        problems.append(f"E[Im E_loc] is {z_score:.0f} standard errors from 0, so R does not follow |Psi|^2")
    if not max_rhat <= LARGEST_RHAT:
        problems.append(f"R-hat is {max_rhat:.3f} > {LARGEST_RHAT}, the chains disagree or are too short")
    if not min_ess >= SMALLEST_ESS:
        problems.append(f"the effective sample size is {min_ess:.0f} < {SMALLEST_ESS}: draw more samples")
    return problems


def chain_estimate(x: Float[np.ndarray, "chain draw"]) -> tuple[Estimate, float]:
    """The mean of one scalar over chains of equal length, and its R-hat; nan entries are left out.

    A constant has error 0 and R-hat 1. Chains shorter than 8 draws have R-hat nan, and count as independent samples.
    """
    import arviz

    values = x[np.isfinite(x)].astype(float)
    if values.size < 2:
        return Estimate(float(values.mean()) if values.size else float("nan"), float("nan"), float(values.size)), np.nan
    if np.ptp(values) <= 8 * np.finfo(x.dtype).eps * np.max(np.abs(values)):
        return Estimate(float(values.mean()), 0.0, float(values.size)), 1.0

    chains = _complete_chains(x.astype(float))
    ess, rhat = float(values.size), np.nan
    if chains.shape[1] >= 4 and np.ptp(chains) > 0:
        ess = float(arviz.ess(chains, method="mean")) * values.size / chains.size
        rhat = float(arviz.rhat(chains))
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(ess)), ess), rhat


def _complete_chains(x):
    # R-hat and ESS need at least two chains, of one length: what is left without the nan is cut to the shortest.
    rows = [row[np.isfinite(row)] for row in x]
    rows = [row for row in rows if row.size]
    if len(rows) == 1:
        half = rows[0].size // 2
        rows = [rows[0][:half], rows[0][half : 2 * half]]
    length = min(row.size for row in rows)
    return np.stack([row[:length] for row in rows])


def heaviest_tail(x: Float[np.ndarray, " n"]) -> float:
    """The larger Pareto k of both tails of x; nan where x is constant to rounding, too short or discrete."""
    x = np.asarray(x)
    tolerance = _rounding(x.dtype)
    x = np.sort(x.astype(float))
    n = int(min(0.2 * x.size, 3 * np.sqrt(x.size)))
    if n < 5 or x.std() <= tolerance * np.abs(x.mean()):
        return float("nan")
    shapes = [pareto_shape(x[-n:] - x[-n - 1]), pareto_shape((x[n] - x[:n])[::-1])]
    return float(np.fmax(*shapes))


def pareto_shape(y: Float[np.ndarray, " n"]) -> float:
    """The shape k of a generalised Pareto law fitted to ascending exceedances y >= 0: P(Y > y) ~ y^(-1/k), k > 0."""
    n = y.size
    quartile = y[int(n / 4 + 0.5) - 1]
    if quartile <= 0:
        return float("nan")
    m = 30 + int(np.sqrt(n))
    b = 1 / y[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    b = b[np.abs(b) * y[-1] > 1e-9]
    k = np.mean(np.log1p(-b[:, None] * y), axis=1)
    log_likelihood = n * (np.log(-b / k) - k - 1)
    posterior_b = np.sum(softmax(log_likelihood) * b)
    k = np.mean(np.log1p(-posterior_b * y))
    # The weak prior of Vehtari et al.: ten observations of k = 1/2.
    return float((n * k + 5) / (n + 10))


def _rounding(dtype):
    """The relative size under which fluctuations of an energy are rounding."""
    return float(np.sqrt(np.finfo(dtype).eps))
