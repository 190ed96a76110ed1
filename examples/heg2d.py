"""The effective mass of the polarised electron gas in two dimensions against r_s, beside published values.

Trains the density matrix of models/electron_gas.py (few_electrons.py for up to three) from small to large
r_s, each from the one before, and finds m*/m from the entropy, the learned levels and Landau's
energy functional. The defaults take minutes, --paper takes hours: theta = 0.15, a twist of 1/4 and the six
r_s of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023), for any --num-up (a shell that is filled in part is
told, as it has an entropy of its own):

    --paper --num-up 13 29 49 --processes 2

With --twists 4 all is averaged over a grid of twists, s and s_0 each before their ratio (twisted_gas.py).
"""

import argparse
import math
import sys
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import numpy as np
from heg2d_pictures import plot_correlations, plot_effective_mass
from shared import (
    REFERENCE,
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
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.closed_form.step import closed_form_step
from pnct.inference.observables.effective_mass import effective_mass
from pnct.inference.observables.entropy_error import entropy_error
from pnct.inference.observables.excitations import excitation_energies
from pnct.inference.observables.particle_hole import mass_from_excitations, particle_hole_states
from pnct.inference.observables.twist_grid import monkhorst_pack
from pnct.inference.observables.twists import over_twists
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas, few_electrons, twisted_gas
from pnct.systems.first_order import first_order_bound

PAPER = {
    "num_up": [29],
    "rs": [0.25, 0.5, 1.0, 3.0, 5.0, 10.0],
    "theta": 0.15,
    "twist": 0.25,
    "steps": 500,
    "warm_steps": 300,
    "walkers": 1024,
}
PUBLISHED = ("effective_mass.csv", "published_2d_gas.csv")  # in --reference


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--paper", action="store_true", help="the settings of the paper, but for flags that are given"
    )
    parser.add_argument(
        "--num-up", type=int, nargs="+", default=[3, 5], help="numbers of electrons, all with spin up"
    )
    parser.add_argument(
        "--rs", type=float, nargs="+", default=[1.0, 3.0, 10.0], help="density parameters r_s"
    )
    parser.add_argument("--theta", type=float, default=0.15, help="temperature T/T_F")
    boundary = parser.add_mutually_exclusive_group()
    boundary.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along both axes")
    grid = "average over N x N twists, with one flow for all and p(K) of each at its own optimum; 0: --twist"
    boundary.add_argument("--twists", type=int, default=0, metavar="N", help=grid)
    parser.add_argument("--steps", type=int, default=100, help="training steps at the first r_s")
    parser.add_argument("--warm-steps", type=int, default=60, help="training steps at each other r_s")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
    share = "fit p(K) again where its noise makes more than this share of m*/m, with more samples; 0: never"
    parser.add_argument("--mass-error", type=float, default=0.0, metavar="X", help=share)
    holes = "also the slope of the energies of so many particle-hole states, of closed shells; 0: none"
    parser.add_argument("--holes", type=int, default=0, metavar="N", help=holes)
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        default=REFERENCE,
        help="folder of published values, plotted where it is there",
    )
    process_flags(parser)
    directory_flags(parser, "out/heg2d")
    return parser


def parsed(parser: argparse.ArgumentParser, argv) -> argparse.Namespace:
    """The flags; with --paper those that are not given are the paper's."""
    args = parser.parse_args(argv)
    if args.paper:
        parser.set_defaults(**PAPER)
        args = parser.parse_args(argv)
    missing = [name for name in PUBLISHED if not (args.reference / name).is_file()]
    if missing and (args.paper or args.reference.is_dir()):
        parser.error(
            f"Expected {' and '.join(PUBLISHED)} in --reference; got {args.reference} without "
            f"{' and '.join(missing)}."
        )
    return args


