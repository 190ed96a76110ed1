"""The pictures of spectral_function.py: A(k, w) as heat maps, and Z against r_s."""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from figures import save
from matplotlib.colors import LogNorm

from pnct.inference.observables.poles import broadened

POINTS = 400  # energies in the picture


def plot(path: Path, args, gases, results) -> None:
    """A(k, w) E_F against |k|/k_F, one panel for each r_s; orbitals of one |k| are averaged."""
    fig, axes = plt.subplots(
        1, len(gases), figsize=(4.6 * len(gases) + 0.8, 4.4), layout="constrained", squeeze=False
    )
    for axis, gas, result in zip(axes[0], gases, results, strict=True):
        A = result["A"]
        E_F = float(gas.E_F)
        k_F = gas.fermi_wavevector / gas.rs
        mu = result["mu"].value / E_F
        top = np.nanmax(result["dispersion"].energy) / E_F
        rows = np.linspace(mu - 0.4 * (top - mu) - 1, top + 0.5, POINTS + 1)
        w = (rows[1:] + rows[:-1]) / 2
        lines = E_F * broadened(A, w * E_F, args.width * E_F)
        size = np.round(np.linalg.norm(A.wavevectors, axis=1) / k_F, 6)
        shells = np.unique(size)
        image = np.array([lines[size == k].mean(axis=0) for k in shells])
        middle = (shells[1:] + shells[:-1]) / 2
        edges = np.concatenate([[0.0], middle, [shells[-1] + (shells[-1] - middle[-1])]])
        peak = image.max()
        mesh = axis.pcolormesh(
            edges,
            rows,
            np.maximum(image.T, 1e-4 * peak),
            norm=LogNorm(1e-4 * peak, peak),
            cmap="magma",
            rasterized=True,
        )
        axis.axhline(mu, color="w", lw=0.8, ls=":")
        axis.text(edges[-1], mu, r"$\mu$ ", color="w", ha="right", va="bottom")
        fine = np.linspace(0, edges[-1], 100)
        axis.plot(fine, fine**2, "--", color="0.8", lw=0.9, label="free electrons")
        axis.plot(
            size, result["dispersion"].energy / E_F, "o", mfc="none", mec="c", ms=5, label="strongest pole"
        )
        axis.set(
            xlabel=r"$|k|/k_F$",
            ylabel=r"$\omega/E_F$",
            title=f"N = {gas.N}, $r_s$ = {gas.rs:g}, $m^*/m$ = {result['dispersion'].effective_mass}",
            ylim=(rows[0], rows[-1]),
        )
        axis.legend(fontsize="small", loc="upper left", facecolor="0.3", labelcolor="w")
    fig.colorbar(mesh, ax=axes[0], label=r"$A(k, \omega)\,E_F$")
    save(fig, path)


def plot_residues(path: Path, args, gases, residues) -> None:
    """Z against r_s, beside full diagonalisation and published values of infinite unpolarised gases."""
    fig, axis = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
    electrons = f"{gases[0].N} to {gases[0].N + 1} electrons, 2D polarised"
    rs = [gas.rs for gas in gases]
    axis.errorbar(
        rs,
        [Z.value for Z in residues],
        [Z.error for Z in residues],
        fmt="o-",
        capsize=3,
        label=f"{electrons}, trained",
    )
    exact = exact_residues(args.reference, gases[0].N)
    if exact:
        rs, Z, error = np.array(exact).T
        axis.errorbar(
            rs, Z, error, fmt="*", ms=11, mfc="none", mec="k", ecolor="k", label=f"{electrons}, exact"
        )
    for i, (method, rows) in enumerate(published(args.reference).items()):
        rs, Z, error = np.array(rows).T
        axis.errorbar(rs, Z, error, fmt="sD^v"[i % 4], ms=4, lw=1, color="0.55", mfc="w", label=method)
    axis.set(xlabel=r"$r_s$", ylabel=r"residue $Z$", ylim=(0, 1.05))
    axis.legend(fontsize="small")
    save(fig, path)


def exact_residues(folder: Path, N: int) -> list[tuple[float, ...]]:
    """(r_s, Z, error) of N to N + 1 polarised electrons in 2D at twist 1/4."""
    return [
        (float(row["rs_of_N_electrons"]), float(row["value"]), float(row["error"]))
        for row in table(folder / "spectral_function.csv")
        if row["dim"] == "2"
        and row["quantity"].startswith(f"Z({N}->")
        and row["quantity"].endswith(f"cell of {N} electrons")
    ]


def published(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """(r_s, Z, error) of infinite unpolarised gases, by dimension and method; an error of zero is unknown."""
    found = {}
    for row in table(folder / "residue.csv"):
        method = f"{row['dim']}D unpolarised, infinite: {row['method']}"
        found.setdefault(method, []).append((float(row["rs"]), float(row["Z"]), float(row["error"] or 0)))
    return found


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a file; none where it is not there."""
    if not path.is_file():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))
