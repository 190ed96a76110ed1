"""Thermodynamics of the polarised electron gas in two dimensions on a grid of r_s and theta, beside the ideal
gas.

Trains the density matrix of models/electron_gas.py from point to point, each from the one before, and derives
the heat capacity (dE/dT and from fluctuations), the pressure (virial theorem and -dF/dOmega), the chemical
potential, the compressibility and both sides of (dS/dn)_T = -(dmu/dT)_n, the quantity measured by Kuntsevich
et al., Nat. Commun. 6, 8298 (2015). The defaults take minutes; finer grids and more electrons by the flags.
"""

import argparse
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import numpy as np
from shared import (
    REFERENCE,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    keep_compiled_programs,
    output_directory,
    write_json,
)
from thermodynamics_pictures import plot

from pnct import ElectronGas, Estimate, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.observables.chemical_potential import chemical_potential
from pnct.inference.observables.thermodynamics import (
    GridEstimate,
    StatePoint,
    Thermodynamics,
    heat_capacity,
    state_point,
    thermodynamics,
    with_electrons,
)
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=3, help="electrons, all with spin up")
    parser.add_argument(
        "--rs", type=float, nargs="+", default=[1.0, 2.0, 3.0], help="density parameters r_s, two or more"
    )
    parser.add_argument(
        "--theta", type=float, nargs="+", default=[0.4, 0.5, 0.6], help="temperatures T/T_F, two or more"
    )
    parser.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along both axes")
    parser.add_argument("--steps", type=int, default=80, help="training steps at the first point")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other point")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=32768, help="independent samples of each evaluation")
    parser.add_argument(
        "--add-electron", action="store_true", help="train N + 1 electrons too: mu = F(N + 1) - F(N)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference", type=Path, default=REFERENCE, help="folder of exact values, plotted where it is there"
    )
    directory_flags(parser, "out/thermodynamics")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    rs = sorted(set(args.rs))
    theta = sorted(set(args.theta))
    if len(rs) < 2 or len(theta) < 2 or theta[0] <= 0:
        parser.error(
            f"Expected two --rs or more and two --theta or more, > 0; got {args.rs} and {args.theta}."
        )
    try:
        cutoff = ElectronGas((args.num_up, 0), 2, rs[0], theta[-1], args.twist).cutoff
        gases = [[ElectronGas((args.num_up, 0), 2, r, t, args.twist, cutoff) for t in theta] for r in rs]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    with ended_in_one_line(parser, args):
        points, fluctuations = solve(gases, args, args.seed, out)
    ideal_points = [[ideal_point(g) for g in row] for row in gases]
    grid = thermodynamics(gases, points)
    ideal = thermodynamics(gases, ideal_points)
    second = {"heat_capacity": ("from fluctuations", *fluctuations)}
    second["pressure_virial"] = (r"$-\partial F/\partial\Omega$", *grid.pressure_free_energy)
    if args.add_electron:
        more = [[with_electrons(g, (args.num_up + 1, 0)) for g in row] for row in gases]
        with ended_in_one_line(parser, args):
            mu, addition = two_routes(gases, points, more, solve(more, args, args.seed + 1, out)[0])
        _, free = two_routes(gases, ideal_points, more, [[ideal_point(g) for g in row] for row in more])
        grid = grid._replace(chemical_potential=mu)
        ideal = ideal._replace(chemical_potential=free)
        second["chemical_potential"] = ("$F(N+1) - F(N)$", *addition)

    print(table(grid, second))
    write_json(out / "result.json", args, as_json(grid, second))
    plot(out / "thermodynamics.png", args, grid, ideal, second)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def solve(gases, args, seed: int, out: Path):
    """Points, and (values, errors) of C/N from fluctuations, on the grid; every other row backwards: the
    steps are small.
    """
    path = [(a, b) for a, row in enumerate(gases) for b in range(len(row))[:: 1 if a % 2 == 0 else -1]]
    settings = {
        "num_steps": args.steps,
        "warm_steps": args.warm_steps,
        "num_samples": args.samples,
        "num_walkers": args.walkers,
    }
    settings |= {"checkpoint": out / f"training_n{gases[0][0].N}", "rounds": 1}
    solutions = sweep(
        jax.random.key(seed), electron_gas, [gases[a][b] for a, b in path], natural_gradient(), **settings
    )
    points = {}
    fluctuations = {}
    for (a, b), (gas, _, history, draws) in zip(path, solutions, strict=True):
        report = diagnose(to_arviz(draws, history))
        verdict = "" if report.converged else f"   {report.verdict}"
        label = f"N = {gas.N}  rs = {gas.rs:g}  theta = {gas.theta:g}"
        print(f"{label}  F/N {report.free_energy} hartree  S/N {report.entropy} k_B{verdict}", flush=True)
        points[a, b], fluctuations[a, b] = state_point(draws), heat_capacity(draws).scaled(1 / gas.N)

    def on_grid(x):
        return [[x[a, b] for b in range(len(gases[0]))] for a in range(len(gases))]

    C = np.array(on_grid(fluctuations))
    return on_grid(points), (C[..., 0], C[..., 1])


def ideal_point(gas) -> StatePoint:
    ideal = ideal_gas(gas)
    return StatePoint(np.array([ideal.energy, 0.0, ideal.entropy]), np.zeros((3, 3)))


def two_routes(gases, points, more, more_points):
    """mu from N and N + 1 electrons: (by density, F(N + 1) - F(N)), each values and errors on the grid, at
    one size effect.
    """
    rows = zip(gases, more, points, more_points, strict=True)
    found = [[chemical_potential((g, m), (p, q)) for g, m, p, q in zip(*row, strict=True)] for row in rows]
    routes = []
    for estimates in (
        [[x.virial for x in row] for row in found],
        [[x.addition for x in row] for row in found],
    ):
        values = np.array(estimates)
        routes.append(GridEstimate(values[..., 0], values[..., 1]))
    size = np.array([[x.size_effect for x in row] for row in found])
    return routes[0]._replace(value=routes[0].value - size), routes[1]


def table(grid: Thermodynamics, second: dict) -> str:
    """Each quantity, its second route behind it, at every point of the grid."""
    columns = {
        "pressure_virial": "P virial, -dF/dOmega (Ha/a_0^2)",
        "heat_capacity": "C/N dE/dT, fluctuations (k_B)",
        "chemical_potential": "mu by density, F(N+1) - F(N) (Ha)",
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
        known = isinstance(x, GridEstimate)
        result[name] = {"value": x.value.tolist(), "error": x.error.tolist()} if known else x.tolist()
    for name, (_, value, error) in second.items():
        result[f"{name}_second_route"] = {"value": value.tolist(), "error": error.tolist()}
    return result


if __name__ == "__main__":
    main()
