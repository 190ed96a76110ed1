"""Spins on a chain or a square lattice through a quantum circuit, against temperature and field, beside exact
diagonalisation.

Trains the density matrix of models/spin_circuit.py from point to point, and shows F, E, S, the heat capacity,
the magnetisation, correlations, and the energies of single states beside the exact levels.
"""

import argparse
from functools import partial

import jax

# float64: what is to be seen is a difference of 1e-3 and less between free energies.
jax.config.update("jax_enable_x64", True)

import numpy as np
from shared import (
    check_whole_numbers,
    directory_flags,
    ended_in_one_line,
    entropy_of_states,
    estimates,
    keep_compiled_programs,
    output_directory,
    write_json,
)
from spin_circuit_pictures import plot_correlations, plot_spectrum, plot_thermodynamics

from pnct import spin_hamiltonian
from pnct.circuits import brickwork
from pnct.circuits.base import memory
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.inference.observables.excitations import excitation_energies
from pnct.inference.observables.pauli_expectations import pauli_expectations
from pnct.inference.observables.thermodynamics import heat_capacity
from pnct.inference.workflows.sweep import sweep
from pnct.models import spin_circuit
from pnct.systems import heisenberg, pauli_sum, square, transverse_field_ising, xxz

LARGEST_EXACT = 12  # sites
MODELS = ("ising", "heisenberg", "xy")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2, help="of the lattice; 1 is a chain")
    parser.add_argument("--columns", type=int, default=2, help="of the lattice")
    parser.add_argument("--periodic", action="store_true", help="periodic boundaries; open ones otherwise")
    parser.add_argument(
        "--model", choices=MODELS, default="ising", help="the field is along X for ising, along Z otherwise"
    )
    parser.add_argument("--field", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="field, units of J")
    parser.add_argument("--beta", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="J/T")
    parser.add_argument("--depth", type=int, default=2, help="rounds of gates; 0 is mean field")
    parser.add_argument("--steps", type=int, default=150, help="training steps at the first point")
    parser.add_argument("--warm-steps", type=int, default=80, help="training steps at each other point")
    parser.add_argument("--walkers", type=int, default=512, help="independent samples per step")
    parser.add_argument("--samples", type=int, default=16_384, help="independent samples of each evaluation")
    parser.add_argument(
        "--states", type=int, default=8, help="states whose energies are set beside the levels"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same numbers"
    )
    directory_flags(parser, "out/spin_circuit")
    return parser


def system(args, field: float, beta: float):
    """The spins of one point of the grid."""
    lattice = square(args.rows, args.columns, args.periodic)
    if args.model == "ising":
        return transverse_field_ising(lattice, field, beta)
    if args.model == "heisenberg":
        return heisenberg(lattice, beta, longitudinal=field)
    return xxz(lattice, 1.0, 0.0, beta, longitudinal=field)


def operators(spins) -> dict:
    """Magnetisation per site along X and Z, and the correlation Z_i Z_j of sites 1, 2, ... bonds apart."""
    N = spins.N
    found = {f"magnetisation {a}": pauli_sum(N, {f"{a}{i}": 1 / N for i in range(N)}) for a in "XZ"}
    distance = distances(spins.lattice)
    for d in range(1, distance.max() + 1):
        pairs = [(i, j) for i in range(N) for j in range(i) if distance[i, j] == d]
        found[f"ZZ {d}"] = pauli_sum(N, {f"Z{j} Z{i}": 1 / len(pairs) for i, j in pairs})
    return found


def distances(lattice) -> np.ndarray:
    """The number of bonds between all pairs of sites."""
    N = lattice.num_sites
    found = np.where(np.eye(N), 0, N)
    for i, j in lattice.bonds:
        found[i, j] = found[j, i] = 1
    for k in range(N):
        found = np.minimum(found, found[:, [k]] + found[[k]])
    return found


def exact_states(spins):
    """All levels and eigenstates; None beyond 12 sites."""
    return None if spins.N > LARGEST_EXACT else np.linalg.eigh(spins.terms.matrix())


def exact_values(spins, spectrum, named: dict) -> dict:
    """F, E, S, C per site, the operators and all levels; nothing without the spectrum."""
    if spectrum is None:
        return {}
    levels, states = spectrum
    p = np.exp(-spins.beta * (levels - levels[0]))
    Z = np.sum(p)
    p = p / Z
    E = p @ levels
    F = levels[0] - np.log(Z) / spins.beta
    exact = {"free_energy": F, "energy": E, "entropy": spins.beta * (E - F)}
    exact |= {"heat_capacity": spins.beta**2 * (p @ (levels - E) ** 2)}
    exact = {name: float(x) / spins.N for name, x in exact.items()}
    for name, operator in named.items():
        exact[name] = float(p @ np.sum(states.conj() * (operator.matrix() @ states), axis=0).real)
    return exact | {"levels": levels.tolist()}


