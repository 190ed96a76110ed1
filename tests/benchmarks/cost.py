r"""What a walker of a training step costs against the number of electrons, of our algorithm alone: CPU time.

    python tests/benchmarks/cost.py --out DIR [--num-electrons 13 29 57 81 121] [--walkers 16]

The polarised gas in 2D at twist 1/4, r_s = 10, theta = 0.15, with the default networks moved at random; one
core. The phases are those of benchmark.py; what is left out is the solution for the natural gradient, 0.15 to
0.25 ms for each of 256 walkers. Exponents a in cost ~ N^a are those between neighbouring N. Writes cost.json
and cost.png.
"""

import argparse
import json
import os
from pathlib import Path

if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before XLA starts its threads

import benchmark  # before pnct: tests/pnct is not to be found in its place
import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import ferminet
from pnct.inference.sampling.parallel import default_chunk_size
from pnct.kinetic import local_kinetic
from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ewald import ewald

TWIST = 1 / 4


def case_of(num_electrons: int) -> benchmark.Case:
    gas = ElectronGas((num_electrons, 0), 2, benchmark.RS, benchmark.THETA, TWIST)
    keys = jax.random.split(jax.random.key(0), 4)
    occupation = benchmark.shaken(transformer(gas)(keys[0]), keys[1])
    flow = benchmark.shaken(ferminet(gas.space)(keys[2]), keys[3])
    return benchmark.Case(str(num_electrons), "random", gas, occupation, flow)


def phases(case: benchmark.Case, walkers: int, chunk_size: int):
    """Yields (phase, Task)."""
    orbitals, flow = case.gas.orbitals, case.flow
    program = dist.Occupation(case.gas, case.occupation)
    keys = jax.random.split(jax.random.key(1), walkers)

    def draw_K(key):
        return program.sample(seed=key)

    def draw_R(K, key):
        return dist.Born(orbitals, K, flow).sample(seed=key)

    def kinetic(K, R):
        return local_kinetic(as_states(orbitals), K, flow, R)

    def rows(K, R):
        return benchmark.our_scores(case, K, R)

    first = benchmark.task(draw_K, min(benchmark.CLASSICAL_CHUNK, walkers), keys)
    K = first.run()
    second = benchmark.task(draw_R, chunk_size, K, keys)
    R = second.run()
    yield "K", first
    yield "R", second
    yield "Ewald", benchmark.task(ewald(case.gas.space), chunk_size, R)
    yield "local energy", benchmark.task(kinetic, chunk_size, K, R)
    yield "scores", benchmark.task(rows, chunk_size, K, R)


def measure(num_electrons: int, walkers: int, chunk_size: int, repeats: int) -> dict:
    """Milliseconds per walker of each phase, and of all."""
    case = case_of(num_electrons)
    found = {
        phase: 1e3 * benchmark.medians(program, repeats=repeats)[0]
        for phase, program in phases(case, walkers, chunk_size)
    }
    found["all"] = sum(found.values())
    return {"num_electrons": num_electrons, "orbitals": len(case.gas.orbitals), "ms": found}


def exponents(rows: list[dict], phase: str) -> list[float]:
    """a of cost ~ N^a between neighbouring N."""
    log_N = np.log([row["num_electrons"] for row in rows])
    return [float(a) for a in np.diff(np.log([row["ms"][phase] for row in rows])) / np.diff(log_N)]


def plot(path: Path, rows: list[dict]) -> None:
    N = np.array([row["num_electrons"] for row in rows])
    figure, axes = plt.subplots(figsize=(6, 4.2), layout="constrained")
    for phase in rows[0]["ms"]:
        style = {"color": "black", "linewidth": 2} if phase == "all" else {"linewidth": 1}
        axes.plot(N, [row["ms"][phase] for row in rows], "o-", markersize=4, label=phase, **style)
    axes.plot(N, rows[0]["ms"]["all"] * (N / N[0]) ** 2, ":", color="grey", label="$N^2$")
    axes.plot(N, rows[0]["ms"]["all"] * (N / N[0]) ** 3, "--", color="grey", label="$N^3$")
    axes.set(xscale="log", yscale="log", xlabel="electrons N", ylabel="CPU time (ms) per walker")
    axes.set_xticks(N, [str(n) for n in N], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for cost.json and cost.png")
    parser.add_argument("--num-electrons", type=int, nargs="+", default=[13, 29, 57, 81, 121])
    parser.add_argument("--walkers", type=int, default=16, help="walkers of a phase")
    parser.add_argument("--chunk-size", type=int, help="walkers at once, by default those of a training")
    parser.add_argument("--repeats", type=int, default=3, help="runs that a median is taken of")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")

    rows = []
    for N in args.num_electrons:
        rows.append(measure(N, args.walkers, args.chunk_size or default_chunk_size(N), args.repeats))
        print(f"N = {N}, M = {rows[-1]['orbitals']}: ", {k: round(v, 3) for k, v in rows[-1]["ms"].items()})
        found = {"machine": benchmark.machine(), "rows": rows}
        found |= {"exponents": {phase: exponents(rows, phase) for phase in rows[0]["ms"]}}
        (args.out / "cost.json").write_text(json.dumps(found, indent=2) + "\n")
    for phase, a in found["exponents"].items():
        print(f"{phase:14s} N^a, a between neighbours: " + " ".join(f"{x:.2f}" for x in a))
    plot(args.out / "cost.png", rows)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
