"""One guard for the whole library: jax 0.10 on a CPU can stop for ever in complex linear algebra under nested
derivatives.

Its operations wait for each other on the threads of one pool, which has as many threads as the machine has
cores. Two things can leave no thread to go on with: a scheduler that starts too much at once (a vmapped
complex slogdet under jacfwd(grad(...))), and several CPU devices in one process that each hold one. So the
scheduler is switched off, and for several devices the pool is made larger, which makes all operations slower;
jax 0.11 and later need neither. XLA reads both from the environment once, when it first starts, so importing
pnct sets them. This is the only thing that importing pnct does.
"""

import os
import warnings

import jax

SCHEDULER = "--xla_cpu_enable_concurrency_optimized_scheduler"
POOL = "PJRT_NPROC"


def prevent_cpu_hang() -> None:
    """Sets both, where jax needs them and the user has not set them. Warns where XLA has already started
    without them.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    devices = jax.config.jax_num_cpu_devices
    missing = {
        "XLA_FLAGS": None if SCHEDULER in flags else f"{flags} {SCHEDULER}=false".strip(),
        POOL: None if POOL in os.environ or devices <= 1 else str(threads_for(devices)),
    }
    missing = {name: value for name, value in missing.items() if value is not None}
    if not missing or not _can_hang():
        return
    if _started():
        warnings.warn(
            "jax was used before pnct was imported; with this jax version a CPU run may hang. Import "
            "pnct first, or set "
            + " and ".join(f"{name}='{value}'" for name, value in missing.items())
            + ".",
            stacklevel=3,
        )
        return
    os.environ.update(missing)


def check_cpu_pool() -> None:
    """Raises ValueError where this process has several CPU devices and a pool that these could wait in for
    ever.
    """
    devices = jax.local_device_count()
    threads = int(os.environ.get(POOL, os.cpu_count() or 1))
    if jax.default_backend() == "cpu" and devices > 1 and threads < threads_for(devices) and _can_hang():
        raise ValueError(
            f"Expected {threads_for(devices)} threads for {devices} CPU devices in one process; got "
            f"{threads}. "
            f"Set jax_num_cpu_devices before pnct is imported, or {POOL} in the environment."
        )


def threads_for(devices: int) -> int:
    """A pool that several CPU devices have not been seen to wait in."""
    return max(16, 2 * devices)


def _can_hang() -> bool:
    return tuple(int(n) for n in jax.__version__.split(".")[:2]) < (0, 11)


def _started() -> bool:
    # jax refuses another number of CPU devices once XLA has started: the one public way to ask.
    devices = jax.config.jax_num_cpu_devices
    try:
        jax.config.update("jax_num_cpu_devices", max(devices, 1) + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", devices)
    return False
