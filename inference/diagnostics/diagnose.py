r"""Is it converged, can it be believed?  Estimates with standard errors, and all that can spoil them.

    F = E[T ln p + Re E_loc],   E = E[Re E_loc],   S = -E[ln p],   error = std/sqrt(ESS)

Independent samples have ESS = their number, and no R-hat. That holds for walkers from the Metropolis fallback
as well: each has a chain of its own, so they may be biased, not correlated, and are counted. ESS and
rank-normalised split R-hat of Markov chains: Vehtari, Gelman, Simpson, Carpenter, Buerkner, Bayesian Anal.
16, 667 (2021), from ArviZ. Checked of the ansatz: the flow is
one-to-one, det J > 0 everywhere, and R ~ |Psi_K|^2 makes E[Im E_loc] = 0; and that of the whole method,
F >= the exact value where that is known.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pnct.estimate import Estimate, mean_of_independent
from pnct.inference.diagnostics.arviz_export import training_history
from pnct.inference.diagnostics.fluctuations import fluctuations
from pnct.inference.diagnostics.pareto import rounding
from pnct.inference.diagnostics.verdict import FEWEST_STEPS, Evidence, standard_errors_below, verdict
from pnct.inference.sampling.batch import LOG_PROB_OF
from pnct.inference.sampling.draws import Draws


class Diagnosis(NamedTuple):
    """Estimates per electron (hartree, k_B), and what they are worth. `print` shows a table."""

    free_energy: Estimate
    energy: Estimate
    kinetic: Estimate
    potential: Estimate
    entropy: Estimate
    max_rhat: float | None  # None for independent samples, which have no chains to compare
    min_ess: float
    heaviest_tail: (
        float  # Pareto k of the fluctuations of F and E, the largest; nan where there is none to see
    )
    smallest_log_det: float  # min ln|det J|
    num_negative_det: int  # samples with det J <= 0
    num_failed: int  # samples without a finite energy; left out of the estimates
    num_metropolis: (
        int  # samples from Metropolis, because no inverse of the flow was found; part of the estimates
    )
    drifts: dict[
        str, Estimate
    ]  # change of F and S from the third quarter of the training to the last; empty without history
    # S of each classical site by itself, X and K given X, where there are several
    entropy_by_site: dict[str, Estimate]
    closest_protons: float | None  # the smallest distance of two in all samples, in the units of X
    below_exact: float | None  # standard errors by which F lies below the exact value, where that is given
    # None: nothing is wrong, but the training is too short, or its history absent, to tell whether it ended
    converged: bool | None
    verdict: str
    unit: str = "hartree"  # of energies
    particle: str = "electron"  # what all is counted per
    parts: tuple[str, str] = ("kinetic", "potential")  # what the two parts of the energy are called

    def __str__(self) -> str:
        rows = [
            ("free energy", self.free_energy, f"{self.unit} per {self.particle}"),
            ("energy", self.energy, f"{self.unit} per {self.particle}"),
            (self.parts[0], self.kinetic, f"{self.unit} per {self.particle}"),
            (self.parts[1], self.potential, f"{self.unit} per {self.particle}"),
            ("entropy", self.entropy, f"k_B per {self.particle}"),
        ]
        rows += [(f"... of {x}", s, f"k_B per {self.particle}") for x, s in self.entropy_by_site.items()]
        width = max(len(str(estimate)) for _, estimate, _ in rows)
        lines = [f"{name:<12} {estimate!s:>{width}}  {unit}" for name, estimate, unit in rows]
        rhat = "" if self.max_rhat is None else f"R-hat {self.max_rhat:.4f}   "
        lines.append(f"{rhat}ESS {self.min_ess:.0f}   Pareto k {self.heaviest_tail:.2f}")
        folds = f"min ln|det J| {self.smallest_log_det:.3g}   det J <= 0: {self.num_negative_det}   "
        lines.append(f"{folds if math.isfinite(self.smallest_log_det) else ''}failed: {self.num_failed}")
        lines[-1] += f"   from Metropolis: {self.num_metropolis}" if self.num_metropolis else ""
        if self.closest_protons is not None:
            lines.append(f"closest protons {self.closest_protons:.3g}, in the units of their places")
        return "\n".join([*lines, self.verdict])


def diagnose(idata, exact: Estimate | float | None = None, entropy: Estimate | None = None) -> Diagnosis:
    """Estimates and verdict from what `to_arviz` returned (or what was read back from a file).

    Without the history of the training, or with a short one, its end is unknown: `converged` is None.

    exact: the exact free energy per electron where it is known, as from exact diagonalisation; no F may lie
    below it.
    entropy: S of all particles, in k_B, from more states than these samples (`observables.entropy`). It takes
    the place of theirs, and is a control variate for all energies: what they have in common with -ln p is
    known better then. F = E - T S and E = K + V hold for what comes out.
    """
    if isinstance(idata, Draws):
        raise ValueError("Expected what to_arviz gives; got a Draws. Write diagnose(to_arviz(draws)).")
    stats = idata["sample_stats"]
    if missing := {"particle", "independent_samples", "energy_parts"} - stats.attrs.keys():
        raise ValueError(
            f"Expected what this version of to_arviz gives; got data without {', '.join(sorted(missing))}, "
            "as an older one wrote them. Draw the samples again."
        )
    particle = stats.attrs["particle"]
    N = int(stats.attrs[f"num_{particle}s"])
    column = {name: np.asarray(stats[name].values) for name in stats.data_vars}
    finite = np.isfinite(column["free_energy"])
    # A failed walker is out of every estimate, so that all of them are means over the same samples.
    per_electron = {name: np.where(finite, x, np.nan) / N for name, x in column.items()}
    per_electron["entropy"] = 0.0 - per_electron["log_prob"]

    # what has no change of variables has no determinant
    log_det = column.get("log_det_jacobian", np.full(finite.shape, np.nan))
    det_sign = column.get("det_sign", np.ones(finite.shape))
    names = ("free_energy", "energy", "kinetic", "potential", "entropy")
    all_names = (*names, "energy_imag")
    if stats.attrs["independent_samples"]:
        summaries = {name: independent_estimate(per_electron[name]) for name in all_names}
        max_rhat = None
    else:
        found = {name: chain_estimate(per_electron[name]) for name in all_names}
        summaries = {name: estimate for name, (estimate, _) in found.items()}
        max_rhat = float(np.max([found[name][1] for name in names]))  # nan where a chain is too short to tell
    spread = fluctuations({name: x[finite] for name, x in per_electron.items()}, _states(idata, finite))
    imaginary = summaries["energy_imag"]
    resolution = rounding(column["energy"].dtype) * np.abs(summaries["kinetic"].value)
    history = training_history(idata)
    exact = Estimate(float(exact), 0.0, math.inf) if isinstance(exact, int | float) else exact
    evidence = Evidence(
        finite=finite.ravel(),
        num_metropolis=int(np.sum(finite & ~column["is_exact"])),
        num_negative_det=int(np.sum(det_sign <= 0)),
        energy=per_electron["energy"][finite],
        log_det=log_det[finite],
        fluctuations=spread,
        imaginary_z_score=abs(imaginary.value) / max(imaginary.error, resolution, np.finfo(float).tiny),
        max_rhat=max_rhat,
        min_ess=float(min(summaries[name].ess for name in names)),
        free_energy=summaries["free_energy"],
        exact=exact,
        num_steps=len(history["free_energy"]) if "free_energy" in history else None,
        drifts=_drifts(history, N),
        num_not_inverted_in_training=int(np.sum(history.get("num_not_inverted", 0))),
        num_backtracked=int(np.sum(history.get("backtracked", 0))),
    )
    estimates = {name: summaries[name] for name in names}
    by_site = {
        name.removeprefix(LOG_PROB_OF): independent_estimate(0.0 - x)
        for name, x in per_electron.items()
        if name.startswith(LOG_PROB_OF)
    }
    distances = column.get("proton_distance", np.array(np.inf))
    closest = float(np.min(distances, where=np.isfinite(distances), initial=np.inf))
    if entropy is not None:
        estimates = with_known_entropy(estimates, per_electron, finite, entropy.scaled(1 / N))
        evidence = evidence._replace(free_energy=estimates["free_energy"])
    converged, text = verdict(evidence)
    log_det = log_det[np.isfinite(log_det)]
    return Diagnosis(
        **estimates,
        max_rhat=evidence.max_rhat,
        min_ess=evidence.min_ess,
        heaviest_tail=float(np.fmax.reduce([fluctuation.heaviest for fluctuation in spread])),
        smallest_log_det=float(log_det.min()) if log_det.size else float("nan"),
        num_negative_det=evidence.num_negative_det,
        num_failed=int(np.sum(~finite)),
        num_metropolis=evidence.num_metropolis,
        drifts=evidence.drifts,
        below_exact=standard_errors_below(evidence.free_energy, exact),
        converged=converged,
        verdict=text,
        unit=stats.attrs["unit"],
        particle=particle,
        parts=tuple(stats.attrs["energy_parts"].split(", ")),
        entropy_by_site=by_site,
        closest_protons=closest if math.isfinite(closest) else None,
    )


def with_known_entropy(estimates: dict, per_electron: dict, finite, entropy: Estimate) -> dict[str, Estimate]:
    """X + c (S - <-ln p>) for each energy X, with the slope c = Cov(X, -ln p)/Var(-ln p), and S itself."""
    s = per_electron["entropy"][finite].astype(float)
    known = {"entropy": entropy}
    for name, estimate in estimates.items():
        if name == "entropy":
            continue
        x = per_electron[name][finite].astype(float)
        slope = np.cov(x, s)[0, 1] / np.var(s, ddof=1) if np.ptp(s) > 0 else 0.0
        rest = np.std(x - slope * s, ddof=1) / np.sqrt(estimate.ess)
        value = estimate.value + slope * (entropy.value - s.mean())
        known[name] = Estimate(float(value), float(math.hypot(rest, slope * entropy.error)), estimate.ess)
    return known


def _states(idata, finite):
    """Which state each finite sample is in: the values of all whole-number sites but the measured one."""
    posterior = idata["posterior"]
    sites = [
        np.asarray(x.values)[finite].reshape(np.sum(finite), math.prod(x.shape[2:]))
        for name, x in posterior.data_vars.items()
        if name != posterior.attrs["measured_site"] and np.issubdtype(x.dtype, np.integer)
    ]
    return np.hstack([np.zeros((np.sum(finite), 1), int), *sites])


def _drifts(history, N):
    """Means of F and S over the last quarter of the steps, less those over the quarter before,
    per electron.
    """
    drifts = {}
    for name in ("free_energy", "entropy"):
        x = np.asarray(history.get(name, ()), float) / N
        if len(x) >= FEWEST_STEPS:
            quarter = len(x) // 4
            before, last = (
                mean_of_independent(part[np.isfinite(part)])
                for part in (x[-2 * quarter : -quarter], x[-quarter:])
            )
            drifts[name] = Estimate(last.value - before.value, math.hypot(last.error, before.error), last.ess)
    return drifts


def chain_estimate(x: Float[np.ndarray, "chain draw"]) -> tuple[Estimate, float]:
    """The mean of one scalar over chains of equal length, and its R-hat; nan entries are left out.

    A constant has error 0 and R-hat 1. Chains shorter than 8 draws have R-hat nan, and count as independent
    samples.
    """
    import arviz

    independent = independent_estimate(x)
    if not independent.error > 0:
        return independent, 1.0 if independent.error == 0 else np.nan
    chains = _complete_chains(x.astype(float))
    if chains.shape[1] < 4 or np.ptp(chains) == 0:
        return independent, np.nan
    ess = float(arviz.ess(chains, method="mean")) * independent.ess / chains.size
    error = independent.error * math.sqrt(independent.ess / ess)
    return Estimate(independent.value, error, ess), float(arviz.rhat(chains))


def independent_estimate(x: Float[np.ndarray, "*samples"]) -> Estimate:
    """The mean of independent samples; nan entries are left out. A constant has error 0."""
    values = x[np.isfinite(x)].astype(float)
    if not values.size:
        return Estimate(math.nan, math.nan, 0.0)
    if values.size > 1 and np.ptp(values) <= 8 * np.finfo(x.dtype).eps * np.max(np.abs(values)):
        return Estimate(float(values.mean()), 0.0, float(values.size))
    return mean_of_independent(values)


def _complete_chains(x):
    # R-hat and ESS need at least two chains, of one length: what is left without the nan is cut to the
    # shortest.
    rows = [row[np.isfinite(row)] for row in x]
    rows = [row for row in rows if row.size]
    if len(rows) == 1:
        half = rows[0].size // 2
        rows = [rows[0][:half], rows[0][half : 2 * half]]
    length = min(row.size for row in rows)
    return np.stack([row[:length] for row in rows])
