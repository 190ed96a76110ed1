"""The finite-temperature electron gas in three dimensions, from model file to ArviZ.

Trains the variational density matrix of models/electron_gas.py, evaluates it with fresh independent samples
at frozen parameters, and sets the result beside the ideal gas and the first-order bound F_0 + <V>_0.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and energy differences of 1e-4 are the
# result.
jax.config.update("jax_enable_x64", True)

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from shared import (
    UNITS,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    output_directory,
    process_flags,
    share_the_work,
    write_json,
)

from pnct import ElectronGas, hamiltonian, ideal_gas
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, run_to_plateau, to_arviz
from pnct.inference.observables.correlations import occupations, pair_correlation
from pnct.inference.observables.effective_mass import effective_mass
from pnct.inference.observables.ideal_correlations import canonical_pair_correlation
from pnct.models import electron_gas
from pnct.systems.first_order import first_order_bound


def arguments(argv=None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=7, help="electrons with spin up")
    parser.add_argument("--num-down", type=int, default=0, help="electrons with spin down")
    parser.add_argument("--rs", type=float, default=10.0, help="density parameter r_s")
    parser.add_argument("--theta", type=float, default=0.25, help="temperature T/T_F")
    parser.add_argument(
        "--twist", type=float, nargs="+", default=[0.0], help="in 2 pi/L; one number or one per axis"
    )
    parser.add_argument("--steps", type=int, default=150, help="training steps")
    parser.add_argument(
        "--until-plateau", action="store_true", help="stop before --steps where F and S stand still"
    )
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument(
        "--samples", type=int, default=8192, help="independent samples of the final evaluation"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--units", choices=UNITS, default="Ha", help="energy unit of what is printed and plotted"
    )
    directory_flags(parser, "out/heg3d")
    process_flags(parser)
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

    with ended_in_one_line(parser):
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
    write_json(out / "result.json", args, estimates(report))
    plot_training(out / "free_energy.png", gas, result.history, report, args.units)
    plot_pair_correlation(out / "pair_correlation.png", gas, draws)
    plot_occupations(out / "occupations.png", gas, draws)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def table(gas, report, mass, units: str) -> str:
    """This run beside the ideal gas and the first-order bound, per electron; and m*/m three ways."""
    ideal = ideal_gas(gas)
    bound = first_order_bound(gas)
    columns = {"free_energy": "F", "energy": "E", "kinetic": "K", "potential": "V", "entropy": "S"}
    ideal = {
        "free_energy": ideal.free_energy,
        "energy": ideal.energy,
        "kinetic": ideal.energy,
        "potential": 0.0,
    }
    ideal["entropy"] = bound.entropy
    lines = [
        f"\n{gas.num_electrons[0]} up + {gas.num_electrons[1]} down electrons, {gas.dim}D, rs = {gas.rs:g}, "
        f"theta = {gas.theta:g}, twist = {gas.twist}; {len(gas.orbitals)} orbitals",
        f"per electron ({units}, k_B)   {'this run':>16s} {'first order':>13s} {'ideal gas':>13s}",
    ]
    for name, symbol in columns.items():
        scale = 1.0 if name == "entropy" else UNITS[units]
        values = (getattr(bound, name) * scale / gas.N, ideal[name] * scale / gas.N)
        lines.append(
            f"  {symbol} = {name:<22s} {getattr(report, name).scaled(scale)!s:>16s} {values[0]:13.5f} {values[1]:13.5f}"
        )
    lines += [
        f"  m*/m from {name:<17s} {value!s:>16s}"
        for name, value in zip(("s/s_0", "learned levels", "Landau functional"), mass, strict=True)
        if np.isfinite(value.value)
    ]
    return "\n".join(lines)


def plot_training(path: Path, gas, history, report, units: str) -> None:
    scale = UNITS[units] / gas.N
    bound = first_order_bound(gas).free_energy * scale
    final = report.free_energy.scaled(UNITS[units])
    steps = np.arange(1, len(history.free_energy) + 1)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.errorbar(
        steps,
        history.free_energy * scale,
        history.free_energy_error * scale,
        fmt=".",
        ms=3,
        lw=0.6,
        label="each step",
    )
    axis.axhline(bound, color="k", ls="--", lw=1, label=r"first-order bound $F_0 + \langle V\rangle_0$")
    axis.axhspan(final.value - final.error, final.value + final.error, color="C3", alpha=0.3)
    axis.axhline(final.value, color="C3", lw=1, label=f"evaluated at the end: {final}")
    axis.set(xlabel="training step", ylabel=f"free energy per electron ({units})")
    axis.set_title(rf"N = {gas.N}, $r_s$ = {gas.rs:g}, $\theta$ = {gas.theta:g}")
    axis.legend()
    fig.savefig(path, dpi=150)
    plt.close(fig)


def plot_pair_correlation(path: Path, gas, draws) -> None:
    pairs = pair_correlation(draws.measured, gas.space, bins=30)
    r = np.linspace(0, gas.L / 2, 120)
    ideal = canonical_pair_correlation(gas, r)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for color, name in enumerate(pairs.g):
        axis.errorbar(
            pairs.r, pairs.g[name], pairs.error[name], fmt=".", ms=4, lw=0.8, color=f"C{color}", label=name
        )
        axis.plot(r, ideal[name], "--", lw=1, color=f"C{color}", label=f"{name}, ideal gas")
    axis.set(xlabel=r"$r / (r_s a_0)$", ylabel=r"pair correlation $g(r)$", ylim=(0, None))
    axis.set_title(rf"N = {gas.N}, $r_s$ = {gas.rs:g}, $\theta$ = {gas.theta:g}")
    axis.legend()
    fig.savefig(path, dpi=150)
    plt.close(fig)


def plot_occupations(path: Path, gas, draws) -> None:
    ideal = ideal_gas(gas).occupations
    energies = np.asarray(gas.orbital_energies) / float(gas.E_F)
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for spin, name in enumerate(("up", "down")):
        electrons = slice(0, gas.num_electrons[0]) if name == "up" else slice(gas.num_electrons[0], None)
        if gas.num_electrons[spin] == 0:
            continue
        measured = occupations(draws.samples[draws.state_site][:, electrons], len(gas.orbitals))
        axis.errorbar(energies, measured.n, measured.error, fmt=".", ms=5, lw=0.8, label=f"this run, {name}")
        axis.plot(energies, ideal[spin], "k_", ms=8, label=f"ideal gas, {name}")
    axis.set(
        xlabel=r"orbital energy $k^2 / k_F^2$",
        ylabel="occupation of quasi-particle orbitals",
        ylim=(-0.02, 1.05),
    )
    axis.legend()
    fig.savefig(path, dpi=150)
    plt.close(fig)


if __name__ == "__main__":
    main()
