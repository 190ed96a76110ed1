"""Hydrogen from atoms to a plasma: electrons and classical protons, drawn from one density matrix.

Trains the program of models/hydrogen.py from temperature to temperature, each from the one before, and shows
F, E, S and the pressure beside an ideal gas of atoms or exact values, the pair correlations, and one draw.
"""

import argparse
import csv
import math
from functools import partial
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-3 are the result.
jax.config.update("jax_enable_x64", True)

from hydrogen_pictures import plot_correlations, plot_draw, plot_thermodynamics
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

from pnct import Hydrogen, hydrogen_hamiltonian
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.observables.protons import plasma_correlations
from pnct.inference.observables.thermodynamics import pressure
from pnct.inference.workflows.sweep import sweep
from pnct.models import hydrogen
from pnct.systems.hydrogen import PROTON_MASS

KELVIN = 3.166811563e-6  # hartree
GIGAPASCAL = 29421.02648  # per hartree/a_0^3
ATOM = -0.5  # hartree
SYMBOLS = {"free_energy": "F", "energy": "E", "entropy": "S"}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=1, help="electrons with spin up")
    parser.add_argument("--num-down", type=int, default=1, help="electrons with spin down")
    parser.add_argument("--num-protons", type=int, default=2, help="protons")
    parser.add_argument("--rs", type=float, default=2.0, help="density parameter of the electrons")
    parser.add_argument(
        "--kelvin", type=float, nargs="+", default=[32_000, 64_000, 128_000], help="temperatures, in K"
    )
    parser.add_argument("--mass", type=float, default=PROTON_MASS, help="of a proton, in electron masses")
    parser.add_argument(
        "--enhancement", type=float, default=1.3, help="e_0 of the cusps at first: 1.15 at r_s = 1, 1.6 at 4"
    )
    parser.add_argument("--cutoff", type=float, default=5.0, help="largest |n|^2 of the plane waves")
    parser.add_argument("--steps", type=int, default=40, help="training steps at the highest temperature")
    parser.add_argument("--warm-steps", type=int, default=20, help="training steps at each other one")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=4096, help="independent samples of each evaluation")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE / "hydrogen.csv",
        help="table of exact values, used where it exists",
    )
    directory_flags(parser, "out/hydrogen")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    numbers = (args.num_up, args.num_down)
    try:
        plasmas = [
            Hydrogen(numbers, args.num_protons, args.rs, T * KELVIN, args.mass, cutoff=args.cutoff)
            for T in sorted(set(args.kelvin), reverse=True)
        ]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    settings = {"num_steps": args.steps, "warm_steps": args.warm_steps, "num_samples": args.samples}
    settings |= {"num_walkers": args.walkers, "checkpoint": out / "training"}
    model = partial(hydrogen, enhancement=args.enhancement)
    runs = []
    structure = []
    with ended_in_one_line(parser, args):
        key = jax.random.key(args.seed)
        for plasma, _, history, draws in sweep(
            key, model, plasmas, natural_gradient(), make_hamiltonian=hydrogen_hamiltonian, **settings
        ):
            kelvin = float(plasma.temperature) / KELVIN
            idata = to_arviz(draws, history, system=plasma)
            idata.to_netcdf(str(out / f"draws_{kelvin:.0f}K.nc"), engine="h5netcdf")
            report = diagnose(idata)
            P = pressure(plasma, draws).scaled(GIGAPASCAL)
            beside = exact_values(args.reference, plasma) or ideal_atoms(plasma)
            runs.append({"kelvin": kelvin, "temperature": float(plasma.temperature)} | estimates(report))
            runs[-1] |= {"pressure_GPa": P.to_json(), "beside": beside}
            structure.append(plasma_correlations(plasma, draws, bins=25))
            print(line(kelvin, report, P, beside), flush=True)
            if plasma is plasmas[-1]:
                plot_draw(out / "draw.png", plasma, draws.finite())

    write_json(out / "result.json", args, {"runs": runs, "energy_unit": "hartree", "per": "electron"})
    plot_correlations(out / "pair_correlations.png", plasmas, structure)
    plot_thermodynamics(out / "thermodynamics.png", runs)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def ideal_atoms(plasma) -> dict:
    """F, E and S per electron of atoms in their ground state that do not interact, P in GPa; nothing where
    the cell is not neutral.
    """
    n = plasma.num_protons
    T = float(plasma.temperature)
    if sum(plasma.num_electrons) != n:
        return {}
    wavelength = math.sqrt(2 * math.pi / (float(plasma.mass) * T))
    side = float(plasma.L * plasma.rs)
    F = T * (math.lgamma(n + 1) - 3 * n * math.log(side / wavelength)) / n + ATOM
    E = 1.5 * T + ATOM
    values = {"free_energy": F, "energy": E, "entropy": (E - F) / T}
    return values | {"pressure_GPa": n * T / side**3 * GIGAPASCAL, "of": "ideal atoms"}


def exact_values(path: Path, plasma) -> dict:
    """F of one free atom per electron, where the table has it."""
    if not path.is_file() or plasma.num_protons != 1 or plasma.N != 1 or plasma.mass != PROTON_MASS:
        return {}
    with path.open() as file:
        for row in csv.DictReader(file):
            here = row["system"].startswith("H atom, proton free") and row["quantity"].startswith("F (with")
            if here and row["rs_or_length"].startswith(f"rs={plasma.rs:g} "):
                T = float(row["temperature_Ha"])
                if math.isclose(T, float(plasma.temperature), rel_tol=1e-4):
                    return {"free_energy": float(row["value"]), "of": "exact"}
    return {}


def line(kelvin, report, P, beside) -> str:
    parts = [f"T = {kelvin:<8.0f} K per electron (hartree, k_B):"]
    for name, symbol in SYMBOLS.items():
        other = f" ({beside['of']} {beside[name]:.4f})" if name in beside else ""
        parts.append(f"{symbol} {getattr(report, name)}{other}")
    other = f" ({beside['of']} {beside['pressure_GPa']:.0f})" if "pressure_GPa" in beside else ""
    return "  ".join(parts) + f"  P {P} GPa{other}\n    {report.verdict}"


if __name__ == "__main__":
    main()
