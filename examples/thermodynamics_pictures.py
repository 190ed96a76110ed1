"""The picture of thermodynamics.py: every quantity against theta, and dS/dn against the density."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from shared import exact_rows

from pnct.inference.observables.thermodynamics import Thermodynamics

# name, power of r_s by which the ideal gas is one line, label, first route
PANELS = (
    ("free_energy", 2, r"free energy $r_s^2 F/N$ (hartree)", ""),
    ("entropy", 0, r"entropy $S/N$ ($k_B$)", ""),
    ("heat_capacity", 0, r"heat capacity $C/N$ ($k_B$)", r"$\partial E/\partial T$"),
    ("pressure_virial", 4, r"pressure $r_s^4 P$ (hartree/$a_0^2$)", r"$(2K + V)/2\Omega$"),
    ("chemical_potential", 2, r"chemical potential $r_s^2 \mu$ (hartree)", r"$(F + P\Omega)/N$"),
    (
        "bulk_modulus",
        4,
        r"inverse compressibility $r_s^4/\kappa$ (hartree/$a_0^2$)",
        r"$n\,\partial P/\partial n$",
    ),
)
EXACT = {"free_energy": "F/N", "entropy": "S_total"}  # columns of the exact values
FIRST = {"fmt": "o-", "ms": 4}
SECOND = {"fmt": "s", "ms": 5, "mfc": "none"}
STAR = {"ms": 11, "mec": "k", "mew": 0.6}
SHIFT = 0.02  # of the second route, in units of the width: error bars are seen beside each other


def plot(path: Path, args, grid: Thermodynamics, ideal: Thermodynamics, second: dict) -> None:
    """Each panel against theta, one colour per r_s; the last one against the density, one colour per theta.

    second: the same quantities by a second route, {name: (label, values, errors)}.
    """
    fig, axes = plt.subplots(2, 4, figsize=(16, 7.5), layout="constrained")
    for axis, panel in zip(axes.flat, PANELS, strict=False):
        plot_against_theta(axis, args, grid, ideal, second, panel)
    plot_slopes(axes.flat[len(PANELS)], grid, ideal)
    explain(axes.flat[-1], args, grid)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def plot_against_theta(axis, args, grid, ideal, second, panel) -> None:
    name, power, label, route = panel
    own = grid._asdict()[name]
    for a, rs in enumerate(grid.rs):
        style = {"color": f"C{a}", "capsize": 2, "lw": 1}
        scale = rs**power
        axis.errorbar(grid.theta, scale * own.value[a], scale * own.error[a], **FIRST, **style)
        if name in second:
            _, value, error = second[name]
            beside = grid.theta + SHIFT * np.ptp(grid.theta)
            axis.errorbar(beside, scale * value[a], scale * error[a], **SECOND, **style)
        if name in EXACT:
            theta, value, error = exact_values(args, rs, grid.theta, EXACT[name])
            axis.errorbar(theta, scale * value, scale * error, fmt="*", color=f"C{a}", **STAR)
    axis.plot(grid.theta, grid.rs[0] ** power * ideal._asdict()[name].value[0], "k--", lw=0.8)
    axis.set(xlabel=r"temperature $\theta = T/T_F$", ylabel=label)
    axis.set_xticks(grid.theta, [f"{theta:g}" for theta in grid.theta])
    if route:
        axis.errorbar([], [], [], color="0.3", **FIRST, label=route)
        if name in second:
            axis.errorbar([], [], [], color="0.3", **SECOND, label=second[name][0])
        axis.legend(fontsize="small")


def plot_slopes(axis, grid, ideal) -> None:
    """Both sides of the Maxwell relation."""
    beside = grid.density * (grid.density.max() / grid.density.min()) ** SHIFT
    sides = ((grid.entropy_slope, grid.density, FIRST), (grid.chemical_potential_slope, beside, SECOND))
    for b in range(len(grid.theta)):
        style = {"color": f"C{b + len(grid.rs)}", "capsize": 2, "lw": 1}
        for x, density, marker in sides:
            axis.errorbar(density, x.value[:, b], x.error[:, b], **marker, **style)
        axis.plot(grid.density, ideal.entropy_slope.value[:, b], "--", lw=0.8, color=style["color"])
    axis.set(xscale="log", xlabel=r"density $n$ ($a_0^{-2}$)", ylabel=r"entropy per electron added ($k_B$)")
    axis.set_xticks(grid.density, [f"{n:.3g}" for n in grid.density])
    axis.minorticks_off()


def explain(axis, args, grid) -> None:
    """The legend, in a panel of its own."""
    axis.set_axis_off()
    labels = [rf"$r_s$ = {rs:g}" for rs in grid.rs] + [rf"$\theta$ = {theta:g}" for theta in grid.theta]
    for color, label in enumerate(labels):
        axis.errorbar([], [], [], color=f"C{color}", capsize=2, label=label, **FIRST)
    axis.errorbar([], [], [], color="0.3", **FIRST, label=r"$(\partial (S/\Omega)/\partial n)_T$")
    maxwell = r"$-(\partial \mu/\partial T)_n$, equal by Maxwell"
    axis.errorbar([], [], [], color="0.3", **SECOND, label=maxwell)
    axis.plot([], [], "k--", lw=0.8, label="ideal gas, exact")
    if any(exact_values(args, rs, grid.theta, "F/N")[0].size for rs in grid.rs):
        axis.plot([], [], "*", color="0.7", label="exact diagonalisation", **STAR)
    title = f"{args.num_up} polarised electrons in 2D,\ntwist {args.twist:g} $\\times\\, 2\\pi/L$"
    axis.legend(loc="center", title=f"{title}.\nSecond routes stand a little\nto the right, to be seen.")


def exact_values(args, rs: float, theta, name: str):
    """(theta, values, errors) per electron, hartree and k_B, of exact diagonalisation where there is any."""
    same = {"dim": 2, "n_up": args.num_up, "n_dn": 0, "rs": rs, "twist": args.twist}
    rows = [row for row in exact_rows(args.reference, **same) if float(row["theta"]) in theta and row[name]]
    scale = 1 / args.num_up if name == "S_total" else 0.5  # the file has rydbergs
    columns = (("theta", 1.0), (name, scale), (f"{name}_err", scale))
    return tuple(np.array([factor * float(row[column]) for row in rows]) for column, factor in columns)
