"""The pictures of heg2d.py: m*/m against r_s and against 1/N beside published values, and g(r) and S(k)."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from figures import errorbar_beside, save
from shared import exact_rows

from pnct import ElectronGas, Estimate, ideal_gas
from pnct.inference.observables.correlations import pair_correlation, structure_factor
from pnct.inference.observables.finite_size import against_size
from pnct.inference.observables.ideal_correlations import (
    canonical_pair_correlation,
    canonical_structure_factor,
)

APART = 3.0  # printer's points between curves of one r_s
ROUTES = {
    "entropy": r"$s/s_0$",
    "canonical": "ideal electrons of this $S$",
    "levels": "learned levels",
    "quasi_particles": "Landau functional",
    "particle_holes": "particle-hole states",
}
SHOWN_K = 3.0  # in units of k_F: the wave vectors of S(k)


def plot_effective_mass(path: Path, args, rows) -> None:
    """The routes of this run, and the published values, grey and black; with several N a second panel
    against 1/N.
    """
    numbers = sorted({row["num_electrons"] for row in rows})
    fig, axes = plt.subplots(
        1,
        1 + (len(numbers) > 1),
        figsize=(10 + 4 * (len(numbers) > 1), 5),
        layout="constrained",
        squeeze=False,
    )
    axis = axes[0, 0]
    if len(numbers) > 1:
        plot_against_size(axes[0, 1], rows)
    curves = [*own_points(rows, numbers), *reference_points(args.reference, numbers, args)]
    for name, shift, (rs, mass, error), style in curves:
        look = {"lw": 0.8, "ms": 5, "capsize": 2} | style
        errorbar_beside(axis, APART * shift, rs, mass, error, label=name, **look)
    axis.axhline(1, color="k", lw=0.6)
    axis.set(xscale="log", xlabel=r"density parameter $r_s$", ylabel=r"effective mass $m^*/m$")
    axis.set_xticks(apart(np.concatenate([points[0] for _, _, points, _ in curves])))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    boundary = rf"twist = {args.twist:g} $\times 2\pi/L$"
    boundary = f"{args.twists} x {args.twists} twists" if args.twists else boundary
    axis.set_title(rf"2D, polarised, $\theta$ = {args.theta:g}, {boundary}", fontsize="medium")
    caption = f"Points of one $r_s$ stand side by side,\n{APART:g} pt apart, to be seen."
    legend = fig.legend(
        *axis.get_legend_handles_labels(),
        loc="outside right upper",
        fontsize="small",
        title=caption,
        title_fontsize="small",
    )
    legend.set_alignment("left")
    save(fig, path)


def plot_against_size(axis, rows) -> None:
    """m*/m from the entropy and of ideal electrons with this entropy against 1/N, a colour for each r_s, with
    a straight line where there are two points or more.
    """
    for i, rs in enumerate(sorted({row["rs"] for row in rows})):
        for route, marker, line in (("entropy", "o", "-"), ("canonical", "P", "--")):
            same = [row for row in rows if row["rs"] == rs and route in row["effective_mass"]]
            if not same:
                continue
            numbers = np.array([row["num_electrons"] for row in same])
            masses = [Estimate(**row["effective_mass"][route], ess=np.nan) for row in same]
            label = rf"$r_s$ = {rs:g}, {ROUTES[route]}"
            if len(set(numbers)) > 1:
                limit, slope = against_size(numbers, masses)
                x = np.linspace(0, 1 / numbers.min(), 2)
                axis.plot(x, limit.value + slope.value * x, line, color=f"C{i}", lw=0.8)
                label += f": {limit}"
            value, error = np.array([(m.value, m.error) for m in masses]).T
            axis.errorbar(
                1 / numbers, value, error, fmt=marker, color=f"C{i}", lw=0.8, ms=5, capsize=2, label=label
            )
    axis.axhline(1, color="k", lw=0.6)
    axis.set(xlabel="1/N", ylabel=r"$m^*/m$")
    axis.set_xlim(left=0)
    axis.legend(fontsize="x-small", title=r"and $N \to \infty$", title_fontsize="x-small")


def apart(values, factor: float = 1.15) -> list[float]:
    """Those of the values, ascending, that are this far from the one before: ticks that can be read."""
    kept = []
    for x in np.unique(values):
        if not kept or x > factor * kept[-1]:
            kept.append(float(x))
    return kept


def own_points(rows, numbers):
    """(name, shift, (rs, m*/m, error), style) of the routes of this run."""
    for color, N in enumerate(numbers):
        for i, ((route, label), marker) in enumerate(zip(ROUTES.items(), "oP^sD", strict=True)):
            points = [
                (r["rs"], *r["effective_mass"][route].values())
                for r in rows
                if r["num_electrons"] == N and route in r["effective_mass"]
            ]
            if points:
                style = {"fmt": marker, "color": f"C{color}", "lw": 1}
                style |= {"ls": "-"} if route in ("entropy", "canonical") else {"ls": ":", "mfc": "none"}
                yield f"N = {N}, {label}", 2 * i - 3 + color, np.array(points).T, style


def reference_points(folder: Path, numbers, args):
    """The same of published values of the polarised gas, and of exact diagonalisation where there is any."""
    if not folder.is_dir():
        print(f"No published values at {folder}: the plot shows this run alone.")
        return

    def read(name):
        return list(csv.DictReader((folder / name).open()))

    def number(rows, *columns):
        return np.array([[float(row[c] or "nan") for row in rows] for c in columns])

    methods = [
        row for row in read("effective_mass.csv") if row["dim"] == "2" and "fully polarised" in row["method"]
    ]
    for i, method in enumerate(dict.fromkeys(row["method"] for row in methods)):
        points = number([row for row in methods if row["method"] == method], "rs", "m_star_over_m", "error")
        name = (
            method.removesuffix(", fully polarised")
            .replace("URL given is also ", "")
            .replace("plotted as", "curve of its")
        )
        yield name, 1.5 * i - 2, points, {"fmt": "v<>P"[i % 4], "color": "0.55", "mfc": "none"}

    published = [row for row in read("published_2d_gas.csv") if row["quantity"].startswith("m*/m")]
    sizes = dict.fromkeys(row["num_electrons_polarised"] for row in published)
    for i, (N, marker) in enumerate(zip(sizes, "xd+", strict=False)):
        same = [row for row in published if row["num_electrons_polarised"] == N]
        name = f"N = {N}, $s/s_0$, Xie, Zhang, Wang (2023)"
        yield name, 1.5 * i - 1, number(same, "rs", "value", "error"), {"fmt": marker, "color": "k"}

    for color, N in enumerate(() if args.twists else numbers):
        same = {"dim": 2, "n_up": N, "n_dn": 0, "theta": args.theta, "twist": args.twist}
        exact = [row for row in exact_rows(folder, **same) if row["S_total"]]
        if exact:
            s0 = ideal_gas(ElectronGas((N, 0), 2, 1.0, args.theta, args.twist)).entropy
            points = number(exact, "rs", "S_total", "S_total_err") / np.array([[1.0], [s0], [s0]])
            style = {"fmt": "*--", "color": f"C{color}", "mec": "k", "mew": 0.5}
            yield f"N = {N}, $s/s_0$, exact diagonalisation", 0, points, style


def plot_correlations(path: Path, gases: list, draws: list) -> None:
    """g(r) and S(k) of one number of electrons at each r_s, beside the ideal gas of the same cell."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    gas = gases[0]
    r = np.linspace(0, gas.L / 2, 120)
    q = wave_vectors(gas)
    k = np.linalg.norm(q, axis=1) / gas.fermi_wavevector
    shells, shell = np.unique(np.round(k, 9), return_inverse=True)

    def by_length(x):
        return np.bincount(shell, x) / np.bincount(shell)

    left.plot(r, canonical_pair_correlation(gas, r)["up-up"], "k--", lw=1, label="ideal gas")
    right.plot(shells, by_length(canonical_structure_factor(gas, q).S), "k--", lw=1, label="ideal gas")
    for i, (gas, some) in enumerate(zip(gases, draws, strict=True)):
        look = {"fmt": "o-", "ms": 3, "lw": 0.8, "color": f"C{i}", "label": rf"$r_s$ = {gas.rs:g}"}
        pairs = pair_correlation(some.measured, gas.space, bins=30)
        seen = pairs.g["up-up"] > 0
        left.errorbar(pairs.r[seen], pairs.g["up-up"][seen], pairs.error["up-up"][seen], **look)
        S = structure_factor(some.measured, gas.space, q)
        right.errorbar(shells, by_length(S.S), by_length(S.error), **look)
    left.set(xlabel=r"distance of two electrons $r/(r_s a_0)$", ylabel=r"pair correlation $g(r)$")
    left.set(xlim=(0, gas.L / 2), ylim=(0, None))
    right.set(
        xlabel=r"wave vector $k/k_F$", ylabel=r"structure factor $S(k)$", xlim=(0, None), ylim=(0, None)
    )
    fig.suptitle(
        rf"N = {gas.N}, 2D, polarised, $\theta$ = {gas.theta:g}, twist = {gas.twist[0]:g} $\times 2\pi/L$",
        fontsize="medium",
    )
    left.legend(fontsize="small")
    save(fig, path)


def wave_vectors(gas):
    """Those of the cell up to SHOWN_K k_F, one of k and -k, which have the same S."""
    step = 2 * np.pi / gas.L
    most = int(SHOWN_K * gas.fermi_wavevector / step)
    n = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    upper = (n[:, 0] > 0) | ((n[:, 0] == 0) & (n[:, 1] > 0))
    return step * n[upper & (np.linalg.norm(step * n, axis=1) <= SHOWN_K * gas.fermi_wavevector)]
