"""Pictures of hydrogen: pair correlations, thermodynamics against temperature, one draw."""

from pathlib import Path

import numpy as np
from figures import plt, save

QUANTITIES = {
    "free_energy": "F/N (hartree)",
    "energy": "E/N (hartree)",
    "entropy": "S/N (k_B)",
    "pressure_GPa": "P (GPa)",
}
PAIRS = {"p-p": "g_pp(r)", "e-p": "g_ep(r)", "e-e": "g_ee(r)"}


def plot_correlations(path: Path, plasmas, structure) -> None:
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for axis, (pair, label) in zip(axes, PAIRS.items(), strict=True):
        for plasma, found in zip(plasmas, structure, strict=True):
            if pair not in found.g or not np.any(found.g[pair]):
                continue
            g, error = found.g[pair], found.error[pair]
            counted = error < np.maximum(g, 1) / 2  # the innermost bins hold hardly a pair
            r = plasma.rs * found.r
            axis.errorbar(r[counted], g[counted], error[counted], lw=1, label=temperature(plasma))
        axis.axhline(1, color="0.7", lw=0.8, zorder=0)
        axis.set(xlabel="r (bohr)", ylabel=label, xlim=(0, None))
    axes[0].set_ylim(0, None)
    axes[1].legend()
    save(fig, path)


def plot_thermodynamics(path: Path, runs) -> None:
    fig, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    x = [run["kelvin"] for run in runs]
    for axis, (name, label) in zip(axes, QUANTITIES.items(), strict=True):
        axis.errorbar(
            x, [r[name]["value"] for r in runs], [r[name]["error"] for r in runs], fmt="o", label="this run"
        )
        known = [(r["kelvin"], r["beside"][name]) for r in runs if name in r["beside"]]
        if known:
            axis.plot(*zip(*known, strict=True), "kx-", lw=0.8, label=runs[0]["beside"]["of"])
        axis.set(xscale="log", xlabel="T (1000 K)", ylabel=label)
        axis.set_xticks(x, [f"{kelvin / 1000:g}" for kelvin in x])
        axis.minorticks_off()
    axes[0].legend()
    save(fig, path)


def plot_draw(path: Path, plasma, draws) -> None:
    """The first draw, seen along z: protons, electrons of both spins; the further away, the fainter."""
    fig, axis = plt.subplots(figsize=(5.8, 4), layout="constrained")
    L = plasma.rs * plasma.L
    up, down = plasma.num_electrons
    R = plasma.rs * np.asarray(draws.measured)[0]
    groups = {"protons": (plasma.rs * np.asarray(draws.samples["X"])[0], "tab:red", 90)}
    if up + down:
        groups["electrons up"] = (R[:up], "tab:blue", 30)
        groups["electrons down"] = (R[up:], "tab:cyan", 30)
    for label, (places, colour, size) in groups.items():
        places = places % L
        if len(places):
            depth = 0.35 + 0.65 * places[:, 2] / L
            axis.scatter(places[:, 0], places[:, 1], s=size, c=colour, alpha=depth, label=label)
    axis.set(xlim=(0, L), ylim=(0, L), xlabel="x (bohr)", ylabel="y (bohr)", aspect="equal")
    axis.set_title(temperature(plasma), fontsize="medium")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")  # beside what it would cover
    save(fig, path)


def temperature(plasma) -> str:
    return f"T = {float(plasma.temperature):.3g} hartree"
