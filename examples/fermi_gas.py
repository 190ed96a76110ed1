"""Ultracold fermions in a trap at fixed temperature, from weak attraction (BCS) to bound pairs (BEC).

Trains the density matrix of models/fermi_gas.py from one scattering length to the next, each from the one
before, and shows F, E, S and the contact against 1/a, and how far fermions of opposite spin are from each
other, beside exact values of one pair and published energies of three and four fermions.
"""

import argparse
import csv
from functools import partial
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-3 are the result.
jax.config.update("jax_enable_x64", True)

import numpy as np
from fermi_gas_pictures import plot_crossover, plot_pairs
from shared import (
    REFERENCE,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    keep_compiled_programs,
    output_directory,
    write_json,
)

from pnct import HarmonicTrap, hamiltonian
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_in_rounds, to_arviz
from pnct.inference.observables.contact import contact
from pnct.models import fermi_gas
from pnct.systems import poschl_teller
from pnct.systems.scattering_length import scattering_slope

SYMBOLS = {"free_energy": "F", "energy": "E", "entropy": "S", "contact": "C"}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=1, help="fermions with spin up")
    parser.add_argument("--num-down", type=int, default=1, help="fermions with spin down")
    parser.add_argument(
        "--inverse-a", type=float, nargs="+", default=[-1.0, 0.0, 1.0], help="1/a, in oscillator lengths"
    )
    parser.add_argument("--mu", type=float, default=4.0, help="inverse range of the Poeschl-Teller well")
    parser.add_argument("--beta", type=float, default=5.0, help="hbar omega/T")
    parser.add_argument("--cutoff", type=int, help="quanta of the highest orbital; by default from beta")
    parser.add_argument("--steps", type=int, default=60, help="training steps at the first 1/a")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other 1/a")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE / "cold_atoms.csv",
        help="table of exact and published values, used where it exists",
    )
    directory_flags(parser, "out/fermi_gas")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    inverse = sorted(set(args.inverse_a))
    try:
        trap = HarmonicTrap((args.num_up, args.num_down), beta=args.beta, cutoff=args.cutoff, dim=3)
        wells = [poschl_teller(x, args.mu) for x in inverse]
        energies = [hamiltonian(trap, well) for well in wells]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    model = partial(fermi_gas, length=1 / args.mu)
    optim = natural_gradient(damping=0.1 if args.beta <= 1 else None)  # many states bring noise
    runs = []
    samples = []
    params = None
    with ended_in_one_line(parser, args):
        for i, (x, well, energy) in enumerate(zip(inverse, wells, energies, strict=True)):
            train, draw = jax.random.split(jax.random.fold_in(jax.random.key(args.seed), i))
            vfe = VariationalFreeEnergy(model, energy, optim, args.walkers)
            state = vfe.init(train, trap)
            if params is not None:
                state = state._replace(params=params, average=params)
            result = run_in_rounds(
                vfe,
                train,
                args.warm_steps if i else args.steps,
                trap,
                rounds=1,
                num_samples=args.samples,
                init_state=state,
                progress_bar=f"1/a = {x:g}",
                checkpoint=out / "training" / f"{i:03d}",
            )
            params = result.params
            draws = vfe.evaluate(draw, params, args.samples, trap)
            idata = to_arviz(draws, result.history)
            idata.to_netcdf(str(out / f"draws_{i:03d}.nc"), engine="h5netcdf")
            report = diagnose(idata)
            found = estimates(report) | {
                "entropy": entropy_of_states(model, args.seed, params, args.samples, trap)
                .scaled(1 / trap.N)
                .to_json(),
                "contact": contact(draws, trap, well).scaled(1 / trap.N).to_json(),
            }
            exact = exact_values(args.reference, trap, well, x)
            runs.append({"inverse_a": x, "v0": well.v0} | found | {"exact": exact})
            samples.append(np.asarray(draws.measured))
            print(line(runs[-1]), flush=True)

    published = published_energies(args.reference, trap)
    for name, value in published.items():
        print(f"published, zero range, 1/a = 0, T = 0: {name} {value:.5f} per fermion")
    result = {"runs": runs, "published": published, "energy_unit": "hbar omega", "per": "fermion"}
    write_json(out / "result.json", args, result)
    plot_crossover(out / "crossover.png", trap, runs, published)
    plot_pairs(out / "pairs.png", trap, inverse, samples)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def table(path: Path, trap) -> list[dict[str, str]]:
    """The rows of the table for so many fermions in a trap of three dimensions; none where there is no
    file.
    """
    if not path.is_file():
        return []
    size = ("trap", "3", *(str(n) for n in trap.num_electrons))
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if (row["geometry"], row["dim"], row["n_up"], row["n_dn"]) == size]


def exact_values(path: Path, trap, well, inverse_a: float) -> dict[str, float]:
    """F, E, S and C per fermion of this well at this temperature, as far as the table has them."""
    key = f"mu={well.mu:g}", f"1/a={inverse_a:g}", f"beta={float(trap.beta):g}"
    columns = "range_parameter", "note", "beta_or_theta"
    names = {f"{symbol}_total": name for name, symbol in SYMBOLS.items()}
    found = {
        row["quantity"]: float(row["value"]) / trap.N
        for row in table(path, trap)
        if tuple(row[c] for c in columns) == key
    }
    exact = {names[quantity]: x for quantity, x in found.items() if quantity in names}
    if "V_int" in found:
        exact["contact"] = 4 * np.pi * found["V_int"] / scattering_slope(well)
    return exact


def published_energies(path: Path, trap) -> dict[str, float]:
    """Energies of the ground states at unitarity and zero range, per fermion, by their names in the table."""
    return {
        row["quantity"]: float(row["value"]) / trap.N
        for row in table(path, trap)
        if row["potential"] == "zero range, unitarity"
    }


def line(run) -> str:
    parts = [f"1/a = {run['inverse_a']:<4g} per fermion (hbar omega, k_B, 1/l):"]
    for name, symbol in SYMBOLS.items():
        beside = f" (exact {run['exact'][name]:.5f})" if name in run["exact"] else ""
        parts.append(f"{symbol} {run[name]['value']:.5f} +- {run[name]['error']:.5f}{beside}")
    return "  ".join(parts) + f"\n    {run['verdict']}"


if __name__ == "__main__":
    main()
