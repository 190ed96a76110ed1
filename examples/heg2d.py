"""The effective mass of the polarised electron gas in two dimensions against r_s, beside published values.

Trains the density matrix of models/electron_gas.py (few_electrons.py for up to three) from small to large
r_s, each from the one before, and finds m*/m from the entropy, from the learned levels and from Landau's
energy functional. The defaults take minutes, --paper takes hours: theta = 0.15, a twist of 1/4 and the six
r_s of Xie, Zhang, Wang, SciPost Phys. 14, 154 (2023), for any --num-up (a shell that is filled in part is
told, as it has an entropy of its own):

    --paper --num-up 13 29 49 --processes 2
"""

import argparse
import csv
import math
import sys
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and differences of 1e-4 are the result.
jax.config.update("jax_enable_x64", True)

import matplotlib.pyplot as plt
import numpy as np
from figures import errorbar_beside, save
from shared import (
    REFERENCE,
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    exact_rows,
    keep_compiled_programs,
    output_directory,
    process_flags,
    share_the_work,
    write_json,
)

from pnct import ElectronGas, ideal_gas
from pnct.inference import diagnose, natural_gradient, to_arviz
from pnct.inference.observables.effective_mass import effective_mass
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas, few_electrons
from pnct.systems.first_order import first_order_bound

APART = 3.0  # printer's points between curves of one r_s
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
ROUTES = {"entropy": r"$s/s_0$", "levels": "learned levels", "quasi_particles": "Landau functional"}


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
    parser.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along both axes")
    parser.add_argument("--steps", type=int, default=100, help="training steps at the first r_s")
    parser.add_argument("--warm-steps", type=int, default=60, help="training steps at each other r_s")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=8192, help="independent samples of each evaluation")
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
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64)
    try:
        systems = {
            N: [ElectronGas((N, 0), 2, rs, args.theta, args.twist) for rs in sorted(args.rs)]
            for N in args.num_up
        }
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    if jax.process_index() == 0:
        print(*filter(None, (open_shell(gas) for gas, *_ in systems.values())), sep="\n", flush=True)
    rows = []
    for N, gases in systems.items():
        key = jax.random.fold_in(jax.random.key(args.seed), N)
        settings = {
            "num_samples": args.samples,
            "num_walkers": args.walkers,
            "checkpoint": out / f"training_n{N}",
            "rounds": 2,
        }
        model = few_electrons if N <= 3 else electron_gas
        steps = {"num_steps": args.steps, "warm_steps": args.warm_steps}
        with ended_in_one_line(parser, args):
            for gas, params, history, draws in sweep(
                key, model, gases, natural_gradient(), **steps, **settings
            ):
                S = entropy_of_states(model, args.seed + 1 + len(rows), params, args.samples, gas)
                idata = to_arviz(draws, history, system=gas)
                report = diagnose(idata, entropy=S)
                mass = effective_mass(gas, draws, params, S)
                if jax.process_index() == 0:
                    idata.to_netcdf(str(out / f"draws_n{N}_rs{gas.rs:g}.nc"), engine="h5netcdf")
                    print(line(gas, report, mass), flush=True)
                masses = {
                    name: value.to_json()
                    for name, value in mass._asdict().items()
                    if np.isfinite(value.value)
                }
                rows.append({"num_electrons": N, "rs": gas.rs, **estimates(report), "effective_mass": masses})

    if jax.process_index() > 0:
        return
    write_json(out / "result.json", args, {"runs": rows})
    plot_effective_mass(out / "effective_mass.png", args, rows)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


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


def line(gas, report, mass) -> str:
    bound = first_order_bound(gas).free_energy / gas.N
    text = (
        f"N = {gas.N}  rs = {gas.rs:g}  F/N {report.free_energy} hartree (first order {bound:.5f})  "
        f"S/N {report.entropy} k_B\n"
        f"    m*/m: {mass}"
    )
    return text if report.converged else f"{text}\n    {report.verdict}"


def plot_effective_mass(path: Path, args, rows) -> None:
    """The three routes of this run, and the published values, grey and black; with several N a second panel
    against 1/N.
    """
    numbers = sorted({row["num_electrons"] for row in rows})
    fig, axes = plt.subplots(
        1,
        1 + (len(numbers) > 1),
        figsize=(10 + 4 * (len(numbers) > 1), 5),
        layout="constrained",
        squeeze=False,
    )
    axis = axes[0, 0]
    if len(numbers) > 1:
        plot_against_size(axes[0, 1], rows)
    curves = [*own_points(rows, numbers), *reference_points(args.reference, numbers, args)]
    for name, shift, (rs, mass, error), style in curves:
        look = {"lw": 0.8, "ms": 5, "capsize": 2} | style
        errorbar_beside(axis, APART * shift, rs, mass, error, label=name, **look)
    axis.axhline(1, color="k", lw=0.6)
    axis.set(xscale="log", xlabel=r"density parameter $r_s$", ylabel=r"effective mass $m^*/m$")
    axis.set_xticks(apart(np.concatenate([points[0] for _, _, points, _ in curves])))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.set_title(
        rf"2D, polarised, $\theta$ = {args.theta:g}, twist = {args.twist:g} $\times 2\pi/L$",
        fontsize="medium",
    )
    caption = f"Points of one $r_s$ stand side by side,\n{APART:g} pt apart, to be seen."
    legend = fig.legend(
        *axis.get_legend_handles_labels(),
        loc="outside right upper",
        fontsize="small",
        title=caption,
        title_fontsize="small",
    )
    legend.set_alignment("left")
    save(fig, path)


