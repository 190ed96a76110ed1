"""Tests run in float64 unless one says otherwise. Reference values are here, trained networks are not."""

import ctypes
import gc
import importlib
import os
import tempfile
from pathlib import Path

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)


def pytest_addoption(parser):
    parser.addoption(
        "--annotations", action="store_true", help="check the annotations of pnct/ on every call"
    )


def pytest_configure(config):
    """Quick tests compile far longer than they compute, so they are compiled in a hurry; the slow are not."""
    if config.option.annotations:
        jaxtyping.install_import_hook(ROOMS, BEARTYPE)  # of what is imported from here on
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the programs that tests start
        jax.config.update("jax_disable_most_optimizations", True)
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *HURRY]).strip()
    for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # one a worker; more wait for each other
        os.environ.setdefault(threads, "1")
    # Workers, and programs that tests start, share what they compile; nothing is left in the user's folder.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.compiled = tempfile.TemporaryDirectory(prefix="pnct-compiled-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.compiled.name
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.03")
    importlib.import_module("pnct")  # before anything starts XLA
    with pytest.MonkeyPatch.context() as started:
        # One thread: operations are handed to others that are shorter than that takes. Programs that tests
        # start have all threads.
        started.setenv("PJRT_NPROC", "1")
        jax.devices()
    gc.collect()
    gc.freeze()  # modules stay
    gc.set_threshold(50_000, 20, 50)  # a collection walks over every trace that is kept; there are many


LOOPS = "simplify-while-loops,while-loop-invariant-code-motion,while-loop-constant-sinking"
HURRY = [
    "--xla_cpu_parallel_codegen_split_count=1",  # of whole tests a third less time
    f"--xla_disable_hlo_passes={LOOPS}",  # of a compilation a tenth
]
if jax.__version_info__ < (0, 11):
    HURRY.append("--xla_cpu_use_fusion_emitters=false")  # later ones know no such flag and would end at once
BEARTYPE = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"  # an int is a float, too
ROOMS = sorted(f"pnct.{path.stem}" for path in (Path(__file__).parents[1] / "pnct").glob("[!_]*"))


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """A compiled program keeps its memory, and some 40 memory maps, of which Linux allows 65530."""
    yield
    memory = Path("/proc/self/statm")  # absent elsewhere
    if memory.exists() and int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > MEMORY:
        jax.clear_caches()
        gc.collect()
        # glibc keeps what is freed, two thirds of all memory
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


MEMORY = 2e9  # bytes, beyond which a process starts afresh after a test


@pytest.fixture
def unchecked():
    """Annotations are not checked: their errors would come before those that a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference values."""
    return Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def trained_networks() -> Path:
    """The folder of published trained networks, or a skip where it is absent."""
    from reference_network import TRAINED_NETWORKS  # imports pnct

    if not TRAINED_NETWORKS.is_dir():
        pytest.skip(f"no trained networks at {TRAINED_NETWORKS} (PNCT_TRAINED_NETWORKS names another place)")
    return TRAINED_NETWORKS
