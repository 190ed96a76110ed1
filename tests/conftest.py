"""Tests run in float64 unless one says otherwise; reference values are looked up beside the repository."""

import os
from pathlib import Path

import jax
import pytest

import pnct  # noqa: F401

jax.config.update("jax_enable_x64", True)


def pytest_configure(config):
    """The quick tests compile far longer than they compute, so they are compiled in a hurry; the slow ones
    are not.
    """
    if "not slow" in config.option.markexpr:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the programs that tests start
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """A compiled program keeps some 40 memory maps, and Linux allows a process 65530: fewer than all the
    tests' programs.
    """
    yield
    maps = Path("/proc/self/maps")  # absent elsewhere
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()


MAPS = 20_000  # beyond which a process starts afresh
REFERENCE = Path(os.environ.get("PNCT_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of reference values, or a skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference values at {REFERENCE}")
    return REFERENCE
