"""Electrons in a two-dimensional quantum dot, from the shells of free electrons to the Wigner molecule as the coupling grows.

Trains the density matrix of models/quantum_dot.py from coupling to coupling, each from the one before, and shows the density, the
density seen from one of the electrons, the distances of pairs, and F, E and S beside reference values where there are any.
"""

import argparse
import csv
import os
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and energy differences of 1e-3 are the result.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", os.cpu_count())  # walkers are spread over these

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from shared import check_whole_numbers, directory_flags, ended_in_one_line, estimates, output_directory, write_json

from pnct import HarmonicTrap, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.sweep import sweep
from pnct.models import quantum_dot

SYMBOLS = {"free_energy": "F", "energy": "E", "entropy": "S"}
PIXELS = 60
ROTATIONS = 12  # that a density is averaged over: no direction of the dot differs from another


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--num-up", type=int, default=3, help="electrons with spin up")
    parser.add_argument("--num-down", type=int, default=0, help="electrons with spin down")
    parser.add_argument("--coupling", type=float, nargs="+", default=[0.5, 1.0, 2.0, 4.0, 8.0], help="lambda, of V = lambda/r")
    parser.add_argument("--beta", type=float, default=10.0, help="hbar omega/T")
    parser.add_argument("--steps", type=int, default=60, help="training steps at the first coupling")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other coupling")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
    parser.add_argument("--seed", type=int, default=0, help="random seed; the same seed gives the same numbers")
    reference = Path(__file__).parents[2] / "shared" / "reference" / "quantum_dot.csv"
    parser.add_argument("--reference", type=Path, default=reference, help="table of exact values, used where it exists")
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

    settings = {"num_steps": args.steps, "warm_steps": args.warm_steps, "num_samples": args.samples, "num_walkers": args.walkers}
    settings["checkpoint"] = out / "training"
    runs, samples = [], []
    with ended_in_one_line(parser):
        for trap, _, history, draws in sweep(jax.random.key(args.seed), quantum_dot, traps, natural_gradient(), **settings):
            report = diagnose(to_arviz(draws, history))
            R = np.asarray(draws.samples[draws.born_site])
            samples.append(R[np.all(np.isfinite(R), axis=(1, 2))])
            exact = exact_values(args.reference, trap)
            runs.append({"coupling": float(trap.coupling)} | estimates(report) | {"exact": exact})
            print(line(trap, report, exact), flush=True)

    ideal = ideal_gas(traps[0])
    print(f"without interaction: F {ideal.free_energy / traps[0].N:.5f}  E {ideal.energy / traps[0].N:.5f} hbar omega")
    write_json(out / "result.json", args, {"runs": runs, "energy_unit": "hbar omega", "per": "electron"})
    plot_densities(out / "density.png", traps, samples)
    animate_density(out / "density.gif", traps, samples)
    plot_distances(out / "distances.png", traps, samples)
    plot_thermodynamics(out / "thermodynamics.png", traps, runs)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def exact_values(path: Path, trap) -> dict[str, float]:
    """F, E and S per electron from the table, as far as it has them."""
    if not path.is_file():
        return {}
    key = (float(trap.coupling), *trap.num_electrons, f"beta={float(trap.beta):g}")
    names = {f"{symbol}_total": name for name, symbol in SYMBOLS.items()}
    with open(path) as file:
        rows = [r for r in csv.DictReader(file) if r["quantity"] in names]
    row_key = lambda r: (float(r["lambda"]), int(r["n_up"]), int(r["n_dn"]), r["inverse_temperature"])  # noqa: E731
    return {names[r["quantity"]]: float(r["value"]) / trap.N for r in rows if row_key(r) == key}


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
    """Where the others are, once the plane is turned so that one electron, each in its turn, lies to the right."""
    z = R[..., 0] + 1j * R[..., 1]
    n = z.shape[1]
    seen = z[:, None, :] * (np.conj(z) / np.abs(z))[:, :, None]
    others = seen[:, ~np.eye(n, dtype=bool)].ravel()
    points = np.stack([others.real, others.imag], axis=-1)
    return histogram(np.concatenate([points, points * [1, -1]]), size, 2 * n * len(R))


def histogram(points, size: float, count: int):
    edges = np.linspace(-size, size, PIXELS + 1)
    return np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])[0].T / (count * (edges[1] - edges[0]) ** 2)


