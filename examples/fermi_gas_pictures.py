"""Pictures of fermi_gas.py: F, E, S and the contact against 1/a, and the distances of opposite spins."""

from pathlib import Path

import numpy as np
from figures import plt, save

QUANTITIES = {
    "free_energy": r"$F/N$ ($\hbar\omega$)",
    "energy": r"$E/N$ ($\hbar\omega$)",
    "entropy": "$S/N$ ($k_B$)",
    "contact": "$C/N$ ($1/l$)",
}
BINS = 40


def plot_crossover(path: Path, trap, runs, published) -> None:
    """published: energies at 1/a = 0 and T = 0, by name."""
    fig, axes = plt.subplots(1, len(QUANTITIES), figsize=(13, 3.4), layout="constrained")
    x = np.array([run["inverse_a"] for run in runs])
    for axis, (name, label) in zip(axes, QUANTITIES.items(), strict=True):
        values, errors = ([run[name][key] for run in runs] for key in ("value", "error"))
        axis.errorbar(x, values, errors, fmt="o", ms=5, label="this run")
        known = [(run["inverse_a"], run["exact"][name]) for run in runs if name in run["exact"]]
        if known:
            axis.plot(*zip(*known, strict=True), "kx", ms=8, label="exact")
        axis.set(xlabel="$l/a$", ylabel=label)
    for k, (name, value) in enumerate(published.items()):
        axes[1].plot(
            0, value, f"C{k + 1}_", ms=14, label=f"{name.replace('_total', '')}, zero range, $T = 0$"
        )
    for axis in axes[:2]:
        axis.legend(fontsize="small")
    fig.suptitle(title(trap), fontsize="medium")
    save(fig, path)


def plot_pairs(path: Path, trap, inverse, samples) -> None:
    """g(r): the density of fermions of one spin at the distance r from one of the other, over r^2 weighted
    and not.
    """
    up = trap.num_electrons[0]
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for x, R in zip(inverse, samples, strict=True):
        R = R[np.all(np.isfinite(R), axis=(1, 2))]
        r = np.linalg.norm(R[:, :up, None] - R[:, None, up:], axis=-1).ravel()
        edges = np.linspace(0, 4, BINS + 1)
        counts = np.histogram(r, edges)[0]
        middle = (edges[1:] + edges[:-1]) / 2
        volume = 4 * np.pi / 3 * np.diff(edges**3)
        label = f"$l/a$ = {x:g}"
        for axis, measure in ((axes[0], volume), (axes[1], np.diff(edges))):
            error = np.sqrt(np.maximum(counts, 1)) / (len(R) * measure)
            seen = counts > 0 if measure is volume else slice(None)  # 0 has no logarithm
            axis.errorbar(middle[seen], (counts / (len(R) * measure))[seen], error[seen], label=label)
    axes[0].set(xlabel="$r$ (oscillator lengths)", ylabel=r"$n_{\uparrow\downarrow}(r)$, pairs per volume")
    axes[0].set_yscale("log")
    axes[1].set(
        xlabel="$r$ (oscillator lengths)", ylabel=r"$4 \pi r^2\,n_{\uparrow\downarrow}(r)$", ylim=(0, None)
    )
    axes[1].legend()
    fig.suptitle(title(trap), fontsize="medium")
    save(fig, path)


def title(trap) -> str:
    up, down = trap.num_electrons
    return rf"{up} up + {down} down, $\beta\hbar\omega$ = {float(trap.beta):g}"
