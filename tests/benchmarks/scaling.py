r"""What several devices cost: one training step on 1, 2, 4 and 8 of eight CPU devices, and what they tell
each other.

    python tests/benchmarks/scaling.py --out DIR [--num-up 5] [--walkers 128]

Strong: --walkers in all.  Weak: an eighth of them on each device.  For each, medians of the wall and CPU time
of a step, and the CPU time per walker in units of that on one device: what the devices do more than once,
whatever the number of cores. Wall time can fall only up to the number of cores. Then the bytes of the results
of all collectives in the compiled step, and the largest of them by shape. Programs are compiled without
LLVM's expensive passes, so walkers are slower here than in a run.
"""

import argparse
import json
import os
import re
import time
from collections import Counter
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh

if __name__ == "__main__":  # before pnct is imported, which makes the pool of threads large enough for them
    jax.config.update("jax_num_cpu_devices", 8)

from pnct.hamiltonian import hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.sampling.parallel import as_arrays
from pnct.models import electron_gas
from pnct.systems.electron_gas import ElectronGas

DEVICES = (1, 2, 4, 8)
COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|all-to-all|collective-permute)(?:-start)?\(")
ARRAY = re.compile(r"([a-z]+)(\d+)\[([\d,]*)\]")


def collectives(text: str) -> dict:
    """{kind: bytes} of the results of each kind of collective in a compiled program, and the largest results
    by shape.
    """
    found, shapes = Counter(), Counter()
    for results, kind in COLLECTIVE.findall(text):
        for letters, bits, shape in ARRAY.findall(results):
            size = int(np.prod([int(n) for n in shape.split(",") if n])) * int(bits) // 8
            found[kind] += size
            shapes[f"{kind} {letters}{bits}[{shape}]"] += size
    return {"bytes": dict(found), "largest": dict(shapes.most_common(5))}


def measure(gas, devices: int, walkers: int, repeats: int) -> dict:
    """Seconds of a step, and its collectives."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("walkers",))
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), walkers, sharding=mesh)
    state, args = vfe.init(jax.random.key(0), gas), as_arrays((gas,))
    step = eqx.filter_jit(VariationalFreeEnergy._update).lower(vfe, state, *args).compile()
    jax.block_until_ready(step(vfe, state, *args))
    times = []
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        jax.block_until_ready(step(vfe, state, *args))
        times.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    wall, cpu = np.median(times, axis=0)
    return {"devices": devices, "walkers": walkers, "wall": wall, "cpu": cpu} | collectives(
        step.compiled.as_text()
    )


def line(row: dict, first: dict) -> str:
    work = row["cpu"] / first["cpu"] * first["walkers"] / row["walkers"]
    told = (
        ", ".join(f"{kind} {size / 2**20:.2f} MiB" for kind, size in sorted(row["bytes"].items()))
        or "nothing"
    )
    times = f"{1e3 * row['wall']:9.0f} {1e3 * row['cpu']:9.0f} {work:15.2f}"
    return f"{row['devices']:7d} {row['walkers']:8d} {times}   {told}"


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for scaling.json")
    parser.add_argument("--num-up", type=int, default=5, help="electrons of the polarised 2D gas")
    parser.add_argument("--walkers", type=int, default=128, help="walkers of a step on eight devices")
    parser.add_argument("--repeats", type=int, default=5, help="steps that a median is taken of")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    gas = ElectronGas((args.num_up, 0), dim=2, rs=10.0, theta=0.15, twist=0.25)

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    header = f"{'devices':>7s} {'walkers':>8s} {'wall, ms':>9s} {'CPU, ms':>9s} {'CPU per walker':>15s}"
    numbers = {
        "strong": [args.walkers] * len(DEVICES),
        "weak": [args.walkers * n // DEVICES[-1] for n in DEVICES],
    }
    found = {}
    for kind, walkers in numbers.items():
        print(f"{kind}\n{header}   told to each device")
        found[kind] = []
        for devices, count in zip(DEVICES, walkers, strict=True):
            same = [
                row
                for rows in found.values()
                for row in rows
                if (row["devices"], row["walkers"]) == (devices, count)
            ]
            found[kind].append(same[0] if same else measure(gas, devices, count, args.repeats))
            print(line(found[kind][-1], found[kind][0]), flush=True)
            (args.out / "scaling.json").write_text(json.dumps(found, indent=2) + "\n")
    for shape, size in found["strong"][-1]["largest"].items():
        print(f"{shape}: {size / 2**20:.2f} MiB")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    main()
