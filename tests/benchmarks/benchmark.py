r"""How fast: our algorithm beside the published one (reference_algorithm.py), interleaved in one process on
one CPU core.

    python tests/benchmarks/benchmark.py --out DIR [--cases 2d13 2d29 2d57 3d14 3d33]

For each case and phase: the median CPU time per walker of both programs and their ratio, in float64, walkers
in chunks of --chunk-size for both (K in those of a training step). `step` of the reference is the sum of its
phases; of ours, `VariationalFreeEnergy.update` as a user calls it. The solve is shared by --batch walkers.
Memory is XLA's temporary memory per walker of a chunk; that of a step is the largest of its phases. `equal
error` is the ratio of the steps over that of the variances of the local energy, to which the reference's
probe adds (trained weights only). Exponents a in cost ~ N^a are fitted to all 2D cases.

The floor is what the matrix products inside the exact local energy would take at the speed of one large
matrix product.

The reference has softplus as its activation everywhere, ours that of its networks. Times on a GPU are wall
times. Weights: trained at N = 29, r_s = 10 where reference values are found, random
elsewhere.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__" and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before XLA starts its threads

import pnct  # isort: skip  (before jax starts, and before tests/pnct can be found)

sys.path.append(str(Path(__file__).parents[1]))

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import reference_algorithm as published
from reference_network import TRAINED_NETWORKS, as_ferminet, load

import pnct.distributions as dist
from pnct.distributions import transformer
from pnct.flows import ferminet
from pnct.hamiltonian import hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.optimisation.gradients import Scores
from pnct.inference.optimisation.natural_gradient import solve
from pnct.inference.sampling.batch import CLASSICAL_CHUNK
from pnct.inference.sampling.scores import complex_score, value_and_score
from pnct.kinetic import local_kinetic
from pnct.networks.activations import Softplus
from pnct.states.slater import as_states
from pnct.systems.electron_gas import ElectronGas
from pnct.systems.ewald import ewald

RS, THETA = 10.0, 0.15
SYSTEMS = {
    "2d3": ((3, 0), 2),
    "2d13": ((13, 0), 2),
    "2d29": ((29, 0), 2),
    "2d57": ((57, 0), 2),
    "3d14": ((7, 7), 3),
    "3d33": ((33, 0), 3),
}
PHASES = ("K", "R", "Ewald", "local energy", "scores", "solve")  # of a step


class Case(NamedTuple):
    """A system, and parameters for the laws of its model."""

    name: str
    weights: str
    gas: ElectronGas
    occupation: Any
    flow: Any


class Task(NamedTuple):
    """A compiled program without arguments, how many walkers it serves, and its temporary memory per walker,
    bytes.
    """

    run: Callable
    walkers: int
    memory: float | None = None


def make_case(name: str) -> Case:
    num_electrons, dim = SYSTEMS[name]
    gas = ElectronGas(num_electrons, dim, RS, THETA, twist=0.25 if dim == 2 else 0.0)
    keys = jax.random.split(jax.random.key(0), 4)
    occupation = shaken(transformer(gas)(keys[0]), keys[1])
    if name == "2d29" and TRAINED_NETWORKS.is_dir():
        return Case(name, "trained", gas, occupation, as_ferminet(load(TRAINED_NETWORKS, RS).flow, gas.space))
    return Case(name, "random", gas, occupation, shaken(ferminet(gas.space)(keys[2]), keys[3]))


def shaken(network, key, size=0.02):
    """The network with random numbers added, so that none of its parameters is zero."""
    leaves, sites = jax.tree.flatten(network)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        sites, [x + size * jax.random.normal(k, x.shape, x.dtype) for x, k in zip(leaves, keys, strict=True)]
    )


def model(gas, flow):
    """models/electron_gas.py with this flow at first."""
    occupation = pnct.module("occupation", transformer(gas))
    made = pnct.module("flow", lambda key: flow)
    K = pnct.sample("K", dist.Occupation(gas, occupation))
    return pnct.sample("R", dist.Born(gas.orbitals, K, made))


def task(f, chunk_size, *batches) -> Task:
    """f over all walkers, in chunks."""
    walkers = len(batches[0])
    chunk_size = min(chunk_size, walkers)
    run = (
        jax.jit(lambda *x: jax.lax.map(lambda one: f(*one), x, batch_size=chunk_size))
        .lower(*batches)
        .compile()
    )
    return Task(lambda: run(*batches), walkers, run.memory_analysis().temp_size_in_bytes / chunk_size)


def tasks(case: Case, walkers: int, batch: int, chunk_size: int):
    """Yields (phase, our Task, the reference's Task). Slow tasks get fewer walkers."""
    gas, orbitals, occupation, flow = case.gas, case.gas.orbitals, case.occupation, case.flow
    slow_flow = replace(flow, activation=Softplus())  # as the published networks have it
    program = dist.Occupation(gas, occupation)
    table = program._table()
    keys = jax.random.split(jax.random.key(1), walkers)
    few = slice(max(1, walkers // 4))

    def both(ours, theirs):
        return (task(f, chunk_size, *x) for f, *x in (ours, theirs))

    def draw_K(key):
        return program.sample(seed=key)

    def slow_draw_K(key):
        return published.draw_occupation(gas, occupation, program._table(), key)

    many = max(chunk_size, CLASSICAL_CHUNK)
    K_keys = jax.random.split(
        jax.random.key(2), batch
    )  # the table of the ideal gas is computed once for all of them
    yield (
        "K",
        *(
            task(f, many, keys)
            for f, keys in ((draw_K, K_keys), (slow_draw_K, K_keys[: max(many, batch // 4)]))
        ),
    )
    K = jax.jit(jax.vmap(draw_K))(keys)

    def draw_R(K, key):
        return dist.Born(orbitals, K, flow).sample(seed=key)

    def move_R(K, R, key):
        return published.metropolis(slow_flow, orbitals, K, R, key)

    R = task(draw_R, chunk_size, K, keys).run()
    yield "R", *both((draw_R, K, keys), (move_R, K[few], R[few], keys[few]))

    yield "Ewald", *both((ewald(gas.space), R), (published.pair_ewald(gas.space), R))

    def kinetic(K, R):
        return local_kinetic(as_states(orbitals), K, flow, R)

    def hutchinson(K, R, key):
        return published.kinetic(slow_flow, orbitals, K, R, gas.rs, key)

    def exact(K, R):
        return published.kinetic(slow_flow, orbitals, K, R, gas.rs)

    yield "local energy", *both((kinetic, K, R), (hutchinson, K[few], R[few], keys[few]))
    yield "exact local energy", *both((kinetic, K, R), (exact, K[:1], R[:1]))

    def rows(K, R):
        return our_scores(case, K, R)

    def slow_rows(K, R):
        return published.scores(gas, occupation, table, slow_flow, K, R)

    yield "scores", *both((rows, K, R), (slow_rows, K[few], R[few]))

    yield "solve", *solvers(case, batch)


def our_scores(case, K, R):
    classical = value_and_score(
        lambda network: dist.Occupation(case.gas, network).log_prob(K), case.occupation
    )[1]

    def psi(flow):
        return dist.Born(case.gas.orbitals, K, flow).log_modulus_and_phase(R)

    quantum = complex_score(psi, case.flow)
    return classical, quantum


def solvers(case, batch) -> tuple[Task, Task]:
    """The natural gradient of both laws, from random scores: its cost depends on their number alone."""
    blocks = []
    for network, rows in ((case.occupation, batch), (case.flow, 2 * batch)):
        P = sum(x.size for x in jax.tree.leaves(network))
        blocks.append(jax.random.normal(jax.random.key(P), (rows, P)))
    ours = jax.jit(lambda blocks: [solve(Scores(O, O[:, 0], jnp.asarray(batch)), 1e-3) for O in blocks])
    reference = jax.jit(lambda blocks: [published.solve(O, O[:, 0], batch) for O in blocks])
    return Task(lambda: ours(blocks), batch), Task(lambda: reference(blocks), batch)


def step_task(case, batch, chunk_size) -> Task:
    """One training step as a user makes it, always from the same state."""
    program = partial(model, flow=case.flow)
    vfe = VariationalFreeEnergy(program, hamiltonian(case.gas), natural_gradient(), batch, chunk_size)
    state = vfe.init(jax.random.key(0), case.gas)
    networks = {"occupation": case.occupation, "flow": case.flow}
    state = state._replace(params={name: eqx.filter(x, eqx.is_inexact_array) for name, x in networks.items()})
    return Task(lambda: vfe.update(state, case.gas), batch)


def medians(*programs: Task, repeats: int) -> list[float]:
    """Seconds per walker of each program, run in turns."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    times = [[] for _ in programs]
    for repeat in range(repeats + 1):
        for program, found in zip(programs, times, strict=True):
            start = clock()
            jax.block_until_ready(program.run())
            if repeat:  # the first warms up
                found.append((clock() - start) / program.walkers)
    return [float(np.median(x)) for x in times]


def variance_ratio(chunk_size, walkers=128) -> float:
    """Variance of the local energy of the trained gas with one probe, over that of the exact one."""
    trained = load(TRAINED_NETWORKS, RS)
    orbitals, space = trained.orbitals, trained.orbitals.space
    flow, V = as_ferminet(trained.flow, space), ewald(space)

    def both(K, key):
        R_key, probe_key = jax.random.split(key)
        R = dist.Born(orbitals, K, flow).sample(seed=R_key)
        psi = local_kinetic(as_states(orbitals), K, flow, R)
        exact = -(psi.laplacian + jnp.sum(psi.gradient**2)).real / (2 * RS**2)
        return exact + V(R) / RS, published.kinetic(flow, orbitals, K, R, RS, probe_key).real - exact

    K, _ = jax.lax.map(trained.occupation.sample, jax.random.split(jax.random.key(2), walkers))
    exact, noise = task(both, chunk_size, K, jax.random.split(jax.random.key(3), walkers)).run()
    return float((np.var(exact) + np.mean(noise**2)) / np.var(exact))


def derivative_flops(flow, N: int, dim: int) -> int:
    """Multiplications and additions in the matrix products of pnct.flows.ferminet.derivatives, for one
    walker.
    """
    D, layers, H, species = N * dim, len(flow.single), flow.out.shape[0], len(flow.space.species)
    dense = 2 * D**3 * H * (2 * layers - 1)  # the D Hessians from rank-one terms and from means
    products = 2 * D**4 + 2 * D**3  # X = M H, and T2
    means = sum(2 * D**2 * (2 * N * H + species * layer.mean.size) for layer in flow.single[1:])
    slopes = 2 * dim + dim**2  # numbers of a pair: gradient, Hessian and the gradient of the Laplacian
    in_pairs, in_sums = sum(x.weight.size for x in flow.pair), sum(x.pair.size for x in flow.single)
    pairs = 2 * N**2 * ((2 + slopes) * in_pairs + slopes * in_sums)
    return dense + products + means + pairs


def matrix_speed(size=1024) -> float:
    """Multiplications and additions per second in one large matrix product."""
    A = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda A: A @ A)
    (seconds,) = medians(Task(lambda: product(A), 1), repeats=5)
    return 2 * size**3 / seconds


def measure(name: str, walkers=16, batch=256, chunk_size=2, repeats=3, report=print) -> dict:
    """The rows of one case: seconds per walker, ratios, and bytes per walker."""
    case = make_case(name)
    rows = {}
    for phase, ours, reference in tasks(case, walkers, batch, chunk_size):
        times = medians(ours, reference, repeats=repeats)
        rows[phase] = row(*times, ours.memory, reference.memory)
        report(line(name, phase, rows[phase]))

    total = sum(rows[phase]["reference"] for phase in PHASES)
    (step,) = medians(step_task(case, batch, chunk_size), repeats=repeats)
    memory = (max(rows[phase][f"{who}_memory"] or 0 for phase in PHASES) for who in ("ours", "reference"))
    rows["step"] = row(step, total, *memory)
    report(line(name, "step", rows["step"]))

    result = {"case": name, "weights": case.weights, "num_electrons": case.gas.N, "dim": case.gas.dim}
    result |= {"orbitals": len(case.gas.orbitals), "phases": rows}
    result["floor"] = derivative_flops(case.flow, case.gas.N, case.gas.dim) / matrix_speed()
    share = result["floor"] / rows["local energy"]["ours"]
    floor = f"floor of the local energy: {1e3 * result['floor']:.3f} ms, {100 * share:.0f} % of its time"
    report(f"{name:6s} {floor}")
    if case.weights == "trained":
        result["variance_ratio"] = variance_ratio(chunk_size)
        result["equal_error"] = rows["step"]["ratio"] / result["variance_ratio"]
        report(
            f"{name:6s} equal error: {result['equal_error']:.4f} "
            f"(the probe's variance: {result['variance_ratio']:.1f} times)"
        )
    return result


def row(ours, reference, our_memory, reference_memory) -> dict:
    memory = {"ours_memory": our_memory, "reference_memory": reference_memory}
    memory |= {"memory_ratio": our_memory / reference_memory} if our_memory and reference_memory else {}
    return {"ours": ours, "reference": reference, "ratio": ours / reference} | memory


def line(case, phase, row) -> str:
    text = (
        f"{case:6s} {phase:20s} {1e3 * row['ours']:10.3f} {1e3 * row['reference']:10.3f} {row['ratio']:9.4f}"
    )
    if "memory_ratio" in row:
        ours, reference = row["ours_memory"] / 2**20, row["reference_memory"] / 2**20
        text += f" {ours:10.2f} {reference:10.2f} {row['memory_ratio']:9.3f}"
    return text


COLUMNS = f"{'ours':>10s} {'reference':>10s} {'ratio':>9s}"  # for time and for memory
HEADER = f"""{"":27s} {"ms per walker":>21s} {"":9s} {"MiB per walker":>21s}
{"case":6s} {"phase":20s} {COLUMNS} {COLUMNS}"""


def exponents(results) -> dict:
    """a of cost ~ N^a for each phase over the 2D cases, fitted in the logarithms."""
    flat = [r for r in results if r["dim"] == 2]
    if len(flat) < 2:
        return {}
    log_N = np.log([r["num_electrons"] for r in flat])

    def fit(phase, who):
        return float(np.polyfit(log_N, np.log([r["phases"][phase][who] for r in flat]), 1)[0])

    return {phase: {who: fit(phase, who) for who in ("ours", "reference")} for phase in flat[0]["phases"]}


def machine() -> dict:
    names = [
        line.split(":")[1].strip()
        for line in _read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    versions = {name: version(name) for name in ("pnct", "jax", "jaxlib", "numpy")}
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "platform": platform.platform(),
        "versions": {"python": platform.python_version(), **versions},
    }


def _read(path) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for benchmark.json")
    parser.add_argument(
        "--cases", nargs="+", choices=SYSTEMS, default=[name for name in SYSTEMS if name != "2d3"]
    )
    parser.add_argument(
        "--walkers", type=int, default=16, help="walkers of a phase; slow phases get a quarter"
    )
    parser.add_argument("--batch", type=int, default=256, help="walkers of a training step")
    parser.add_argument("--chunk-size", type=int, default=2, help="walkers at once, for both programs")
    parser.add_argument("--repeats", type=int, default=3, help="runs that a median is taken of")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)

    print(HEADER)
    results = []
    for name in args.cases:
        results.append(measure(name, args.walkers, args.batch, args.chunk_size, args.repeats))
        found = {"machine": machine(), "cases": results, "exponents": exponents(results)}
        settings = {
            "walkers": args.walkers,
            "batch": args.batch,
            "chunk_size": args.chunk_size,
            "repeats": args.repeats,
        }
        (args.out / "benchmark.json").write_text(json.dumps(found | {"settings": settings}, indent=2) + "\n")
    for phase, a in exponents(results).items():
        print(f"{phase:20s} ours N^{a['ours']:.2f}   reference N^{a['reference']:.2f}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
