"""Does a fresh process ever hang?  Programs that stopped jax 0.10 on a CPU, each in many new processes after
`import pnct`.

    python tests/benchmarks/stress.py [--processes 20] [--timeout 120]

`slogdet`: jacfwd(grad(.)) of a complex slogdet under vmap, 4 electrons, 64 walkers. `training`: three steps
of the default model at N = 4 in 2D on two devices. `chunks`: one step at N = 7 in 3D on two devices, in
chunks of 16 walkers. `one`: the same on one device. Prints how many of the processes finished in time; exits
with 1 if any did not.
"""

import argparse
import subprocess
import sys
import time

SLOGDET = """
import pnct
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
k = jax.random.normal(jax.random.key(0), (4, 3))
f = lambda r: jnp.linalg.slogdet(jnp.exp(1j * r.reshape(4, 3) @ k.T))[1]
r = jax.random.normal(jax.random.key(1), (64, 12))
assert jnp.all(jnp.isfinite(jax.jit(jax.vmap(jax.jacfwd(jax.grad(f))))(r)))
"""

TRAINING = """
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", {devices})
import pnct
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.models import electron_gas
gas = pnct.ElectronGas(({N}, 0), {dim}, theta=0.15, twist=0.25)
vfe = VariationalFreeEnergy(
    electron_gas, pnct.hamiltonian(gas), natural_gradient(), num_walkers={walkers}, chunk_size={chunk_size}
)
history = vfe.run(jax.random.key(0), {steps}, gas, progress_bar=False).history
assert history.updated.all() and not history.num_failed.any()
"""

PROGRAMS = {
    "slogdet": SLOGDET,
    "training": TRAINING.format(N=4, dim=2, walkers=64, chunk_size=None, steps=3, devices=2),
    "chunks": TRAINING.format(N=7, dim=3, walkers=256, chunk_size=16, steps=1, devices=2),
    "one": TRAINING.format(N=7, dim=3, walkers=256, chunk_size=16, steps=1, devices=1),
}


def finishes(program: str, timeout: float) -> bool:
    """Whether a fresh process runs the program in time. Raises where the program fails for another reason."""
    try:
        subprocess.run([sys.executable, "-P", "-c", program], timeout=timeout, check=True)
    except subprocess.TimeoutExpired:
        return False
    return True


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=20, help="fresh processes of each program")
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds after which a process counts as hung"
    )
    args = parser.parse_args(argv)

    hung = 0
    for name, program in PROGRAMS.items():
        start, finished = time.monotonic(), 0
        for _ in range(args.processes):
            finished += finishes(program, args.timeout)
        seconds = (time.monotonic() - start) / args.processes
        print(
            f"{name:9s} {finished} of {args.processes} processes finished, {seconds:.1f} s each", flush=True
        )
        hung += args.processes - finished
    return int(hung > 0)


if __name__ == "__main__":
    sys.exit(main())
