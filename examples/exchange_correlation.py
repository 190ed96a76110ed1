"""The exchange-correlation free energy f_xc(r_s, theta) of the electron gas from trained density matrices.

f_xc = (F - F_0)/N and the entropy beside it on a grid of r_s and theta: of the polarised gas in two
dimensions, of which there is no parametrisation, and of the polarised and the unpolarised gas in three,
beside GDSMFB. The defaults take half an hour, most of it for both spins; more electrons and finer grids by
the flags.
"""

import argparse
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt
import numpy as np
from figures import save
from shared import (
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    keep_compiled_programs,
    output_directory,
    write_json,
)

from pnct import ElectronGas
from pnct.inference import natural_gradient
from pnct.inference.observables import exchange_correlation as trained_functional
from pnct.inference.observables.thermodynamics import state_point
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas, unpolarised_gas
from pnct.systems import exchange_correlation as gdsmfb

# name: (dimension, electrons with spin down for each with spin up, model)
SYSTEMS = {
    "2d": (2, 0, electron_gas),
    "3d": (3, 0, electron_gas),
    "3d-unpolarised": (3, 1, unpolarised_gas),
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="which gases")
    parser.add_argument(
        "--num-up", type=int, default=3, help="electrons with spin up; unpolarised: of either spin"
    )
    parser.add_argument(
        "--rs", type=float, nargs="+", default=[1.0, 4.0, 10.0], help="density parameters r_s"
    )
    parser.add_argument("--theta", type=float, nargs="+", default=[0.25, 0.5], help="temperatures T/T_F")
    parser.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along all axes")
    parser.add_argument("--steps", type=int, default=80, help="training steps at the first r_s")
    parser.add_argument("--warm-steps", type=int, default=40, help="training steps at each other r_s")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    directory_flags(parser, "out/exchange_correlation")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    args.rs, args.theta = sorted(set(args.rs)), sorted(set(args.theta))
    if args.theta[0] <= 0:
        parser.error(f"Expected --theta > 0; got {args.theta[0]}.")
    try:
        gases = {
            name: [[gas_of(name, r, t, args) for r in args.rs] for t in args.theta] for name in args.systems
        }
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()
    rows = []
    with ended_in_one_line(parser, args):
        for name, grid in gases.items():
            for line in grid:
                rows += solve(name, line, args, out)
    print(table(rows))
    write_json(out / "result.json", args, {"rows": rows})
    plot(out / "exchange_correlation.png", args, rows)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def gas_of(name: str, rs: float, theta: float, args) -> ElectronGas:
    """All of one theta have one table of orbitals, that of the theta."""
    dim, down, _ = SYSTEMS[name]
    return ElectronGas((args.num_up, down * args.num_up), dim, rs, theta, args.twist)


def solve(name: str, line: list[ElectronGas], args, out: Path) -> list[dict]:
    """Along r_s at one theta, each density from the one before."""
    dim, down, model = SYSTEMS[name]
    settings = {
        "num_steps": args.steps,
        "warm_steps": args.warm_steps,
        "num_samples": args.samples,
        "num_walkers": args.walkers,
        "checkpoint": out / f"training_{name}_theta{line[0].theta:g}",
    }
    points = []
    rows = []
    for gas, params, _, draws in sweep(
        jax.random.key(args.seed), model, line, natural_gradient(), **settings
    ):
        S = entropy_of_states(model, args.seed + 1, params, args.samples, gas)
        found = trained_functional.exchange_correlation(gas, draws, S)
        row = {"system": name, "N": gas.N, "rs": gas.rs, "theta": gas.theta}
        row |= {
            "f_xc": found.free_energy.to_json(),
            "f_xc_infinite": found.infinite.to_json(),
            "s_xc": found.entropy.to_json(),
            "entropy_ratio": found.entropy_ratio.to_json(),
        }
        if dim == 3:
            fit = gdsmfb.exchange_correlation(gas.rs, gas.theta, 1 - down)
            row |= {"gdsmfb": fit.free_energy, "gdsmfb_s_xc": fit.entropy, "gdsmfb_ratio": fit.entropy_ratio}
        points.append(state_point(draws))
        rows.append(row)
        print(f"{name}  rs = {gas.rs:g}  theta = {gas.theta:g}  f_xc {found.free_energy} hartree", flush=True)
    if len(line) > 1:
        for row, check in zip(rows, trained_functional.coupling_integral(line, points), strict=True):
            row["coupling_integral"] = check.to_json()
    return rows


def table(rows: list[dict]) -> str:
    """f_xc in hartree per electron at N electrons, for infinitely many, by the coupling; entropies."""
    lines = [
        "\nsystem           N   rs  theta  f_xc(N)          size corrected   by the coupling  GDSMFB    "
        "S/S_0        GDSMFB 1 + s_xc/s_0"
    ]
    for row in rows:
        numbers = [f"{text(row.get(name)):16s}" for name in ("f_xc", "f_xc_infinite", "coupling_integral")]
        fit = f"{row['gdsmfb']:9.5f}" if "gdsmfb" in row else f"{'-':>9s}"
        ratio = f"{row['gdsmfb_ratio']:.4f}" if "gdsmfb" in row else "-"
        head = f"{row['system']:15s} {row['N']:2d} {row['rs']:4g} {row['theta']:6g}  "
        lines.append(head + " ".join(numbers) + f" {fit}  {text(row['entropy_ratio']):12s} {ratio}")
    return "\n".join(lines)


def text(x: dict | None) -> str:
    return "-" if x is None else f"{x['value']:.5f}({x['error']:.5f})"


def plot(path: Path, args, rows: list[dict]) -> None:
    """r_s f_xc and S/S_0 against r_s, one colour for each theta, one column for each gas."""
    fig, axes = plt.subplots(
        2, len(args.systems), figsize=(4.4 * len(args.systems), 7), layout="constrained", squeeze=False
    )
    for column, name in zip(axes.T, args.systems, strict=True):
        for i, theta in enumerate(args.theta):
            own = [row for row in rows if row["system"] == name and row["theta"] == theta]
            rs = np.array([row["rs"] for row in own])
            style = {"color": f"C{i}", "capsize": 3, "lw": 1}
            for quantity, marker, label in (
                ("f_xc", "o-", rf"$\theta$ = {theta:g}, N = {own[0]['N']}"),
                ("f_xc_infinite", "^:", "size corrected"),
            ):
                x = np.array([list(row[quantity].values()) for row in own])
                column[0].errorbar(rs, rs * x[:, 0], rs * x[:, 1], fmt=marker, ms=4, label=label, **style)
            x = np.array([list(row["entropy_ratio"].values()) for row in own])
            column[1].errorbar(rs, x[:, 0], x[:, 1], fmt="o-", ms=4, **style)
            if "gdsmfb" in own[0]:
                column[0].plot(rs, [r * row["gdsmfb"] for r, row in zip(rs, own, strict=True)], "k+")
                column[1].plot(rs, [row["gdsmfb_ratio"] for row in own], "+--", color=f"C{i}")
        column[0].set(title=name, xlabel=r"$r_s$", ylabel=r"$r_s f_{xc}$ (hartree)")
        column[0].legend(fontsize="small")
        column[1].set(xlabel=r"$r_s$", ylabel=r"$S/S_0$  (+: GDSMFB)")
        column[1].axhline(1, color="0.8", lw=0.8)
    save(fig, path)


if __name__ == "__main__":
    main()
