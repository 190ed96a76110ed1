"""Electrons in a two-dimensional quantum dot, from the shells of free electrons to the Wigner molecule as the
coupling grows.

Trains the density matrix of models/quantum_dot.py from coupling to coupling, each from the one before, and
shows the density, the density seen from one of the electrons, the distances of pairs, and F, E and S beside
reference values where there are any.
"""

import argparse
import csv
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-3 are the result.
jax.config.update("jax_enable_x64", True)

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from shared import (
    REFERENCE,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    estimates,
    output_directory,
    write_json,
)

from pnct import HarmonicTrap, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.workflows.sweep import sweep
from pnct.models import quantum_dot

SYMBOLS = {"free_energy": "F", "energy": "E", "entropy": "S"}
PIXELS = 60
ROTATIONS = 24  # that a density is averaged over: no direction of the dot differs from another
QUANTITIES = {
    "free_energy": r"$F/N$ ($\hbar\omega$)",
    "energy": r"$E/N$ ($\hbar\omega$)",
    "entropy": r"$S/N$ ($k_B$)",
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=3, help="electrons with spin up")
    parser.add_argument("--num-down", type=int, default=0, help="electrons with spin down")
    parser.add_argument(
        "--coupling", type=float, nargs="+", default=[0.5, 1.0, 2.0, 4.0, 8.0], help="lambda, of V = lambda/r"
    )
    parser.add_argument("--beta", type=float, default=10.0, help="hbar omega/T")
    parser.add_argument("--steps", type=int, default=60, help="training steps at the first coupling")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other coupling")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE / "quantum_dot.csv",
        help="table of exact values, used where it exists",
    )
    directory_flags(parser, "out/quantum_dot")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    try:
        traps = [HarmonicTrap((args.num_up, args.num_down), c, args.beta) for c in sorted(set(args.coupling))]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)

    settings = {
        "num_steps": args.steps,
        "warm_steps": args.warm_steps,
        "num_samples": args.samples,
        "num_walkers": args.walkers,
    }
    settings |= {"checkpoint": out / "training", "rounds": 1}
    optim = natural_gradient(
        damping=0.1 if args.beta <= 1 else None
    )  # the more states there are, the more noise
    runs = []
    samples = []
    with ended_in_one_line(parser):
        for trap, _, history, draws in sweep(
            jax.random.key(args.seed), quantum_dot, traps, optim, **settings
        ):
            idata = to_arviz(draws, history)
            idata.to_netcdf(str(out / f"draws_lambda{float(trap.coupling):g}.nc"), engine="h5netcdf")
            report = diagnose(idata)
            R = np.asarray(draws.measured)
            samples.append(R[np.all(np.isfinite(R), axis=(1, 2))])
            exact = exact_values(args.reference, trap)
            runs.append({"coupling": float(trap.coupling)} | estimates(report) | {"exact": exact})
            print(line(trap, report, exact), flush=True)

    ideal = ideal_gas(traps[0])
    F, E = (x / traps[0].N for x in (ideal.free_energy, ideal.energy))
    print(f"without interaction: F {F:.5f}  E {E:.5f} hbar omega")
    write_json(out / "result.json", args, {"runs": runs, "energy_unit": "hbar omega", "per": "electron"})
    plot_densities(out / "density.png", traps, samples)
    animate_density(out / "density.gif", traps, samples)
    plot_distances(out / "distances.png", traps, samples)
    plot_thermodynamics(out / "thermodynamics.png", traps, runs)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def exact_values(path: Path, trap) -> dict[str, float]:
    """F, E and S per electron from the table, as far as it has them; S = beta (E - F) where it has these two
    alone.
    """
    if not path.is_file():
        return {}
    key = (float(trap.coupling), *trap.num_electrons, f"beta={float(trap.beta):g}")
    names = {f"{symbol}_total": name for name, symbol in SYMBOLS.items()}
    with open(path) as file:
        rows = [r for r in csv.DictReader(file) if r["quantity"] in names]

    def row_key(r):
        return (float(r["lambda"]), int(r["n_up"]), int(r["n_dn"]), r["inverse_temperature"])

    values = {names[r["quantity"]]: float(r["value"]) / trap.N for r in rows if row_key(r) == key}
    if values.keys() == {"free_energy", "energy"}:
        values["entropy"] = float(trap.beta) * (values["energy"] - values["free_energy"])
    return values


def line(trap, report, exact) -> str:
    parts = [f"lambda = {float(trap.coupling):<4g} per electron (hbar omega, k_B):"]
    for name, symbol in SYMBOLS.items():
        beside = f" (exact {exact[name]:.5f})" if name in exact else ""
        parts.append(f"{symbol} {getattr(report, name)}{beside}")
    return "  ".join(parts) + f"\n    {report.verdict}"


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
    return axis.imshow(image, origin="lower", extent=extent, cmap="magma", interpolation="bilinear", vmin=0)


def show_place(axis, place: float):
    """A cross where the electron is, from which the others are seen."""
    return axis.plot([place], [0], "+", color="w", ms=8)[0]


def plot_densities(path: Path, traps, samples) -> None:
    """Each panel from zero to its own maximum."""
    size, rows = panels(samples)
    shape = (len(rows), len(traps))
    figsize = (2.1 * shape[1] + 0.6, 2.2 * shape[0] + 0.2)
    fig, axes = plt.subplots(
        *shape, figsize=figsize, squeeze=False, sharex=True, sharey=True, layout="constrained"
    )
    for axis_row, (label, images, places) in zip(axes, rows, strict=True):
        for k, (axis, image) in enumerate(zip(axis_row, images, strict=True)):
            show_image(axis, image, size)
            if places is not None:
                show_place(axis, places[k])
        axis_row[0].set_ylabel(f"{label}\n$y$")
    for axis, trap in zip(axes[0], traps, strict=True):
        axis.set_title(rf"$\lambda$ = {float(trap.coupling):g}")
    fig.supxlabel("$x$ (oscillator lengths)", fontsize="medium")
    fig.savefig(path, dpi=200)
    plt.close(fig)


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
    edges = np.linspace(0, 1.05 * max(float(np.quantile(d, 0.9995)) for d in distances), 41)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for color, (trap, d) in enumerate(zip(traps, distances, strict=True)):
        counts = np.histogram(d, edges)[0] / (d.size * np.diff(edges))
        axis.plot(
            (edges[1:] + edges[:-1]) / 2,
            counts,
            color=f"C{color}",
            label=rf"$\lambda$ = {float(trap.coupling):g}",
        )
    axis.set(
        xlabel="distance of two electrons (oscillator lengths)",
        ylabel="probability density",
        xlim=(0, None),
        ylim=(0, None),
    )
    axis.set_title(title(traps[0]), fontsize="medium")
    axis.legend()
    fig.savefig(path, dpi=150)
    plt.close(fig)


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
    fig.savefig(path, dpi=150)
    plt.close(fig)


def title(trap) -> str:
    up, down = trap.num_electrons
    return rf"{up} up + {down} down, $\beta\hbar\omega$ = {float(trap.beta):g}"


if __name__ == "__main__":
    main()
