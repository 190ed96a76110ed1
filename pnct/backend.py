"""One guard for the whole library: jax 0.10 on a CPU can stop for ever in complex linear algebra under nested derivatives.

Its concurrency-optimised scheduler lets threads wait for each other (a vmapped complex slogdet under jacfwd(grad(...)) stops
in every run). The flag below removes that; jax 0.11 and later do not need it. XLA reads the flag once, when it first starts,
so importing pnct sets it. This is the only thing that importing pnct does.
"""

import os
import warnings

import jax

FLAG = "--xla_cpu_enable_concurrency_optimized_scheduler"


def disable_concurrency_optimized_scheduler() -> None:
    """Sets the flag, unless the user has set it or jax does not need it. Warns where XLA has already started without it."""
    if tuple(int(n) for n in jax.__version__.split(".")[:2]) >= (0, 11) or FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    if _started():
        warnings.warn(
            "jax was used before pnct was imported; with this jax version a CPU run may hang. "
            f"Import pnct first, or set XLA_FLAGS={FLAG}=false.",
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}=false".strip()


def _started() -> bool:
    # jax refuses another number of CPU devices once XLA has started: the one public way to ask.
    devices = jax.config.jax_num_cpu_devices
    try:
        jax.config.update("jax_num_cpu_devices", max(devices, 1) + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", devices)
    return False
