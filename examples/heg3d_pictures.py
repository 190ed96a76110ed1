"""The pictures of heg3d.py: how a sample is drawn, the training, g(r) and the occupation of the orbitals."""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from figures import save
from matplotlib.collections import LineCollection
from numpyro.handlers import seed, substitute, trace
from shared import UNITS

from pnct import ideal_gas
from pnct.compilation import RUN_ONCE
from pnct.inference.observables.correlations import named_species, occupations, pair_correlation
from pnct.inference.observables.ideal_correlations import canonical_pair_correlation
from pnct.systems.first_order import first_order_bound

COLORS = {"up": "C0", "down": "C1"}
IDEAL = {"up": "_", "down": "|"}  # markers that are told apart where they coincide
SHOWN = 0.005  # the occupation below which the shells of the first picture end
DOT, COLUMNS = 0.04, 4  # between dots, in units of the width; the most of them side by side in a shell


def title(gas) -> str:
    up, down = gas.num_electrons
    return rf"{up} up + {down} down, {gas.dim}D, $r_s$ = {gas.rs:g}, $\theta$ = {gas.theta:g}"


def one_draw(model, params, key, gas):
    """(K, zeta, R) of one walker: the sites of the program, and the flow that its law of R carries."""

    @jax.jit(compiler_options=RUN_ONCE)
    def draw(params, key):
        sites = trace(seed(substitute(model, params), key)).get_trace(gas)
        born, R = sites["R"]["fn"].distribution, sites["R"]["value"]
        return sites["K"]["value"], born.flow(R), R

    return tuple(np.asarray(x) for x in draw(params, key))


def plot_pipeline(path: Path, gas, draws, draw) -> None:
    """The steps of one draw, as `one_draw` returns it: K ~ p(K), zeta ~ |Phi_K|^2, R = T^-1(zeta).

    Electrons are shown without the shift that all of them share, on which |Psi_K|^2 does not depend.
    """
    K, zeta, R = draw
    fig = plt.figure(figsize=(9.6, 3.2), layout="constrained")
    grid = fig.add_gridspec(2, 3, height_ratios=(3, 2), width_ratios=(1.1, 1, 1), wspace=0.1)
    mean = fig.add_subplot(grid[0, 0])
    marks = fig.add_subplot(grid[1, 0], sharex=mean)
    cells = [fig.add_subplot(grid[:, column]) for column in (1, 2)]

    level = plot_occupied(mean, marks, gas, draws, K)
    mean.set_title(r"$K \sim p(K)$")
    mean.tick_params(labelbottom=False)
    marks.set(xlabel=r"orbital energy $k^2/k_F^2$", xlim=(-0.1 * level, 1.1 * level))

    start, step = np.mod(zeta, gas.L), R - zeta
    step = step - gas.L * np.round(step / gas.L)
    end = start + step - np.mean(step, axis=0)
    names = r"$\zeta \sim |\Phi_K|^2$", r"$R = T^{-1}(\zeta) \sim |\Psi_K|^2$"
    for axis, name in zip(cells, names, strict=True):
        axis.set(title=name, xlim=(0, gas.L), ylim=(0, gas.L), aspect="equal", xlabel=r"$x/(r_s a_0)$")
    cells[0].set_ylabel(r"$y/(r_s a_0)$")
    cells[1].set_xlabel(r"$x/(r_s a_0)$, but for a common shift")
    for shift in np.stack(np.meshgrid(*2 * [(-gas.L, 0, gas.L)]), -1).reshape(-1, 2):
        before, after = start[:, :2] + shift, end[:, :2] + shift
        cells[1].add_collection(LineCollection(np.stack([before, after], axis=1), color="k", lw=1, zorder=3))
        for name, electrons in named_species(gas.space):
            color = COLORS[name]
            cells[0].plot(*before[electrons].T, "o", ms=8, mfc="none", mec=color)
            cells[1].plot(*before[electrons].T, "o", ms=8, mfc="none", mec=color, mew=0.6, alpha=0.6)
            cells[1].plot(*after[electrons].T, "o", ms=2.6, color=color, zorder=4)
    for left, right in ((mean, cells[0]), (cells[0], cells[1])):
        arrow = {"arrowstyle": "-|>", "color": "k"}
        # from the end of one title to the beginning of the next, level
        ends = {"xycoords": right.title, "textcoords": (left.title, right.title)}
        right.annotate("", (-0.08, 0.4), (1.08, 0.4), **ends, arrowprops=arrow, annotation_clip=False)
    save(fig, path)