def main(argv=None) -> None:
    parser = arguments()
    args = parsed(parser, argv)
    share_the_work(args, parser, [__file__, *(sys.argv[1:] if argv is None else argv)])
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64, holes=0, twists=0)
    if not (args.theta > 0 and args.mass_error >= 0):
        parser.error(f"Expected --theta > 0 and --mass-error >= 0; got {args.theta} and {args.mass_error}.")
    try:
        systems = {
            N: [ElectronGas((N, 0), 2, rs, args.theta, args.twist) for rs in sorted(args.rs)]
            for N in args.num_up
        }
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    rows = []
    for gases in systems.values():
        with ended_in_one_line(parser, args):
            for row, text in (over_twists_of if args.twists else at_one_twist)(gases, out, args):
                rows.append(row)
                if jax.process_index() == 0:
                    print(text, flush=True)

    if jax.process_index() > 0:
        return
    write_json(out / "result.json", args, {"runs": rows})
    plot_effective_mass(out / "effective_mass.png", args, rows)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def at_one_twist(gases, out: Path, args):
    """(row of result.json, what is printed of it) of each r_s, ascending; draws go to files."""
    N = gases[0].N
    if jax.process_index() == 0 and (told := open_shell(gases[0])):
        print(told, flush=True)
    model = few_electrons if N <= 3 else electron_gas
    solutions = sweep(
        jax.random.fold_in(jax.random.key(args.seed), N),
        model,
        gases,
        natural_gradient(),
        args.steps,
        args.samples,
        args.warm_steps,
        args.walkers,
        checkpoint=out / f"training_n{N}",
        rounds=2,
    )
    kept = []
    for i, (gas, params, history, draws) in enumerate(solutions):
        S = entropy_of_states(model, args.seed + 1 + i, params, args.samples, gas)
        fit_samples = samples_of_fit(gas, draws, S, args)
        if fit_samples > args.samples:
            keys = jax.random.split(jax.random.fold_in(jax.random.key(args.seed + 1 + i), N))
            vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), args.walkers)
            params = closed_form_step(vfe, keys[0], params, fit_samples, gas)
            draws = vfe.evaluate(keys[1], params, args.samples, gas)
            S = entropy_of_states(model, args.seed + 1 + i, params, args.samples, gas)
        kept.append(draws)
        if jax.process_index() == 0:
            path = out / f"draws_n{N}_rs{gas.rs:g}.nc"
            to_arviz(draws, history, system=gas).to_netcdf(str(path), engine="h5netcdf")
        yield found(model, gas, params, history, draws, S, fit_samples, args)
    if jax.process_index() == 0:
        plot_correlations(out / f"correlations_n{N}.png", gases, kept)


def over_twists_of(gases, out: Path, args):
    """The same, averaged over twists."""
    params = None
    for i, gas in enumerate(gases):
        vfe = VariationalFreeEnergy(twisted_gas, hamiltonian(gas), natural_gradient(), args.walkers)
        params, average = over_twists(
            jax.random.fold_in(jax.random.fold_in(jax.random.key(args.seed), gas.N), i),
            vfe,
            gas,
            monkhorst_pack(args.twists, gas.dim),
            args.warm_steps if i else args.steps,
            args.samples,
            checkpoint=out / f"training_n{gas.N}" / f"{i:03d}",
            init_params=params,
            fit_samples=args.samples,
        )
        mass = {"entropy": average.effective_mass, "canonical": average.canonical_mass}
        row = {"num_electrons": gas.N, "rs": gas.rs}
        row |= {name: x.to_json() for name, x in average.average.items()}
        row["effective_mass"] = {name: x.to_json() for name, x in mass.items() if np.isfinite(x.value)}
        row["twists"] = [
            {"twist": twist.tolist(), "weight": float(weight)}
            | {name: x.to_json() for name, x in one.items()}
            for twist, weight, one in zip(average.twists, average.weights, average.by_twist, strict=True)
        ]
        F, S = average.average["free_energy"], average.average["entropy"]
        text = (
            f"N = {gas.N}  rs = {gas.rs:g}  {args.twists} x {args.twists} twists\n"
            f"  F/N {F} hartree  S/N {S} k_B\n"
            f"  m*/m: s/s_0 {mass['entropy']}   canonical {mass['canonical']}"
        )
        yield row, text


