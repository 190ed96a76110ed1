"""The spectral function A(k, w) of the polarised electron gas in two dimensions, and its residue against r_s.

Trains the density matrices of N - 1, N and N + 1 electrons in one cell at one temperature, and adds an
electron to one of them to meet the next: A(k, w) as a heat map with mu and the quasi-particle dispersion,
whose slope is m*/m, and the residue Z of the last electron, beside exact values (2 to 3 electrons) and
published ones. The defaults take minutes; more electrons by the flags.
"""

import argparse
from pathlib import Path

import jax

# float64: the local energy takes third derivatives of the flow, and weights of 1e-3 are the result.
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
from spectral_function_pictures import plot, plot_residues

from pnct import ElectronGas, Estimate, hamiltonian
from pnct.estimate import mean_of_independent
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.electron_pair import TrainedGas, neighbour
from pnct.inference.observables.poles import dispersion, joined
from pnct.inference.observables.spectral_function import lowest_states, residue, spectral_function
from pnct.inference.workflows.sweep import sweep
from pnct.models import electron_gas, few_electrons

FEW = 3  # electrons, N + 1, up to which p(K) is tabulated and states are mixed


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-up", type=int, default=2, help="electrons N, all with spin up, 2 or more")
    parser.add_argument(
        "--rs", type=float, nargs="+", default=[1.0, 5.0, 10.0], help="density parameters r_s"
    )
    parser.add_argument("--theta", type=float, default=0.15, help="temperature T/T_F of the N electrons")
    parser.add_argument("--twist", type=float, default=0.25, help="in 2 pi/L, along both axes")
    parser.add_argument(
        "--cutoff",
        type=float,
        default=None,
        help="of the orbitals, in (2 pi/L)^2; by default that of N + 6 electrons",
    )
    parser.add_argument("--steps", type=int, default=120, help="training steps at the first r_s")
    parser.add_argument("--warm-steps", type=int, default=60, help="training steps at each other r_s")
    parser.add_argument("--walkers", type=int, default=256, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=16384, help="independent samples of F, and of Z")
    parser.add_argument(
        "--block-samples", type=int, default=512, help="independent samples of each block of A(k, w)"
    )
    parser.add_argument("--states", type=int, default=40, help="low states in A(k, w), where N + 1 > 3")
    parser.add_argument(
        "--width", type=float, default=0.08, help="of the lines in the picture, in units of E_F"
    )
    parser.add_argument(
        "--only-residue", action="store_true", help="Z alone: N and N + 1 electrons, no A(k, w)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    parser.add_argument(
        "--reference", type=Path, default=REFERENCE, help="folder of exact values, plotted where it is there"
    )
    directory_flags(parser, "out/spectral_function")
    return parser


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(
        args, parser, num_up=2, steps=0, warm_steps=0, walkers=2, samples=64, block_samples=2, states=1
    )
    if args.width <= 0 or args.theta <= 0:
        parser.error(f"Expected --width > 0 and --theta > 0; got {args.width} and {args.theta}.")
    try:
        N = args.num_up
        cutoff = args.cutoff or ElectronGas((N + 6, 0), 2, 1.0, 0.0, args.twist).cutoff
        cutoff = max(cutoff, ElectronGas((N, 0), 2, 1.0, args.theta, args.twist).cutoff)
        gases = [ElectronGas((N, 0), 2, r, args.theta, args.twist, cutoff) for r in sorted(set(args.rs))]
    except ValueError as error:
        parser.error(str(error))
    out = output_directory(args, parser)
    keep_compiled_programs()

    changes = (0, 1) if args.only_residue else (-1, 0, 1)
    with ended_in_one_line(parser, args):
        trained = {change: train(gases, change, args, out) for change in changes}
        results = [
            of_one_density(gas, {c: trained[c][i] for c in changes}, args) for i, gas in enumerate(gases)
        ]
    print(table(gases, results))
    write_json(
        out / "result.json", args, {"runs": [as_json(g, r) for g, r in zip(gases, results, strict=True)]}
    )
    if not args.only_residue:
        plot(out / "spectral_function.png", args, gases, results)
    plot_residues(out / "residue.png", args, gases, [r["residue"] for r in results])
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def train(gases, change: int, args, out: Path) -> list[tuple[TrainedGas, Estimate]]:
    """The density matrices of the gases with another number of electrons, and their F."""
    own = [neighbour(gas, change) if change else gas for gas in gases]
    model = few_electrons if gases[0].N + 1 <= FEW else electron_gas
    settings = {
        "num_steps": args.steps,
        "warm_steps": args.warm_steps,
        "num_samples": args.samples,
        "num_walkers": args.walkers,
        "rounds": 1,
        "checkpoint": out / f"training_n{own[0].N}",
    }
    found = []
    key = jax.random.key(args.seed + 1 + change)
    for gas, params, _, draws in sweep(key, model, own, natural_gradient(), **settings):
        vfe = VariationalFreeEnergy(model, hamiltonian(gas), natural_gradient(), args.walkers)
        F = mean_of_independent(draws.finite().free_energy)
        print(f"N = {gas.N}  rs = {gas.rs:.4g}  theta = {gas.theta:.4g}  F {F} hartree", flush=True)
        found.append((TrainedGas(vfe, gas, params), F))
    return found


