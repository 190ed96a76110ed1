"""The pictures of spin_circuit.py: thermodynamics and correlations beside exact values, levels of states."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from figures import save

PANELS = {
    "free_energy": "free energy F/N (J)",
    "energy": "energy E/N (J)",
    "entropy": "entropy S/N ($k_B$)",
    "heat_capacity": "heat capacity C/N ($k_B$)",
    "magnetisation X": r"$\langle X\rangle$ per site",
    "magnetisation Z": r"$\langle Z\rangle$ per site",
}
DOT = {"fmt": "o", "ms": 6, "mfc": "none", "capsize": 2}
EXACT = {"ls": "", "marker": "_", "ms": 20, "mew": 1.5, "zorder": 3}  # over the circles
LEGEND = "circles: this run; bars: exact diagonalisation"


def plot_thermodynamics(path: Path, runs: list[dict]) -> None:
    """Every quantity against T, one colour per field; bars are exact."""
    fig, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for axis, (name, label) in zip(axes.flat, PANELS.items(), strict=True):
        for c, (field, row) in enumerate(by_field(runs).items()):
            T = [1 / run["beta"] for run in row]
            value, error = ([run[name][kind] for run in row] for kind in ("value", "error"))
            axis.errorbar(T, value, error, color=f"C{c}", label=f"field {field:g}", **DOT)
            exact = [run["exact"].get(name, np.nan) for run in row]
            axis.plot(T, exact, color=f"C{c}", **EXACT)
        axis.set_xlabel("T (J)")
        axis.margins(x=0.1)
        axis.set_ylabel(label)
    axes.flat[0].legend(frameon=False)
    fig.suptitle(LEGEND)
    save(fig, path)


def plot_correlations(path: Path, runs: list[dict]) -> None:
    """<Z_i Z_j> against the number of bonds between the sites, one panel per temperature."""
    betas = sorted({run["beta"] for run in runs})
    fig, axes = plt.subplots(1, len(betas), figsize=(4 * len(betas), 3.6), sharey=True, layout="constrained")
    for axis, beta in zip(np.atleast_1d(axes), betas, strict=True):
        for c, (field, row) in enumerate(by_field(runs).items()):
            run = next(run for run in row if run["beta"] == beta)
            names = sorted(name for name in run if name.startswith("ZZ "))
            d = [int(name.split()[1]) for name in names]
            value, error = ([run[name][kind] for name in names] for kind in ("value", "error"))
            axis.errorbar(d, value, error, color=f"C{c}", label=f"field {field:g}", **DOT)
            axis.plot(d, [run["exact"].get(name, np.nan) for name in names], color=f"C{c}", **EXACT)
        axis.set(title=f"T = {1 / beta:.3g} J", xlabel="bonds apart", xticks=d)
        axis.set_xlim(0.5, max(d) + 0.5)
    np.atleast_1d(axes)[0].set_ylabel(r"$\langle Z_i Z_j\rangle$")
    np.atleast_1d(axes)[0].legend(frameon=False)
    fig.suptitle(LEGEND)
    save(fig, path)


def plot_spectrum(path: Path, runs: list[dict]) -> None:
    """Energies of the most likely states beside the exact levels, at the lowest temperature."""
    beta = max(run["beta"] for run in runs)
    rows = [run for run in runs if run["beta"] == beta]
    fig, axis = plt.subplots(figsize=(1.8 * len(rows) + 2, 4.5), layout="constrained")
    for place, run in enumerate(rows):
        energies = np.array([e["value"] for e in run["energies"]])
        errors = [e["error"] for e in run["energies"]]
        x = place + np.linspace(-0.3, 0.3, len(energies))
        axis.errorbar(
            x,
            energies,
            errors,
            color="C0",
            label="states K, the likeliest first" if place == 0 else None,
            **DOT,
        )
        levels = np.array(run["exact"].get("levels", []))
        levels = levels[levels < energies.max() + 0.5]
        axis.hlines(
            levels, place - 0.4, place + 0.4, color="k", lw=0.8, label="exact levels" if place == 0 else None
        )
    axis.set_xticks(range(len(rows)), [f"field {run['field']:g}" for run in rows])
    axis.set_ylabel("energy (J)")
    axis.set_title(f"trained at T = {1 / beta:.3g} J")
    axis.legend(frameon=False)
    save(fig, path)


def by_field(runs: list[dict]) -> dict[float, list[dict]]:
    """The runs of each field, in the order of temperature."""
    return {
        field: sorted((run for run in runs if run["field"] == field), key=_beta)
        for field in sorted({run["field"] for run in runs})
    }


def _beta(run: dict) -> float:
    return run["beta"]
