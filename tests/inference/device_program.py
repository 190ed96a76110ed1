"""The tiny run on several devices or in several processes; prints its numbers as JSON.

python device_program.py devices DIR              on 1, 2 and 8 of eight CPU devices; and 2 + 2 steps on 8 of them
python device_program.py process DIR I PORT STEPS one of two processes, I = 0 or 1; the first one prints
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from tiny_program import GAS, WALKERS, digest, routine

KEY = jax.random.key
STEPS = 4


def numbers(vfe, steps, directory=None) -> dict:
    """All numbers of a run and of an evaluation after it."""
    result = vfe.run(KEY(0), steps, GAS, progress_bar=False, checkpoint=directory)
    draws = vfe.evaluate(KEY(1), result.params, WALKERS + 2, GAS)
    flat = lambda tree: np.concatenate([np.ravel(np.asarray(x, float)) for x in jax.tree.leaves(tree)]).tolist()  # noqa: E731
    samples = {"R": draws.samples["R"], "K": draws.samples["K"], "F": draws.log_prob, "V": draws.potential}
    return {"history": flat(result.history), "params": flat(result.params), "draws": flat(samples), "digest": digest(result)}


def on_devices(directory):
    found = {n: numbers(routine(sharding=Mesh(np.array(jax.devices()[:n]), ("walkers",))), STEPS) for n in (1, 2)}
    vfe = routine(sharding=Mesh(np.array(jax.devices()), ("walkers",)))
    vfe.run(KEY(0), STEPS // 2, GAS, progress_bar=False, checkpoint=directory)
    return found | {"2 + 2": numbers(vfe, STEPS, directory), 8: numbers(vfe, STEPS)}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    mode, directory = sys.argv[1], Path(sys.argv[2])
    if mode == "devices":
        jax.config.update("jax_num_cpu_devices", 8)
        print(json.dumps(on_devices(directory)))
    else:
        process, port, steps = (int(x) for x in sys.argv[3:6])
        jax.config.update("jax_num_cpu_devices", 2)
        jax.distributed.initialize(f"localhost:{port}", 2, process)
        assert jax.device_count() == 4 and jax.process_index() == process
        found = numbers(routine(), steps, directory)
        if process == 0:
            print(json.dumps(found))