def likely_states(draws, number: int) -> np.ndarray:
    """The states K that were drawn most often, the most frequent one first."""
    K, counts = np.unique(draws.samples["K"], axis=0, return_counts=True)
    return K[np.argsort(-counts, kind="stable")[:number]]


def main(argv=None) -> None:
    parser = arguments()
    args = parser.parse_args(argv)
    check_whole_numbers(args, parser, steps=0, warm_steps=0, walkers=2, samples=64, states=1)
    betas = sorted(set(args.beta))
    fields = sorted(set(args.field))
    try:
        grid = [[system(args, field, beta) for beta in betas] for field in fields]
        brickwork(grid[0][0].lattice, args.depth)  # refuses what cannot be
    except ValueError as error:
        parser.error(str(error))
    model = partial(spin_circuit, depth=args.depth)
    vfe = VariationalFreeEnergy(model, spin_hamiltonian, natural_gradient(), args.walkers)
    size = memory(grid[0][0].lattice) / 1e6
    print(f"{grid[0][0].N} sites: up to {size:.3g} MB of state vectors for each walker of a chunk")
    out = output_directory(args, parser)
    keep_compiled_programs()

    runs = []
    with ended_in_one_line(parser, args):
        for f, row in enumerate(grid):
            spectrum = exact_states(row[0])  # which no temperature changes
            solutions = sweep(
                jax.random.key(args.seed),
                model,
                row,
                natural_gradient(),
                args.steps,
                args.samples,
                args.warm_steps,
                args.walkers,
                spin_hamiltonian,
                checkpoint=out / "training" / f"field{fields[f]:g}",
            )
            for solution in solutions:
                runs.append(evaluated(args, model, vfe, fields[f], solution, spectrum, out))
                print(line(runs[-1]), flush=True)

    write_json(out / "result.json", args, {"runs": runs, "energy_unit": "J", "per": "site"})
    plot_thermodynamics(out / "thermodynamics.png", runs)
    plot_correlations(out / "correlations.png", runs)
    plot_spectrum(out / "spectrum.png", runs)
    print(f"Wrote {', '.join(sorted(p.name for p in out.iterdir()))} to {out}")


def evaluated(args, model, vfe, field, solution, spectrum, out) -> dict:
    """All that is kept of one point: estimates, exact values, energies of single states."""
    spins, params, history, draws = solution
    beta = float(spins.beta)
    idata = to_arviz(draws, history, system=spins)
    idata.to_netcdf(str(out / f"draws_field{field:g}_beta{beta:g}.nc"), engine="h5netcdf")
    named = operators(spins)
    exact = exact_values(spins, spectrum, named)
    S = entropy_of_states(model, args.seed + 1, params, args.samples, spins)
    report = diagnose(idata, exact.get("free_energy"), S)
    found = pauli_expectations(model, params, draws, tuple(named.values()), spins)
    run = {"field": field, "beta": beta, "sites": spins.N} | estimates(report)
    run |= {"heat_capacity": heat_capacity(draws).scaled(1 / spins.N).to_json()}
    run |= {name: estimate.to_json() for name, estimate in zip(named, found, strict=True)}
    K = likely_states(draws, args.states)
    energies = excitation_energies(
        jax.random.key(args.seed + 2), vfe, params, K, max(args.samples // 8, 64), spins
    ).energy
    return run | {"states": K.tolist(), "energies": [e.to_json() for e in energies], "exact": exact}


def line(run) -> str:
    """F, E and S of one point beside the exact values."""
    parts = [f"field {run['field']:<4g} J/T {run['beta']:<4g} per site (J, k_B):"]
    for name, symbol in (("free_energy", "F"), ("energy", "E"), ("entropy", "S"), ("heat_capacity", "C")):
        beside = f" (exact {run['exact'][name]:.5f})" if run["exact"] else ""
        parts.append(f"{symbol} {run[name]['value']:.5f} +- {run[name]['error']:.5f}{beside}")
    return "  ".join(parts) + f"\n    {run['verdict']}"


if __name__ == "__main__":
    main()
