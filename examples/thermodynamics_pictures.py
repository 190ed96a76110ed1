"""The picture of thermodynamics.py: every quantity against theta, and dS/dn against the density."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from figures import errorbar_beside, save
from shared import exact_rows

from pnct.inference.observables.thermodynamics import Thermodynamics

# power of r_s by which the ideal gas is one line, label, first route
PANELS = {
    "free_energy": (2, r"free energy $r_s^2 F/N$ (hartree)", ""),
    "entropy": (0, r"entropy $S/N$ ($k_B$)", ""),
    "heat_capacity": (0, r"heat capacity $C/N$ ($k_B$)", r"$\partial E/\partial T$"),
    "pressure_virial": (4, r"pressure $r_s^4 P$ (hartree/$a_0^2$)", r"$(2K + V)/2\Omega$"),
    "chemical_potential": (2, r"chemical potential $r_s^2 \mu$ (hartree)", r"$(F + P\Omega)/N$"),
    "bulk_modulus": (
        4,
        r"inverse compressibility $r_s^4/\kappa$ (hartree/$a_0^2$)",
        r"$n\,\partial P/\partial n$",
    ),
}
DS_DN = r"$(\partial (S/\Omega)/\partial n)_T$"
DMU_DT = r"$-(\partial \mu/\partial T)_n$"
EXACT = {"free_energy": "F/N", "entropy": "S_total"}  # columns of the exact values
FIRST = {"fmt": "o-", "ms": 4}
SECOND = {"fmt": "s", "ms": 5, "mfc": "none"}
STAR = {"ms": 11, "mec": "k", "mew": 0.6}
APART = 4.0  # printer's points from the first route to the second: error bars are seen beside each other
SLOPES = "entropy_slope"


def plot(path: Path, args, grid: Thermodynamics, ideal: Thermodynamics, second: dict) -> None:
    """Each panel against theta, one colour per r_s; the last one against the density, one colour per theta.
    All in one figure, and each in one of its own, path_<name>.

    second: the same quantities by a second route, {name: (label, values, errors)}.
    """

    def draw(axis, name):
        if name == SLOPES:
            plot_slopes(axis, grid, ideal)
        else:
            plot_against_theta(axis, args, grid, ideal, second, name)

    names = (*PANELS, SLOPES)
    fig, axes = plt.subplots(2, 4, figsize=(16, 7.5), layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        draw(axis, name)
    axes.flat[-1].set_axis_off()
    axes.flat[-1].legend(**explain(args, grid), loc="center")
    save(fig, path)
    for name in names:
        fig, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
        draw(axis, name)
        fig.legend(**explain(args, grid, name), loc="outside right center", fontsize="small")
        save(fig, path.with_name(f"{path.stem}_{name}{path.suffix}"))


def plot_against_theta(axis, args, grid, ideal, second, name) -> None:
    power, label, route = PANELS[name]
    own = grid._asdict()[name]
    for a, rs in enumerate(grid.rs):
        style = {"color": f"C{a}", "capsize": 2, "lw": 1}
        scale = rs**power
        curve = f"_r_s = {rs:g}, {route or 'this run'}"
        axis.errorbar(grid.theta, scale * own.value[a], scale * own.error[a], **FIRST, **style, label=curve)
        if name in second:
            by, value, error = second[name]
            curve = {"label": f"_r_s = {rs:g}, {by}"} | SECOND | style
            errorbar_beside(axis, APART, grid.theta, scale * value[a], scale * error[a], **curve)
        if name in EXACT:
            theta, value, error = exact_values(args, rs, grid.theta, EXACT[name])
            star = {"fmt": "*", "color": f"C{a}", "label": f"_r_s = {rs:g}, exact"}
            axis.errorbar(theta, scale * value, scale * error, **star, **STAR)
    free = grid.rs[0] ** power * ideal._asdict()[name].value[0]
    axis.plot(grid.theta, free, "k--", lw=0.8, label="_ideal gas")
    axis.set(xlabel=r"temperature $\theta = T/T_F$", ylabel=label)
    axis.set_xticks(grid.theta, [f"{theta:g}" for theta in grid.theta])
    if route:
        axis.errorbar([], [], [], color="0.3", **FIRST, label=route)
        if name in second:
            axis.errorbar([], [], [], color="0.3", **SECOND, label=second[name][0])
        axis.legend(fontsize="small")


def plot_slopes(axis, grid, ideal) -> None:
    """Both sides of the Maxwell relation."""
    sides = (
        (grid.entropy_slope, 0.0, FIRST, DS_DN),
        (grid.chemical_potential_slope, APART, SECOND, DMU_DT),
    )
    for b, theta in enumerate(grid.theta):
        style = {"color": f"C{b + len(grid.rs)}", "capsize": 2, "lw": 1}
        for x, points, marker, side in sides:
            curve = {"label": f"_theta = {theta:g}, {side}"} | marker | style
            errorbar_beside(axis, points, grid.density, x.value[:, b], x.error[:, b], **curve)
        curve = {"color": style["color"], "label": f"_theta = {theta:g}, ideal gas"}
        axis.plot(grid.density, ideal.entropy_slope.value[:, b], "--", lw=0.8, **curve)
    axis.set(xscale="log", xlabel=r"density $n$ ($a_0^{-2}$)", ylabel=r"entropy per electron added ($k_B$)")
    axis.set_xticks(grid.density, [f"{n:.3g}" for n in grid.density])
    axis.minorticks_off()


def explain(args, grid, name: str | None = None) -> dict:
    """Handles and title of the legend: of all panels, or of one."""
    handles = []

    def add(label, style):
        handles.append(plt.Line2D([], [], label=label, **style))

    first, second = {"marker": "o", "ms": 4}, {"marker": "s", "ms": 5, "mfc": "none", "ls": ""}
    for a, rs in enumerate(grid.rs if name != SLOPES else ()):
        add(rf"$r_s$ = {rs:g}", {"color": f"C{a}"} | first)
    if name in (None, SLOPES):
        for b, theta in enumerate(grid.theta):
            add(rf"$\theta$ = {theta:g}", {"color": f"C{b + len(grid.rs)}"} | first)
        add(DS_DN, {"color": "0.3"} | first)
        add(f"{DMU_DT}, equal by Maxwell", {"color": "0.3"} | second)
    add("ideal gas, exact", {"color": "k", "ls": "--", "lw": 0.8})
    known = any(exact_values(args, rs, grid.theta, "F/N")[0].size for rs in grid.rs)
    if known and (name is None or name in EXACT):
        add("exact diagonalisation", {"marker": "*", "ls": "", "color": "0.7"} | STAR)
    title = f"{args.num_up} polarised electrons in 2D,\ntwist {args.twist:g} $\\times\\, 2\\pi/L$"
    return {
        "handles": handles,
        "title": f"{title}.\nSecond routes stand {APART:g} points\nto the right, to be seen.",
    }


def exact_values(args, rs: float, theta, name: str):
    """(theta, values, errors) per electron, hartree and k_B, of exact diagonalisation where there is any."""
    same = {"dim": 2, "n_up": args.num_up, "n_dn": 0, "rs": rs, "twist": args.twist}
    rows = [row for row in exact_rows(args.reference, **same) if float(row["theta"]) in theta and row[name]]
    scale = 1 / args.num_up if name == "S_total" else 0.5  # the file has rydbergs
    columns = (("theta", 1.0), (name, scale), (f"{name}_err", scale))
    return tuple(np.array([factor * float(row[column]) for row in rows]) for column, factor in columns)