def of_one_density(gas, trained: dict, args) -> dict:
    """Z of the last electron, and A(k, w) of the N electrons."""
    keys = jax.random.split(jax.random.key(args.seed + 10), 3)
    (here, F), (more, F_more) = trained[0], trained[1]
    # the ground state of N + 1 electrons without its last electron
    k = gas.N
    Z = residue(keys[0], here, more, k, np.arange(gas.N), np.arange(gas.N + 1), args.samples)
    found = {
        "residue": Z,
        "mu": Estimate(F_more.value - F.value, float(np.hypot(F.error, F_more.error)), np.nan),
    }
    if args.only_residue:
        return found
    less, F_less = trained[-1]
    orbitals = np.arange(len(gas.orbitals))
    states = [lowest_states(x.gas, args.states) for x in (less, here, more)]
    lists = (None, None) if gas.N + 1 <= FEW else (states[:2], states[1:])
    lower = spectral_function(keys[1], less, here, orbitals, args.block_samples, (F_less, F), lists[0])
    upper = spectral_function(keys[2], here, more, orbitals, args.block_samples, (F, F_more), lists[1])
    A = joined(lower.removed, upper.added)
    return found | {"A": A, "missing": upper.added.missing, "dispersion": dispersion(gas, A)}


def table(gases, results) -> str:
    lines = [
        "\n  rs   Z of the last electron   mu/E_F         m*/m of the dispersion   largest missing weight"
    ]
    for gas, r in zip(gases, results, strict=True):
        line = f"{gas.rs:5g}  {r['residue']!s:22s}  {r['mu'].scaled(1 / float(gas.E_F))!s:14s}"
        if "A" in r:
            missing = max(x.value for x in r["missing"])
            line += f" {r['dispersion'].effective_mass!s:24s} {missing:.4f}"
        lines.append(line)
    return "\n".join(lines)


def as_json(gas, r: dict) -> dict:
    result = {"rs": gas.rs, "E_F": float(gas.E_F), "residue": r["residue"].to_json(), "mu": r["mu"].to_json()}
    if "A" not in r:
        return result
    A = r["A"]
    columns = ("k", "energy", "energy_error", "weight", "error")
    return result | {
        "wavevectors": A.wavevectors.tolist(),
        "poles": {name: getattr(A, name).tolist() for name in columns},
        "missing": [x.to_json() for x in r["missing"]],
        "quasi_particles": r["dispersion"].energy.tolist(),
        "effective_mass": r["dispersion"].effective_mass.to_json(),
    }


if __name__ == "__main__":
    main()