def panels(samples):
    """The rows of images: the density, and with two electrons or more that seen from one of them."""
    size = reach(samples)
    rows = [("density", [density(R, size) for R in samples])]
    if samples[0].shape[1] > 1:
        rows.append(("seen from one electron", [conditional_density(R, size) for R in samples]))
    return size, rows


def plot_densities(path: Path, traps, samples) -> None:
    size, rows = panels(samples)
    shape = (len(rows), len(traps))
    fig, axes = plt.subplots(*shape, figsize=(2.6 * shape[1] + 0.6, 2.7 * shape[0]), squeeze=False, layout="constrained")
    for axis_row, (label, images) in zip(axes, rows, strict=True):
        for axis, trap, image in zip(axis_row, traps, images, strict=True):
            axis.imshow(image, origin="lower", extent=(-size, size, -size, size), cmap="magma")
            axis.set_title(rf"$\lambda$ = {float(trap.coupling):g}" if axis in axes[0] else "")
        axis_row[0].set_ylabel(label)
    for axis in axes[-1]:
        axis.set_xlabel(r"$x$ (oscillator lengths)")
    fig.savefig(path, dpi=130)
    plt.close(fig)


def animate_density(path: Path, traps, samples, frames_between: int = 6) -> None:
    """The images of one coupling fading into those of the next."""
    size, rows = panels(samples)
    fig, axes = plt.subplots(1, len(rows), figsize=(3.4 * len(rows), 3.6), squeeze=False, layout="constrained")
    images = []
    for axis, (label, row) in zip(axes[0], rows, strict=True):
        images.append(axis.imshow(row[0], origin="lower", extent=(-size, size, -size, size), cmap="magma"))
        axis.set_xlabel(label)

    def show(frame):
        k, part = divmod(frame, frames_between)
        after = min(k + 1, len(traps) - 1)
        for image, (_, row) in zip(images, rows, strict=True):
            mixed = row[k] + (row[after] - row[k]) * part / frames_between
            image.set_data(mixed)
            image.set_clim(0, mixed.max())
        fig.suptitle(rf"$\lambda$ = {float(traps[k].coupling):g}")

    frames = frames_between * (len(traps) - 1) + 1
    FuncAnimation(fig, show, frames=frames).save(path, writer=PillowWriter(fps=6), dpi=80)
    plt.close(fig)


def plot_distances(path: Path, traps, samples) -> None:
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    edges = np.linspace(0, 2 * reach(samples), 61)
    for color, (trap, R) in enumerate(zip(traps, samples, strict=True)):
        i, j = np.triu_indices(R.shape[1], 1)
        d = np.linalg.norm(R[:, i] - R[:, j], axis=-1).ravel()
        counts = np.histogram(d, edges)[0] / (max(d.size, 1) * np.diff(edges))
        axis.stairs(counts, edges, color=f"C{color}", label=rf"$\lambda$ = {float(trap.coupling):g}")
    axis.set(xlabel="distance of two electrons (oscillator lengths)", ylabel="probability density")
    axis.set_title(f"{traps[0].num_electrons[0]} up + {traps[0].num_electrons[1]} down, beta = {float(traps[0].beta):g}")
    axis.legend()
    fig.savefig(path, dpi=130)
    plt.close(fig)


def plot_thermodynamics(path: Path, traps, runs) -> None:
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    x = np.array([run["coupling"] for run in runs])
    for axis, (name, symbol) in zip(axes, SYMBOLS.items(), strict=True):
        axis.errorbar(x, [r[name]["value"] for r in runs], [r[name]["error"] for r in runs], fmt="o", ms=5, label="this run")
        known = [(r["coupling"], r["exact"][name]) for r in runs if name in r["exact"]]
        if known:
            axis.plot(*zip(*known, strict=True), "kx", ms=8, label="exact")
        axis.set(xscale="log", xlabel=r"coupling $\lambda$", ylabel=f"{symbol}/N ({'k_B' if symbol == 'S' else 'hbar omega'})")
        axis.set_xticks(x, [f"{value:g}" for value in x], minor=False)
        axis.minorticks_off()
        axis.legend()
    fig.savefig(path, dpi=130)
    plt.close(fig)


if __name__ == "__main__":
    main()
