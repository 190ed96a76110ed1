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
from shared import check_whole_numbers, directory_flags, ended_in_one_line, output_directory, write_json

from pnct import ElectronGas, Estimate, ideal_gas
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
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
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
    ideal_points = [[ideal_point(g) for g in row] for row in gases]
    grid, ideal = thermodynamics(gases, points), thermodynamics(gases, ideal_points)
    second, second_ideal = {"heat_capacity": ("from fluctuations", *fluctuations)}, {}
    second["pressure_virial"] = (r"$-dF/d\Omega$", *grid.pressure_free_energy)
    if args.add_electron:
        more = [[with_electrons(g, (args.num_up + 1, 0)) for g in row] for row in gases]
        route = "$F(N+1) - F(N)$"
        with ended_in_one_line(parser):
            second["chemical_potential"] = (route, *added_electron(gases, points, solve(more, args, args.seed + 1, out)[0]))
        more = [[ideal_point(g) for g in row] for row in more]
        second_ideal["chemical_potential"] = (route, *added_electron(gases, ideal_points, more))

    print(table(grid, second))
    write_json(out / "result.json", args, as_json(grid, second))
    plot(out / "thermodynamics.png", grid, ideal, second, second_ideal)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def solve(gases, args, seed: int, out: Path):
    """Points, and (values, errors) of C/N from fluctuations, on the grid; every other row backwards: the steps are small."""
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
    on_grid = lambda x: [[x[a, b] for b in range(len(gases[0]))] for a in range(len(gases))]  # noqa: E731
    C = np.array(on_grid(fluctuations))
    return on_grid(points), (C[..., 0], C[..., 1])


def ideal_point(gas) -> Point:
    ideal = ideal_gas(gas)
    return Point(np.array([ideal.energy, 0.0, ideal.entropy]), np.zeros((3, 3)))


def added_electron(gases, points, more):
    """mu = F(N + 1) - F(N) in one volume at one temperature: values and errors on the grid."""
    form = np.array([[[1.0, 1.0, -float(g.temperature)] for g in row] for row in gases])
    mean = np.array([[m.mean - p.mean for p, m in zip(*rows, strict=True)] for rows in zip(points, more, strict=True)])
    covariance = [[m.covariance + p.covariance for p, m in zip(*rows, strict=True)] for rows in zip(points, more, strict=True)]
    return np.sum(form * mean, axis=-1), np.sqrt(np.einsum("abx,abxy,aby->ab", form, np.array(covariance), form))


def table(grid: Thermodynamics, second: dict) -> str:
    """Each quantity, its second route behind it, at every point of the grid."""
    columns = {
        "pressure_virial": "P virial, -dF/dOmega (Ha/a_0^2)",
        "heat_capacity": "C/N dE/dT, fluctuations (k_B)",
        "chemical_potential": "mu, F(N+1) - F(N) (Ha)",
        "entropy_slope": "dS/dn, -dmu/dT (k_B)",
    }
    second = second | {"entropy_slope": ("", *grid.chemical_potential_slope)}
    lines = ["\n  rs  theta  " + "  ".join(f"{title:>32s}" for title in columns.values())]
    for a, b in np.ndindex(grid.temperature.shape):
        line = f"{grid.rs[a]:4g} {grid.theta[b]:6g}  "
        for name in columns:
            routes = [getattr(grid, name), *([second[name][1:]] if name in second else [])]
            text = " ".join(str(Estimate(value[a, b], error[a, b], np.nan)) for value, error in routes)
            line += f"{text:>32s}  "
        lines.append(line.rstrip())
    return "\n".join(lines)


def as_json(grid: Thermodynamics, second: dict) -> dict:
    result = {}
    for name, x in grid._asdict().items():
        result[name] = {"value": x.value.tolist(), "error": x.error.tolist()} if hasattr(x, "error") else x.tolist()
    for name, (_, value, error) in second.items():
        result[f"{name}_second_route"] = {"value": value.tolist(), "error": error.tolist()}
    return result


def plot(path: Path, grid: Thermodynamics, ideal: Thermodynamics, second: dict, second_ideal: dict) -> None:
    """Each panel against theta, one colour per r_s, scaled so that the ideal gas is one line; the last one against the density.

    second: the same quantities by a second route, {name: (label, values, errors)}.
    """
    fig, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    panels = [
        ("free_energy", 2, r"free energy $r_s^2 F/N$ (hartree)"),
        ("entropy", 0, r"entropy $S/N$ ($k_B$)"),
        ("heat_capacity", 0, r"heat capacity $C/N$ ($k_B$)"),
        ("pressure_virial", 4, r"pressure $r_s^4 P$ (hartree/$a_0^2$)"),
        ("chemical_potential", 2, r"chemical potential $r_s^2 \mu$ (hartree)"),
    ]
    for axis, (name, power, label) in zip(axes.flat, panels, strict=False):
        for a, rs in enumerate(grid.rs):
            style, own, scale = {"color": f"C{a}", "capsize": 2, "lw": 1}, getattr(grid, name), rs**power
            axis.errorbar(
                grid.theta, scale * own.value[a], scale * own.error[a], fmt="o-", ms=4, label=rf"$r_s$ = {rs:g}", **style
            )
            if name in second:
                route, value, error = second[name]
                shown = route if a == 0 else None
                axis.errorbar(grid.theta, scale * value[a], scale * error[a], fmt="s", ms=6, mfc="none", label=shown, **style)
        scale = grid.rs[0] ** power
        axis.plot(grid.theta, scale * getattr(ideal, name).value[0], "k--", lw=0.8, label="ideal gas")
        if name in second_ideal:
            route, value, _ = second_ideal[name]
            axis.plot(grid.theta, scale * value[0], "k:", lw=0.8, label=f"ideal gas, {route}")
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
