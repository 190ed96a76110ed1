"""Thermodynamics of the polarised electron gas in two dimensions on a grid of r_s and theta, beside the ideal gas.

Trains the density matrix of models/electron_gas.py from point to point, each from the one before, and derives the heat capacity
(dE/dT and from fluctuations), the pressure (virial theorem and -dF/dOmega), the chemical potential, the compressibility and
both sides of (dS/dn)_T = -(dmu/dT)_n, the quantity measured by Kuntsevich et al., Nat. Commun. 6, 8298 (2015). The defaults take
minutes; finer grids and more electrons by the flags.
"""

import argparse
import os
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and energy differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", os.cpu_count())  # walkers are spread over these

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from shared import directory_flags, ended_in_one_line, output_directory, write_json

from pnct import ElectronGas, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.sweep import sweep
from pnct.inference.thermodynamics import Point, Thermodynamics, heat_capacity, point, thermodynamics, with_electrons
from pnct.models import electron_gas


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--num-up", type=int, default=3, help="electrons, all with spin up")
    parser.add_argument("--rs", type=float, nargs="+", default=[1.0, 2.0, 3.0], help="density parameters r_s, two or more")
    parser.add_argument("--theta", type=float, nargs="+", default=[0.4, 0.5, 0.6], help="temperatures T/T_F, two or more")
    parser.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along both axes")
    parser.add_argument("--steps", type=int, default=80, help="training steps at the first point")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other point")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=32768, help="independent samples of each evaluation")
    parser.add_argument("--add-electron", action="store_true", help="train N + 1 electrons too: mu = F(N + 1) - F(N)")
    parser.add_argument("--seed", type=int, default=0, help="random seed; the same seed gives the same numbers")
    directory_flags(parser, "out/thermodynamics")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    for name, least in (("steps", 0), ("warm_steps", 0), ("walkers", 2), ("samples", 64)):
        if getattr(args, name) < least:
            parser.error(f"Expected --{name.replace('_', '-')} >= {least}; got {getattr(args, name)}.")
    rs, theta = sorted(set(args.rs)), sorted(set(args.theta))
    if len(rs) < 2 or len(theta) < 2 or theta[0] <= 0:
        parser.error(f"Expected two --rs or more and two --theta or more, > 0; got {args.rs} and {args.theta}.")
    try:
        cutoff = ElectronGas((args.num_up, 0), 2, rs[0], theta[-1], args.twist).cutoff
        gases = [[ElectronGas((args.num_up, 0), 2, r, t, args.twist, cutoff) for t in theta] for r in rs]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)

    with ended_in_one_line(parser):
        points, fluctuations = solve(gases, args, args.seed, out)
    grid, ideal = thermodynamics(gases, points), thermodynamics(gases, [[ideal_point(g) for g in row] for row in gases])
    added = None
    if args.add_electron:
        more = [[with_electrons(g, (args.num_up + 1, 0)) for g in row] for row in gases]
        with ended_in_one_line(parser):
            added = added_electron(points, solve(more, args, args.seed + 1, out)[0], gases)

    print(table(grid, fluctuations, added))
    write_json(out / "result.json", args, as_json(grid, fluctuations, added))
    plot(out / "thermodynamics.png", grid, ideal, fluctuations, added)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def solve(gases, args, seed: int, out: Path):
    """Points, and heat capacities from fluctuations, on the grid; every other row backwards, so that the steps are small."""
    path = [(a, b) for a, row in enumerate(gases) for b in range(len(row))[:: 1 if a % 2 == 0 else -1]]
    settings = {"num_steps": args.steps, "warm_steps": args.warm_steps, "num_samples": args.samples, "num_walkers": args.walkers}
    settings["checkpoint"] = out / f"training_n{gases[0][0].N}"
    solutions = sweep(jax.random.key(seed), electron_gas, [gases[a][b] for a, b in path], natural_gradient(), **settings)
    points, fluctuations = {}, {}
    for (a, b), (gas, _, _, draws) in zip(path, solutions, strict=True):
        report = diagnose(to_arviz(draws))
        verdict = "" if report.converged else f"   {report.verdict}"
        label = f"N = {gas.N}  rs = {gas.rs:g}  theta = {gas.theta:g}"
        print(f"{label}  F/N {report.free_energy} hartree  S/N {report.entropy} k_B{verdict}", flush=True)
        points[a, b], fluctuations[a, b] = point(draws), heat_capacity(draws).scaled(1 / gas.N)
    rows = range(len(gases))
    on_grid = lambda x: [[x[a, b] for b in range(len(gases[0]))] for a in rows]  # noqa: E731
    return on_grid(points), on_grid(fluctuations)


def ideal_point(gas) -> Point:
    ideal = ideal_gas(gas)
    return Point(np.array([ideal.energy, 0.0, ideal.entropy]), np.zeros((3, 3)))


def added_electron(points, more, gases):
    """mu = F(N + 1) - F(N) in one volume at one temperature: values and errors on the grid."""
    values, errors = [], []
    for row, row_more, row_gases in zip(points, more, gases, strict=True):
        form = [np.array([1.0, 1.0, -float(g.temperature)]) for g in row_gases]
        values.append([f @ (m.mean - p.mean) for f, p, m in zip(form, row, row_more, strict=True)])
        errors.append([np.sqrt(f @ (p.covariance + m.covariance) @ f) for f, p, m in zip(form, row, row_more, strict=True)])
    return np.array(values), np.array(errors)


