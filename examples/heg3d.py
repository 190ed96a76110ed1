"""The finite-temperature electron gas in three dimensions, from model file to ArviZ.

Trains the variational density matrix of models/electron_gas.py, evaluates it with fresh independent samples
at frozen parameters, and sets the result beside the ideal gas and the first-order bound F_0 + <V>_0.
"""

import argparse
import sys
import textwrap
from functools import partial

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import numpy as np
from shared import (
    STATES_PER_SAMPLE,
    UNITS,
    beside,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    keep_compiled_programs,
    output_directory,
    per_electron,
    process_flags,
    share_the_work,
    table_beside,
    write_json,
)

from pnct import ElectronGas, hamiltonian
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_to_plateau, to_arviz
from pnct.inference.observables.effective_mass import effective_mass
from pnct.models import electron_gas


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    gas = parser.add_argument_group("system")
    gas.add_argument("--num-up", type=int, default=7, metavar="N", help="electrons with spin up")
    gas.add_argument("--num-down", type=int, default=0, metavar="N", help="electrons with spin down")
    gas.add_argument("--rs", type=float, default=10.0, help="density parameter r_s")
    gas.add_argument("--theta", type=float, default=0.25, help="temperature T/T_F")
    twist = "phase of the boundary conditions in units of 2 pi/L: one number, or one per axis"
    gas.add_argument("--twist", type=float, nargs="+", default=[0.0], metavar="PHASE", help=twist)

    run = parser.add_argument_group("run")
    run.add_argument("--steps", type=int, default=150, metavar="N", help="training steps")
    plateau = "end the training before --steps where F and S no longer change"
    run.add_argument("--until-plateau", action="store_true", help=plateau)
    run.add_argument("--walkers", type=int, default=256, metavar="N", help="independent samples per step")
    samples = f"independent samples of the final evaluation; {STATES_PER_SAMPLE} times as many states for S"
    run.add_argument("--samples", type=int, default=8192, metavar="N", help=samples)
    same = "random seed; the same seed gives the same numbers"
    run.add_argument("--seed", type=int, default=0, metavar="N", help=same)
    process_flags(parser)
    results = directory_flags(parser, "out/heg3d")
    unit = "unit of the energies that are printed and plotted; those in result.json are in hartree"
    results.add_argument("--units", choices=UNITS, default="Ha", help=unit)
    return parser


def system(args, parser, dim: int) -> ElectronGas:
    twist = args.twist[0] if len(args.twist) == 1 else args.twist
    try:
        return ElectronGas((args.num_up, args.num_down), dim, args.rs, args.theta, twist)
    except ValueError as error:
        parser.error(str(error))


def routine(gas, args, parser) -> VariationalFreeEnergy:
    check_whole_numbers(args, parser, steps=0, samples=8)
    try:
        return VariationalFreeEnergy(
            electron_gas, hamiltonian(gas), natural_gradient(), num_walkers=args.walkers
        )
    except ValueError as error:
        parser.error(str(error))


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    share_the_work(args, parser, [__file__, *(sys.argv[1:] if argv is None else argv)])
    gas = system(args, parser, dim=3)
    vfe = routine(gas, args, parser)
    out = output_directory(args, parser)
    keep_compiled_programs()

    with ended_in_one_line(parser, args):
        train = partial(run_to_plateau, vfe) if args.until_plateau else vfe.run
        result = train(jax.random.key(args.seed), args.steps, gas, checkpoint=out)
        draws = vfe.evaluate(jax.random.key(args.seed + 1), result.params, args.samples, gas)
        S = entropy_of_states(vfe.model, args.seed + 2, result.params, args.samples, gas)
    if jax.process_index() > 0:
        return
    idata = to_arviz(draws, result.history, system=gas)
    report = diagnose(idata, entropy=S)

    mass = effective_mass(gas, draws, result.params, S)
    print(table(gas, report, mass, args.units))
    print(report.verdict)
    idata.to_netcdf(str(out / "draws.nc"), engine="h5netcdf")
    write_json(out / "result.json", args, everything(gas, report, mass, args))

    import heg3d_pictures as pictures  # not sooner: it takes a second, and the training begins without it

    draw = pictures.one_draw(vfe.model, result.params, jax.random.key(args.seed + 3), gas)
    pictures.plot_pipeline(out / "pipeline.png", gas, draws, draw)
    pictures.plot_training(out / "free_energy.png", gas, result.history, report, args.units)
    pictures.plot_pair_correlation(out / "pair_correlation.png", gas, draws)
    pictures.plot_occupations(out / "occupations.png", gas, draws)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def everything(gas, report, mass, args) -> dict:
    """What is written into result.json: per electron, hartree and k_B."""
    result = estimates(report) | per_electron(gas, beside(gas))
    result["effective_mass"] = {
        name: value.to_json() for name, value in mass._asdict().items() if np.isfinite(value.value)
    }
    return result | {
        "unit": gas.unit,
        "temperature": float(gas.temperature),
        "num_orbitals": len(gas.orbitals),
        "num_samples": args.samples,
        "num_states": STATES_PER_SAMPLE * args.samples,
    }


def table(gas, report, mass, units: str) -> str:
    """This run beside the ideal gas and the first-order bound, per electron; and m*/m four ways."""
    up, down = gas.num_electrons
    lines = [
        f"\n{up} up + {down} down electrons, {gas.dim}D, rs = {gas.rs:g}, theta = {gas.theta:g}, "
        f"twist = {gas.twist}; {len(gas.orbitals)} orbitals",
        *table_beside(gas, report, units, beside(gas)),
    ]
    lines += [f"  m*/m from {route:<17s} {value:>16s}" for route, value in mass.routes().items()]
    return "\n".join(
        [*lines, *textwrap.wrap(mass.explanation(), 78, initial_indent="  ", subsequent_indent="  ")]
    )


if __name__ == "__main__":
    main()
