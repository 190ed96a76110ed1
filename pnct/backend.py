"""One guard for the whole library: jax 0.10 on a CPU can stop for ever in complex linear algebra under nested derivatives.

Its operations wait for each other on the threads of one pool, which has as many threads as the machine has cores. Two
things can leave no thread to go on with: a scheduler that starts too much at once (a vmapped complex slogdet under
jacfwd(grad(...))), and several CPU devices that each hold one (as many devices as cores, chunks of 16 walkers). So the
scheduler is switched off and the pool made larger; jax 0.11 and later need neither. XLA reads both from the environment
once, when it first starts, so importing pnct sets them. This is the only thing that importing pnct does.
"""

import os
import warnings

import jax

SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"
POOL = "PJRT_NPROC"


def prevent_cpu_hang() -> None:
    """Sets both, where jax needs them and the user has not set them. Warns where XLA has already started without them."""
    flags = os.environ.get("XLA_FLAGS", "")
    missing = {
        "XLA_FLAGS": None if SCHEDULER in flags else f"{flags} {SCHEDULER}=false".strip(),
        POOL: None if POOL in os.environ else str(max(16, 2 * (os.cpu_count() or 1))),
    }
    missing = {name: value for name, value in missing.items() if value is not None}
    if not missing or tuple(int(n) for n in jax.__version__.split(".")[:2]) >= (0, 11):
        return
    if _started():
        warnings.warn(
            "jax was used before pnct was imported; with this jax version a CPU run may hang. Import pnct first, or set "
            + " and ".join(f"{name}='{value}'" for name, value in missing.items())
            + ".",
            stacklevel=3,
        )
        return
    os.environ.update(missing)


def _started() -> bool:
    # jax refuses another number of CPU devices once XLA has started: the one public way to ask.
    devices = jax.config.jax_num_cpu_devices
    try:
        jax.config.update("jax_num_cpu_devices", max(devices, 1) + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", devices)
    return False