def table(grid: Thermodynamics, fluctuations, added) -> str:
    header = (
        "\n  rs  theta |   P virial     -dF/dOmega (Ha/a_0^2) |  C = dE/dT   fluctuations (k_B) | mu (Ha) | dS/dn   -dmu/dT (k_B)"
    )
    lines = [header]
    for a, rs in enumerate(grid.rs):
        for b, theta in enumerate(grid.theta):
            cell = lambda name, a=a, b=b: f"{getattr(grid, name).value[a, b]:9.5f}({getattr(grid, name).error[a, b]:.5f})"  # noqa: E731
            mu = cell("chemical_potential") + ("" if added is None else f" {added[0][a, b]:9.5f}({added[1][a, b]:.5f})")
            lines.append(
                f"{rs:4g} {theta:6g} | {cell('pressure_virial')} {cell('pressure_free_energy')} | {cell('heat_capacity')} "
                f"{fluctuations[a][b]} | {mu} | {cell('entropy_slope')} {cell('chemical_potential_slope')}"
            )
    return "\n".join(lines)


def as_json(grid: Thermodynamics, fluctuations, added) -> dict:
    result = {}
    for name, x in grid._asdict().items():
        result[name] = {"value": x.value.tolist(), "error": x.error.tolist()} if hasattr(x, "error") else x.tolist()
    result["heat_capacity_fluctuations"] = [[x.to_json() for x in row] for row in fluctuations]
    if added is not None:
        result["chemical_potential_added_electron"] = {"value": added[0].tolist(), "error": added[1].tolist()}
    return result


def plot(path: Path, grid: Thermodynamics, ideal: Thermodynamics, fluctuations, added) -> None:
    """Each panel against theta, one colour per r_s; the last one against the density, one colour per theta."""
    fig, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    panels = [
        ("free_energy", r"free energy $F/N$ (hartree)"),
        ("entropy", r"entropy $S/N$ ($k_B$)"),
        ("heat_capacity", r"heat capacity $C/N$ ($k_B$)"),
        ("pressure_virial", r"pressure $r_s^4 P$ (hartree/$a_0^2$)"),
        ("chemical_potential", r"chemical potential $r_s^2 \mu$ (hartree)"),
    ]
    others = {"heat_capacity": "from fluctuations", "pressure_virial": r"$-dF/d\Omega$", "chemical_potential": r"$F(N+1) - F(N)$"}
    for axis, (name, label) in zip(axes.flat, panels, strict=False):
        for a, rs in enumerate(grid.rs):
            scale = {"pressure_virial": rs**4, "chemical_potential": rs**2}.get(name, 1.0)
            x, style = grid.theta, {"color": f"C{a}", "capsize": 2, "lw": 1}
            own, free = getattr(grid, name), getattr(ideal, name)
            axis.errorbar(x, scale * own.value[a], scale * own.error[a], fmt="o-", ms=4, label=rf"$r_s$ = {rs:g}", **style)
            if name in ("entropy", "heat_capacity"):
                free = None if a else free
            if free is not None:
                axis.plot(x, scale * free.value[a], "k--" if name in ("entropy", "heat_capacity") else f"C{a}--", lw=0.8)
            other = None
            if name == "heat_capacity":
                other = np.array([[f.value, f.error] for f in fluctuations[a]]).T
            if name == "pressure_virial":
                other = np.array([grid.pressure_free_energy.value[a], grid.pressure_free_energy.error[a]])
            if name == "chemical_potential" and added is not None:
                other = np.array([added[0][a], added[1][a]])
            if other is not None:
                shown = others[name] if a == 0 else None
                axis.errorbar(x, scale * other[0], scale * other[1], fmt="s", ms=6, mfc="none", label=shown, **style)
        axis.plot([], [], "k--", lw=0.8, label="ideal gas")
        axis.set(xlabel=r"$\theta = T/T_F$", ylabel=label)
        axis.legend(fontsize="x-small")

    axis = axes.flat[-1]
    for b, theta in enumerate(grid.theta):
        style = {"color": f"C{b}", "capsize": 2, "lw": 1}
        for name, marker, label in (
            ("entropy_slope", "o-", rf"$(\partial S/\partial n)_T$, $\theta$ = {theta:g}"),
            ("chemical_potential_slope", "s", r"$-(\partial \mu/\partial T)_n$" if b == 0 else None),
        ):
            x = getattr(grid, name)
            fill = "none" if marker == "s" else None
            axis.errorbar(grid.density, x.value[:, b], x.error[:, b], fmt=marker, mfc=fill, ms=5, label=label, **style)
        axis.plot(grid.density, ideal.entropy_slope.value[:, b], f"C{b}--", lw=0.8, label="ideal gas" if b == 0 else None)
    axis.set(xscale="log", xlabel=r"density $n$ ($a_0^{-2}$)", ylabel=r"entropy per electron added ($k_B$)")
    axis.legend(fontsize="x-small")
    fig.savefig(path, dpi=130)
    plt.close(fig)


if __name__ == "__main__":
    main()
