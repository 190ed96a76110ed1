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

import numpy as np
from quantum_dot_pictures import animate_density, plot_densities, plot_distances, plot_thermodynamics
from shared import (
    REFERENCE,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    estimates,
    keep_compiled_programs,
    output_directory,
    write_json,
)

from pnct import HarmonicTrap, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.workflows.sweep import sweep
from pnct.models import quantum_dot

SYMBOLS = {"free_energy": "F", "energy": "E", "entropy": "S"}


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
    keep_compiled_programs()

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
    with ended_in_one_line(parser, args):
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


if __name__ == "__main__":
    main()
