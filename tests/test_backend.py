"""Several CPU devices in one process are refused where the pool of threads is too small for them, before they
can hang.
"""

import subprocess
import sys

import jax

PROGRAM = """
import jax
{before}
import pnct
{after}
from pnct.inference import VariationalFreeEnergy, natural_gradient
from pnct.models import electron_gas
gas = pnct.ElectronGas((2, 0), 2)
VariationalFreeEnergy(electron_gas, pnct.hamiltonian(gas), natural_gradient(), num_walkers=4)
print(jax.local_device_count())
"""


def run(before: str, after: str):
    program = PROGRAM.format(before=before, after=after)
    return subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )


def test_devices_asked_for_after_the_import_are_refused():
    four = 'jax.config.update("jax_num_cpu_devices", 4)'
    asked_before, asked_after, one = run(four, ""), run("", four), run("", "")
    assert (asked_before.stdout, one.stdout) == ("4\n", "1\n"), asked_before.stderr + one.stderr
    if jax.__version__.startswith("0.10."):
        assert "Expected 16 threads for 4 CPU devices" in asked_after.stderr
    else:
        assert asked_after.stdout == "4\n"