def samples_of_fit(gas, draws, S, args) -> int:
    """How many samples the fit of p(K) takes, so that its noise in S is no more than --mass-error of it."""
    noise = entropy_error(gas, draws, S, args.samples).closed_form
    wanted = args.samples * (noise / (args.mass_error * S.value)) ** 2 if args.mass_error else 0
    return max(math.ceil(wanted), args.samples)


def found(model, gas, params, history, draws, S, fit_samples, args) -> tuple[dict, str]:
    """The row of result.json of one gas, and what is printed of it. S of states alone, p(K) fitted to
    fit_samples.
    """
    report = diagnose(to_arviz(draws, history, system=gas), entropy=S)
    drift = report.drifts.get("entropy")
    error = entropy_error(gas, draws, S, fit_samples, drift and drift.scaled(gas.N))
    mass = effective_mass(gas, draws, params, S._replace(error=error.total))
    references = beside(gas)
    if open_shell(gas) is None:
        cold = ElectronGas(gas.num_electrons, gas.dim, gas.rs, 0.0, gas.twist)
        references["hartree_fock"] = first_order_bound(cold)
    row = {"num_electrons": gas.N, "rs": gas.rs, **estimates(report), **per_electron(gas, references)}
    row["effective_mass"] = {
        name: value.to_json() for name, value in mass._asdict().items() if np.isfinite(value.value)
    }
    row["entropy_error"] = {name: x / gas.N for name, x in error._asdict().items()}
    row["fit_samples"] = fit_samples
    parts = "  ".join(
        f"{name.replace('_', ' ')} {100 * x / S.value:.1f} %" for name, x in error._asdict().items()
    )
    lines = [
        f"N = {gas.N}  rs = {gas.rs:g}",
        *table_beside(gas, report, "Ha", references),
        f"  m*/m: {mass}",
        f"  error of S: {parts}  (p(K) fitted to {fit_samples} samples)",
    ]
    if args.holes and open_shell(gas) is None:
        lines.append(particle_holes(model, gas, params, args, row))
    return row, "\n".join(lines if report.converged else [*lines, f"  {report.verdict}"])


def particle_holes(model, gas, params, args, row) -> str:
    """A line on the slope of E_K - E_0 of particle-hole states, which the row of result.json gets as well."""
    vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), args.walkers)
    states = particle_hole_states(gas, args.holes)
    key = jax.random.fold_in(jax.random.key(args.seed), gas.N)
    excited = excitation_energies(key, vfe, params, states, args.samples, gas)
    mass = mass_from_excitations(gas, states, excited)
    bare = np.sum(np.asarray(gas.orbital_energies)[states], axis=1)
    row["effective_mass"]["particle_holes"] = mass.to_json()
    row["particle_holes"] = [
        {"states": K.tolist(), "bare": float(x), "excitation": E.to_json()}
        for K, x, E in zip(states[1:], bare[1:] - bare[0], excited.excitation[1:], strict=True)
    ]
    ratios = ", ".join(
        str(E.scaled(1 / x)) for x, E in zip(bare[1:] - bare[0], excited.excitation[1:], strict=True)
    )
    return f"  m*/m from {args.holes} particle-hole states: {mass}   (E_K - E_0)/(e_p - e_h): {ratios}"


def open_shell(gas) -> str | None:
    """What an outermost shell that is filled in part does to S, in one sentence; None where it is full."""
    closed = np.flatnonzero(np.diff(gas.shell_index)) + 1
    if gas.N in closed:
        return None
    below, above = max((n for n in closed if n < gas.N), default=0), min(n for n in closed if n > gas.N)
    states = math.comb(above - below, gas.N - below)
    nearest = " and ".join(str(n) for n in (below, above) if n)
    return (
        f"N = {gas.N} fills its outermost shell in part at a twist of {gas.twist[0]:g}: without interaction "
        f"{states} ground states, ln({states})/N = {math.log(states) / gas.N:.4f} k_B of S/N and of S_0/N as "
        f"T -> 0. The nearest closed shells: {nearest}."
    )


if __name__ == "__main__":
    main()