def plot_occupied(mean, marks, gas, draws, K) -> float:
    """The mean occupation of each shell beside the ideal gas, and one K: a dot an orbital, full if occupied.

    Returns the energy up to which shells are shown.
    """
    energies = np.asarray(gas.orbital_energies) / float(gas.E_F)
    shells = gas.shell_index
    ideal = ideal_gas(gas).occupations
    size = np.bincount(shells)
    level = np.bincount(shells, energies) / size
    populated = np.max([np.bincount(shells, n) / size for n in ideal], axis=0) > SHOWN
    last = level[populated].max()
    gap = np.min(np.diff(level[level <= last]), initial=last)
    columns = int(np.clip(gap / (DOT * last) - 1, 1, COLUMNS))
    floor = 0
    for name, electrons in named_species(gas.space):
        spin = ("up", "down").index(name)
        n = occupations(draws.samples[draws.state_site][:, electrons], len(shells)).n
        color = COLORS[name]
        mean.plot(level, np.bincount(shells, n) / size, "o", ms=4, color=color, label=f"{name}, drawn")
        exact = np.bincount(shells, ideal[spin]) / size
        mean.plot(level, exact, IDEAL[name], color="k", ms=9, label=f"{name}, ideal gas")

        place = np.arange(len(shells)) - np.concatenate([[0], np.cumsum(size)[:-1]])[shells]
        row, column = np.divmod(place, columns)
        width = np.minimum(columns, size[shells])
        x = energies + DOT * last * (column - (width - 1) / 2)
        shown = energies <= last + 1e-9
        occupied = np.isin(np.arange(len(shells)), K[electrons])
        marks.plot(x[shown], floor + row[shown], "o", ms=3, mfc="none", mec="0.7", mew=0.6)
        marks.plot(x[shown & occupied], floor + row[shown & occupied], "o", ms=3.4, color=color)
        floor += row[shown].max() + 2
    mean.set(ylabel="occupation", ylim=(-0.04, 1.08))
    mean.legend(fontsize="small", frameon=False)
    marks.set(ylabel="one $K$", yticks=[], ylim=(-1, max(floor - 1, 4)))
    return last


def plot_training(path: Path, gas, history, report, units: str) -> None:
    """F of every step, beside the bound of first order and the evaluation at the end."""
    scale = UNITS[units] / gas.N
    bound = first_order_bound(gas).free_energy * scale
    final = report.free_energy.scaled(UNITS[units])
    steps = np.arange(1, len(history.free_energy) + 1)
    values, errors = history.free_energy * scale, history.free_energy_error * scale
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.errorbar(steps, values, errors, fmt=".", ms=3, lw=0.6, label="each step")
    axis.axhline(bound, color="k", ls="--", lw=1, label=r"first-order bound $F_0 + \langle V\rangle_0$")
    axis.axhspan(final.value - final.error, final.value + final.error, color="C3", alpha=0.3)
    axis.axhline(final.value, color="C3", lw=1, label=f"evaluated at the end: {final}")
    axis.set(xlabel="training step", ylabel=f"free energy per electron ({units})", title=title(gas))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    save(fig, path)


def plot_pair_correlation(path: Path, gas, draws) -> None:
    """g(r) by the spins of the pair, where there are pairs."""
    pairs = pair_correlation(draws.measured, gas.space, bins=30)
    r = np.linspace(0, gas.L / 2, 120)
    ideal = canonical_pair_correlation(gas, r)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    top = 0.0
    for color, name in enumerate(pairs.g):
        found = pairs.g[name] > 0
        if not np.any(found):  # a single electron of this spin
            continue
        g, error = pairs.g[name][found], pairs.error[name][found]
        style = {"fmt": ".", "ms": 4, "lw": 0.8, "color": f"C{color}"}
        axis.errorbar(pairs.r[found], g, error, **style, label=f"{name}, this run")
        axis.plot(r, ideal[name], "--", lw=1, color=f"C{color}", label=f"{name}, ideal gas")
        top = max(top, ideal[name].max(), np.max(g[error < 0.2 * g], initial=0.0))
    axis.set(xlabel=r"distance of two electrons $r/(r_s a_0)$", ylabel=r"pair correlation $g(r)$")
    axis.set(xlim=(0, gas.L / 2), ylim=(0, 1.15 * top if top > 0 else None), title=title(gas))
    axis.legend()
    save(fig, path)


def plot_occupations(path: Path, gas, draws) -> None:
    """The mean occupation of every orbital by its energy and spin, beside the ideal gas."""
    ideal = ideal_gas(gas).occupations
    energies = np.asarray(gas.orbital_energies) / float(gas.E_F)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, electrons in named_species(gas.space):
        n = occupations(draws.samples[draws.state_site][:, electrons], len(gas.orbitals))
        style = {"fmt": ".", "ms": 5, "lw": 0.8, "color": COLORS[name]}
        axis.errorbar(energies, n.n, n.error, **style, label=f"{name}, this run")
        exact = ideal[("up", "down").index(name)]
        axis.plot(energies, exact, IDEAL[name], color="k", ms=9, label=f"{name}, ideal gas")
    axis.set(xlabel=r"orbital energy $k^2/k_F^2$", ylabel="occupation of quasi-particle orbitals")
    axis.set(ylim=(-0.02, 1.05), title=title(gas))
    axis.legend()
    save(fig, path)
