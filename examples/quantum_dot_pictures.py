"""The pictures of quantum_dot.py: densities, seen from one electron too, distances, and F, E and S."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from figures import save
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

PIXELS = 60
CMAP = "magma"
ROTATIONS = 24  # that a density is averaged over: no direction of the dot differs from another
QUANTITIES = {
    "free_energy": r"$F/N$ ($\hbar\omega$)",
    "energy": r"$E/N$ ($\hbar\omega$)",
    "entropy": r"$S/N$ ($k_B$)",
}


def reach(samples) -> float:
    """A distance from the centre that all but one electron in a thousand keep within."""
    return 1.15 * max(float(np.quantile(np.linalg.norm(R, axis=-1), 0.999)) for R in samples)


def density(R, size: float):
    """Electrons per area in the plane, averaged over rotations."""
    points = R.reshape(-1, 2)
    angles = 2 * np.pi * np.arange(ROTATIONS) / ROTATIONS
    turned = [points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in angles]
    return histogram(np.concatenate(turned), size, ROTATIONS * len(R))


def conditional_density(R, size: float):
    """Where the others are, once the plane is turned so that one electron, each in its turn, lies to the
    right.
    """
    z = R[..., 0] + 1j * R[..., 1]
    n = z.shape[1]
    seen = z[:, None, :] * (np.conj(z) / np.abs(z))[:, :, None]
    others = seen[:, ~np.eye(n, dtype=bool)].ravel()
    points = np.stack([others.real, others.imag], axis=-1)
    return histogram(np.concatenate([points, points * [1, -1]]), size, 2 * n * len(R))


def histogram(points, size: float, count: int):
    edges = np.linspace(-size, size, PIXELS + 1)
    return np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])[0].T / (
        count * (edges[1] - edges[0]) ** 2
    )


def panels(samples):
    """The rows of images: (label, images, where the electron from which they are seen is, if from one)."""
    size = reach(samples)
    rows = [("density", [density(R, size) for R in samples], None)]
    if samples[0].shape[1] > 1:
        places = [float(np.median(np.linalg.norm(R, axis=-1))) for R in samples]
        rows.append(("seen from one electron", [conditional_density(R, size) for R in samples], places))
    return size, rows


def show_image(axis, image, size: float):
    extent = (-size, size, -size, size)
    return axis.imshow(image, origin="lower", extent=extent, cmap=CMAP, interpolation="bilinear", vmin=0)


def show_place(axis, place: float):
    """A cross where the electron is, from which the others are seen."""
    return axis.plot([place], [0], "+", color="w", ms=8)[0]


def plot_densities(path: Path, traps, samples) -> None:
    """Each panel from zero to its own maximum."""
    size, rows = panels(samples)
    shape = (len(rows), len(traps))
    figsize = (2.1 * shape[1] + 0.6, 2.2 * shape[0] + 0.2)
    fig, axes = plt.subplots(
        *shape, figsize=figsize, squeeze=False, sharex=True, sharey=True, layout="compressed"
    )
    for axis_row, (label, images, places) in zip(axes, rows, strict=True):
        for k, (axis, image) in enumerate(zip(axis_row, images, strict=True)):
            show_image(axis, image, size).set_label(f"{label}, {coupling(traps[k])}")
            if places is not None:
                show_place(axis, places[k])
        axis_row[0].set_ylabel(f"{label}\n$y$")
    for axis, trap in zip(axes[0], traps, strict=True):
        axis.set_title(coupling(trap))
    fig.supxlabel("$x$ (oscillator lengths)", fontsize="medium")
    colors = ScalarMappable(Normalize(0, 1), CMAP)
    fig.colorbar(colors, ax=axes, label="electrons per area, over its maximum in the panel", shrink=0.8)
    save(fig, path, dpi=200)


def animate_density(path: Path, traps, samples, frames_between: int = 6) -> None:
    """The images of one coupling fading into those of the next."""
    size, rows = panels(samples)
    fig, axes = plt.subplots(
        1, len(rows), figsize=(3.4 * len(rows), 3.8), squeeze=False, sharey=True, layout="constrained"
    )
    shown = []
    for axis, (label, images, places) in zip(axes[0], rows, strict=True):
        shown.append(
            (show_image(axis, images[0], size), images, places and show_place(axis, places[0]), places)
        )
        axis.set(xlabel="$x$ (oscillator lengths)", title=label)
    axes[0, 0].set_ylabel("$y$")

    def show(frame):
        k, part = divmod(frame, frames_between)
        after = min(k + 1, len(traps) - 1)
        part = part / frames_between

        def between(values):
            return values[k] + (values[after] - values[k]) * part

        for artist, images, cross, places in shown:
            artist.set_data(between(images))
            artist.set_clim(0, between(images).max())
            if cross is not None:
                cross.set_xdata([between(places)])
        fig.suptitle(rf"$\lambda$ = {between([float(trap.coupling) for trap in traps]):.2g}")

    frames = frames_between * (len(traps) - 1) + 1
    FuncAnimation(fig, show, frames=frames).save(path, writer=PillowWriter(fps=6), dpi=100)
    plt.close(fig)


def plot_distances(path: Path, traps, samples) -> None:
    if samples[0].shape[1] < 2:
        return
    i, j = np.triu_indices(samples[0].shape[1], 1)
    distances = [np.linalg.norm(R[:, i] - R[:, j], axis=-1).ravel() for R in samples]
    bins = int(np.clip(np.sqrt(distances[0].size) / 2, 10, 40))
    edges = np.linspace(0, 1.05 * max(float(np.quantile(d, 0.9995)) for d in distances), bins + 1)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for color, (trap, d) in enumerate(zip(traps, distances, strict=True)):
        counts = np.histogram(d, edges)[0] / (d.size * np.diff(edges))
        axis.plot(
            (edges[1:] + edges[:-1]) / 2,
            counts,
            color=f"C{color}",
            label=coupling(trap),
        )
    axis.set(
        xlabel="distance of two electrons (oscillator lengths)",
        ylabel="probability density",
        xlim=(0, None),
        ylim=(0, None),
    )
    axis.set_title(title(traps[0]), fontsize="medium")
    axis.legend()
    save(fig, path)


def plot_thermodynamics(path: Path, traps, runs) -> None:
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    x = np.array([run["coupling"] for run in runs])
    for axis, (name, label) in zip(axes, QUANTITIES.items(), strict=True):
        axis.errorbar(
            x,
            [r[name]["value"] for r in runs],
            [r[name]["error"] for r in runs],
            fmt="o",
            ms=5,
            label="this run",
        )
        known = [(r["coupling"], r["exact"][name]) for r in runs if name in r["exact"]]
        if known:
            axis.plot(*zip(*known, strict=True), "kx", ms=8, label="exact")
        axis.set(xscale="log" if x[0] > 0 else "linear", xlabel=r"coupling $\lambda$", ylabel=label)
        axis.set_xticks(x, [f"{value:g}" for value in x], minor=False)
        axis.minorticks_off()
    axes[0].legend()
    fig.suptitle(title(traps[0]), fontsize="medium")
    save(fig, path)


def coupling(trap) -> str:
    return rf"$\lambda$ = {float(trap.coupling):g}"


def title(trap) -> str:
    up, down = trap.num_electrons
    return rf"{up} up + {down} down, $\beta\hbar\omega$ = {float(trap.beta):g}"
