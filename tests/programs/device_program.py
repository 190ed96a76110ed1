"""The tiny run on several devices or in several processes; prints its numbers as JSON.

python device_program.py devices DIR               on 1, 2 and 8 CPU devices; and 2 + 2 steps on 8
python device_program.py process DIR I PORT STEPS  one of two processes, I = 0 or 1; the first one prints
python device_program.py late DIR I PORT STEPS     likewise; the second one comes 45 s late to the run
"""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

if __name__ == "__main__":  # before pnct is imported, which makes the pool of threads large enough for them
    jax.config.update("jax_num_cpu_devices", 8 if sys.argv[1] == "devices" else 2)

from tiny_program import GAS, WALKERS, digest, routine

KEY = jax.random.key
STEPS = 4


def trained(vfe, steps, directory=None) -> dict:
    """All numbers of a run."""
    result = vfe.run(KEY(0), steps, GAS, progress_bar=False, checkpoint=directory)
    return {"history": flat(result.history), "params": flat(result.params), "digest": digest(result)}


def numbers(vfe, steps, directory=None) -> dict:
    """All numbers of a run and of an evaluation."""
    draws = vfe.evaluate(KEY(1), vfe.init(KEY(0), GAS).params, WALKERS + 2, GAS)
    samples = {"R": draws.samples["R"], "K": draws.samples["K"], "F": draws.log_prob, "V": draws.potential}
    return trained(vfe, steps, directory) | {"draws": flat(samples)}


def flat(tree) -> list[float]:
    return np.concatenate([np.ravel(np.asarray(x, float)) for x in jax.tree.leaves(tree)]).tolist()


def on_devices(directory):
    one, two, eight = (routine(sharding=Mesh(np.array(jax.devices()[:n]), ("walkers",))) for n in (1, 2, 8))
    found = {1: numbers(one, STEPS), 2: trained(two, STEPS), 8: numbers(eight, STEPS)}
    trained(eight, STEPS // 2, directory)
    return found | {"2 + 2": trained(eight, STEPS, directory)}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    mode, directory = sys.argv[1], Path(sys.argv[2])
    if mode == "devices":
        print(json.dumps(on_devices(directory)))
    else:
        process, port, steps = (int(x) for x in sys.argv[3:6])
        jax.distributed.initialize(f"localhost:{port}", 2, process)
        assert jax.device_count() == 4 and jax.process_index() == process
        vfe = routine()
        if mode == "late":
            time.sleep(45 * process)
            found = trained(vfe, steps, directory)
        else:
            found = numbers(vfe, steps, directory)
        if process == 0:
            print(json.dumps(found))
