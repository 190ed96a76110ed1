r"""Which flow reaches the lowest F of a quantum dot:  F = E[T ln p(K) + E_loc]  of one model with each of
them in turn.

    python tests/benchmarks/dot_flows.py --out DIR [--flows NAME ...] [--coupling 8] [--beta 5] [--steps 150]

Three electrons of one spin. The continuous flow and backflow with parameters that depend on the total angular
momentum, the continuous flow and FermiNet, which has no symmetry under rotations, with one set for all
states; in a model that is else the one of models/quantum_dot.py. For each: F, E and S, totals; the median
time of a training step, in units of that of the first one asked for; the number of parameters.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np

import pnct
import pnct.distributions as dist
from pnct import HarmonicTrap, hamiltonian
from pnct.distributions import transformer
from pnct.flows import backflow, by_sector, continuous, ferminet
from pnct.inference import VariationalFreeEnergy, diagnose, natural_gradient, to_arviz
from pnct.orbitals.rotated import rotated_orbitals

FLOWS = {
    "continuous": (lambda space: continuous(space, depth=2, width=16), True),
    "continuous, one for all states": (lambda space: continuous(space, depth=2, width=16), False),
    "FermiNet, one for all states": (lambda space: ferminet(space, depth=2, width=16), False),
    "backflow": (lambda space: backflow(space, width=16), True),
}


def model(make, by_momentum: bool):
    """The dot with this flow."""

    def dot(trap):
        states = pnct.module("orbitals", rotated_orbitals(trap.orbitals))
        K = pnct.sample(
            "K", dist.Occupation(trap, pnct.module("occupation", transformer(trap, layers=2, width=16)))
        )
        if by_momentum:
            flow = pnct.module("flows", by_sector(trap.orbitals, make(trap.space)))(states.quantum_numbers(K))
        else:
            flow = pnct.module("flows", make(trap.space))
        return pnct.sample("R", dist.Born(states, K, flow.with_cusps(trap.coupling)))

    return dot


def measured(program, trap, steps: int, walkers: int, samples: int) -> dict:
    """F, E and S with their errors, totals; seconds of a step; the size of the flow."""
    vfe = VariationalFreeEnergy(program, hamiltonian(trap), natural_gradient(), walkers)
    state, seconds = vfe.init(jax.random.key(0), trap), []
    for _ in range(steps):
        start = time.perf_counter()
        state, info = vfe.update(state, trap)
        jax.block_until_ready(info.free_energy)
        seconds.append(time.perf_counter() - start)
    report = diagnose(to_arviz(vfe.evaluate(jax.random.key(1), state.average, samples, trap)))
    totals = {name: getattr(report, name).scaled(trap.N) for name in ("free_energy", "energy", "entropy")}
    size = sum(x.size for x in jax.tree.leaves(state.params["flows"]))
    return {name: (x.value, x.error) for name, x in totals.items()} | {
        "seconds": float(np.median(seconds)),
        "parameters": size,
    }


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="directory for dot_flows.json")
    parser.add_argument("--coupling", type=float, default=8.0)
    parser.add_argument("--beta", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--walkers", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16_384)
    parser.add_argument("--flows", nargs="+", default=list(FLOWS), choices=list(FLOWS))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    trap, found = HarmonicTrap((3, 0), args.coupling, args.beta), {}
    for name in args.flows:
        make, by_momentum = FLOWS[name]
        found[name] = measured(model(make, by_momentum), trap, args.steps, args.walkers, args.samples)
        x = found[name]
        row = "  ".join(
            f"{symbol} = {x[key][0]:.5f}({x[key][1]:.5f})" for symbol, key in zip("FES", x, strict=False)
        )
        step = x["seconds"] / found[args.flows[0]]["seconds"]
        print(f"{name}: {row}  step x {step:.2f}  {x['parameters']} parameters", flush=True)
        (args.out / "dot_flows.json").write_text(
            json.dumps(vars(args) | {"out": str(args.out), "flows": found}, indent=1)
        )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)  # float64, as in the examples
    main()
