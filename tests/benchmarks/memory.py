r"""How much memory, against chunk_size: a training step, an evaluation, and the momentum distribution of its
draws.

    python tests/benchmarks/memory.py --out DIR [--num-up 13] [--walkers 256] [--chunk-sizes 1 4 16 64 256]

For each, in MiB: `XLA`, the temporary memory that it asks for, compiled as one program, and `measured`, how
far the resident memory of the process rises above where it stood while the program runs (Linux and glibc:
VmHWM after a write to clear_refs; results included). The walkers of a chunk are alive together; the scores of
all walkers, which the natural gradient needs, whatever the chunk: rows of scores x parameters x 8 bytes, the
last line. Programs are compiled without LLVM's expensive passes, which change their speed and not their
memory.
"""

import argparse
import ctypes
import json
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from pnct.hamiltonian import hamiltonian
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.inference.observables.momentum_distribution import _estimates as momentum
from pnct.inference.sampling.parallel import as_arrays
from pnct.inference.sampling.sites import read_sites
from pnct.models import electron_gas
from pnct.systems.electron_gas import ElectronGas

PROGRAMS = ("step", "evaluate", "momentum")
MIB = 2**20


def memory_of(function, *args) -> dict:
    """Bytes that a function asks for as one program, and how far the process grows while it runs."""
    compiled = eqx.filter_jit(function).lower(*args).compile()
    temporary = compiled.compiled.memory_analysis().temp_size_in_bytes
    jax.block_until_ready(function(*args))  # what is allocated once
    ctypes.CDLL(None).malloc_trim(
        0
    )  # or what it has freed would still be resident, and hide what it takes again
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    jax.block_until_ready(function(*args))
    return {"xla": temporary, "measured": _resident("VmHWM") - before}


def _resident(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def measure(gas, walkers: int, chunk_size: int) -> dict:
    """{program: bytes} at one chunk size."""
    vfe = VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), walkers, chunk_size)
    state, args = vfe.init(jax.random.key(0), gas), as_arrays((gas,))
    step = memory_of(vfe._update, state, *args)
    sites = read_sites(electron_gas, state.params, args)
    evaluate = memory_of(vfe._draw, state.params, jax.random.key(1), sites, *args)
    draws = vfe.evaluate(jax.random.key(1), state.params, walkers, gas)
    values = {name: jax.numpy.asarray(x) for name, x in draws.samples.items()}
    keys = jax.random.split(jax.random.key(2), walkers)
    inputs = (electron_gas, sites, state.params, args, values, keys, 1, chunk_size)
    return dict(zip(PROGRAMS, (step, evaluate, memory_of(momentum, *inputs)), strict=True))


def scores(gas, walkers: int) -> int:
    """Bytes of the scores of all walkers: one row of p(K) and two of Psi for each."""
    params = (
        VariationalFreeEnergy(electron_gas, hamiltonian(gas), natural_gradient(), 2)
        .init(jax.random.key(0), gas)
        .params
    )
    size = {name: sum(x.size for x in jax.tree.leaves(p)) for name, p in params.items()}
    return walkers * (size["occupation"] + 2 * size["flow"]) * np.dtype(float).itemsize


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="directory for memory.json")
    parser.add_argument("--num-up", type=int, default=13, help="electrons of the polarised 2D gas")
    parser.add_argument("--walkers", type=int, default=256, help="walkers of a step")
    parser.add_argument(
        "--chunk-sizes", type=int, nargs="+", default=[1, 4, 16, 64, 256], help="walkers at once"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    gas = ElectronGas((args.num_up, 0), dim=2, rs=10.0, theta=0.15, twist=0.25)

    print("MiB       " + "".join(f"{name:>22s}" for name in PROGRAMS))
    print("chunk_size" + f"{'XLA':>12s}{'measured':>10s}" * len(PROGRAMS))
    found = {}
    for chunk_size in args.chunk_sizes:
        found[chunk_size] = measure(gas, args.walkers, chunk_size)
        cells = (
            f"{row['xla'] / MIB:12.1f}{row['measured'] / MIB:10.1f}" for row in found[chunk_size].values()
        )
        print(f"{chunk_size:10d}" + "".join(cells), flush=True)
        result = {
            "num_electrons": gas.N,
            "walkers": args.walkers,
            "scores": scores(gas, args.walkers),
            "bytes": found,
        }
        (args.out / "memory.json").write_text(json.dumps(result, indent=2) + "\n")
    print(f"scores of {args.walkers} walkers: {result['scores'] / MIB:.1f} MiB")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    main()