def plot_against_size(axis, rows) -> None:
    """m*/m from the entropy against 1/N, a curve for each r_s."""
    for i, rs in enumerate(sorted({row["rs"] for row in rows})):
        same = [row for row in rows if row["rs"] == rs and "entropy" in row["effective_mass"]]
        points = np.array([(1 / r["num_electrons"], *r["effective_mass"]["entropy"].values()) for r in same])
        if len(points):
            x, mass, error = points[np.argsort(points[:, 0])].T[:3]
            axis.errorbar(
                x, mass, error, fmt="o-", color=f"C{i}", lw=0.8, ms=5, capsize=2, label=rf"$r_s$ = {rs:g}"
            )
    axis.axhline(1, color="k", lw=0.6)
    axis.set(xlabel="1/N", ylabel=r"$m^*/m$ from the entropy")
    axis.set_xlim(left=0)
    axis.legend(fontsize="small")


def apart(values, factor: float = 1.15) -> list[float]:
    """Those of the values, ascending, that are this far from the one before: ticks that can be read."""
    kept = []
    for x in np.unique(values):
        if not kept or x > factor * kept[-1]:
            kept.append(float(x))
    return kept


def own_points(rows, numbers):
    """(name, shift, (rs, m*/m, error), style) of the routes of this run."""
    for color, N in enumerate(numbers):
        for i, ((route, label), marker) in enumerate(zip(ROUTES.items(), ("o", "^", "s"), strict=True)):
            points = [
                (r["rs"], *r["effective_mass"][route].values())
                for r in rows
                if r["num_electrons"] == N and route in r["effective_mass"]
            ]
            if points:
                style = {"fmt": marker, "color": f"C{color}", "lw": 1}
                style |= {"ls": "-"} if route == "entropy" else {"ls": ":", "mfc": "none"}
                yield f"N = {N}, {label}", 3 * i - 3 + color, np.array(points).T, style


def reference_points(folder: Path, numbers, args):
    """The same of published values of the polarised gas, and of exact diagonalisation where there is any."""
    if not folder.is_dir():
        print(f"No published values at {folder}: the plot shows this run alone.")
        return

    def read(name):
        return list(csv.DictReader((folder / name).open()))

    def number(rows, *columns):
        return np.array([[float(row[c] or "nan") for row in rows] for c in columns])

    methods = [
        row for row in read("effective_mass.csv") if row["dim"] == "2" and "fully polarised" in row["method"]
    ]
    for i, method in enumerate(dict.fromkeys(row["method"] for row in methods)):
        points = number([row for row in methods if row["method"] == method], "rs", "m_star_over_m", "error")
        name = (
            method.removesuffix(", fully polarised")
            .replace("URL given is also ", "")
            .replace("plotted as", "curve of its")
        )
        yield name, 1.5 * i - 2, points, {"fmt": "v<>P"[i % 4], "color": "0.55", "mfc": "none"}

    published = [row for row in read("published_2d_gas.csv") if row["quantity"].startswith("m*/m")]
    sizes = dict.fromkeys(row["num_electrons_polarised"] for row in published)
    for i, (N, marker) in enumerate(zip(sizes, "xd+", strict=False)):
        same = [row for row in published if row["num_electrons_polarised"] == N]
        name = f"N = {N}, $s/s_0$, Xie, Zhang, Wang (2023)"
        yield name, 1.5 * i - 1, number(same, "rs", "value", "error"), {"fmt": marker, "color": "k"}

    for color, N in enumerate(numbers):
        same = {"dim": 2, "n_up": N, "n_dn": 0, "theta": args.theta, "twist": args.twist}
        exact = [row for row in exact_rows(folder, **same) if row["S_total"]]
        if exact:
            s0 = ideal_gas(ElectronGas((N, 0), 2, 1.0, args.theta, args.twist)).entropy
            points = number(exact, "rs", "S_total", "S_total_err") / np.array([[1.0], [s0], [s0]])
            style = {"fmt": "*--", "color": f"C{color}", "mec": "k", "mew": 0.5}
            yield f"N = {N}, $s/s_0$, exact diagonalisation", 0, points, style


if __name__ == "__main__":
    main()
